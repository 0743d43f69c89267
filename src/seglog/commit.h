/*
 * The store of a process and the group commit of each shard.
 *
 * `struct seglog_store` is made once at boot: it holds the file seam, the data folder and the
 * journals left by the last run. `struct commit` is made once per shard: it gathers the appends of
 * all logs of the shard into rounds, writes and syncs each round on a disk worker, and owns the
 * shard's tail cache and journal.
 */
#ifndef WEIR_SEGLOG_COMMIT_H
#define WEIR_SEGLOG_COMMIT_H

#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/error.h"
#include "seglog/types.h"

struct fs;
struct reactor;
struct seglog_store;
struct commit;

/*
 * Opens the store under root (made when missing): reads the boot counter, makes it one larger
 * durably, and indexes the journals of the last run. Blocking. Shard: init. The caller holds the
 * lock of the data folder.
 */
MUST_CHECK enum err seglog_store_open(struct fs *fs, const char *root,
                                      struct seglog_store **ret_store, struct err_info *info);
/* After every log that the catalogue knows was opened (or failed to): the journals of earlier runs
 * are removed, but for those that hold something of a log that failed. Blocking; call from a worker
 * or before shards run. Any thread, once. */
void seglog_store_recovered(struct seglog_store *store);
/* After all commits are destroyed. Shard: init. */
void seglog_store_close(struct seglog_store *store);
/* The epoch that logs opened in this run stamp: the count of starts before this one. Any thread. */
struct leader_epoch seglog_store_epoch(const struct seglog_store *store);
/* The folder of segment logs: "<root>/topics". Any thread. */
const char *seglog_store_folder(const struct seglog_store *store);

struct commit_config {
    uint32_t shard_index;
    size_t tail_bytes_max; /* memory for recent batches of this shard; 0: 16 MiB */
    size_t
        pending_bytes_max; /* appended but not written; beyond it appends are ERR_BUSY; 0: 64 MiB */
    size_t cold_bytes_max; /* buffers of reads from disk under way; more wait; 0: 64 MiB */
    uint64_t journal_bytes;    /* size of one journal file, there are two; 0: 32 MiB */
    uint32_t direct_files_max; /* a round with at most so many files to sync syncs them directly; 0:
                                  measured default */
    uint64_t direct_bytes_min; /* a log with more unsynced bytes is synced directly; 0: measured
                                  default */
};

struct commit_stats {
    uint64_t rounds;
    uint64_t batches;
    uint64_t bytes;
    uint64_t segment_syncs;
    uint64_t journal_syncs;
    uint64_t journal_bytes;
    uint64_t tail_bytes;    /* now held */
    uint64_t pending_bytes; /* now waiting */
    uint64_t failures;
};

/* Shard: owner of reactor. The journal's file is made by the first round that needs it. */
MUST_CHECK enum err commit_create(struct seglog_store *store, struct reactor *reactor,
                                  const struct commit_config *config, struct commit **ret_commit);
/* All logs must be closed and no round in flight (commit_idle). Shard: owner. */
void commit_destroy(struct commit *commit);
/* No round in flight and nothing waiting. Shard: owner. */
bool commit_idle(const struct commit *commit);
void commit_stats_get(const struct commit *commit, struct commit_stats *ret_stats);

#endif
