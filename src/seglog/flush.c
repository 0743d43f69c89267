/*
 * Flushing a log in the background.
 *
 * Role: brings everything written so far to stable storage outside of commit rounds: so that the
 * journal may be reused, that a full segment can be let go, and that the next start has little to
 * walk. A flush that writes a recovery point also appends to the index files and saves producers,
 * epochs and the point itself, in this order:
 *
 *   sync segments -> .index, .timeindex -> <offset>.snapshot -> leader-epoch-checkpoint ->
 * weir-checkpoint
 *
 * Invariants: (1) one flush per log at a time; (2) its own handles, so it runs beside a round on
 * the same file; (3) the recovery point names an offset that was written before the flush began and
 * is synced before the point is; (4) only segments behind which everything is written are finished
 * (trimmed, indexes closed).
 *
 * Ownership: struct flush is made by the owner shard, filled with copies, held by the worker, read
 * back by the shard.
 *
 * Failure modes: a sync that fails takes the log offline. Index, snapshot or point that cannot be
 * written are left as they are and tried again with a later flush: the old recovery point stays
 * true.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "seglog/commit_int.h"

enum { FLUSH_SEGMENTS_MAX = 16, FLUSH_STATE_MAX = 64 * 1024 * 1024 };

/* New entries of one index file. */
struct flush_index {
    uint8_t *bytes;
    uint32_t len;
    uint64_t at;
};

struct flush_item {
    struct segment *segment;
    struct record_offset base;
    uint64_t bytes; /* written when the flush began */
    bool finish;
    struct flush_index index;
    struct flush_index time;
};

struct flush {
    struct work work;
    struct seglog *seglog;
    struct fs *fs;
    struct flush_item items[FLUSH_SEGMENTS_MAX];
    uint32_t item_count;
    bool complete; /* all unsynced segments are in items */
    bool point;
    bool dir;                    /* a file's entry is not yet durable */
    struct record_offset synced; /* offset that holds when done */
    uint64_t unsynced_bytes;
    uint64_t point_bytes;
    bool folder_unsynced;
    struct checkpoint checkpoint;
    struct record_offset snapshot_gone;
    struct bytebuf snapshot;
    struct bytebuf epochs;
    struct bytebuf checkpoint_text;
    enum err err; /* of syncing segments */
    struct err_info info;
    enum err point_err;
    struct err_info point_info;
};

static void flush_free(struct flush *flush)
{
    for (uint32_t i = 0; i < flush->item_count; i++) {
        free(flush->items[i].index.bytes);
        free(flush->items[i].time.bytes);
    }
    bytebuf_deinit(&flush->snapshot);
    bytebuf_deinit(&flush->epochs);
    bytebuf_deinit(&flush->checkpoint_text);
    free(flush);
}

/* ---- worker ---- */

static enum err index_flush(struct flush *flush, struct flush_item *item, struct flush_index *index,
                            const char *suffix)
{
    if (index->len == 0 && !item->finish)
        return ERR_OK;
    char path[SEGLOG_PATH_MAX];
    if (!segment_path(path, flush->seglog->dir, item->base, suffix))
        return ERR_INVALID_ARGUMENT;
    struct fs_file *file;
    enum err err =
        fs_open(flush->fs, path, FS_READ | FS_WRITE | FS_CREATE, &file, &flush->point_info);
    if (err)
        return err;
    if (index->len > 0)
        err = fs_pwrite(file, index->bytes, index->len, index->at, &flush->point_info);
    if (!err)
        err = fs_truncate(file, index->at + index->len, &flush->point_info);
    if (!err)
        err = fs_sync(file, &flush->point_info);
    fs_close(file);
    return err;
}

