/* Reading segments from disk, shared between read.c and find.c. Private to seglog. */
#ifndef WEIR_SEGLOG_COLD_INT_H
#define WEIR_SEGLOG_COLD_INT_H

#include "seglog/seglog_int.h"

/* Shard: copies what a worker needs to look into the segment. */
void cold_prepare(struct seglog *seglog, uint32_t index, struct record_offset from,
                  struct record_offset bound, struct seglog_cold *ret_cold);
/* Shard: keeps the place where this reader will go on. */
void cold_remember(struct seglog *seglog, const struct seglog_cold *cold,
                   struct record_offset offset);
/* Worker. ERR_OFFSET_OUT_OF_RANGE: removed meanwhile. */
MUST_CHECK enum err cold_open(struct seglog *seglog, const struct seglog_cold *cold,
                              struct fs_file **ret_file);
/* Worker: position of the batch that holds the offset or is the first behind it; size 0: none in
 * this segment. */
MUST_CHECK enum err cold_seek(struct seglog *seglog, struct fs_file *file, struct seglog_cold *cold,
                              struct record_offset from, uint64_t *ret_pos, uint32_t *ret_size);

#endif
