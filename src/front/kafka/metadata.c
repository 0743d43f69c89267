/*
 * Role: Metadata. Who we are, at the address that this client can reach, and the topics asked for,
 * created first where that is allowed.
 *
 *     request -> [ensure each unknown topic] -> all ended -> look everything up again -> answer
 *
 * Invariants: (1) a topic in the answer is usable at once, with a leader; (2) topics are looked up
 * when the answer is written, since a pointer is good only until the shard returns to its loop; (3)
 * the address told is the configured one, else the one the client dialled.
 *
 * Ownership: the shard of the connection. Failure modes: unknown (3), invalid (17), unknown id
 * (100) per topic.
 */
#include "front/kafka/kafka_int.h"
#include "kafka_metadata.h"

enum { CREATES_MAX = 1000 };

struct metadata_create {
    struct broker_topic_op op;
    struct metadata *metadata;
    bool submitted;
};

struct metadata {
    struct kafka_request *req;
    struct kafka_metadata_request msg;
    struct metadata_create
        *creates; /* by the index of the topic asked for; NULL: nothing to create */
    uint32_t waiting;
};

/* One node leads and holds every partition. */
static bool topic_partitions(struct kafka_request *req, const struct topic *topic,
                             struct kafka_metadata_response_topic *ret)
{
    ASSERT(topic->partition_count > 0);
    size_t count = (size_t)topic->partition_count;
    int32_t *node = ARENA_NEW(req->arena, int32_t);
    ret->partitions = ARENA_ARRAY(req->arena, struct kafka_metadata_response_partition, count);
    if (!node || !ret->partitions)
        return false;
    *node = req->ks->front->node_id;
    ret->partitions_count = topic->partition_count;
    int32_t epoch = broker_leader_epoch(req->ks->front->broker);
    for (int32_t p = 0; p < topic->partition_count; p++) {
        struct kafka_metadata_response_partition *partition = &ret->partitions[p];
        partition->partition_index = p;
        partition->leader_id = *node;
        partition->leader_epoch = epoch;
        partition->replica_nodes = partition->isr_nodes = node;
        partition->replica_nodes_count = partition->isr_nodes_count = 1;
    }
    return true;
}

static bool topic_answer(struct metadata *metadata, const struct topic *topic,
                         struct kafka_metadata_response_topic *ret)
{
    struct kafka_request *req = metadata->req;
    ret->name = arena_copy(req->arena, topic->name);
    ret->topic_id = kafka_uuid_out(topic->id);
    ret->is_internal = topic->internal;
    if (metadata->msg.include_topic_authorized_operations)
        ret->topic_authorized_operations = KAFKA_TOPIC_OPERATIONS;
    return ret->name.data && topic_partitions(req, topic, ret);
}

static bool asked_answer(struct metadata *metadata, int32_t index,
                         struct kafka_metadata_response_topic *ret)
{
    const struct kafka_metadata_request_topic *asked = &metadata->msg.topics[index];
    bool by_id = !asked->name.data;
    int16_t code;
    const struct topic *topic =
        kafka_topic_find(metadata->req, by_id, asked->name, asked->topic_id, &code);
    if (topic)
        return topic_answer(metadata, topic, ret);
    ret->name = asked->name;
    ret->topic_id = asked->topic_id;
    if (!by_id && topic_name_check(asked->name, NULL) != ERR_OK)
        code = KAFKA_INVALID_TOPIC;
    const struct metadata_create *create = metadata->creates ? &metadata->creates[index] : NULL;
    if (create && create->submitted && create->op.err != ERR_OK)
        code = kafka_code_of(create->op.err);
    ret->error_code = code;
    return true;
}

