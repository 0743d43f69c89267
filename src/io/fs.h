/*
 * The file seam: blocking file calls behind one table, implemented on POSIX and by the simulator's
 * disk.
 *
 * Called on worker threads, at boot before the shards run, or from SQLite's VFS; never on a running
 * shard. A handle is used by one thread at a time, except that pread may run beside anything. Paths
 * are NUL-terminated, at most FS_PATH_MAX bytes, relative to the working directory unless absolute.
 * info may be NULL everywhere; on failure it names the path.
 */
#ifndef WEIR_IO_FS_H
#define WEIR_IO_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/slice.h"

#define FS_PATH_MAX 1024
#define FS_SECTOR 512

struct fs;
struct fs_file;

enum fs_open_flags {
    FS_READ = 1,
    FS_WRITE = 2,
    FS_CREATE = 4,    /* make it when absent */
    FS_EXCLUSIVE = 8, /* with FS_CREATE: ERR_EXISTS when present */
    FS_TRUNCATE = 16, /* empty it */
};

enum fs_kind { FS_KIND_FILE, FS_KIND_DIR, FS_KIND_OTHER };

struct fs_stat {
    enum fs_kind kind;
    uint64_t size;
    int64_t mtime_ms;
};

/* The real file system. Lives until fs_destroy. NULL: out of memory. */
struct fs *fs_posix_create(void);
void fs_destroy(struct fs *fs);

/* ERR_NOT_FOUND, ERR_EXISTS, ERR_DISK_FULL, ERR_DISK_IO, ERR_LIMIT (too many open files) and the
 * like. */
MUST_CHECK enum err fs_open(struct fs *fs, const char *path, unsigned flags,
                            struct fs_file **ret_file, struct err_info *info);
/* NULL is allowed. Does not sync. Releases a lock taken by fs_lock. */
void fs_close(struct fs_file *file);
/* Opens (making it) and locks the file against other processes and handles: ERR_LOCKED when
 * somebody holds it. */
MUST_CHECK enum err fs_lock(struct fs *fs, const char *path, struct fs_file **ret_file,
                            struct err_info *info);

/* Reads up to len bytes at pos; *ret_len < len only at the end of the file. */
MUST_CHECK enum err fs_pread(struct fs_file *file, void *data, size_t len, uint64_t pos,
                             size_t *ret_len, struct err_info *info);
/* Writes everything, or fails with an unknown part written. */
MUST_CHECK enum err fs_pwrite(struct fs_file *file, const void *data, size_t len, uint64_t pos,
                              struct err_info *info);
MUST_CHECK enum err fs_pwritev(struct fs_file *file, const struct slice *parts, size_t count,
                               uint64_t pos, struct err_info *info);
/* fdatasync: data and the size needed to read it. After a failure the file's unsynced bytes are
 * unknown: never retry. */
MUST_CHECK enum err fs_sync(struct fs_file *file, struct err_info *info);
MUST_CHECK enum err fs_truncate(struct fs_file *file, uint64_t size, struct err_info *info);
/* Writes zeros over [pos, pos + len), growing the file, so that later writes there are overwrites.
 * Does not sync. */
MUST_CHECK enum err fs_zero(struct fs_file *file, uint64_t pos, uint64_t len,
                            struct err_info *info);
/* Sets blocks aside for [pos, pos + len) without growing the file, so that writes there need none to
 * be found. An optimisation that may be refused (false): no space, or a file system without it. A
 * truncation gives them back. */
bool fs_reserve(struct fs_file *file, uint64_t pos, uint64_t len);
MUST_CHECK enum err fs_size(struct fs_file *file, uint64_t *ret_size, struct err_info *info);

/* Replaces `to` when it exists. Durable only after fs_sync_dir of the directories. */
MUST_CHECK enum err fs_rename(struct fs *fs, const char *from, const char *to,
                              struct err_info *info);
MUST_CHECK enum err fs_unlink(struct fs *fs, const char *path, struct err_info *info);
/* Succeeds when the directory is there already. The parent must exist. */
MUST_CHECK enum err fs_mkdir(struct fs *fs, const char *path, struct err_info *info);
/* The same with all missing parents; all of them are durable at return. */
MUST_CHECK enum err fs_mkdir_all(struct fs *fs, const char *path, struct err_info *info);
/* Removes an empty directory. */
MUST_CHECK enum err fs_rmdir(struct fs *fs, const char *path, struct err_info *info);
/* Removes a directory with what is in it, at most 16 levels deep. Fine when absent. */
MUST_CHECK enum err fs_remove_tree(struct fs *fs, const char *path, struct err_info *info);
/* Makes creations, renames and removals in the directory durable. */
MUST_CHECK enum err fs_sync_dir(struct fs *fs, const char *path, struct err_info *info);
MUST_CHECK enum err fs_stat(struct fs *fs, const char *path, struct fs_stat *ret_stat,
                            struct err_info *info);
bool fs_exists(struct fs *fs, const char *path);

/* Calls each(arg, name, kind) for every entry in byte order of the names; return false to end
 * early. */
typedef bool (*fs_list_fn)(void *arg, const char *name, enum fs_kind kind);
MUST_CHECK enum err fs_list(struct fs *fs, const char *path, fs_list_fn each, void *arg,
                            struct err_info *info);
/* Bytes that may still be written below the path. */
MUST_CHECK enum err fs_space(struct fs *fs, const char *path, uint64_t *ret_free,
                             struct err_info *info);

/*
 * Writes the bytes from pos to the end over themselves and syncs. A sync that failed in an earlier
 * process may have left pages that read back well and that no later sync will write: whoever goes
 * on behind such bytes makes them durable this way first. Fine when absent.
 */
MUST_CHECK enum err fs_reseal(struct fs *fs, const char *path, uint64_t pos, struct err_info *info);

/* Small whole files (configuration, checkpoints): read up to limit into malloc'd memory that the
 * caller frees. */
MUST_CHECK enum err fs_read_all(struct fs *fs, const char *path, size_t limit, uint8_t **ret_data,
                                size_t *ret_len, struct err_info *info);
/* Writes path + ".tmp", syncs, renames over path, syncs the directory: all or nothing after a
 * crash. */
MUST_CHECK enum err fs_write_atomic(struct fs *fs, const char *path, struct slice data,
                                    struct err_info *info);

#endif
