/*
 * Content on its way in.
 *
 * Up to BLOBSTORE_INLINE_MAX bytes collect in memory; the first byte more opens a numbered file,
 * and from then on each write is hashed and written by one worker call. finish syncs the file and
 * its folder.
 *
 * Invariants:
 * (1) At most one worker call per upload is out (busy); its shard touches nothing meanwhile.
 * (2) After a finish without error the content is on stable storage, or in memory and small.
 * (3) A file that no index row names is removed: by discard now, or by the collection of the next
 * start.
 *
 * Ownership: the shard that created it. Failure modes: the first error sticks and is told to every
 * later callback; a full disk or a failed sync costs this upload only.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "blobstore/blobstore_int.h"
#include "blobstore/crc64.h"

void blobstore_folder_path(const struct blobstore *store, int64_t folder,
                           char out[BLOBSTORE_PATH_MAX])
{
    int len =
        snprintf(out, BLOBSTORE_PATH_MAX, "%s/data/%06llx", store->dir, (unsigned long long)folder);
    ASSERT(len > 0 && len < BLOBSTORE_PATH_MAX);
}

void blobstore_file_path(const struct blobstore *store, int64_t id, char out[BLOBSTORE_PATH_MAX])
{
    ASSERT(id > 0);
    int len = snprintf(out, BLOBSTORE_PATH_MAX, "%s/data/%06llx/%012llx.dat", store->dir,
                       (unsigned long long)(id / BLOBSTORE_DIR_FILES), (unsigned long long)id);
    ASSERT(len > 0 && len < BLOBSTORE_PATH_MAX);
}

struct blobstore_upload *blobstore_upload_create(struct blobstore *store, struct shard *shard)
{
    ASSERT(store && shard);
    if (atomic_fetch_add_explicit(&store->uploads_open, 1, memory_order_relaxed) >=
        BLOBSTORE_UPLOADS_MAX) {
        atomic_fetch_sub_explicit(&store->uploads_open, 1, memory_order_relaxed);
        return NULL;
    }
    struct blobstore_upload *upload = calloc(1, sizeof(*upload));
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!upload || !ctx || EVP_DigestInit_ex(ctx, EVP_md5(), NULL) != 1) {
        EVP_MD_CTX_free(ctx);
        free(upload);
        atomic_fetch_sub_explicit(&store->uploads_open, 1, memory_order_relaxed);
        return NULL;
    }
    upload->store = store;
    upload->shard = shard;
    upload->md5_ctx = ctx;
    return upload;
}

static void upload_free(struct blobstore_upload *upload)
{
    ASSERT(!upload->busy);
    fs_close(upload->file);
    iobuf_unref(upload->range.buf);
    EVP_MD_CTX_free(upload->md5_ctx);
    free(upload->memory);
    atomic_fetch_sub_explicit(&upload->store->uploads_open, 1, memory_order_relaxed);
    free(upload);
}

/* The folder of a file exists and will after a crash. Worker. */
static enum err folder_ready(struct blobstore *store, int64_t folder, struct err_info *info)
{
    char path[BLOBSTORE_PATH_MAX];
    if (folder <= atomic_load_explicit(&store->dir_ready, memory_order_acquire))
        return ERR_OK;
    enum err err = ERR_OK;
    pthread_mutex_lock(&store->dir_lock);
    if (folder > atomic_load_explicit(&store->dir_ready, memory_order_relaxed)) {
        blobstore_folder_path(store, folder, path);
        err = fs_mkdir(store->fs, path, info);
        int len = snprintf(path, sizeof(path), "%s/data", store->dir);
        ASSERT(len > 0 && len < (int)sizeof(path));
        if (!err)
            err = fs_sync_dir(store->fs, path, info);
        if (!err)
            atomic_store_explicit(&store->dir_ready, folder, memory_order_release);
    }
    pthread_mutex_unlock(&store->dir_lock);
    return err;
}

/* Opens the file and moves what is in memory there. Worker. */
static enum err upload_spill(struct blobstore_upload *upload)
{
    struct blobstore *store = upload->store;
    char path[BLOBSTORE_PATH_MAX];
    int64_t id = atomic_fetch_add_explicit(&store->next_file, 1, memory_order_relaxed);
    enum err err = folder_ready(store, id / BLOBSTORE_DIR_FILES, &upload->info);
    if (err)
        return err;
    blobstore_file_path(store, id, path);
    err = fs_open(store->fs, path, FS_READ | FS_WRITE | FS_CREATE | FS_EXCLUSIVE, &upload->file,
                  &upload->info);
    if (err)
        return err;
    upload->file_id = id;
    if (upload->length > 0)
        err = fs_pwrite(upload->file, upload->memory, (size_t)upload->length, 0, &upload->info);
    return err;
}

