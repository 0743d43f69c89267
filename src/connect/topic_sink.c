/*
 * Rows into a topic: one record for each row, its JSON as the value, no key; batches go to the partitions in turn.
 *
 * Invariants: (1) a commit is answered after every batch of it is durable (acks all); (2) no more than BATCHES_MAX
 * batches wait, which buffered() lets the runner see in time. Ownership: one job on one shard; batches pass to the
 * broker at their append. Failure: the broker's errors; a missing topic is looked for again.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "broker/broker.h"
#include "connect/ends.h"
#include "io/reactor.h"

enum { BATCH_BYTES = 512 << 10, ROW_MAX = 8 << 20, BATCHES_MAX = 4096 };

struct out_batch {
    struct broker_append op;
    struct topic_sink *sink;
    struct out_batch *next;
    struct iobuf_range bytes;
};

struct topic_sink {
    struct sink base;
    struct broker_shard *bs;
    struct shard *shard;
    struct slice topic;
    struct uuid topic_id;
    int32_t partition_count;
    int32_t next_partition;

    struct batch_builder builder;
    struct out_batch *first;
    struct out_batch **last;
    size_t buffered;
    uint32_t batch_count;
    struct bytebuf row;

    struct broker_topic_op topic_op;
    sink_done_fn done;
    void *done_ctx;
    uint32_t open_appends;
    enum err err;
    struct err_info info;
};

static struct topic_sink *of(const struct sink *sink)
{
    return CONTAINER_OF((struct sink *)(uintptr_t)sink, struct topic_sink, base);
}

static void on_topic(struct broker_topic_op *op)
{
    struct topic_sink *ts = CONTAINER_OF(op, struct topic_sink, topic_op);

    if (op->err == ERR_OK) {
        ts->topic_id = op->topic->id;
        ts->partition_count = op->topic->partition_count;
        ts->next_partition %= ts->partition_count;
    } else {
        err_info_wrap(&op->info, "output topic '%.*s'", SLICE_FMT(op->name));
    }
    ts->done(ts->done_ctx, op->err, &op->info);
}

static void sink_open(struct sink *sink, struct slice state, sink_done_fn done, void *ctx)
{
    struct topic_sink *ts = of(sink);

    ts->done = done;
    ts->done_ctx = ctx;
    ts->topic_op = (struct broker_topic_op){
        .action = BROKER_TOPIC_ENSURE, .name = ts->topic, .partition_count = -1, .done = on_topic};
    broker_topic_submit(ts->bs, &ts->topic_op);
}

/* Closes the batch being built and queues it. */
static bool batch_close(struct topic_sink *ts)
{
    if (ts->builder.record_count == 0)
        return true;
    struct out_batch *batch = calloc(1, sizeof(*batch));
    if (batch == NULL || ts->batch_count == BATCHES_MAX) {
        free(batch);
        return false;
    }
    batch->sink = ts;
    batch_builder_finish(&ts->builder, &batch->bytes);
    *ts->last = batch;
    ts->last = &batch->next;
    ts->batch_count++;
    ts->buffered += batch->bytes.bytes.len;
    return true;
}

static enum err row_add(struct topic_sink *ts, const struct batch_build_record *record,
                        struct err_info *info)
{
    enum err err = batch_builder_add(&ts->builder, record);

    if (err == ERR_MESSAGE_TOO_LARGE && ts->builder.record_count > 0) {
        if (!batch_close(ts))
            return err_info_set(info, ERR_NO_MEMORY, "out of memory for an output batch");
        err = batch_builder_add(&ts->builder, record);
    }
    if (err != ERR_OK)
        err_info_set(info, err, "a row of %zu bytes does not fit into a record of '%.*s'",
                     record->value.len, SLICE_FMT(ts->topic));
    return err;
}

static enum err sink_rows(struct sink *sink, const struct exec_rows *rows, struct err_info *info)
{
    struct topic_sink *ts = of(sink);
    struct batch_build_record record = {.timestamp_ms = reactor_wall_ms(ts->shard->reactor)};
    enum err err = ERR_OK;

