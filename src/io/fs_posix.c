/*
 * Role: the file seam on POSIX: one descriptor per handle, plain system calls.
 *
 * State: struct posix_file is a handle with its descriptor. The file system itself has no state.
 *
 * Invariants
 * (1) Descriptors are close-on-exec and at least 3.
 * (2) A lock is an advisory whole-file lock of the open description: it excludes other handles of
 *     this process too, and the kernel drops it when the process dies in any way.
 *
 * Ownership and shard: workers, boot, SQLite's VFS. A handle's pread is safe beside other calls.
 *
 * Failure modes: every errno goes up unchanged; close errors are ignored, since only sync promises
 * durability.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "io/fs_int.h"

struct posix_file {
    struct fs_file base;
    int fd;
};

static const struct fs_ops posix_ops;

static struct posix_file *posix_of(struct fs_file *file)
{
    struct posix_file *posix = (struct posix_file *)file;
    ASSERT(posix->fd > 2);
    return posix;
}

static void posix_destroy(struct fs *fs)
{
    ASSERT(fs->ops == &posix_ops);
    free(fs);
}

/*
 * Moves a descriptor out of the range of the standard streams: where one of them was closed by the
 * caller of the program, a stray printf would otherwise end up in a segment.
 */
static int posix_fd_lift(int fd)
{
    if (fd < 0 || fd > 2)
        return fd;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    int saved = errno;
    close(fd);
    errno = saved;
    return high;
}

/* Mode 0640: data belongs to the server's user, its group may take backups, nobody else reads events. */
static int posix_open(struct fs *fs, const char *path, unsigned flags, struct fs_file **ret_file)
{
    ASSERT(flags & (FS_READ | FS_WRITE));
    int mode = (flags & FS_WRITE) ? ((flags & FS_READ) ? O_RDWR : O_WRONLY) : O_RDONLY;
    mode |= (flags & FS_CREATE) ? O_CREAT : 0;
    mode |= (flags & FS_EXCLUSIVE) ? O_EXCL : 0;
    mode |= (flags & FS_TRUNCATE) ? O_TRUNC : 0;
    struct posix_file *file = calloc(1, sizeof(*file));
    if (!file)
        return ENOMEM;
    int fd;
    do {
        fd = posix_fd_lift(open(path, mode | O_CLOEXEC, 0640));
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        int rc = errno;
        free(file);
        return rc;
    }
    ASSERT(fd > 2);
    file->fd = fd;
    *ret_file = &file->base;
    return 0;
}

/*
 * flock and not fcntl: it belongs to the open description, so that it excludes a second handle of
 * this process as well, and closing another descriptor of the file does not drop it.
 */
static int posix_lock(struct fs_file *file)
{
    return flock(posix_of(file)->fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
}

static void posix_close(struct fs_file *file)
{
    struct posix_file *posix = posix_of(file);
    close(posix->fd);
    free(posix);
}

static int posix_pread(struct fs_file *file, void *data, size_t len, uint64_t pos, size_t *ret_len)
{
    ssize_t n = pread(posix_of(file)->fd, data, len, (off_t)pos);
    if (n < 0)
        return errno;
    ASSERT((size_t)n <= len);
    *ret_len = (size_t)n;
    return 0;
}

static int posix_pwritev(struct fs_file *file, const struct iovec *iov, int count, uint64_t pos,
                         size_t *ret_len)
{
    ASSERT(count > 0 && count <= FS_IOV_MAX);
    ssize_t n = pwritev(posix_of(file)->fd, iov, count, (off_t)pos);
    if (n < 0)
        return errno;
    *ret_len = (size_t)n;
    return 0;
}

/*
 * fdatasync also writes the size where it is needed to read the data back; times are not worth a
 * second write of the inode.
 */
static int posix_sync(struct fs_file *file)
{
    return fdatasync(posix_of(file)->fd) == 0 ? 0 : errno;
}

static int posix_truncate(struct fs_file *file, uint64_t size)
{
    return ftruncate(posix_of(file)->fd, (off_t)size) == 0 ? 0 : errno;
}

static int posix_reserve(struct fs_file *file, uint64_t pos, uint64_t len)
{
    int rc = fallocate(posix_of(file)->fd, FALLOC_FL_KEEP_SIZE, (off_t)pos, (off_t)len);
    return rc == 0 ? 0 : errno;
}

static int posix_size(struct fs_file *file, uint64_t *ret_size)
{
    struct stat st;
    if (fstat(posix_of(file)->fd, &st) != 0)
        return errno;
    ASSERT(st.st_size >= 0);
    *ret_size = (uint64_t)st.st_size;
    return 0;
}

static int posix_rename(struct fs *fs, const char *from, const char *to)
{
    return rename(from, to) == 0 ? 0 : errno;
}

static int posix_unlink(struct fs *fs, const char *path)
{
    return unlink(path) == 0 ? 0 : errno;
}

static int posix_mkdir(struct fs *fs, const char *path)
{
    return mkdir(path, 0750) == 0 ? 0 : errno;
}

static int posix_rmdir(struct fs *fs, const char *path)
{
    return rmdir(path) == 0 ? 0 : errno;
}

/* A name is durable when its directory was synced, whatever happened to the file itself. */
static int posix_sync_dir(struct fs *fs, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int rc = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return rc;
}

static enum fs_kind posix_kind(mode_t mode)
{
    return S_ISREG(mode) ? FS_KIND_FILE : S_ISDIR(mode) ? FS_KIND_DIR : FS_KIND_OTHER;
}

static int posix_stat(struct fs *fs, const char *path, struct fs_stat *ret_stat)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return errno;
    ret_stat->kind = posix_kind(st.st_mode);
    ret_stat->size = (uint64_t)st.st_size;
    ret_stat->mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    return 0;
}

/*
 * Kinds come from fstatat and not from d_type, which not all file systems fill. Links are not
 * followed: removing a tree must not leave it.
 */
static int posix_list(struct fs *fs, const char *path, fs_entry_fn each, void *arg)
{
    ASSERT(each);
    DIR *dir = opendir(path);
    if (!dir)
        return errno;
    int rc = 0;
    for (;;) {
        errno = 0; /* the only way to tell an error from the end */
        struct dirent *entry = readdir(dir);
        if (!entry) {
            rc = errno;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        struct stat st;
        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            if (errno == ENOENT)
                continue; /* removed since readdir saw it */
            rc = errno;
            break;
        }
        if (!each(arg, entry->d_name, posix_kind(st.st_mode)))
            break;
    }
    closedir(dir);
    return rc;
}

static int posix_space(struct fs *fs, const char *path, uint64_t *ret_free)
{
    struct statvfs st;
    if (statvfs(path, &st) != 0)
        return errno;
    /* f_bavail: what is reserved for the superuser is no room for us. */
    *ret_free = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

static const struct fs_ops posix_ops = {
    .destroy = posix_destroy,
    .open = posix_open,
    .lock = posix_lock,
    .close = posix_close,
    .pread = posix_pread,
    .pwritev = posix_pwritev,
    .sync = posix_sync,
    .truncate = posix_truncate,
    .reserve = posix_reserve,
    .size = posix_size,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .mkdir = posix_mkdir,
    .rmdir = posix_rmdir,
    .sync_dir = posix_sync_dir,
    .stat = posix_stat,
    .list = posix_list,
    .space = posix_space,
};

struct fs *fs_posix_create(void)
{
    struct fs *fs = calloc(1, sizeof(*fs));
    if (fs)
        fs->ops = &posix_ops;
    return fs;
}
