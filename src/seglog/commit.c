/*
 * Group commit of a shard.
 *
 * Role: gathers the appends of all logs of a shard into rounds. A round starts at the end of a turn
 * when none is in flight; whatever is appended while it runs makes up the next one. So the batch
 * size adapts to the disk: the slower a sync, the more appends share it.
 *
 *   append -> dirty list -> (end of turn) round_build -> worker: round_run -> round_done: offsets
 * visible, acknowledgements
 *
 * Invariants: (1) at most one round is in flight; (2) a log is in the round or not, and while it
 * is, the batches of the round stay in its tail; (3) the high watermark moves only in round_done,
 * to the end of what the round wrote and, where asked, synced; (4) pending_bytes is the sum over
 * logs of appended and unwritten bytes, at most pending_bytes_max when an append is accepted.
 *
 * Ownership: owner shard, but for struct round, which the worker has while in_flight.
 *
 * Failure modes: see round.c; each log's outcome is its own, a failing log does not hold up the
 * others.
 */
#include <stdlib.h>

#include "base/diag.h"
#include "seglog/commit_int.h"

static void round_start(struct commit *commit);

static void commit_turn_end(struct hook *hook)
{
    struct commit *commit = CONTAINER_OF(hook, struct commit, hook);
    if (!commit->in_flight && (!list_empty(&commit->dirty) || commit->closing_count > 0))
        round_start(commit);
}

enum err commit_create(struct seglog_store *store, struct reactor *reactor,
                       const struct commit_config *config, struct commit **ret_commit)
{
    ASSERT(store && reactor && config);
    struct commit *commit = calloc(1, sizeof(*commit));
    if (!commit)
        return ERR_NO_MEMORY;
    commit->store = store;
    commit->fs = store->fs;
    commit->reactor = reactor;
    commit->config = *config;
    struct commit_config *set = &commit->config;
    set->tail_bytes_max = set->tail_bytes_max ? set->tail_bytes_max : TAIL_BYTES_DEFAULT;
    set->pending_bytes_max =
        set->pending_bytes_max ? set->pending_bytes_max : PENDING_BYTES_DEFAULT;
    set->cold_bytes_max = set->cold_bytes_max ? set->cold_bytes_max : COLD_BYTES_DEFAULT;
    set->journal_bytes = set->journal_bytes ? set->journal_bytes : JOURNAL_BYTES_DEFAULT;
    set->direct_files_max = set->direct_files_max ? set->direct_files_max : DIRECT_FILES_DEFAULT;
    set->direct_bytes_min = set->direct_bytes_min ? set->direct_bytes_min : DIRECT_BYTES_DEFAULT;
    hook_init(&commit->hook, commit_turn_end);
    list_init(&commit->dirty);
    list_init(&commit->logs);
    list_init(&commit->flushes);
    list_init(&commit->cold_waiting);
    commit->round.commit = commit;
    commit->journal.next_cycle = 1;
    *ret_commit = commit;
    return ERR_OK;
}

void commit_destroy(struct commit *commit)
{
    if (!commit)
        return;
    ASSERT(commit_idle(commit) && list_empty(&commit->logs));
    reactor_hook_cancel(&commit->hook);
    for (uint32_t i = 0; i < commit->closing_count; i++)
        fs_close(commit->closing[i]);
    journal_end(commit);
    free(commit->closing);
    free(commit->tail_fifo);
    free(commit->round.jobs);
    free(commit->round.parts);
    free(commit->round.extents);
    free(commit->round.syncs);
    free(commit->round.frames);
    free(commit->round.frame_parts);
    free(commit->round.closing);
    free(commit);
}

bool commit_idle(const struct commit *commit)
{
    return !commit->in_flight && list_empty(&commit->dirty) && commit->flushing == 0 &&
           commit->opening == 0 && commit->journal.state != JOURNAL_MAKING;
}

