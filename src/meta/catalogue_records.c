/*
 * Small named records of the catalogue: hub consumer groups, jobs, their states, settings.
 *
 * Format: table records(kind, key, value), both bytes; kind 0 is the catalogue's own.
 *
 * Invariants:
 *  (1) Keys are at most CATALOGUE_KEY_MAX bytes, values at most CATALOGUE_VALUE_MAX.
 *  (2) Answers live in memory of the operation until catalogue_record_op_release.
 *
 * Ownership: the operation is the caller's; while it is out, the worker fills its answers. Shard:
 * any.
 *
 * Failures: each operation fails alone; a list longer than CATALOGUE_ENTRIES_MAX is ERR_LIMIT.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "meta/catalogue_int.h"

static struct catalogue_record_op *record_op_of(struct db_task *task)
{
    return CONTAINER_OF(task, struct catalogue_record_op, task);
}

static void record_op_done(struct db_task *task)
{
    struct catalogue_record_op *op = record_op_of(task);
    ASSERT(op->done != NULL);
    op->err = task->err;
    op->info = task->info;
    op->done(op);
}

/* Copies key and value into one block that the entry's key points to. */
static enum err record_entry_add(struct catalogue_record_op *op, struct slice key,
                                 struct slice value)
{
    if (op->entry_count >= CATALOGUE_ENTRIES_MAX)
        return err_info_set(&op->task.info, ERR_LIMIT, "more than %d records",
                            CATALOGUE_ENTRIES_MAX);
    if (op->entry_count == op->entry_cap) {
        uint32_t cap = op->entry_cap ? op->entry_cap * 2 : 8;
        struct catalogue_entry *grown = realloc(op->entries, sizeof(*grown) * cap);
        if (!grown)
            return ERR_NO_MEMORY;
        op->entries = grown;
        op->entry_cap = cap;
    }
    uint8_t *block = malloc(key.len + value.len + 2);
    if (!block)
        return ERR_NO_MEMORY;
    memcpy(block, key.data, key.len);
    block[key.len] = 0;
    memcpy(block + key.len + 1, value.data, value.len);
    block[key.len + 1 + value.len] = 0;
    op->entries[op->entry_count++] = (struct catalogue_entry){
        slice_make(block, key.len), slice_make(block + key.len + 1, value.len)};
    ASSERT(op->entry_count <= op->entry_cap);
    return ERR_OK;
}

void catalogue_record_op_release(struct catalogue_record_op *op)
{
    for (uint32_t i = 0; i < op->entry_count; i++) {
        ASSERT(op->entries[i].key.data != NULL);
        free((void *)op->entries[i].key.data);
    }
    free(op->entries);
    op->entries = NULL;
    op->entry_count = op->entry_cap = 0;
}

static enum err record_put_run(struct db_task *task, sqlite3 *sqlite)
{
    struct catalogue_record_op *op = record_op_of(task);
    sqlite3_stmt *stmt = NULL;
    if (op->key.len > CATALOGUE_KEY_MAX || op->value.len > CATALOGUE_VALUE_MAX)
        return err_info_set(&task->info, ERR_LIMIT, "the record is too large");
    enum err err =
        catalogue_prepare(sqlite,
                          op->only_new ? "INSERT OR IGNORE INTO records VALUES(?, ?, ?)"
                                       : "INSERT OR REPLACE INTO records VALUES(?, ?, ?)",
                          &stmt, &task->info);
    if (err)
        return err;
    sqlite3_bind_int(stmt, 1, op->kind);
    catalogue_bind(stmt, 2, op->key);
    catalogue_bind(stmt, 3, op->value);
    err = catalogue_finish(sqlite, stmt, &task->info);
    if (!err && op->only_new && sqlite3_changes(sqlite) == 0)
        err = err_info_set(&task->info, ERR_EXISTS, "%.*s exists already", SLICE_FMT(op->key));
    return err;
}

