/*
 * The sweeper: removes what nothing names any more, a bounded amount at a time, on shard 0.
 *
 *     IDLE --garbage--> LOAD (what is dead?) --> UNLINK (dead files) --> WAIT (readers) --> DELETE
 * (rows) --> IDLE
 *
 * A generation is dead when no blob row has it. A reader that looked the blob up before that may
 * still be about to pin it; so LOAD notes a ticket, and WAIT lasts until every opening op with an
 * older ticket is through. Then pins tell.
 *
 * A write may fail in a way that leaves open whether a crash now would bring it back: then its file
 * is in doubt. DELETE settles that by a commit of its own, behind which no earlier one can come
 * back: a file that the index does not name then becomes a dead one.
 *
 * Invariants:
 * (1) A file is unlinked only after the commit that removed its last reference.
 * (2) Pieces are deleted only for generations that are dead and not pinned, checked after WAIT.
 * (3) One round touches at most the BLOBSTORE_SWEEP_ limits, so it never holds the writer for long.
 *
 * Ownership: shard 0; its run functions on workers. Failure modes: any error ends the round; the
 * next one tries again. A crash between steps repeats at most an unlink of a missing file.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "blobstore/blobstore_int.h"

enum { SWEEP_PERIOD_US = 500 * 1000, SWEEP_SOON_US = 2000, SWEEP_STALE_MS = 3600 * 1000 };

static void sweep_rest(struct blobstore_sweep *sweep)
{
    sweep->step = SWEEP_IDLE;
    if (sweep->stopping) {
        shard_stop_done(&sweep->stop);
        return;
    }
    timer_arm(sweep->shard->reactor, &sweep->timer, sweep->more ? SWEEP_SOON_US : SWEEP_PERIOD_US);
}

/* ---- LOAD ---- */

/* At most cap ids above after. */
static enum err load_ids(struct sqlite3 *sqlite, const char *text, int64_t after, int64_t *out,
                         uint32_t cap, uint32_t *ret_count, struct err_info *info)
{
    struct sqlite3_stmt *stmt;
    bool row;
    *ret_count = 0;
    enum err err = sql_get(sqlite, text, &stmt, info);
    if (err)
        return err;
    sql_bind_int(stmt, 1, cap);
    sql_bind_int(stmt, 2, after);
    while (*ret_count < cap && !(err = sql_row(stmt, &row, info)) && row)
        out[(*ret_count)++] = sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    return err;
}

static enum err load_run(struct db_task *task, struct sqlite3 *sqlite)
{
    struct blobstore_sweep *sweep = CONTAINER_OF(task, struct blobstore_sweep, task);
    int64_t gens[BLOBSTORE_SWEEP_GENS];
    uint32_t containers;
    enum err err =
        load_ids(sqlite, "SELECT id FROM dead_file WHERE id > ?2 ORDER BY id LIMIT ?1", 0,
                 sweep->files, BLOBSTORE_SWEEP_FILES, &sweep->file_count, &task->info);
    if (!err)
        err = load_ids(sqlite, "SELECT gen FROM dead_gen WHERE gen > ?2 ORDER BY gen LIMIT ?1",
                       sweep->gen_after, gens, BLOBSTORE_SWEEP_GENS, &sweep->gen_count,
                       &task->info);
    for (uint32_t i = 0; !err && i < sweep->gen_count; i++)
        sweep->gens[i].v = gens[i];
    sweep->container = 0;
    if (!err)
        err = load_ids(sqlite, "SELECT id FROM dead_container WHERE id > ?2 LIMIT ?1", 0,
                       &sweep->container, 1, &containers, &task->info);
    return err;
}

/* ---- files in doubt ---- */

void blobstore_doubt(struct blobstore *store, int64_t file_id)
{
    ASSERT(file_id > 0);
    pthread_mutex_lock(&store->pin_lock);
    if (store->doubt_count < BLOBSTORE_DOUBT_MAX) /* more are left to the next start */
        store->doubt[store->doubt_count++] = file_id;
    pthread_mutex_unlock(&store->pin_lock);
    atomic_store_explicit(&store->garbage, true, memory_order_relaxed);
}

