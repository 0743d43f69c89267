/*
 * Offset look-up: bounds, by time, by epoch, answered by the owner of the partition.
 *
 * Invariants: (1) the log end is never shown, only the high watermark; (2) a search by time answers
 * with a record, never with the start of its batch; none is -1, not an error.
 *
 * Ownership: the operation is the caller's, lent to the owner while it is there. Shard: any.
 *
 * Failures: unknown partition, epochs that differ, a log that is offline; each is the answer.
 */
#include "broker/broker_int.h"

static void offset_answer_arrive(struct shard *to, struct shard_msg *msg)
{
    struct broker_offset_op *op = CONTAINER_OF(msg, struct broker_offset_op, msg);
    ASSERT(op->from == to);
    op->done(op);
}

static void offset_answer(struct broker_offset_op *op, struct shard *at)
{
    op->msg.fn = offset_answer_arrive;
    shard_send(at, op->from, &op->msg);
}

static void offset_found(struct seglog_find *find)
{
    struct broker_offset_op *op = CONTAINER_OF(find, struct broker_offset_op, log);
    struct broker_shard *owner = find->ctx;
    op->err = find->err;
    if (!op->err) {
        op->offset = find->offset.value;
        op->ret_timestamp_ms = find->offset.value < 0 ? -1 : find->found_timestamp_ms;
        op->leader_epoch = find->offset.value < 0 ? -1 : find->epoch.value;
    }
    ASSERT(op->offset >= -1);
    offset_answer(op, owner->shard);
}

static void offset_search(struct broker_shard *owner, struct partition *p,
                          struct broker_offset_op *op)
{
    ASSERT(p->log != NULL);
    op->log = (struct seglog_find){
        .timestamp_ms =
            op->query == BROKER_OFFSET_MAX_TIMESTAMP ? SEGLOG_FIND_MAX : op->timestamp_ms,
        .below = record_offset(INT64_MAX),
        .on_done = offset_found,
        .ctx = owner,
    };
    seglog_find(p->log, &op->log);
}

static void offset_of_epoch(const struct partition *p, struct broker_offset_op *op)
{
    struct leader_epoch epoch = leader_epoch(-1);
    struct record_offset end = record_offset(-1);
    if (op->epoch >= 0 && seglog_epoch_end(p->log, leader_epoch(op->epoch), &epoch, &end)) {
        op->offset = end.value;
        op->leader_epoch = epoch.value;
    }
    ASSERT(op->offset >= -1);
}

static void offset_run(struct broker_shard *owner, struct broker_offset_op *op)
{
    struct partition *p = partition_find(owner, op->topic_id, op->partition);
    op->err = p ? partition_check(p, op->current_epoch) : ERR_UNKNOWN_TOPIC_OR_PARTITION;
    if (op->err) {
        offset_answer(op, owner->shard);
        return;
    }
    struct seglog_bounds bounds = seglog_bounds(p->log);
    struct seglog_stats stats;
    seglog_stats(p->log, &stats);
    op->log_start_offset = bounds.start.value;
    op->high_watermark = bounds.high_watermark.value;
    op->last_stable_offset = bounds.stable.value;
    op->size_bytes = stats.bytes;
    op->last_append_ms = stats.last_timestamp_ms;
    switch (op->query) {
    case BROKER_OFFSET_LATEST:
        op->offset = bounds.high_watermark.value;
        op->leader_epoch = bounds.epoch.value;
        break;
    case BROKER_OFFSET_EARLIEST:
        op->offset = bounds.start.value;
        op->leader_epoch = seglog_epoch_at(p->log, bounds.start).value;
        break;
    case BROKER_OFFSET_OF_EPOCH:
        offset_of_epoch(p, op);
        break;
    case BROKER_OFFSET_STATE:
        op->leader_epoch = bounds.epoch.value;
        break;
    case BROKER_OFFSET_MAX_TIMESTAMP:
    case BROKER_OFFSET_BY_TIME:
        offset_search(owner, p, op);
        return;
    }
    offset_answer(op, owner->shard);
}

static void offset_arrive(struct shard *to, struct shard_msg *msg)
{
    struct broker_offset_op *op = CONTAINER_OF(msg, struct broker_offset_op, msg);
    offset_run(broker_part(op->broker, to), op);
}

void broker_offset(struct broker_shard *bs, struct broker_offset_op *op)
{
    ASSERT(op->done != NULL);
    op->broker = bs->broker;
    op->from = bs->shard;
    op->offset = op->ret_timestamp_ms = op->log_start_offset = -1;
    op->high_watermark = op->last_stable_offset = op->last_append_ms = -1;
    op->leader_epoch = -1;
    op->size_bytes = 0;
    const struct topic *topic = broker_topic_find_id(bs, op->topic_id);
    if (!topic || op->partition < 0 || op->partition >= topic->partition_count) {
        op->err = ERR_UNKNOWN_TOPIC_OR_PARTITION;
        offset_answer(op, bs->shard);
        return;
    }
    struct shard *owner = broker_owner(bs->broker, op->topic_id, op->partition);
    if (owner == bs->shard) {
        offset_run(bs, op);
        return;
    }
    op->msg.fn = offset_arrive;
    shard_send(bs->shard, owner, &op->msg);
}

/* ---- trimming ---- */

static void trim_answer_arrive(struct shard *to, struct shard_msg *msg)
{
    struct broker_trim_op *op = CONTAINER_OF(msg, struct broker_trim_op, msg);
    ASSERT(op->from == to);
    op->done(op);
}

static void trim_answer(struct broker_trim_op *op, struct shard *at)
{
    op->msg.fn = trim_answer_arrive;
    shard_send(at, op->from, &op->msg);
}

static void trim_done(struct seglog_op *log)
{
    struct broker_trim_op *op = CONTAINER_OF(log, struct broker_trim_op, log);
    struct broker_shard *owner = log->ctx;
    struct partition *p = partition_find(owner, op->topic_id, op->partition);
    op->err = log->err;
    if (!op->err && p && p->log)
        op->log_start_offset = seglog_bounds(p->log).start.value;
    trim_answer(op, owner->shard);
}

static void trim_arrive(struct shard *to, struct shard_msg *msg)
{
    struct broker_trim_op *op = CONTAINER_OF(msg, struct broker_trim_op, msg);
    struct broker_shard *owner = broker_part(op->broker, to);
    struct partition *p = partition_find(owner, op->topic_id, op->partition);
    op->err = p ? partition_check(p, -1) : ERR_UNKNOWN_TOPIC_OR_PARTITION;
    if (!op->err) {
        int64_t high = seglog_bounds(p->log).high_watermark.value;
        if (op->offset == -1)
            op->offset = high;
        if (op->offset < 0 || op->offset > high)
            op->err = ERR_OFFSET_OUT_OF_RANGE;
    }
    if (op->err) {
        trim_answer(op, to);
        return;
    }
    op->log = (struct seglog_op){.on_done = trim_done, .ctx = owner};
    seglog_trim(p->log, record_offset(op->offset), &op->log);
}

void broker_trim(struct broker_shard *bs, struct broker_trim_op *op)
{
    ASSERT(op->done != NULL);
    op->broker = bs->broker;
    op->from = bs->shard;
    op->log_start_offset = -1;
    op->msg.fn = trim_arrive;
    shard_send(bs->shard, broker_owner(bs->broker, op->topic_id, op->partition), &op->msg);
}