static enum err record_delete_run(struct db_task *task, sqlite3 *sqlite)
{
    struct catalogue_record_op *op = record_op_of(task);
    sqlite3_stmt *stmt = NULL;
    enum err err =
        catalogue_prepare(sqlite, "DELETE FROM records WHERE kind=? AND key=?", &stmt, &task->info);
    if (err)
        return err;
    sqlite3_bind_int(stmt, 1, op->kind);
    catalogue_bind(stmt, 2, op->key);
    err = catalogue_finish(sqlite, stmt, &task->info);
    if (!err && sqlite3_changes(sqlite) == 0)
        err = err_info_set(&task->info, ERR_NOT_FOUND, "there is no %.*s", SLICE_FMT(op->key));
    return err;
}

static enum err record_select_run(struct db_task *task, sqlite3 *sqlite, const char *sql)
{
    struct catalogue_record_op *op = record_op_of(task);
    sqlite3_stmt *stmt = NULL;
    int code = 0;
    enum err err = catalogue_prepare(sqlite, sql, &stmt, &task->info);
    if (err)
        return err;
    sqlite3_bind_int(stmt, 1, op->kind);
    catalogue_bind(stmt, 2, op->key);
    while (!err && (code = sqlite3_step(stmt)) == SQLITE_ROW)
        err = record_entry_add(op, catalogue_column(stmt, 0), catalogue_column(stmt, 1));
    if (!err && code != SQLITE_DONE)
        err = db_error(sqlite, code, &task->info, "records");
    sqlite3_finalize(stmt);
    return err;
}

static enum err record_get_run(struct db_task *task, sqlite3 *sqlite)
{
    struct catalogue_record_op *op = record_op_of(task);
    enum err err =
        record_select_run(task, sqlite, "SELECT key, value FROM records WHERE kind=? AND key=?");
    if (!err && op->entry_count == 0)
        err = err_info_set(&task->info, ERR_NOT_FOUND, "there is no %.*s", SLICE_FMT(op->key));
    return err;
}

static enum err record_list_run(struct db_task *task, sqlite3 *sqlite)
{
    return record_select_run(task, sqlite,
                             "SELECT key, value FROM records WHERE kind=?1 AND key>=?2"
                             " AND substr(key, 1, length(?2))=?2 ORDER BY key");
}

static void record_op_prepare(struct catalogue_record_op *op, db_run_fn run)
{
    ASSERT(op->kind >= CATALOGUE_HUB_GROUP && op->kind <= CATALOGUE_SETTING);
    op->entries = NULL;
    op->entry_count = op->entry_cap = 0;
    op->task.run = run;
    op->task.done = record_op_done;
}

void catalogue_record_put(struct catalogue *catalogue, struct shard *shard,
                          struct catalogue_record_op *op)
{
    record_op_prepare(op, record_put_run);
    db_write(catalogue->db, shard, &op->task);
}

void catalogue_record_delete(struct catalogue *catalogue, struct shard *shard,
                             struct catalogue_record_op *op)
{
    record_op_prepare(op, record_delete_run);
    db_write(catalogue->db, shard, &op->task);
}

void catalogue_record_get(struct catalogue *catalogue, struct shard *shard,
                          struct catalogue_record_op *op)
{
    record_op_prepare(op, record_get_run);
    db_read(catalogue->db, shard, &op->task);
}

void catalogue_record_list(struct catalogue *catalogue, struct shard *shard,
                           struct catalogue_record_op *op)
{
    record_op_prepare(op, record_list_run);
    db_read(catalogue->db, shard, &op->task);
}

static enum err record_now(struct catalogue *catalogue, struct catalogue_record_op *op,
                           db_run_fn run)
{
    record_op_prepare(op, run);
    op->err = db_write_now(catalogue->db, &op->task);
    op->info = op->task.info;
    return op->err;
}

enum err catalogue_record_list_now(struct catalogue *catalogue, struct catalogue_record_op *op)
{
    return record_now(catalogue, op, record_list_run);
}

enum err catalogue_record_put_now(struct catalogue *catalogue, struct catalogue_record_op *op)
{
    return record_now(catalogue, op, record_put_run);
}