static uint32_t doubt_count(struct blobstore *store)
{
    pthread_mutex_lock(&store->pin_lock);
    uint32_t count = store->doubt_count;
    pthread_mutex_unlock(&store->pin_lock);
    return count;
}

/* The first count are settled. */
static void doubt_forget(struct blobstore *store, uint32_t count)
{
    pthread_mutex_lock(&store->pin_lock);
    ASSERT(count <= store->doubt_count);
    store->doubt_count -= count;
    memmove(store->doubt, store->doubt + count, store->doubt_count * sizeof(store->doubt[0]));
    pthread_mutex_unlock(&store->pin_lock);
}

/* ---- DELETE ---- */

static enum err exec_id(struct blobstore_sweep *sweep, struct sqlite3 *sqlite, const char *text,
                        int64_t id, int *ret_changes)
{
    struct sqlite3_stmt *stmt;
    enum err err = sql_get(sqlite, text, &stmt, &sweep->task.info);
    if (err)
        return err;
    sql_bind_int(stmt, 1, id);
    err = sql_run(stmt, &sweep->task.info);
    *ret_changes = sqlite3_changes(sqlite);
    return err;
}

static bool gen_pinned(struct blobstore *store, struct blobstore_gen gen)
{
    bool pinned = false;
    pthread_mutex_lock(&store->pin_lock);
    LIST_FOREACH(node, &store->readers)
    {
        if (CONTAINER_OF(node, struct blobstore_reader, node)->gen.v == gen.v)
            pinned = true;
    }
    pthread_mutex_unlock(&store->pin_lock);
    return pinned;
}

static enum err delete_doubts(struct blobstore_sweep *sweep, struct sqlite3 *sqlite)
{
    enum err err = ERR_OK;
    for (uint32_t i = 0; !err && i < sweep->doubt_count; i++) {
        int changes;
        pthread_mutex_lock(&sweep->store->pin_lock);
        int64_t id = sweep->store->doubt[i];
        pthread_mutex_unlock(&sweep->store->pin_lock);
        err = exec_id(sweep, sqlite,
                      "INSERT OR IGNORE INTO dead_file SELECT ?1 WHERE NOT EXISTS"
                      " (SELECT 1 FROM file WHERE id = ?1)",
                      id, &changes);
        sweep->more = true;
    }
    return err;
}

/* Blobs of a deleted container: rows go, their generations become garbage of their own. */
static enum err delete_container(struct blobstore_sweep *sweep, struct sqlite3 *sqlite)
{
    int64_t id = sweep->container;
    int changes = 0;
    enum err err = exec_id(
        sweep, sqlite,
        "INSERT INTO dead_gen SELECT gen FROM blob WHERE container = ? ORDER BY name LIMIT 256", id,
        &changes);
    if (!err)
        err = exec_id(sweep, sqlite,
                      "DELETE FROM blob WHERE container = ?1 AND name IN"
                      " (SELECT name FROM blob WHERE container = ?1 ORDER BY name LIMIT 256)",
                      id, &changes);
    int staged = 0;
    if (!err)
        err = exec_id(sweep, sqlite,
                      "DELETE FROM staged WHERE rowid IN (SELECT rowid FROM staged WHERE container "
                      "= ? LIMIT 256)",
                      id, &staged);
    if (!err && changes == 0 && staged == 0)
        err = exec_id(sweep, sqlite, "DELETE FROM dead_container WHERE id = ?", id, &changes);
    sweep->more = true;
    return err;
}

