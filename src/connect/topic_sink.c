/*
 * Rows into a topic: one record for each row, its JSON as the value, no key; batches go to the partitions in turn.
 *
 *   commit:  batch 0 -> partition p, batch 1 -> p + 1, ...; a batch is appended when the one before it in its partition
 *            is durable, and none after a failure
 *
 * Invariants: (1) a commit is answered after every batch of it is durable (acks all); (2) no more than BATCHES_MAX
 * batches wait, which buffered() lets the runner see in time; (3) a partition holds the rows of a failed commit up to
 * some row and none behind it, so that their repetition keeps the order once repeated rows are left out; (4) a batch
 * passes BATCH_BYTES, or what the topic takes, only when it is a single row: what fits into a record of the topic is not refused for its company.
 * Ownership: one job on one shard; batches pass to the broker at their append. Failure: the broker's errors; a missing
 * topic is looked for again, and made where topics may be made by use.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "broker/broker.h"
#include "connect/ends.h"
#include "io/fault.h"
#include "io/reactor.h"

enum {
    BATCH_BYTES = 512 << 10,
    ROW_MAX = 8 << 20,
    BATCHES_MAX = 4096,
    RECORD_ROOM = 32 /* what a record has besides its value, at most */
};

FAULT_DEFINE(fault_batch, "job.batch")

struct out_batch {
    struct broker_append op;
    struct topic_sink *sink;
    struct out_batch *next;
    struct out_batch *follower; /* the next one of its partition */
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
    size_t batch_bytes; /* at most so many, unless one row alone has more */
    uint32_t batch_count;
    struct bytebuf row;

    struct broker_topic_op topic_op;
    sink_done_fn done;
    void *done_ctx;
    uint32_t open_appends; /* under way */
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
    } else if (op->err == ERR_UNKNOWN_TOPIC_OR_PARTITION) {
        /* Topics are not made by themselves here: it may be made later. */
        op->err = err_info_set(&op->info, ERR_LEADER_NOT_AVAILABLE,
                               "the output topic '%.*s' does not exist", SLICE_FMT(op->name));
    } else {
        err_info_wrap(&op->info, "output topic '%.*s'", SLICE_FMT(op->name));
    }
    sink_done_fn done = ts->done;
    ASSERT(done != NULL && ts->open_appends == 0);
    ts->done = NULL;
    done(ts->done_ctx, op->err, &op->info);
}

static void sink_open(struct sink *sink, struct slice state, sink_done_fn done, void *ctx)
{
    struct topic_sink *ts = of(sink);

    ASSERT(ts->done == NULL && ts->batch_count == 0);
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
    if (ts->batch_count == BATCHES_MAX || fault_check(&fault_batch) != ERR_OK)
        return false;
    struct out_batch *batch = calloc(1, sizeof(*batch));
    if (batch == NULL)
        return false;
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
    size_t size = batch_builder_size(&ts->builder) + record->value.len + RECORD_ROOM;
    bool full = size > ts->batch_bytes;

    if (full && !batch_close(ts)) /* (4) */
        return err_info_set(info, ERR_NO_MEMORY, "out of memory for an output batch");
    enum err err = batch_builder_add(&ts->builder, record);
    if (err == ERR_NO_MEMORY)
        return err_info_set(info, err, "out of memory for an output batch");
    if (err != ERR_OK)
        return err_info_set(info, err, "a row of %zu bytes does not fit into a record of '%.*s'",
                            record->value.len, SLICE_FMT(ts->topic));
    return ERR_OK;
}

/* The topic's limit may be changed while the job runs. */
static void batch_bytes_set(struct topic_sink *ts)
{
    const struct topic *topic = broker_topic_find_id(ts->bs, ts->topic_id);

    ts->batch_bytes = BATCH_BYTES;
    if (topic == NULL)
        return;
    if ((size_t)topic->values.max_message_bytes < ts->batch_bytes)
        ts->batch_bytes = (size_t)topic->values.max_message_bytes;
    if ((size_t)topic->values.segment_bytes < ts->batch_bytes)
        ts->batch_bytes = (size_t)topic->values.segment_bytes;
}

static enum err sink_rows(struct sink *sink, const struct exec_rows *rows, struct err_info *info)
{
    struct topic_sink *ts = of(sink);
    struct batch_build_record record = {.timestamp_ms = reactor_wall_ms(ts->shard->reactor)};
    enum err err = ERR_OK;

