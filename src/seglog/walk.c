/*
 * Walking the batches of a segment file.
 *
 * Role: the one reader of segment bytes that may be torn. Reads large pieces, hands out one batch
 * at a time.
 *
 *   | batch | batch | batch | torn batch ... or zeros written ahead ... |
 *                           ^ the walk ends here; pos stays
 *
 * Invariants: (1) a batch handed out lies within `end`, has a valid header and, when asked, a true
 * checksum; (2) the buffer grows only to a size that the file really has, at most BATCH_SIZE_MAX.
 *
 * Ownership: the caller's, on a worker.
 *
 * Failure modes: damage ends the walk with a reason in `stop`; a disk error with `err`.
 */
#include <stdlib.h>

#include "seglog/bytes_int.h"
#include "seglog/walk_int.h"

enum { WALK_STEP = 1024 * 1024 };

void walk_init(struct walk *walk, struct fs_file *file, uint64_t pos, uint64_t end,
               bool crc_checked)
{
    ASSERT(file && pos <= end);
    *walk = (struct walk){
        .file = file, .end = end, .pos = pos, .buf_pos = pos, .crc_checked = crc_checked};
}

void walk_deinit(struct walk *walk)
{
    free(walk->buf);
    walk->buf = NULL;
}

/* Bytes [pos, pos + need) in the buffer. False: error, or the file is shorter. */
static bool walk_fill(struct walk *walk, size_t need)
{
    ASSERT(walk->pos >= walk->buf_pos && need <= BATCH_SIZE_MAX);
    size_t skip = (size_t)(walk->pos - walk->buf_pos);
    if (skip <= walk->len && walk->len - skip >= need)
        return true;
    if (walk->end - walk->pos < need)
        return false;
    if (skip < walk->len) {
        memmove(walk->buf, walk->buf + skip, walk->len - skip);
        walk->len -= skip;
    } else {
        walk->len = 0;
    }
    walk->buf_pos = walk->pos;
    size_t want = need > WALK_STEP ? need : WALK_STEP;
    if (want > walk->end - walk->pos)
        want = (size_t)(walk->end - walk->pos);
    if (walk->cap < want) {
        uint8_t *grown = realloc(walk->buf, want);
        if (!grown) {
            walk->err = err_info_set(&walk->info, ERR_NO_MEMORY, "reading a segment");
            return false;
        }
        walk->buf = grown;
        walk->cap = want;
    }
    size_t got = 0;
    walk->err = fs_pread(walk->file, walk->buf + walk->len, want - walk->len,
                         walk->buf_pos + walk->len, &got, &walk->info);
    if (walk->err)
        return false;
    walk->len += got;
    ASSERT(walk->len <= walk->cap);
    return walk->len >= need;
}

static bool bytes_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i] != 0)
            return false;
    return true;
}

/* Size of the batch at pos; 0: none, with the reason noted. */
static uint32_t walk_peek(struct walk *walk)
{
    if (walk->err || walk->stop || walk->pos >= walk->end)
        return 0;
    size_t have = walk->end - walk->pos < BATCH_HEADER_SIZE ? (size_t)(walk->end - walk->pos)
                                                            : BATCH_HEADER_SIZE;
    if (!walk_fill(walk, have))
        return 0;
    const uint8_t *p = walk->buf + (walk->pos - walk->buf_pos);
    if (bytes_zero(p, have))
        return 0;
    uint32_t size = have < BATCH_HEADER_SIZE ? 0 : batch_size_peek(slice_make(p, have));
    if (size < BATCH_HEADER_SIZE || size > walk->end - walk->pos) {
        walk->stop = "a batch passes the end of the file";
        return 0;
    }
    return size;
}

bool walk_next(struct walk *walk, struct batch_header *ret_header, struct slice *ret_bytes)
{
    uint32_t size = walk_peek(walk);
    if (size == 0 || !walk_fill(walk, size))
        return false;
    struct slice bytes = {walk->buf + (walk->pos - walk->buf_pos), size};
    if (batch_header_read(bytes, ret_header, NULL) != ERR_OK) {
        walk->stop = "not a batch";
        return false;
    }
    if (walk->crc_checked && !batch_crc_holds(bytes)) {
        walk->stop = "a batch fails its checksum";
        return false;
    }
    *ret_bytes = bytes;
    walk->pos += size;
    ASSERT(walk->pos <= walk->end && ret_header->size == size); /* (1) */
    return true;
}

bool walk_more_ahead(const struct walk *walk)
{
    ASSERT(walk->pos >= walk->buf_pos);
    uint64_t skip = walk->pos - walk->buf_pos;
    return skip < walk->len && !bytes_zero(walk->buf + skip, walk->len - (size_t)skip);
}

bool walk_next_header(struct walk *walk, struct batch_header *ret_header)
{
    uint32_t size = walk_peek(walk);
    if (size == 0)
        return false;
    uint8_t head[BATCH_HEADER_SIZE];
    memcpy(head, walk->buf + (walk->pos - walk->buf_pos), sizeof(head));
    be32_store(head + 8, BATCH_HEADER_SIZE - BATCH_PREFIX_SIZE);
    if (batch_header_read(slice_make(head, sizeof(head)), ret_header, NULL) != ERR_OK) {
        walk->stop = "not a batch";
        return false;
    }
    ret_header->size = size;
    walk->pos += size;
    ASSERT(walk->pos <= walk->end); /* (1) */
    return true;
}

void seglog_scan_bytes(struct slice segment, struct record_offset base,
                       struct seglog_scan *ret_scan)
{
    *ret_scan = (struct seglog_scan){.end = base};
    while (ret_scan->good_bytes < segment.len) {
        struct slice rest = slice_sub(segment, ret_scan->good_bytes, SIZE_MAX);
        struct batch_header header;
        uint32_t size = batch_size_peek(rest);
        if (size < BATCH_HEADER_SIZE || size > rest.len ||
            batch_header_read(slice_sub(rest, 0, size), &header, NULL) != ERR_OK ||
            header.base_offset.value != ret_scan->end.value ||
            header.base_offset.value > INT64_MAX - INT32_MAX - 1 ||
            !batch_crc_holds(slice_sub(rest, 0, size)))
            break;
        ret_scan->good_bytes += size;
        ret_scan->batches++;
        ret_scan->records += header.record_count > 0 ? (uint64_t)header.record_count : 0;
        ret_scan->end = batch_end_offset(&header);
    }
    ASSERT(ret_scan->good_bytes <= segment.len);
    ret_scan->torn = !bytes_zero(segment.data + ret_scan->good_bytes,
                                 segment.len - (size_t)ret_scan->good_bytes);
}
