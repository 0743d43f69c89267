/*
 * Housekeeping of a log: retention, trimming, closing, deleting.
 *
 * Role: the slow operations, one at a time per log, in the order asked.
 *
 *   retain, trim:   ASKED -> (flush until old segments are finished and the point is written) ->
 * FILES on a worker -> done close:          ASKED -> quiet -> last flush -> FILES: trim the
 * write-ahead, sync -> freed delete:         ASKED -> quiet -> FILES: rename the folder away,
 * remove it -> freed
 *
 * Invariants: (1) only finished segments are removed, oldest first, never the active one; each removal is durable before the
 * next, so that a power cut cannot bring back an older one without a newer one; (2) the
 * file that carries the log end exists and is durable before older ones go; (3) a DeleteRecords is
 * acknowledged after the recovery point that holds its start offset is durable; (4) a log is freed
 * only when it is quiet: no round, flush, read or search refers to it.
 *
 * Ownership: owner shard decides, a worker touches files with its own handles.
 *
 * Failure modes: a file that cannot be removed stays, is reported, and goes with a later retention
 * or at the next start of it; a log that does not close cleanly is recovered by the next start.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "seglog/commit_int.h"

enum op_kind { OP_RETAIN, OP_TRIM, OP_CLOSE, OP_DELETE };
enum op_step { OP_ASKED, OP_FLUSHED, OP_FILES };

static void op_done(struct work *work);

/* ---- worker ---- */

static void file_remove(struct seglog *seglog, struct record_offset base, const char *suffix)
{
    char path[SEGLOG_PATH_MAX];
    struct err_info why;
    if (!segment_path(path, seglog->dir, base, suffix) || !fs_exists(seglog->fs, path))
        return;
    if (fs_unlink(seglog->fs, path, &why) != ERR_OK)
        diag(DIAG_WARN, "seglog", "log=%s file=%s error=\"%s\"", seglog->name, path, why.text);
}

/* Makes sure that the active segment's file exists, then removes the old ones. */
static void remove_run(struct work *work)
{
    struct seglog_op *op = CONTAINER_OF(work, struct seglog_op, work);
    struct seglog *seglog = op->seglog;
    if (op->err || op->removed_count == 0)
        return;
    char path[SEGLOG_PATH_MAX];
    struct fs_file *file;
    if (!segment_path(path, seglog->dir, record_offset(op->arg), ".log")) {
        op->err = ERR_INVALID_ARGUMENT;
        return;
    }
    op->err = fs_open(seglog->fs, path, FS_READ | FS_WRITE | FS_CREATE, &file, &op->info);
    if (op->err)
        return;
    fs_close(file);
    op->err = fs_sync_dir(seglog->fs, seglog->dir, &op->info);
    for (uint32_t i = 0; i < op->removed_count && !op->err; i++) {
        file_remove(seglog, op->removed[i], ".log");
        op->err = fs_sync_dir(seglog->fs, seglog->dir, &op->info);
        file_remove(seglog, op->removed[i], ".index");
        file_remove(seglog, op->removed[i], ".timeindex");
    }
}

static void close_files(struct seglog *seglog)
{
    for (uint32_t i = 0; i < seglog->segment_count; i++) {
        fs_close(seglog->segments[i]->file);
        seglog->segments[i]->file = NULL;
    }
}

/* Cuts the zeros behind the data, so that the next start has nothing to look at, and gives reserved
 * blocks back. */
static void close_run(struct work *work)
{
    struct seglog_op *op = CONTAINER_OF(work, struct seglog_op, work);
    struct seglog *seglog = op->seglog;
    struct segment *active = seglog_active(seglog);
    char path[SEGLOG_PATH_MAX];
    close_files(seglog);
    bool ahead = active->zeroed > active->bytes ||
                 (active->reserved > active->bytes && active->reserved != UINT64_MAX);
    if (seglog->life == SEGLOG_OFFLINE || !ahead ||
        !segment_path(path, seglog->dir, active->base, ".log"))
        return;
    struct fs_file *file;
    op->err = fs_open(seglog->fs, path, FS_READ | FS_WRITE, &file, &op->info);
    if (op->err)
        return;
    op->err = fs_truncate(file, active->bytes, &op->info);
    if (!op->err)
        op->err = fs_sync(file, &op->info);
    fs_close(file);
}

static void delete_run(struct work *work)
{
    struct seglog_op *op = CONTAINER_OF(work, struct seglog_op, work);
    struct seglog *seglog = op->seglog;
    ASSERT(!seglog->in_round && !seglog->flushing);
    close_files(seglog);
    char away[SEGLOG_PATH_MAX];
    int n = snprintf(away, sizeof(away), "%s.%" PRIx64 "-delete", seglog->dir, (uint64_t)op->arg);
    if (n < 0 || (size_t)n >= sizeof(away)) {
        op->err = err_info_set(&op->info, ERR_INVALID_ARGUMENT, "path too long");
        return;
    }
    op->err = fs_rename(seglog->fs, seglog->dir, away, &op->info);
    if (!op->err)
        op->err = fs_sync_dir(seglog->fs, seglog->commit->store->folder, &op->info);
    struct err_info why;
    if (!op->err && fs_remove_tree(seglog->fs, away, &why) != ERR_OK)
        diag(DIAG_WARN, "seglog", "folder=%s error=\"%s\"", away, why.text);
}

