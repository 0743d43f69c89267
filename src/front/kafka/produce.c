/*
 * Role: Produce. Finds each partition's batch, hands it to the broker where it lies in the received
 * block, and answers when all appends have ended.
 *
 *     request -> parts (one per partition, in order) -> broker_append each -> last one done ->
 * answer
 *
 * Invariants: (1) after an append was accepted no error is answered for it; (2) a batch is never
 * copied on its way from the socket to the log, except when an old message set is converted; (3)
 * every part is answered, in the order asked.
 *
 * Ownership: the shard of the connection; the broker answers there. Failure modes follow Kafka's
 * order of checks: acks, transactional id, topic, internal topic, count and format of batches,
 * compression by version; the rest is the broker's. With acks=0 there is no answer, so a failure
 * closes the connection.
 */
#include "front/kafka/kafka_int.h"
#include "kafka_produce.h"
#include "seglog/batch.h"

struct produce_part {
    struct broker_append op;
    struct produce *produce;
    int16_t code; /* decided before or instead of the append */
    const char *text;
    bool submitted;
};

struct produce {
    struct kafka_request *req;
    struct kafka_produce_request msg;
    struct produce_part *parts; /* all topics' partitions, flat */
    uint32_t part_count;
    uint32_t waiting;
    bool failed;
};

enum { SCRATCH_MAX = BATCH_INFLATED_MAX };

static void part_refuse(struct produce_part *part, int16_t code, const char *text)
{
    ASSERT(code != KAFKA_NONE);
    part->code = code;
    part->text = text;
    part->produce->failed = true;
}

/* Versions 0 to 2 carry message sets of format 0 or 1: they become one batch. False: refused. */
static bool part_convert(struct produce_part *part, const struct topic *topic, struct slice set)
{
    struct bytebuf scratch;
    struct err_info info = {0};
    bytebuf_init(&scratch, SCRATCH_MAX);
    enum err err = batch_from_message_set(set, (size_t)topic->values.max_message_bytes, &scratch,
                                          &part->op.batch, &info);
    bytebuf_deinit(&scratch);
    if (err != ERR_OK) {
        part_refuse(part, kafka_code_of(err),
                    arena_strdup(part->produce->req->arena, slice_cstr(info.text)));
        return false;
    }
    return true;
}

/* From version 3: exactly one batch of format 2; a partial one behind it is dropped. False:
 * refused. */
static bool part_take(struct produce_part *part, struct slice records)
{
    struct kafka_request *req = part->produce->req;
    struct batch_header header;
    if (records.len == 0) {
        part_refuse(part, KAFKA_INVALID_RECORD, "The partition has no record batch.");
        return false;
    }
    enum err err = batch_header_read(records, &header, NULL);
    if (err != ERR_OK) {
        bool old = err == ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT;
        part_refuse(part, old ? KAFKA_INVALID_RECORD : kafka_code_of(err),
                    "The record batch cannot be read.");
        return false;
    }
    struct slice rest = slice_sub(records, header.size, SIZE_MAX);
    uint32_t next = batch_size_peek(rest);
    if (next != 0 && next <= rest.len) {
        part_refuse(part, KAFKA_INVALID_RECORD, "A partition takes exactly one record batch.");
        return false;
    }
    if (batch_codec(&header) == BATCH_CODEC_ZSTD && req->version < 7) {
        part_refuse(part, KAFKA_UNSUPPORTED_COMPRESSION_TYPE, "zstd needs version 7 of Produce.");
        return false;
    }
    if (header.attributes & BATCH_ATTR_TRANSACTIONAL) {
        part_refuse(part, KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
                    "Transactions are not served.");
        return false;
    }
    part->op.batch =
        (struct iobuf_range){iobuf_ref(req->pin.buf), slice_sub(records, 0, header.size)};
    return true;
}

static void produce_answer(struct produce *produce);

static void part_done(struct broker_append *op)
{
    struct produce_part *part = CONTAINER_OF(op, struct produce_part, op);
    struct produce *produce = part->produce;
    if (op->err != ERR_OK)
        part_refuse(part, kafka_code_of(op->err),
                    op->info.text[0] ? op->info.text : err_row(op->err)->text);
    ASSERT(produce->waiting > 0);
    if (--produce->waiting == 0)
        produce_answer(produce);
}

static void part_prepare(struct produce_part *part, const struct kafka_produce_request_topic *asked,
                         const struct kafka_produce_request_partition *partition)
{
    struct kafka_request *req = part->produce->req;
    const struct kafka_produce_request *msg = &part->produce->msg;
    part->op.base_offset = -1;
    part->op.log_append_time_ms = -1;
    part->op.log_start_offset = -1;
    if (msg->acks < -1 || msg->acks > 1) {
        part_refuse(part, KAFKA_INVALID_REQUIRED_ACKS, "acks must be -1, 0 or 1.");
        return;
    }
    if (msg->transactional_id.data) {
        part_refuse(part, KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
                    "Transactions are not served.");
        return;
    }
    int16_t code;
    const struct topic *topic =
        kafka_topic_find(req, req->version >= 13, asked->name, asked->topic_id, &code);
    if (!topic || partition->index < 0 || partition->index >= topic->partition_count) {
        part_refuse(part, topic ? KAFKA_UNKNOWN_TOPIC_OR_PARTITION : code, NULL);
        return;
    }
    if (topic->internal) {
        part_refuse(part, KAFKA_INVALID_TOPIC, "The topic is internal.");
        return;
    }
    struct slice records = partition->records.bytes;
    if (req->version < 3 ? !part_convert(part, topic, records) : !part_take(part, records))
        return;
    part->op.topic_id = topic->id;
    part->op.partition = partition->index;
    part->op.acks = (int8_t)msg->acks;
    part->op.done = part_done;
    part->submitted = true;
}

