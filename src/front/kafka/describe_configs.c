/*
 * Role: DescribeConfigs of topics and of this broker: every name we know, with its value and where
 * that comes from.
 *
 * Invariants: (1) a list of names filters, no list means all; (2) synonyms come only when asked
 * for, the most specific first; (3) version 0 has "is default" where later ones have the source.
 * Ownership: the shard of the connection. Failure modes per resource: unknown topic (3), another
 * node's id (42), a kind of resource that is not served (42).
 */
#include <inttypes.h>
#include <stdio.h>

#include "front/kafka/kafka_int.h"
#include "kafka_describe_configs.h"

enum { RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4 };

struct describe {
    struct kafka_request *req;
    struct kafka_describe_configs_request msg;
};

static bool name_wanted(const struct kafka_describe_configs_request_resource *resource,
                        struct slice name)
{
    if (resource->configuration_keys_count < 0)
        return true;
    for (int32_t i = 0; i < resource->configuration_keys_count; i++)
        if (slice_equal(resource->configuration_keys[i], name))
            return true;
    return false;
}

/* The value set on the topic, then the broker's default under its own name. */
static bool config_synonyms(struct describe *describe, const struct kafka_config_view *view,
                            struct kafka_describe_configs_response_config *ret)
{
    ret->synonyms =
        ARENA_ARRAY(describe->req->arena, struct kafka_describe_configs_response_synonym, 2);
    if (!ret->synonyms)
        return false;
    int32_t count = 0;
    if (view->source != KAFKA_SOURCE_DEFAULT)
        ret->synonyms[count++] =
            (struct kafka_describe_configs_response_synonym){view->name, view->value, view->source};
    struct slice name = view->broker_name.data ? view->broker_name : view->name;
    if (view->source == KAFKA_SOURCE_DEFAULT || view->broker_name.data)
        ret->synonyms[count++] = (struct kafka_describe_configs_response_synonym){
            name, view->default_value, KAFKA_SOURCE_DEFAULT};
    ASSERT(count <= 2);
    ret->synonyms_count = count;
    return true;
}

static bool configs_answer(struct describe *describe,
                           const struct kafka_describe_configs_request_resource *resource,
                           const struct kafka_config_view *views, uint32_t view_count,
                           struct kafka_describe_configs_response_result *ret)
{
    ret->configs = ARENA_ARRAY(describe->req->arena, struct kafka_describe_configs_response_config,
                               view_count);
    if (!views || !ret->configs)
        return false;
    for (uint32_t i = 0; i < view_count; i++) {
        const struct kafka_config_view *view = &views[i];
        if (!name_wanted(resource, view->name))
            continue;
        ASSERT((uint32_t)ret->configs_count < view_count);
        struct kafka_describe_configs_response_config *config = &ret->configs[ret->configs_count++];
        kafka_describe_configs_response_config_init(config);
        config->name = view->name;
        config->value = view->value;
        config->read_only = view->read_only;
        config->is_default = view->source == KAFKA_SOURCE_DEFAULT;
        config->config_source = view->source;
        config->config_type = view->type;
        config->documentation = describe->msg.include_documentation ? view->text : SLICE_NULL;
        if (describe->msg.include_synonyms && !config_synonyms(describe, view, config))
            return false;
    }
    return true;
}

/* The empty name stands for defaults of the whole cluster that can be changed: there are none. */
static bool broker_named(const struct kafka_request *req, struct slice name)
{
    char own[16];
    int len = snprintf(own, sizeof(own), "%" PRId32, req->ks->front->node_id);
    return name.len == 0 || slice_equal(name, slice_make(own, (size_t)len));
}

static bool resource_answer(struct describe *describe,
                            const struct kafka_describe_configs_request_resource *resource,
                            struct kafka_describe_configs_response_result *ret)
{
    struct kafka_request *req = describe->req;
    kafka_describe_configs_response_result_init(ret);
    ret->error_message = SLICE_NULL;
    ret->resource_type = resource->resource_type;
    ret->resource_name = resource->resource_name;
    if (resource->resource_type == RESOURCE_TOPIC) {
        const struct topic *topic = broker_topic_find(req->ks->bs, resource->resource_name);
        if (topic)
            return configs_answer(describe, resource, kafka_topic_configs(req->arena, topic),
                                  TOPIC_CONFIG_COUNT, ret);
        bool valid = topic_name_check(resource->resource_name, NULL) == ERR_OK;
        ret->error_code = valid ? KAFKA_UNKNOWN_TOPIC_OR_PARTITION : KAFKA_INVALID_TOPIC;
        ret->error_message = SLICE_LIT("There is no such topic.");
        return true;
    }
    if (resource->resource_type == RESOURCE_BROKER && broker_named(req, resource->resource_name)) {
        uint32_t count = 0;
        struct kafka_config_view *views = kafka_broker_configs(req, &count);
        if (resource->resource_name.len == 0)
            count = 0;
        return configs_answer(describe, resource, views, count, ret);
    }
    ret->error_code = KAFKA_INVALID_REQUEST;
    ret->error_message = resource->resource_type == RESOURCE_BROKER
                             ? SLICE_LIT("The broker named is not this one.")
                             : SLICE_LIT("Configurations of this kind are not served.");
    return true;
}

void kafka_handle_describe_configs(struct kafka_request *req)
{
    struct describe describe = {.req = req};
    if (!KAFKA_DECODE(req, describe_configs, &describe.msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    size_t count = (size_t)describe.msg.resources_count;
    struct kafka_describe_configs_response answer;
    kafka_describe_configs_response_init(&answer);
    answer.results = ARENA_ARRAY(req->arena, struct kafka_describe_configs_response_result, count);
    answer.results_count = (int32_t)count;
    bool done = answer.results != NULL;
    for (size_t i = 0; done && i < count; i++)
        done = resource_answer(&describe, &describe.msg.resources[i], &answer.results[i]);
    if (!done) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    kafka_describe_configs_response_encode(kafka_reply_begin(req), req->version, &answer);
    kafka_reply_end(req);
}
