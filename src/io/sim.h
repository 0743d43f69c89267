/*
 * The simulated world: hosts with shards, a network between them, and one clock, all driven by one
 * thread from one seed.
 *
 * A host is a machine: its reactors give node code the interface of reactor.h and shard.h. The
 * driver (test/sim) boots node code with direct calls, lets the world run, kills hosts, and checks.
 * Same seed, same calls: same run, to the byte.
 *
 *     world = sim_create(&config);  host = sim_host_create(world, fs);
 *     sim_shards_create(host, &shards_config, &shards, &info);   ... boot code ...
 *     sim_run_until(world, done, arg, limit_us);
 */
#ifndef WEIR_IO_SIM_H
#define WEIR_IO_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/error.h"

struct fs;
struct random;
struct reactor;
struct shards;
struct shards_config;
struct sim;
struct sim_host;

struct sim_config {
    uint64_t seed;
    int64_t wall_ms; /* at the start */
    /* Network: a piece takes delay_min..delay_max; one in cut_odds (0: none) cuts its link. */
    uint64_t delay_min_us;
    uint64_t delay_max_us;
    uint32_t cut_odds;
    uint32_t partial_odds; /* one in so many sends and receives moves only a part */
    uint32_t window;       /* bytes under way and unread per direction; 0: 64 KiB */
    /* Disk work: time until an item has run; one in slow_odds takes a hundred times as long. */
    uint64_t work_min_us;
    uint64_t work_max_us;
    uint32_t slow_odds;
};

/* Sensible values: 20-500 us network, 50-2000 us disk, some partial transfers, no cuts. */
void sim_config_init(struct sim_config *config, uint64_t seed);
struct sim *sim_create(const struct sim_config *config);
/* Frees hosts and reactors too. */
void sim_destroy(struct sim *sim);
/* Changes odds and delays on the way; seed and wall are ignored. */
void sim_config_set(struct sim *sim, const struct sim_config *config);

uint64_t sim_now_us(const struct sim *sim);
/* The wall clock's variable, for fs_sim_clock_set. */
const int64_t *sim_wall_ms(const struct sim *sim);
/* Moves the wall clock, forward or back; the monotonic clock does not see it. */
void sim_wall_shift(struct sim *sim, int64_t ms);
/* A number that two equal runs have in common and unequal ones hardly: over all events so far. */
uint64_t sim_trace(const struct sim *sim);

/* Runs the next event. False: nothing will ever happen. */
bool sim_step(struct sim *sim);
/* Runs until the condition holds (true), or the time has passed or nothing is left (false). */
bool sim_run_until(struct sim *sim, bool (*condition)(void *arg), void *arg, uint64_t limit_us);
void sim_run_for(struct sim *sim, uint64_t us);

/* fs: watched, so that a frozen disk stops the host at once; NULL for a host without disk. */
struct sim_host *sim_host_create(struct sim *sim, struct fs *fs);
/* A reactor outside of any shards, for clients. Lives as long as the world. NULL: out of memory. */
struct reactor *sim_host_reactor(struct sim_host *host);
MUST_CHECK enum err sim_shards_create(struct sim_host *host, const struct shards_config *config,
                                      struct shards **ret_shards, struct err_info *info);
/* All phases of a graceful stop have ended: call shards_destroy. */
bool sim_host_stopped(const struct sim_host *host);
/*
 * The host stops between two events: no callback of it runs again, its connections break. The frame
 * of its shards is freed; what node code allocated stays allocated (run seeds in child processes).
 * Pair it with fs_sim_power_loss or fs_sim_process_loss, then boot a new host.
 */
void sim_host_kill(struct sim_host *host);
/* False after sim_host_kill, and when its disk froze. */
bool sim_host_alive(const struct sim_host *host);
/* Breaks all connections of the host, in both directions. */
void sim_host_cut(struct sim_host *host);

#endif
