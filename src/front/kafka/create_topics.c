/*
 * Role: CreateTopics. Checks what is protocol (duplicates, assignments, replication factor, names
 * of configurations) and leaves the rest to the broker, which makes the topics one after another.
 *
 * Invariants: (1) every topic asked for is answered, in order; (2) a topic answered without error
 * is usable; (3) a replication factor above 1 is taken and clamped, since there is one node.
 * Ownership: the shard of the connection. Failure modes, in Kafka's order: name (17), exists (36),
 * duplicate in the request (42), configuration (40), assignment (39, 42), replication factor (38),
 * partitions (37).
 */
#include <stdlib.h>

#include "front/kafka/kafka_int.h"
#include "kafka_create_topics.h"

enum { CREATES_MAX = 5000 }; /* of one request: each is a durable change of the catalogue */

struct create {
    struct broker_topic_op op;
    struct creates *creates;
    const struct kafka_create_topics_request_topic *asked;
    struct kafka_create_topics_response_topic *answer;
    bool submitted;
};

struct creates {
    struct kafka_request *req;
    struct kafka_create_topics_request msg;
    struct kafka_create_topics_response answer;
    struct create *items;
    uint32_t waiting;
};

static void create_refuse(struct create *create, int16_t code, const char *text)
{
    ASSERT(code != KAFKA_NONE);
    create->answer->error_code = code;
    create->answer->error_message = text ? slice_cstr(text) : SLICE_NULL;
}

static void creates_answer(struct creates *creates)
{
    struct kafka_request *req = creates->req;
    ASSERT(creates->waiting == 0 && creates->answer.topics_count == creates->msg.topics_count);
    kafka_create_topics_response_encode(kafka_reply_begin(req), req->version, &creates->answer);
    kafka_reply_end(req);
}

static int32_t default_partitions(const struct kafka_request *req)
{
    int32_t count = broker_config_get(req->ks->front->broker)->default_partitions;
    return count ? count : 1;
}

/* What the topic is like now, or would be like, for versions 5 and up. */
static void create_describe(struct create *create)
{
    struct kafka_request *req = create->creates->req;
    const struct topic *topic = create->op.topic;
    struct kafka_create_topics_response_topic *answer = create->answer;
    const struct topic would_be = {
        .partition_count = create->op.partition_count,
        .overrides = create->op.overrides,
        .override_count = create->op.override_count,
    };
    if (!topic) {
        ASSERT(create->op.check_only);
        topic = &would_be;
    }
    answer->replication_factor = 1;
    answer->topic_id = kafka_uuid_out(topic->id);
    answer->num_partitions = topic->partition_count;
    if (answer->num_partitions == -1)
        answer->num_partitions = default_partitions(req);
    struct kafka_config_view *views =
        req->version >= 5 ? kafka_topic_configs(req->arena, topic) : NULL;
    if (!views)
        return;
    answer->configs =
        ARENA_ARRAY(req->arena, struct kafka_create_topics_response_config, TOPIC_CONFIG_COUNT);
    if (!answer->configs)
        return;
    answer->configs_count = TOPIC_CONFIG_COUNT;
    for (int i = 0; i < TOPIC_CONFIG_COUNT; i++)
        answer->configs[i] = (struct kafka_create_topics_response_config){
            .name = views[i].name, .value = views[i].value, .config_source = views[i].source};
}

static void create_done(struct broker_topic_op *op)
{
    struct create *create = CONTAINER_OF(op, struct create, op);
    if (op->err != ERR_OK)
        create_refuse(create, kafka_code_of(op->err),
                      op->info.text[0] ? op->info.text : err_row(op->err)->text);
    else
        create_describe(create);
    ASSERT(create->creates->waiting > 0);
    if (--create->creates->waiting == 0)
        creates_answer(create->creates);
}