/* Codes that a version's clients do not know are sent as an older one of the same meaning. */
static int16_t produce_code(const struct kafka_request *req, int16_t code)
{
    if (code == KAFKA_STORAGE_ERROR && req->version <= 3)
        return KAFKA_NOT_LEADER;
    return code;
}

/* Which records made the batch invalid, for versions that can tell. */
static void part_record_errors(struct produce_part *part,
                               struct kafka_produce_response_partition *ret_answer)
{
    const struct broker_append *op = &part->op;
    ASSERT(op->fault_count <= BROKER_FAULTS_MAX);
    ret_answer->record_errors = ARENA_ARRAY(
        part->produce->req->arena, struct kafka_produce_response_record_error, BROKER_FAULTS_MAX);
    if (!ret_answer->record_errors)
        return;
    for (uint32_t i = 0; i < op->fault_count; i++) {
        if (op->faults[i].record_index < 0)
            continue;
        ret_answer->record_errors[ret_answer->record_errors_count++] =
            (struct kafka_produce_response_record_error){
                op->faults[i].record_index,
                op->faults[i].text ? slice_cstr(op->faults[i].text) : SLICE_NULL};
    }
}

static void part_answer(struct produce_part *part,
                        struct kafka_produce_response_partition *ret_answer)
{
    struct kafka_request *req = part->produce->req;
    const struct broker_append *op = &part->op;
    ret_answer->error_code = produce_code(req, part->code);
    if (part->code == KAFKA_NONE) {
        ret_answer->base_offset = op->base_offset;
        ret_answer->log_append_time_ms = op->log_append_time_ms;
        ret_answer->log_start_offset = op->log_start_offset;
        return;
    }
    ret_answer->base_offset = -1;
    if (part->text)
        ret_answer->error_message = slice_cstr(part->text);
    part_record_errors(part, ret_answer);
    if (part->code == KAFKA_NOT_LEADER) {
        ret_answer->current_leader.leader_id = req->ks->front->node_id;
        ret_answer->current_leader.leader_epoch = broker_leader_epoch(req->ks->front->broker);
    }
}

/* Fills the answer in the shape of the request. False: the arena is full. */
static bool produce_fill(struct produce *produce, struct kafka_produce_response *answer)
{
    struct arena *arena = produce->req->arena;
    const struct kafka_produce_request *msg = &produce->msg;
    uint32_t at = 0;
    answer->responses =
        ARENA_ARRAY(arena, struct kafka_produce_response_topic, (size_t)msg->topic_data_count);
    if (!answer->responses)
        return false;
    answer->responses_count = msg->topic_data_count;
    for (int32_t t = 0; t < msg->topic_data_count; t++) {
        const struct kafka_produce_request_topic *asked = &msg->topic_data[t];
        struct kafka_produce_response_topic *topic = &answer->responses[t];
        topic->name = asked->name;
        topic->topic_id = asked->topic_id;
        size_t count = (size_t)asked->partition_data_count;
        topic->partition_responses =
            ARENA_ARRAY(arena, struct kafka_produce_response_partition, count);
        if (!topic->partition_responses)
            return false;
        topic->partition_responses_count = asked->partition_data_count;
        for (int32_t p = 0; p < asked->partition_data_count; p++) {
            struct kafka_produce_response_partition *partition = &topic->partition_responses[p];
            kafka_produce_response_partition_init(partition);
            partition->index = asked->partition_data[p].index;
            ASSERT(at < produce->part_count);
            part_answer(&produce->parts[at++], partition);
        }
    }
    return true;
}

static void produce_answer(struct produce *produce)
{
    struct kafka_request *req = produce->req;
    ASSERT(produce->waiting == 0);
    if (produce->msg.acks == 0) {
        if (produce->failed)
            kafka_request_reject(req, "produce_failed");
        else
            kafka_reply_none(req);
        return;
    }
    struct kafka_produce_response answer;
    kafka_produce_response_init(&answer);
    if (!produce_fill(produce, &answer)) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    kafka_produce_response_encode(kafka_reply_begin(req), req->version, &answer);
    kafka_reply_end(req);
}

static bool produce_prepare(struct produce *produce)
{
    const struct kafka_produce_request *msg = &produce->msg;
    size_t count = 0;
    for (int32_t t = 0; t < msg->topic_data_count; t++)
        count += (size_t)msg->topic_data[t].partition_data_count;
    produce->parts = ARENA_ARRAY(produce->req->arena, struct produce_part, count);
    if (!produce->parts)
        return false;
    produce->part_count = (uint32_t)count;
    uint32_t at = 0;
    for (int32_t t = 0; t < msg->topic_data_count; t++) {
        const struct kafka_produce_request_topic *topic = &msg->topic_data[t];
        for (int32_t p = 0; p < topic->partition_data_count; p++) {
            struct produce_part *part = &produce->parts[at++];
            part->produce = produce;
            part_prepare(part, topic, &topic->partition_data[p]);
            produce->waiting += part->submitted;
        }
    }
    return true;
}

void kafka_handle_produce(struct kafka_request *req)
{
    struct produce *produce = ARENA_NEW(req->arena, struct produce);
    if (!produce || !KAFKA_DECODE(req, produce, &produce->msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    produce->req = req;
    if (!produce_prepare(produce)) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    if (produce->waiting == 0) {
        produce_answer(produce);
        return;
    }
    for (uint32_t i = 0; i < produce->part_count; i++)
        if (produce->parts[i].submitted)
            broker_append(req->ks->bs, &produce->parts[i].op);
}