static enum err item_flush(struct flush *flush, struct flush_item *item)
{
    char path[SEGLOG_PATH_MAX];
    if (!segment_path(path, flush->seglog->dir, item->base, ".log"))
        return err_info_set(&flush->info, ERR_INVALID_ARGUMENT, "path too long");
    struct fs_file *file;
    enum err err = fs_open(flush->fs, path, FS_READ | FS_WRITE, &file, &flush->info);
    if (err)
        return err;
    if (item->finish)
        err = fs_truncate(file, item->bytes, &flush->info);
    if (!err) {
        err = fs_sync(file, &flush->info);
        if (err)
            seglog_suspect(flush->seglog);
        else if (atomic_load(&flush->seglog->suspect))
            err = err_info_set(&flush->info, ERR_STORAGE, "a sync failed before");
    }
    fs_close(file);
    return err;
}

static enum err state_flush(struct flush *flush)
{
    char path[SEGLOG_PATH_MAX];
    const char *dir = flush->seglog->dir;
    struct err_info *info = &flush->point_info;
    if (!segment_path(path, dir, flush->checkpoint.offset, ".snapshot"))
        return ERR_INVALID_ARGUMENT;
    enum err err = fs_write_atomic(flush->fs, path, bytebuf_slice(&flush->snapshot), info);
    if (!err && flush->epochs.len > 0) {
        int n = snprintf(path, sizeof(path), "%s/leader-epoch-checkpoint", dir);
        ASSERT(n > 0 && (size_t)n < sizeof(path));
        err = fs_write_atomic(flush->fs, path, bytebuf_slice(&flush->epochs), info);
    }
    if (!err) {
        int n = snprintf(path, sizeof(path), "%s/weir-checkpoint", dir);
        ASSERT(n > 0 && (size_t)n < sizeof(path));
        err = fs_write_atomic(flush->fs, path, bytebuf_slice(&flush->checkpoint_text), info);
    }
    if (!err && flush->snapshot_gone.value >= 0 &&
        segment_path(path, dir, flush->snapshot_gone, ".snapshot")) {
        struct err_info ignored;
        if (fs_unlink(flush->fs, path, &ignored) != ERR_OK)
            diag(DIAG_DEBUG, "seglog", "snapshot=%s error=\"%s\"", path, ignored.text);
    }
    return err;
}

static void flush_run(struct work *work)
{
    struct flush *flush = CONTAINER_OF(work, struct flush, work);
    struct seglog *seglog = flush->seglog;
    for (uint32_t i = 0; i < flush->item_count && !flush->err; i++)
        flush->err = item_flush(flush, &flush->items[i]);
    if (!flush->err && flush->dir)
        flush->err = fs_sync_dir(flush->fs, seglog->dir, &flush->info);
    if (!flush->err && flush->folder_unsynced)
        flush->err = fs_sync_dir(flush->fs, seglog->commit->store->folder, &flush->info);
    if (flush->err || !flush->point)
        return;
    for (uint32_t i = 0; i < flush->item_count && !flush->point_err; i++) {
        struct flush_item *item = &flush->items[i];
        flush->point_err = index_flush(flush, item, &item->index, ".index");
        if (!flush->point_err)
            flush->point_err = index_flush(flush, item, &item->time, ".timeindex");
    }
    if (!flush->point_err && flush->complete)
        flush->point_err = state_flush(flush);
}

/* ---- shard ---- */

static bool index_copy(const struct index_part *part, uint64_t upto, struct flush_index *ret_index)
{
    ASSERT(upto >= part->flushed && upto <= part->flushed + part->len);
    ret_index->at = part->flushed;
    ret_index->len = (uint32_t)(upto - part->flushed);
    if (ret_index->len == 0)
        return true;
    ret_index->bytes = malloc(ret_index->len);
    if (!ret_index->bytes)
        return false;
    memcpy(ret_index->bytes, part->bytes, ret_index->len);
    return true;
}

