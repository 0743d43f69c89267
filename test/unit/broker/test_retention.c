/* Retention through the broker under virtual time: by age, by size, changed while running. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/sim_rig.h"
#include "seglog/batch.h"

static struct sim_rig rig;

static int setup(void **state)
{
    sim_rig_init(&rig, 21);
    sim_rig_boot(&rig, 2);
    return 0;
}

static int teardown(void **state)
{
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

static void append(struct uuid id, size_t size)
{
    static char value[100000];
    struct append_call call = {.op = {.topic_id = id, .acks = -1}};
    struct batch_builder builder;
    struct batch_build_record record = {.timestamp_ms = *sim_wall_ms(rig.sim),
                                        .value = slice_make(value, size)};
    batch_builder_init(&builder, 1 << 20);
    assert_int_equal(batch_builder_add(&builder, &record), ERR_OK);
    batch_builder_finish(&builder, &call.op.batch);
    sim_rig_call(&rig, 1, append_run, &call);
    sim_rig_until(&rig, &call.done);
    assert_int_equal(call.op.err, ERR_OK);
}

struct bounds_call {
    struct broker_offset_op op;
    bool done;
};

static void bounds_done(struct broker_offset_op *op)
{
    CONTAINER_OF(op, struct bounds_call, op)->done = true;
}

static void bounds_run(struct shard *shard, void *arg)
{
    struct bounds_call *call = arg;
    call->op.done = bounds_done;
    broker_offset(broker_shard_of(rig.broker, shard), &call->op);
}

static int64_t log_start(struct uuid id)
{
    struct bounds_call call = {
        .op = {.topic_id = id, .query = BROKER_OFFSET_STATE, .current_epoch = -1}};
    sim_rig_call(&rig, 0, bounds_run, &call);
    sim_rig_until(&rig, &call.done);
    assert_int_equal(call.op.err, ERR_OK);
    return call.op.log_start_offset;
}

static struct uuid topic(enum broker_topic_action action, const struct topic_override *overrides,
                         uint32_t count)
{
    struct broker_topic_op op = {.action = action,
                                 .name = SLICE_LIT("t"),
                                 .partition_count = 1,
                                 .overrides = overrides,
                                 .override_count = count};
    assert_int_equal(sim_topic(&rig, &op), ERR_OK);
    return op.id;
}

static void test_by_age(void **state)
{
    struct topic_override overrides[] = {{TOPIC_RETENTION_MS, "3600000"}};
    struct uuid id = topic(BROKER_TOPIC_CREATE, overrides, 1);
    for (int i = 0; i < 10; i++)
        append(id, 100);
    sim_run_for(rig.sim, 1800ull * 1000000);
    assert_int_equal(log_start(id), 0);
    sim_run_for(rig.sim, 2400ull * 1000000);
    assert_int_equal(log_start(id), 10); /* the active segment goes too when it is old enough */
    append(id, 100);
    sim_run_for(rig.sim, 600ull * 1000000);
    assert_int_equal(log_start(id), 10);
}

static void test_by_size(void **state)
{
    struct topic_override overrides[] = {{TOPIC_RETENTION_BYTES, "1000000"},
                                         {TOPIC_SEGMENT_BYTES, "200000"}};
    struct uuid id = topic(BROKER_TOPIC_CREATE, overrides, 2);
    for (int i = 0; i < 40; i++)
        append(id, 50000);
    sim_run_for(rig.sim, 400ull * 1000000);
    int64_t start = log_start(id);
    assert_true(start >= 15 && start <= 22); /* some 20 batches of 50 kB are a million bytes */
}

static void test_changed_while_running(void **state)
{
    struct topic_override none[] = {{TOPIC_RETENTION_MS, "-1"}};
    struct topic_override hour[] = {{TOPIC_RETENTION_MS, "3600000"}};
    struct uuid id = topic(BROKER_TOPIC_CREATE, none, 1);
    append(id, 100);
    sim_run_for(rig.sim, 30ull * 24 * 3600 * 1000000);
    assert_int_equal(log_start(id), 0);
    topic(BROKER_TOPIC_CONFIG, hour, 1);
    sim_run_for(rig.sim, 400ull * 1000000);
    assert_int_equal(log_start(id), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_by_age, setup, teardown),
        cmocka_unit_test_setup_teardown(test_by_size, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changed_while_running, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