void commit_stats_get(const struct commit *commit, struct commit_stats *ret_stats)
{
    *ret_stats = commit->stats;
    ret_stats->tail_bytes = commit->tail_bytes;
    ret_stats->pending_bytes = commit->pending_bytes;
}

void commit_mark(struct commit *commit, struct seglog *seglog)
{
    if (list_empty(&seglog->dirty_node))
        list_push_back(&commit->dirty, &seglog->dirty_node);
    if (!commit->in_flight)
        reactor_at_turn_end(commit->reactor, &commit->hook);
}

void commit_close_later(struct commit *commit, struct fs_file *file)
{
    void *closing = commit->closing;
    if (!grow(&closing, &commit->closing_cap, commit->closing_count, 1, sizeof(*commit->closing))) {
        fs_close(file);
        return;
    }
    commit->closing = closing;
    commit->closing[commit->closing_count++] = file;
}

/* Appends a range to the round's parts, merged with the last one when it follows it in memory. */
static bool round_part_add(struct round *round, uint32_t first, struct slice bytes)
{
    if (round->part_count > first) {
        struct slice *last = &round->parts[round->part_count - 1];
        if (last->data + last->len == bytes.data) {
            last->len += bytes.len;
            return true;
        }
    }
    void *parts = round->parts;
    if (!grow(&parts, &round->part_cap, round->part_count, 1, sizeof(*round->parts)))
        return false;
    round->parts = parts;
    round->parts[round->part_count++] = bytes;
    return true;
}

static struct round_extent *round_extent_add(struct round *round, struct segment *segment)
{
    void *extents = round->extents;
    if (!grow(&extents, &round->extent_cap, round->extent_count, 1, sizeof(*round->extents)))
        return NULL;
    round->extents = extents;
    struct round_extent *extent = &round->extents[round->extent_count++];
    *extent = (struct round_extent){
        .segment = segment, .pos = file_pos(segment->written), .part_first = round->part_count};
    return extent;
}

/* Splits the log's pending batches into one extent per segment. False: out of memory. */
static bool job_extents_build(struct round *round, struct round_job *job)
{
    struct seglog *seglog = job->seglog;
    uint32_t s = seglog_segment_find(seglog, job->from);
    struct round_extent *extent = NULL;
    job->extent_first = round->extent_count;
    for (uint32_t i = tail_find(&seglog->tail, job->from); i < seglog->tail.count; i++) {
        struct tail_entry *entry = tail_at(&seglog->tail, i);
        while (s + 1 < seglog->segment_count &&
               !record_offset_before(entry->base, seglog->segments[s + 1]->base)) {
            s++;
            extent = NULL;
        }
        if (!extent)
            extent = round_extent_add(round, seglog->segments[s]);
        if (!extent ||
            !round_part_add(round, extent->part_first, slice_make(entry->data, entry->size)))
            return false;
        extent->part_count = round->part_count - extent->part_first;
        extent->bytes += entry->size;
        job->bytes += entry->size;
        job->batches++;
    }
    job->extent_count = round->extent_count - job->extent_first;
    return true;
}

/* Segments to sync, and the batches a journal frame would hold. False: out of memory. */
static bool job_durable_build(struct round *round, struct round_job *job)
{
    struct seglog *seglog = job->seglog;
    job->sync_first = round->sync_count;
    for (uint32_t i = seglog->segment_count; i > 0 && !seglog->segments[i - 1]->finished; i--) {
        struct segment *segment = seglog->segments[i - 1];
        if (!segment->unsynced && segment->bytes == segment->written)
            continue;
        void *syncs = round->syncs;
        if (!grow(&syncs, &round->sync_cap, round->sync_count, 1, sizeof(*round->syncs)))
            return false;
        round->syncs = syncs;
        round->syncs[round->sync_count++] = segment;
    }
    job->sync_count = round->sync_count - job->sync_first;
    job->journal_base = seglog_durable(seglog);
    job->journal_part_first = round->part_count;
    uint32_t i = tail_find(&seglog->tail, job->journal_base);
    if (i == seglog->tail.count ||
        record_offset_before(job->journal_base, tail_at(&seglog->tail, i)->base)) {
        job->journal_bytes = UINT64_MAX; /* not all in memory any more */
        return true;
    }
    for (; i < seglog->tail.count; i++) {
        struct tail_entry *entry = tail_at(&seglog->tail, i);
        if (!round_part_add(round, job->journal_part_first, slice_make(entry->data, entry->size)))
            return false;
        job->journal_bytes += entry->size;
    }
    job->journal_part_count = round->part_count - job->journal_part_first;
    return true;
}

