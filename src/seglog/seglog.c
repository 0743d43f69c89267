/*
 * The log: life cycle, state, waiting appends.
 *
 * Role: ties segments, tail, producers and epochs of one partition together and decides what
 * callers may see.
 *
 *   start <= high watermark (`written`) <= end;  synced <= written, journaled <= written
 *
 *   opening --ok--> SERVING --close, delete--> CLOSING --> gone
 *                      `--disk error--> OFFLINE --close, delete--> gone
 *
 * Invariants: (1) the order of offsets above; (2) the last segment is active, all others sealed;
 * (3) the tail, where not empty, ends at `end`; (4) an accepted append ends with exactly one
 * on_done; (5) a log is freed only when no work item refers to it.
 *
 * Ownership: owner shard; opening, housekeeping and removal run on workers with the log marked
 * busy.
 *
 * Failure modes: a disk error takes the log offline: waiting appends fail with ERR_STORAGE, readers
 * are refused, the other logs go on. Lack of space fails waiting appends with ERR_DISK_FULL and
 * takes back what was not written.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "seglog/commit_int.h"

void seglog_config_default(struct seglog_config *ret_config)
{
    *ret_config = (struct seglog_config){.segment_bytes = 1024 * 1024 * 1024,
                                         .segment_ms = 7LL * 24 * 3600 * 1000,
                                         .retention_ms = 7LL * 24 * 3600 * 1000,
                                         .retention_bytes = -1,
                                         .index_interval_bytes = 4096,
                                         .producer_expiration_ms = 24LL * 3600 * 1000,
                                         .deletion = true};
}

bool seglog_segment_add(struct seglog *seglog, struct segment *segment)
{
    void *segments = seglog->segments;
    if (seglog->segment_count >= SEGMENTS_MAX ||
        !grow(&segments, &seglog->segment_cap, seglog->segment_count, 1, sizeof(*seglog->segments)))
        return false;
    seglog->segments = segments;
    seglog->segments[seglog->segment_count++] = segment;
    return true;
}

uint32_t seglog_segment_find(const struct seglog *seglog, struct record_offset offset)
{
    ASSERT(seglog->segment_count > 0);
    uint32_t low = 0;
    uint32_t high = seglog->segment_count;
    while (high - low > 1) {
        uint32_t mid = low + (high - low) / 2;
        if (record_offset_before(offset, seglog->segments[mid]->base))
            high = mid;
        else
            low = mid;
    }
    return low;
}

struct log_mark seglog_mark(const struct seglog *seglog)
{
    return (struct log_mark){.end = seglog->end,
                             .segment_count = seglog->segment_count,
                             .active = segment_mark(seglog_active(seglog))};
}

void seglog_check(const struct seglog *seglog)
{
    ASSERT(seglog->start.value <= seglog->written.value);
    ASSERT(seglog->written.value <= seglog->end.value);
    ASSERT(seglog->synced.value <= seglog->written.value);
    ASSERT(seglog->journaled.value <= seglog->written.value);
    ASSERT(seglog->segment_count > 0 && !seglog_active(seglog)->sealed);
    ASSERT(seglog->tail.count == 0 ||
           tail_at(&seglog->tail, seglog->tail.count - 1)->end.value == seglog->end.value);
    for (uint32_t i = 0; i + 1 < seglog->segment_count; i++)
        ASSERT(seglog->segments[i]->sealed &&
               seglog->segments[i]->base.value < seglog->segments[i + 1]->base.value);
}

void seglog_free(struct seglog *seglog)
{
    if (!seglog)
        return;
    for (uint32_t i = 0; i < seglog->segment_count; i++) {
        struct segment *segment = seglog->segments[i];
        fs_close(segment->file);
        segment->file = NULL;
        segment_destroy(segment);
    }
    free(seglog->segments);
    producers_deinit(&seglog->producers);
    epochs_deinit(&seglog->epochs);
    free(seglog->undo);
    free(seglog->name);
    free(seglog->dir);
    free(seglog);
}

/* ---- opening ---- */

static struct seglog *seglog_alloc(const struct seglog_open *open)
{
    struct seglog *seglog = calloc(1, sizeof(*seglog));
    if (!seglog)
        return NULL;
    const char *folder = open->commit->store->folder;
    size_t dir_size = strlen(folder) + strlen(open->name) + 2;
    seglog->commit = open->commit;
    seglog->fs = open->commit->fs;
    seglog->name = strdup(open->name);
    seglog->dir = malloc(dir_size);
    if (!seglog->name || !seglog->dir || !producers_init(&seglog->producers)) {
        seglog_free(seglog);
        return NULL;
    }
    snprintf(seglog->dir, dir_size, "%s/%s", folder, open->name);
    seglog->id = open->id;
    seglog->config = open->config;
    seglog->moved = open->moved;
    seglog->moved_ctx = open->moved_ctx;
    list_init(&seglog->waiting);
    list_init(&seglog->dirty_node);
    list_init(&seglog->all_node);
    list_init(&seglog->flush_node);
    list_init(&seglog->ops);
    return seglog;
}

