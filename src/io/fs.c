/*
 * Role: the common half of the file seam: argument checks, transfer loops, fault points, error
 * texts, small-file helpers.
 *
 * State: none of its own.
 *     caller -> fs.c (fault point, loop) -> fs_ops of fs_posix.c or fs_sim.c
 *
 * Invariants
 * (1) A failing call fills info with verb, path and reason, and returns the same code.
 * (2) fs_pread returns less than asked only at the end of the file; fs_pwritev returns ERR_OK only
 *     when all bytes went.
 * (3) A fault point that fires leaves the file untouched, as far as the call it stands for is
 *     concerned.
 *
 * Ownership and shard: blocking; workers, boot and SQLite's VFS only.
 *
 * Failure modes: everything a disk does: full, failing, missing entries, too many handles. Nothing
 * is retried except EINTR and short transfers; a failed sync in particular is reported once and
 * never repeated here.
 */
#include "io/fs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/fault.h"
#include "io/fs_int.h"

#define FS_TREE_DEPTH_MAX 16
#define FS_ZERO_CHUNK (64u * 1024)
#define FS_RESEAL_CHUNK ((size_t)256 * 1024)
/* Bytes of one write call. Above 2 MiB the kernel looks for huge pages to cache them in, and a
 * virtual machine has often given those back to its host: each is then a slow fault. */
#define FS_WRITE_MAX ((size_t)1024 * 1024)

FAULT_DEFINE(fault_open, "fs.open")
FAULT_DEFINE(fault_read, "fs.read")
FAULT_DEFINE(fault_write, "fs.write")
FAULT_DEFINE(fault_sync, "fs.sync")
FAULT_DEFINE(fault_truncate, "fs.truncate")
FAULT_DEFINE(fault_zero, "fs.zero")
FAULT_DEFINE(fault_reserve, "fs.reserve")
FAULT_DEFINE(fault_rename, "fs.rename")
FAULT_DEFINE(fault_unlink, "fs.unlink")
FAULT_DEFINE(fault_mkdir, "fs.mkdir")
FAULT_DEFINE(fault_sync_dir, "fs.sync_dir")
FAULT_DEFINE(fault_list, "fs.list")
FAULT_DEFINE(fault_stat, "fs.stat")

/* Turns the outcome of a call into an error with words. */
static enum err fs_result(struct err_info *info, const char *verb, const char *path,
                          int posix_errno)
{
    ASSERT(verb && path);
    if (posix_errno == 0)
        return ERR_OK;
    enum err err = err_from_errno(posix_errno);
    ASSERT(err != ERR_OK);
    char reason[96];
    return err_info_set(info, err, "%s '%s': %s", verb, path,
                        strerror_r(posix_errno, reason, sizeof(reason)));
}

static enum err fs_fault(struct fault *fault, struct err_info *info, const char *verb,
                         const char *path)
{
    ASSERT(verb && path);
    enum err err = fault_check(fault);
    if (err == ERR_OK)
        return ERR_OK;
    return err_info_set(info, err, "%s '%s': injected fault", verb, path);
}

static enum err fs_path_check(const char *path, struct err_info *info)
{
    ASSERT(path);
    size_t len = strnlen(path, FS_PATH_MAX + 1);
    if (len == 0 || len > FS_PATH_MAX)
        return err_info_set(info, ERR_INVALID_ARGUMENT, "a path must have 1 to %d bytes",
                            FS_PATH_MAX);
    return ERR_OK;
}

void fs_destroy(struct fs *fs)
{
    ASSERT(!fs || fs->ops);
    if (fs)
        fs->ops->destroy(fs);
}

/*
 * The path is copied before the file is opened: afterwards nothing can fail that would leave a file
 * behind without a handle.
 */
