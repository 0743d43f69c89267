/*
 * Lives of a simulated node. Everything is drawn from the seed: how many shards, which faults at which odds, when and how each life ends.
 *
 *     life:  boot -> check all that was acknowledged -> load under faults -> end: power loss at some disk call, power loss at some moment,
 *            loss of the process only, or a graceful stop
 */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/broker.h"

#define WORLD_BOOT_LIMIT_US 60000000u
#define WORLD_CHECK_LIMIT_US 120000000u
#define WORLD_STOP_LIMIT_US 120000000u
#define WORLD_SETTLE_US 300000u
#define WORLD_FAULTY_BOOTS_MAX 4

enum ending { END_FREEZE, END_POWER, END_PROCESS, END_GRACEFUL, END_COUNT };

static const char *const ending_names[END_COUNT] = {"power loss at a disk call", "power loss",
                                                    "process loss", "graceful stop"};

void world_say(struct world *world, const char *format, ...)
{
    if (!world->verbose)
        return;
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%10.3f ms  life %u  ", (double)sim_now_us(world->sim) / 1000, world->life);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

void world_breach(struct world *world, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "breach: scenario %s, seed %llu, life %u, at %.3f ms: ", world->scenario->name,
            (unsigned long long)world->seed, world->life, (double)sim_now_us(world->sim) / 1000);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    _exit(1);
}

void world_journal(const struct world *world, struct broker_config *config)
{
    if (world->seed % 3 == 0)
        return;
    config->direct_files_max = 1;
    config->journal_bytes = (uint64_t)(16 << (world->seed % 7)) << 10;
}

struct shard *world_shard(struct world *world, unsigned index)
{
    return shards_get(world->shards, index);
}

void world_post(struct world *world, unsigned shard, struct post *post,
                void (*fn)(struct post *post))
{
    reactor_post(world_shard(world, shard)->reactor, post, fn);
}

void world_fill(uint64_t identity, uint8_t *data, size_t len)
{
    struct random random;
    random_init(&random, identity * 0x9e3779b97f4a7c15u + 1);
    random_fill(&random, data, (uint32_t)len);
}

static void world_faults_set(struct world *world, bool on)
{
    struct fs_sim_config config = {.short_odds = 16};
    if (on) {
        struct random *random = &world->random;
        static const uint32_t odds[] = {0, 0, 20, 100, 500, 2000};
        config.write_eio_odds = odds[random_below(random, 6)];
        config.write_full_odds = odds[random_below(random, 6)];
        config.sync_eio_odds = odds[random_below(random, 6)];
        config.read_eio_odds = odds[random_below(random, 6)];
    }
    config.tear_sectors = random_one_in(&world->random, 2);
    fs_sim_config_set(world->fs, &config);
}

/* Makes host and shards and boots the node on them. */
static bool world_boot_once(struct world *world)
{
    struct err_info info = {0};
    world->host = sim_host_create(world->sim, world->fs);
    struct shards_config config = {.count = world->shard_count, .fs = world->fs};
    if (sim_shards_create(world->host, &config, &world->shards, &info) != ERR_OK)
        world_breach(world, "shards: %s", info.text);
    enum err err = world->scenario->boot(world, &info);
    if (err != ERR_OK)
        world_say(world, "boot refused: %s", info.text);
    return err == ERR_OK;
}

static bool world_ready(void *arg)
{
    struct world *world = arg;
    return !sim_host_alive(world->host) || world->scenario->ready(world);
}

static void world_lose(struct world *world, bool power)
{
    world->running = false;
    sim_host_kill(world->host);
    world->scenario->lost(world, power);
    if (power)
        fs_sim_power_loss(world->fs);
    else
        fs_sim_process_loss(world->fs);
    world->shards = NULL;
}

/* Boots, at first perhaps under faults and with the power failing on the way; without faults it has to stand. */
static void world_boot(struct world *world)
{
    world->life++;
    unsigned faulty = (unsigned)random_below(&world->random, WORLD_FAULTY_BOOTS_MAX);
    for (unsigned attempt = 0;; attempt++) {
        bool faults = attempt < faulty;
        world_faults_set(world, faults);
        if (faults)
            fs_sim_freeze_after(world->fs, random_below(&world->random, 400));
        bool booted = world_boot_once(world);
        if (booted)
            sim_run_until(world->sim, world_ready, world, WORLD_BOOT_LIMIT_US);
        bool stands = booted && sim_host_alive(world->host) && world->scenario->ready(world) &&
                      !fs_sim_frozen(world->fs);
        if (stands && !faults) {
            fs_sim_freeze_after(world->fs, UINT64_MAX);
            return;
        }
        if (!faults)
            world_breach(world, "the node does not start on a sound disk");
        world->boots_failed++;
        world_lose(world, random_one_in(&world->random, 2));
    }
}