/* Takes up the segments that have something unsynced or unfinished. False: out of memory. */
static bool flush_items_fill(struct flush *flush)
{
    struct seglog *seglog = flush->seglog;
    uint32_t active = seglog->mark_written.segment_count - 1;
    uint32_t first = active + 1;
    while (first > 0 && !seglog->segments[first - 1]->finished)
        first--;
    flush->complete = true;
    for (uint32_t i = first; i <= active; i++) {
        struct segment *segment = seglog->segments[i];
        if (flush->item_count == FLUSH_SEGMENTS_MAX) {
            flush->complete = false;
            break;
        }
        bool finish = flush->point && i < active;
        if (segment->written == 0 || (!segment->unsynced && !flush->point))
            continue;
        struct flush_item *item = &flush->items[flush->item_count++];
        item->segment = segment;
        item->base = segment->base;
        item->bytes = segment->written;
        item->finish = finish;
        flush->dir = flush->dir || !segment->named;
        if (!flush->point)
            continue;
        if (finish)
            segment_index_close(segment);
        uint64_t index = i < active ? segment->index.flushed + segment->index.len
                                    : seglog->mark_written.active.index_bytes;
        uint64_t time = i < active ? segment->time.flushed + segment->time.len
                                   : seglog->mark_written.active.time_bytes;
        if (!index_copy(&segment->index, index, &item->index) ||
            !index_copy(&segment->time, time, &item->time))
            return false;
    }
    return true;
}

static bool flush_state_fill(struct flush *flush)
{
    struct seglog *seglog = flush->seglog;
    const struct log_mark *mark = &seglog->mark_written;
    flush->checkpoint =
        (struct checkpoint){.log_start = seglog->start,
                            .segment = seglog->segments[mark->segment_count - 1]->base,
                            .pos = file_pos(mark->active.bytes),
                            .offset = mark->end,
                            .first_ms = seglog->segments[mark->segment_count - 1]->first_ms,
                            .max_ms = mark->active.max_ms,
                            .max_ms_last = mark->active.max_ms_last};
    ASSERT(mark->end.value == seglog->written.value);
    producers_encode(&seglog->producers, seglog->written, seglog->undo, seglog->undo_count,
                     &flush->snapshot);
    epochs_encode(&seglog->epochs, &flush->epochs);
    checkpoint_encode(&flush->checkpoint, &flush->checkpoint_text);
    flush->snapshot_gone = seglog->snapshots[1];
    if (flush->snapshot_gone.value == flush->checkpoint.offset.value ||
        seglog->snapshots[0].value == flush->checkpoint.offset.value)
        flush->snapshot_gone = record_offset(-1);
    return !flush->snapshot.failed && !flush->epochs.failed && !flush->checkpoint_text.failed;
}

static void index_flushed(struct index_part *part, const struct flush_index *index)
{
    ASSERT(part->flushed == index->at && part->len >= index->len);
    part->flushed += index->len;
    part->len -= index->len;
    if (part->len > 0) {
        memmove(part->bytes, part->bytes + index->len, part->len);
    } else {
        free(part->bytes);
        part->bytes = NULL;
        part->cap = 0;
    }
}

static void flush_apply_point(struct flush *flush)
{
    struct seglog *seglog = flush->seglog;
    for (uint32_t i = 0; i < flush->item_count; i++) {
        struct flush_item *item = &flush->items[i];
        index_flushed(&item->segment->index, &item->index);
        index_flushed(&item->segment->time, &item->time);
        item->segment->finished = item->finish;
    }
    if (!flush->complete) {
        seglog->flush_wanted = seglog->point_wanted = true;
        return;
    }
    seglog->point = flush->checkpoint;
    seglog->point_bytes -= flush->point_bytes;
    if (seglog->snapshots[0].value != flush->checkpoint.offset.value) {
        seglog->snapshots[1] = seglog->snapshots[0];
        seglog->snapshots[0] = flush->checkpoint.offset;
    }
}

