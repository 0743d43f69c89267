/*
 * Operations on one blob: put, get, read, set, delete; and the conditions that guard them.
 *
 * Each run_ function is one savepoint of the writer (or a read) on a worker: it looks, decides,
 * writes. Since there is one writer, a condition that held when it was checked holds when the
 * change is made.
 *
 * Invariants:
 * (1) No row is written after a check has failed.
 * (2) Every change gives the blob an ETag larger than any before it, in this process or an earlier
 * one. (3) A blob row's generation has exactly the pieces that cover [0, length). (4) Replaced or
 * deleted content is only marked (dead_gen); the sweeper removes it when nobody reads it.
 *
 * Ownership: worker, on the op's arena. Failure modes: damaged rows are ERR_CORRUPT and cost that
 * blob alone.
 */
#include "blobstore/blobstore_int.h"

static bool etags_hold(const struct blobstore_etags *etags, uint64_t etag)
{
    for (uint8_t i = 0; i < etags->count; i++)
        if (etags->tags[i] == etag)
            return true;
    return etags->any;
}

static enum err conditions_read(const struct blobstore_conditions *c, uint64_t etag)
{
    int64_t changed = blobstore_ticks_unix(etag);
    if (c->match.present && !etags_hold(&c->match, etag))
        return ERR_CONDITION_NOT_MET;
    if (c->has_unmodified_since && changed > c->unmodified_since)
        return ERR_CONDITION_NOT_MET;
    bool none = c->none_match.present && !etags_hold(&c->none_match, etag);
    bool newer = c->has_modified_since && changed > c->modified_since;
    if ((c->none_match.present || c->has_modified_since) && !none && !newer)
        return ERR_NOT_MODIFIED;
    return ERR_OK;
}

enum err conditions_check(const struct blobstore_conditions *c, enum condition_mode mode,
                          bool exists, uint64_t etag)
{
    ASSERT(c);
    if (!exists) {
        bool refuse = c->match.present && (mode == CONDITION_CREATE || mode == CONDITION_WRITE);
        if (refuse)
            return ERR_CONDITION_NOT_MET;
        return mode == CONDITION_CREATE ? ERR_OK : ERR_BLOB_NOT_FOUND;
    }
    if (mode == CONDITION_READ)
        return conditions_read(c, etag);
    int64_t changed = blobstore_ticks_unix(etag);
    if (c->match.present && !etags_hold(&c->match, etag))
        return ERR_CONDITION_NOT_MET;
    if (!c->match.present && c->has_unmodified_since && changed > c->unmodified_since)
        return ERR_CONDITION_NOT_MET;
    if (c->none_match.present) {
        if (c->none_match.any && mode == CONDITION_CREATE)
            return ERR_BLOB_EXISTS;
        /* A delete with "*" goes through, as clients of the emulator know it. */
        bool held = etags_hold(&c->none_match, etag);
        if (held && !(c->none_match.any && mode == CONDITION_DELETE))
            return ERR_CONDITION_NOT_MET;
    } else if (c->has_modified_since && changed <= c->modified_since) {
        return ERR_CONDITION_NOT_MET;
    }
    return ERR_OK;
}

enum err container_find(struct blobstore_op *op, struct sqlite3 *sqlite, int64_t *ret_id)
{
    struct sqlite3_stmt *stmt;
    bool row = false;
    ASSERT(op->container.len > 0 && ret_id);
    enum err err = sql_get(sqlite, "SELECT id FROM container WHERE name = ?", &stmt, &op->err_info);
    if (err)
        return err;
    sql_bind_bytes(stmt, 1, op->container);
    err = sql_row(stmt, &row, &op->err_info);
    if (err)
        return err;
    if (!row)
        return err_info_set(&op->err_info, ERR_CONTAINER_NOT_FOUND, "no container %.*s",
                            SLICE_FMT(op->container));
    *ret_id = sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    return ERR_OK;
}

