/*
 * Role: one SQLite database for all shards.
 *
 *     any shard --task message--> home shard: queue --batch--> worker: BEGIN
 *         ^                                                    savepoint per task
 *         |                                                    COMMIT
 *         '------------------ answers, after the commit ---------'
 *     each shard: own queue --> worker: own read connection, BEGIN ... COMMIT
 *
 * Invariants
 * (1) At most one batch of a lane is out: its connection is used by one thread at a time.
 * (2) A write task that answers ERR_OK is durable: its answer leaves after COMMIT with
 *     synchronous=FULL.
 * (3) A task that fails undoes only itself. Where its savepoint cannot be taken back, or SQLite
 *     rolled back the transaction by itself, all of the batch fail: never is a part of a task
 *     committed with the others.
 * (4) Tasks are answered in the order they came, on the shard they came from.
 *
 * Ownership and shard: queue and batch belong to the home shard (index 0), a reader to its shard;
 * while a batch is out the worker owns it. No dedicated thread: the simulator runs the same code.
 *
 * Failure modes: a full disk fails the batch and leaves the database usable; a failed sync poisons
 * the file (sqlite_vfs.c), and every later write fails with ERR_DISK_IO until a restart.
 */
#include "io/db.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/diag.h"
#include "io/fs.h"
#include "io/reactor.h"
#include "io/sqlite_vfs.h"

struct db_queue {
    struct db_task *head, *tail;
    uint32_t count;
};

/* A connection with its queue: the writer at home, one reader per shard. */
struct db_lane {
    struct db *db;
    struct shard *shard;
    sqlite3 *sqlite;
    struct db_queue queue;
    struct work work;
    bool busy;
    bool writes;
    uint32_t batch_count;
    struct db_task *batch[DB_BATCH_MAX];
};

struct db {
    struct sqlite_vfs *vfs;
    char *path;
    char name[32];
    struct shard *home;
    struct db_lane writer;
    struct db_lane *readers[SHARD_MAX];
};

enum err db_error(struct sqlite3 *sqlite, int code, struct err_info *info, const char *doing)
{
    ASSERT(doing && code != SQLITE_OK);
    enum err err = ERR_INTERNAL;
    switch (code & 0xff) {
    case SQLITE_FULL:
        err = ERR_DISK_FULL;
        break;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
        err = code == SQLITE_IOERR_NOMEM ? ERR_NO_MEMORY : ERR_DISK_IO;
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        err = ERR_CORRUPT;
        break;
    case SQLITE_NOMEM:
        err = ERR_NO_MEMORY;
        break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        err = ERR_BUSY;
        break;
    case SQLITE_TOOBIG:
        err = ERR_LIMIT;
        break;
    default:
        break;
    }
    return err_info_set(info, err, "%s: %s", doing,
                        sqlite ? sqlite3_errmsg(sqlite) : sqlite3_errstr(code));
}