enum err fs_open(struct fs *fs, const char *path, unsigned flags, struct fs_file **ret_file,
                 struct err_info *info)
{
    ASSERT(flags & (FS_READ | FS_WRITE));
    ASSERT(!(flags & (FS_CREATE | FS_TRUNCATE)) || (flags & FS_WRITE));
    *ret_file = NULL;
    enum err err = fs_path_check(path, info);
    if (err == ERR_OK)
        err = fs_fault(&fault_open, info, "open", path);
    if (err != ERR_OK)
        return err;
    char *copy = strdup(path);
    if (!copy)
        return err_info_set(info, ERR_NO_MEMORY, "open '%s': out of memory", path);
    struct fs_file *file = NULL;
    err = fs_result(info, "open", path, fs->ops->open(fs, path, flags, &file));
    if (err != ERR_OK) {
        free(copy);
        return err;
    }
    ASSERT(file);
    file->fs = fs;
    file->path = copy;
    *ret_file = file;
    return ERR_OK;
}

void fs_close(struct fs_file *file)
{
    if (!file)
        return;
    ASSERT(file->fs && file->path);
    char *path = file->path;
    file->fs->ops->close(file);
    free(path);
}

/*
 * The lock file is made and never removed: removing it would let two processes lock two files of the
 * same name.
 */
enum err fs_lock(struct fs *fs, const char *path, struct fs_file **ret_file, struct err_info *info)
{
    ASSERT(ret_file);
    struct fs_file *file;
    *ret_file = NULL;
    enum err err = fs_open(fs, path, FS_READ | FS_WRITE | FS_CREATE, &file, info);
    if (err != ERR_OK)
        return err;
    ASSERT(file);
    int rc = fs->ops->lock(file);
    if (rc != 0) {
        fs_close(file);
        if (rc == EWOULDBLOCK)
            return err_info_set(info, ERR_LOCKED, "'%s' is locked by another process", path);
        return fs_result(info, "lock", path, rc);
    }
    *ret_file = file;
    return ERR_OK;
}

enum err fs_pread(struct fs_file *file, void *data, size_t len, uint64_t pos, size_t *ret_len,
                  struct err_info *info)
{
    ASSERT(file && (data || len == 0));
    *ret_len = 0;
    enum err err = fs_fault(&fault_read, info, "read", file->path);
    if (err != ERR_OK)
        return err;
    size_t have = 0;
    while (have < len) {
        size_t got = 0;
        int rc = file->fs->ops->pread(file, (uint8_t *)data + have, len - have, pos + have, &got);
        if (rc == EINTR)
            continue;
        if (rc != 0)
            return fs_result(info, "read", file->path, rc);
        ASSERT(got <= len - have);
        if (got == 0)
            break;
        have += got;
    }
    ASSERT(have <= len);
    *ret_len = have;
    return ERR_OK;
}

/* Writes all of iov, which it changes, looping over short writes. */
static int fs_write_iov(struct fs_file *file, struct iovec *iov, int count, uint64_t pos)
{
    ASSERT(count <= FS_IOV_MAX);
    while (count > 0) {
        if (iov->iov_len == 0) {
            iov++;
            count--;
            continue;
        }
        size_t put = 0;
        int rc = file->fs->ops->pwritev(file, iov, count, pos, &put);
        if (rc == EINTR)
            continue;
        if (rc != 0)
            return rc;
        if (put == 0)
            return ENOSPC; /* no progress and no reason: repeating it could go on for ever */
        pos += put;
        while (count > 0 && put >= iov->iov_len) {
            put -= iov->iov_len;
            iov++;
            count--;
        }
        ASSERT(count > 0 || put == 0);
        if (count > 0) {
            iov->iov_base = (uint8_t *)iov->iov_base + put;
            iov->iov_len -= put;
        }
    }
    return 0;
}

enum err fs_pwritev(struct fs_file *file, const struct slice *parts, size_t count, uint64_t pos,
                    struct err_info *info)
{
    ASSERT(file && (parts || count == 0));
    enum err err = fs_fault(&fault_write, info, "write", file->path);
    if (err != ERR_OK)
        return err;
    struct iovec iov[FS_IOV_MAX];
    size_t done = 0; /* of the first part */
    while (count > 0) {
        int used = 0;
        size_t bytes = 0;
        for (; used < FS_IOV_MAX && count > 0 && bytes < FS_WRITE_MAX; used++) {
            size_t left = parts->len - done;
            size_t len = left < FS_WRITE_MAX - bytes ? left : FS_WRITE_MAX - bytes;
            iov[used] = (struct iovec){(void *)(uintptr_t)(parts->data + done), len};
            bytes += len;
            done += len;
            if (len == left) {
                parts++;
                count--;
                done = 0;
            }
        }
        ASSERT(used > 0 && bytes <= FS_WRITE_MAX);
        int rc = fs_write_iov(file, iov, used, pos);
        if (rc != 0)
            return fs_result(info, "write", file->path, rc);
        pos += bytes;
    }
    return ERR_OK;
}

