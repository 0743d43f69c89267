/*
 * The catalogue's database: opening it, topics, the producer-id block, the cluster id.
 *
 * Format (SQLite, schema version 1):
 *
 *     topics(name, id, partitions, internal, created_ms)     one row per topic
 *     topic_configs(topic, name, value)                      overrides, by their names
 *     records(kind, key, value)                              small named records, see catalogue.h
 *     counters(name, value)                                  next producer id
 *
 * Invariants:
 *  (1) A topic and its overrides are written and removed in one transaction.
 *  (2) counters.producer_id only grows: an id below it may have been given, none above.
 *  (3) The cluster id is written once.
 *
 * Ownership: the handle is the broker's; tasks run on workers through io/db.h and carry all they
 * need. Shard: see each call.
 *
 * Failures: an unreadable row stops the opening with ERR_CORRUPT and a text, since starting with a
 * topic missing would look like losing it. An unknown configuration name (of a newer version) is
 * left out with a warning.
 */
#include "meta/catalogue.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "io/fs.h"
#include "io/sqlite_vfs.h"
#include "meta/catalogue_int.h"

static const char *const catalogue_steps[] = {
    "CREATE TABLE topics(name TEXT PRIMARY KEY, id BLOB NOT NULL UNIQUE,"
    " partitions INTEGER NOT NULL, internal INTEGER NOT NULL, created_ms INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE TABLE topic_configs(topic TEXT NOT NULL REFERENCES topics(name) ON DELETE CASCADE,"
    " name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY(topic, name)) WITHOUT ROWID;"
    "CREATE TABLE records(kind INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,"
    " PRIMARY KEY(kind, key));"
    "CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "INSERT INTO counters VALUES('producer_id', 1000);",
};

/* ---- statements ---- */

enum err catalogue_prepare(sqlite3 *sqlite, const char *sql, sqlite3_stmt **ret_stmt,
                           struct err_info *info)
{
    ASSERT(sqlite && sql);
    int code = sqlite3_prepare_v2(sqlite, sql, -1, ret_stmt, NULL);
    return code == SQLITE_OK ? ERR_OK : db_error(sqlite, code, info, "prepare");
}

enum err catalogue_finish(sqlite3 *sqlite, sqlite3_stmt *stmt, struct err_info *info)
{
    ASSERT(stmt != NULL);
    int code = sqlite3_step(stmt);
    enum err err = code == SQLITE_DONE ? ERR_OK : db_error(sqlite, code, info, sqlite3_sql(stmt));
    sqlite3_finalize(stmt);
    return err;
}

void catalogue_bind(sqlite3_stmt *stmt, int index, struct slice bytes)
{
    ASSERT(index > 0);
    /* An empty value is not a null one. */
    sqlite3_bind_blob64(stmt, index, bytes.len ? (const void *)bytes.data : "", bytes.len,
                        SQLITE_STATIC);
}

struct slice catalogue_column(sqlite3_stmt *stmt, int index)
{
    const void *data = sqlite3_column_blob(stmt, index);
    int len = sqlite3_column_bytes(stmt, index);
    ASSERT(len >= 0);
    return slice_make(data ? data : "", (size_t)len);
}

static void catalogue_bind_text(sqlite3_stmt *stmt, int index, struct slice text)
{
    ASSERT(index > 0 && text.len < INT32_MAX);
    sqlite3_bind_text(stmt, index, (const char *)text.data, (int)text.len, SQLITE_STATIC);
}

/* ---- opening ---- */

struct catalogue_boot {
    struct db_task task;
    struct catalogue *catalogue;
    struct random random;
    struct topic **topics;
    uint32_t topic_count;
    uint32_t topic_cap;
};

static enum err catalogue_cluster_run(struct db_task *task, sqlite3 *sqlite)
{
    struct catalogue_boot *boot = CONTAINER_OF(task, struct catalogue_boot, task);
    sqlite3_stmt *stmt = NULL;
    enum err err = catalogue_prepare(
        sqlite, "SELECT value FROM records WHERE kind=0 AND key=CAST('cluster' AS BLOB)", &stmt,
        &task->info);
    if (err)
        return err;
    bool found = sqlite3_step(stmt) == SQLITE_ROW;
    if (found) {
        struct slice id = catalogue_column(stmt, 0);
        if (id.len == sizeof(boot->catalogue->cluster_id.bytes))
            memcpy(boot->catalogue->cluster_id.bytes, id.data, id.len);
        else
            err = err_info_set(&task->info, ERR_CORRUPT, "the cluster id has %zu bytes", id.len);
    }
    sqlite3_finalize(stmt);
    if (found)
        return err;
    struct uuid id = uuid_make(&boot->random);
    boot->catalogue->cluster_id = id;
    err = catalogue_prepare(sqlite, "INSERT INTO records VALUES(0, CAST('cluster' AS BLOB), ?)",
                            &stmt, &task->info);
    if (err)
        return err;
    catalogue_bind(stmt, 1, slice_make(id.bytes, sizeof(id.bytes)));
    return catalogue_finish(sqlite, stmt, &task->info);
}

