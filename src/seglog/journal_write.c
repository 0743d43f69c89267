/*
 * The journal in use: which rounds go through it, and when a file may be overwritten.
 *
 * Role: decides per round between syncing segment files and one journal sync, and keeps account of
 * which logs have bytes that are stable in the journal only.
 *
 *   file 0: | cycle 7: rounds ....... |        current, filled from the front
 *   file 1: | cycle 6: rounds ....... |        full; its logs are being synced, then it may start
 * over as cycle 8
 *
 * Invariants: (1) dirty_logs[f] counts the logs with journal_cycle[f] set; (2) a file starts a new
 * cycle only at dirty_logs[f] == 0; (3) what a frame of a log begins with is the log's durable
 * point, so frames leave no gap; (4) cycles rise and never repeat within a generation.
 *
 * Ownership: owner shard. The files are made by a work item in the background; until they stand,
 * rounds sync directly.
 *
 * Failure modes: no space for the files: rounds sync directly, another attempt follows later. A
 * write or sync that fails breaks the journal until the next start; what it held from earlier
 * rounds stays there and is read at that start. A log that is offline keeps its file from being
 * reused: the file is put aside for the next start and a new one made.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "seglog/commit_int.h"

enum { JOURNAL_RETRY_US = 10 * 1000 * 1000 };

static bool journal_path(const struct commit *commit, uint32_t index,
                         char ret_path[SEGLOG_PATH_MAX])
{
    int n =
        snprintf(ret_path, SEGLOG_PATH_MAX, "%s/%010" PRIu32 "-%03" PRIu32 "-%" PRIu32 ".journal",
                 commit->store->journal_dir, commit->store->generation, commit->config.shard_index,
                 commit->journal.serials[index]);
    return n > 0 && n < SEGLOG_PATH_MAX;
}

static enum err journal_file_make(struct commit *commit, uint32_t index, struct err_info *info)
{
    char path[SEGLOG_PATH_MAX];
    if (!journal_path(commit, index, path))
        return err_info_set(info, ERR_INVALID_ARGUMENT, "journal path too long");
    struct fs_file *file;
    enum err err =
        fs_open(commit->fs, path, FS_READ | FS_WRITE | FS_CREATE | FS_TRUNCATE, &file, info);
    if (err)
        return err;
    err = fs_zero(file, 0, commit->config.journal_bytes, info);
    if (!err)
        err = fs_sync(file, info);
    if (err) {
        fs_close(file);
        struct err_info ignored;
        if (fs_unlink(commit->fs, path, &ignored) != ERR_OK)
            diag(DIAG_DEBUG, "seglog", "journal=%s error=\"%s\"", path, ignored.text);
        return err;
    }
    commit->journal.files[index] = file;
    return ERR_OK;
}

static void journal_make(struct work *work)
{
    struct journal *journal = CONTAINER_OF(work, struct journal, work);
    struct commit *commit = CONTAINER_OF(journal, struct commit, journal);
    journal->err = ERR_OK;
    for (uint32_t i = 0; i < JOURNAL_FILES && !journal->err; i++)
        if (!journal->files[i])
            journal->err = journal_file_make(commit, i, &journal->info);
    if (!journal->err)
        journal->err = fs_sync_dir(commit->fs, commit->store->journal_dir, &journal->info);
}

static void journal_made(struct work *work)
{
    struct journal *journal = CONTAINER_OF(work, struct journal, work);
    struct commit *commit = CONTAINER_OF(journal, struct commit, journal);
    ASSERT(journal->state == JOURNAL_MAKING);
    journal->state = journal->err ? JOURNAL_ABSENT : JOURNAL_READY;
    journal->retry_us = reactor_now_us(commit->reactor) + JOURNAL_RETRY_US;
    if (journal->cycles[0] == 0)
        journal->cycles[0] = journal->next_cycle++;
    if (journal->err)
        diag(DIAG_DEBUG, "seglog", "journal=absent error=\"%s\"", journal->info.text);
}

bool journal_usable(const struct commit *commit)
{
    const struct journal *journal = &commit->journal;
    ASSERT(journal->pos.value <= commit->config.journal_bytes);
    return journal->state == JOURNAL_READY &&
           (journal->dirty_logs[1 - journal->current] == 0 ||
            commit->config.journal_bytes - journal->pos.value > commit->config.journal_bytes / 8);
}

static uint64_t journal_room(uint64_t bytes)
{
    return (JOURNAL_FRAME_SIZE + bytes + 7) / 8 * 8;
}

/* A durable job that may go through the journal. */
static bool journal_fits(const struct commit *commit, const struct round_job *job)
{
    return job->durable && job->journal_bytes <= commit->config.direct_bytes_min &&
           job->journal_bytes > 0;
}

