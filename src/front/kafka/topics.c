/*
 * Role: what several handlers say about topics, the cluster and its configuration.
 *
 * Configurations are shown from two tables: the topic's comes from meta/topic_config.h with the
 * overrides laid over it; the broker's is the short list below. Source numbers are Kafka's: 1 set
 * on the topic, 4 set for the broker, 5 default. Invariants: (1) every name shown is accepted back;
 * (2) texts live in the request's arena or for ever. Ownership: any shard, on its own copy of the
 * topic set. Failure modes: an arena that is full yields NULL.
 */
#include <inttypes.h>

#include "front/kafka/kafka_int.h"

const struct topic *kafka_topic_find(struct kafka_request *req, bool by_id, struct slice name,
                                     struct wire_uuid id, int16_t *ret_code)
{
    const struct topic *topic = by_id ? broker_topic_find_id(req->ks->bs, kafka_uuid_in(id))
                                      : broker_topic_find(req->ks->bs, name);
    *ret_code = KAFKA_NONE;
    if (!topic)
        *ret_code = by_id ? KAFKA_UNKNOWN_TOPIC_ID : KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    ASSERT((topic == NULL) == (*ret_code != KAFKA_NONE));
    return topic;
}

struct slice kafka_cluster_id(struct kafka_request *req)
{
    char text[UUID_TEXT_LEN + 1];
    uuid_write_text(broker_cluster_id(req->ks->front->broker), text);
    return arena_copy(req->arena, slice_cstr(text));
}

struct kafka_config_view *kafka_topic_configs(struct arena *arena, const struct topic *topic)
{
    struct kafka_config_view *views =
        ARENA_ARRAY(arena, struct kafka_config_view, TOPIC_CONFIG_COUNT);
    if (!views)
        return NULL;
    for (int key = 0; key < TOPIC_CONFIG_COUNT; key++) {
        const struct topic_config_row *row = topic_config_row((enum topic_config_key)key);
        views[key] = (struct kafka_config_view){
            .name = slice_cstr(row->name),
            .value = slice_cstr(row->default_text),
            .broker_name = row->broker_name ? slice_cstr(row->broker_name) : SLICE_NULL,
            .default_value = slice_cstr(row->default_text),
            .text = slice_cstr(row->text),
            .type = (int8_t)row->type,
            .source = KAFKA_SOURCE_DEFAULT,
        };
    }
    for (uint32_t i = 0; i < topic->override_count; i++) {
        const struct topic_override *override = &topic->overrides[i];
        ASSERT(override->key < TOPIC_CONFIG_COUNT);
        struct slice value = arena_copy(arena, slice_cstr(override->value));
        if (!value.data)
            return NULL;
        views[override->key].value = value;
        views[override->key].source = KAFKA_SOURCE_TOPIC;
    }
    return views;
}

static struct slice text_of(struct arena *arena, int64_t number)
{
    const char *text = arena_printf(arena, "%" PRId64, number);
    return text ? slice_cstr(text) : SLICE_LIT("");
}

static struct slice listener_text(struct kafka_request *req)
{
    const char *text =
        req->conn ? arena_printf(req->arena, "PLAINTEXT://%s:%u", req->conn->host, req->conn->port)
                  : NULL;
    return text ? slice_cstr(text) : SLICE_LIT("");
}

struct kafka_config_view *kafka_broker_configs(struct kafka_request *req, uint32_t *ret_count)
{
    const struct broker_config *config = broker_config_get(req->ks->front->broker);
    struct arena *arena = req->arena;
    const struct kafka_config_view own[] = {
        {.name = SLICE_LIT("broker.id"),
         .value = text_of(arena, req->ks->front->node_id),
         .type = TOPIC_CONFIG_INT},
        {.name = SLICE_LIT("node.id"),
         .value = text_of(arena, req->ks->front->node_id),
         .type = TOPIC_CONFIG_INT},
        {.name = SLICE_LIT("advertised.listeners"),
         .value = listener_text(req),
         .type = TOPIC_CONFIG_LIST},
        {.name = SLICE_LIT("auto.create.topics.enable"),
         .value = config->auto_create ? SLICE_LIT("true") : SLICE_LIT("false"),
         .type = TOPIC_CONFIG_BOOL},
        {.name = SLICE_LIT("num.partitions"),
         .value = text_of(arena, config->default_partitions ? config->default_partitions : 1),
         .type = TOPIC_CONFIG_INT},
        {.name = SLICE_LIT("default.replication.factor"),
         .value = SLICE_LIT("1"),
         .type = TOPIC_CONFIG_INT},
        {.name = SLICE_LIT("delete.topic.enable"),
         .value = SLICE_LIT("true"),
         .type = TOPIC_CONFIG_BOOL},
        {.name = SLICE_LIT("socket.request.max.bytes"),
         .value = text_of(arena, KAFKA_FRAME_MAX),
         .type = TOPIC_CONFIG_INT},
        {.name = SLICE_LIT("log.dirs"),
         .value = slice_cstr(config->dir),
         .type = TOPIC_CONFIG_STRING},
    };
    const uint32_t own_count = sizeof(own) / sizeof(own[0]);
    struct kafka_config_view *views =
        ARENA_ARRAY(arena, struct kafka_config_view, own_count + TOPIC_CONFIG_COUNT);
    if (!views)
        return NULL;
    memcpy(views, own, sizeof(own));
    for (uint32_t i = 0; i < own_count; i++) {
        views[i].source = KAFKA_SOURCE_STATIC_BROKER;
        views[i].default_value = views[i].value;
    }
    uint32_t count = own_count;
    for (int key = 0; key < TOPIC_CONFIG_COUNT; key++) {
        const struct topic_config_row *row = topic_config_row((enum topic_config_key)key);
        if (!row->broker_name)
            continue;
        views[count++] = (struct kafka_config_view){
            .name = slice_cstr(row->broker_name),
            .value = slice_cstr(row->default_text),
            .default_value = slice_cstr(row->default_text),
            .text = slice_cstr(row->text),
            .type = (int8_t)row->type,
            .source = KAFKA_SOURCE_DEFAULT,
        };
    }
    for (uint32_t i = 0; i < count; i++)
        views[i].read_only = true;
    ASSERT(count <= own_count + TOPIC_CONFIG_COUNT);
    *ret_count = count;
    return views;
}
