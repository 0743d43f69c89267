/*
 * Blocks: staged ones, the list that makes a blob of them, and appends.
 *
 * A staged block is a row of its own beside the blob; committing copies rows (not content) into
 * pieces of a new generation, in the order of the list, and drops what was staged. An append adds
 * one piece to the generation it has.
 *
 * Invariants:
 * (1) A commit names every block it was given, or changes nothing (the task's savepoint is undone).
 * (2) Pieces are inserted before staged rows are deleted, so a file's references never touch zero
 * between. (3) Appends leave the pieces that are there alone: a reader of the shorter blob stays
 * right.
 *
 * Ownership: worker, on the op's arena.
 */
#include "blobstore/blobstore_int.h"

/*
 * Whether a block id has the length of those staged before it. Committed ones do not count: another
 * client, with ids of its own length, may replace the blob.
 */
static enum err block_id_fits(struct blobstore_op *op, struct sqlite3 *sqlite,
                              const struct blob_row *row)
{
    struct sqlite3_stmt *stmt;
    bool found;
    enum err err =
        sql_get(sqlite, "SELECT block_id FROM staged WHERE container = ? AND name = ? LIMIT 1",
                &stmt, &op->err_info);
    if (err)
        return err;
    sql_bind_int(stmt, 1, row->container);
    sql_bind_bytes(stmt, 2, op->blob);
    err = sql_row(stmt, &found, &op->err_info);
    if (err || !found)
        return err;
    bool fits = (size_t)sqlite3_column_bytes(stmt, 0) == op->block_id.len;
    sqlite3_reset(stmt);
    if (!fits)
        return err_info_set(&op->err_info, ERR_INVALID_BLOCK,
                            "block ids of one blob must have one length");
    return ERR_OK;
}

/* Counts what is staged, once in a while: the limit is a guard, and counting is linear. */
static enum err staged_count_check(struct blobstore_op *op, struct sqlite3 *sqlite,
                                   int64_t container, uint64_t tick)
{
    struct sqlite3_stmt *stmt;
    bool found;
    if (tick % 256 != 0)
        return ERR_OK;
    enum err err = sql_get(sqlite, "SELECT count(*) FROM staged WHERE container = ? AND name = ?",
                           &stmt, &op->err_info);
    if (err)
        return err;
    sql_bind_int(stmt, 1, container);
    sql_bind_bytes(stmt, 2, op->blob);
    err = sql_row(stmt, &found, &op->err_info);
    if (err)
        return err;
    bool full = sqlite3_column_int64(stmt, 0) >= BLOBSTORE_STAGED_MAX;
    sqlite3_reset(stmt);
    return full ? ERR_BLOCK_COUNT : ERR_OK;
}

static enum err staged_replace(struct blobstore_op *op, struct sqlite3 *sqlite, int64_t container)
{
    struct sqlite3_stmt *stmt;
    const struct blobstore_upload *upload = op->upload;
    ASSERT(upload->length > 0 && (upload->file_id || upload->memory));
    enum err err =
        sql_get(sqlite, "DELETE FROM staged WHERE container = ? AND name = ? AND block_id = ?",
                &stmt, &op->err_info);
    if (err)
        return err;
    sql_bind_int(stmt, 1, container);
    sql_bind_bytes(stmt, 2, op->blob);
    sql_bind_bytes(stmt, 3, op->block_id);
    err = sql_run(stmt, &op->err_info);
    if (!err && sqlite3_changes(sqlite) > 0)
        atomic_store_explicit(&op->store->garbage, true, memory_order_relaxed);
    if (!err)
        err = file_add(op, sqlite);
    if (!err)
        err =
            sql_get(sqlite, "INSERT INTO staged VALUES(?, ?, ?, ?, ?, ?, ?)", &stmt, &op->err_info);
    if (err)
        return err;
    sql_bind_int(stmt, 1, container);
    sql_bind_bytes(stmt, 2, op->blob);
    sql_bind_bytes(stmt, 3, op->block_id);
    sql_bind_int(stmt, 4, (int64_t)upload->length);
    if (upload->file_id)
        sql_bind_int(stmt, 5, upload->file_id);
    else
        sql_bind_bytes(stmt, 6, slice_make(upload->memory, (size_t)upload->length));
    sql_bind_int(stmt, 7, (int64_t)op->now_ticks);
    return sql_run(stmt, &op->err_info);
}