static void open_run(struct work *work)
{
    struct seglog_open *open = CONTAINER_OF(work, struct seglog_open, work);
    if (!open->opening) {
        open->err = err_info_set(&open->info, ERR_NO_MEMORY, "opening %s", open->name);
        return;
    }
    open->err = seglog_recover(open->opening, open, open->now_ms, &open->recovered_bytes,
                               &open->truncated_bytes, &open->info);
    if (open->err) {
        err_info_wrap(&open->info, "log %s", open->opening->name);
        seglog_free(open->opening);
        open->opening = NULL;
    }
}

static void open_done(struct work *work)
{
    struct seglog_open *open = CONTAINER_OF(work, struct seglog_open, work);
    struct commit *commit = open->commit;
    ASSERT(commit->opening > 0);
    commit->opening--;
    open->seglog = open->opening;
    if (open->err && open->err != ERR_NOT_FOUND) {
        journal_keep(commit->store, open->id);
    } else if (!open->err) {
        seglog_check(open->seglog);
        list_push_back(&commit->logs, &open->seglog->all_node);
        if (open->recovered_bytes >= CHECKPOINT_EVERY_BYTES) {
            open->seglog->point_wanted = true;
            seglog_flush(open->seglog);
        }
    }
    open->on_done(open);
}

void seglog_open_start(struct seglog_open *open)
{
    ASSERT(open->commit && open->name && open->on_done);
    open->err = ERR_OK;
    open->seglog = NULL;
    open->recovered_bytes = open->truncated_bytes = 0;
    open->now_ms = reactor_wall_ms(open->commit->reactor);
    open->opening = seglog_alloc(open);
    open->commit->opening++;
    reactor_work_lane(open->commit->reactor, &open->work, WORK_SLOW, open_run, open_done);
}

/* ---- state ---- */

struct seglog_bounds seglog_bounds(const struct seglog *seglog)
{
    return (struct seglog_bounds){.start = seglog->start,
                                  .high_watermark = seglog->written,
                                  .stable = seglog->written,
                                  .end = seglog->end,
                                  .epoch = seglog->epoch};
}

enum err seglog_state(const struct seglog *seglog)
{
    if (seglog->ending)
        return ERR_CLOSING;
    return seglog->life == SEGLOG_OFFLINE ? ERR_STORAGE : ERR_OK;
}

void seglog_config_set(struct seglog *seglog, const struct seglog_config *config)
{
    ASSERT(config->segment_bytes >= BATCH_HEADER_SIZE);
    seglog->config = *config;
}

void seglog_stats(const struct seglog *seglog, struct seglog_stats *ret_stats)
{
    *ret_stats = (struct seglog_stats){.segments = seglog->segment_count,
                                       .producers = (uint32_t)map_count(seglog->producers.map),
                                       .unsynced_bytes = seglog->unsynced_bytes,
                                       .last_timestamp_ms = -1};
    for (uint32_t i = 0; i < seglog->segment_count; i++) {
        const struct segment *segment = seglog->segments[i];
        ret_stats->bytes += segment->bytes;
        if (segment->max_ms > ret_stats->last_timestamp_ms)
            ret_stats->last_timestamp_ms = segment->max_ms;
    }
}

bool seglog_epoch_end(const struct seglog *seglog, struct leader_epoch asked,
                      struct leader_epoch *ret_epoch, struct record_offset *ret_end)
{
    const struct epochs *epochs = &seglog->epochs;
    if (asked.value == seglog->epoch.value) {
        *ret_epoch = asked;
        *ret_end = seglog->written;
        return true;
    }
    for (uint32_t i = epochs->count; i-- > 0;) {
        if (epochs->rows[i].epoch.value > asked.value)
            continue;
        *ret_epoch = epochs->rows[i].epoch;
        *ret_end = i + 1 < epochs->count ? epochs->rows[i + 1].start : seglog->written;
        return true;
    }
    if (asked.value < 0)
        return false;
    /* Older than all that is left: what it wrote was deleted, and it ended where the log now starts. */
    ASSERT(epochs->count == 0 || !record_offset_before(seglog->written, epochs->rows[0].start));
    *ret_epoch = asked;
    *ret_end = epochs->count > 0 ? epochs->rows[0].start : seglog->start;
    return true;
}

struct leader_epoch seglog_epoch_at(const struct seglog *seglog, struct record_offset offset)
{
    const struct epochs *epochs = &seglog->epochs;
    for (uint32_t i = epochs->count; i-- > 0;)
        if (!record_offset_before(offset, epochs->rows[i].start))
            return epochs->rows[i].epoch;
    return leader_epoch(-1);
}

