/*
 * Reading: from the tail at once, from disk through a worker.
 *
 * Role: gives whole batches from an offset on, at most up to the high watermark.
 *
 *   offset in the tail: ranges of references, neighbours in one block merged into one range; no
 * copy, no disk else (cold):        find the position (hint of the last reader, index, short scan),
 * then one large read
 *
 * Invariants: (1) nothing at or behind the high watermark is returned; (2) ranges hold whole
 * batches, in order; (3) bytes from disk are checked, header and checksum, before they are
 * returned.
 *
 * Ownership: owner shard; a cold read has copies of all it needs and its own file handle, so
 * segments may be removed under it.
 *
 * Failure modes: an offset outside the log is ERR_OFFSET_OUT_OF_RANGE; a segment that retention
 * removed meanwhile likewise. Damaged and missing bytes are ERR_CORRUPT when they are the first asked
 * for, else the good batches before them are returned; no reader is led past them unasked. A damaged index is passed by a scan from the segment's
 * start.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/diag.h"
#include "seglog/bytes_int.h"
#include "seglog/cold_int.h"
#include "seglog/commit_int.h"
#include "seglog/walk_int.h"

enum { COLD_BYTES_MAX = 4 * 1024 * 1024 };

void seglog_read_release(struct seglog_read *read)
{
    ASSERT(read->range_count <= SEGLOG_READ_RANGES_MAX);
    for (uint32_t i = 0; i < read->range_count; i++)
        iobuf_unref(read->ranges[i].buf);
    read->range_count = 0;
    read->bytes = 0;
}

/* Adds a batch to the result, merged with the range before it when they touch. False: no room. */
static bool read_add(struct seglog_read *read, const struct tail_entry *entry)
{
    ASSERT(entry->buf && entry->size > 0);
    if (read->range_count > 0) {
        struct iobuf_range *last = &read->ranges[read->range_count - 1];
        if (last->buf == entry->buf && last->bytes.data + last->bytes.len == entry->data) {
            last->bytes.len += entry->size;
            return true;
        }
    }
    if (read->range_count == SEGLOG_READ_RANGES_MAX)
        return false;
    read->ranges[read->range_count++] =
        (struct iobuf_range){iobuf_ref(entry->buf), slice_make(entry->data, entry->size)};
    return true;
}

static void read_tail(struct seglog *seglog, struct seglog_read *read, struct record_offset bound)
{
    const struct tail *tail = &seglog->tail;
    ASSERT(tail->count > 0 && !record_offset_before(read->from, tail_at(tail, 0)->base));
    ASSERT(!record_offset_before(seglog->written, bound)); /* (1) */
    for (uint32_t i = tail_find(tail, read->from); i < tail->count; i++) {
        const struct tail_entry *entry = tail_at(tail, i);
        if (record_offset_before(seglog->written, entry->end) ||
            !record_offset_before(entry->base, bound))
            break;
        bool fits = read->bytes + entry->size <= read->bytes_max;
        if (!fits && !(read->first_whole && read->bytes == 0))
            break;
        if (!read_add(read, entry))
            break;
        read->bytes += entry->size;
        read->next = entry->end;
    }
}

void cold_prepare(struct seglog *seglog, uint32_t index, struct record_offset from,
                  struct record_offset bound, struct seglog_cold *ret_cold)
{
    ASSERT(index < seglog->segment_count);
    const struct segment *segment = seglog->segments[index];
    ASSERT(segment->written <= segment->bytes);
    *ret_cold = (struct seglog_cold){
        .segment = segment->base,
        .next_segment = index + 1 < seglog->segment_count ? seglog->segments[index + 1]->base
                                                          : record_offset(-1),
        .bound = bound,
        .end = segment->written,
        .index_bytes = segment->index.flushed,
        .time_bytes = segment->time.flushed,
        .next_pos_segment = record_offset(-1),
    };
    for (uint32_t i = 0; i < sizeof(seglog->hints) / sizeof(seglog->hints[0]); i++) {
        if (seglog->hints[i].offset.value == from.value && from.value > 0 &&
            seglog->hints[i].segment.value == segment->base.value) {
            ret_cold->pos = seglog->hints[i].pos;
            ret_cold->exact = true;
            return;
        }
    }
    struct file_pos pos;
    if (segment_index_find(segment, from, &pos)) {
        ret_cold->pos = pos;
        ret_cold->indexed = true;
    }
}

