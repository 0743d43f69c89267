/*
 * Walking the batches of a segment file, for recovery, searches and rebuilding of indexes. Private
 * to seglog.
 */
#ifndef WEIR_SEGLOG_WALK_INT_H
#define WEIR_SEGLOG_WALK_INT_H

#include "io/fs.h"
#include "seglog/seglog_int.h"

/* Reads ahead in large steps. Blocking; one thread. */
struct walk {
    struct fs_file *file;
    uint64_t end; /* bytes of the file to look at */
    uint64_t pos; /* of the next batch */
    uint8_t *buf;
    size_t cap;
    size_t len;       /* valid bytes in buf */
    uint64_t buf_pos; /* file position of buf[0] */
    bool crc_checked;
    enum err err; /* disk error, or ERR_NO_MEMORY */
    struct err_info info;
    const char *stop; /* why it ended before `end`: a literal; NULL: at the end or at zeros */
};

void walk_init(struct walk *walk, struct fs_file *file, uint64_t pos, uint64_t end,
               bool crc_checked);
void walk_deinit(struct walk *walk);
/*
 * The next whole valid batch; its bytes live until the next call. False: at the end, at zeros, at
 * damage (stop tells), or on an error of the disk.
 */
bool walk_next(struct walk *walk, struct batch_header *ret_header, struct slice *ret_bytes);
/* Whether something other than zeros follows among the bytes that were read ahead: costs no read. */
bool walk_more_ahead(const struct walk *walk);
/* Headers only: the batch's body need not be read, and is not checked. */
bool walk_next_header(struct walk *walk, struct batch_header *ret_header);

#endif