bool seglog_producer_get(const struct seglog *seglog, int64_t producer_id,
                         struct seglog_producer *ret_producer)
{
    const struct producer *producer = producers_get(&seglog->producers, producer_id);
    if (!producer)
        return false;
    ASSERT(producer->count > 0);
    const struct producer_batch *last = &producer->batches[producer->count - 1];
    *ret_producer = (struct seglog_producer){.producer_id = producer_id,
                                             .epoch = producer->epoch,
                                             .last_sequence = last->last_sequence,
                                             .last_offset = last->last_offset,
                                             .last_timestamp_ms = last->timestamp_ms};
    return true;
}

void seglog_moved_call(struct seglog *seglog)
{
    if (seglog->moved)
        seglog->moved(seglog, seglog->moved_ctx);
}

/* ---- waiting appends ---- */

void seglog_waiters_run(struct seglog *seglog)
{
    for (;;) {
        struct list_node *front = list_front(&seglog->waiting);
        if (!front)
            return;
        struct seglog_append *append = CONTAINER_OF(front, struct seglog_append, node);
        struct record_offset reached =
            append->ack == SEGLOG_ACK_DURABLE ? seglog_durable(seglog) : seglog->written;
        if (record_offset_before(reached, append->wait_end) ||
            record_offset_before(seglog->written, append->wait_end))
            return;
        list_remove(front);
        append->err = ERR_OK;
        append->on_done(append);
    }
}

static void waiters_fail(struct seglog *seglog, struct record_offset above, enum err err)
{
    struct list_node failed;
    list_init(&failed);
    LIST_FOREACH_SAFE(node, &seglog->waiting)
    {
        struct seglog_append *append = CONTAINER_OF(node, struct seglog_append, node);
        if (!record_offset_before(above, append->wait_end))
            continue;
        list_remove(node);
        list_push_back(&failed, node);
    }
    for (struct list_node *node; (node = list_pop_front(&failed)) != NULL;) {
        struct seglog_append *append = CONTAINER_OF(node, struct seglog_append, node);
        append->err = err;
        append->on_done(append);
    }
}

/* Drops the segments that unwritten appends made, and rewinds the one that stays active. */
static void segments_rewind(struct seglog *seglog)
{
    const struct log_mark *mark = &seglog->mark_written;
    ASSERT(mark->end.value == seglog->written.value);
    while (seglog->segment_count > mark->segment_count &&
           record_offset_before(seglog->written, seglog_active(seglog)->base)) {
        struct segment *segment = seglog_active(seglog);
        if (segment->file)
            commit_close_later(seglog->commit, segment->file);
        segment->file = NULL;
        seglog->segment_count--;
        segment_destroy(segment);
    }
    struct segment *active = seglog_active(seglog);
    struct segment_mark empty = {.max_ms = -1, .max_ms_last = record_offset(-1), .indexed_ms = -1};
    bool kept = seglog->segment_count > mark->segment_count;
    segment_rewind(active, kept ? &empty : &mark->active);
}

void seglog_rollback(struct seglog *seglog, enum err err)
{
    ASSERT(!seglog->in_round);
    struct commit *commit = seglog->commit;
    ASSERT(commit->pending_bytes >= seglog->pending_bytes);
    commit->pending_bytes -= seglog->pending_bytes;
    seglog->pending_bytes = 0;
    for (uint32_t i = seglog->undo_count; i-- > 0;)
        producers_restore(&seglog->producers, &seglog->undo[i].former);
    seglog->undo_count = 0;
    segments_rewind(seglog);
    seglog->end = seglog->written;
    if (record_offset_before(seglog->end, seglog->durable_wanted))
        seglog->durable_wanted = seglog->end;
    epochs_rewind(&seglog->epochs, seglog->end);
    tail_rewind(seglog, seglog->end);
    seglog->mark_round = seglog->mark_written = seglog_mark(seglog);
    seglog_check(seglog);
    waiters_fail(seglog, seglog->written, err);
}

void seglog_offline(struct seglog *seglog, const struct err_info *why)
{
    struct commit *commit = seglog->commit;
    if (why)
        diag(DIAG_ERROR, "seglog", "log=%s state=offline error=\"%s\"", seglog->name, why->text);
    seglog->life = SEGLOG_OFFLINE;
    if (seglog->in_round)
        return; /* the round's end comes here again */
    list_remove(&seglog->dirty_node);
    list_remove(&seglog->flush_node);
    commit->pending_bytes -= seglog->pending_bytes;
    seglog->pending_bytes = 0;
    seglog->end = seglog->written;
    seglog->tail.keep = seglog->end;
    tail_clear(seglog);
    waiters_fail(seglog, record_offset(-1), ERR_STORAGE);
    seglog_settle(seglog);
}

void seglog_files_sweep(struct seglog *seglog)
{
    if (seglog->in_round)
        return;
    for (uint32_t i = seglog->segment_count; i-- > 0;) {
        struct segment *segment = seglog->segments[i];
        if (!segment->finished)
            continue;
        if (!segment->file)
            return;
        commit_close_later(seglog->commit, segment->file);
        segment->file = NULL;
    }
}