static int override_order(const void *a, const void *b)
{
    const struct topic_override *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

/* The configurations as overrides, sorted. False: refused. */
static bool create_configs(struct create *create)
{
    struct arena *arena = create->creates->req->arena;
    const struct kafka_create_topics_request_topic *asked = create->asked;
    struct topic_override *overrides =
        ARENA_ARRAY(arena, struct topic_override, (size_t)asked->configs_count);
    if (!overrides) {
        create_refuse(create, kafka_code_of(ERR_NO_MEMORY), NULL);
        return false;
    }
    for (int32_t i = 0; i < asked->configs_count; i++) {
        const struct kafka_create_topics_request_config *config = &asked->configs[i];
        struct err_info info = {0};
        enum topic_config_key key = topic_config_find(config->name);
        if (key == TOPIC_CONFIG_COUNT) {
            const char *text =
                arena_printf(arena, "Unknown topic config name: %.*s", SLICE_FMT(config->name));
            create_refuse(create, KAFKA_INVALID_CONFIG, text);
            return false;
        }
        if (!config->value.data) {
            const char *text =
                arena_printf(arena, "No value for topic config %.*s", SLICE_FMT(config->name));
            create_refuse(create, KAFKA_INVALID_CONFIG, text);
            return false;
        }
        if (topic_config_check(key, config->value, &info) != ERR_OK) {
            create_refuse(create, KAFKA_INVALID_CONFIG, arena_strdup(arena, slice_cstr(info.text)));
            return false;
        }
        overrides[i] = (struct topic_override){key, arena_strdup(arena, config->value)};
        if (!overrides[i].value) {
            create_refuse(create, kafka_code_of(ERR_NO_MEMORY), NULL);
            return false;
        }
    }
    qsort(overrides, (size_t)asked->configs_count, sizeof(*overrides), override_order);
    create->op.overrides = overrides;
    create->op.override_count = (uint32_t)asked->configs_count;
    return true;
}

/* A manual assignment must name partitions 0, 1, 2 ... once each, all on this node. False: refused.
 */
static bool create_assignment(struct create *create, int32_t *ret_partitions)
{
    const struct kafka_create_topics_request_topic *asked = create->asked;
    int32_t count = asked->assignments_count;
    if (asked->num_partitions != -1 || asked->replication_factor != -1) {
        create_refuse(create, KAFKA_INVALID_REQUEST,
                      "Partition count and replication factor go without an assignment.");
        return false;
    }
    bool *seen = ARENA_ARRAY(create->creates->req->arena, bool, (size_t)count);
    for (int32_t i = 0; i < count; i++) {
        const struct kafka_create_topics_request_assignment *assignment = &asked->assignments[i];
        int32_t index = assignment->partition_index;
        if (!seen || index < 0 || index >= count || seen[index]) {
            create_refuse(create, KAFKA_INVALID_REPLICA_ASSIGNMENT,
                          "Partitions must run from 0 without gaps.");
            return false;
        }
        seen[index] = true;
        bool here = assignment->broker_ids_count == 1 &&
                    assignment->broker_ids[0] == create->creates->req->ks->front->node_id;
        if (!here) {
            create_refuse(create, KAFKA_INVALID_REPLICA_ASSIGNMENT,
                          "Each partition has one replica, on this node.");
            return false;
        }
    }
    *ret_partitions = count;
    return true;
}

static void create_prepare(struct create *create, bool duplicate)
{
    const struct kafka_create_topics_request_topic *asked = create->asked;
    struct kafka_request *req = create->creates->req;
    struct err_info info = {0};
    int32_t partitions = asked->num_partitions;
    if (create->creates->msg.topics_count > CREATES_MAX) {
        create_refuse(create, KAFKA_INVALID_REQUEST, "The request creates too many topics.");
        return;
    }
    if (topic_name_check(asked->name, &info) != ERR_OK) {
        create_refuse(create, KAFKA_INVALID_TOPIC, arena_strdup(req->arena, slice_cstr(info.text)));
        return;
    }
    if (duplicate) {
        create_refuse(create, KAFKA_INVALID_REQUEST, "The request names the topic more than once.");
        return;
    }
    if (broker_topic_find(req->ks->bs, asked->name)) {
        create_refuse(
            create, kafka_code_of(ERR_TOPIC_EXISTS),
            arena_printf(req->arena, "Topic '%.*s' already exists.", SLICE_FMT(asked->name)));
        return;
    }
    if (!create_configs(create))
        return;
    if (asked->assignments_count > 0) {
        if (!create_assignment(create, &partitions))
            return;
    } else if (asked->replication_factor == 0 || asked->replication_factor < -1) {
        create_refuse(create, KAFKA_INVALID_REPLICATION_FACTOR,
                      "The replication factor must be larger than 0.");
        return;
    } else if (partitions == 0 || partitions < -1) {
        create_refuse(create, kafka_code_of(ERR_INVALID_PARTITIONS),
                      "The number of partitions must be larger than 0.");
        return;
    }
    create->op.action = BROKER_TOPIC_CREATE;
    create->op.name = asked->name;
    create->op.partition_count = partitions;
    create->op.check_only = create->creates->msg.validate_only;
    create->op.done = create_done;
    create->submitted = true;
    create->creates->waiting++;
}

/* Which topics the request names more than once. NULL: the arena is full. */
static const bool *creates_repeats(const struct creates *creates)
{
    size_t count = (size_t)creates->msg.topics_count;
    struct kafka_name *names = ARENA_ARRAY(creates->req->arena, struct kafka_name, count);
    for (size_t i = 0; names && i < count; i++)
        names[i] = (struct kafka_name){.text = creates->msg.topics[i].name, .index = (uint32_t)i};
    return names ? kafka_repeats(creates->req->arena, names, count) : NULL;
}

static bool creates_prepare(struct creates *creates)
{
    const struct kafka_create_topics_request *msg = &creates->msg;
    struct arena *arena = creates->req->arena;
    size_t count = (size_t)msg->topics_count;
    const bool *repeated = creates_repeats(creates);
    creates->items = ARENA_ARRAY(arena, struct create, count);
    creates->answer.topics = ARENA_ARRAY(arena, struct kafka_create_topics_response_topic, count);
    if (!creates->items || !creates->answer.topics || !repeated)
        return false;
    creates->answer.topics_count = msg->topics_count;
    for (int32_t i = 0; i < msg->topics_count; i++) {
        struct create *create = &creates->items[i];
        create->creates = creates;
        create->asked = &msg->topics[i];
        create->answer = &creates->answer.topics[i];
        kafka_create_topics_response_topic_init(create->answer);
        create->answer->name = create->asked->name;
        create->answer->error_message = SLICE_NULL;
        create_prepare(create, repeated[i]);
    }
    return true;
}

void kafka_handle_create_topics(struct kafka_request *req)
{
    struct creates *creates = ARENA_NEW(req->arena, struct creates);
    if (!creates || !KAFKA_DECODE(req, create_topics, &creates->msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    creates->req = req;
    kafka_create_topics_response_init(&creates->answer);
    if (!creates_prepare(creates)) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    if (creates->waiting == 0) {
        creates_answer(creates);
        return;
    }
    int32_t count = creates->msg.topics_count;
    for (int32_t i = 0; i < count; i++)
        if (creates->items[i].submitted)
            broker_topic_submit(req->ks->bs, &creates->items[i].op);
}