enum err fs_pwrite(struct fs_file *file, const void *data, size_t len, uint64_t pos,
                   struct err_info *info)
{
    ASSERT(data || len == 0);
    struct slice part = slice_make(data, len);
    return fs_pwritev(file, &part, 1, pos, info);
}

enum err fs_sync(struct fs_file *file, struct err_info *info)
{
    ASSERT(file);
    enum err err = fs_fault(&fault_sync, info, "sync", file->path);
    if (err != ERR_OK)
        return err;
    return fs_result(info, "sync", file->path, file->fs->ops->sync(file));
}

enum err fs_truncate(struct fs_file *file, uint64_t size, struct err_info *info)
{
    ASSERT(file);
    enum err err = fs_fault(&fault_truncate, info, "truncate", file->path);
    if (err != ERR_OK)
        return err;
    return fs_result(info, "truncate", file->path, file->fs->ops->truncate(file, size));
}

/*
 * Writes zeros instead of reserving space: reserved blocks are turned into written ones by the
 * first write to them, which is metadata that the commit's sync would have to wait for.
 */
enum err fs_zero(struct fs_file *file, uint64_t pos, uint64_t len, struct err_info *info)
{
    static const uint8_t zeros[FS_ZERO_CHUNK];
    ASSERT(file);
    enum err err = fs_fault(&fault_zero, info, "zero", file->path);
    if (err != ERR_OK)
        return err;
    struct iovec iov[FS_IOV_MAX];
    while (len > 0) {
        int used = 0;
        uint64_t bytes = 0;
        uint64_t most = len < FS_WRITE_MAX ? len : FS_WRITE_MAX;
        for (; used < FS_IOV_MAX && bytes < most; used++) {
            uint64_t part = most - bytes < sizeof(zeros) ? most - bytes : sizeof(zeros);
            iov[used] = (struct iovec){(void *)(uintptr_t)zeros, (size_t)part};
            bytes += part;
        }
        ASSERT(bytes > 0 && bytes <= len);
        int rc = fs_write_iov(file, iov, used, pos);
        if (rc != 0)
            return fs_result(info, "zero", file->path, rc);
        pos += bytes;
        len -= bytes;
    }
    return ERR_OK;
}

bool fs_reserve(struct fs_file *file, uint64_t pos, uint64_t len)
{
    ASSERT(file && len > 0);
    return fault_check(&fault_reserve) == ERR_OK && file->fs->ops->reserve(file, pos, len) == 0;
}

enum err fs_size(struct fs_file *file, uint64_t *ret_size, struct err_info *info)
{
    ASSERT(file && ret_size);
    *ret_size = 0;
    return fs_result(info, "size of", file->path, file->fs->ops->size(file, ret_size));
}

enum err fs_rename(struct fs *fs, const char *from, const char *to, struct err_info *info)
{
    ASSERT(to);
    enum err err = fs_path_check(from, info);
    if (err == ERR_OK)
        err = fs_path_check(to, info);
    if (err == ERR_OK)
        err = fs_fault(&fault_rename, info, "rename", from);
    if (err != ERR_OK)
        return err;
    return fs_result(info, "rename", from, fs->ops->rename(fs, from, to));
}

enum err fs_unlink(struct fs *fs, const char *path, struct err_info *info)
{
    enum err err = fs_path_check(path, info);
    if (err == ERR_OK)
        err = fs_fault(&fault_unlink, info, "remove", path);
    if (err != ERR_OK)
        return err;
    return fs_result(info, "remove", path, fs->ops->unlink(fs, path));
}

/*
 * A path that is there already is fine when it is a folder. mkdir and then look, not the other way
 * round: another thread may make it in between.
 */
