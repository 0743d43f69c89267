/*
 * Topics of the admin interface: list, create, show, delete.
 *
 * Showing a topic asks its partitions one after another, each on the shard that owns it; the topic is kept alive by a
 * reference meanwhile.
 */
#include "front/admin/admin_int.h"

static json_t *text_json(struct slice text)
{
    return json_stringn((const char *)text.data, text.len);
}

/* What every answer about a topic has. */
static json_t *topic_json(const struct topic *topic)
{
    char id[UUID_TEXT_LEN + 1];
    ASSERT(topic);
    uuid_write_text(topic->id, id);
    return json_pack("{s:o, s:s, s:i, s:b}", "name", text_json(topic->name), "id", id, "partitions",
                     (int)topic->partition_count, "internal", (int)topic->internal);
}

static json_t *configs_json(const struct topic *topic)
{
    json_t *configs = json_object();
    for (uint32_t i = 0; i < topic->override_count; i++)
        json_object_set_new(configs, topic_config_row(topic->overrides[i].key)->name,
                            json_string(topic->overrides[i].value));
    return configs;
}

void admin_topics_list(struct admin_call *call)
{
    const struct topic_set *set = broker_topics(call->bs);
    bool internal = slice_equal(http_query_get(call->head->query, "internal"), SLICE_LIT("true"));
    json_t *list = json_array();
    for (uint32_t i = 0; i < topic_set_count(set); i++) {
        const struct topic *topic = topic_set_at(set, i);
        if (!topic->internal || internal)
            json_array_append_new(list, topic_json(topic));
    }
    admin_send_json(call, 200, json_pack("{s:o}", "topics", list));
}

/* ---- create ---- */

static void created(struct broker_topic_op *op)
{
    struct admin_call *call = CONTAINER_OF(op, struct admin_call, topic_op);
    if (op->err) {
        admin_fail(call, op->err, op->info.text);
        return;
    }
    json_t *document = topic_json(op->topic);
    json_object_set_new(document, "configs", configs_json(op->topic));
    admin_send_json(call, 201, document);
}

/* Text of a value that may be a JSON string, integer or boolean; NULL: none of these. */
static char *config_text(struct admin_call *call, const json_t *value)
{
    if (json_is_string(value))
        return arena_strdup(call->arena,
                            slice_make(json_string_value(value), json_string_length(value)));
    if (json_is_integer(value))
        return arena_printf(call->arena, "%lld", (long long)json_integer_value(value));
    if (json_is_boolean(value))
        return arena_strdup(call->arena,
                            json_is_true(value) ? SLICE_LIT("true") : SLICE_LIT("false"));
    return NULL;
}

static enum err read_configs(struct admin_call *call, json_t *configs, struct err_info *info)
{
    const char *name;
    json_t *value;
    uint32_t count = 0;
    if (!json_is_object(configs))
        return err_info_set(info, ERR_INVALID_REQUEST, "configs is not an object");
    struct topic_override *list =
        ARENA_ARRAY(call->arena, struct topic_override, json_object_size(configs) + 1);
    if (!list)
        return err_info_set(info, ERR_NO_MEMORY, "too many configs");
    json_object_foreach(configs, name, value)
    {
        list[count].key = topic_config_find(slice_cstr(name));
        if (list[count].key == TOPIC_CONFIG_COUNT)
            return err_info_set(info, ERR_INVALID_CONFIG, "there is no topic configuration %.100s",
                                name);
        list[count].value = config_text(call, value);
        if (!list[count].value)
            return err_info_set(info, ERR_INVALID_CONFIG, "the value of %.100s is not a text",
                                name);
        enum err err = topic_config_check(list[count].key, slice_cstr(list[count].value), info);
        if (err)
            return err;
        count++;
    }
    call->topic_op.overrides = list;
    call->topic_op.override_count = count;
    return ERR_OK;
}

