/*
 * Role: ListOffsets. Special timestamps name an end of the log, others are searched for.
 *
 * Invariants: (1) one operation per partition, all in flight together; (2) "none" is offset -1 with
 * error 0; (3) version 0 answers a list, later ones a single offset with its timestamp. Ownership:
 * the shard of the connection. Failure modes: unknown topic or partition (3), a special timestamp
 * that the version does not know (35), epochs (74, 75), from version 1 a partition named twice (42).
 */
#include "front/kafka/kafka_int.h"
#include "kafka_list_offsets.h"

enum {
    AT_LATEST = -1,
    AT_EARLIEST = -2,
    AT_MAX_TIMESTAMP = -3,   /* from version 7 */
    AT_EARLIEST_LOCAL = -4,  /* from version 8 */
    AT_LATEST_TIERED = -5,   /* from version 9 */
    AT_EARLIEST_PENDING = -6 /* from version 11 */
};

struct list_part {
    struct broker_offset_op op;
    struct list_offsets *list;
    const struct kafka_list_offsets_request_partition *asked;
    struct kafka_list_offsets_response_partition *answer;
    bool submitted;
};

struct list_offsets {
    struct kafka_request *req;
    struct kafka_list_offsets_request msg;
    struct kafka_list_offsets_response answer;
    struct list_part *parts;
    uint32_t part_count;
    uint32_t waiting;
};

static void list_answer(struct list_offsets *list)
{
    struct kafka_request *req = list->req;
    ASSERT(list->waiting == 0);
    kafka_list_offsets_response_encode(kafka_reply_begin(req), req->version, &list->answer);
    kafka_reply_end(req);
}

/* Version 0: offsets at or before the moment asked for, newest first, as many as asked. */
static void part_answer_old(struct list_part *part)
{
    const struct broker_offset_op *op = &part->op;
    struct kafka_list_offsets_response_partition *answer = part->answer;
    int64_t newest = op->offset >= 0 ? op->offset : op->high_watermark;
    answer->old_style_offsets = ARENA_ARRAY(part->list->req->arena, int64_t, 2);
    if (!answer->old_style_offsets)
        return;
    int32_t count = 0;
    if (part->asked->max_num_offsets > 0)
        answer->old_style_offsets[count++] = newest;
    if (part->asked->max_num_offsets > 1 && op->log_start_offset < newest)
        answer->old_style_offsets[count++] = op->log_start_offset;
    answer->old_style_offsets_count = count;
}

static void part_done(struct broker_offset_op *op)
{
    struct list_part *part = CONTAINER_OF(op, struct list_part, op);
    struct kafka_list_offsets_response_partition *answer = part->answer;
    answer->error_code = kafka_code_of(op->err);
    if (op->err == ERR_OK && part->list->req->version == 0) {
        part_answer_old(part);
    } else if (op->err == ERR_OK) {
        bool latest = part->asked->timestamp == AT_LATEST;
        bool committed = latest && part->list->msg.isolation_level == 1;
        answer->offset = committed ? op->last_stable_offset : op->offset;
        answer->timestamp = op->ret_timestamp_ms;
        answer->leader_epoch = op->leader_epoch;
    }
    ASSERT(part->list->waiting > 0);
    if (--part->list->waiting == 0)
        list_answer(part->list);
}

/* What to ask the broker for a timestamp; false: answered here. */
static bool part_query(struct list_part *part, int16_t version)
{
    static const struct {
        int64_t timestamp;
        int16_t version_min;
        enum broker_offset_query query;
    } specials[] = {
        {AT_LATEST, 0, BROKER_OFFSET_LATEST},
        {AT_EARLIEST, 0, BROKER_OFFSET_EARLIEST},
        {AT_MAX_TIMESTAMP, 7, BROKER_OFFSET_MAX_TIMESTAMP},
        {AT_EARLIEST_LOCAL, 8, BROKER_OFFSET_EARLIEST},
    };
    int64_t timestamp = part->asked->timestamp;
    if (timestamp >= 0) {
        part->op.query = BROKER_OFFSET_BY_TIME;
        part->op.timestamp_ms = timestamp;
        return true;
    }
    for (size_t i = 0; i < sizeof(specials) / sizeof(specials[0]); i++) {
        if (specials[i].timestamp != timestamp || version < specials[i].version_min)
            continue;
        part->op.query = specials[i].query;
        return true;
    }
    bool tiered = timestamp == AT_LATEST_TIERED && version >= 9;
    bool pending = timestamp == AT_EARLIEST_PENDING && version >= 11;
    if (!tiered && !pending)
        part->answer->error_code = KAFKA_UNSUPPORTED_VERSION;
    return false;
}