/* ---- shard ---- */

/* Whether the oldest segment may go. The segment is finished and not the active one. */
static bool retention_says(const struct seglog *seglog, uint32_t index, uint64_t total,
                           int64_t now_ms)
{
    ASSERT(index + 1 < seglog->segment_count); /* (1): never the active one */
    const struct segment *segment = seglog->segments[index];
    ASSERT(segment->finished && segment->bytes <= total);
    const struct seglog_config *config = &seglog->config;
    if (!record_offset_before(seglog->start, seglog->segments[index + 1]->base))
        return true; /* wholly below the log start */
    if (!config->deletion)
        return false;
    if (config->retention_ms >= 0) {
        int64_t newest = segment->max_ms >= 0 ? segment->max_ms : segment->created_ms;
        if (now_ms - newest > config->retention_ms)
            return true;
    }
    return config->retention_bytes >= 0 &&
           total - segment->bytes >= (uint64_t)config->retention_bytes;
}

/* Takes the segments that may go out of the table and notes their bases in the op. */
static void segments_take(struct seglog *seglog, struct seglog_op *op, int64_t now_ms)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < seglog->segment_count; i++)
        total += seglog->segments[i]->bytes;
    uint32_t count = 0;
    while (count + 1 < seglog->segment_count && seglog->segments[count]->finished &&
           !seglog->segments[count]->file && retention_says(seglog, count, total, now_ms)) {
        total -= seglog->segments[count]->bytes;
        count++;
    }
    if (count == 0)
        return;
    op->removed = calloc(count, sizeof(*op->removed));
    if (!op->removed)
        return;
    for (uint32_t i = 0; i < count; i++) {
        op->removed[i] = seglog->segments[i]->base;
        segment_destroy(seglog->segments[i]);
    }
    op->removed_count = count;
    seglog->segment_count -= count;
    memmove(seglog->segments, seglog->segments + count,
            seglog->segment_count * sizeof(struct segment *));
    ASSERT(seglog->mark_written.segment_count > count && seglog->mark_round.segment_count > count);
    seglog->mark_written.segment_count -= count;
    seglog->mark_round.segment_count -= count;
    ASSERT(seglog->segment_count > 0);
    op->arg = seglog_active(seglog)->base.value;
    seglog->start = record_offset_max(seglog->start, seglog->segments[0]->base);
    epochs_trim(&seglog->epochs, seglog->start);
}

/* The active segment is rolled when its time has come, so that it can go as well. */
static void retain_roll(struct seglog *seglog, int64_t now_ms)
{
    const struct seglog_config *config = &seglog->config;
    const struct segment *active = seglog_active(seglog);
    if (active->bytes == 0 || active->written < active->bytes)
        return;
    int64_t newest = active->max_ms >= 0 ? active->max_ms : active->created_ms;
    bool expired =
        config->deletion && config->retention_ms >= 0 && now_ms - newest > config->retention_ms;
    if (!expired && now_ms - active->created_ms <= config->segment_ms)
        return;
    if (seglog_roll(seglog, now_ms) && !seglog->in_round) {
        seglog->mark_written = seglog->mark_round = seglog_mark(seglog);
        DASSERT((seglog_check(seglog), true));
    }
}

static bool flush_needed(const struct seglog *seglog, const struct seglog_op *op)
{
    if (seglog->life == SEGLOG_OFFLINE)
        return false;
    if (op->kind == OP_TRIM && seglog->point.log_start.value < op->arg)
        return true;
    uint32_t sealed = seglog->mark_written.segment_count - 1;
    return sealed > 0 && !seglog->segments[sealed - 1]->finished;
}

static void op_files(struct seglog *seglog, struct seglog_op *op, void (*run)(struct work *work))
{
    ASSERT(op->step != OP_FILES && op->seglog == seglog);
    op->step = OP_FILES;
    seglog->busy++;
    reactor_work_lane(seglog->commit->reactor, &op->work, WORK_SLOW, run, op_done);
}

