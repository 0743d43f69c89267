/* See sim_rig.h. */
#include "sim_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/reactor.h"

void sim_rig_init(struct sim_rig *rig, uint64_t seed)
{
    struct sim_config config;
    struct fs_sim_config disk = {.seed = seed};
    memset(rig, 0, sizeof(*rig));
    sim_config_init(&config, seed);
    config.wall_ms = 1700000000000;
    rig->sim = sim_create(&config);
    rig->fs = fs_sim_create(&disk);
    if (!rig->sim || !rig->fs)
        abort();
    fs_sim_clock_set(rig->fs, sim_wall_ms(rig->sim));
    rig->broker_config.dir = "/data";
    rig->broker_config.auto_create = true;
}

static bool sim_rig_ready(void *arg)
{
    struct sim_rig *rig = arg;
    return broker_ready(rig->broker) && groups_ready(rig->groups);
}

void sim_rig_boot(struct sim_rig *rig, unsigned shards)
{
    struct err_info info = {0};
    struct shards_config config = {.count = shards, .fs = rig->fs};
    rig->shard_count = shards;
    rig->host = sim_host_create(rig->sim, rig->fs);
    if (sim_shards_create(rig->host, &config, &rig->shards, &info) ||
        broker_open(rig->shards, &rig->broker_config, &rig->broker, &info) ||
        groups_open(rig->shards, rig->broker, &rig->groups_config, &rig->groups, &info)) {
        fprintf(stderr, "boot: %s\n", info.text);
        abort();
    }
    if (!sim_run_until(rig->sim, sim_rig_ready, rig, 60000000)) {
        fprintf(stderr, "boot: not ready\n");
        abort();
    }
}

static bool sim_rig_stopped(void *arg)
{
    return sim_host_stopped(((struct sim_rig *)arg)->host);
}

void sim_rig_stop(struct sim_rig *rig)
{
    shards_stop(rig->shards);
    if (!sim_run_until(rig->sim, sim_rig_stopped, rig, 600000000)) {
        fprintf(stderr, "the stop never ends\n");
        abort();
    }
    groups_close(rig->groups);
    broker_close(rig->broker);
    shards_destroy(rig->shards);
    rig->shards = NULL;
}

void sim_rig_deinit(struct sim_rig *rig)
{
    sim_destroy(rig->sim);
    fs_destroy(rig->fs);
}

static bool sim_rig_flag(void *arg)
{
    return *(const bool *)arg;
}

void sim_rig_until(struct sim_rig *rig, const bool *flag)
{
    if (!sim_run_until(rig->sim, sim_rig_flag, (void *)flag, 600000000)) {
        fprintf(stderr, "no answer after 10 minutes\n");
        abort();
    }
}

struct sim_call {
    struct post post;
    struct shard *shard;
    void (*fn)(struct shard *shard, void *arg);
    void *arg;
    bool done;
};

static void sim_call_run(struct post *post)
{
    struct sim_call *call = CONTAINER_OF(post, struct sim_call, post);
    call->fn(call->shard, call->arg);
    call->done = true;
}

void sim_rig_call(struct sim_rig *rig, unsigned shard, void (*fn)(struct shard *shard, void *arg),
                  void *arg)
{
    struct sim_call call = {.shard = shards_get(rig->shards, shard), .fn = fn, .arg = arg};
    reactor_post(call.shard->reactor, &call.post, sim_call_run);
    sim_rig_until(rig, &call.done);
}

static void sim_group_done(struct group_op *op)
{
    struct sim_group_call *call = CONTAINER_OF(op, struct sim_group_call, op);
    if (call->done)
        abort(); /* answered twice */
    call->done = true;
    call->done_us = sim_now_us(call->rig->sim);
}

static void sim_group_submit(struct shard *shard, void *arg)
{
    struct sim_group_call *call = arg;
    group_submit(groups_shard_of(call->rig->groups, shard), &call->op);
}

void sim_group_start(struct sim_rig *rig, unsigned shard, struct sim_group_call *call)
{
    call->rig = rig;
    call->done = false;
    call->op.done = sim_group_done;
    sim_rig_call(rig, shard, sim_group_submit, call);
}

enum err sim_group_wait(struct sim_group_call *call)
{
    sim_rig_until(call->rig, &call->done);
    return call->op.err;
}

enum err sim_group_run(struct sim_rig *rig, unsigned shard, struct sim_group_call *call)
{
    sim_group_start(rig, shard, call);
    return sim_group_wait(call);
}

struct sim_topic_call {
    struct sim_rig *rig;
    struct broker_topic_op *op;
    bool done;
};

static struct sim_topic_call sim_topic_now;

static void sim_topic_done(struct broker_topic_op *op)
{
    (void)op;
    sim_topic_now.done = true;
}

static void sim_topic_submit(struct shard *shard, void *arg)
{
    struct sim_topic_call *call = arg;
    broker_topic_submit(broker_shard_of(call->rig->broker, shard), call->op);
}

enum err sim_topic(struct sim_rig *rig, struct broker_topic_op *op)
{
    sim_topic_now = (struct sim_topic_call){.rig = rig, .op = op};
    op->done = sim_topic_done;
    sim_rig_call(rig, 0, sim_topic_submit, &sim_topic_now);
    sim_rig_until(rig, &sim_topic_now.done);
    return op->err;
}
