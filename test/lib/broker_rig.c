/* See broker_rig.h. */
#include "broker_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void broker_rig_open(struct broker_rig *rig, unsigned shards)
{
    struct err_info info = {0};
    node_rig_shards(&rig->node, shards);
    rig->config.dir = rig->node.dir;
    if (broker_open(rig->node.shards, &rig->config, &rig->broker, &info)) {
        fprintf(stderr, "broker_open: %s\n", info.text);
        abort();
    }
}

void broker_rig_run(struct broker_rig *rig)
{
    node_rig_run(&rig->node);
    for (int i = 0; !broker_ready(rig->broker); i++) {
        struct timespec ms = {0, 1000000};
        nanosleep(&ms, NULL);
        if (i > 20000)
            abort();
    }
}

void broker_rig_start(struct broker_rig *rig, unsigned shards)
{
    broker_rig_open(rig, shards);
    broker_rig_run(rig);
}

void broker_rig_stop(struct broker_rig *rig)
{
    node_rig_stop(&rig->node);
    broker_close(rig->broker);
    node_rig_end(&rig->node);
    rig->broker = NULL;
}

/* One call: op is any of the broker's operations. */
struct rig_call {
    struct broker_rig *rig;
    void *op;
    struct node_event done;
};

static struct rig_call rig_now; /* one test thread, one call at a time */

static void rig_begin(struct broker_rig *rig, void *op)
{
    rig_now.rig = rig;
    rig_now.op = op;
    node_event_init(&rig_now.done);
}

static struct broker_shard *rig_part(struct shard *shard)
{
    return broker_shard_of(rig_now.rig->broker, shard);
}

#define RIG_CALL(name, type, submit)                                                               \
    static void name##_done(struct type *op)                                                       \
    {                                                                                              \
        (void)op;                                                                                  \
        node_event_set(&rig_now.done);                                                             \
    }                                                                                              \
    static void name##_run(struct shard *shard, void *arg)                                         \
    {                                                                                              \
        struct type *op = arg;                                                                     \
        op->done = name##_done;                                                                    \
        submit(rig_part(shard), op);                                                               \
    }                                                                                              \
    static void name(struct broker_rig *rig, unsigned shard, struct type *op)                      \
    {                                                                                              \
        rig_begin(rig, op);                                                                        \
        node_rig_call(&rig->node, shard, name##_run, op);                                          \
        node_event_wait(&rig_now.done, 1);                                                         \
    }

RIG_CALL(call_topic, broker_topic_op, broker_topic_submit)
RIG_CALL(call_append, broker_append, broker_append)
RIG_CALL(call_fetch, broker_fetch, broker_fetch)
RIG_CALL(call_offset, broker_offset_op, broker_offset)
RIG_CALL(call_trim, broker_trim_op, broker_trim)
RIG_CALL(call_producer, broker_producer_id_op, broker_producer_id)

enum err rig_topic(struct broker_rig *rig, unsigned shard, struct broker_topic_op *op)
{
    call_topic(rig, shard, op);
    return op->err;
}

enum err rig_topic_create(struct broker_rig *rig, const char *name, int32_t partitions,
                          struct uuid *ret_id)
{
    struct broker_topic_op op = {
        .action = BROKER_TOPIC_CREATE, .name = slice_cstr(name), .partition_count = partitions};
    call_topic(rig, 0, &op);
    if (!op.err)
        *ret_id = op.id;
    return op.err;
}

enum err rig_append(struct broker_rig *rig, unsigned shard, struct broker_append *op)
{
    call_append(rig, shard, op);
    return op->err;
}

void rig_fetch(struct broker_rig *rig, unsigned shard, struct broker_fetch *op)
{
    call_fetch(rig, shard, op);
}

enum err rig_offset(struct broker_rig *rig, unsigned shard, struct broker_offset_op *op)
{
    call_offset(rig, shard, op);
    return op->err;
}

enum err rig_trim(struct broker_rig *rig, unsigned shard, struct broker_trim_op *op)
{
    call_trim(rig, shard, op);
    return op->err;
}

int64_t rig_producer_id(struct broker_rig *rig, unsigned shard)
{
    struct broker_producer_id_op op = {0};
    call_producer(rig, shard, &op);
    return op.err ? -1 : op.producer_id;
}

static void wait_done(struct broker_fetch *op)
{
    node_event_set(&CONTAINER_OF(op, struct rig_wait, op)->done);
}

static void wait_run(struct shard *shard, void *arg)
{
    struct rig_wait *wait = arg;
    broker_fetch(rig_part(shard), &wait->op);
}

void rig_fetch_start(struct broker_rig *rig, unsigned shard, struct rig_wait *wait)
{
    rig_now.rig = rig;
    node_event_init(&wait->done);
    wait->op.parts = wait->parts;
    wait->op.done = wait_done;
    node_rig_call(&rig->node, shard, wait_run, wait);
}

static void wait_cancel(struct shard *shard, void *arg)
{
    (void)shard;
    broker_fetch_cancel(&((struct rig_wait *)arg)->op);
}

void rig_fetch_cancel(struct broker_rig *rig, unsigned shard, struct rig_wait *wait)
{
    node_rig_call(&rig->node, shard, wait_cancel, wait);
}

struct iobuf_range rig_batch(const char *text, int count, size_t pad, int64_t timestamp_ms)
{
    struct batch_builder builder;
    struct iobuf_range range = {0};
    char *value = calloc(1, pad + 64);
    batch_builder_init(&builder, 64 << 20);
    for (int i = 0; i < count; i++) {
        size_t len = (size_t)snprintf(value, pad + 64, "%s-%d", text, i);
        if (len < pad) {
            memset(value + len, '.', pad - len);
            len = pad;
        }
        struct batch_build_record record = {.timestamp_ms = timestamp_ms + i,
                                            .key = SLICE_LIT("k"),
                                            .value = slice_make(value, len)};
        if (batch_builder_add(&builder, &record))
            abort();
    }
    batch_builder_finish(&builder, &range);
    free(value);
    return range;
}
