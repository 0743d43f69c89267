/*
 * The blob store: life, and the way of an operation.
 *
 *     caller's shard --submit--> index (io/db.h: one writer, or this shard's reader) --done-->
 * caller's shard
 *
 * Invariants:
 * (1) A write answers ERR_OK only after its content was synced (the upload's finish) and its
 * transaction committed. (2) The operation's upload is taken in every case: kept by the index after
 * success, removed after a refusal, left to the sweeper's doubt after a failure whose outcome on
 * disk is not known. (3) A READ op is in store->opening from submit to done, so that the
 * sweeper waits for it.
 *
 * Ownership: the struct belongs to the process; per-call state to the calling shard. Locks:
 * pin_lock and dir_lock, never held together nor across a call out. Failure modes: a failed sync
 * poisons the index file, `broken` is set and every later write fails until a restart; reads go on.
 */
#include <stdio.h>
#include <stdlib.h>

#include "blobstore/blobstore_int.h"
#include "io/sqlite_vfs.h"

static enum err store_folders(struct blobstore *store, struct err_info *info)
{
    char path[BLOBSTORE_PATH_MAX];
    int len = snprintf(path, sizeof(path), "%s/data", store->dir);
    ASSERT(len > 0 && len < (int)sizeof(path));
    enum err err = fs_mkdir_all(store->fs, path, info);
    if (!err)
        err = fs_sync_dir(store->fs, store->dir, info);
    return err;
}

static enum err store_first_folder(struct blobstore *store, struct err_info *info)
{
    char path[BLOBSTORE_PATH_MAX];
    int64_t folder = atomic_load(&store->next_file) / BLOBSTORE_DIR_FILES;
    blobstore_folder_path(store, folder, path);
    enum err err = fs_mkdir(store->fs, path, info);
    int len = snprintf(path, sizeof(path), "%s/data", store->dir);
    ASSERT(len > 0 && len < (int)sizeof(path));
    if (!err)
        err = fs_sync_dir(store->fs, path, info);
    atomic_store(&store->dir_ready, folder);
    return err;
}

enum err blobstore_open(struct fs *fs, const char *dir, uint64_t seed, int64_t wall_ms,
                        struct blobstore **ret_store, struct err_info *info)
{
    char path[BLOBSTORE_PATH_MAX];
    ASSERT(fs && dir && ret_store);
    if (strlen(dir) > BLOBSTORE_PATH_MAX - 64)
        return err_info_set(info, ERR_INVALID_ARGUMENT, "the path %s is too long", dir);
    struct blobstore *store = calloc(1, sizeof(*store));
    if (!store)
        return err_info_set(info, ERR_NO_MEMORY, "no memory for the blob store");
    store->fs = fs;
    snprintf(store->dir, sizeof(store->dir), "%s", dir);
    pthread_mutex_init(&store->dir_lock, NULL);
    pthread_mutex_init(&store->pin_lock, NULL);
    list_init(&store->opening);
    list_init(&store->readers);
    atomic_store(&store->garbage, true);
    enum err err = store_folders(store, info);
    if (!err)
        err = sqlite_vfs_create(fs, seed, &store->vfs);
    snprintf(path, sizeof(path), "%.*s/index.db", (int)(sizeof(path) - 16), dir);
    struct db_config config = {
        .vfs = store->vfs,
        .path = path,
        .name = "blobs",
        .steps = blobstore_steps,
        .step_count = blobstore_step_count,
    };
    if (!err)
        err = db_open(&config, &store->db, info);
    if (!err)
        err = blobstore_collect(store, info);
    if (!err)
        err = store_first_folder(store, info);
    if (err) {
        blobstore_close(store);
        return err;
    }
    if (store->tick < blobstore_ticks(wall_ms))
        store->tick = blobstore_ticks(wall_ms);
    *ret_store = store;
    return ERR_OK;
}

void blobstore_shard_start(struct blobstore *store, struct shard *shard)
{
    ASSERT(store && shard);
    db_shard_start(store->db, shard);
    if (shard->index == 0)
        blobstore_sweep_start(store, shard);
}

void blobstore_close(struct blobstore *store)
{
    if (!store)
        return;
    ASSERT(list_empty(&store->opening) && list_empty(&store->readers));
    db_close(store->db);
    sqlite_vfs_destroy(store->vfs);
    pthread_mutex_destroy(&store->dir_lock);
    pthread_mutex_destroy(&store->pin_lock);
    free(store);
}

void blobstore_op_init(struct blobstore_op *op, enum blobstore_verb verb, struct arena *arena)
{
    ASSERT(op && arena);
    *op =
        (struct blobstore_op){.verb = verb, .arena = arena, .append_position = -1, .max_size = -1};
    op->list.max = BLOBSTORE_LIST_MAX;
}