static enum err delete_gens(struct blobstore_sweep *sweep, struct sqlite3 *sqlite)
{
    int budget = BLOBSTORE_SWEEP_PIECES;
    enum err err = ERR_OK;
    for (uint32_t i = 0; !err && i < sweep->gen_count && budget > 0; i++) {
        int changes = 0;
        if (gen_pinned(sweep->store, sweep->gens[i])) {
            atomic_store_explicit(&sweep->store->pinned_dead, true, memory_order_relaxed);
            continue;
        }
        err = exec_id(
            sweep, sqlite,
            "DELETE FROM piece WHERE rowid IN (SELECT rowid FROM piece WHERE gen = ? LIMIT 2048)",
            sweep->gens[i].v, &changes);
        budget -= changes;
        sweep->more = true;
        if (!err && changes < 2048)
            err = exec_id(sweep, sqlite, "DELETE FROM dead_gen WHERE gen = ?", sweep->gens[i].v,
                          &changes);
    }
    return err;
}

static enum err delete_run(struct db_task *task, struct sqlite3 *sqlite)
{
    struct blobstore_sweep *sweep = CONTAINER_OF(task, struct blobstore_sweep, task);
    int changes = 0;
    enum err err = ERR_OK;
    ASSERT(sweep->step == SWEEP_DELETE && sweep->file_count <= BLOBSTORE_SWEEP_FILES);
    for (uint32_t i = 0; !err && i < sweep->file_count; i++)
        err =
            exec_id(sweep, sqlite, "DELETE FROM dead_file WHERE id = ?", sweep->files[i], &changes);
    if (!err)
        err = delete_doubts(sweep, sqlite);
    if (!err)
        err = delete_gens(sweep, sqlite);
    if (!err && sweep->container)
        err = delete_container(sweep, sqlite);
    if (!err && sweep->stale_before) {
        err = exec_id(
            sweep, sqlite,
            "DELETE FROM staged WHERE rowid IN (SELECT rowid FROM staged WHERE time < ? LIMIT 256)",
            sweep->stale_before, &changes);
        sweep->more |= changes > 0;
    }
    return err;
}

static void delete_done(struct db_task *task)
{
    struct blobstore_sweep *sweep = CONTAINER_OF(task, struct blobstore_sweep, task);
    if (task->err) {
        diag(DIAG_DEBUG, "blobstore", "sweep err=%s", err_row(task->err)->name);
        sweep->more = false;
    } else {
        doubt_forget(sweep->store, sweep->doubt_count);
    }
    if (sweep->more || doubt_count(sweep->store) > 0)
        atomic_store_explicit(&sweep->store->garbage, true, memory_order_relaxed);
    sweep_rest(sweep);
}

/* ---- WAIT ---- */

static bool opening_through(struct blobstore_sweep *sweep)
{
    struct blobstore *store = sweep->store;
    pthread_mutex_lock(&store->pin_lock);
    struct list_node *front = list_front(&store->opening);
    bool through =
        !front || CONTAINER_OF(front, struct blobstore_op, opening)->born > sweep->ticket;
    pthread_mutex_unlock(&store->pin_lock);
    return through;
}

static void sweep_wait(struct blobstore_sweep *sweep)
{
    ASSERT(sweep->step == SWEEP_UNLINK || sweep->step == SWEEP_WAIT);
    sweep->step = SWEEP_WAIT;
    if (sweep->stopping) {
        sweep_rest(sweep);
        return;
    }
    if (!opening_through(sweep)) {
        timer_arm(sweep->shard->reactor, &sweep->timer, SWEEP_SOON_US);
        return;
    }
    sweep->step = SWEEP_DELETE;
    sweep->task.run = delete_run;
    sweep->task.done = delete_done;
    db_write(sweep->store->db, sweep->shard, &sweep->task);
}

/* ---- UNLINK ---- */

static void unlink_run(struct work *work)
{
    struct blobstore_sweep *sweep = CONTAINER_OF(work, struct blobstore_sweep, work);
    char path[BLOBSTORE_PATH_MAX];
    for (uint32_t i = 0; i < sweep->file_count; i++) {
        blobstore_file_path(sweep->store, sweep->files[i], path);
        enum err err = fs_unlink(sweep->store->fs, path, NULL);
        if (!err)
            atomic_fetch_add_explicit(&sweep->store->files_removed, 1, memory_order_relaxed);
    }
}

static void unlink_done(struct work *work)
{
    sweep_wait(CONTAINER_OF(work, struct blobstore_sweep, work));
}

