/*
 * Readers: a blob's content as it was when it was opened.
 *
 * A reader pins a generation. It knows a window of that generation's pieces and one open file; a
 * read that begins in a file piece is one pread on a worker, one that begins in inline pieces
 * copies as many as fit from the index. Memory is the window, whatever the size of the blob.
 *
 * Invariants:
 * (1) From its creation to its close a reader is in store->readers, and the sweeper leaves its
 * generation alone. (2) It never reads behind `length`, though an append blob may have grown since.
 * (3) One read is out at a time; the shard touches the reader's fields only when none is.
 *
 * Ownership: created on a worker for the op's shard, then that shard's. Failure modes: a missing or
 * short file is ERR_CORRUPT for this read.
 */
#include <stdlib.h>

#include "blobstore/blobstore_int.h"

struct blobstore_reader *blobstore_reader_create(struct blobstore *store, struct shard *shard,
                                                 struct blobstore_gen gen, uint64_t length)
{
    struct blobstore_reader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        return NULL;
    reader->store = store;
    reader->shard = shard;
    reader->gen = gen;
    reader->length = length;
    pthread_mutex_lock(&store->pin_lock);
    list_push_back(&store->readers, &reader->node);
    pthread_mutex_unlock(&store->pin_lock);
    return reader;
}

void blobstore_reader_close(struct blobstore_reader *reader)
{
    if (!reader)
        return;
    struct blobstore *store = reader->store;
    ASSERT(!reader->busy);
    pthread_mutex_lock(&store->pin_lock);
    list_remove(&reader->node);
    pthread_mutex_unlock(&store->pin_lock);
    if (atomic_exchange_explicit(&store->pinned_dead, false, memory_order_relaxed))
        atomic_store_explicit(&store->garbage, true, memory_order_relaxed);
    fs_close(reader->file);
    free(reader);
}

static const struct blobstore_piece *window_find(const struct blobstore_reader *reader,
                                                 uint64_t offset)
{
    for (uint32_t i = 0; i < reader->window_count; i++) {
        const struct blobstore_piece *piece = &reader->window[i];
        if (offset >= (uint64_t)piece->start &&
            offset - (uint64_t)piece->start < (uint64_t)piece->length)
            return piece;
    }
    return NULL;
}

static void read_finish(struct blobstore_reader *reader)
{
    ASSERT(reader->busy);
    reader->busy = false;
    atomic_fetch_add_explicit(&reader->store->read_bytes, reader->got, memory_order_relaxed);
    reader->done(reader, reader->err, reader->got, reader->arg);
}

/* ---- a piece in a file ---- */

static enum err file_open(struct blobstore_reader *reader, int64_t id, struct err_info *info)
{
    char path[BLOBSTORE_PATH_MAX];
    if (reader->file && reader->file_id == id)
        return ERR_OK;
    fs_close(reader->file);
    reader->file = NULL;
    blobstore_file_path(reader->store, id, path);
    enum err err = fs_open(reader->store->fs, path, FS_READ, &reader->file, info);
    reader->file_id = id;
    return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
}

static void file_read_run(struct work *work)
{
    struct blobstore_reader *reader = CONTAINER_OF(work, struct blobstore_reader, work);
    const struct blobstore_piece *piece = reader->piece;
    struct err_info info;
    uint64_t inside = reader->offset - (uint64_t)piece->start;
    uint64_t left = (uint64_t)piece->length - inside;
    size_t len = reader->len < left ? reader->len : (size_t)left;
    reader->err = file_open(reader, piece->file, &info);
    if (!reader->err)
        reader->err = fs_pread(reader->file, reader->data, len, inside, &reader->got, &info);
    if (!reader->err && reader->got < len)
        reader->err = ERR_CORRUPT;
}

static void file_read_done(struct work *work)
{
    read_finish(CONTAINER_OF(work, struct blobstore_reader, work));
}