enum err fs_mkdir(struct fs *fs, const char *path, struct err_info *info)
{
    enum err err = fs_path_check(path, info);
    if (err == ERR_OK)
        err = fs_fault(&fault_mkdir, info, "make directory", path);
    if (err != ERR_OK)
        return err;
    int rc = fs->ops->mkdir(fs, path);
    if (rc == EEXIST) {
        struct fs_stat stat;
        if (fs->ops->stat(fs, path, &stat) == 0 && stat.kind == FS_KIND_DIR)
            return ERR_OK;
    }
    return fs_result(info, "make directory", path, rc);
}

/* Makes the first len bytes of path a directory whose entry is durable. */
static enum err fs_mkdir_durable(struct fs *fs, const char *path, size_t len, struct err_info *info)
{
    char part[FS_PATH_MAX + 1];
    ASSERT(len > 0 && len <= FS_PATH_MAX);
    ASSERT(path[len] == 0 || path[len] == '/');
    memcpy(part, path, len);
    part[len] = 0;
    enum err err = fs_mkdir(fs, part, info);
    if (err != ERR_OK)
        return err;
    while (len > 0 && part[len - 1] != '/')
        len--;
    while (len > 1 && part[len - 1] == '/')
        len--;
    part[len] = 0;
    /* Also when it was there: an earlier run may have ended between making and syncing it. */
    err = fs_sync_dir(fs, len > 0 ? part : ".", info);
    return err == ERR_UNAUTHORIZED ? ERR_OK : err; /* a parent that is not ours to open */
}

/*
 * From the top down, each level durable before the next: after a crash no folder is reachable through
 * a parent that is not.
 */
enum err fs_mkdir_all(struct fs *fs, const char *path, struct err_info *info)
{
    ASSERT(path);
    enum err err = fs_path_check(path, info);
    size_t len = err == ERR_OK ? strlen(path) : 0;
    while (len > 1 && path[len - 1] == '/')
        len--;
    for (size_t i = 1; i <= len && err == ERR_OK; i++) {
        bool ends = i == len || path[i] == '/';
        if (ends && path[i - 1] != '/')
            err = fs_mkdir_durable(fs, path, i, info);
    }
    return err;
}

enum err fs_rmdir(struct fs *fs, const char *path, struct err_info *info)
{
    enum err err = fs_path_check(path, info);
    if (err == ERR_OK)
        err = fs_fault(&fault_unlink, info, "remove directory", path);
    if (err != ERR_OK)
        return err;
    return fs_result(info, "remove directory", path, fs->ops->rmdir(fs, path));
}

enum err fs_sync_dir(struct fs *fs, const char *path, struct err_info *info)
{
    enum err err = fs_path_check(path, info);
    if (err == ERR_OK)
        err = fs_fault(&fault_sync_dir, info, "sync directory", path);
    if (err != ERR_OK)
        return err;
    return fs_result(info, "sync directory", path, fs->ops->sync_dir(fs, path));
}

enum err fs_stat(struct fs *fs, const char *path, struct fs_stat *ret_stat, struct err_info *info)
{
    ASSERT(ret_stat);
    *ret_stat = (struct fs_stat){.kind = FS_KIND_OTHER};
    enum err err = fs_path_check(path, info);
    if (err == ERR_OK)
        err = fs_fault(&fault_stat, info, "stat", path);
    if (err != ERR_OK)
        return err;
    return fs_result(info, "stat", path, fs->ops->stat(fs, path, ret_stat));
}

bool fs_exists(struct fs *fs, const char *path)
{
    struct fs_stat stat;
    return fs_stat(fs, path, &stat, NULL) == ERR_OK;
}

enum err fs_space(struct fs *fs, const char *path, uint64_t *ret_free, struct err_info *info)
{
    ASSERT(ret_free);
    *ret_free = 0;
    enum err err = fs_path_check(path, info);
    if (err != ERR_OK)
        return err;
    return fs_result(info, "free space of", path, fs->ops->space(fs, path, ret_free));
}

/* ---- listing, sorted ---- */

struct fs_entry {
    char *name;
    enum fs_kind kind;
};

struct fs_entries {
    struct fs_entry *items;
    size_t count;
    size_t cap;
    bool failed;
};

