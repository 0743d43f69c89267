/*
 * Finding an offset by time.
 *
 * Role: the first record, in log order, whose timestamp is at or behind the one asked; or the
 * first record with the greatest timestamp. Timestamps need not rise, so the answer comes from a scan
 * that the time index shortens, never from a binary search over records.
 *
 *   segments by greatest time -> time index: skip what is certainly before -> batches by greatest
 * time -> records
 *
 * Invariants: (1) the record returned lies in [start, bound) and satisfies the question by its own
 * timestamp, not its batch's; (2) no earlier record does.
 *
 * Ownership: owner shard decides the segment, a worker scans it with its own handle.
 *
 * Failure modes: damage of the scanned segment is ERR_CORRUPT; a segment removed meanwhile makes
 * the search go on in the next one.
 */
#include <stdlib.h>

#include "seglog/bytes_int.h"
#include "seglog/cold_int.h"
#include "seglog/commit_int.h"
#include "seglog/walk_int.h"

/* The time index file: offset behind the greatest entry whose time is below the one asked. */
static struct record_offset time_index_find(struct seglog *seglog, const struct seglog_find *find)
{
    char path[SEGLOG_PATH_MAX];
    struct fs_file *file;
    struct record_offset found = find->cold_read.segment;
    ASSERT(found.value >= 0);
    if (!segment_path(path, seglog->dir, found, ".timeindex") ||
        fs_open(seglog->fs, path, FS_READ, &file, NULL) != ERR_OK)
        return found;
    uint64_t size = 0;
    if (fs_size(file, &size, NULL) != ERR_OK)
        size = 0;
    if (size > find->cold_read.time_bytes)
        size = find->cold_read.time_bytes;
    uint64_t low = 0;
    uint64_t high = size / TIME_ENTRY_SIZE;
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        uint8_t entry[TIME_ENTRY_SIZE];
        size_t got = 0;
        if (fs_pread(file, entry, sizeof(entry), mid * TIME_ENTRY_SIZE, &got, NULL) != ERR_OK ||
            got != sizeof(entry))
            break;
        if ((int64_t)be64_load(entry) < find->timestamp_ms) {
            found = record_offset(find->cold_read.segment.value + be32_load(entry + 8) + 1);
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    fs_close(file);
    ASSERT(!record_offset_before(found, find->cold_read.segment));
    return found;
}

/* The first fitting record of the batch. False: none; one whose records do not parse has none, since
 * its producer is to blame and the answer lies behind it. */
static bool find_in_batch(struct seglog_find *find, struct slice batch, struct bytebuf *scratch)
{
    struct batch_iter iter;
    struct batch_record record;
    enum err err = batch_iter_init(&iter, batch, scratch, NULL);
    if (err == ERR_NO_MEMORY)
        find->err = err;
    if (err)
        return false;
    while (batch_iter_next(&iter, &record)) {
        if (record_offset_before(record.offset, find->from) ||
            !record_offset_before(record.offset, find->cold_read.bound) ||
            record.timestamp_ms < find->wanted_ms)
            continue;
        ASSERT(!record_offset_before(record.offset, find->from)); /* (1) */
        find->offset = record.offset;
        find->found_timestamp_ms = record.timestamp_ms;
        if (!find->whole || record.timestamp_ms == INT64_MAX)
            return true;
        find->wanted_ms = record.timestamp_ms + 1; /* only a greater one is better */
    }
    return false;
}

static void find_scan(struct seglog_find *find, struct fs_file *file, uint64_t pos)
{
    struct walk walk;
    struct batch_header header;
    struct slice bytes;
    struct bytebuf scratch;
    const struct seglog_cold *cold = &find->cold_read;
    ASSERT(pos < cold->end && !find->err);
    bytebuf_init(&scratch, BATCH_INFLATED_MAX);
    walk_init(&walk, file, pos, cold->end, true);
    bool through = false;
    struct record_offset behind = find->from;
    while (!find->err && walk_next(&walk, &header, &bytes)) {
        behind = batch_end_offset(&header);
        through = !record_offset_before(header.base_offset, find->cold_read.bound);
        if (through)
            break;
        if (header.attributes & BATCH_ATTR_CONTROL || header.max_timestamp_ms < find->wanted_ms)
            continue;
        if (find_in_batch(find, bytes, &scratch))
            break;
    }
    if (find->err || (find->offset.value >= 0 && !find->whole) || through)
        ;
    else if (walk.err)
        find->err = walk.err == ERR_NO_MEMORY ? ERR_NO_MEMORY : ERR_STORAGE;
    else if (walk.stop || walk.pos < cold->end || record_offset_before(behind, cold->next_segment))
        find->err = ERR_CORRUPT; /* what is missing may have been the answer */
    walk_deinit(&walk);
    bytebuf_deinit(&scratch);
}

static void find_run(struct work *work)
{
    struct seglog_find *find = CONTAINER_OF(work, struct seglog_find, work);
    struct seglog *seglog = find->seglog;
    struct seglog_cold *cold = &find->cold_read;
    if (cold->segment.value < 0)
        return;
    struct fs_file *file;
    find->err = cold_open(seglog, cold, &file);
    if (find->err == ERR_OFFSET_OUT_OF_RANGE)
        find->err = ERR_OK; /* removed: the next segment */
    else if (!find->err) {
        struct record_offset from = find->from;
        if (find->timestamp_ms != SEGLOG_FIND_MAX)
            from = record_offset_max(from, time_index_find(seglog, find));
        uint64_t pos = 0;
        uint32_t size = 0;
        find->err = cold_seek(seglog, file, cold, from, &pos, &size);
        if (!find->err && size > 0)
            find_scan(find, file, pos);
        else if (!find->err && record_offset_before(from, cold->next_segment))
            find->err = ERR_CORRUPT;
        fs_close(file);
    }
}

static void find_done(struct work *work);

/* Greatest time of the segment's written batches. */
static int64_t written_max_ms(const struct seglog *seglog, uint32_t index)
{
    uint32_t active = seglog->mark_written.segment_count - 1;
    ASSERT(index < seglog->segment_count);
    if (index > active)
        return -1;
    return index == active ? seglog->mark_written.active.max_ms : seglog->segments[index]->max_ms;
}

/* Goes to the first segment at or behind index that can hold the answer; without one the search
 * ends. */
static void find_go(struct seglog *seglog, struct seglog_find *find, uint32_t index)
{
    ASSERT(seglog->busy > 0 && index <= seglog->segment_count);
    find->cold_read.segment = record_offset(-1);
    for (; index < seglog->segment_count; index++) {
        struct segment *segment = seglog->segments[index];
        if (!record_offset_before(segment->base, find->bound))
            break;
        if (written_max_ms(seglog, index) < find->wanted_ms || segment->written == 0)
            continue;
        struct record_offset from = record_offset_max(find->from, segment->base);
        struct record_offset behind;
        if (find->timestamp_ms != SEGLOG_FIND_MAX &&
            segment_time_find(segment, find->timestamp_ms, &behind))
            from = record_offset_max(from, behind);
        find->from = from;
        cold_prepare(seglog, index, from, find->bound, &find->cold_read);
        break;
    }
    reactor_work_lane(seglog->commit->reactor, &find->work, WORK_FAST, find_run, find_done);
}

static void find_done(struct work *work)
{
    struct seglog_find *find = CONTAINER_OF(work, struct seglog_find, work);
    struct seglog *seglog = find->seglog;
    ASSERT(seglog->busy > 0);
    bool open = !find->err && !seglog->ending && (find->offset.value < 0 || find->whole);
    if (open && find->cold_read.segment.value >= 0 && find->cold_read.next_segment.value >= 0) {
        find->from = record_offset_max(seglog->start, find->cold_read.next_segment);
        find_go(seglog, find, seglog_segment_find(seglog, find->from));
        return;
    }
    if (open && find->timestamp_ms == SEGLOG_FIND_MAX && !find->whole) {
        /* The greatest time was that of a record below the log start: look at all that are left. */
        find->whole = true;
        find->wanted_ms = INT64_MIN;
        find->from = seglog->start;
        find_go(seglog, find, seglog_segment_find(seglog, seglog->start));
        return;
    }
    ASSERT(find->offset.value < 0 || record_offset_before(find->offset, find->bound)); /* (1) */
    if (find->offset.value >= 0)
        find->epoch = seglog_epoch_at(seglog, find->offset);
    seglog->busy--;
    find->on_done(find);
    seglog_settle(seglog);
}

void seglog_find(struct seglog *seglog, struct seglog_find *find)
{
    ASSERT(find->on_done);
    find->seglog = seglog;
    find->offset = record_offset(-1);
    find->found_timestamp_ms = -1;
    find->epoch = leader_epoch(-1);
    find->err = seglog_state(seglog);
    find->from = seglog->start;
    find->bound = seglog->written;
    if (record_offset_before(find->below, find->bound))
        find->bound = find->below;
    find->wanted_ms = find->timestamp_ms;
    find->whole = false;
    seglog->busy++;
    uint32_t index = seglog_segment_find(seglog, seglog->start);
    if (find->timestamp_ms == SEGLOG_FIND_MAX) {
        uint32_t best = index;
        for (uint32_t i = index; i < seglog->segment_count; i++)
            if (written_max_ms(seglog, i) > written_max_ms(seglog, best))
                best = i;
        find->wanted_ms = written_max_ms(seglog, best);
        index = find->wanted_ms < 0 ? seglog->segment_count : best;
    }
    if (find->err)
        index = seglog->segment_count;
    ASSERT(!record_offset_before(seglog->written, find->bound));
    find_go(seglog, find, index);
}