/* Makes the log part of the round. False: out of memory, the log stays dirty. */
static bool round_job_add(struct round *round, struct seglog *seglog)
{
    void *jobs = round->jobs;
    if (!grow(&jobs, &round->job_cap, round->job_count, 1, sizeof(*round->jobs)))
        return false;
    round->jobs = jobs;
    struct round_job *job = &round->jobs[round->job_count];
    *job = (struct round_job){.seglog = seglog,
                              .from = seglog->written,
                              .to = seglog->end,
                              .folder_unsynced = seglog->folder_unsynced};
    uint32_t parts = round->part_count, extents = round->extent_count, syncs = round->sync_count;
    job->durable = record_offset_before(seglog_durable(seglog), seglog->durable_wanted);
    if (!job_extents_build(round, job) || (job->durable && !job_durable_build(round, job))) {
        round->part_count = parts;
        round->extent_count = extents;
        round->sync_count = syncs;
        return false;
    }
    ASSERT(job->bytes == seglog->pending_bytes);
    round->job_count++;
    seglog->in_round = true;
    seglog->mark_round = seglog_mark(seglog);
    struct record_offset durable = seglog_durable(seglog);
    seglog->tail.keep =
        record_offset_before(durable, job->from) && job->durable ? durable : job->from;
    return true;
}

static void round_done(struct work *work);

static void round_start(struct commit *commit)
{
    ASSERT(!commit->in_flight);
    struct round *round = &commit->round;
    round->job_count = round->part_count = round->extent_count = round->sync_count = 0;
    round->journal_jobs = round->synced_files = 0;
    round->journal_written = 0;
    round->journal_err = ERR_OK;
    uint64_t bytes = 0;
    uint32_t durable = 0;
    uint32_t durable_max = journal_usable(commit) ? UINT32_MAX : DIRECT_ROUND_MAX;
    while (!list_empty(&commit->dirty) && bytes < ROUND_BYTES_MAX &&
           round->part_count < ROUND_PARTS_MAX && durable < durable_max) {
        struct seglog *seglog = CONTAINER_OF(list_front(&commit->dirty), struct seglog, dirty_node);
        if (!round_job_add(round, seglog)) {
            if (round->job_count > 0)
                break;
            reactor_at_turn_end(commit->reactor,
                                &commit->hook); /* no memory: once more next turn */
            return;
        }
        bytes += round->jobs[round->job_count - 1].bytes;
        durable += round->jobs[round->job_count - 1].durable;
        list_remove(&seglog->dirty_node);
    }
    journal_plan(commit, round);
    struct fs_file **closing = round->closing;
    uint32_t closing_cap = round->closing_cap;
    round->closing = commit->closing;
    round->closing_count = commit->closing_count;
    round->closing_cap = commit->closing_cap;
    commit->closing = closing;
    commit->closing_cap = closing_cap;
    commit->closing_count = 0;
    commit->in_flight = true;
    commit->stats.rounds++;
    reactor_work_lane(commit->reactor, &round->work, WORK_FAST, round_run, round_done);
}