    for (uint32_t k = 0; k < exec_rows_count(rows) && err == ERR_OK; k++) {
        bytebuf_clear(&ts->row);
        err = exec_rows_json(rows, k, &ts->row, info);
        if (err == ERR_OK && ts->row.failed)
            err =
                err_info_set(info, ERR_MESSAGE_TOO_LARGE, "a row is larger than %d bytes", ROW_MAX);
        record.value = bytebuf_slice(&ts->row);
        if (err == ERR_OK && batch_builder_size(&ts->builder) >= BATCH_BYTES && !batch_close(ts))
            err = err_info_set(info, ERR_NO_MEMORY, "out of memory for an output batch");
        if (err == ERR_OK)
            err = row_add(ts, &record, info);
    }
    return err;
}

static size_t sink_buffered(const struct sink *sink)
{
    return of(sink)->buffered + batch_builder_size(&of(sink)->builder);
}

static void batches_drop(struct topic_sink *ts)
{
    while (ts->first != NULL) {
        struct out_batch *batch = ts->first;
        ts->first = batch->next;
        iobuf_unref(batch->bytes.buf);
        free(batch);
    }
    ts->last = &ts->first;
    ts->buffered = 0;
    ts->batch_count = 0;
}

static void commit_finish(struct topic_sink *ts)
{
    sink_done_fn done = ts->done;

    ASSERT(ts->open_appends == 0);
    batches_drop(ts);
    ts->done = NULL;
    done(ts->done_ctx, ts->err, &ts->info);
}

static void on_append(struct broker_append *op)
{
    struct out_batch *batch = CONTAINER_OF(op, struct out_batch, op);
    struct topic_sink *ts = batch->sink;

    if (op->err != ERR_OK && ts->err == ERR_OK) {
        ts->err = op->err;
        ts->info = op->info;
        if (op->err == ERR_UNKNOWN_TOPIC_OR_PARTITION || op->err == ERR_UNKNOWN_TOPIC_ID)
            ts->err = err_info_set(&ts->info, ERR_LEADER_NOT_AVAILABLE,
                                   "the output topic '%.*s' was deleted", SLICE_FMT(ts->topic));
    }
    if (--ts->open_appends == 0)
        commit_finish(ts);
}

static void sink_commit(struct sink *sink, sink_done_fn done, void *ctx)
{
    struct topic_sink *ts = of(sink);

    ts->done = done;
    ts->done_ctx = ctx;
    ts->err = ERR_OK;
    ts->info.text[0] = '\0';
    if (!batch_close(ts))
        ts->err = err_info_set(&ts->info, ERR_NO_MEMORY, "out of memory for an output batch");
    if (ts->batch_count == 0 || ts->err != ERR_OK) {
        commit_finish(ts);
        return;
    }
    ts->open_appends = ts->batch_count;
    for (struct out_batch *batch = ts->first; batch != NULL; batch = batch->next) {
        batch->op = (struct broker_append){.topic_id = ts->topic_id,
                                           .partition = ts->next_partition,
                                           .acks = -1,
                                           .batch = batch->bytes,
                                           .done = on_append};
        batch->bytes.buf = NULL; /* the broker's now */
        ts->next_partition = (ts->next_partition + 1) % ts->partition_count;
        broker_append(ts->bs, &batch->op);
    }
}

static void sink_discard(struct sink *sink)
{
    struct topic_sink *ts = of(sink);

    batches_drop(ts);
    batch_builder_deinit(&ts->builder);
    batch_builder_init(&ts->builder, BATCH_BYTES + ROW_MAX);
}

static void sink_state(const struct sink *sink, struct bytebuf *out)
{
    bytebuf_append_cstr(out, "null");
}

static void sink_destroy(struct sink *sink)
{
    struct topic_sink *ts = of(sink);

    ASSERT(ts->open_appends == 0);
    batches_drop(ts);
    batch_builder_deinit(&ts->builder);
    bytebuf_deinit(&ts->row);
    free(ts);
}

struct sink *topic_sink_create(struct broker *broker, struct shard *shard, struct slice topic)
{
    static const struct sink_ops ops = {.open = sink_open,
                                        .rows = sink_rows,
                                        .buffered = sink_buffered,
                                        .commit = sink_commit,
                                        .discard = sink_discard,
                                        .state = sink_state,
                                        .destroy = sink_destroy};
    struct topic_sink *ts = calloc(1, sizeof(*ts));

    if (ts == NULL)
        return NULL;
    ts->base.ops = &ops;
    ts->bs = broker_shard_of(broker, shard);
    ts->shard = shard;
    ts->topic = topic;
    ts->last = &ts->first;
    bytebuf_init(&ts->row, ROW_MAX);
    batch_builder_init(&ts->builder, BATCH_BYTES + ROW_MAX);
    return &ts->base;
}