enum err run_stage(struct blobstore_op *op, struct sqlite3 *sqlite)
{
    struct blob_row row;
    ASSERT(op->upload && op->block_id.len > 0 && op->block_id.len <= BLOBSTORE_BLOCK_ID_MAX);
    enum err err = blob_find(op, sqlite, &row);
    if (err)
        return err;
    if (row.exists && row.info.type != BLOBSTORE_BLOCK)
        return ERR_BLOB_TYPE;
    if (op->upload->length == 0)
        return ERR_INVALID_BLOCK;
    err = block_id_fits(op, sqlite, &row);
    if (!err)
        err = staged_count_check(op, sqlite, row.container, op->now_ticks / 10000);
    if (!err)
        err = staged_replace(op, sqlite, row.container);
    return err;
}

/* Copies one block into the new generation; *ret_length 0: there is no such block. */
static enum err commit_one(struct blobstore_op *op, struct sqlite3 *sqlite,
                           const struct blob_row *old, struct blobstore_gen gen, uint64_t start,
                           const struct blobstore_block *block, bool staged, int64_t *ret_length)
{
    struct sqlite3_stmt *stmt;
    bool row;
    ASSERT(block->id.len > 0 && block->id.len <= BLOBSTORE_BLOCK_ID_MAX);
    *ret_length = 0;
    if (!staged && !old->exists)
        return ERR_OK;
    const char *text =
        staged ? "INSERT INTO piece SELECT ?1, ?2, length, file, block_id, data FROM staged"
                 " WHERE container = ?3 AND name = ?4 AND block_id = ?5 RETURNING length"
               : "INSERT INTO piece SELECT ?1, ?2, length, file, block_id, data FROM piece"
                 " WHERE gen = ?3 AND block_id = ?5 LIMIT 1 RETURNING length";
    enum err err = sql_get(sqlite, text, &stmt, &op->err_info);
    if (err)
        return err;
    sql_bind_int(stmt, 1, gen.v);
    sql_bind_int(stmt, 2, (int64_t)start);
    sql_bind_int(stmt, 3, staged ? old->container : old->gen.v);
    if (staged)
        sql_bind_bytes(stmt, 4, op->blob);
    sql_bind_bytes(stmt, 5, block->id);
    err = sql_row(stmt, &row, &op->err_info);
    if (err || !row)
        return err;
    *ret_length = sqlite3_column_int64(stmt, 0);
    return sql_row(stmt, &row, &op->err_info); /* to the end, so that the insert is complete */
}

static enum err commit_blocks(struct blobstore_op *op, struct sqlite3 *sqlite,
                              const struct blob_row *old, struct blobstore_gen gen,
                              uint64_t *ret_length)
{
    uint64_t start = 0;
    for (uint32_t i = 0; i < op->block_count; i++) {
        const struct blobstore_block *block = &op->blocks[i];
        int64_t length = 0;
        enum err err = ERR_OK;
        if (block->source != BLOBSTORE_FROM_COMMITTED)
            err = commit_one(op, sqlite, old, gen, start, block, true, &length);
        if (!err && !length && block->source != BLOBSTORE_FROM_STAGED)
            err = commit_one(op, sqlite, old, gen, start, block, false, &length);
        if (err)
            return err;
        if (length <= 0)
            return err_info_set(&op->err_info, ERR_INVALID_BLOCK_LIST,
                                "block %u of the list does not exist", i);
        if ((uint64_t)length > INT64_MAX - start)
            return err_info_set(&op->err_info, ERR_CORRUPT, "a block's row is damaged");
        start += (uint64_t)length;
    }
    *ret_length = start;
    return ERR_OK;
}

enum err run_commit(struct blobstore_op *op, struct sqlite3 *sqlite)
{
    struct blob_row old;
    uint64_t tick;
    ASSERT(op->block_count <= BLOBSTORE_BLOCKS_MAX);
    enum err err = blob_find(op, sqlite, &old);
    if (!err)
        err = conditions_check(&op->conditions, CONDITION_CREATE, old.exists, old.info.etag);
    if (!err && old.exists && old.info.type != BLOBSTORE_BLOCK)
        err = ERR_BLOB_TYPE;
    if (!err)
        err = tick_next(op, sqlite, &tick);
    if (err)
        return err;
    struct blob_row row = {.container = old.container, .gen = {(int64_t)tick}};
    row.info = (struct blobstore_info){
        .type = BLOBSTORE_BLOCK,
        .etag = tick,
        .created = old.exists ? old.info.created : tick,
        .block_count = op->block_count,
        .headers = op->headers,
        .metadata = op->metadata,
    };
    err = commit_blocks(op, sqlite, &old, row.gen, &row.info.length);
    if (!err)
        err = blob_store(op, sqlite, &old, &row);
    if (!err)
        err = staged_drop(op, sqlite, row.container);
    return err;
}

