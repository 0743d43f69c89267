/* What reaches partitions while their logs are being opened: new configuration, deletion, the stop. Under virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/sim_rig.h"
#include "seglog/batch.h"

enum { PARTITIONS = 60 };

static struct sim_rig rig;
static struct uuid topic_id;

/* The node without waiting: its logs open while the test goes on. */
static void boot_start(void)
{
    struct err_info info = {0};
    struct shards_config config = {.count = 2, .fs = rig.fs};
    rig.shard_count = 2;
    rig.host = sim_host_create(rig.sim, rig.fs);
    assert_int_equal(sim_shards_create(rig.host, &config, &rig.shards, &info), ERR_OK);
    assert_int_equal(broker_open(rig.shards, &rig.broker_config, &rig.broker, &info), ERR_OK);
    assert_int_equal(groups_open(rig.shards, rig.broker, &rig.groups_config, &rig.groups, &info),
                     ERR_OK);
    assert_false(broker_ready(rig.broker));
}

static int setup(void **state)
{
    (void)state;
    struct broker_topic_op op = {
        .action = BROKER_TOPIC_CREATE, .name = SLICE_LIT("t"), .partition_count = PARTITIONS};
    sim_rig_init(&rig, 3);
    sim_rig_boot(&rig, 2);
    assert_int_equal(sim_topic(&rig, &op), ERR_OK);
    topic_id = op.id;
    sim_rig_stop(&rig);
    boot_start();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (rig.shards)
        sim_rig_stop(&rig);
    sim_rig_deinit(&rig);
    return 0;
}

struct append_call {
    struct broker_append op;
    bool done;
};

static void append_done(struct broker_append *op)
{
    CONTAINER_OF(op, struct append_call, op)->done = true;
}

static void append_run(struct shard *shard, void *arg)
{
    struct append_call *call = arg;
    call->op.done = append_done;
    broker_append(broker_shard_of(rig.broker, shard), &call->op);
}

static bool ready(void *arg)
{
    (void)arg;
    return broker_ready(rig.broker);
}

static void new_configuration(void **state)
{
    (void)state;
    struct topic_override override = {TOPIC_TIMESTAMP_TYPE, "LogAppendTime"};
    struct broker_topic_op op = {.action = BROKER_TOPIC_CONFIG,
                                 .name = SLICE_LIT("t"),
                                 .overrides = &override,
                                 .override_count = 1};
    assert_int_equal(sim_topic(&rig, &op), ERR_OK);
    assert_false(broker_ready(rig.broker)); /* else this tests nothing */
    assert_true(sim_run_until(rig.sim, ready, NULL, 60000000));
    for (int32_t i = 0; i < PARTITIONS; i++) {
        struct append_call call = {.op = {.topic_id = topic_id, .partition = i, .acks = -1}};
        struct batch_builder builder;
        struct batch_build_record record = {.timestamp_ms = 5, .value = SLICE_LIT("v")};
        batch_builder_init(&builder, 1 << 16);
        assert_int_equal(batch_builder_add(&builder, &record), ERR_OK);
        batch_builder_finish(&builder, &call.op.batch);
        sim_rig_call(&rig, 1, append_run, &call);
        sim_rig_until(&rig, &call.done);
        assert_int_equal(call.op.err, ERR_OK);
        assert_true(call.op.log_append_time_ms > 5);
    }
}

static struct broker_topic_op deletion;

static void deletion_done(struct broker_topic_op *op)
{
    (void)op;
}

static void deletion_submit(struct shard *shard, void *arg)
{
    (void)arg;
    deletion = (struct broker_topic_op){
        .action = BROKER_TOPIC_DELETE, .name = SLICE_LIT("t"), .done = deletion_done};
    broker_topic_submit(broker_shard_of(rig.broker, shard), &deletion);
}

/* Deleted while they open, and then the stop: it ends, at whichever moment it comes. */
static void deletion_and_stop(void **state)
{
    for (uint64_t delay_us = 0; delay_us < 20000; delay_us += 1000) {
        sim_rig_call(&rig, 0, deletion_submit, NULL);
        sim_run_for(rig.sim, delay_us);
        uint64_t from_us = sim_now_us(rig.sim);
        sim_rig_stop(&rig);
        assert_true(sim_now_us(rig.sim) - from_us < 5000000); /* no phase was given up */
        sim_rig_deinit(&rig);
        setup(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(new_configuration, setup, teardown),
        cmocka_unit_test_setup_teardown(deletion_and_stop, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A change of topics that the stop cuts off leaves its memory behind. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
