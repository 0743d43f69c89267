/*
 * Appends: checked on the calling shard, stored by the owner.
 *
 * Picture:
 *
 *     caller: topic, batch checks (CRC, header, records where needed) -> owner: log -> commit ->
 * caller
 *
 * Invariants:
 *  (1) A batch reaches the log only after batch_validate accepted it.
 *  (2) The reference on the batch is the broker's from the call on: it passes to the log, or is
 *      dropped with the refusal.
 *  (3) acks -1 is answered after the durable commit, unless the broker runs relaxed.
 *  (4) A producer that the log does not know may begin with any sequence, since its state may have
 *      been trimmed. But one whose very first batch was refused here begins with that batch: the
 *      ones that were sent behind it are refused too, or they would be stored before it.
 *  (5) Batches of one partition are stored in the order given. A log that is too busy to take one
 *      makes it and all behind it wait: a refusal would let the next one overtake the repetition.
 *      What waits is bounded by what the fronts let each connection have in flight.
 *
 * Ownership: the operation is the caller's, lent to the owner while it is there. Checking on the
 * caller's shard spreads the cost and keeps bad batches off the owner.
 *
 * Failures: an unknown outcome never happens here; a failed commit answers ERR_STORAGE or
 * ERR_DISK_FULL, and the batch is then not visible.
 */
#include "broker/broker_int.h"

static void append_answer_arrive(struct shard *to, struct shard_msg *msg)
{
    struct broker_append *op = CONTAINER_OF(msg, struct broker_append, msg);
    struct broker_shard *bs = broker_part(op->broker, to);
    ASSERT(op->from == to);
    if (op->err) {
        counter_add(&bs->counters.append_errors, 1);
        if (!op->info.text[0])
            err_info_set(&op->info, op->err, "%s", err_row(op->err)->text);
    }
    op->done(op);
}

/* Never within the call that asked: the answer goes through the mailbox also on one shard. */
static void append_answer(struct broker_append *op, struct shard *at)
{
    iobuf_unref(op->batch.buf); /* (2): NULL when the log took it */
    op->batch.buf = NULL;
    op->msg.fn = append_answer_arrive;
    shard_send(at, op->from, &op->msg);
}

/* ---- producers whose first batch was refused (4) ---- */

static int64_t *refused_find(struct partition *p, int64_t producer_id)
{
    if (p->refused_next == 0)
        return NULL; /* the usual case */
    for (uint32_t i = 0; i < PARTITION_REFUSED_MAX; i++) {
        if (p->refused[i] == producer_id + 1)
            return &p->refused[i];
    }
    return NULL;
}

/* The outcome of a batch; a first one that failed is expected again. */
static void refused_note(struct partition *p, const struct broker_append *op)
{
    if (op->producer_id < 0 || op->base_sequence != 0)
        return;
    int64_t *slot = refused_find(p, op->producer_id);
    if (op->err == ERR_OK && slot)
        *slot = 0;
    if (op->err == ERR_OK || slot)
        return;
    p->refused[p->refused_next++ % PARTITION_REFUSED_MAX] = op->producer_id + 1;
    ASSERT(refused_find(p, op->producer_id));
}

static enum err refused_check(struct partition *p, struct broker_append *op)
{
    if (op->producer_id < 0 || op->base_sequence == 0 || !refused_find(p, op->producer_id))
        return ERR_OK;
    return err_info_set(&op->info, ERR_OUT_OF_ORDER_SEQUENCE,
                        "the first batch of the producer was refused and comes before this one");
}

/* ---- owner ---- */

static void append_resume(struct broker_shard *owner);

static void append_logged(struct seglog_append *log)
{
    struct broker_append *op = CONTAINER_OF(log, struct broker_append, log);
    struct broker_shard *owner = log->ctx;
    op->err = log->err;
    struct partition *p = partition_find(owner, op->topic_id, op->partition);
    if (p)
        refused_note(p, op);
    if (!op->err) {
        ASSERT(log->base_offset.value >= 0);
        op->base_offset = log->base_offset.value;
        op->last_offset = log->last_offset.value;
        op->log_append_time_ms = log->append_time_ms;
        op->duplicate = log->duplicate;
        if (p && p->log)
            op->log_start_offset = seglog_bounds(p->log).start.value;
        counter_add(&owner->counters.appends, 1);
        counter_add(&owner->counters.append_bytes, op->bytes);
        counter_add(&owner->counters.append_records, op->records);
        struct commit_stats stats;
        commit_stats_get(owner->commit, &stats);
        counter_set(&owner->counters.commits, stats.rounds);
    }
    if (op->from == owner->shard)
        append_answer_arrive(owner->shard, &op->msg); /* a later turn than the call's already */
    else
        append_answer(op, owner->shard);
    append_resume(owner);
}