static enum err read_topic(struct admin_call *call, json_t *document, struct err_info *info)
{
    const char *key;
    json_t *value;
    struct broker_topic_op *op = &call->topic_op;
    json_object_foreach(document, key, value)
    {
        enum err err = ERR_OK;
        if (strcmp(key, "name") == 0 && json_is_string(value)) {
            op->name = arena_copy(call->arena,
                                  slice_make(json_string_value(value), json_string_length(value)));
        } else if (strcmp(key, "partitions") == 0 && json_is_integer(value)) {
            json_int_t count = json_integer_value(value);
            if (count < 1 || count > TOPIC_PARTITIONS_MAX)
                err = err_info_set(info, ERR_INVALID_PARTITIONS, "partitions must be 1 to %d",
                                   TOPIC_PARTITIONS_MAX);
            op->partition_count = (int32_t)count;
        } else if (strcmp(key, "configs") == 0) {
            err = read_configs(call, value, info);
        } else {
            err = err_info_set(info, ERR_INVALID_REQUEST,
                               "the key %.100s is not known, or its value has a wrong type", key);
        }
        if (err)
            return err;
    }
    if (op->name.len == 0)
        return err_info_set(info, ERR_INVALID_TOPIC, "name is missing");
    return ERR_OK;
}

static void create_body(struct web_request *req, enum err err, struct slice body, void *arg)
{
    struct admin_call *call = arg;
    struct err_info info = {0};
    if (err) {
        admin_fail(call, err == ERR_LIMIT ? ERR_MESSAGE_TOO_LARGE : err, NULL);
        return;
    }
    json_t *document = admin_read_object(call, body);
    if (!document)
        return;
    call->topic_op = (struct broker_topic_op){
        .action = BROKER_TOPIC_CREATE, .partition_count = -1, .done = created};
    err = read_topic(call, document, &info);
    json_decref(document);
    if (err)
        admin_fail(call, err, info.text);
    else
        broker_topic_submit(call->bs, &call->topic_op);
}

void admin_topics_create(struct admin_call *call)
{
    web_body_collect(call->req, ADMIN_BODY_MAX, create_body, call);
}

/* ---- show ---- */

static void show_next(struct admin_call *call);

static void shown(struct broker_offset_op *op)
{
    struct admin_call *call = CONTAINER_OF(op, struct admin_call, offset_op);
    json_t *state =
        json_pack("{s:i, s:I, s:I, s:I}", "partition", (int)call->partition, "log_start_offset",
                  (json_int_t)op->log_start_offset, "high_watermark",
                  (json_int_t)op->high_watermark, "size_bytes", (json_int_t)op->size_bytes);
    json_object_set_new(state, "error",
                        op->err ? json_string(err_row(op->err)->name) : json_null());
    json_array_append_new(json_object_get(call->document, "partition_states"), state);
    call->partition++;
    show_next(call);
}

static void show_next(struct admin_call *call)
{
    ASSERT(call->topic && call->document);
    if (call->partition == call->topic->partition_count) {
        topic_unref(call->topic);
        call->topic = NULL;
        admin_send_json(call, 200, call->document);
        return;
    }
    call->offset_op = (struct broker_offset_op){.topic_id = call->topic->id,
                                                .partition = call->partition,
                                                .query = BROKER_OFFSET_STATE,
                                                .current_epoch = -1,
                                                .done = shown};
    broker_offset(call->bs, &call->offset_op);
}

void admin_topics_show(struct admin_call *call)
{
    const struct topic *topic = broker_topic_find(call->bs, call->name);
    if (!topic) {
        admin_fail(call, ERR_UNKNOWN_TOPIC_OR_PARTITION, NULL);
        return;
    }
    call->topic = topic_ref(topic);
    call->document = topic_json(topic);
    json_object_set_new(call->document, "configs", configs_json(topic));
    json_object_set_new(call->document, "partition_states", json_array());
    show_next(call);
}

/* ---- delete ---- */

static void deleted(struct broker_topic_op *op)
{
    struct admin_call *call = CONTAINER_OF(op, struct admin_call, topic_op);
    if (op->err)
        admin_fail(call, op->err, op->info.text);
    else
        admin_send_empty(call, 204);
}

void admin_topics_delete(struct admin_call *call)
{
    call->topic_op = (struct broker_topic_op){
        .action = BROKER_TOPIC_DELETE, .name = call->name, .done = deleted};
    broker_topic_submit(call->bs, &call->topic_op);
}