enum err catalogue_open(struct fs *fs, const char *dir, uint64_t seed,
                        struct catalogue **ret_catalogue, struct err_info *info)
{
    char path[FS_PATH_MAX];
    int len = snprintf(path, sizeof(path), "%s/meta", dir);
    if (len < 0 || len + 32 > FS_PATH_MAX)
        return err_info_set(info, ERR_INVALID_ARGUMENT, "the data folder's path is too long");
    struct catalogue *catalogue = calloc(1, sizeof(*catalogue));
    if (!catalogue)
        return err_info_set(info, ERR_NO_MEMORY, "catalogue");
    struct catalogue_boot boot = {.catalogue = catalogue};
    random_init(&boot.random, seed);
    enum err err = fs_mkdir_all(fs, path, info);
    if (!err)
        err = fs_sync_dir(fs, dir, info);
    if (!err)
        err = sqlite_vfs_create(fs, random_u64(&boot.random), &catalogue->vfs);
    snprintf(path + len, sizeof(path) - (size_t)len, "/catalogue.db");
    if (!err) {
        struct db_config config = {.vfs = catalogue->vfs,
                                   .path = path,
                                   .name = "catalogue",
                                   .steps = catalogue_steps,
                                   .step_count =
                                       sizeof(catalogue_steps) / sizeof(*catalogue_steps)};
        err = db_open(&config, &catalogue->db, info);
    }
    if (!err) {
        boot.task.run = catalogue_cluster_run;
        err = db_write_now(catalogue->db, &boot.task);
        if (err && info)
            *info = boot.task.info;
    }
    if (err) {
        catalogue_close(catalogue);
        return err;
    }
    *ret_catalogue = catalogue;
    return ERR_OK;
}

void catalogue_close(struct catalogue *catalogue)
{
    if (!catalogue)
        return;
    db_close(catalogue->db);
    sqlite_vfs_destroy(catalogue->vfs);
    free(catalogue);
}

void catalogue_shard_start(struct catalogue *catalogue, struct shard *shard)
{
    ASSERT(catalogue->db != NULL);
    db_shard_start(catalogue->db, shard);
}

struct uuid catalogue_cluster_id(const struct catalogue *catalogue)
{
    ASSERT(!uuid_is_zero(catalogue->cluster_id));
    return catalogue->cluster_id;
}

/* ---- loading topics ---- */

static enum err catalogue_load_overrides(sqlite3 *sqlite, struct slice topic,
                                         struct topic_override *overrides, uint32_t *ret_count,
                                         struct err_info *info)
{
    sqlite3_stmt *stmt = NULL;
    int code = 0;
    enum err err = catalogue_prepare(sqlite, "SELECT name, value FROM topic_configs WHERE topic=?",
                                     &stmt, info);
    if (err)
        return err;
    catalogue_bind_text(stmt, 1, topic);
    while (!err && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct slice value = catalogue_column(stmt, 1);
        enum topic_config_key key = topic_config_find(catalogue_column(stmt, 0));
        if (key == TOPIC_CONFIG_COUNT || topic_config_check(key, value, NULL)) {
            diag(DIAG_WARN, "catalogue", "topic=%.*s config=%s ignored", SLICE_FMT(topic),
                 (const char *)sqlite3_column_text(stmt, 0));
            continue;
        }
        ASSERT(*ret_count < TOPIC_CONFIG_COUNT); /* names are unique */
        overrides[*ret_count].key = key;
        overrides[*ret_count].value = strndup((const char *)value.data, value.len);
        if (!overrides[(*ret_count)++].value)
            err = ERR_NO_MEMORY;
    }
    if (!err && code != SQLITE_DONE)
        err = db_error(sqlite, code, info, "topic_configs");
    sqlite3_finalize(stmt);
    return err;
}