static void load_done(struct db_task *task)
{
    struct blobstore_sweep *sweep = CONTAINER_OF(task, struct blobstore_sweep, task);
    struct blobstore *store = sweep->store;
    ASSERT(sweep->step == SWEEP_LOAD);
    sweep->more = false;
    /* Many pinned generations in a row must not hide what is behind them: the next round goes on
     * there. */
    bool full = !task->err && sweep->gen_count == BLOBSTORE_SWEEP_GENS;
    sweep->gen_after = full ? sweep->gens[BLOBSTORE_SWEEP_GENS - 1].v : 0;
    sweep->doubt_count = doubt_count(store);
    bool work = sweep->file_count || sweep->gen_count || sweep->container || sweep->doubt_count;
    if (task->err || sweep->stopping || (!work && !sweep->stale_before)) {
        sweep_rest(sweep);
        return;
    }
    pthread_mutex_lock(&store->pin_lock);
    sweep->ticket = store->ticket;
    pthread_mutex_unlock(&store->pin_lock);
    sweep->more = sweep->file_count == BLOBSTORE_SWEEP_FILES || full;
    sweep->step = SWEEP_UNLINK;
    reactor_work_lane(sweep->shard->reactor, &sweep->work, WORK_SLOW, unlink_run, unlink_done);
}

static void sweep_timer(struct timer *timer)
{
    struct blobstore_sweep *sweep = CONTAINER_OF(timer, struct blobstore_sweep, timer);
    struct blobstore *store = sweep->store;
    if (sweep->step == SWEEP_WAIT) {
        sweep_wait(sweep);
        return;
    }
    ASSERT(sweep->step == SWEEP_IDLE);
    int64_t now = reactor_wall_ms(sweep->shard->reactor);
    sweep->stale_before = 0;
    if (now >= sweep->next_stale) {
        sweep->next_stale = now + SWEEP_STALE_MS;
        int64_t before = now - (int64_t)BLOBSTORE_STAGED_DAYS * 86400 * 1000;
        sweep->stale_before = before > 0 ? (int64_t)blobstore_ticks(before) : 0;
    }
    bool garbage = atomic_exchange_explicit(&store->garbage, false, memory_order_relaxed);
    if (!garbage && !sweep->stale_before) {
        sweep->more = false;
        sweep_rest(sweep);
        return;
    }
    sweep->step = SWEEP_LOAD;
    sweep->task.run = load_run;
    sweep->task.done = load_done;
    db_read(store->db, sweep->shard, &sweep->task);
}

static void sweep_stop(struct shard_stop *stop)
{
    struct blobstore_sweep *sweep = CONTAINER_OF(stop, struct blobstore_sweep, stop);
    sweep->stopping = true;
    bool waiting = timer_armed(&sweep->timer);
    timer_cancel(sweep->shard->reactor, &sweep->timer);
    if (sweep->step == SWEEP_IDLE || (sweep->step == SWEEP_WAIT && waiting)) {
        sweep->step = SWEEP_IDLE;
        shard_stop_done(stop);
    }
}

void blobstore_sweep_start(struct blobstore *store, struct shard *shard)
{
    struct blobstore_sweep *sweep = &store->sweep;
    ASSERT(shard->index == 0 && sweep->step == SWEEP_IDLE);
    sweep->store = store;
    sweep->shard = shard;
    timer_init(&sweep->timer, sweep_timer);
    timer_arm(shard->reactor, &sweep->timer, SWEEP_PERIOD_US);
    shard_at_stop(shard, SHARD_STOP_BROKER, &sweep->stop, sweep_stop);
}

/* ---- the collection at start ---- */

struct collect {
    struct blobstore *store;
    struct sqlite3 *sqlite;
    struct err_info *info;
    enum err err;
    int64_t folder;
    int64_t highest;
    uint64_t removed;
};

