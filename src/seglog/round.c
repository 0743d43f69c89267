/*
 * A commit round on the worker: write, then make durable.
 *
 * Role: the only code that writes segments and journals while the server runs. One work item per
 * round and shard:
 *
 *   for each log:      write its pending batches to its segments (one pwritev per segment)
 *   for each log that needs durability, either
 *      direct:         fdatasync its unsynced segments, or
 *      journal:        put the batches behind its last durable point into the journal
 *   once:              write and fdatasync the journal
 *
 * A segment that is synced directly is written ahead with zeros in steps: a sync of overwritten
 * blocks needs no change of the file's metadata and is several times cheaper than a sync of a
 * growing file.
 *
 * Invariants: (1) no log is reported durable before the sync that covers it returned well; (2) a
 * failed sync or write is never repeated; (3) after a write refused for lack of space the segment
 * ends where it ended before; (4) a journal frame is written only for batches whose segment write
 * went well.
 *
 * Ownership: runs on a worker; has the round, the segments' worker half and the slices' bytes
 * (protected by tail.keep).
 *
 * Failure modes: lack of space is reported as ERR_DISK_FULL with everything taken back; any other
 * failure is the job's error and takes its log offline; a journal that fails is left for good, and
 * its jobs are synced directly.
 */
#include <stdatomic.h>

#include "seglog/bytes_int.h"
#include "seglog/commit_int.h"

static const uint8_t round_zeros[JOURNAL_ALIGN];

/* Opens (making) the segment's file for writing. */
static enum err segment_open(struct seglog *seglog, struct segment *segment, struct err_info *info)
{
    ASSERT(!segment->file);
    char path[SEGLOG_PATH_MAX];
    if (!segment_path(path, seglog->dir, segment->base, ".log"))
        return err_info_set(info, ERR_INVALID_ARGUMENT, "path too long");
    struct fs_file *file;
    enum err err = fs_open(seglog->fs, path, FS_READ | FS_WRITE | FS_CREATE, &file, info);
    if (err)
        return err;
    err = fs_size(file, &segment->zeroed, info);
    if (err) {
        fs_close(file);
        return err;
    }
    if (segment->zeroed == 0)
        segment->dir_unsynced = true;
    segment->file = file;
    return ERR_OK;
}

/* Zeros behind the data, so that the next syncs are of overwritten blocks. Best effort. */
static void segment_zero_ahead(struct segment *segment, uint64_t end, uint64_t limit)
{
    if (end <= segment->zeroed)
        return;
    segment->zeroed = end;
    uint64_t step = segment->zero_step;
    if (end >= limit)
        return;
    if (step > limit - end)
        step = limit - end;
    struct err_info info;
    if (fs_zero(segment->file, end, step, &info) != ERR_OK) {
        /* A part may be there: harmless, they are zeros. */
        return;
    }
    segment->zeroed = end + step;
    if (segment->zero_step < ZERO_STEP_MAX)
        segment->zero_step *= 2;
    ASSERT(segment->zeroed >= end);
}

/*
 * Sets blocks aside, as many again as are written already: a write there takes a third less time in
 * the kernel. Not for small segments, which would use twice their space. Best effort.
 */
static void segment_reserve(struct segment *segment, uint64_t end, uint64_t limit)
{
    if (end <= segment->reserved || end <= segment->zeroed || end < RESERVE_STEP_MIN)
        return;
    uint64_t from = segment->reserved > segment->zeroed ? segment->reserved : segment->zeroed;
    uint64_t to = end + (end < RESERVE_STEP_MAX ? end : RESERVE_STEP_MAX);
    if (to > limit)
        to = limit > end ? limit : end;
    ASSERT(from < to);
    segment->reserved = fs_reserve(segment->file, from, to - from) ? to : UINT64_MAX;
}

static enum err extent_write(struct round *round, struct round_job *job,
                             struct round_extent *extent)
{
    struct segment *segment = extent->segment;
    if (!segment->file) {
        enum err err = segment_open(job->seglog, segment, &job->info);
        if (err)
            return err;
    }
    uint64_t end = extent->pos.value + extent->bytes;
    uint64_t limit = job->seglog->config.segment_bytes;
    bool zeros = job->zeros && extent->bytes < RESERVE_DIRECT_MIN;
    if (!zeros)
        segment_reserve(segment, end, limit);
    enum err err = fs_pwritev(segment->file, round->parts + extent->part_first, extent->part_count,
                              extent->pos.value, &job->info);
    if (err)
        return err;
    if (zeros)
        segment_zero_ahead(segment, end, limit);
    else if (end > segment->zeroed)
        segment->zeroed = end;
    return ERR_OK;
}

/* Takes back what a refused write left. */
static enum err job_undo(struct round *round, struct round_job *job, uint32_t extents)
{
    struct round_extent *first = &round->extents[job->extent_first];
    for (uint32_t i = extents; i-- > 0;) {
        struct round_extent *extent = first + i;
        struct segment *segment = extent->segment;
        if (i > 0 &&
            segment->file) { /* began with this round's second or later extent: must not stay */
            char path[SEGLOG_PATH_MAX];
            fs_close(segment->file);
            segment->file = NULL;
            if (!segment_path(path, job->seglog->dir, segment->base, ".log"))
                return ERR_DISK_IO;
            enum err err = fs_unlink(job->seglog->fs, path, &job->info);
            if (err)
                return err;
        } else if (segment->file) {
            enum err err = fs_truncate(segment->file, extent->pos.value, &job->info);
            if (err)
                return err;
            segment->zeroed = segment->reserved = extent->pos.value;
        }
    }
    return ERR_OK;
}