/*
 * Names are collected before any is handed out: the caller may remove entries while it walks, and
 * what readdir then shows is not defined.
 */
static bool fs_entries_add(void *arg, const char *name, enum fs_kind kind)
{
    struct fs_entries *entries = arg;
    ASSERT(name[0] && entries->count <= entries->cap);
    if (entries->count == entries->cap) {
        size_t cap = entries->cap ? entries->cap * 2 : 32;
        struct fs_entry *items = realloc(entries->items, cap * sizeof(*items));
        if (!items) {
            entries->failed = true;
            return false;
        }
        entries->items = items;
        entries->cap = cap;
    }
    char *copy = strdup(name);
    if (!copy) {
        entries->failed = true;
        return false;
    }
    entries->items[entries->count++] = (struct fs_entry){copy, kind};
    return true;
}

/* Byte order: recovery must not depend on the order a file system hands out names in. */
static int fs_entry_order(const void *a, const void *b)
{
    return strcmp(((const struct fs_entry *)a)->name, ((const struct fs_entry *)b)->name);
}

/* Also after a failed load: what was taken so far is freed. */
static void fs_entries_deinit(struct fs_entries *entries)
{
    ASSERT(entries->count == 0 || entries->items);
    for (size_t i = 0; i < entries->count; i++)
        free(entries->items[i].name);
    free(entries->items);
}

static enum err fs_entries_load(struct fs *fs, const char *path, struct fs_entries *entries,
                                struct err_info *info)
{
    *entries = (struct fs_entries){0};
    enum err err = fs_path_check(path, info);
    if (err == ERR_OK)
        err = fs_fault(&fault_list, info, "list", path);
    if (err != ERR_OK)
        return err;
    int rc = fs->ops->list(fs, path, fs_entries_add, entries);
    if (rc == 0 && entries->failed)
        rc = ENOMEM;
    if (rc == 0 && entries->count > 1)
        qsort(entries->items, entries->count, sizeof(*entries->items), fs_entry_order);
    return fs_result(info, "list", path, rc);
}

enum err fs_list(struct fs *fs, const char *path, fs_list_fn each, void *arg, struct err_info *info)
{
    ASSERT(each);
    struct fs_entries entries;
    enum err err = fs_entries_load(fs, path, &entries, info);
    for (size_t i = 0; err == ERR_OK && i < entries.count; i++) {
        if (!each(arg, entries.items[i].name, entries.items[i].kind))
            break;
    }
    fs_entries_deinit(&entries);
    return err;
}

/* Depth is bounded by FS_TREE_DEPTH_MAX. */
static enum err fs_remove_level(struct fs *fs, const char *path, unsigned depth,
                                struct err_info *info)
{
    ASSERT(depth >= 1);
    if (depth > FS_TREE_DEPTH_MAX)
        return err_info_set(info, ERR_LIMIT, "remove '%s': more than %d levels", path,
                            FS_TREE_DEPTH_MAX);
    struct fs_entries entries;
    enum err err = fs_entries_load(fs, path, &entries, info);
    for (size_t i = 0; err == ERR_OK && i < entries.count; i++) {
        char child[FS_PATH_MAX + 2];
        int len = snprintf(child, sizeof(child), "%s/%s", path, entries.items[i].name);
        if (len < 0 || len > FS_PATH_MAX)
            err = err_info_set(info, ERR_LIMIT, "remove '%s': path too long below it", path);
        else if (entries.items[i].kind == FS_KIND_DIR)
            err = fs_remove_level(fs, child, depth + 1, info);
        else
            err = fs_unlink(fs, child, info);
    }
    fs_entries_deinit(&entries);
    return err == ERR_OK ? fs_rmdir(fs, path, info) : err;
}

enum err fs_remove_tree(struct fs *fs, const char *path, struct err_info *info)
{
    struct fs_stat stat;
    enum err err = fs_stat(fs, path, &stat, info);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    return err == ERR_OK ? fs_remove_level(fs, path, 1, info) : err;
}

/* ---- resealing ---- */

/*
 * Reads what is there and writes it back unchanged: pages that a failed sync had marked clean become
 * dirty again, and the sync at the end speaks for all of them.
 */
