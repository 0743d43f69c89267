/*
 * Listing blobs of a container: by prefix, in byte order, with common prefixes up to a delimiter.
 *
 * Two cursors walk in step: blob rows, and names that have staged blocks only (when asked for).
 * After a common prefix has been emitted both are set behind everything that begins with it, so a
 * page costs what it shows, however many blobs a prefix hides. A page ends at the wanted number or
 * at a byte limit, whichever comes first.
 *
 * Ownership: worker, on the op's arena. Invariant: entries come in strictly rising order of name.
 */
#include "blobstore/blobstore_int.h"

struct list_walk {
    struct blobstore_op *op;
    struct sqlite3_stmt *blobs;
    struct sqlite3_stmt *staged; /* NULL: not wanted */
    bool has_blob;
    bool has_staged;
};

static struct slice column_slice(struct sqlite3_stmt *stmt, int column)
{
    const void *data = sqlite3_column_blob(stmt, column);
    return slice_make(data, data ? (size_t)sqlite3_column_bytes(stmt, column) : 0);
}

static enum err walk_step(struct list_walk *walk, bool blob, bool staged)
{
    struct err_info *info = &walk->op->err_info;
    enum err err = ERR_OK;
    if (blob && walk->has_blob)
        err = sql_row(walk->blobs, &walk->has_blob, info);
    if (!err && staged && walk->has_staged)
        err = sql_row(walk->staged, &walk->has_staged, info);
    return err;
}

/* Both cursors to the first name at or after from. */
static enum err walk_seek(struct list_walk *walk, int64_t container, struct slice from)
{
    sqlite3_reset(walk->blobs);
    sql_bind_int(walk->blobs, 1, container);
    sql_bind_bytes(walk->blobs, 2, from);
    walk->has_blob = true;
    if (walk->staged) {
        sqlite3_reset(walk->staged);
        sql_bind_int(walk->staged, 1, container);
        sql_bind_bytes(walk->staged, 2, from);
        walk->has_staged = true;
    }
    return walk_step(walk, true, true);
}

static enum err walk_open(struct list_walk *walk, struct sqlite3 *sqlite)
{
    struct blobstore_op *op = walk->op;
    enum err err =
        sql_get(sqlite,
                "SELECT name, type, length, etag, created, blocks, headers, metadata FROM blob"
                " WHERE container = ? AND name >= ? ORDER BY name",
                &walk->blobs, &op->err_info);
    if (!err && op->list.uncommitted)
        err = sql_get(
            sqlite,
            "SELECT DISTINCT name FROM staged WHERE container = ? AND name >= ? ORDER BY name",
            &walk->staged, &op->err_info);
    return err;
}

/* The smaller of the two current names; false: both are at the end. */
static bool walk_current(struct list_walk *walk, struct slice *ret_name, bool *ret_blob,
                         bool *ret_staged)
{
    if (!walk->has_blob && !walk->has_staged)
        return false;
    struct slice blob = walk->has_blob ? column_slice(walk->blobs, 0) : SLICE_NULL;
    struct slice staged = walk->has_staged ? column_slice(walk->staged, 0) : SLICE_NULL;
    int order = 0;
    if (walk->has_blob && walk->has_staged)
        order = slice_compare(blob, staged);
    else
        order = walk->has_blob ? -1 : 1;
    *ret_blob = order <= 0;
    *ret_staged = order >= 0;
    *ret_name = order <= 0 ? blob : staged;
    return true;
}

/* Where the next name with another beginning can be: UTF-8 holds no byte 0xFF. */
static struct slice behind_prefix(struct arena *arena, struct slice prefix)
{
    ASSERT(prefix.len > 0);
    uint8_t *bound = arena_alloc(arena, prefix.len + 1);
    if (!bound)
        return SLICE_NULL;
    memcpy(bound, prefix.data, prefix.len);
    bound[prefix.len] = 0xff;
    return slice_make(bound, prefix.len + 1);
}

/* Emits the entry at the cursors and moves on. */
static enum err list_emit(struct list_walk *walk, int64_t container, struct slice name, bool blob,
                          bool staged)
{
    struct blobstore_op *op = walk->op;
    const struct blobstore_list *list = &op->list;
    ASSERT(op->item_count < list->max && slice_starts_with(name, list->prefix));
    struct blobstore_item *item = &op->items[op->item_count];
    size_t cut =
        list->delimiter.len ? slice_find(name, list->delimiter, list->prefix.len) : SIZE_MAX;
    if (cut != SIZE_MAX)
        name.len = cut + list->delimiter.len;
    item->name = arena_copy(op->arena, name);
    if (!item->name.data)
        return err_info_set(&op->err_info, ERR_NO_MEMORY, "no memory for a listing");
    op->item_count++;
    if (cut != SIZE_MAX) {
        item->is_prefix = true;
        struct slice bound = behind_prefix(op->arena, item->name);
        if (!bound.data)
            return err_info_set(&op->err_info, ERR_NO_MEMORY, "no memory for a listing");
        return walk_seek(walk, container, bound);
    }
    enum err err = ERR_OK;
    item->uncommitted = !blob;
    if (blob)
        err = blob_info_read(walk->blobs, 1, op->arena, list->metadata, &item->info, &op->err_info);
    return err ? err : walk_step(walk, blob, staged);
}

enum err run_list(struct blobstore_op *op, struct sqlite3 *sqlite)
{
    struct blobstore_list *list = &op->list;
    struct list_walk walk = {.op = op};
    int64_t container;
    ASSERT(list->max >= 1 && list->max <= BLOBSTORE_LIST_MAX);
    enum err err = container_find(op, sqlite, &container);
    if (!err)
        err = walk_open(&walk, sqlite);
    if (err)
        return err;
    op->items = ARENA_ARRAY(op->arena, struct blobstore_item, list->max);
    if (!op->items)
        return err_info_set(&op->err_info, ERR_NO_MEMORY, "no memory for a listing");
    struct slice from = slice_compare(list->marker, list->prefix) > 0 ? list->marker : list->prefix;
    err = walk_seek(&walk, container, from);
    struct slice name;
    bool blob;
    bool staged;
    size_t base = arena_held(op->arena);
    while (!err && walk_current(&walk, &name, &blob, &staged) &&
           slice_starts_with(name, list->prefix)) {
        if (op->item_count == list->max || arena_held(op->arena) - base > BLOBSTORE_LIST_BYTES) {
            err = ERR_OK;
            op->next_marker = arena_copy(op->arena, name);
            if (!op->next_marker.data)
                err = err_info_set(&op->err_info, ERR_NO_MEMORY, "no memory for a listing");
            break;
        }
        err = list_emit(&walk, container, name, blob, staged);
    }
    sqlite3_reset(walk.blobs);
    if (walk.staged)
        sqlite3_reset(walk.staged);
    return err;
}
