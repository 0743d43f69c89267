/*
 * The broker on real shards under load: appends and waiting fetches cross shards, disk workers write
 * and read, and the stop comes in the middle. The thread sanitizer watches; what was acknowledged
 * before the stop is there after it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker_rig.h"

enum { SHARDS = 3, PARTITIONS = 6, LOOPS = 4, RECORDS = 3, STOP_AFTER = 400 };

/* Appends one batch after the other to partitions of every shard. */
struct appender {
    struct broker_append op;
    struct shard *shard;
    unsigned turn;
    bool ended;
};

/* Reads one partition on and on, waiting at its end. */
struct reader {
    struct broker_fetch op;
    struct broker_fetch_part part;
    struct shard *shard;
    int64_t offset;
    bool ended;
};

static struct broker_rig rig;
static struct uuid topic;
static struct appender appenders[SHARDS][LOOPS];
static struct reader readers[SHARDS][LOOPS];
static _Atomic unsigned acked;                /* batches */
static _Atomic unsigned acked_of[PARTITIONS]; /* records */
static _Atomic unsigned read_records;
static struct node_event enough;

static void append_next(struct appender *a);

static void append_done(struct broker_append *op)
{
    struct appender *a = CONTAINER_OF(op, struct appender, op);
    if (op->err != ERR_OK) {
        a->ended = true; /* the stop has begun */
        return;
    }
    atomic_fetch_add(&acked_of[op->partition], RECORDS);
    if (atomic_fetch_add(&acked, 1) + 1 == STOP_AFTER)
        node_event_set(&enough);
    append_next(a);
}

static void append_next(struct appender *a)
{
    a->op = (struct broker_append){.topic_id = topic,
                                   .partition = (int32_t)(a->turn++ % PARTITIONS),
                                   .acks = a->turn % 3 == 0 ? 1 : -1,
                                   .batch = rig_batch("load", RECORDS, 100, 1700000000000),
                                   .done = append_done};
    broker_append(broker_shard_of(rig.broker, a->shard), &a->op);
}

static void read_next(struct reader *r);

static void read_done(struct broker_fetch *op)
{
    struct reader *r = CONTAINER_OF(op, struct reader, op);
    bool failed = r->part.err != ERR_OK;
    for (uint32_t i = 0; i < r->part.range_count && !failed; i++) {
        struct slice bytes = r->part.ranges[i].bytes;
        struct batch_header header;
        while (bytes.len > 0 && batch_header_read(bytes, &header, NULL) == ERR_OK) {
            r->offset = header.base_offset.value + header.record_count;
            atomic_fetch_add(&read_records, (unsigned)header.record_count);
            bytes = slice_sub(bytes, header.size, bytes.len);
        }
    }
    broker_fetch_release(op);
    if (failed || shards_stopping(rig.node.shards))
        r->ended = true;
    else
        read_next(r);
}

static void read_next(struct reader *r)
{
    int32_t partition = r->part.partition;
    struct uuid id = topic;
    r->part = (struct broker_fetch_part){.topic_id = id,
                                         .partition = partition,
                                         .offset = r->offset,
                                         .max_bytes = 1 << 16,
                                         .leader_epoch = -1};
    r->op = (struct broker_fetch){.parts = &r->part,
                                  .part_count = 1,
                                  .min_bytes = 1,
                                  .max_bytes = 1 << 16,
                                  .max_wait_ms = 20,
                                  .done = read_done};
    broker_fetch(broker_shard_of(rig.broker, r->shard), &r->op);
}

static void load_begin(struct shard *shard, void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < LOOPS; i++) {
        struct appender *a = &appenders[shard->index][i];
        *a = (struct appender){.shard = shard, .turn = shard->index + i};
        append_next(a);
        struct reader *r = &readers[shard->index][i];
        memset(r, 0, sizeof(*r));
        r->shard = shard;
        r->part.partition = (int32_t)((shard->index + 2 * i + 1) % PARTITIONS);
        read_next(r);
    }
}

static void test_stop_under_load(void **state)
{
    node_rig_folder(&rig.node);
    broker_rig_start(&rig, SHARDS);
    assert_int_equal(rig_topic_create(&rig, "load", PARTITIONS, &topic), ERR_OK);
    node_event_init(&enough);
    for (unsigned s = 0; s < SHARDS; s++)
        node_rig_call(&rig.node, s, load_begin, NULL);
    node_event_wait(&enough, 1);
    broker_rig_stop(&rig); /* with everything in flight */
    assert_true(atomic_load(&read_records) > 0);
    for (unsigned s = 0; s < SHARDS; s++) {
        for (unsigned i = 0; i < LOOPS; i++)
            assert_true(appenders[s][i].ended); /* every one was answered */
    }
    broker_rig_start(&rig, SHARDS - 1); /* partitions move to other shards */
    for (int32_t p = 0; p < PARTITIONS; p++) {
        struct broker_offset_op op = {
            .topic_id = topic, .partition = p, .query = BROKER_OFFSET_LATEST, .current_epoch = -1};
        assert_int_equal(rig_offset(&rig, 0, &op), ERR_OK);
        assert_true(op.high_watermark >= (int64_t)atomic_load(&acked_of[p]));
    }
    broker_rig_stop(&rig);
    node_rig_remove(&rig.node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stop_under_load)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