/* Hexadecimal digits only, as we write them. */
static bool read_hex(const char *name, size_t digits, const char *tail, int64_t *ret_value)
{
    int64_t value = 0;
    for (size_t i = 0; i < digits; i++) {
        char c = name[i];
        if (c >= '0' && c <= '9')
            value = value * 16 + (c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (c - 'a' + 10);
        else
            return false;
    }
    *ret_value = value;
    return strcmp(name + digits, tail) == 0;
}

static bool collect_file(void *arg, const char *name, enum fs_kind kind)
{
    struct collect *collect = arg;
    struct sqlite3_stmt *stmt;
    int64_t id;
    bool row;
    char path[BLOBSTORE_PATH_MAX];
    if (kind != FS_KIND_FILE || !read_hex(name, 12, ".dat", &id) || id <= 0)
        return true;
    if (id > collect->highest)
        collect->highest = id;
    collect->err =
        sql_get(collect->sqlite,
                "SELECT 1 FROM file WHERE id = ?1 UNION ALL SELECT 1 FROM dead_file WHERE id = ?1",
                &stmt, collect->info);
    if (collect->err)
        return false;
    sql_bind_int(stmt, 1, id);
    collect->err = sql_row(stmt, &row, collect->info);
    if (collect->err)
        return false;
    if (row) {
        sqlite3_reset(stmt);
        return true;
    }
    blobstore_file_path(collect->store, id, path);
    collect->removed += fs_unlink(collect->store->fs, path, NULL) == ERR_OK;
    return true;
}

static bool collect_folder(void *arg, const char *name, enum fs_kind kind)
{
    struct collect *collect = arg;
    char path[BLOBSTORE_PATH_MAX];
    if (kind != FS_KIND_DIR || !read_hex(name, 6, "", &collect->folder))
        return true;
    blobstore_folder_path(collect->store, collect->folder, path);
    enum err err = fs_list(collect->store->fs, path, collect_file, collect, collect->info);
    if (!collect->err)
        collect->err = err;
    return !collect->err;
}

struct collect_task {
    struct db_task task;
    struct collect collect;
};

static enum err collect_run(struct db_task *task, struct sqlite3 *sqlite)
{
    struct collect_task *self = CONTAINER_OF(task, struct collect_task, task);
    struct collect *collect = &self->collect;
    struct blobstore *store = collect->store;
    struct sqlite3_stmt *stmt;
    char path[BLOBSTORE_PATH_MAX];
    bool row;
    collect->sqlite = sqlite;
    collect->info = &task->info;
    enum err err =
        sql_get(sqlite, "SELECT value FROM counter WHERE name = 'tick'", &stmt, &task->info);
    if (!err)
        err = sql_row(stmt, &row, &task->info);
    if (err)
        return err;
    if (row) {
        store->tick = (uint64_t)sqlite3_column_int64(stmt, 0);
        sqlite3_reset(stmt);
    }
    err = sql_get(sqlite,
                  "SELECT max(coalesce((SELECT max(id) FROM file), 0), coalesce((SELECT max(id) "
                  "FROM dead_file), 0))",
                  &stmt, &task->info);
    if (!err)
        err = sql_row(stmt, &row, &task->info);
    if (err)
        return err;
    if (row) {
        collect->highest = sqlite3_column_int64(stmt, 0);
        sqlite3_reset(stmt);
    }
    int len = snprintf(path, sizeof(path), "%s/data", store->dir);
    ASSERT(len > 0 && len < (int)sizeof(path));
    err = fs_list(store->fs, path, collect_folder, collect, &task->info);
    return collect->err ? collect->err : err;
}

enum err blobstore_collect(struct blobstore *store, struct err_info *info)
{
    struct collect_task self = {.collect = {.store = store}};
    self.task.run = collect_run;
    enum err err = db_write_now(store->db, &self.task);
    if (err) {
        if (info)
            *info = self.task.info;
        return err;
    }
    ASSERT(self.collect.highest >= 0);
    atomic_store(&store->next_file, self.collect.highest + 1);
    if (self.collect.removed)
        diag(DIAG_INFO, "blobstore", "orphans_removed=%llu",
             (unsigned long long)self.collect.removed);
    return ERR_OK;
}