static enum err upload_add(struct blobstore_upload *upload, struct slice bytes)
{
    if (EVP_DigestUpdate(upload->md5_ctx, bytes.data, bytes.len) != 1)
        return ERR_INTERNAL;
    upload->crc = crc64(upload->crc, bytes.data, bytes.len);
    if (!upload->file && upload->length + bytes.len <= BLOBSTORE_INLINE_MAX) {
        if (!upload->memory)
            upload->memory = malloc(BLOBSTORE_INLINE_MAX);
        if (!upload->memory)
            return ERR_NO_MEMORY;
        memcpy(upload->memory + upload->length, bytes.data, bytes.len);
    } else {
        enum err err = upload->file ? ERR_OK : upload_spill(upload);
        if (!err)
            err = fs_pwrite(upload->file, bytes.data, bytes.len, upload->length, &upload->info);
        if (err)
            return err;
    }
    upload->length += bytes.len;
    atomic_fetch_add_explicit(&upload->store->upload_bytes, bytes.len, memory_order_relaxed);
    return ERR_OK;
}

static void upload_write_run(struct work *work)
{
    struct blobstore_upload *upload = CONTAINER_OF(work, struct blobstore_upload, work);
    if (!upload->err && upload->range.bytes.len > 0)
        upload->err = upload_add(upload, upload->range.bytes);
}

static void upload_finish_run(struct work *work)
{
    struct blobstore_upload *upload = CONTAINER_OF(work, struct blobstore_upload, work);
    char path[BLOBSTORE_PATH_MAX];
    if (!upload->err && EVP_DigestFinal_ex(upload->md5_ctx, upload->md5, NULL) != 1)
        upload->err = ERR_INTERNAL;
    if (upload->err || !upload->file)
        return;
    upload->err = fs_sync(upload->file, &upload->info);
    blobstore_folder_path(upload->store, upload->file_id / BLOBSTORE_DIR_FILES, path);
    if (!upload->err)
        upload->err = fs_sync_dir(upload->store->fs, path, &upload->info);
}

static void upload_drop_run(struct work *work)
{
    struct blobstore_upload *upload = CONTAINER_OF(work, struct blobstore_upload, work);
    char path[BLOBSTORE_PATH_MAX];
    fs_close(upload->file);
    upload->file = NULL;
    blobstore_file_path(upload->store, upload->file_id, path);
    enum err err = fs_unlink(upload->store->fs, path, NULL);
    if (err)
        diag(DIAG_DEBUG, "blobstore", "unlink file=%lld err=%s", (long long)upload->file_id,
             err_row(err)->name);
}

static void upload_drop_done(struct work *work)
{
    struct blobstore_upload *upload = CONTAINER_OF(work, struct blobstore_upload, work);
    upload->busy = false;
    upload_free(upload);
}

static void upload_drop(struct blobstore_upload *upload)
{
    ASSERT(!upload->busy);
    if (!upload->file_id) {
        upload_free(upload);
        return;
    }
    upload->busy = true;
    reactor_work(upload->shard->reactor, &upload->work, upload_drop_run, upload_drop_done);
}

static void upload_work_done(struct work *work)
{
    struct blobstore_upload *upload = CONTAINER_OF(work, struct blobstore_upload, work);
    ASSERT(upload->busy);
    upload->busy = false;
    iobuf_unref(upload->range.buf);
    upload->range = (struct iobuf_range){NULL, SLICE_NULL};
    if (upload->dropped) {
        upload_drop(upload);
        return;
    }
    upload->done(upload, upload->arg);
}

static void upload_start(struct blobstore_upload *upload, void (*run)(struct work *),
                         blobstore_upload_fn done, void *arg)
{
    ASSERT(!upload->busy && !upload->dropped && done);
    upload->busy = true;
    upload->done = done;
    upload->arg = arg;
    reactor_work(upload->shard->reactor, &upload->work, run, upload_work_done);
}

void blobstore_upload_write(struct blobstore_upload *upload, struct iobuf_range range,
                            blobstore_upload_fn done, void *arg)
{
    ASSERT(!upload->finished);
    upload->range = range;
    upload_start(upload, upload_write_run, done, arg);
}

void blobstore_upload_finish(struct blobstore_upload *upload, blobstore_upload_fn done, void *arg)
{
    ASSERT(!upload->finished);
    upload->finished = true;
    upload_start(upload, upload_finish_run, done, arg);
}

bool blobstore_upload_small(struct blobstore_upload *upload, struct slice bytes)
{
    ASSERT(!upload->busy && !upload->finished && upload->length == 0);
    if (bytes.len > BLOBSTORE_INLINE_MAX)
        return false;
    if (bytes.len > 0)
        upload->err = upload_add(upload, bytes);
    upload->finished = true;
    if (!upload->err && EVP_DigestFinal_ex(upload->md5_ctx, upload->md5, NULL) != 1)
        upload->err = ERR_INTERNAL;
    return true;
}

enum err blobstore_upload_error(const struct blobstore_upload *upload)
{
    return upload->err;
}

struct slice blobstore_upload_md5(const struct blobstore_upload *upload)
{
    ASSERT(upload->finished && !upload->busy);
    return slice_make(upload->md5, sizeof(upload->md5));
}

uint64_t blobstore_upload_crc64(const struct blobstore_upload *upload)
{
    ASSERT(upload->finished && !upload->busy);
    return upload->crc;
}

void blobstore_upload_discard(struct blobstore_upload *upload)
{
    if (!upload)
        return;
    ASSERT(!upload->dropped);
    upload->dropped = true;
    if (!upload->busy)
        upload_drop(upload);
}

void blobstore_upload_release(struct blobstore_upload *upload)
{
    if (upload)
        upload_free(upload);
}
