/*
 * SQLite's VFS over the file seam.
 *
 * Picture: one `node` per path that is open, shared by all handles of that path; a handle holds an
 * fs file, its lock level and its slots of the WAL index.
 *
 *     handle --> node { lock counts, WAL index regions (heap), slot counts } --> list of the vfs
 *
 * Invariants:
 *  (1) A node's shared count equals the handles at SHARED or above; at most one handle is at
 *      RESERVED or higher.
 *  (2) A WAL slot is held by readers or by one writer, never both.
 *  (3) After a failed sync the file takes no more writes or syncs: what the kernel kept of it is
 *      unknown.
 *  (4) The first sync through a handle that may create its file syncs the folder too.
 *
 * Ownership: nodes belong to the vfs under its mutex; a handle is used by one thread at a time.
 * Shard: none, the calls come on worker threads and at boot.
 *
 * Failures: every error of the seam becomes the SQLITE_IOERR of its kind, a full disk SQLITE_FULL.
 * The folder is locked by the process, so locks need not reach the kernel.
 */
#include "io/sqlite_vfs.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/random.h"
#include "io/fs.h"

enum {
    VFS_REGIONS_MAX = 4096, /* of 32 KiB: a WAL of some 16 million frames */
    VFS_SLOTS = SQLITE_SHM_NLOCK
};

struct sqlite_vfs {
    sqlite3_vfs base;
    struct fs *fs;
    pthread_mutex_t mutex;
    struct list_node nodes;
    struct random random;
    char name[32];
};

struct vfs_file;

struct vfs_node {
    struct list_node link;
    char path[FS_PATH_MAX];
    uint32_t refs;
    uint32_t shared;
    struct vfs_file *writer; /* holds RESERVED, PENDING or EXCLUSIVE */
    uint32_t shm_refs;
    void **regions;
    int region_count;
    uint32_t slot_shared[VFS_SLOTS];
    bool slot_writer[VFS_SLOTS];
};

struct vfs_file {
    sqlite3_file base;
    struct sqlite_vfs *vfs;
    struct vfs_node *node;
    struct fs_file *file;
    int lock;
    uint16_t shm_shared; /* bit per slot held */
    uint16_t shm_writer;
    bool shm_mapped;
    bool entry_unsynced; /* made here, or by a run that may have ended before it was synced */
    bool broken;         /* a sync failed */
    bool delete_on_close;
};

static struct vfs_file *vfs_file_of(sqlite3_file *base)
{
    return CONTAINER_OF(base, struct vfs_file, base);
}

static struct sqlite_vfs *vfs_of(sqlite3_vfs *base)
{
    return CONTAINER_OF(base, struct sqlite_vfs, base);
}

static int vfs_code(enum err err, int io_code)
{
    ASSERT(err != ERR_OK);
    if (err == ERR_DISK_FULL)
        return SQLITE_FULL;
    if (err == ERR_NO_MEMORY)
        return SQLITE_IOERR_NOMEM;
    return io_code;
}

/* ---- nodes ---- */

/*
 * One node for all handles of a path: locks and WAL index belong to the file, as they would in the
 * kernel. The list is short, three files per database.
 */
static struct vfs_node *vfs_node_get(struct sqlite_vfs *vfs, const char *path)
{
    ASSERT(path[0] && strlen(path) < FS_PATH_MAX);
    struct vfs_node *found = NULL;
    pthread_mutex_lock(&vfs->mutex);
    LIST_FOREACH(link, &vfs->nodes)
    {
        struct vfs_node *node = CONTAINER_OF(link, struct vfs_node, link);
        if (strcmp(node->path, path) == 0) {
            found = node;
            break;
        }
    }
    if (!found) {
        found = calloc(1, sizeof(*found));
        if (found) {
            snprintf(found->path, sizeof(found->path), "%s", path);
            list_push_back(&vfs->nodes, &found->link);
        }
    }
    if (found)
        found->refs++;
    pthread_mutex_unlock(&vfs->mutex);
    return found;
}

