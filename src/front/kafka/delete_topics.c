/*
 * Role: DeleteTopics, by name or (version 6) by id.
 *
 * Invariants: (1) every topic asked for is answered, in order; (2) version 6 answers name and id
 * where it knows them. Ownership: the shard of the connection. Failure modes: unknown name (3) or
 * id (100), internal topic (17), a topic named by both or neither, or twice (42).
 */
#include "front/kafka/kafka_int.h"
#include "kafka_delete_topics.h"

struct delete_item {
    struct broker_topic_op op;
    struct deletes *deletes;
    struct kafka_delete_topics_response_topic *answer;
    bool submitted;
};

struct deletes {
    struct kafka_request *req;
    struct kafka_delete_topics_request msg;
    struct kafka_delete_topics_response answer;
    struct delete_item *items;
    uint32_t count;
    uint32_t waiting;
};

static void deletes_answer(struct deletes *deletes)
{
    struct kafka_request *req = deletes->req;
    ASSERT(deletes->waiting == 0);
    kafka_delete_topics_response_encode(kafka_reply_begin(req), req->version, &deletes->answer);
    kafka_reply_end(req);
}

static void delete_done(struct broker_topic_op *op)
{
    struct delete_item *item = CONTAINER_OF(op, struct delete_item, op);
    item->answer->error_code = kafka_code_of(op->err);
    if (op->err != ERR_OK)
        item->answer->error_message =
            slice_cstr(op->info.text[0] ? op->info.text : err_row(op->err)->text);
    ASSERT(item->deletes->waiting > 0);
    if (--item->deletes->waiting == 0)
        deletes_answer(item->deletes);
}

static void delete_prepare(struct delete_item *item, struct slice name, struct wire_uuid id)
{
    struct kafka_request *req = item->deletes->req;
    struct kafka_delete_topics_response_topic *answer = item->answer;
    bool by_id = !name.data;
    kafka_delete_topics_response_topic_init(answer);
    answer->name = name;
    answer->topic_id = id;
    if (by_id == wire_uuid_is_zero(id)) {
        answer->error_code = KAFKA_INVALID_REQUEST;
        answer->error_message = SLICE_LIT("A topic is named by its name or by its id.");
        return;
    }
    const struct topic *topic = kafka_topic_find(req, by_id, name, id, &answer->error_code);
    if (!topic)
        return;
    answer->name = arena_copy(req->arena, topic->name);
    answer->topic_id = kafka_uuid_out(topic->id);
    if (topic->internal) {
        answer->error_code = KAFKA_INVALID_TOPIC;
        return;
    }
    item->op.action = BROKER_TOPIC_DELETE;
    item->op.name = answer->name;
    item->op.id = topic->id;
    item->op.done = delete_done;
    item->submitted = true;
    item->deletes->waiting++;
}

/* A topic named twice, by name or id, is not deleted. False: the arena is full. */
static bool deletes_refuse_repeats(struct deletes *deletes)
{
    struct arena *arena = deletes->req->arena;
    struct kafka_name *names = ARENA_ARRAY(arena, struct kafka_name, deletes->waiting);
    struct delete_item **items = ARENA_ARRAY(arena, struct delete_item *, deletes->waiting);
    if (!names || !items)
        return false;
    uint32_t count = 0;
    for (uint32_t i = 0; i < deletes->count; i++) {
        struct delete_item *item = &deletes->items[i];
        if (!item->submitted)
            continue;
        items[count] = item;
        names[count].text = slice_make(item->op.id.bytes, sizeof(item->op.id.bytes));
        names[count].index = count;
        count++;
    }
    ASSERT(count == deletes->waiting);
    const bool *repeated = kafka_repeats(arena, names, count);
    for (uint32_t i = 0; repeated && i < count; i++) {
        if (!repeated[i])
            continue;
        items[i]->submitted = false;
        items[i]->answer->error_code = KAFKA_INVALID_REQUEST;
        items[i]->answer->error_message = SLICE_LIT("The request names the topic more than once.");
        deletes->waiting--;
    }
    return repeated != NULL;
}

static bool deletes_prepare(struct deletes *deletes)
{
    const struct kafka_delete_topics_request *msg = &deletes->msg;
    struct arena *arena = deletes->req->arena;
    bool structs = deletes->req->version >= 6;
    deletes->count = (uint32_t)(structs ? msg->topics_count : msg->topic_names_count);
    deletes->items = ARENA_ARRAY(arena, struct delete_item, deletes->count);
    deletes->answer.responses =
        ARENA_ARRAY(arena, struct kafka_delete_topics_response_topic, deletes->count);
    if (!deletes->items || !deletes->answer.responses)
        return false;
    deletes->answer.responses_count = (int32_t)deletes->count;
    for (uint32_t i = 0; i < deletes->count; i++) {
        deletes->items[i].deletes = deletes;
        deletes->items[i].answer = &deletes->answer.responses[i];
        if (structs)
            delete_prepare(&deletes->items[i], msg->topics[i].name, msg->topics[i].topic_id);
        else
            delete_prepare(&deletes->items[i], msg->topic_names[i], (struct wire_uuid){{0}});
    }
    return deletes_refuse_repeats(deletes);
}

void kafka_handle_delete_topics(struct kafka_request *req)
{
    struct deletes *deletes = ARENA_NEW(req->arena, struct deletes);
    if (!deletes || !KAFKA_DECODE(req, delete_topics, &deletes->msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    deletes->req = req;
    kafka_delete_topics_response_init(&deletes->answer);
    if (!deletes_prepare(deletes)) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    if (deletes->waiting == 0) {
        deletes_answer(deletes);
        return;
    }
    uint32_t count = deletes->count;
    for (uint32_t i = 0; i < count; i++)
        if (deletes->items[i].submitted)
            broker_topic_submit(req->ks->bs, &deletes->items[i].op);
}
