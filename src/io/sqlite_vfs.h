/*
 * SQLite on the file seam: a VFS whose files are those of a `struct fs`, so that simulated disk
 * faults reach every database of the process. Shared memory of the WAL index and the file locks
 * live in the process: the data folder has one owner (its lock file), so no other process can hold
 * the database open.
 */
#ifndef WEIR_IO_SQLITE_VFS_H
#define WEIR_IO_SQLITE_VFS_H

#include <stdint.h>

#include "base/error.h"

struct fs;
struct sqlite_vfs;

/*
 * Registers a VFS of its own name over fs; several may exist (one per simulated node). seed: for
 * SQLite's randomness, so that a simulated run repeats. Shard: init.
 */
MUST_CHECK enum err sqlite_vfs_create(struct fs *fs, uint64_t seed, struct sqlite_vfs **ret_vfs);
/* Unregisters. All databases opened through it must be closed. NULL is allowed. Shard: init. */
void sqlite_vfs_destroy(struct sqlite_vfs *vfs);
struct fs *sqlite_vfs_fs(const struct sqlite_vfs *vfs);
/* The name to give to sqlite3_open_v2. */
const char *sqlite_vfs_name(const struct sqlite_vfs *vfs);

#endif