static void vfs_node_put(struct sqlite_vfs *vfs, struct vfs_node *node)
{
    pthread_mutex_lock(&vfs->mutex);
    ASSERT(node->refs > 0);
    if (--node->refs == 0) {
        ASSERT(node->shm_refs == 0);
        ASSERT(node->shared == 0);
        list_remove(&node->link);
        free(node);
    }
    pthread_mutex_unlock(&vfs->mutex);
}

/* ---- file calls ---- */

static int vfs_file_close(sqlite3_file *base)
{
    struct vfs_file *f = vfs_file_of(base);
    ASSERT(!f->shm_mapped && f->lock == SQLITE_LOCK_NONE);
    fs_close(f->file);
    if (f->delete_on_close)
        (void)!fs_unlink(f->vfs->fs, f->node->path, NULL);
    vfs_node_put(f->vfs, f->node);
    f->node = NULL;
    return SQLITE_OK;
}

/* SQLite relies on zeros behind the end and wants to hear that they are none of the file's. */
static int vfs_file_read(sqlite3_file *base, void *data, int len, sqlite3_int64 pos)
{
    struct vfs_file *f = vfs_file_of(base);
    ASSERT(len >= 0 && pos >= 0);
    size_t got = 0;
    enum err err = fs_pread(f->file, data, (size_t)len, (uint64_t)pos, &got, NULL);
    if (err)
        return vfs_code(err, SQLITE_IOERR_READ);
    if (got < (size_t)len) {
        memset((uint8_t *)data + got, 0, (size_t)len - got);
        return SQLITE_IOERR_SHORT_READ;
    }
    return SQLITE_OK;
}

static int vfs_file_write(sqlite3_file *base, const void *data, int len, sqlite3_int64 pos)
{
    struct vfs_file *f = vfs_file_of(base);
    ASSERT(len >= 0 && pos >= 0);
    if (f->broken)
        return SQLITE_IOERR_WRITE;
    enum err err = fs_pwrite(f->file, data, (size_t)len, (uint64_t)pos, NULL);
    return err ? vfs_code(err, SQLITE_IOERR_WRITE) : SQLITE_OK;
}

static int vfs_file_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    struct vfs_file *f = vfs_file_of(base);
    ASSERT(size >= 0);
    if (f->broken)
        return SQLITE_IOERR_TRUNCATE;
    enum err err = fs_truncate(f->file, (uint64_t)size, NULL);
    return err ? vfs_code(err, SQLITE_IOERR_TRUNCATE) : SQLITE_OK;
}

