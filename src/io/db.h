/*
 * One SQLite database shared by all shards: WAL, synchronous=FULL, one writer with group commit,
 * readers beside it.
 *
 * A task carries a function that runs on a disk worker with the connection. Write tasks of all
 * shards gather at the home shard; all that wait when the writer becomes free run in one
 * transaction, each in its own savepoint, and are answered after the one commit that makes them
 * durable. Read tasks run on a connection of the calling shard, on a worker, and see what was
 * committed when they start.
 */
#ifndef WEIR_IO_DB_H
#define WEIR_IO_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "io/shard.h"

struct db;
struct sqlite3;
struct sqlite_vfs;
struct db_task;

enum {
    DB_TASKS_MAX = 4096, /* tasks that may wait in one database, writes and reads each */
    DB_BATCH_MAX = 256   /* write tasks of one transaction */
};

/*
 * Runs on a worker, inside a savepoint named "task" that it leaves as it found it. Anything but
 * ERR_OK undoes this task alone, the others of the batch stand. Runs at most once. It must not
 * touch state of a shard: everything it needs travels in the task.
 */
typedef enum err (*db_run_fn)(struct db_task *task, struct sqlite3 *sqlite);
/* Runs on the shard that submitted. task->err tells the outcome; for a write ERR_OK means durable.
 */
typedef void (*db_done_fn)(struct db_task *task);

/* Embedded in the caller's own struct, which must live until done has been called. */
struct db_task {
    /* set by the caller */
    db_run_fn run;
    db_done_fn done;
    /* outcome */
    enum err err;
    struct err_info info; /* text of a failure; run may fill it */
    /* private */
    struct shard *shard;
    struct db *db;
    struct db_task *next;
    struct shard_msg msg;
};

struct db_config {
    struct sqlite_vfs *vfs;
    const char *path; /* of the database file; its folder must exist */
    const char *name; /* for diagnostics: "catalogue" */
    /*
     * Schema steps: step i brings user_version i to i + 1, each in a transaction. A file of a newer
     * version than step_count is refused.
     */
    const char *const *steps;
    int step_count;
};

/*
 * Opens or creates, recovers the WAL, brings the schema up to date. ERR_CORRUPT: damaged file.
 * Shard: init.
 */
MUST_CHECK enum err db_open(const struct db_config *config, struct db **ret_db,
                            struct err_info *info);
/* No task may be outstanding. NULL is allowed. Shard: init (after the shards have stopped). */
void db_close(struct db *db);

/*
 * Ties the database to a running shard; to be called on every shard before it submits. The shard of
 * index 0 is home. Shard: owner.
 */
void db_shard_start(struct db *db, struct shard *shard);

/*
 * Queues a task; done is always called, later, on this shard (at the limit with ERR_BUSY). Shard:
 * any, `shard` is the running one.
 */
void db_write(struct db *db, struct shard *shard, struct db_task *task);
void db_read(struct db *db, struct shard *shard, struct db_task *task);

/* Runs one task at once in its own transaction, durable at return. Only before shards run. Shard:
 * init. */
MUST_CHECK enum err db_write_now(struct db *db, struct db_task *task);

/* Text of the last SQLite failure as an error of ours: fills info, maps FULL, IOERR, CORRUPT,
 * NOMEM. Any thread. */
enum err db_error(struct sqlite3 *sqlite, int sqlite_code, struct err_info *info,
                  const char *doing);

#endif