static void job_write(struct round *round, struct round_job *job)
{
    ASSERT(job->err == ERR_OK);
    for (uint32_t i = 0; i < job->extent_count; i++) {
        enum err err = extent_write(round, job, &round->extents[job->extent_first + i]);
        if (!err)
            continue;
        job->write_failed = true;
        if (err == ERR_DISK_FULL || err == ERR_LIMIT) {
            struct err_info why = job->info;
            if (job_undo(round, job, i + 1) == ERR_OK) {
                job->info = why;
                job->err = ERR_DISK_FULL;
                return;
            }
        }
        job->err = ERR_STORAGE;
        return;
    }
}

/* Makes all of the log's unsynced segments durable, their folder entries included. */
static void job_sync(struct round *round, struct round_job *job)
{
    ASSERT(job->durable && job->err == ERR_OK);
    struct seglog *seglog = job->seglog;
    bool dir = false;
    for (uint32_t i = 0; i < job->sync_count; i++) {
        struct segment *segment = round->syncs[job->sync_first + i];
        enum err err = ERR_OK;
        if (!segment->file)
            err = segment_open(seglog, segment, &job->info);
        if (!err) {
            err = fs_sync(segment->file, &job->info);
            if (err)
                seglog_suspect(seglog);
            else if (atomic_load(&seglog->suspect))
                err = err_info_set(&job->info, ERR_STORAGE, "a sync failed before");
        }
        if (err) {
            job->err = ERR_STORAGE;
            return;
        }
        round->synced_files++;
        dir = dir || segment->dir_unsynced;
    }
    if (dir && fs_sync_dir(seglog->fs, seglog->dir, &job->info) != ERR_OK)
        job->err = ERR_STORAGE;
    if (!job->err && job->folder_unsynced &&
        fs_sync_dir(seglog->fs, seglog->commit->store->folder, &job->info) != ERR_OK)
        job->err = ERR_STORAGE;
    if (job->err)
        return;
    for (uint32_t i = 0; i < job->sync_count; i++)
        round->syncs[job->sync_first + i]->dir_unsynced = false;
    job->synced = true;
}

/* Lays out the frames of all journal jobs and writes them with one call and one sync. */
enum err journal_write(struct round *round, struct err_info *info)
{
    struct slice *parts = round->frame_parts;
    uint32_t count = 0;
    uint32_t frames = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < round->job_count; i++) {
        struct round_job *job = &round->jobs[i];
        if (job->way != SYNC_JOURNAL || job->err)
            continue;
        uint8_t *head = round->frames + (size_t)frames * JOURNAL_FRAME_SIZE;
        frames++;
        struct journal_frame frame = {.generation = round->commit->store->generation,
                                      .cycle = round->journal_cycle,
                                      .id = job->seglog->id,
                                      .base = job->journal_base,
                                      .end = job->to,
                                      .len = (uint32_t)job->journal_bytes};
        const struct slice *payload = round->parts + job->journal_part_first;
        journal_frame_encode(head, &frame, payload, job->journal_part_count);
        parts[count++] = slice_make(head, JOURNAL_FRAME_SIZE);
        for (uint32_t k = 0; k < job->journal_part_count; k++)
            parts[count++] = payload[k];
        uint32_t pad = (uint32_t)(-(int64_t)job->journal_bytes & 7);
        if (pad > 0)
            parts[count++] = slice_make(round_zeros, pad);
        bytes += JOURNAL_FRAME_SIZE + job->journal_bytes + pad;
    }
    ASSERT(count <= round->frame_part_cap && bytes <= round->journal_bytes);
    if (frames == 0)
        return ERR_OK;
    uint64_t fill = (JOURNAL_ALIGN - bytes % JOURNAL_ALIGN) % JOURNAL_ALIGN;
    if (fill > 0)
        parts[count++] = slice_make(round_zeros, fill);
    round->journal_written = bytes + fill;
    ASSERT(round->journal_written <= round->journal_bytes);
    struct fs_file *file = round->commit->journal.files[round->journal_file];
    enum err err = fs_pwritev(file, parts, count, round->journal_pos.value, info);
    if (!err)
        err = fs_sync(file, info);
    return err;
}

void round_run(struct work *work)
{
    struct round *round = CONTAINER_OF(work, struct round, work);
    ASSERT(round->commit->in_flight);
    for (uint32_t i = 0; i < round->closing_count; i++)
        fs_close(round->closing[i]);
    round->closing_count = 0;
    for (uint32_t i = 0; i < round->job_count; i++)
        job_write(round, &round->jobs[i]);
    for (uint32_t i = 0; i < round->job_count; i++) {
        struct round_job *job = &round->jobs[i];
        if (job->durable && job->way == SYNC_DIRECT && !job->err)
            job_sync(round, job);
    }
    if (round->journal_jobs == 0)
        return;
    round->journal_err = journal_write(round, &round->journal_info);
    if (!round->journal_err)
        return;
    for (uint32_t i = 0; i < round->job_count; i++) {
        struct round_job *job = &round->jobs[i];
        if (job->way == SYNC_JOURNAL && !job->err) {
            job->way = SYNC_DIRECT;
            job_sync(round, job);
        }
    }
}
