/*
 * Operations on containers.
 *
 * Deleting one removes its row and notes its id for the sweeper: the name is free at once, the
 * blobs under the old id cannot be reached any more and go in the background. Conditions: only the
 * two dates count.
 *
 * Ownership: worker, on the op's arena. Invariant: a name has at most one row.
 */
#include "blobstore/blobstore_int.h"

/* The op's container; *ret_id 0: none. */
static enum err container_load(struct blobstore_op *op, struct sqlite3 *sqlite, int64_t *ret_id)
{
    struct sqlite3_stmt *stmt;
    bool row;
    *ret_id = 0;
    enum err err = sql_get(sqlite, "SELECT id, etag, metadata FROM container WHERE name = ?", &stmt,
                           &op->err_info);
    if (err)
        return err;
    sql_bind_bytes(stmt, 1, op->container);
    err = sql_row(stmt, &row, &op->err_info);
    if (err || !row)
        return err;
    *ret_id = sqlite3_column_int64(stmt, 0);
    op->container_info.name = op->container;
    op->container_info.etag = (uint64_t)sqlite3_column_int64(stmt, 1);
    err = sql_copy(stmt, 2, op->arena, &op->container_info.metadata, &op->err_info);
    sqlite3_reset(stmt);
    return err;
}

static enum err container_create(struct blobstore_op *op, struct sqlite3 *sqlite)
{
    struct sqlite3_stmt *stmt;
    uint64_t tick;
    enum err err = tick_next(op, sqlite, &tick);
    if (!err)
        err = sql_get(sqlite, "INSERT INTO container(name, etag, metadata) VALUES(?, ?, ?)", &stmt,
                      &op->err_info);
    if (err)
        return err;
    sql_bind_bytes(stmt, 1, op->container);
    sql_bind_int(stmt, 2, (int64_t)tick);
    sql_bind_bytes(stmt, 3, op->metadata);
    op->container_info = (struct blobstore_container_info){op->container, tick, op->metadata};
    return sql_run(stmt, &op->err_info);
}

static enum err container_set(struct blobstore_op *op, struct sqlite3 *sqlite, int64_t id)
{
    struct sqlite3_stmt *stmt;
    uint64_t tick;
    enum err err = tick_next(op, sqlite, &tick);
    if (!err)
        err = sql_get(sqlite, "UPDATE container SET etag = ?, metadata = ? WHERE id = ?", &stmt,
                      &op->err_info);
    if (err)
        return err;
    sql_bind_int(stmt, 1, (int64_t)tick);
    sql_bind_bytes(stmt, 2, op->metadata);
    sql_bind_int(stmt, 3, id);
    op->container_info = (struct blobstore_container_info){op->container, tick, op->metadata};
    return sql_run(stmt, &op->err_info);
}

static enum err container_delete(struct blobstore_op *op, struct sqlite3 *sqlite, int64_t id)
{
    static const char *const texts[] = {"INSERT INTO dead_container VALUES(?)",
                                        "DELETE FROM container WHERE id = ?"};
    for (int i = 0; i < 2; i++) {
        struct sqlite3_stmt *stmt;
        enum err err = sql_get(sqlite, texts[i], &stmt, &op->err_info);
        if (err)
            return err;
        sql_bind_int(stmt, 1, id);
        err = sql_run(stmt, &op->err_info);
        if (err)
            return err;
    }
    atomic_store_explicit(&op->store->garbage, true, memory_order_relaxed);
    return ERR_OK;
}

enum err run_container(struct blobstore_op *op, struct sqlite3 *sqlite)
{
    int64_t id;
    ASSERT(op->container.len > 0);
    enum err err = container_load(op, sqlite, &id);
    if (err)
        return err;
    if (op->verb == BLOBSTORE_CONTAINER_CREATE)
        return id ? ERR_CONTAINER_EXISTS : container_create(op, sqlite);
    if (!id)
        return ERR_CONTAINER_NOT_FOUND;
    if (op->verb == BLOBSTORE_CONTAINER_GET)
        return ERR_OK;
    err = conditions_check(&op->conditions, CONDITION_WRITE, true, op->container_info.etag);
    if (err)
        return err;
    if (op->verb == BLOBSTORE_CONTAINER_DELETE)
        return container_delete(op, sqlite, id);
    ASSERT(op->verb == BLOBSTORE_CONTAINER_SET_METADATA);
    return container_set(op, sqlite, id);
}

enum err run_container_list(struct blobstore_op *op, struct sqlite3 *sqlite)
{
    struct sqlite3_stmt *stmt;
    struct blobstore_list *list = &op->list;
    ASSERT(list->max >= 1 && list->max <= BLOBSTORE_LIST_MAX);
    struct slice from = slice_compare(list->marker, list->prefix) > 0 ? list->marker : list->prefix;
    op->containers = ARENA_ARRAY(op->arena, struct blobstore_container_info, list->max);
    if (!op->containers)
        return err_info_set(&op->err_info, ERR_NO_MEMORY, "no memory for a listing");
    enum err err =
        sql_get(sqlite, "SELECT name, etag, metadata FROM container WHERE name >= ? ORDER BY name",
                &stmt, &op->err_info);
    if (err)
        return err;
    sql_bind_bytes(stmt, 1, from);
    bool row;
    while (!(err = sql_row(stmt, &row, &op->err_info)) && row) {
        struct slice name;
        err = sql_copy(stmt, 0, op->arena, &name, &op->err_info);
        if (err || !slice_starts_with(name, list->prefix))
            break;
        if (op->item_count == list->max || arena_held(op->arena) > BLOBSTORE_LIST_BYTES) {
            op->next_marker = name;
            break;
        }
        struct blobstore_container_info *item = &op->containers[op->item_count];
        item->name = name;
        item->etag = (uint64_t)sqlite3_column_int64(stmt, 1);
        if (list->metadata)
            err = sql_copy(stmt, 2, op->arena, &item->metadata, &op->err_info);
        if (err)
            break;
        op->item_count++;
    }
    sqlite3_reset(stmt);
    return err;
}
