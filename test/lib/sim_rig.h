/* A broker with its groups in the simulated world: one thread, virtual time, calls that run the world until the answer. */
#ifndef WEIR_TEST_SIM_RIG_H
#define WEIR_TEST_SIM_RIG_H

#include "broker/broker.h"
#include "group/group.h"
#include "io/fs_sim.h"
#include "io/sim.h"

struct sim_rig {
    struct sim *sim;
    struct fs *fs;
    struct sim_host *host;
    struct shards *shards;
    unsigned shard_count;
    struct broker *broker;
    struct groups *groups;
    struct broker_config broker_config;
    struct groups_config groups_config;
};

void sim_rig_init(struct sim_rig *rig, uint64_t seed);
/* Boots and runs until broker and groups are ready. */
void sim_rig_boot(struct sim_rig *rig, unsigned shards);
void sim_rig_stop(struct sim_rig *rig);
void sim_rig_deinit(struct sim_rig *rig);

/* Runs fn(shard, arg) on the shard, and the world until it has. */
void sim_rig_call(struct sim_rig *rig, unsigned shard, void (*fn)(struct shard *shard, void *arg),
                  void *arg);
/* Runs the world until *flag, at most 10 virtual minutes; aborts then. */
void sim_rig_until(struct sim_rig *rig, const bool *flag);

/* A group request with its event. */
struct sim_group_call {
    struct group_op op;
    struct sim_rig *rig;
    bool done;
    uint64_t done_us;
};
void sim_group_start(struct sim_rig *rig, unsigned shard, struct sim_group_call *call);
enum err sim_group_wait(struct sim_group_call *call);
enum err sim_group_run(struct sim_rig *rig, unsigned shard, struct sim_group_call *call);

enum err sim_topic(struct sim_rig *rig, struct broker_topic_op *op);

#endif