static void part_prepare(struct list_part *part,
                         const struct kafka_list_offsets_request_topic *asked, bool repeated)
{
    struct kafka_request *req = part->list->req;
    int16_t code;
    const struct topic *topic =
        kafka_topic_find(req, false, asked->name, (struct wire_uuid){{0}}, &code);
    int32_t index = part->asked->partition_index;
    kafka_list_offsets_response_partition_init(part->answer);
    part->answer->partition_index = index;
    if (!topic || index < 0 || index >= topic->partition_count) {
        part->answer->error_code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
        return;
    }
    if (repeated) {
        part->answer->error_code = KAFKA_INVALID_REQUEST;
        return;
    }
    if (!part_query(part, req->version))
        return;
    part->op.topic_id = topic->id;
    part->op.partition = index;
    part->op.current_epoch = part->asked->current_leader_epoch;
    part->op.done = part_done;
    part->submitted = true;
    part->list->waiting++;
}

/* Which partitions, in the order asked, the request names more than once. NULL: the arena is full. */
static const bool *list_repeats(const struct list_offsets *list, size_t count)
{
    const struct kafka_list_offsets_request *msg = &list->msg;
    struct kafka_name *names = ARENA_ARRAY(list->req->arena, struct kafka_name, count);
    if (!names)
        return NULL;
    uint32_t at = 0;
    for (int32_t t = 0; t < msg->topics_count; t++) {
        for (int32_t p = 0; p < msg->topics[t].partitions_count; p++, at++)
            names[at] = (struct kafka_name){msg->topics[t].name,
                                            msg->topics[t].partitions[p].partition_index, at};
    }
    ASSERT(at == count);
    return kafka_repeats(list->req->arena, names, count);
}

static bool list_prepare(struct list_offsets *list)
{
    const struct kafka_list_offsets_request *msg = &list->msg;
    struct arena *arena = list->req->arena;
    struct kafka_list_offsets_response *answer = &list->answer;
    size_t count = 0;
    for (int32_t t = 0; t < msg->topics_count; t++)
        count += (size_t)msg->topics[t].partitions_count;
    list->parts = ARENA_ARRAY(arena, struct list_part, count);
    answer->topics =
        ARENA_ARRAY(arena, struct kafka_list_offsets_response_topic, (size_t)msg->topics_count);
    struct kafka_list_offsets_response_partition *all =
        ARENA_ARRAY(arena, struct kafka_list_offsets_response_partition, count);
    const bool *repeated = list_repeats(list, count);
    if (!list->parts || !answer->topics || !all || !repeated)
        return false;
    answer->topics_count = msg->topics_count;
    for (int32_t t = 0; t < msg->topics_count; t++) {
        const struct kafka_list_offsets_request_topic *asked = &msg->topics[t];
        struct kafka_list_offsets_response_topic *topic = &answer->topics[t];
        topic->name = asked->name;
        topic->partitions = &all[list->part_count];
        topic->partitions_count = asked->partitions_count;
        for (int32_t p = 0; p < asked->partitions_count; p++) {
            uint32_t at = list->part_count++;
            struct list_part *part = &list->parts[at];
            part->list = list;
            part->asked = &asked->partitions[p];
            part->answer = &topic->partitions[p];
            part_prepare(part, asked, repeated[at] && list->req->version > 0);
        }
    }
    return true;
}

void kafka_handle_list_offsets(struct kafka_request *req)
{
    struct list_offsets *list = ARENA_NEW(req->arena, struct list_offsets);
    if (!list || !KAFKA_DECODE(req, list_offsets, &list->msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    list->req = req;
    kafka_list_offsets_response_init(&list->answer);
    if (!list_prepare(list)) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    if (list->waiting == 0) {
        list_answer(list);
        return;
    }
    for (uint32_t i = 0; i < list->part_count; i++)
        if (list->parts[i].submitted)
            broker_offset(req->ks->bs, &list->parts[i].op);
}