/* False: too much waits to be written; nothing happened. */
static bool append_try(struct broker_shard *owner, struct broker_append *op)
{
    struct partition *p = partition_find(owner, op->topic_id, op->partition);
    enum err err = ERR_UNKNOWN_TOPIC_OR_PARTITION;
    if (owner->stopping)
        err = ERR_CLOSING;
    else if (p)
        err = partition_check(p, -1);
    if (!err)
        err = refused_check(p, op);
    if (err) {
        op->err = err;
        if (p)
            refused_note(p, op);
        append_answer(op, owner->shard);
        return true;
    }
    bool durable = op->acks == -1 && !owner->broker->config.relaxed;
    op->log = (struct seglog_append){
        .batch = op->batch,
        .ack = durable ? SEGLOG_ACK_DURABLE : SEGLOG_ACK_WRITTEN,
        .on_done = append_logged,
        .ctx = owner,
    };
    op->err = seglog_append(p->log, &op->log, &op->info);
    if (op->err == ERR_BUSY)
        return false;
    if (op->err) {
        refused_note(p, op);
        append_answer(op, owner->shard);
        return true;
    }
    op->batch.buf = NULL; /* (2) */
    return true;
}

/* Those that found the log busy go first, in their order (5). */
static void append_resume(struct broker_shard *owner)
{
    struct list_node *node;
    while ((node = list_front(&owner->appends))) {
        struct broker_append *op = CONTAINER_OF(node, struct broker_append, msg.node);
        list_remove(node);
        if (!append_try(owner, op)) {
            list_push_front(&owner->appends, node);
            return;
        }
    }
}

static void append_run(struct broker_shard *owner, struct broker_append *op)
{
    op->info.text[0] = '\0';
    list_push_back(&owner->appends, &op->msg.node);
    append_resume(owner);
}

static void append_arrive(struct shard *to, struct shard_msg *msg)
{
    struct broker_append *op = CONTAINER_OF(msg, struct broker_append, msg);
    append_run(broker_part(op->broker, to), op);
}

/* ---- caller ---- */

/* What a message of max bytes in a door's own form may take as records: many small events grow most. */
static uint32_t measured_max(int64_t max)
{
    return max < BATCH_SIZE_MAX / 4 ? (uint32_t)(2 * max + 65536) : BATCH_SIZE_MAX;
}

static void append_policy(const struct broker_append *op, const struct topic *topic, int64_t now_ms,
                          struct batch_policy *ret)
{
    const struct topic_values *values = &topic->values;
    bool internal = (op->flags & BROKER_APPEND_INTERNAL) != 0;
    bool measured = (op->flags & BROKER_APPEND_MEASURED) != 0;
    *ret = (struct batch_policy){
        .origin = internal ? BATCH_FROM_SERVER : BATCH_FROM_CLIENT,
        .batch_bytes_max = internal   ? BATCH_SIZE_MAX
                           : measured ? measured_max(values->max_message_bytes)
                                      : (uint32_t)values->max_message_bytes,
        .segment_bytes_max = (uint32_t)values->segment_bytes,
        .zstd_allowed = !(op->flags & BROKER_APPEND_NO_ZSTD),
        .records_checked = (op->flags & BROKER_APPEND_STRICT) != 0,
        .keys_required = (values->cleanup & CLEANUP_COMPACT) != 0 && !internal,
        .append_time = values->timestamp_type == TIMESTAMP_LOG_APPEND_TIME,
        .now_ms = now_ms,
        .timestamp_before_max_ms = values->timestamp_before_max_ms,
        .timestamp_after_max_ms = internal ? INT64_MAX : values->timestamp_after_max_ms,
    };
    ASSERT(ret->segment_bytes_max > 0);
}

/*
 * Whether records need no walk for the upper time bound: the header says that none lies beyond it.
 * A walk costs little on plain records and makes a lie impossible; of compressed ones the header is
 * believed, as decompressing everything would double the cost of an append.
 */
