/*
 * The index: schema and statements.
 *
 * Picture:
 *     container (name -> id)            blob (container, name -> generation, type, length, ETag,
 * headers, metadata) piece (generation, start -> file or inline bytes)      staged (container,
 * name, block id -> file or bytes) file (id -> references)           dead_file, dead_gen,
 * dead_container: for the sweeper
 *
 * Invariants:
 * (1) file.refs is the number of piece and staged rows that name it: triggers keep it so, and move
 * a file without references to dead_file. (2) Rows of piece never change. Those of a generation are
 * removed only when no blob row has it (dead_gen) and no reader pins it, so a reader's view holds.
 * (3) Container ids are never used twice (AUTOINCREMENT): what a deleted container leaves is
 * unreachable at once.
 *
 * Ownership: functions run on the worker that holds the connection. Statements are found again
 * among those the connection keeps, and go with it. Failure modes: SQLite's codes become ours in
 * db_error.
 */
#include <string.h>

#include "blobstore/blobstore_int.h"

const char *const blobstore_steps[] = {
    "CREATE TABLE container(id INTEGER PRIMARY KEY AUTOINCREMENT, name BLOB NOT NULL UNIQUE, etag "
    "INTEGER NOT NULL,"
    " metadata BLOB NOT NULL);"
    "CREATE TABLE blob(container INTEGER NOT NULL, name BLOB NOT NULL, gen INTEGER NOT NULL, type "
    "INTEGER NOT NULL,"
    " length INTEGER NOT NULL, etag INTEGER NOT NULL, created INTEGER NOT NULL, blocks INTEGER NOT "
    "NULL,"
    " headers BLOB NOT NULL, metadata BLOB NOT NULL, PRIMARY KEY(container, name)) WITHOUT ROWID;"
    "CREATE TABLE piece(gen INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL, "
    "file INTEGER,"
    " block_id BLOB, data BLOB, PRIMARY KEY(gen, start));"
    "CREATE INDEX piece_block ON piece(gen, block_id) WHERE block_id IS NOT NULL;"
    "CREATE TABLE staged(container INTEGER NOT NULL, name BLOB NOT NULL, block_id BLOB NOT NULL,"
    " length INTEGER NOT NULL, file INTEGER, data BLOB, time INTEGER NOT NULL,"
    " PRIMARY KEY(container, name, block_id));"
    "CREATE TABLE file(id INTEGER PRIMARY KEY, refs INTEGER NOT NULL);"
    "CREATE TABLE dead_file(id INTEGER PRIMARY KEY);"
    "CREATE TABLE dead_gen(gen INTEGER PRIMARY KEY);"
    "CREATE TABLE dead_container(id INTEGER PRIMARY KEY);"
    "CREATE TABLE counter(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "INSERT INTO counter VALUES('tick', 0);"
    "CREATE TRIGGER piece_add AFTER INSERT ON piece WHEN new.file IS NOT NULL BEGIN"
    " UPDATE file SET refs = refs + 1 WHERE id = new.file; END;"
    "CREATE TRIGGER piece_drop AFTER DELETE ON piece WHEN old.file IS NOT NULL BEGIN"
    " UPDATE file SET refs = refs - 1 WHERE id = old.file;"
    " INSERT INTO dead_file SELECT id FROM file WHERE id = old.file AND refs = 0;"
    " DELETE FROM file WHERE id = old.file AND refs = 0; END;"
    "CREATE TRIGGER staged_add AFTER INSERT ON staged WHEN new.file IS NOT NULL BEGIN"
    " UPDATE file SET refs = refs + 1 WHERE id = new.file; END;"
    "CREATE TRIGGER staged_drop AFTER DELETE ON staged WHEN old.file IS NOT NULL BEGIN"
    " UPDATE file SET refs = refs - 1 WHERE id = old.file;"
    " INSERT INTO dead_file SELECT id FROM file WHERE id = old.file AND refs = 0;"
    " DELETE FROM file WHERE id = old.file AND refs = 0; END;",
};
const int blobstore_step_count = sizeof(blobstore_steps) / sizeof(blobstore_steps[0]);

enum err sql_get(struct sqlite3 *sqlite, const char *text, struct sqlite3_stmt **ret_stmt,
                 struct err_info *info)
{
    ASSERT(sqlite && text && ret_stmt);
    for (sqlite3_stmt *stmt = sqlite3_next_stmt(sqlite, NULL); stmt;
         stmt = sqlite3_next_stmt(sqlite, stmt)) {
        const char *kept = sqlite3_sql(stmt);
        if (kept && strcmp(kept, text) == 0 && !sqlite3_stmt_busy(stmt)) {
            sqlite3_reset(stmt);
            sqlite3_clear_bindings(stmt);
            *ret_stmt = stmt;
            return ERR_OK;
        }
    }
    int code = sqlite3_prepare_v3(sqlite, text, -1, SQLITE_PREPARE_PERSISTENT, ret_stmt, NULL);
    return code == SQLITE_OK ? ERR_OK : db_error(sqlite, code, info, text);
}

enum err sql_row(struct sqlite3_stmt *stmt, bool *ret_row, struct err_info *info)
{
    ASSERT(stmt && ret_row);
    int code = sqlite3_step(stmt);
    *ret_row = code == SQLITE_ROW;
    if (code == SQLITE_ROW)
        return ERR_OK;
    enum err err = ERR_OK;
    if (code != SQLITE_DONE)
        err = db_error(sqlite3_db_handle(stmt), code, info, "blob index");
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return err;
}

enum err sql_run(struct sqlite3_stmt *stmt, struct err_info *info)
{
    bool row;
    enum err err = sql_row(stmt, &row, info);
    ASSERT(err || !row);
    return err;
}

void sql_bind_bytes(struct sqlite3_stmt *stmt, int index, struct slice bytes)
{
    ASSERT(bytes.len <= INT32_MAX);
    sqlite3_bind_blob(stmt, index, bytes.len ? (const void *)bytes.data : "", (int)bytes.len,
                      SQLITE_STATIC);
}

void sql_bind_int(struct sqlite3_stmt *stmt, int index, int64_t value)
{
    ASSERT(index > 0);
    sqlite3_bind_int64(stmt, index, value);
}

enum err sql_copy(struct sqlite3_stmt *stmt, int column, struct arena *arena,
                  struct slice *ret_bytes, struct err_info *info)
{
    ASSERT(arena && ret_bytes);
    const void *data = sqlite3_column_blob(stmt, column);
    int len = sqlite3_column_bytes(stmt, column);
    *ret_bytes = arena_copy(arena, slice_make(data, data ? (size_t)len : 0));
    if (!ret_bytes->data)
        return err_info_set(info, ERR_NO_MEMORY, "the answer is larger than a request may hold");
    return ERR_OK;
}
