/*
 * Role: OffsetForLeaderEpoch. Where the largest epoch not above the one asked for ends.
 *
 * Invariants: (1) one operation per partition, all in flight together; (2) an unknown epoch is
 * -1/-1 with error 0. Ownership: the shard of the connection. Failure modes: unknown topic or
 * partition (3), epochs (74, 75).
 */
#include "front/kafka/kafka_int.h"
#include "kafka_offset_for_leader_epoch.h"

struct epoch_part {
    struct broker_offset_op op;
    struct epochs *epochs;
    struct kafka_offset_for_leader_epoch_response_partition *answer;
    bool submitted;
};

struct epochs {
    struct kafka_request *req;
    struct kafka_offset_for_leader_epoch_request msg;
    struct kafka_offset_for_leader_epoch_response answer;
    struct epoch_part *parts;
    uint32_t part_count;
    uint32_t waiting;
};

static void epochs_answer(struct epochs *epochs)
{
    struct kafka_request *req = epochs->req;
    ASSERT(epochs->waiting == 0);
    kafka_offset_for_leader_epoch_response_encode(kafka_reply_begin(req), req->version,
                                                  &epochs->answer);
    kafka_reply_end(req);
}

static void part_done(struct broker_offset_op *op)
{
    struct epoch_part *part = CONTAINER_OF(op, struct epoch_part, op);
    part->answer->error_code = kafka_code_of(op->err);
    if (op->err == ERR_OK) {
        part->answer->leader_epoch = op->leader_epoch;
        part->answer->end_offset = op->offset;
    }
    ASSERT(part->epochs->waiting > 0);
    if (--part->epochs->waiting == 0)
        epochs_answer(part->epochs);
}

static void part_prepare(struct epoch_part *part, struct slice name,
                         const struct kafka_offset_for_leader_epoch_request_partition *asked)
{
    int16_t code;
    const struct topic *topic =
        kafka_topic_find(part->epochs->req, false, name, (struct wire_uuid){{0}}, &code);
    kafka_offset_for_leader_epoch_response_partition_init(part->answer);
    part->answer->partition = asked->partition;
    if (!topic || asked->partition < 0 || asked->partition >= topic->partition_count) {
        part->answer->error_code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
        return;
    }
    part->op.topic_id = topic->id;
    part->op.partition = asked->partition;
    part->op.query = BROKER_OFFSET_OF_EPOCH;
    part->op.epoch = asked->leader_epoch;
    part->op.current_epoch = asked->current_leader_epoch;
    part->op.done = part_done;
    part->submitted = true;
    part->epochs->waiting++;
}

static bool epochs_prepare(struct epochs *epochs)
{
    const struct kafka_offset_for_leader_epoch_request *msg = &epochs->msg;
    struct arena *arena = epochs->req->arena;
    struct kafka_offset_for_leader_epoch_response *answer = &epochs->answer;
    size_t count = 0;
    for (int32_t t = 0; t < msg->topics_count; t++)
        count += (size_t)msg->topics[t].partitions_count;
    epochs->parts = ARENA_ARRAY(arena, struct epoch_part, count);
    answer->topics = ARENA_ARRAY(arena, struct kafka_offset_for_leader_epoch_response_topic,
                                 (size_t)msg->topics_count);
    struct kafka_offset_for_leader_epoch_response_partition *all =
        ARENA_ARRAY(arena, struct kafka_offset_for_leader_epoch_response_partition, count);
    if (!epochs->parts || !answer->topics || !all)
        return false;
    answer->topics_count = msg->topics_count;
    for (int32_t t = 0; t < msg->topics_count; t++) {
        const struct kafka_offset_for_leader_epoch_request_topic *asked = &msg->topics[t];
        answer->topics[t].topic = asked->topic;
        answer->topics[t].partitions = &all[epochs->part_count];
        answer->topics[t].partitions_count = asked->partitions_count;
        for (int32_t p = 0; p < asked->partitions_count; p++) {
            struct epoch_part *part = &epochs->parts[epochs->part_count++];
            part->epochs = epochs;
            part->answer = &answer->topics[t].partitions[p];
            part_prepare(part, asked->topic, &asked->partitions[p]);
        }
    }
    ASSERT(epochs->part_count == count);
    return true;
}

void kafka_handle_offset_for_leader_epoch(struct kafka_request *req)
{
    struct epochs *epochs = ARENA_NEW(req->arena, struct epochs);
    if (!epochs || !KAFKA_DECODE(req, offset_for_leader_epoch, &epochs->msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    epochs->req = req;
    kafka_offset_for_leader_epoch_response_init(&epochs->answer);
    if (!epochs_prepare(epochs)) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    if (epochs->waiting == 0) {
        epochs_answer(epochs);
        return;
    }
    for (uint32_t i = 0; i < epochs->part_count; i++)
        if (epochs->parts[i].submitted)
            broker_offset(req->ks->bs, &epochs->parts[i].op);
}