static bool append_bound_holds(const struct batch_header *header, const struct batch_policy *policy)
{
    int64_t after = policy->timestamp_after_max_ms;
    ASSERT(after >= 0);
    return batch_codec(header) != BATCH_CODEC_NONE &&
           (header->max_timestamp_ms <= policy->now_ms ||
            (uint64_t)header->max_timestamp_ms - (uint64_t)policy->now_ms <= (uint64_t)after);
}

/* Cuts what follows the batch, unless that is a whole batch again. */
static enum err append_cut(struct broker_append *op)
{
    struct slice bytes = op->batch.bytes;
    uint32_t size = batch_size_peek(bytes);
    if (size == 0 || size > bytes.len)
        return err_info_set(&op->info, ERR_CORRUPT_MESSAGE, "the batch is cut short");
    struct slice rest = slice_sub(bytes, size, bytes.len);
    uint32_t more = batch_size_peek(rest);
    if (more >= BATCH_HEADER_SIZE && more <= rest.len)
        return err_info_set(&op->info, ERR_INVALID_RECORD, "more than one batch for a partition");
    op->batch.bytes.len = size;
    op->bytes = size;
    return ERR_OK;
}

static enum err append_check_batch(struct broker_shard *bs, struct broker_append *op,
                                   const struct topic *topic)
{
    struct batch_policy policy;
    struct batch_verdict verdict = {0};
    struct batch_header header;
    enum err err = append_cut(op);
    if (err)
        return err;
    append_policy(op, topic, reactor_wall_ms(bs->shard->reactor), &policy);
    policy.records_checked |= bs->broker->config.strict;
    if (batch_header_read(op->batch.bytes, &header, NULL) == ERR_OK &&
        append_bound_holds(&header, &policy))
        policy.timestamp_after_max_ms = INT64_MAX;
    err = batch_validate(op->batch.bytes, &policy, &bs->scratch, &verdict, &op->info);
    if (bs->scratch.cap > (1u << 20)) { /* one large batch must not keep its memory */
        size_t limit = bs->scratch.limit;
        bytebuf_deinit(&bs->scratch);
        bytebuf_init(&bs->scratch, limit);
    }
    if (err) {
        op->fault_count =
            verdict.fault_count < BROKER_FAULTS_MAX ? verdict.fault_count : BROKER_FAULTS_MAX;
        memcpy(op->faults, verdict.faults, sizeof(op->faults[0]) * op->fault_count);
        return err;
    }
    ASSERT(verdict.header.record_count > 0);
    op->records = (uint32_t)verdict.header.record_count;
    op->producer_id = verdict.header.producer_id;
    op->base_sequence = verdict.header.base_sequence;
    if (verdict.walked && verdict.max_timestamp_ms != verdict.header.max_timestamp_ms)
        batch_patch_max_timestamp((uint8_t *)op->batch.bytes.data, op->bytes,
                                  verdict.max_timestamp_ms);
    return ERR_OK;
}

static enum err append_check(struct broker_shard *bs, struct broker_append *op)
{
    if (bs->stopping && !(op->flags & BROKER_APPEND_INTERNAL))
        return ERR_CLOSING;
    if (op->acks < -1 || op->acks > 1)
        return ERR_INVALID_REQUIRED_ACKS;
    const struct topic *topic = broker_topic_find_id(bs, op->topic_id);
    if (!topic || op->partition < 0 || op->partition >= topic->partition_count)
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    if (topic->internal && !(op->flags & BROKER_APPEND_INTERNAL))
        return err_info_set(&op->info, ERR_INVALID_TOPIC, "%.*s is written by the broker alone",
                            SLICE_FMT(topic->name));
    return append_check_batch(bs, op, topic);
}

void broker_append(struct broker_shard *bs, struct broker_append *op)
{
    ASSERT(op->done && op->batch.buf);
    op->broker = bs->broker;
    op->from = bs->shard;
    op->info = (struct err_info){0};
    op->base_offset = op->last_offset = op->log_start_offset = op->log_append_time_ms = -1;
    op->duplicate = false;
    op->fault_count = 0;
    op->records = op->bytes = 0;
    op->producer_id = -1;
    op->base_sequence = -1;
    op->err = append_check(bs, op);
    if (op->err) {
        append_answer(op, bs->shard);
        return;
    }
    struct shard *owner = broker_owner(bs->broker, op->topic_id, op->partition);
    if (owner == bs->shard) {
        append_run(bs, op);
        return;
    }
    op->msg.fn = append_arrive;
    shard_send(bs->shard, owner, &op->msg);
}