void cold_remember(struct seglog *seglog, const struct seglog_cold *cold,
                   struct record_offset offset)
{
    if (cold->next_pos_segment.value < 0)
        return;
    uint32_t slots = sizeof(seglog->hints) / sizeof(seglog->hints[0]);
    uint32_t slot = seglog->hint_next;
    ASSERT(slot < slots && offset.value >= 0);
    for (uint32_t i = 0; i < slots; i++)
        if (seglog->hints[i].segment.value == cold->segment.value &&
            seglog->hints[i].pos.value == cold->pos.value)
            slot = i; /* this reader's own former hint */
    if (slot == seglog->hint_next)
        seglog->hint_next = (seglog->hint_next + 1) % slots;
    seglog->hints[slot].offset = offset;
    seglog->hints[slot].segment = cold->next_pos_segment;
    seglog->hints[slot].pos = cold->next_pos;
}

enum err cold_open(struct seglog *seglog, const struct seglog_cold *cold, struct fs_file **ret_file)
{
    char path[SEGLOG_PATH_MAX];
    if (!segment_path(path, seglog->dir, cold->segment, ".log"))
        return ERR_STORAGE;
    enum err err = fs_open(seglog->fs, path, FS_READ, ret_file, NULL);
    if (err == ERR_NOT_FOUND)
        return ERR_OFFSET_OUT_OF_RANGE;
    return err == ERR_LIMIT || err == ERR_NO_MEMORY ? ERR_BUSY : err ? ERR_STORAGE : ERR_OK;
}

/* Position from the index file: greatest entry whose offset is not above the one asked; 0 without.
 */