/* Moves the running retain or trim on as far as it goes now. */
static void op_step(struct seglog *seglog, struct seglog_op *op)
{
    if (op->step == OP_FILES || seglog->flushing)
        return;
    ASSERT(op == seglog->op && (op->kind == OP_RETAIN || op->kind == OP_TRIM));
    int64_t now_ms = reactor_wall_ms(seglog->commit->reactor);
    if (op->step == OP_ASKED) {
        op->step = OP_FLUSHED;
        if (op->kind == OP_RETAIN) {
            producers_expire(&seglog->producers, now_ms - seglog->config.producer_expiration_ms);
            retain_roll(seglog, now_ms);
        } else if (op->arg > seglog->written.value || op->arg < 0) {
            op->err = ERR_OFFSET_OUT_OF_RANGE;
        } else {
            seglog->start = record_offset_max(seglog->start, record_offset(op->arg));
            epochs_trim(&seglog->epochs, seglog->start);
        }
        if (!op->err && flush_needed(seglog, op)) {
            seglog->point_wanted = true;
            seglog_flush(seglog);
            if (seglog->flushing || !list_empty(&seglog->flush_node))
                return;
        }
    }
    if (!list_empty(&seglog->flush_node))
        return; /* its turn comes */
    if (!op->err && op->kind == OP_TRIM && seglog->point.log_start.value < op->arg)
        op->err =
            seglog->life == SEGLOG_OFFLINE
                ? err_info_set(&op->info, ERR_STORAGE, "log %s is offline", seglog->name)
                : err_info_set(&op->info, ERR_DISK_FULL, "the recovery point was not written");
    seglog_files_sweep(seglog);
    if (!op->err)
        segments_take(seglog, op, now_ms);
    op_files(seglog, op, remove_run);
}

static bool seglog_quiet(const struct seglog *seglog)
{
    return !seglog->in_round && !seglog->flushing && seglog->busy == 0 && !seglog->op &&
           list_empty(&seglog->dirty_node) && list_empty(&seglog->flush_node) &&
           list_empty(&seglog->waiting) && list_empty(&seglog->ops);
}

static void ending_step(struct seglog *seglog, struct seglog_op *op)
{
    if (op->step == OP_FILES || !seglog_quiet(seglog))
        return;
    if (op->kind == OP_CLOSE && op->step == OP_ASKED && seglog->life != SEGLOG_OFFLINE &&
        (seglog->point_bytes > 0 || seglog->point.offset.value != seglog->written.value ||
         seglog->point.log_start.value != seglog->start.value)) {
        op->step = OP_FLUSHED;
        seglog->point_wanted = true;
        seglog_flush(seglog);
        return;
    }
    ASSERT(op->kind == OP_CLOSE || op->kind == OP_DELETE);
    tail_clear(seglog);
    ASSERT(seglog->tail.count == 0 && seglog->pending_bytes == 0); /* (4) */
    op_files(seglog, op, op->kind == OP_CLOSE ? close_run : delete_run);
}

void seglog_settle(struct seglog *seglog)
{
    if (!seglog->op && !list_empty(&seglog->ops)) {
        seglog->op = CONTAINER_OF(list_pop_front(&seglog->ops), struct seglog_op, node);
        seglog->op->step = OP_ASKED;
    }
    if (seglog->op)
        op_step(seglog, seglog->op);
    else if (seglog->ending)
        ending_step(seglog, seglog->ending);
}

static void op_done(struct work *work)
{
    struct seglog_op *op = CONTAINER_OF(work, struct seglog_op, work);
    struct seglog *seglog = op->seglog;
    ASSERT(seglog->busy > 0 && op->step == OP_FILES);
    seglog->busy--;
    free(op->removed);
    op->removed = NULL;
    if (op == seglog->ending) {
        ASSERT(seglog->busy == 0 && seglog->tail.count == 0);
        if (op->kind == OP_DELETE)
            journal_forget(seglog->commit, seglog);
        list_remove(&seglog->all_node);
        seglog_free(seglog);
        op->on_done(op);
        return;
    }
    seglog->op = NULL;
    seglog_moved_call(seglog);
    op->on_done(op);
    seglog_settle(seglog);
}

static void op_ask(struct seglog *seglog, struct seglog_op *op, enum op_kind kind, int64_t arg)
{
    ASSERT(op->on_done && !seglog->ending);
    op->seglog = seglog;
    op->kind = kind;
    op->arg = arg;
    op->step = OP_ASKED;
    op->err = ERR_OK;
    op->removed = NULL;
    op->removed_count = 0;
    if (kind == OP_CLOSE || kind == OP_DELETE)
        seglog->ending = op;
    else
        list_push_back(&seglog->ops, &op->node);
    seglog_settle(seglog);
}

void seglog_retain(struct seglog *seglog, struct seglog_op *op)
{
    op_ask(seglog, op, OP_RETAIN, 0);
}

void seglog_trim(struct seglog *seglog, struct record_offset start, struct seglog_op *op)
{
    op_ask(seglog, op, OP_TRIM, start.value < 0 ? seglog->written.value : start.value);
}

void seglog_close(struct seglog *seglog, struct seglog_op *op)
{
    op_ask(seglog, op, OP_CLOSE, 0);
}

void seglog_delete(struct seglog *seglog, struct seglog_op *op)
{
    op_ask(seglog, op, OP_DELETE, reactor_wall_ms(seglog->commit->reactor));
}
