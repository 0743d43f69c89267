/*
 * What a file system implements. Calls return 0 or an errno; fs.c turns it into an error with
 * words, loops over short transfers and holds the fault points, so that both implementations meet
 * the same code above.
 */
#ifndef WEIR_IO_FS_INT_H
#define WEIR_IO_FS_INT_H

#include <sys/uio.h>

#include "io/fs.h"

#define FS_IOV_MAX 64

/* Called for each entry in any order; fs.c sorts. False: stop. */
typedef bool (*fs_entry_fn)(void *arg, const char *name, enum fs_kind kind);

struct fs_ops {
    void (*destroy)(struct fs *fs);
    int (*open)(struct fs *fs, const char *path, unsigned flags, struct fs_file **ret_file);
    /* Exclusive lock on the open file; EWOULDBLOCK when held elsewhere. */
    int (*lock)(struct fs_file *file);
    void (*close)(struct fs_file *file);
    /* One call each: *ret_len may be short. pread: 0 bytes is the end of the file. */
    int (*pread)(struct fs_file *file, void *data, size_t len, uint64_t pos, size_t *ret_len);
    int (*pwritev)(struct fs_file *file, const struct iovec *iov, int count, uint64_t pos,
                   size_t *ret_len);
    int (*sync)(struct fs_file *file);
    int (*truncate)(struct fs_file *file, uint64_t size);
    int (*reserve)(struct fs_file *file, uint64_t pos, uint64_t len); /* the size stays */
    int (*size)(struct fs_file *file, uint64_t *ret_size);
    int (*rename)(struct fs *fs, const char *from, const char *to);
    int (*unlink)(struct fs *fs, const char *path);
    int (*mkdir)(struct fs *fs, const char *path); /* EEXIST for a directory too */
    int (*rmdir)(struct fs *fs, const char *path);
    int (*sync_dir)(struct fs *fs, const char *path);
    int (*stat)(struct fs *fs, const char *path, struct fs_stat *ret_stat);
    int (*list)(struct fs *fs, const char *path, fs_entry_fn each, void *arg);
    int (*space)(struct fs *fs, const char *path, uint64_t *ret_free);
};

struct fs {
    const struct fs_ops *ops;
};

/* First member of an implementation's handle. path is owned by fs.c. */
struct fs_file {
    struct fs *fs;
    char *path;
};

#endif