/* Reads (block id, length) rows into an array of the arena that grows by doubling. */
static enum err blocks_read(struct blobstore_op *op, struct sqlite3_stmt *stmt,
                            struct blobstore_block **ret_blocks, uint32_t *ret_count)
{
    struct blobstore_block *blocks = NULL;
    uint32_t count = 0;
    uint32_t cap = 0;
    bool row;
    enum err err;
    while (!(err = sql_row(stmt, &row, &op->err_info)) && row) {
        if (count == cap) {
            uint32_t more = cap ? cap * 2 : 64;
            struct blobstore_block *grown = ARENA_ARRAY(op->arena, struct blobstore_block, more);
            if (!grown) {
                err = err_info_set(&op->err_info, ERR_NO_MEMORY, "no memory for a block list");
                break;
            }
            if (count)
                memcpy(grown, blocks, count * sizeof(*blocks));
            blocks = grown;
            cap = more;
        }
        err = sql_copy(stmt, 0, op->arena, &blocks[count].id, &op->err_info);
        if (err)
            break;
        blocks[count].length = (uint64_t)sqlite3_column_int64(stmt, 1);
        count++;
    }
    sqlite3_reset(stmt);
    *ret_blocks = blocks;
    *ret_count = count;
    return err;
}

enum err run_blocks(struct blobstore_op *op, struct sqlite3 *sqlite)
{
    struct blob_row row;
    struct sqlite3_stmt *stmt;
    enum err err = blob_find(op, sqlite, &row);
    if (err)
        return err;
    if (row.exists && row.info.type != BLOBSTORE_BLOCK)
        return ERR_BLOB_TYPE;
    op->committed = row.exists;
    op->info = row.info;
    err = sql_get(
        sqlite,
        "SELECT block_id, length FROM staged WHERE container = ? AND name = ? ORDER BY block_id",
        &stmt, &op->err_info);
    if (err)
        return err;
    sql_bind_int(stmt, 1, row.container);
    sql_bind_bytes(stmt, 2, op->blob);
    err = blocks_read(op, stmt, &op->staged, &op->staged_count);
    if (!err && !row.exists && !op->staged_count)
        return ERR_BLOB_NOT_FOUND;
    if (err || !row.exists)
        return err;
    err = sql_get(
        sqlite,
        "SELECT block_id, length FROM piece WHERE gen = ? AND block_id IS NOT NULL ORDER BY start",
        &stmt, &op->err_info);
    if (err)
        return err;
    sql_bind_int(stmt, 1, row.gen.v);
    return blocks_read(op, stmt, &op->blocks, &op->block_count);
}

enum err run_append(struct blobstore_op *op, struct sqlite3 *sqlite)
{
    struct blob_row old;
    ASSERT(op->upload);
    enum err err = blob_find(op, sqlite, &old);
    if (!err)
        err = conditions_check(&op->conditions, CONDITION_WRITE, old.exists, old.info.etag);
    if (err)
        return err;
    if (old.info.type != BLOBSTORE_APPEND)
        return ERR_BLOB_TYPE;
    if (op->upload->length == 0)
        return ERR_INVALID_BLOCK;
    if (op->append_position >= 0 && (uint64_t)op->append_position != old.info.length)
        return ERR_APPEND_POSITION;
    if (op->max_size >= 0 && old.info.length + op->upload->length > (uint64_t)op->max_size)
        return ERR_BLOB_MAX_SIZE;
    if (old.info.block_count >= BLOBSTORE_BLOCKS_MAX)
        return ERR_BLOCK_COUNT;
    if (old.info.length > INT64_MAX - op->upload->length)
        return err_info_set(&op->err_info, ERR_CORRUPT, "a blob's row is damaged");
    struct blob_row row = old;
    op->append_offset = old.info.length;
    row.info.length += op->upload->length;
    row.info.block_count++;
    err = tick_next(op, sqlite, &row.info.etag);
    if (!err)
        err = piece_add(op, sqlite, row.gen, old.info.length, SLICE_NULL);
    if (!err)
        err = blob_store(op, sqlite, &old, &row);
    return err;
}