static enum err db_exec(sqlite3 *sqlite, const char *sql, struct err_info *info)
{
    ASSERT(sqlite && sql);
    int code = sqlite3_exec(sqlite, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? ERR_OK : db_error(sqlite, code, info, sql);
}

/* ---- connections ---- */

/*
 * The settings of every connection. synchronous=FULL syncs the WAL at each commit, which is what an
 * answer of ours promises; the small cache is per connection, and there is one per shard; query_only
 * turns a read task that writes into an error instead of a second writer.
 */
static enum err db_connect(struct db *db, bool writes, sqlite3 **ret_sqlite, struct err_info *info)
{
    sqlite3 *sqlite = NULL;
    ASSERT(ret_sqlite && db->path);
    /* NOMUTEX: invariant (1) already keeps two threads off one connection. */
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READWRITE | (writes ? SQLITE_OPEN_CREATE : 0);
    int code = sqlite3_open_v2(db->path, &sqlite, flags, sqlite_vfs_name(db->vfs));
    enum err err = ERR_OK;
    if (code != SQLITE_OK)
        err = db_error(sqlite, code, info, db->path);
    if (!err) {
        sqlite3_extended_result_codes(sqlite, 1);
        err = db_exec(sqlite,
                      "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-1024; PRAGMA foreign_keys=ON;"
                      "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
                      info);
    }
    if (!err && !writes)
        err = db_exec(sqlite, "PRAGMA query_only=ON", info);
    if (err) {
        sqlite3_close(sqlite);
        return err;
    }
    *ret_sqlite = sqlite;
    return ERR_OK;
}

static enum err db_version(sqlite3 *sqlite, int *ret_version, struct err_info *info)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(sqlite, "PRAGMA user_version", -1, &stmt, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(stmt);
    if (code == SQLITE_ROW)
        *ret_version = sqlite3_column_int(stmt, 0);
    enum err err = code == SQLITE_ROW ? ERR_OK : db_error(sqlite, code, info, "user_version");
    sqlite3_finalize(stmt);
    return err;
}

/*
 * Each step is a transaction together with the number it raises: a crash between two steps leaves a
 * file that the next start takes further, never one that is half a step ahead.
 */
static enum err db_upgrade(sqlite3 *sqlite, const struct db_config *config, struct err_info *info)
{
    int version = 0;
    enum err err = db_version(sqlite, &version, info);
    if (err)
        return err;
    ASSERT(config->step_count >= 0);
    if (version > config->step_count)
        return err_info_set(info, ERR_UNSUPPORTED_VERSION,
                            "%s was written by a newer version (%d, this one knows %d)",
                            config->path, version, config->step_count);
    for (int i = version; i < config->step_count && !err; i++) {
        char pragma[48];
        snprintf(pragma, sizeof(pragma), "PRAGMA user_version=%d", i + 1);
        err = db_exec(sqlite, "BEGIN IMMEDIATE", info);
        if (!err)
            err = db_exec(sqlite, config->steps[i], info);
        if (!err)
            err = db_exec(sqlite, pragma, info);
        if (!err)
            err = db_exec(sqlite, "COMMIT", info);
        else
            (void)db_exec(sqlite, "ROLLBACK", NULL);
    }
    return err;
}

/*
 * A sync that failed before the last stop may have left frames in the WAL that read back and are
 * not on the disk; commits behind them would be lost with them.
 */
static enum err db_wal_reseal(const struct db_config *config, struct err_info *info)
{
    ASSERT(config->path[0]);
    char path[FS_PATH_MAX + 1];
    int len = snprintf(path, sizeof(path), "%s-wal", config->path);
    if (len < 0 || len > FS_PATH_MAX)
        return err_info_set(info, ERR_INVALID_ARGUMENT, "the path is too long");
    return fs_reseal(sqlite_vfs_fs(config->vfs), path, 0, info);
}

/* Reseals the WAL first: SQLite would read its frames and build on them. */
enum err db_open(const struct db_config *config, struct db **ret_db, struct err_info *info)
{
    ASSERT(config->vfs && config->path && config->name);
    struct db *db = calloc(1, sizeof(*db));
    if (!db)
        return err_info_set(info, ERR_NO_MEMORY, "%s", config->path);
    db->vfs = config->vfs;
    db->path = strdup(config->path);
    snprintf(db->name, sizeof(db->name), "%s", config->name);
    db->writer.db = db;
    db->writer.writes = true;
    enum err err = db->path ? ERR_OK : err_info_set(info, ERR_NO_MEMORY, "%s", config->path);
    if (!err)
        err = db_wal_reseal(config, info);
    if (!err)
        err = db_connect(db, true, &db->writer.sqlite, info);
    if (!err)
        err = db_upgrade(db->writer.sqlite, config, info);
    if (err) {
        err_info_wrap(info, "database %s", config->name);
        db_close(db);
        return err;
    }
    *ret_db = db;
    return ERR_OK;
}

/* Statements that tasks keep with the connection (found again by sqlite3_next_stmt) go with it. */
static void db_disconnect(sqlite3 *sqlite)
{
    sqlite3_stmt *stmt;
    while (sqlite && (stmt = sqlite3_next_stmt(sqlite, NULL)))
        sqlite3_finalize(stmt);
    sqlite3_close_v2(sqlite);
}

void db_close(struct db *db)
{
    if (!db)
        return;
    ASSERT(!db->writer.busy && db->writer.queue.count == 0);
    for (unsigned i = 0; i < SHARD_MAX; i++) {
        if (!db->readers[i])
            continue;
        ASSERT(!db->readers[i]->busy && db->readers[i]->queue.count == 0);
        ASSERT(db->readers[i]->db == db);
        db_disconnect(db->readers[i]->sqlite);
        free(db->readers[i]);
    }
    db_disconnect(db->writer.sqlite);
    free(db->path);
    free(db);
}

/*
 * Readers are connected by their first task, on a worker: opening is disk work, and a shard never does
 * any. Boot may abort where there is no memory.
 */
void db_shard_start(struct db *db, struct shard *shard)
{
    ASSERT(shard->index < SHARD_MAX);
    if (shard->index == 0) {
        db->home = shard;
        db->writer.shard = shard;
    }
    if (db->readers[shard->index])
        return;
    struct db_lane *lane = calloc(1, sizeof(*lane));
    ASSERT(lane != NULL); /* boot may abort */
    lane->db = db;
    lane->shard = shard;
    db->readers[shard->index] = lane;
}

/* ---- running a batch, on a worker ---- */

/*
 * The batch did not happen: everybody hears it, and those that had failed already keep their own
 * reason.
 */
static void db_batch_fail(struct db_lane *lane, uint32_t count, enum err err,
                          const struct err_info *info)
{
    ASSERT(err != ERR_OK);
    for (uint32_t i = 0; i < count; i++) {
        struct db_task *task = lane->batch[i];
        if (task->err)
            continue; /* its own failure says more */
        task->err = err;
        task->info = *info;
    }
}

/* Ends in the transaction of the batch, or, where only that keeps (3), outside of any. */
static void db_task_run(struct db_lane *lane, struct db_task *task)
{
    sqlite3 *sqlite = lane->sqlite;
    ASSERT(!sqlite3_get_autocommit(sqlite));
    task->info = (struct err_info){0};
    task->err = db_exec(sqlite, "SAVEPOINT task", &task->info);
    if (task->err)
        return;
    task->err = task->run(task, sqlite);
    if (sqlite3_get_autocommit(sqlite))
        return; /* SQLite rolled everything back */
    enum err undone = task->err ? db_exec(sqlite, "ROLLBACK TO task", NULL) : ERR_OK;
    enum err closed = db_exec(sqlite, "RELEASE task", task->err ? NULL : &task->info);
    if (!task->err)
        task->err = closed;
    if (undone || closed)
        (void)db_exec(sqlite, "ROLLBACK", NULL);
}

/* What the innocent tasks of a batch hear when one of them took it down: a sick disk is news for
 * all, a mistake of its own is not. */
static enum err db_shared_cause(enum err err)
{
    return err == ERR_DISK_FULL || err == ERR_DISK_IO || err == ERR_NO_MEMORY || err == ERR_CORRUPT
               ? err
               : ERR_INTERNAL;
}

/*
 * One transaction around all tasks. Group commit: the sync at its end is the price of a commit, and it
 * is paid once for as many tasks as had gathered.
 */
static void db_batch_run(struct db_lane *lane)
{
    ASSERT(lane->batch_count > 0 && lane->batch_count <= DB_BATCH_MAX);
    ASSERT(sqlite3_get_autocommit(lane->sqlite)); /* no transaction is left over */
    sqlite3 *sqlite = lane->sqlite;
    struct err_info info = {0};
    uint32_t count = lane->batch_count;
    for (uint32_t i = 0; i < count; i++)
        lane->batch[i]->err = ERR_OK;
    enum err err = db_exec(sqlite, lane->writes ? "BEGIN IMMEDIATE" : "BEGIN", &info);
    if (err) {
        db_batch_fail(lane, count, err, &info);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct db_task *task = lane->batch[i];
        db_task_run(lane, task);
        if (sqlite3_get_autocommit(sqlite)) { /* (3) */
            enum err cause = db_shared_cause(task->err);
            if (cause == task->err)
                info = task->info;
            else
                cause = err_info_set(&info, cause, "another request undid the transaction");
            db_batch_fail(lane, count, cause, &info);
            return;
        }
    }
    err = db_exec(sqlite, "COMMIT", &info);
    if (err) {
        if (!sqlite3_get_autocommit(sqlite))
            (void)db_exec(sqlite, "ROLLBACK", NULL);
        db_batch_fail(lane, count, err, &info);
    }
}

static void db_work_run(struct work *work)
{
    struct db_lane *lane = CONTAINER_OF(work, struct db_lane, work);
    ASSERT(lane->busy && lane->batch_count > 0);
    if (!lane->sqlite) {
        struct err_info info = {0};
        enum err err = db_connect(lane->db, lane->writes, &lane->sqlite, &info);
        if (err) {
            for (uint32_t i = 0; i < lane->batch_count; i++)
                lane->batch[i]->err = ERR_OK;
            db_batch_fail(lane, lane->batch_count, err, &info);
            return;
        }
    }
    db_batch_run(lane);
}

/* ---- queues, on shards ---- */

static void db_answer_arrive(struct shard *to, struct shard_msg *msg)
{
    struct db_task *task = CONTAINER_OF(msg, struct db_task, msg);
    ASSERT(task->shard == to);
    task->done(task);
}

static void db_answer(struct db_lane *lane, struct db_task *task)
{
    ASSERT(task->done && task->shard);
    task->msg.fn = db_answer_arrive;
    if (task->shard == lane->shard)
        task->done(task);
    else
        shard_send(lane->shard, task->shard, &task->msg);
}

static void db_lane_pump(struct db_lane *lane);

/*
 * The batch is copied out, since the next one is started before these answers run: they may take
 * their time, and may submit tasks of their own.
 */
static void db_work_done(struct work *work)
{
    struct db_lane *lane = CONTAINER_OF(work, struct db_lane, work);
    struct db_task *batch[DB_BATCH_MAX];
    uint32_t count = lane->batch_count;
    ASSERT(lane->busy && count <= DB_BATCH_MAX);
    for (uint32_t i = 0; i < count; i++)
        batch[i] = lane->batch[i];
    lane->batch_count = 0;
    lane->busy = false;
    db_lane_pump(lane); /* the next batch writes while we answer */
    for (uint32_t i = 0; i < count; i++)
        db_answer(lane, batch[i]);
}

/*
 * Starts a batch when none is out. While one is, tasks gather; the busier the disk, the larger the
 * batches, up to DB_BATCH_MAX so that one answer does not wait for thousands of tasks.
 */
static void db_lane_pump(struct db_lane *lane)
{
    if (lane->busy || !lane->queue.head)
        return;
    ASSERT(lane->batch_count == 0);
    while (lane->queue.head && lane->batch_count < DB_BATCH_MAX) {
        struct db_task *task = lane->queue.head;
        lane->queue.head = task->next;
        lane->queue.count--;
        lane->batch[lane->batch_count++] = task;
    }
    if (!lane->queue.head)
        lane->queue.tail = NULL;
    lane->busy = true;
    reactor_work(lane->shard->reactor, &lane->work, db_work_run, db_work_done);
}

/* Never answers inside: a refusal travels as a message too. */
static void db_lane_push(struct db_lane *lane, struct db_task *task)
{
    ASSERT(lane->shard != NULL && task->db == lane->db);
    ASSERT((lane->queue.head == NULL) == (lane->queue.count == 0));
    if (lane->queue.count >= DB_TASKS_MAX) {
        task->err = err_info_set(&task->info, ERR_BUSY, "database %s: too many requests wait",
                                 lane->db->name);
        task->msg.fn = db_answer_arrive;
        shard_send(lane->shard, task->shard, &task->msg);
        return;
    }
    task->next = NULL;
    if (lane->queue.tail)
        lane->queue.tail->next = task;
    else
        lane->queue.head = task;
    lane->queue.tail = task;
    lane->queue.count++;
    db_lane_pump(lane);
}

static void db_write_arrive(struct shard *to, struct shard_msg *msg)
{
    struct db_task *task = CONTAINER_OF(msg, struct db_task, msg);
    ASSERT(task->db->home == to);
    db_lane_push(&task->db->writer, task);
}

void db_write(struct db *db, struct shard *shard, struct db_task *task)
{
    ASSERT(task->run && task->done && db->home);
    task->db = db;
    task->shard = shard;
    task->err = ERR_OK;
    if (shard == db->home) {
        db_lane_push(&db->writer, task);
        return;
    }
    task->msg.fn = db_write_arrive;
    shard_send(shard, db->home, &task->msg);
}

void db_read(struct db *db, struct shard *shard, struct db_task *task)
{
    ASSERT(task->run && task->done);
    ASSERT(db->readers[shard->index] != NULL);
    task->db = db;
    task->shard = shard;
    task->err = ERR_OK;
    db_lane_push(db->readers[shard->index], task);
}

enum err db_write_now(struct db *db, struct db_task *task)
{
    struct db_lane *lane = &db->writer;
    ASSERT(!lane->busy && lane->batch_count == 0);
    lane->batch[0] = task;
    lane->batch_count = 1;
    db_batch_run(lane);
    lane->batch_count = 0;
    return task->err;
}