/* Asks for a flush of every log with bytes in this file. */
static void journal_drain(struct commit *commit, uint32_t file)
{
    LIST_FOREACH(node, &commit->logs)
    {
        struct seglog *seglog = CONTAINER_OF(node, struct seglog, all_node);
        if (seglog->journal_cycle[file] != 0 && !seglog->flush_wanted)
            seglog_flush(seglog);
    }
}

static void journal_make_start(struct commit *commit)
{
    struct journal *journal = &commit->journal;
    for (uint32_t i = 0; i < JOURNAL_FILES; i++)
        if (!journal->files[i])
            journal->serials[i] = journal->next_serial++;
    journal->state = JOURNAL_MAKING;
    reactor_work_lane(commit->reactor, &journal->work, WORK_SLOW, journal_make, journal_made);
}

/*
 * A file that only logs that are offline, or gone while they were, still need: it is put aside for the next start, and
 * a new one takes its place.
 */
static void journal_retire(struct commit *commit, uint32_t file)
{
    struct journal *journal = &commit->journal;
    ASSERT(!commit->in_flight && journal->files[file] && file != journal->current);
    LIST_FOREACH(node, &commit->logs)
    {
        struct seglog *seglog = CONTAINER_OF(node, struct seglog, all_node);
        if (seglog->journal_cycle[file] != 0 && seglog->life != SEGLOG_OFFLINE)
            return;
    }
    LIST_FOREACH(node, &commit->logs)
    {
        CONTAINER_OF(node, struct seglog, all_node)->journal_cycle[file] = 0;
    }
    diag(DIAG_WARN, "seglog", "journal=%" PRIu32 " state=\"kept for the next start\"",
         journal->serials[file]);
    commit_close_later(commit, journal->files[file]);
    journal->files[file] = NULL;
    journal->dirty_logs[file] = 0;
    journal_make_start(commit);
}

/* Turns to the other file when the current one has no room. False: the other one is still needed.
 */
static bool journal_turn(struct commit *commit, uint64_t room)
{
    struct journal *journal = &commit->journal;
    if (journal->pos.value + room <= commit->config.journal_bytes)
        return true;
    uint32_t next = 1 - journal->current;
    if (journal->dirty_logs[next] > 0) {
        journal_drain(commit, next);
        journal_retire(commit, next);
        return false;
    }
    uint32_t full = journal->current;
    journal->current = next;
    journal->cycles[next] = journal->next_cycle++;
    journal->pos = file_pos(0);
    journal_drain(commit, full);
    return true;
}

static bool journal_reserve(struct round *round, uint32_t jobs, uint64_t parts)
{
    if (parts > ROUND_PARTS_MAX * 2)
        return false;
    void *frames = round->frames;
    if (!grow(&frames, &round->frame_cap, 0, jobs, JOURNAL_FRAME_SIZE))
        return false;
    round->frames = frames;
    void *frame_parts = round->frame_parts;
    if (!grow(&frame_parts, &round->frame_part_cap, 0, (uint32_t)parts,
              sizeof(*round->frame_parts)))
        return false;
    round->frame_parts = frame_parts;
    return true;
}

/*
 * Whether so many logs are better synced through the journal than one by one. Few are not, but for a
 * shard whose other logs go through it: a sync of theirs costs more than a frame in one that is
 * written anyway, and does not empty the journal.
 */
static bool journal_pays(const struct commit *commit, uint32_t durable, uint32_t fitting)
{
    const struct journal *journal = &commit->journal;
    ASSERT(fitting <= durable);
    if (journal->dirty_logs[0] + journal->dirty_logs[1] > commit->config.direct_files_max)
        return fitting > 0;
    return durable > commit->config.direct_files_max && fitting > 1;
}

