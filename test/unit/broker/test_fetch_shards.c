/*
 * Fetches over partitions of several shards that wait for min_bytes while appends come from everywhere, in the simulated
 * world: each answers once with what was asked, and none of its messages outlives it (the sanitizer looks on).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "../../lib/sim_rig.h"

enum { PARTITIONS = 6, SHARDS = 3, APPENDS = 40 };

static struct sim_rig rig;
static struct uuid topic_id;

struct append_call {
    struct broker_append op;
    struct shard *shard;
    struct timer timer;
    bool done;
};

static struct append_call appends[APPENDS];
static unsigned appends_open;

static void append_done(struct broker_append *op)
{
    assert_int_equal(op->err, ERR_OK);
    appends_open--;
}

static void append_due(struct timer *timer)
{
    struct append_call *call = CONTAINER_OF(timer, struct append_call, timer);
    broker_append(broker_shard_of(rig.broker, call->shard), &call->op);
}

/* A batch of one record of 100 bytes for some partition, from some shard, at some time soon. */
static void append_later(struct append_call *call, struct random *random)
{
    static const char text[100];
    struct batch_builder builder;
    struct iobuf_range range;
    struct batch_build_record record = {.timestamp_ms = 1, .value = slice_make(text, 100)};
    batch_builder_init(&builder, 1 << 20);
    assert_int_equal(batch_builder_add(&builder, &record), ERR_OK);
    batch_builder_finish(&builder, &range);
    *call = (struct append_call){.shard = shards_get(rig.shards, random_below(random, SHARDS))};
    call->op = (struct broker_append){.topic_id = topic_id,
                                      .partition = (int32_t)random_below(random, PARTITIONS),
                                      .acks = random_one_in(random, 2) ? 1 : -1,
                                      .batch = range,
                                      .done = append_done};
    timer_init(&call->timer, append_due);
    timer_arm(call->shard->reactor, &call->timer, random_below(random, 3000));
    appends_open++;
}

struct fetch_call {
    struct broker_fetch op;
    struct broker_fetch_part parts[PARTITIONS];
    int64_t offsets[PARTITIONS];
    unsigned fetches;
    bool done;
};

static void fetch_next(struct fetch_call *call, struct broker_shard *bs);

/* Takes in whole batches; asks again until all appends have been seen. */
static void fetch_done(struct broker_fetch *op)
{
    struct fetch_call *call = CONTAINER_OF(op, struct fetch_call, op);
    struct broker_shard *bs = op->bs;
    int64_t seen = 0;
    for (unsigned p = 0; p < PARTITIONS; p++) {
        struct broker_fetch_part *part = &call->parts[p];
        assert_int_equal(part->err, ERR_OK);
        for (uint32_t r = 0; r < part->range_count; r++) {
            struct slice rest = part->ranges[r].bytes;
            while (rest.len > 0) {
                uint32_t size = batch_size_peek(rest);
                assert_true(size > 0 && size <= rest.len);
                call->offsets[p]++;
                rest = slice_sub(rest, size, rest.len);
            }
        }
        seen += call->offsets[p];
    }
    broker_fetch_release(op);
    call->fetches++;
    assert_true(seen <= APPENDS && call->fetches < 10000);
    if (seen == APPENDS)
        call->done = true;
    else
        fetch_next(call, bs);
}

static void fetch_next(struct fetch_call *call, struct broker_shard *bs)
{
    for (unsigned p = 0; p < PARTITIONS; p++)
        call->parts[p] = (struct broker_fetch_part){.topic_id = topic_id,
                                                    .partition = (int32_t)p,
                                                    .offset = call->offsets[p],
                                                    .max_bytes = 1 << 20,
                                                    .leader_epoch = -1};
    call->op = (struct broker_fetch){.parts = call->parts,
                                     .part_count = PARTITIONS,
                                     .min_bytes = 1 + call->fetches * 97 % 900,
                                     .max_bytes = 1 << 20,
                                     .max_wait_ms = 1 + call->fetches % 3,
                                     .done = fetch_done};
    broker_fetch(bs, &call->op);
}

static void fetch_start(struct shard *shard, void *arg)
{
    fetch_next(arg, broker_shard_of(rig.broker, shard));
}

static void test_fetch_over_shards(void **state)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct broker_topic_op topic = {
            .action = BROKER_TOPIC_CREATE, .name = SLICE_LIT("t"), .partition_count = PARTITIONS};
        struct fetch_call calls[SHARDS];
        struct random random;
        random_init(&random, seed);
        sim_rig_init(&rig, seed);
        sim_rig_boot(&rig, SHARDS);
        assert_int_equal(sim_topic(&rig, &topic), ERR_OK);
        topic_id = topic.topic->id;
        memset(calls, 0, sizeof(calls));
        for (unsigned s = 0; s < SHARDS; s++)
            sim_rig_call(&rig, s, fetch_start, &calls[s]);
        for (unsigned i = 0; i < APPENDS; i++)
            append_later(&appends[i], &random);
        for (unsigned s = 0; s < SHARDS; s++)
            sim_rig_until(&rig, &calls[s].done);
        assert_int_equal(appends_open, 0);
        sim_rig_stop(&rig);
        sim_rig_deinit(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fetch_over_shards)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