static void flush_apply(struct flush *flush)
{
    struct seglog *seglog = flush->seglog;
    for (uint32_t i = 0; i < flush->item_count; i++) {
        struct flush_item *item = &flush->items[i];
        item->segment->named = true;
        if (item->segment->written == item->bytes && (item->finish || !seglog->in_round))
            item->segment->unsynced = false;
    }
    if (flush->complete) {
        if (record_offset_before(seglog->synced, flush->synced)) {
            seglog->synced = flush->synced;
            seglog->unsynced_bytes = seglog->unsynced_bytes > flush->unsynced_bytes
                                         ? seglog->unsynced_bytes - flush->unsynced_bytes
                                         : 0;
        }
        seglog->folder_unsynced = seglog->folder_unsynced && !flush->folder_unsynced;
        journal_release(seglog->commit, seglog);
    } else {
        seglog->flush_wanted = true;
    }
    if (flush->point && !flush->point_err)
        flush_apply_point(flush);
    else if (flush->point)
        diag(DIAG_DEBUG, "seglog", "log=%s point=kept error=\"%s\"", seglog->name,
             flush->point_info.text);
}

static void flush_done(struct work *work)
{
    struct flush *flush = CONTAINER_OF(work, struct flush, work);
    struct seglog *seglog = flush->seglog;
    struct commit *commit = seglog->commit;
    ASSERT(seglog->flushing && commit->flushing > 0);
    seglog->flushing = false;
    commit->flushing--;
    if (flush->err == ERR_LIMIT || flush->err == ERR_NO_MEMORY) {
        diag(DIAG_WARN, "seglog", "log=%s flush=put-off error=\"%s\"", seglog->name,
             flush->info.text);
    } else if (flush->err) {
        commit->stats.failures++;
        seglog_offline(seglog, &flush->info);
        seglog_moved_call(seglog);
    } else if (seglog->life != SEGLOG_OFFLINE) {
        flush_apply(flush);
        seglog_waiters_run(seglog);
        seglog_files_sweep(seglog);
    }
    flush_free(flush);
    if (seglog->flush_wanted && seglog->life == SEGLOG_SERVING)
        seglog_flush(seglog);
    seglog_settle(seglog);
    commit_flush_next(commit);
}

static void flush_start(struct seglog *seglog)
{
    struct commit *commit = seglog->commit;
    struct flush *flush = calloc(1, sizeof(*flush));
    if (!flush)
        return; /* asked for again by the next round that wants it */
    bytebuf_init(&flush->snapshot, FLUSH_STATE_MAX);
    bytebuf_init(&flush->epochs, FLUSH_STATE_MAX);
    bytebuf_init(&flush->checkpoint_text, 4096);
    flush->seglog = seglog;
    flush->fs = commit->fs;
    flush->point = seglog->point_wanted;
    flush->synced = seglog->written;
    flush->unsynced_bytes = seglog->unsynced_bytes;
    flush->point_bytes = seglog->point_bytes;
    flush->folder_unsynced = seglog->folder_unsynced;
    if (!flush_items_fill(flush) || (flush->point && !flush_state_fill(flush))) {
        flush_free(flush);
        return;
    }
    seglog->flush_wanted = seglog->point_wanted = false;
    seglog->flushing = true;
    commit->flushing++;
    reactor_work_lane(commit->reactor, &flush->work, WORK_SLOW, flush_run, flush_done);
}

void seglog_flush(struct seglog *seglog)
{
    if (seglog->life == SEGLOG_OFFLINE)
        return;
    seglog->flush_wanted = true;
    if (!seglog->flushing && list_empty(&seglog->flush_node))
        list_push_back(&seglog->commit->flushes, &seglog->flush_node);
    commit_flush_next(seglog->commit);
}

void commit_flush_next(struct commit *commit)
{
    while (commit->flushing < FLUSHES_MAX && !list_empty(&commit->flushes)) {
        struct seglog *seglog =
            CONTAINER_OF(list_pop_front(&commit->flushes), struct seglog, flush_node);
        ASSERT(!seglog->flushing);
        if (seglog->life != SEGLOG_OFFLINE && seglog->flush_wanted)
            flush_start(seglog);
    }
}