/* Room in the journal for the round's small jobs; 0: they are better synced directly. */
static uint64_t journal_room_of(struct commit *commit, struct round *round, uint32_t *ret_durable)
{
    uint32_t durable = 0, fitting = 0;
    uint64_t room = 0, parts = 1;
    for (uint32_t i = 0; i < round->job_count; i++) {
        struct round_job *job = &round->jobs[i];
        durable += job->durable;
        if (!journal_fits(commit, job))
            continue;
        fitting++;
        room += journal_room(job->journal_bytes);
        parts += 2 + job->journal_part_count;
    }
    room = (room + JOURNAL_ALIGN - 1) / JOURNAL_ALIGN * JOURNAL_ALIGN;
    *ret_durable = durable;
    if (!journal_pays(commit, durable, fitting) || room > commit->config.journal_bytes)
        return 0;
    struct journal *journal = &commit->journal;
    if (journal->state == JOURNAL_ABSENT && journal->retry_us <= reactor_now_us(commit->reactor)) {
        journal_make_start(commit);
    }
    if (journal->state != JOURNAL_READY || !journal_reserve(round, fitting, parts) ||
        !journal_turn(commit, room))
        return 0;
    return room;
}

/*
 * Whether a log that is synced directly will be again, so that zeros ahead pay. One of a busy shard
 * will not: the journal is only being made or emptied, and zeros would be most of what is written.
 */
static bool journal_stays_out(const struct commit *commit, const struct seglog *seglog,
                              uint32_t durable)
{
    enum journal_state state = commit->journal.state;
    ASSERT(durable > 0);
    return (durable <= commit->config.direct_files_max || state == JOURNAL_ABSENT ||
            state == JOURNAL_BROKEN) &&
           seglog->journal_cycle[0] == 0 && seglog->journal_cycle[1] == 0;
}

void journal_plan(struct commit *commit, struct round *round)
{
    uint32_t durable;
    uint64_t room = journal_room_of(commit, round, &durable);
    struct journal *journal = &commit->journal;
    for (uint32_t i = 0; i < round->job_count; i++) {
        struct round_job *job = &round->jobs[i];
        if (!job->durable)
            continue;
        job->way = SYNC_DIRECT;
        if (room > 0 && journal_fits(commit, job)) {
            job->way = SYNC_JOURNAL;
            round->journal_jobs++;
        } else {
            job->zeros = journal_stays_out(commit, job->seglog, durable);
        }
    }
    if (room == 0)
        return;
    ASSERT(journal->pos.value % JOURNAL_ALIGN == 0);
    ASSERT(journal->pos.value + room <= commit->config.journal_bytes);
    round->journal_file = journal->current;
    round->journal_cycle = journal->cycles[journal->current];
    round->journal_pos = journal->pos;
    round->journal_bytes = room;
    journal->pos = file_pos_add(journal->pos, room);
    commit->stats.journal_syncs++;
    commit->stats.journal_bytes += room;
}

void journal_note(struct commit *commit, struct round *round, struct round_job *job)
{
    struct seglog *seglog = job->seglog;
    uint32_t file = round->journal_file;
    ASSERT(job->way == SYNC_JOURNAL && !job->err);
    if (seglog->journal_cycle[file] == 0)
        commit->journal.dirty_logs[file]++;
    ASSERT(seglog->journal_cycle[file] == 0 || seglog->journal_cycle[file] == round->journal_cycle);
    seglog->journal_cycle[file] = round->journal_cycle;
    seglog->journal_end[file] = job->to;
    seglog->journaled = job->to;
}

void journal_release(struct commit *commit, struct seglog *seglog)
{
    for (uint32_t i = 0; i < JOURNAL_FILES; i++) {
        if (seglog->journal_cycle[i] == 0 ||
            record_offset_before(seglog->synced, seglog->journal_end[i]))
            continue;
        ASSERT(commit->journal.dirty_logs[i] > 0);
        seglog->journal_cycle[i] = 0;
        commit->journal.dirty_logs[i]--;
    }
}

void journal_forget(struct commit *commit, struct seglog *seglog)
{
    for (uint32_t i = 0; i < JOURNAL_FILES; i++) {
        if (seglog->journal_cycle[i] == 0)
            continue;
        ASSERT(commit->journal.dirty_logs[i] > 0);
        seglog->journal_cycle[i] = 0;
        commit->journal.dirty_logs[i]--;
    }
}

void journal_end(struct commit *commit)
{
    for (uint32_t i = 0; i < JOURNAL_FILES; i++) {
        struct fs_file *file = commit->journal.files[i];
        char path[SEGLOG_PATH_MAX];
        struct err_info info;
        if (!file)
            continue;
        fs_close(file);
        commit->journal.files[i] = NULL;
        if (commit->journal.dirty_logs[i] == 0 && commit->journal.state == JOURNAL_READY &&
            journal_path(commit, i, path) && fs_unlink(commit->fs, path, &info) != ERR_OK)
            diag(DIAG_DEBUG, "seglog", "journal=%s error=\"%s\"", path, info.text);
    }
}