    ASSERT(ts->open_appends == 0);
    batch_bytes_set(ts);
    for (uint32_t k = 0; k < exec_rows_count(rows) && err == ERR_OK; k++) {
        bytebuf_clear(&ts->row);
        err = exec_rows_json(rows, k, &ts->row, info);
        if (err == ERR_OK && ts->row.failed)
            err = err_info_set(info, ERR_MESSAGE_TOO_LARGE,
                               "a row is larger than %d bytes, or than memory", ROW_MAX);
        record.value = bytebuf_slice(&ts->row);
        if (err == ERR_OK)
            err = row_add(ts, &record, info);
    }
    return err;
}

static size_t sink_buffered(const struct sink *sink)
{
    const struct topic_sink *ts = of(sink);

    return ts->buffered + (ts->builder.record_count > 0 ? batch_builder_size(&ts->builder) : 0);
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

static void batch_append(struct topic_sink *ts, struct out_batch *batch, int32_t partition);

static void append_failed(struct topic_sink *ts, const struct broker_append *op)
{
    if (ts->err != ERR_OK)
        return;
    ts->err = op->err;
    ts->info = op->info;
    if (ts->info.text[0] == '\0')
        (void)err_info_set(&ts->info, op->err, "%s", err_row(op->err)->text);
    if (op->err == ERR_UNKNOWN_TOPIC_OR_PARTITION || op->err == ERR_UNKNOWN_TOPIC_ID)
        ts->err = err_info_set(&ts->info, ERR_LEADER_NOT_AVAILABLE,
                               "the output topic '%.*s' was deleted", SLICE_FMT(ts->topic));
    else
        err_info_wrap(&ts->info, "output topic '%.*s'", SLICE_FMT(ts->topic));
}

static void on_append(struct broker_append *op)
{
    struct out_batch *batch = CONTAINER_OF(op, struct out_batch, op);
    struct topic_sink *ts = batch->sink;

    ASSERT(ts->open_appends > 0);
    ts->open_appends--;
    if (op->err != ERR_OK)
        append_failed(ts, op);
    else if (ts->err == ERR_OK && batch->follower != NULL)
        batch_append(ts, batch->follower, op->partition);
    if (ts->open_appends == 0)
        commit_finish(ts);
}

static void batch_append(struct topic_sink *ts, struct out_batch *batch, int32_t partition)
{
    batch->op = (struct broker_append){.topic_id = ts->topic_id,
                                       .partition = partition,
                                       .acks = -1,
                                       .batch = batch->bytes,
                                       .done = on_append};
    batch->bytes.buf = NULL; /* the broker's now */
    ts->open_appends++;
    broker_append(ts->bs, &batch->op);
}

/* Finds for each batch the one that follows it in its partition. */
static void batches_line_up(struct topic_sink *ts)
{
    struct out_batch *ahead = ts->first;

    for (int32_t i = 0; i < ts->partition_count && ahead != NULL; i++)
        ahead = ahead->next;
    for (struct out_batch *batch = ts->first; ahead != NULL; batch = batch->next) {
        batch->follower = ahead;
        ahead = ahead->next;
    }
}

static void sink_commit(struct sink *sink, sink_done_fn done, void *ctx)
{
    struct topic_sink *ts = of(sink);

    ASSERT(ts->done == NULL && ts->open_appends == 0 && ts->partition_count > 0);
    ts->done = done;
    ts->done_ctx = ctx;
    ts->err = ERR_OK;
    ts->info = (struct err_info){.code = ERR_OK};
    if (!batch_close(ts))
        ts->err = err_info_set(&ts->info, ERR_NO_MEMORY, "out of memory for an output batch");
    if (ts->batch_count == 0 || ts->err != ERR_OK) {
        commit_finish(ts);
        return;
    }
    batches_line_up(ts);
    uint32_t count = ts->batch_count;
    if (count > (uint32_t)ts->partition_count)
        count = (uint32_t)ts->partition_count;
    struct out_batch *batch = ts->first;
    for (uint32_t i = 0; i < count; i++) { /* done comes later, never inside an append */
        struct out_batch *next = batch->next;
        batch_append(ts, batch, ts->next_partition);
        ts->next_partition = (ts->next_partition + 1) % ts->partition_count;
        batch = next;
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