static bool world_check_done(void *arg)
{
    struct world *world = arg;
    return world->scenario->check_done(world);
}

static void world_check(struct world *world)
{
    world_faults_set(world, false);
    world->scenario->check(world);
    if (!sim_run_until(world->sim, world_check_done, world, WORLD_CHECK_LIMIT_US))
        world_breach(world, "the check's reads never end");
}

static bool world_dead(void *arg)
{
    return !sim_host_alive(((struct world *)arg)->host);
}

static bool world_stopped(void *arg)
{
    struct world *world = arg;
    return sim_host_stopped(world->host);
}

static bool world_idle(void *arg)
{
    struct world *world = arg;
    return world->scenario->idle(world);
}

static void world_stop(struct world *world)
{
    world->running = false;
    world_faults_set(world, false);
    if (!sim_run_until(world->sim, world_idle, world, WORLD_STOP_LIMIT_US))
        world_breach(world, "operations never end");
    shards_stop(world->shards);
    if (!sim_run_until(world->sim, world_stopped, world, WORLD_STOP_LIMIT_US))
        world_breach(world, "the graceful stop never ends");
    world->scenario->close(world);
    shards_destroy(world->shards);
    world->shards = NULL;
}

static void world_live(struct world *world)
{
    enum ending ending = (enum ending)random_below(&world->random, END_COUNT);
    bool faults = random_one_in(&world->random, 2);
    world_faults_set(world, faults);
    if (ending == END_FREEZE)
        fs_sim_freeze_after(world->fs, random_below(&world->random, 3000));
    world->running = true;
    world->scenario->load(world);
    uint64_t span = 1000 + random_below(&world->random, 1000) * random_below(&world->random, 3000);
    sim_run_until(world->sim, world_dead, world, span);
    if (random_one_in(&world->random, 3))
        sim_wall_shift(world->sim, (int64_t)random_below(&world->random, 7200000) - 3600000);
    world_say(world, "%s, faults %s, %llu acknowledged so far", ending_names[ending],
              faults ? "on" : "off", (unsigned long long)world->acked);
    if (ending == END_GRACEFUL && sim_host_alive(world->host))
        world_stop(world);
    else
        world_lose(world, ending != END_PROCESS);
}

/* A last load on a sound disk: everybody must get through. */
static void world_settle(struct world *world)
{
    world->running = true;
    world->scenario->load(world);
    sim_run_for(world->sim, WORLD_SETTLE_US);
    world->running = false;
    if (!sim_run_until(world->sim, world_idle, world, WORLD_STOP_LIMIT_US))
        world_breach(world, "operations never end");
    if (world->scenario->settled)
        world->scenario->settled(world);
}

uint64_t world_run(const struct scenario *scenario, uint64_t seed, bool verbose)
{
    struct world world = {.scenario = scenario, .seed = seed, .verbose = verbose};
    random_init(&world.random, seed);
    struct sim_config config;
    sim_config_init(&config, random_u64(&world.random));
    world.sim = sim_create(&config);
    struct fs_sim_config disk = {.seed = random_u64(&world.random)};
    world.fs = fs_sim_create(&disk);
    if (!world.sim || !world.fs)
        world_breach(&world, "out of memory");
    fs_sim_clock_set(world.fs, sim_wall_ms(world.sim));
    world.shard_count = 1 + (unsigned)random_below(&world.random, 3);
    scenario->init(&world);
    unsigned lives = 2 + (unsigned)random_below(&world.random, 5);
    for (unsigned i = 0; i < lives; i++) {
        world_boot(&world);
        world_check(&world);
        world_live(&world);
    }
    world_boot(&world);
    world_check(&world);
    world_settle(&world);
    world_check(&world);
    world_stop(&world);
    if (verbose)
        fprintf(stderr,
                "seed %llu: %u lives, %llu failed boots, %llu acknowledged, %llu refused, %llu "
                "checked, trace %016llx\n",
                (unsigned long long)seed, world.life, (unsigned long long)world.boots_failed,
                (unsigned long long)world.acked, (unsigned long long)world.refused,
                (unsigned long long)world.checked, (unsigned long long)sim_trace(world.sim));
    return sim_trace(world.sim) + world.acked;
}