static enum err catalogue_load_topic(struct catalogue_boot *boot, sqlite3 *sqlite,
                                     sqlite3_stmt *stmt)
{
    struct topic_override overrides[TOPIC_CONFIG_COUNT];
    uint32_t override_count = 0;
    struct uuid id;
    struct slice name = catalogue_column(stmt, 0);
    struct slice id_bytes = catalogue_column(stmt, 1);
    int64_t partitions = sqlite3_column_int64(stmt, 2);
    if (topic_name_check(name, NULL) || id_bytes.len != sizeof(id.bytes) || partitions < 1 ||
        partitions > TOPIC_PARTITIONS_MAX)
        return err_info_set(&boot->task.info, ERR_CORRUPT, "topic row of %.*s", SLICE_FMT(name));
    memcpy(id.bytes, id_bytes.data, sizeof(id.bytes));
    if (boot->topic_count == boot->topic_cap) {
        uint32_t cap = boot->topic_cap ? boot->topic_cap * 2 : 64;
        struct topic **grown = realloc(boot->topics, sizeof(*grown) * cap);
        if (!grown)
            return ERR_NO_MEMORY;
        boot->topics = grown;
        boot->topic_cap = cap;
    }
    enum err err =
        catalogue_load_overrides(sqlite, name, overrides, &override_count, &boot->task.info);
    if (!err) {
        struct topic *topic =
            topic_make(id, name, (int32_t)partitions, sqlite3_column_int(stmt, 3) != 0,
                       sqlite3_column_int64(stmt, 4), overrides, override_count);
        if (topic)
            boot->topics[boot->topic_count++] = topic;
        else
            err = ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; i < override_count; i++)
        free(overrides[i].value);
    return err;
}

static enum err catalogue_load_run(struct db_task *task, sqlite3 *sqlite)
{
    struct catalogue_boot *boot = CONTAINER_OF(task, struct catalogue_boot, task);
    sqlite3_stmt *stmt = NULL;
    int code = 0;
    enum err err = catalogue_prepare(
        sqlite, "SELECT name, id, partitions, internal, created_ms FROM topics ORDER BY name",
        &stmt, &task->info);
    if (err)
        return err;
    while (!err && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (boot->topic_count >= TOPICS_MAX)
            err = err_info_set(&task->info, ERR_LIMIT, "more than %d topics", TOPICS_MAX);
        else
            err = catalogue_load_topic(boot, sqlite, stmt);
    }
    if (!err && code != SQLITE_DONE)
        err = db_error(sqlite, code, &task->info, "topics");
    sqlite3_finalize(stmt);
    return err;
}

enum err catalogue_load_topics(struct catalogue *catalogue, struct topic_set **ret_set,
                               struct err_info *info)
{
    struct catalogue_boot boot = {.catalogue = catalogue, .task = {.run = catalogue_load_run}};
    enum err err = db_write_now(catalogue->db, &boot.task);
    ASSERT(ret_set != NULL);
    if (!err) {
        *ret_set = topic_set_from(boot.topics, boot.topic_count);
        if (!*ret_set)
            err = ERR_NO_MEMORY;
    }
    if (err) {
        for (uint32_t i = 0; i < boot.topic_count; i++)
            topic_unref(boot.topics[i]);
        err_info_set(info, err, "loading topics: %s",
                     boot.task.info.text[0] ? boot.task.info.text : err_row(err)->text);
    }
    free(boot.topics);
    return err;
}

/* ---- writing topics ---- */

static void catalogue_op_done(struct db_task *task)
{
    struct catalogue_op *op = CONTAINER_OF(task, struct catalogue_op, task);
    ASSERT(op->done != NULL);
    op->err = task->err;
    op->info = task->info;
    topic_unref(op->topic);
    op->topic = NULL;
    op->done(op);
}

static void catalogue_op_start(struct catalogue *catalogue, struct shard *shard,
                               struct catalogue_op *op, const struct topic *topic, db_run_fn run)
{
    op->catalogue = catalogue;
    op->topic = topic ? topic_ref(topic) : NULL;
    op->task.run = run;
    op->task.done = catalogue_op_done;
    db_write(catalogue->db, shard, &op->task);
}

static enum err catalogue_topic_put_row(sqlite3 *sqlite, const struct topic *topic,
                                        struct err_info *info)
{
    sqlite3_stmt *stmt = NULL;
    enum err err =
        catalogue_prepare(sqlite, "INSERT INTO topics VALUES(?, ?, ?, ?, ?)", &stmt, info);
    if (err)
        return err;
    catalogue_bind_text(stmt, 1, topic->name);
    catalogue_bind(stmt, 2, slice_make(topic->id.bytes, sizeof(topic->id.bytes)));
    sqlite3_bind_int64(stmt, 3, topic->partition_count);
    sqlite3_bind_int(stmt, 4, topic->internal);
    sqlite3_bind_int64(stmt, 5, topic->created_ms);
    return catalogue_finish(sqlite, stmt, info);
}

