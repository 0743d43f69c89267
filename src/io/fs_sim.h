/*
 * The simulator's disk: a file system in memory that forgets, tears and fails from a seed.
 *
 * Each sector of FS_SECTOR bytes has a durable and a current content; fs_sync makes a file's
 * current sectors durable, fs_sync_dir a directory's entries. fs_sim_power_loss lets chance decide
 * about everything else. One thread at a time.
 */
#ifndef WEIR_IO_FS_SIM_H
#define WEIR_IO_FS_SIM_H

#include "io/fs.h"

struct fs_sim_config {
    uint64_t seed;
    uint64_t capacity;        /* bytes of file sizes together; beyond: ENOSPC; 0: unlimited */
    uint32_t short_odds;      /* one in so many transfers moves only a part; 0: never */
    uint32_t read_eio_odds;   /* one in so many reads fails */
    uint32_t write_eio_odds;  /* one in so many writes fails, with a part written */
    uint32_t write_full_odds; /* one in so many writes finds the disk full, with a part written */
    uint32_t sync_eio_odds; /* one in so many syncs fails, and forgets which sectors were dirty, as
                               kernels do */
    bool tear_sectors;      /* a lost sector may also keep some leading new bytes */
};

struct fs *fs_sim_create(const struct fs_sim_config *config);
/* Changes capacity and odds; the seed is ignored. */
void fs_sim_config_set(struct fs *fs, const struct fs_sim_config *config);
/* Where file times come from; NULL: 0. The variable must outlive the file system. */
void fs_sim_clock_set(struct fs *fs, const int64_t *wall_ms);

/* The machine stops: unsynced sectors, sizes and entries are kept, dropped or mixed; handles die
 * (EIO), locks fall; thawed. */
void fs_sim_power_loss(struct fs *fs);
/* The process dies: handles die, locks fall, but what was written stays. */
void fs_sim_process_loss(struct fs *fs);
/* After so many more changing calls every call fails and nothing changes, until a loss is
 * simulated. */
void fs_sim_freeze_after(struct fs *fs, uint64_t calls);
bool fs_sim_frozen(const struct fs *fs);
/* Flips one bit of a file's current and durable content. */
MUST_CHECK enum err fs_sim_bit_flip(struct fs *fs, const char *path, uint64_t bit,
                                    struct err_info *info);

#endif
