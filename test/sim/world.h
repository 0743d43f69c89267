/*
 * One simulated life of a node: boot, load, loss, boot again ..., and a last look at everything.
 *
 * A scenario supplies what runs on the node and checks it. The world supplies the machine, the chance and the order of events.
 */
#ifndef WEIR_TEST_SIM_WORLD_H
#define WEIR_TEST_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/random.h"
#include "io/fs.h"
#include "io/fs_sim.h"
#include "io/reactor.h"
#include "io/shard.h"
#include "io/sim.h"

#define WORLD_DIR "/data"

struct broker_config;
struct scenario;

struct world {
    const struct scenario *scenario;
    uint64_t seed;
    bool verbose;
    struct random random; /* for the driver and the load; the machine has its own */
    struct sim *sim;
    struct fs *fs;
    struct sim_host *host;
    struct shards *shards;
    unsigned shard_count;
    unsigned life;    /* boots so far */
    bool running;     /* load may go on */
    uint64_t acked;   /* operations acknowledged, over all lives */
    uint64_t refused; /* operations that failed with an error */
    uint64_t checked; /* items compared */
    uint64_t boots_failed;
    void *state; /* the scenario's model: outlives the node */
};

struct scenario {
    const char *name;
    /* Makes the model. */
    void (*init)(struct world *world);
    /* Opens the node's parts over world->shards. Faults may be on: any error is fine then. */
    enum err (*boot)(struct world *world, struct err_info *info);
    /* True when the node serves. */
    bool (*ready)(struct world *world);
    /* Starts the checker's reads; faults are off. checked() turns true when they are through. A breach calls world_breach. */
    void (*check)(struct world *world);
    bool (*check_done)(struct world *world);
    /* Starts the load: it goes on by itself until world->running is false. */
    void (*load)(struct world *world);
    /* No operation is outstanding. */
    bool (*idle)(struct world *world);
    /* The node died: outstanding operations have an unknown outcome; node pointers are dead. */
    void (*lost)(struct world *world, bool power);
    /* After a graceful stop. */
    void (*close)(struct world *world);
    /* After a last load on a sound disk: breaches when somebody never got through. May be NULL. */
    void (*settled)(struct world *world);
};

extern const struct scenario scenario_blob;
extern const struct scenario scenario_http;
extern const struct scenario scenario_log;
extern const struct scenario scenario_kafka;
extern const struct scenario scenario_group;
extern const struct scenario scenario_job;
extern const struct scenario scenario_amqp;

/* Runs the whole life of a seed. Returns when all held, with a number that tells runs apart; a breach ends the process with status 1. */
uint64_t world_run(const struct scenario *scenario, uint64_t seed, bool verbose);
/* Prints what was broken, with the seed, and exits. */
_Noreturn void world_breach(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void world_say(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Two seeds of three make rounds durable through journals, some of them small enough to turn over often. The seed alone
 * decides, so that a node that starts again has what it had. */
void world_journal(const struct world *world, struct broker_config *config);
struct shard *world_shard(struct world *world, unsigned index);
/* Runs fn on the shard soon. */
void world_post(struct world *world, unsigned shard, struct post *post,
                void (*fn)(struct post *post));
/* Fills data with bytes that only this identity has. */
void world_fill(uint64_t identity, uint8_t *data, size_t len);

#endif