static enum err catalogue_topic_delete_row(sqlite3 *sqlite, const struct topic *topic,
                                           struct err_info *info)
{
    sqlite3_stmt *stmt = NULL;
    enum err err = catalogue_prepare(sqlite, "DELETE FROM topics WHERE name=?", &stmt, info);
    if (err)
        return err;
    catalogue_bind_text(stmt, 1, topic->name);
    return catalogue_finish(sqlite, stmt, info);
}

static enum err catalogue_topic_put_run(struct db_task *task, sqlite3 *sqlite)
{
    struct catalogue_op *op = CONTAINER_OF(task, struct catalogue_op, task);
    const struct topic *topic = op->topic;
    enum err err = catalogue_topic_delete_row(sqlite, topic, &task->info);
    if (!err)
        err = catalogue_topic_put_row(sqlite, topic, &task->info);
    for (uint32_t i = 0; i < topic->override_count && !err; i++) {
        sqlite3_stmt *stmt = NULL;
        err = catalogue_prepare(sqlite, "INSERT INTO topic_configs VALUES(?, ?, ?)", &stmt,
                                &task->info);
        if (err)
            return err;
        catalogue_bind_text(stmt, 1, topic->name);
        catalogue_bind_text(stmt, 2, slice_cstr(topic_config_row(topic->overrides[i].key)->name));
        catalogue_bind_text(stmt, 3, slice_cstr(topic->overrides[i].value));
        err = catalogue_finish(sqlite, stmt, &task->info);
    }
    return err;
}

static enum err catalogue_topic_delete_run(struct db_task *task, sqlite3 *sqlite)
{
    struct catalogue_op *op = CONTAINER_OF(task, struct catalogue_op, task);
    return catalogue_topic_delete_row(sqlite, op->topic, &task->info);
}

void catalogue_topic_put(struct catalogue *catalogue, struct shard *shard, struct catalogue_op *op,
                         const struct topic *topic)
{
    ASSERT(topic != NULL);
    catalogue_op_start(catalogue, shard, op, topic, catalogue_topic_put_run);
}

enum err catalogue_topic_put_now(struct catalogue *catalogue, const struct topic *topic,
                                 struct err_info *info)
{
    struct catalogue_op op = {.topic = topic, .task = {.run = catalogue_topic_put_run}};
    enum err err = db_write_now(catalogue->db, &op.task);
    if (err && info)
        *info = op.task.info;
    return err;
}

void catalogue_topic_delete(struct catalogue *catalogue, struct shard *shard,
                            struct catalogue_op *op, const struct topic *topic)
{
    ASSERT(topic != NULL);
    catalogue_op_start(catalogue, shard, op, topic, catalogue_topic_delete_run);
}

/* ---- producer ids ---- */

static enum err catalogue_producer_run(struct db_task *task, sqlite3 *sqlite)
{
    struct catalogue_op *op = CONTAINER_OF(task, struct catalogue_op, task);
    sqlite3_stmt *stmt = NULL;
    enum err err = catalogue_prepare(sqlite, "SELECT value FROM counters WHERE name='producer_id'",
                                     &stmt, &task->info);
    if (err)
        return err;
    int code = sqlite3_step(stmt);
    if (code == SQLITE_ROW)
        op->ret_block_first = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    if (code != SQLITE_ROW)
        return db_error(sqlite, code, &task->info, "producer_id");
    if (op->ret_block_first < 0 || op->ret_block_first > INT64_MAX - op->block_size)
        return err_info_set(&task->info, ERR_CORRUPT, "the producer-id counter is out of range");
    err = catalogue_prepare(sqlite, "UPDATE counters SET value=? WHERE name='producer_id'", &stmt,
                            &task->info);
    if (err)
        return err;
    sqlite3_bind_int64(stmt, 1, op->ret_block_first + op->block_size);
    return catalogue_finish(sqlite, stmt, &task->info);
}

void catalogue_producer_block(struct catalogue *catalogue, struct shard *shard,
                              struct catalogue_op *op, int64_t block_size)
{
    ASSERT(block_size > 0);
    op->block_size = block_size;
    catalogue_op_start(catalogue, shard, op, NULL, catalogue_producer_run);
}