enum err blob_info_read(struct sqlite3_stmt *stmt, int column, struct arena *arena, bool metadata,
                        struct blobstore_info *ret_info, struct err_info *info)
{
    struct slice headers;
    int64_t length = sqlite3_column_int64(stmt, column + 1);
    int type = sqlite3_column_int(stmt, column);
    if (length < 0 || (type != BLOBSTORE_BLOCK && type != BLOBSTORE_APPEND))
        return err_info_set(info, ERR_CORRUPT, "a blob's row is damaged");
    ret_info->type = (enum blobstore_type)type;
    ret_info->length = (uint64_t)length;
    ret_info->etag = (uint64_t)sqlite3_column_int64(stmt, column + 2);
    ret_info->created = (uint64_t)sqlite3_column_int64(stmt, column + 3);
    ret_info->block_count = (uint32_t)sqlite3_column_int64(stmt, column + 4);
    ret_info->metadata = SLICE_NULL;
    enum err err = sql_copy(stmt, column + 5, arena, &headers, info);
    if (!err && !headers_unpack(headers, &ret_info->headers))
        err = err_info_set(info, ERR_CORRUPT, "a blob's headers are damaged");
    if (!err && metadata)
        err = sql_copy(stmt, column + 6, arena, &ret_info->metadata, info);
    return err;
}

enum err blob_find(struct blobstore_op *op, struct sqlite3 *sqlite, struct blob_row *ret_row)
{
    struct sqlite3_stmt *stmt;
    ASSERT(op->blob.len > 0 && op->blob.len <= BLOBSTORE_NAME_MAX);
    *ret_row = (struct blob_row){.exists = false};
    enum err err = container_find(op, sqlite, &ret_row->container);
    if (!err)
        err = sql_get(sqlite,
                      "SELECT gen, type, length, etag, created, blocks, headers, metadata FROM blob"
                      " WHERE container = ? AND name = ?",
                      &stmt, &op->err_info);
    if (err)
        return err;
    sql_bind_int(stmt, 1, ret_row->container);
    sql_bind_bytes(stmt, 2, op->blob);
    err = sql_row(stmt, &ret_row->exists, &op->err_info);
    if (err || !ret_row->exists)
        return err;
    ret_row->gen.v = sqlite3_column_int64(stmt, 0);
    err = blob_info_read(stmt, 1, op->arena, true, &ret_row->info, &op->err_info);
    sqlite3_reset(stmt);
    return err;
}

enum err tick_next(struct blobstore_op *op, struct sqlite3 *sqlite, uint64_t *ret_tick)
{
    struct blobstore *store = op->store;
    struct sqlite3_stmt *stmt;
    uint64_t tick = store->tick + 1;
    if (tick < op->now_ticks)
        tick = op->now_ticks;
    ASSERT(tick > store->tick && tick <= INT64_MAX);
    store->tick = tick; /* kept even when this task fails: ETags may skip, never repeat */
    *ret_tick = tick;
    enum err err =
        sql_get(sqlite, "UPDATE counter SET value = ? WHERE name = 'tick'", &stmt, &op->err_info);
    if (err)
        return err;
    sql_bind_int(stmt, 1, (int64_t)tick);
    return sql_run(stmt, &op->err_info);
}

static enum err gen_drop(struct blobstore_op *op, struct sqlite3 *sqlite, struct blobstore_gen gen)
{
    struct sqlite3_stmt *stmt;
    enum err err = sql_get(sqlite, "INSERT INTO dead_gen VALUES(?)", &stmt, &op->err_info);
    if (err)
        return err;
    sql_bind_int(stmt, 1, gen.v);
    atomic_store_explicit(&op->store->garbage, true, memory_order_relaxed);
    return sql_run(stmt, &op->err_info);
}