static struct file_pos cold_index_find(struct seglog *seglog, const struct seglog_cold *cold,
                                       struct record_offset from)
{
    char path[SEGLOG_PATH_MAX];
    struct fs_file *file;
    struct file_pos found = file_pos(0);
    if (!segment_path(path, seglog->dir, cold->segment, ".index") ||
        fs_open(seglog->fs, path, FS_READ, &file, NULL) != ERR_OK)
        return found;
    uint64_t size = 0;
    if (fs_size(file, &size, NULL) != ERR_OK)
        size = 0;
    if (size > cold->index_bytes)
        size = cold->index_bytes;
    uint64_t low = 0;
    uint64_t high = size / INDEX_ENTRY_SIZE;
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        uint8_t entry[INDEX_ENTRY_SIZE];
        size_t got = 0;
        if (fs_pread(file, entry, sizeof(entry), mid * INDEX_ENTRY_SIZE, &got, NULL) != ERR_OK ||
            got != sizeof(entry)) {
            found = file_pos(0);
            break;
        }
        if (cold->segment.value + be32_load(entry) <= from.value) {
            found = file_pos(be32_load(entry + 4));
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    fs_close(file);
    ASSERT(low <= size / INDEX_ENTRY_SIZE);
    return found.value < cold->end ? found : file_pos(0);
}

/* Walks headers from pos to the batch that holds `from` or is the first behind. */
static enum err cold_seek_from(struct fs_file *file, const struct seglog_cold *cold, uint64_t pos,
                               struct record_offset from, uint64_t *ret_pos, uint32_t *ret_size)
{
    struct walk walk;
    struct batch_header header;
    ASSERT(pos <= cold->end);
    walk_init(&walk, file, pos, cold->end, false);
    enum err err = ERR_OK;
    bool first = true;
    *ret_size = 0;
    for (;;) {
        uint64_t at = walk.pos;
        if (!walk_next_header(&walk, &header)) {
            if (walk.err)
                err = walk.err == ERR_NO_MEMORY ? ERR_NO_MEMORY : ERR_STORAGE;
            else if (walk.stop ||
                     at < cold->end) /* also zeros, or no bytes, where data was written */
                err = ERR_CORRUPT;
            break;
        }
        if (header.base_offset.value < cold->segment.value ||
            (first && pos > 0 && header.base_offset.value > from.value)) {
            err = ERR_CORRUPT; /* the index led astray */
            break;
        }
        first = false;
        if (record_offset_before(from, batch_end_offset(&header))) {
            *ret_pos = at;
            *ret_size = header.size;
            break;
        }
    }
    walk_deinit(&walk);
    return err;
}

enum err cold_seek(struct seglog *seglog, struct fs_file *file, struct seglog_cold *cold,
                   struct record_offset from, uint64_t *ret_pos, uint32_t *ret_size)
{
    if (!cold->exact && !cold->indexed)
        cold->pos = cold_index_find(seglog, cold, from);
    ASSERT(cold->segment.value >= 0);
    enum err err = cold_seek_from(file, cold, cold->pos.value, from, ret_pos, ret_size);
    if (err == ERR_CORRUPT && cold->pos.value > 0) {
        diag(DIAG_WARN, "seglog", "log=%s segment=%" PRId64 " index=misleading", seglog->name,
             cold->segment.value);
        err = cold_seek_from(file, cold, 0, from, ret_pos, ret_size);
    }
    return err;
}

/* Counts the whole, valid batches at the front of bytes that begin below the bound and whose offsets
 * rise: else a reader of a damaged segment would be sent back to where it came from. */
static enum err cold_cut(struct seglog_read *read, struct slice bytes, size_t *ret_len)
{
    size_t len = 0;
    while (len < bytes.len) {
        struct slice rest = slice_sub(bytes, len, SIZE_MAX);
        struct batch_header header;
        uint32_t size = batch_size_peek(rest);
        if (size > rest.len || (size == 0 && rest.len < BATCH_PREFIX_SIZE))
            break; /* cut by the limit */
        if (size < BATCH_HEADER_SIZE ||
            batch_header_read(slice_sub(rest, 0, size), &header, NULL) != ERR_OK ||
            !batch_crc_holds(slice_sub(rest, 0, size)) ||
            (len > 0 && record_offset_before(header.base_offset, read->next))) {
            *ret_len = len;
            return len > 0 ? ERR_OK : ERR_CORRUPT;
        }
        if (!record_offset_before(header.base_offset, read->cold_read.bound))
            break;
        len += size;
        read->next = batch_end_offset(&header);
    }
    ASSERT(len <= bytes.len);
    *ret_len = len;
    return ERR_OK;
}

static void cold_read_at(struct seglog_read *read, struct fs_file *file, uint64_t pos,
                         uint32_t first_size)
{
    struct seglog_cold *cold = &read->cold_read;
    uint64_t want = read->bytes_max;
    if (want > COLD_BYTES_MAX)
        want = COLD_BYTES_MAX;
    if (want < first_size) {
        if (!read->first_whole)
            return;
        want = first_size;
    }
    ASSERT(pos < cold->end && first_size <= cold->end - pos);
    if (want > cold->end - pos)
        want = cold->end - pos;
    struct iobuf *buf = iobuf_create(want);
    if (!buf) {
        read->err = ERR_NO_MEMORY;
        return;
    }
    size_t got = 0, len = 0;
    if (fs_pread(file, iobuf_data(buf), want, pos, &got, NULL) != ERR_OK)
        read->err = ERR_STORAGE;
    else if (got < first_size)
        read->err =
            ERR_CORRUPT; /* the file ends early: an empty answer would be asked for again and again */
    else
        read->err = cold_cut(read, slice_make(iobuf_data(buf), got), &len);
    if (read->err || len == 0) {
        iobuf_unref(buf);
        return;
    }
    read->ranges[read->range_count++] = (struct iobuf_range){buf, slice_make(iobuf_data(buf), len)};
    read->bytes = len;
    ASSERT(read->range_count == 1 && pos + len <= cold->end);
    if (pos + len < cold->end) {
        cold->next_pos = file_pos(pos + len);
        cold->next_pos_segment = cold->segment;
    }
}

static void cold_run(struct work *work)
{
    struct seglog_read *read = CONTAINER_OF(work, struct seglog_read, work);
    struct seglog_cold *cold = &read->cold_read;
    struct fs_file *file;
    if (cold->segment.value < 0) {
        read->err = ERR_OFFSET_OUT_OF_RANGE;
        return;
    }
    ASSERT(read->range_count == 0);
    read->err = cold_open(read->seglog, cold, &file);
    if (read->err)
        return;
    uint64_t pos = cold->pos.value;
    uint32_t size = 0;
    read->err = cold_seek(read->seglog, file, cold, read->from, &pos, &size);
    if (!read->err && size > 0)
        cold_read_at(read, file, pos, size);
    else if (!read->err)
        read->err = ERR_CORRUPT; /* the offset was written to this segment, and is in it no more */
    fs_close(file);
}

static void cold_done(struct work *work);

static size_t cold_share(const struct seglog_read *read)
{
    return read->bytes_max < COLD_BYTES_MAX ? read->bytes_max : COLD_BYTES_MAX;
}

/* Runs the read now, or when buffers of others have come back. */
static void cold_start(struct seglog *seglog, struct seglog_read *read)
{
    struct commit *commit = seglog->commit;
    ASSERT(seglog->busy > 0);
    if (commit->cold_bytes >= commit->config.cold_bytes_max) {
        list_push_back(&commit->cold_waiting, &read->node);
        return;
    }
    commit->cold_bytes += cold_share(read);
    struct record_offset bound = read->cold_read.bound;
    cold_prepare(seglog, seglog_segment_find(seglog, read->from), read->from, bound,
                 &read->cold_read);
    if (record_offset_before(read->from, seglog->start))
        read->cold_read.segment = record_offset(-1); /* retention came first */
    reactor_work_lane(commit->reactor, &read->work, WORK_FAST, cold_run, cold_done);
}

static void cold_done(struct work *work)
{
    struct seglog_read *read = CONTAINER_OF(work, struct seglog_read, work);
    struct seglog *seglog = read->seglog;
    struct commit *commit = seglog->commit;
    ASSERT(seglog->busy > 0 && commit->cold_bytes >= cold_share(read));
    ASSERT(read->err ? read->range_count == 0 : !record_offset_before(read->next, read->from));
    commit->cold_bytes -= cold_share(read);
    struct list_node *next = list_pop_front(&commit->cold_waiting);
    if (next) {
        struct seglog_read *waiting = CONTAINER_OF(next, struct seglog_read, node);
        cold_start(waiting->seglog, waiting);
    }
    seglog->busy--;
    cold_remember(seglog, &read->cold_read, read->next);
    read->on_done(read);
    seglog_settle(seglog);
}

bool seglog_read(struct seglog *seglog, struct seglog_read *read)
{
    ASSERT(read->on_done);
    read->seglog = seglog;
    read->range_count = 0;
    read->bytes = 0;
    read->next = read->from;
    read->cold = false;
    read->err = seglog_state(seglog);
    if (read->err)
        return true;
    if (record_offset_before(read->from, seglog->start) ||
        record_offset_before(seglog->end, read->from)) {
        read->err = ERR_OFFSET_OUT_OF_RANGE;
        return true;
    }
    struct record_offset bound = seglog->written;
    if (record_offset_before(read->below, bound))
        bound = read->below;
    if (!record_offset_before(read->from, bound))
        return true;
    ASSERT(seglog->segment_count > 0 && seglog->life == SEGLOG_SERVING);
    const struct tail *tail = &seglog->tail;
    if (tail->count > 0 && !record_offset_before(read->from, tail_at(tail, 0)->base)) {
        read_tail(seglog, read, bound);
        return true;
    }
    seglog->busy++;
    read->cold = true;
    read->cold_read.bound = bound;
    cold_start(seglog, read);
    return false;
}

uint64_t seglog_bytes_behind(const struct seglog *seglog, struct record_offset from, uint64_t limit)
{
    if (!record_offset_before(from, seglog->written))
        return 0;
    const struct tail *tail = &seglog->tail;
    uint64_t bytes = 0;
    if (tail->count > 0 && !record_offset_before(from, tail_at(tail, 0)->base)) {
        for (uint32_t i = tail_find(tail, from); i < tail->count && bytes < limit; i++) {
            const struct tail_entry *entry = tail_at(tail, i);
            if (record_offset_before(seglog->written, entry->end))
                break;
            bytes += entry->size;
        }
        return bytes;
    }
    uint32_t index = seglog_segment_find(seglog, from);
    ASSERT(index < seglog->segment_count);
    for (uint32_t i = index + 1; i < seglog->segment_count && bytes < limit; i++)
        bytes += seglog->segments[i]->written;
    const struct segment *segment = seglog->segments[index];
    struct record_offset end =
        index + 1 < seglog->segment_count ? seglog->segments[index + 1]->base : seglog->written;
    int64_t span = end.value - segment->base.value;
    if (span > 0)
        bytes +=
            (uint64_t)((double)segment->written * (double)(end.value - from.value) / (double)span);
    return bytes > 0 ? bytes : 1;
}