static void file_read(struct blobstore_reader *reader, const struct blobstore_piece *piece)
{
    ASSERT(piece->file > 0);
    reader->piece = piece;
    reader->got = 0;
    reader->err = ERR_OK;
    reactor_work(reader->shard->reactor, &reader->work, file_read_run, file_read_done);
}

/* ---- the window, and inline pieces with it ---- */

/* Copies the inline piece at the row into the destination when the read has come to it. */
static void inline_copy(struct blobstore_reader *reader, const struct blobstore_piece *piece,
                        struct sqlite3_stmt *stmt)
{
    uint64_t at = reader->offset + reader->got;
    const uint8_t *data = sqlite3_column_blob(stmt, 3);
    uint64_t have = data ? (uint64_t)sqlite3_column_bytes(stmt, 3) : 0;
    if (have != (uint64_t)piece->length || at < (uint64_t)piece->start ||
        at - (uint64_t)piece->start >= have)
        return;
    uint64_t inside = at - (uint64_t)piece->start;
    size_t room = reader->len - reader->got;
    size_t take = have - inside < room ? (size_t)(have - inside) : room;
    memcpy(reader->data + reader->got, data + inside, take);
    reader->got += take;
}

static enum err window_run(struct db_task *task, struct sqlite3 *sqlite)
{
    struct blobstore_reader *reader = CONTAINER_OF(task, struct blobstore_reader, task);
    struct sqlite3_stmt *stmt;
    bool row;
    reader->window_count = 0;
    reader->got = 0;
    enum err err =
        sql_get(sqlite,
                "SELECT start, length, file, data FROM piece WHERE gen = ?1 AND start >="
                " (SELECT max(start) FROM piece WHERE gen = ?1 AND start <= ?2) ORDER BY start",
                &stmt, &task->info);
    if (err)
        return err;
    sql_bind_int(stmt, 1, reader->gen.v);
    sql_bind_int(stmt, 2, (int64_t)reader->offset);
    bool copying = true;
    while (reader->window_count < BLOBSTORE_WINDOW && !(err = sql_row(stmt, &row, &task->info)) &&
           row) {
        struct blobstore_piece *piece = &reader->window[reader->window_count++];
        piece->start = sqlite3_column_int64(stmt, 0);
        piece->length = sqlite3_column_int64(stmt, 1);
        piece->file = sqlite3_column_int64(stmt, 2);
        if (piece->file)
            copying = false;
        else if (copying)
            inline_copy(reader, piece, stmt);
        if (piece->length <= 0 || piece->start < 0)
            err = err_info_set(&task->info, ERR_CORRUPT, "a piece of a blob is damaged");
        if (err || reader->got == reader->len)
            break;
    }
    sqlite3_reset(stmt);
    return err;
}

static void window_done(struct db_task *task)
{
    struct blobstore_reader *reader = CONTAINER_OF(task, struct blobstore_reader, task);
    reader->err = task->err;
    if (reader->err || reader->got > 0) {
        read_finish(reader);
        return;
    }
    const struct blobstore_piece *piece = window_find(reader, reader->offset);
    if (piece && piece->file) {
        file_read(reader, piece);
        return;
    }
    reader->err = ERR_CORRUPT; /* a hole */
    read_finish(reader);
}

void blobstore_reader_read(struct blobstore_reader *reader, uint64_t offset, void *data, size_t len,
                           blobstore_read_fn done, void *arg)
{
    ASSERT(!reader->busy && done);
    ASSERT(offset < reader->length && len > 0);
    reader->busy = true;
    reader->offset = offset;
    reader->data = data;
    reader->len = len;
    if (len > reader->length - offset)
        reader->len = (size_t)(reader->length - offset);
    reader->done = done;
    reader->arg = arg;
    const struct blobstore_piece *piece = window_find(reader, offset);
    if (piece && piece->file) {
        file_read(reader, piece);
        return;
    }
    reader->task.run = window_run;
    reader->task.done = window_done;
    db_read(reader->store->db, reader->shard, &reader->task);
}