enum err blob_store(struct blobstore_op *op, struct sqlite3 *sqlite, const struct blob_row *old,
                    const struct blob_row *row)
{
    struct sqlite3_stmt *stmt;
    struct slice headers;
    ASSERT(row->info.etag > 0 && row->info.length <= INT64_MAX);
    enum err err = headers_pack(&row->info.headers, op->arena, &headers, &op->err_info);
    if (!err && old->exists && old->gen.v != row->gen.v)
        err = gen_drop(op, sqlite, old->gen);
    if (!err)
        err = sql_get(sqlite, "INSERT OR REPLACE INTO blob VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                      &stmt, &op->err_info);
    if (err)
        return err;
    sql_bind_int(stmt, 1, row->container);
    sql_bind_bytes(stmt, 2, op->blob);
    sql_bind_int(stmt, 3, row->gen.v);
    sql_bind_int(stmt, 4, row->info.type);
    sql_bind_int(stmt, 5, (int64_t)row->info.length);
    sql_bind_int(stmt, 6, (int64_t)row->info.etag);
    sql_bind_int(stmt, 7, (int64_t)row->info.created);
    sql_bind_int(stmt, 8, row->info.block_count);
    sql_bind_bytes(stmt, 9, headers);
    sql_bind_bytes(stmt, 10, row->info.metadata);
    err = sql_run(stmt, &op->err_info);
    op->info = row->info;
    return err;
}

enum err file_add(struct blobstore_op *op, struct sqlite3 *sqlite)
{
    struct sqlite3_stmt *stmt;
    ASSERT(op->upload && op->upload->finished && !op->upload->err);
    if (!op->upload->file_id)
        return ERR_OK;
    enum err err = sql_get(sqlite, "INSERT INTO file VALUES(?, 0)", &stmt, &op->err_info);
    if (err)
        return err;
    sql_bind_int(stmt, 1, op->upload->file_id);
    return sql_run(stmt, &op->err_info);
}

enum err piece_add(struct blobstore_op *op, struct sqlite3 *sqlite, struct blobstore_gen gen,
                   uint64_t start, struct slice block_id)
{
    struct sqlite3_stmt *stmt;
    const struct blobstore_upload *upload = op->upload;
    ASSERT(upload && upload->finished && !upload->err);
    ASSERT(start <= INT64_MAX - upload->length);
    if (upload->length == 0)
        return ERR_OK;
    enum err err = file_add(op, sqlite);
    if (!err)
        err = sql_get(sqlite, "INSERT INTO piece VALUES(?, ?, ?, ?, ?, ?)", &stmt, &op->err_info);
    if (err)
        return err;
    sql_bind_int(stmt, 1, gen.v);
    sql_bind_int(stmt, 2, (int64_t)start);
    sql_bind_int(stmt, 3, (int64_t)upload->length);
    if (upload->file_id)
        sql_bind_int(stmt, 4, upload->file_id);
    else
        sql_bind_bytes(stmt, 6, slice_make(upload->memory, (size_t)upload->length));
    if (block_id.len)
        sql_bind_bytes(stmt, 5, block_id);
    return sql_run(stmt, &op->err_info);
}

enum err staged_drop(struct blobstore_op *op, struct sqlite3 *sqlite, int64_t container)
{
    struct sqlite3_stmt *stmt;
    enum err err = sql_get(sqlite, "DELETE FROM staged WHERE container = ? AND name = ?", &stmt,
                           &op->err_info);
    if (err)
        return err;
    sql_bind_int(stmt, 1, container);
    sql_bind_bytes(stmt, 2, op->blob);
    err = sql_run(stmt, &op->err_info);
    if (!err && sqlite3_changes(sqlite) > 0)
        atomic_store_explicit(&op->store->garbage, true, memory_order_relaxed);
    return err;
}

/* BLOBSTORE_PUT and BLOBSTORE_PUT_APPEND. */
enum err run_put(struct blobstore_op *op, struct sqlite3 *sqlite)
{
    struct blob_row old;
    uint64_t tick;
    bool append = op->verb == BLOBSTORE_PUT_APPEND;
    ASSERT(append == (op->upload == NULL));
    enum err err = blob_find(op, sqlite, &old);
    if (!err)
        err = conditions_check(&op->conditions, CONDITION_CREATE, old.exists, old.info.etag);
    if (!err)
        err = tick_next(op, sqlite, &tick);
    if (err)
        return err;
    struct blob_row row = {.container = old.container, .gen = {(int64_t)tick}};
    row.info = (struct blobstore_info){
        .type = append ? BLOBSTORE_APPEND : BLOBSTORE_BLOCK,
        .length = append ? 0 : op->upload->length,
        .etag = tick,
        .created = old.exists ? old.info.created : tick,
        .headers = op->headers,
        .metadata = op->metadata,
    };
    if (!append &&
        row.info.headers.md5.len == 0) { /* a copy: the upload goes before the answer is read */
        row.info.headers.md5 =
            arena_copy(op->arena, slice_make(op->upload->md5, sizeof(op->upload->md5)));
        if (!row.info.headers.md5.data)
            return err_info_set(&op->err_info, ERR_NO_MEMORY, "no memory for a checksum");
    }
    if (!append)
        err = piece_add(op, sqlite, row.gen, 0, SLICE_NULL);
    if (!err)
        err = blob_store(op, sqlite, &old, &row);
    if (!err)
        err = staged_drop(op, sqlite, row.container);
    return err;
}

enum err run_get(struct blobstore_op *op, struct sqlite3 *sqlite)
{
    struct blob_row row;
    enum err err = blob_find(op, sqlite, &row);
    if (!err)
        err = conditions_check(&op->conditions, CONDITION_READ, row.exists, row.info.etag);
    op->info = row.info;
    return err;
}

enum err run_read(struct blobstore_op *op, struct sqlite3 *sqlite)
{
    struct blob_row row;
    enum err err = blob_find(op, sqlite, &row);
    if (!err)
        err = conditions_check(&op->conditions, CONDITION_READ, row.exists, row.info.etag);
    op->info = row.info;
    if (err)
        return err;
    ASSERT(!op->reader && !list_empty(&op->store->opening));
    op->reader = blobstore_reader_create(op->store, op->shard, row.gen, row.info.length);
    if (!op->reader)
        return err_info_set(&op->err_info, ERR_NO_MEMORY, "no memory for a reader");
    return ERR_OK;
}

/* BLOBSTORE_SET_METADATA and BLOBSTORE_SET_HEADERS: each replaces its part as a whole. */
enum err run_set(struct blobstore_op *op, struct sqlite3 *sqlite)
{
    struct blob_row old;
    ASSERT(op->verb == BLOBSTORE_SET_METADATA || op->verb == BLOBSTORE_SET_HEADERS);
    enum err err = blob_find(op, sqlite, &old);
    if (!err)
        err = conditions_check(&op->conditions, CONDITION_WRITE, old.exists, old.info.etag);
    if (err)
        return err;
    struct blob_row row = old;
    if (op->verb == BLOBSTORE_SET_METADATA)
        row.info.metadata = op->metadata;
    else
        row.info.headers = op->headers;
    err = tick_next(op, sqlite, &row.info.etag);
    if (!err)
        err = blob_store(op, sqlite, &old, &row);
    return err;
}

enum err run_delete(struct blobstore_op *op, struct sqlite3 *sqlite)
{
    struct blob_row old;
    struct sqlite3_stmt *stmt;
    enum err err = blob_find(op, sqlite, &old);
    if (!err)
        err = conditions_check(&op->conditions, CONDITION_DELETE, old.exists, old.info.etag);
    if (!err)
        err = gen_drop(op, sqlite, old.gen);
    if (!err)
        err = sql_get(sqlite, "DELETE FROM blob WHERE container = ? AND name = ?", &stmt,
                      &op->err_info);
    if (err)
        return err;
    sql_bind_int(stmt, 1, old.container);
    sql_bind_bytes(stmt, 2, op->blob);
    err = sql_run(stmt, &op->err_info);
    if (!err)
        err = staged_drop(op, sqlite, old.container);
    return err;
}