static bool metadata_fill(struct metadata *metadata, struct kafka_metadata_response *answer)
{
    struct kafka_request *req = metadata->req;
    struct topic_set *set = broker_topics(req->ks->bs);
    bool all = metadata->msg.topics_count < 0;
    uint32_t count = all ? topic_set_count(set) : (uint32_t)metadata->msg.topics_count;
    answer->topics = ARENA_ARRAY(req->arena, struct kafka_metadata_response_topic, count);
    if (!answer->topics)
        return false;
    answer->topics_count = (int32_t)count;
    for (uint32_t i = 0; i < count; i++) {
        kafka_metadata_response_topic_init(&answer->topics[i]);
        bool done = all ? topic_answer(metadata, topic_set_at(set, i), &answer->topics[i])
                        : asked_answer(metadata, (int32_t)i, &answer->topics[i]);
        if (!done)
            return false;
    }
    return true;
}

static void metadata_answer(struct metadata *metadata)
{
    struct kafka_request *req = metadata->req;
    ASSERT(metadata->waiting == 0);
    if (!req->conn) {
        kafka_reply_none(req);
        return;
    }
    struct kafka_metadata_response answer;
    kafka_metadata_response_init(&answer);
    struct kafka_metadata_response_broker self;
    kafka_metadata_response_broker_init(&self);
    self.node_id = req->ks->front->node_id;
    self.host = slice_cstr(req->conn->host);
    self.port = req->conn->port;
    answer.brokers = &self;
    answer.brokers_count = 1;
    answer.cluster_id = kafka_cluster_id(req);
    answer.controller_id = self.node_id;
    if (metadata->msg.include_cluster_authorized_operations)
        answer.cluster_authorized_operations = KAFKA_CLUSTER_OPERATIONS;
    if (!metadata_fill(metadata, &answer)) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    kafka_metadata_response_encode(kafka_reply_begin(req), req->version, &answer);
    kafka_reply_end(req);
}

static void create_done(struct broker_topic_op *op)
{
    struct metadata_create *create = CONTAINER_OF(op, struct metadata_create, op);
    ASSERT(create->metadata->waiting > 0);
    if (--create->metadata->waiting == 0)
        metadata_answer(create->metadata);
}

/* Marks the unknown topics that are to be made. False: the arena is full. */
static bool metadata_creates(struct metadata *metadata)
{
    struct kafka_request *req = metadata->req;
    const struct kafka_metadata_request *msg = &metadata->msg;
    bool allowed =
        broker_config_get(req->ks->front->broker)->auto_create && msg->allow_auto_topic_creation;
    if (!allowed || msg->topics_count <= 0 || msg->topics_count > CREATES_MAX)
        return true;
    for (int32_t i = 0; i < msg->topics_count; i++) {
        struct slice name = msg->topics[i].name;
        if (!name.data || topic_name_check(name, NULL) != ERR_OK ||
            broker_topic_find(req->ks->bs, name))
            continue;
        if (!metadata->creates)
            metadata->creates =
                ARENA_ARRAY(req->arena, struct metadata_create, (size_t)msg->topics_count);
        if (!metadata->creates)
            return false;
        struct metadata_create *create = &metadata->creates[i];
        create->metadata = metadata;
        create->op = (struct broker_topic_op){.action = BROKER_TOPIC_ENSURE,
                                              .name = name,
                                              .partition_count = -1,
                                              .done = create_done};
        create->submitted = true;
        metadata->waiting++;
    }
    return true;
}

void kafka_handle_metadata(struct kafka_request *req)
{
    struct metadata *metadata = ARENA_NEW(req->arena, struct metadata);
    if (!metadata || !KAFKA_DECODE(req, metadata, &metadata->msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    metadata->req = req;
    if (req->version == 0 && metadata->msg.topics_count == 0)
        metadata->msg.topics_count = -1;
    if (!metadata_creates(metadata)) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    if (metadata->waiting == 0) {
        metadata_answer(metadata);
        return;
    }
    int32_t count = metadata->msg.topics_count;
    struct metadata_create *creates = metadata->creates;
    for (int32_t i = 0; i < count; i++)
        if (creates[i].submitted)
            broker_topic_submit(req->ks->bs, &creates[i].op);
}