/* The round's bytes of this log are in the kernel. */
static void job_written(struct round *round, struct round_job *job)
{
    struct seglog *seglog = job->seglog;
    for (uint32_t i = 0; i < job->extent_count; i++) {
        struct round_extent *extent = &round->extents[job->extent_first + i];
        ASSERT(extent->segment->written == extent->pos.value);
        extent->segment->written += extent->bytes;
        extent->segment->unsynced = true;
    }
    ASSERT(seglog->pending_bytes >= job->bytes && seglog->commit->pending_bytes >= job->bytes);
    seglog->pending_bytes -= job->bytes;
    seglog->commit->pending_bytes -= job->bytes;
    seglog->unsynced_bytes += job->bytes;
    seglog->point_bytes += job->bytes;
    seglog->written = job->to;
    seglog->mark_written = seglog->mark_round;
    uint32_t drop = 0;
    while (drop < seglog->undo_count &&
           record_offset_before(seglog->undo[drop].base, seglog->written))
        drop++;
    if (drop > 0) {
        seglog->undo_count -= drop;
        memmove(seglog->undo, seglog->undo + drop, seglog->undo_count * sizeof(*seglog->undo));
    }
    seglog->commit->stats.batches += job->batches;
    seglog->commit->stats.bytes += job->bytes;
}

static void job_synced(struct round *round, struct round_job *job)
{
    struct seglog *seglog = job->seglog;
    for (uint32_t i = 0; i < job->sync_count; i++) {
        round->syncs[job->sync_first + i]->unsynced = false;
        round->syncs[job->sync_first + i]->named = true;
    }
    seglog->synced = job->to;
    seglog->unsynced_bytes = 0;
    seglog->folder_unsynced = false;
    journal_release(seglog->commit, seglog);
}

static void job_finish(struct commit *commit, struct round *round, struct round_job *job)
{
    struct seglog *seglog = job->seglog;
    ASSERT(seglog->in_round);
    seglog->in_round = false;
    if (seglog->life == SEGLOG_OFFLINE) {
        seglog_offline(seglog, NULL);
        return;
    }
    if (job->err == ERR_DISK_FULL) {
        commit->stats.failures++;
        diag(DIAG_DEBUG, "seglog", "log=%s error=\"%s\"", seglog->name, job->info.text);
        seglog->full_until_us = reactor_now_us(commit->reactor) + FULL_PAUSE_US;
        seglog->tail.keep = seglog->written;
        seglog_rollback(seglog, ERR_DISK_FULL);
        return;
    }
    if (job->err) {
        commit->stats.failures++;
        seglog_offline(seglog, &job->info);
        return;
    }
    job_written(round, job);
    if (job->synced)
        job_synced(round, job);
    else if (job->way == SYNC_JOURNAL)
        journal_note(commit, round, job);
    seglog->tail.keep = seglog->written;
    seglog_files_sweep(seglog);
    if (seglog->segment_count > 1 && !seglog->segments[seglog->segment_count - 2]->finished)
        seglog->point_wanted = true;
    if (seglog->point_bytes >= CHECKPOINT_EVERY_BYTES)
        seglog->point_wanted = true;
    if (seglog->point_wanted)
        seglog_flush(seglog);
}

static void round_done(struct work *work)
{
    struct round *round = CONTAINER_OF(work, struct round, work);
    struct commit *commit = round->commit;
    ASSERT(commit->in_flight);
    commit->stats.segment_syncs += round->synced_files;
    if (round->journal_jobs >
        0) /* rounds follow one another without a gap, which would end the replay */
        commit->journal.pos = file_pos_add(round->journal_pos, round->journal_written);
    if (round->journal_err) {
        diag(DIAG_ERROR, "seglog", "journal=broken error=\"%s\"", round->journal_info.text);
        commit->journal.state = JOURNAL_BROKEN;
    }
    for (uint32_t i = 0; i < round->job_count; i++) {
        struct seglog *seglog = round->jobs[i].seglog;
        job_finish(commit, round, &round->jobs[i]);
        if (seglog->life != SEGLOG_OFFLINE)
            seglog_waiters_run(seglog);
        seglog_moved_call(seglog);
        seglog_settle(seglog);
    }
    tail_evict(commit);
    commit->in_flight = false;
    if (!list_empty(&commit->dirty))
        reactor_at_turn_end(commit->reactor, &commit->hook);
    commit_flush_next(commit);
}