static enum err fs_reseal_range(struct fs_file *file, uint64_t pos, uint8_t *data, size_t cap,
                                struct err_info *info)
{
    ASSERT(data && cap > 0);
    for (;;) {
        size_t len;
        enum err err = fs_pread(file, data, cap, pos, &len, info);
        if (err != ERR_OK)
            return err;
        if (len == 0)
            return fs_sync(file, info);
        err = fs_pwrite(file, data, len, pos, info);
        if (err != ERR_OK)
            return err;
        ASSERT(len <= cap);
        pos += len;
    }
}

enum err fs_reseal(struct fs *fs, const char *path, uint64_t pos, struct err_info *info)
{
    struct fs_file *file;
    enum err err = fs_open(fs, path, FS_READ | FS_WRITE, &file, info);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (err != ERR_OK)
        return err;
    uint8_t *data = malloc(FS_RESEAL_CHUNK);
    if (data)
        err = fs_reseal_range(file, pos, data, FS_RESEAL_CHUNK, info);
    else
        err = err_info_set(info, ERR_NO_MEMORY, "reseal '%s': out of memory", path);
    free(data);
    fs_close(file);
    return err;
}

/* ---- small whole files ---- */

enum err fs_read_all(struct fs *fs, const char *path, size_t limit, uint8_t **ret_data,
                     size_t *ret_len, struct err_info *info)
{
    ASSERT(ret_data && ret_len);
    *ret_data = NULL;
    *ret_len = 0;
    struct fs_file *file;
    enum err err = fs_open(fs, path, FS_READ, &file, info);
    if (err != ERR_OK)
        return err;
    uint64_t size;
    err = fs_size(file, &size, info);
    if (err == ERR_OK && size > limit)
        err = err_info_set(info, ERR_LIMIT, "'%s' has %llu bytes, more than %zu", path,
                           (unsigned long long)size, limit);
    uint8_t *data = NULL;
    /* One byte more, so that texts are NUL-terminated for those who scan them. */
    if (err == ERR_OK && !(data = malloc((size_t)size + 1)))
        err = err_info_set(info, ERR_NO_MEMORY, "read '%s': out of memory", path);
    if (err == ERR_OK)
        err = fs_pread(file, data, (size_t)size, 0, ret_len, info);
    fs_close(file);
    if (err != ERR_OK) {
        free(data);
        *ret_len = 0;
        return err;
    }
    ASSERT(data && *ret_len <= size);
    data[*ret_len] = 0;
    *ret_data = data;
    return ERR_OK;
}

static enum err fs_write_synced(struct fs *fs, const char *path, struct slice data,
                                struct err_info *info)
{
    ASSERT(data.data || data.len == 0);
    struct fs_file *file;
    enum err err = fs_open(fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &file, info);
    if (err != ERR_OK)
        return err;
    err = fs_pwritev(file, &data, 1, 0, info);
    if (err == ERR_OK)
        err = fs_sync(file, info);
    fs_close(file);
    return err;
}

enum err fs_write_atomic(struct fs *fs, const char *path, struct slice data, struct err_info *info)
{
    char temp[FS_PATH_MAX + 8];
    ASSERT(path);
    enum err err = fs_path_check(path, info);
    if (err != ERR_OK)
        return err;
    if (strlen(path) + 4 > FS_PATH_MAX)
        return err_info_set(info, ERR_INVALID_ARGUMENT, "write '%s': path too long", path);
    snprintf(temp, sizeof(temp), "%s.tmp", path);
    /* The content must be durable before the name points at it: a rename that survives a crash
     * alone would leave an empty file under a trusted name. */
    err = fs_write_synced(fs, temp, data, info);
    if (err == ERR_OK)
        err = fs_rename(fs, temp, path, info);
    if (err != ERR_OK) {
        enum err ignored = fs_unlink(fs, temp, NULL);
        (void)ignored;
        return err;
    }
    char dir[FS_PATH_MAX + 1];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    memcpy(dir, path, len);
    dir[len] = 0;
    return fs_sync_dir(fs, slash ? (len ? dir : "/") : ".", info);
}