static enum err vfs_sync_folder(struct sqlite_vfs *vfs, const char *path)
{
    ASSERT(path[0]);
    char folder[FS_PATH_MAX];
    snprintf(folder, sizeof(folder), "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash)
        snprintf(folder, sizeof(folder), ".");
    else if (slash == folder)
        slash[1] = 0;
    else
        *slash = 0;
    return fs_sync_dir(vfs->fs, folder, NULL);
}

static int vfs_file_sync(sqlite3_file *base, int flags)
{
    struct vfs_file *f = vfs_file_of(base);
    (void)flags;
    if (f->broken)
        return SQLITE_IOERR_FSYNC;
    enum err err = fs_sync(f->file, NULL);
    if (!err && f->entry_unsynced) {
        err = vfs_sync_folder(f->vfs, f->node->path);
        f->entry_unsynced = false;
    }
    if (err) {
        f->broken = true; /* (3) */
        return SQLITE_IOERR_FSYNC;
    }
    return SQLITE_OK;
}

static int vfs_file_size(sqlite3_file *base, sqlite3_int64 *ret_size)
{
    ASSERT(ret_size);
    uint64_t size = 0;
    enum err err = fs_size(vfs_file_of(base)->file, &size, NULL);
    if (err)
        return vfs_code(err, SQLITE_IOERR_FSTAT);
    *ret_size = (sqlite3_int64)size;
    return SQLITE_OK;
}

/* ---- locks of the database file: NONE, SHARED, RESERVED, PENDING, EXCLUSIVE ---- */

/*
 * SQLite's lock ladder. PENDING is kept when EXCLUSIVE has to wait for readers: new ones are then
 * refused, and the writer's turn comes.
 */
static int vfs_lock_raise(struct vfs_file *f, int level)
{
    struct vfs_node *node = f->node;
    bool writer_other = node->writer && node->writer != f;
    ASSERT(level > f->lock && level <= SQLITE_LOCK_EXCLUSIVE);
    ASSERT(!node->writer || node->writer->lock >= SQLITE_LOCK_RESERVED);
    if (level == SQLITE_LOCK_SHARED) {
        if (writer_other && node->writer->lock >= SQLITE_LOCK_PENDING)
            return SQLITE_BUSY;
        node->shared++;
        f->lock = SQLITE_LOCK_SHARED;
        return SQLITE_OK;
    }
    ASSERT(f->lock >= SQLITE_LOCK_SHARED);
    if (writer_other)
        return SQLITE_BUSY;
    node->writer = f;
    if (level < SQLITE_LOCK_EXCLUSIVE) {
        f->lock = level;
        return SQLITE_OK;
    }
    f->lock = SQLITE_LOCK_PENDING;
    if (node->shared > 1)
        return SQLITE_BUSY;
    f->lock = SQLITE_LOCK_EXCLUSIVE;
    return SQLITE_OK;
}

static int vfs_file_lock(sqlite3_file *base, int level)
{
    struct vfs_file *f = vfs_file_of(base);
    if (f->lock >= level)
        return SQLITE_OK;
    pthread_mutex_lock(&f->vfs->mutex);
    int code = vfs_lock_raise(f, level);
    pthread_mutex_unlock(&f->vfs->mutex);
    return code;
}

static int vfs_file_unlock(sqlite3_file *base, int level)
{
    struct vfs_file *f = vfs_file_of(base);
    ASSERT(level == SQLITE_LOCK_NONE || level == SQLITE_LOCK_SHARED);
    if (f->lock <= level)
        return SQLITE_OK;
    pthread_mutex_lock(&f->vfs->mutex);
    if (f->node->writer == f)
        f->node->writer = NULL;
    if (level == SQLITE_LOCK_NONE) {
        ASSERT(f->node->shared > 0);
        f->node->shared--;
    }
    f->lock = level;
    pthread_mutex_unlock(&f->vfs->mutex);
    return SQLITE_OK;
}

static int vfs_file_check_reserved(sqlite3_file *base, int *ret_reserved)
{
    struct vfs_file *f = vfs_file_of(base);
    pthread_mutex_lock(&f->vfs->mutex);
    *ret_reserved = f->node->writer != NULL;
    pthread_mutex_unlock(&f->vfs->mutex);
    return SQLITE_OK;
}

static int vfs_file_control(sqlite3_file *base, int op, void *arg)
{
    (void)base;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

/* SQLite pads the WAL to it, so that a torn write never reaches frames synced before. 4096: disks
 * that say 512 often have physical sectors of that size. */
static int vfs_file_sector_size(sqlite3_file *base)
{
    (void)base;
    return 4096;
}

/* Promises nothing (no atomic writes, no safe appends): the simulated disk keeps none of it. */
static int vfs_file_characteristics(sqlite3_file *base)
{
    (void)base;
    return 0;
}

/* ---- WAL index in process memory ---- */

/* Regions are separate blocks and never move: other connections hold pointers into them. */
static int vfs_region_grow(struct vfs_node *node, int index, int size)
{
    ASSERT(index >= node->region_count);
    if (index >= VFS_REGIONS_MAX)
        return SQLITE_FULL;
    void **regions = realloc(node->regions, sizeof(void *) * (size_t)(index + 1));
    if (!regions)
        return SQLITE_IOERR_NOMEM;
    node->regions = regions;
    while (node->region_count <= index) {
        void *region = calloc(1, (size_t)size);
        if (!region)
            return SQLITE_IOERR_NOMEM;
        regions[node->region_count++] = region;
    }
    return SQLITE_OK;
}

/* The index may lie in plain memory, since no other process opens the database; a crash takes it
 * away, and the first open afterwards rebuilds it from the WAL. */
static int vfs_shm_map(sqlite3_file *base, int index, int size, int extend,
                       void volatile **ret_region)
{
    struct vfs_file *f = vfs_file_of(base);
    struct vfs_node *node = f->node;
    int code = SQLITE_OK;
    ASSERT(index >= 0 && size > 0);
    *ret_region = NULL;
    pthread_mutex_lock(&f->vfs->mutex);
    if (!f->shm_mapped) {
        f->shm_mapped = true;
        node->shm_refs++;
    }
    if (index >= node->region_count && extend)
        code = vfs_region_grow(node, index, size);
    if (code == SQLITE_OK && index < node->region_count)
        *ret_region = node->regions[index];
    pthread_mutex_unlock(&f->vfs->mutex);
    return code;
}

static void vfs_slots_release(struct vfs_file *f, uint16_t mask)
{
    ASSERT((f->shm_shared & f->shm_writer) == 0);
    for (int i = 0; i < VFS_SLOTS; i++) {
        uint16_t bit = (uint16_t)(1u << i);
        if (!(mask & bit))
            continue;
        if (f->shm_writer & bit) {
            ASSERT(f->node->slot_writer[i]);
            f->node->slot_writer[i] = false;
        }
        if (f->shm_shared & bit) {
            ASSERT(f->node->slot_shared[i] > 0);
            f->node->slot_shared[i]--;
        }
    }
    f->shm_writer &= (uint16_t)~mask;
    f->shm_shared &= (uint16_t)~mask;
    ASSERT(((f->shm_shared | f->shm_writer) & mask) == 0);
}

/*
 * All slots or none: looked at first, then taken. SQLite asks for several only when it resets or
 * recovers the WAL, and a half-held range would stop it for ever.
 */
static int vfs_slots_take(struct vfs_file *f, uint16_t mask, bool exclusive)
{
    struct vfs_node *node = f->node;
    for (int i = 0; i < VFS_SLOTS; i++) {
        uint16_t bit = (uint16_t)(1u << i);
        if (!(mask & bit))
            continue;
        uint32_t own = (f->shm_shared & bit) ? 1 : 0;
        if (node->slot_writer[i] && !(f->shm_writer & bit))
            return SQLITE_BUSY;
        if (exclusive && node->slot_shared[i] > own)
            return SQLITE_BUSY;
    }
    for (int i = 0; i < VFS_SLOTS; i++) {
        uint16_t bit = (uint16_t)(1u << i);
        if (!(mask & bit) || (f->shm_writer & bit))
            continue;
        if (exclusive) {
            ASSERT(!(f->shm_shared & bit)); /* (2) SQLite never upgrades in place */
            node->slot_writer[i] = true;
            f->shm_writer |= bit;
        } else if (!(f->shm_shared & bit)) {
            node->slot_shared[i]++;
            f->shm_shared |= bit;
        }
    }
    return SQLITE_OK;
}

static int vfs_shm_lock(sqlite3_file *base, int first, int count, int flags)
{
    struct vfs_file *f = vfs_file_of(base);
    ASSERT(first >= 0 && count >= 1 && first + count <= VFS_SLOTS);
    uint16_t mask = (uint16_t)(((1u << count) - 1u) << first);
    int code = SQLITE_OK;
    pthread_mutex_lock(&f->vfs->mutex);
    if (flags & SQLITE_SHM_UNLOCK)
        vfs_slots_release(f, mask);
    else
        code = vfs_slots_take(f, mask, (flags & SQLITE_SHM_EXCLUSIVE) != 0);
    pthread_mutex_unlock(&f->vfs->mutex);
    return code;
}

/* Makes this thread's stores to the WAL index visible before its later loads: readers of the index
 * check it without a lock. */
static void vfs_shm_barrier(sqlite3_file *base)
{
    struct vfs_file *f = vfs_file_of(base);
    /* A sequentially consistent exchange orders like a fence, and the thread sanitizer knows it. */
    static _Atomic unsigned fence;
    atomic_fetch_add(&fence, 1);
    pthread_mutex_lock(&f->vfs->mutex);
    pthread_mutex_unlock(&f->vfs->mutex);
}

/* With the last connection the index goes; the next open recovers it from the WAL. */
static int vfs_shm_unmap(sqlite3_file *base, int delete_flag)
{
    ASSERT(vfs_file_of(base)->node);
    struct vfs_file *f = vfs_file_of(base);
    struct vfs_node *node = f->node;
    (void)delete_flag;
    pthread_mutex_lock(&f->vfs->mutex);
    if (f->shm_mapped) {
        vfs_slots_release(f, UINT16_MAX);
        f->shm_mapped = false;
        ASSERT(node->shm_refs > 0);
        if (--node->shm_refs == 0) {
            for (int i = 0; i < node->region_count; i++)
                free(node->regions[i]);
            free(node->regions);
            node->regions = NULL;
            node->region_count = 0;
        }
    }
    pthread_mutex_unlock(&f->vfs->mutex);
    return SQLITE_OK;
}

static const sqlite3_io_methods vfs_methods = {
    .iVersion = 2,
    .xClose = vfs_file_close,
    .xRead = vfs_file_read,
    .xWrite = vfs_file_write,
    .xTruncate = vfs_file_truncate,
    .xSync = vfs_file_sync,
    .xFileSize = vfs_file_size,
    .xLock = vfs_file_lock,
    .xUnlock = vfs_file_unlock,
    .xCheckReservedLock = vfs_file_check_reserved,
    .xFileControl = vfs_file_control,
    .xSectorSize = vfs_file_sector_size,
    .xDeviceCharacteristics = vfs_file_characteristics,
    .xShmMap = vfs_shm_map,
    .xShmLock = vfs_shm_lock,
    .xShmBarrier = vfs_shm_barrier,
    .xShmUnmap = vfs_shm_unmap,
};

/* ---- calls of the vfs ---- */

static int vfs_open(sqlite3_vfs *base, const char *path, sqlite3_file *ret_file, int flags,
                    int *ret_flags)
{
    struct sqlite_vfs *vfs = vfs_of(base);
    struct vfs_file *f = vfs_file_of(ret_file);
    memset(f, 0, sizeof(*f));
    if (!path || strlen(path) >= FS_PATH_MAX)
        return SQLITE_CANTOPEN; /* temporary files: temp_store=MEMORY keeps them away */
    unsigned fs_flags = FS_READ;
    if (flags & SQLITE_OPEN_READWRITE)
        fs_flags |= FS_WRITE;
    if (flags & SQLITE_OPEN_CREATE)
        fs_flags |= FS_CREATE;
    if (flags & SQLITE_OPEN_EXCLUSIVE)
        fs_flags |= FS_EXCLUSIVE;
    enum err err = fs_open(vfs->fs, path, fs_flags, &f->file, NULL);
    if (err)
        return vfs_code(err, SQLITE_CANTOPEN);
    f->node = vfs_node_get(vfs, path);
    if (!f->node) {
        fs_close(f->file);
        return SQLITE_NOMEM;
    }
    f->vfs = vfs;
    f->entry_unsynced = (flags & SQLITE_OPEN_CREATE) != 0;
    f->delete_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    f->base.pMethods = &vfs_methods;
    if (ret_flags)
        *ret_flags = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *base, const char *path, int sync_folder)
{
    struct sqlite_vfs *vfs = vfs_of(base);
    ASSERT(path != NULL);
    enum err err = fs_unlink(vfs->fs, path, NULL);
    if (err == ERR_NOT_FOUND)
        return SQLITE_IOERR_DELETE_NOENT;
    if (!err && sync_folder)
        err = vfs_sync_folder(vfs, path);
    return err ? vfs_code(err, SQLITE_IOERR_DELETE) : SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *base, const char *path, int flags, int *ret_yes)
{
    ASSERT(path && ret_yes);
    struct fs_stat st;
    enum err err = fs_stat(vfs_of(base)->fs, path, &st, NULL);
    /* A journal that cannot be looked for may be there and hold what must be rolled back. */
    if (err && err != ERR_NOT_FOUND)
        return SQLITE_IOERR_ACCESS;
    /* An empty journal counts as absent, as in SQLite's own VFS. */
    *ret_yes = !err && (flags != SQLITE_ACCESS_EXISTS || st.size > 0);
    return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *base, const char *path, int cap, char *out)
{
    ASSERT(path && cap > 0);
    (void)base;
    int len = snprintf(out, (size_t)cap, "%s", path);
    return len >= 0 && len < cap ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int vfs_randomness(sqlite3_vfs *base, int len, char *out)
{
    struct sqlite_vfs *vfs = vfs_of(base);
    ASSERT(len >= 0);
    pthread_mutex_lock(&vfs->mutex);
    random_fill(&vfs->random, out, (uint32_t)len);
    pthread_mutex_unlock(&vfs->mutex);
    return len;
}

static int vfs_sleep(sqlite3_vfs *base, int us)
{
    (void)base;
    ASSERT(us >= 0);
    usleep((useconds_t)us);
    return us;
}

static int vfs_time_int64(sqlite3_vfs *base, sqlite3_int64 *ret_time)
{
    struct timespec ts;
    (void)base;
    clock_gettime(CLOCK_REALTIME, &ts);
    /* Julian day in milliseconds; 210866760000000 is 1970. */
    *ret_time = 210866760000000LL + (sqlite3_int64)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
    return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *base, int cap, char *out)
{
    (void)base;
    (void)cap;
    (void)out;
    return 0;
}

enum err sqlite_vfs_create(struct fs *fs, uint64_t seed, struct sqlite_vfs **ret_vfs)
{
    static _Atomic unsigned number;
    struct sqlite_vfs *vfs = calloc(1, sizeof(*vfs));
    ASSERT(fs != NULL);
    if (!vfs)
        return ERR_NO_MEMORY;
    vfs->fs = fs;
    list_init(&vfs->nodes);
    random_init(&vfs->random, seed);
    pthread_mutex_init(&vfs->mutex, NULL);
    snprintf(vfs->name, sizeof(vfs->name), "weir-%u", number++);
    vfs->base = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = sizeof(struct vfs_file),
        .mxPathname = FS_PATH_MAX,
        .zName = vfs->name,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xRandomness = vfs_randomness,
        .xSleep = vfs_sleep,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_time_int64,
    };
    if (sqlite3_vfs_register(&vfs->base, 0) != SQLITE_OK) {
        pthread_mutex_destroy(&vfs->mutex);
        free(vfs);
        return ERR_NO_MEMORY;
    }
    *ret_vfs = vfs;
    return ERR_OK;
}

void sqlite_vfs_destroy(struct sqlite_vfs *vfs)
{
    if (!vfs)
        return;
    ASSERT(list_empty(&vfs->nodes));
    sqlite3_vfs_unregister(&vfs->base);
    pthread_mutex_destroy(&vfs->mutex);
    free(vfs);
}

struct fs *sqlite_vfs_fs(const struct sqlite_vfs *vfs)
{
    ASSERT(vfs->fs);
    return vfs->fs;
}

const char *sqlite_vfs_name(const struct sqlite_vfs *vfs)
{
    ASSERT(vfs != NULL);
    return vfs->name;
}