struct verb_row {
    enum err (*run)(struct blobstore_op *op, struct sqlite3 *sqlite);
    bool writes;
};

static const struct verb_row verbs[] = {
    [BLOBSTORE_CONTAINER_CREATE] = {run_container, true},
    [BLOBSTORE_CONTAINER_DELETE] = {run_container, true},
    [BLOBSTORE_CONTAINER_GET] = {run_container, false},
    [BLOBSTORE_CONTAINER_SET_METADATA] = {run_container, true},
    [BLOBSTORE_CONTAINER_LIST] = {run_container_list, false},
    [BLOBSTORE_PUT] = {run_put, true},
    [BLOBSTORE_PUT_APPEND] = {run_put, true},
    [BLOBSTORE_STAGE] = {run_stage, true},
    [BLOBSTORE_COMMIT] = {run_commit, true},
    [BLOBSTORE_BLOCKS] = {run_blocks, false},
    [BLOBSTORE_APPEND_BLOCK] = {run_append, true},
    [BLOBSTORE_GET] = {run_get, false},
    [BLOBSTORE_READ] = {run_read, false},
    [BLOBSTORE_SET_METADATA] = {run_set, true},
    [BLOBSTORE_SET_HEADERS] = {run_set, true},
    [BLOBSTORE_DELETE] = {run_delete, true},
    [BLOBSTORE_LIST] = {run_list, false},
};

static enum err op_run(struct db_task *task, struct sqlite3 *sqlite)
{
    struct blobstore_op *op = CONTAINER_OF(task, struct blobstore_op, task);
    enum err err = verbs[op->verb].run(op, sqlite);
    task->info = op->err_info;
    return err;
}

/* What becomes of the content depends on whether the index may name it. */
static void op_settle_upload(struct blobstore_op *op)
{
    struct blobstore_upload *upload = op->upload;
    op->upload = NULL;
    if (!upload)
        return;
    enum err_class class = err_row(op->err)->class;
    bool refused = op->err && (class == ERR_CLASS_CLIENT || op->err == ERR_BUSY);
    if (refused) {
        blobstore_upload_discard(upload);
        return;
    }
    if (op->err && upload->file_id)
        blobstore_doubt(op->store, upload->file_id);
    blobstore_upload_release(upload);
}

static void op_done(struct db_task *task)
{
    struct blobstore_op *op = CONTAINER_OF(task, struct blobstore_op, task);
    struct blobstore *store = op->store;
    op->err = task->err;
    op->err_info = task->info;
    op->err_info.code = task->err;
    if (op->err && !op->err_info.text[0])
        err_info_set(&op->err_info, op->err, "%s", err_row(op->err)->text);
    if (op->err == ERR_DISK_IO && verbs[op->verb].writes)
        atomic_store_explicit(&store->broken, true, memory_order_relaxed);
    if (op->verb == BLOBSTORE_READ) {
        pthread_mutex_lock(&store->pin_lock);
        list_remove(&op->opening);
        pthread_mutex_unlock(&store->pin_lock);
        if (op->err && op->reader) {
            blobstore_reader_close(op->reader);
            op->reader = NULL;
        }
    }
    op_settle_upload(op);
    op->done(op);
}

void blobstore_submit(struct blobstore *store, struct shard *shard, struct blobstore_op *op)
{
    ASSERT(op->done && op->arena && op->verb < sizeof(verbs) / sizeof(verbs[0]));
    ASSERT(!op->upload || op->upload->finished);
    op->store = store;
    op->shard = shard;
    op->now_ticks = blobstore_ticks(reactor_wall_ms(shard->reactor));
    op->task.run = op_run;
    op->task.done = op_done;
    op->err_info = (struct err_info){0};
    list_init(&op->opening);
    if (op->verb == BLOBSTORE_READ) {
        pthread_mutex_lock(&store->pin_lock);
        op->born = ++store->ticket;
        list_push_back(&store->opening, &op->opening);
        pthread_mutex_unlock(&store->pin_lock);
    }
    if (verbs[op->verb].writes)
        db_write(store->db, shard, &op->task);
    else
        db_read(store->db, shard, &op->task);
}

void blobstore_stats_read(const struct blobstore *store, struct blobstore_stats *ret_stats)
{
    ASSERT(store && ret_stats);
    ret_stats->uploads_open = atomic_load_explicit(&store->uploads_open, memory_order_relaxed);
    ret_stats->upload_bytes = atomic_load_explicit(&store->upload_bytes, memory_order_relaxed);
    ret_stats->read_bytes = atomic_load_explicit(&store->read_bytes, memory_order_relaxed);
    ret_stats->files_removed = atomic_load_explicit(&store->files_removed, memory_order_relaxed);
    ret_stats->writable = !atomic_load_explicit(&store->broken, memory_order_relaxed);
}
