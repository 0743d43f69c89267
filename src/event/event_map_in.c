/*
 * Role: AMQP message -> record.
 *
 * A record is made of views: the value and the application properties stay where the message lies,
 * only numbers turned into text and the list of headers take arena memory. Headers come in this
 * order:
 *
 *     [x-opt-amqp-sections]     list: derived headers:ulong | properties section |
 *                                     other annotations:map | footer | body kind
 *     derived headers           properties and annotations as text
 *     application properties    as their AMQP encoding
 *
 * Invariants
 * (1) The sections header exists only when the derived headers and the value would not give the
 *     message back.
 * (2) With it, its count tells derived headers and application properties apart; without it, their
 *     names do.
 * (3) Annotations that this server owns, the header section and delivery annotations are never
 *     stored.
 *
 * Ownership and shard: pure functions over the caller's message and arena; any thread.
 *
 * Failure modes: a message that does not decode is refused as a whole; the caller rejects the
 * delivery.
 */
#include "event/event_int.h"

static const char *const names[EVENT_NAME_COUNT] = {
    "message-id",
    "user-id",
    "to",
    "subject",
    "reply-to",
    "correlation-id",
    "content-type",
    "content-encoding",
    "absolute-expiry-time",
    "creation-time",
    "group-id",
    "group-sequence",
    "reply-to-group-id",
    "x-opt-partition-key",
    "x-opt-publisher",
};

struct slice event_name_text(enum event_name name)
{
    ASSERT(name < EVENT_NAME_COUNT);
    return slice_cstr(names[name]);
}

enum event_name event_name_find(struct slice text)
{
    ASSERT(text.data || text.len == 0);
    unsigned name = 0;
    while (name < EVENT_NAME_COUNT && !slice_equal(text, slice_cstr(names[name])))
        name++;
    return (enum event_name)name;
}

/* Growing state of one conversion. */
struct map_in {
    struct amqp_message message;
    struct arena *arena;
    struct batch_field *fields;
    uint32_t cap;     /* of fields */
    uint32_t count;   /* fields used, the first kept free for the sections header */
    uint32_t derived; /* of them, properties and annotations */
    bool sections;    /* the sections header is needed */
    struct slice partition_key;
    struct slice publisher;
    struct slice kafka_key;
    struct slice foreign; /* map of annotations that are kept as they came */
    enum event_body body;
};

static void field_add(struct map_in *in, struct slice key, struct slice value)
{
    ASSERT(in->count >= 1 && in->count < in->cap);
    if (!value.data)
        value = SLICE_LIT(""); /* NULL would be a header without a value, which AMQP cannot say */
    in->fields[in->count++] = (struct batch_field){key, value};
}

static void derived_add(struct map_in *in, enum event_name name, struct slice value)
{
    ASSERT(in->derived < EVENT_NAME_COUNT);
    field_add(in, event_name_text(name), value);
    in->derived++;
}

/* Text of a message or correlation id; anything but a string needs its bytes kept. */
static struct slice id_text(struct map_in *in, struct slice raw)
{
    struct amqp_value value;
    char *text = NULL;
    if (!amqp_value_parse(raw, &value))
        return SLICE_NULL;
    if (value.type == AMQP_STRING)
        return value.bytes.data ? value.bytes : SLICE_LIT("");
    in->sections = true;
    if (value.type == AMQP_ULONG || value.type == AMQP_UINT)
        text = arena_printf(in->arena, "%llu", (unsigned long long)value.u);
    if (value.type == AMQP_UUID) {
        const uint8_t *u = value.bytes.data;
        text = arena_printf(in->arena,
                            "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                            u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10],
                            u[11], u[12], u[13], u[14], u[15]);
    }
    if (text)
        return slice_cstr(text);
    return amqp_value_text(&value);
}

static void add_id(struct map_in *in, enum event_name name, struct slice raw)
{
    ASSERT(name < EVENT_PROPERTY_COUNT);
    if (raw.data)
        derived_add(in, name, id_text(in, raw));
}

static void add_text(struct map_in *in, enum event_name name, struct slice text)
{
    ASSERT(name < EVENT_PROPERTY_COUNT);
    if (text.data)
        derived_add(in, name, text);
}

static void add_number(struct map_in *in, enum event_name name, bool present, int64_t number)
{
    ASSERT(name < EVENT_PROPERTY_COUNT);
    if (present) {
        char *text = arena_printf(in->arena, "%lld", (long long)number);
        derived_add(in, name, text ? slice_cstr(text) : SLICE_NULL);
    }
}

/* Each property becomes a header of its own under its standard name, so that Kafka consumers find it. */
static bool take_properties(struct map_in *in)
{
    struct amqp_value section;
    struct amqp_properties p;
    if (!in->message.properties.data)
        return true;
    if (!amqp_value_parse(in->message.properties, &section) ||
        !amqp_properties_decode(&section, &p))
        return false;
    add_id(in, EVENT_MESSAGE_ID, p.message_id);
    add_text(in, EVENT_USER_ID, p.user_id);
    add_id(in, EVENT_TO, p.to);
    add_text(in, EVENT_SUBJECT, p.subject);
    add_id(in, EVENT_REPLY_TO, p.reply_to);
    add_id(in, EVENT_CORRELATION_ID, p.correlation_id);
    add_text(in, EVENT_CONTENT_TYPE, p.content_type);
    add_text(in, EVENT_CONTENT_ENCODING, p.content_encoding);
    add_number(in, EVENT_ABSOLUTE_EXPIRY_TIME, p.has_absolute_expiry_time, p.absolute_expiry_time);
    add_number(in, EVENT_CREATION_TIME, p.has_creation_time, p.creation_time);
    add_text(in, EVENT_GROUP_ID, p.group_id);
    add_number(in, EVENT_GROUP_SEQUENCE, p.has_group_sequence, p.group_sequence);
    add_text(in, EVENT_REPLY_TO_GROUP_ID, p.reply_to_group_id);
    return true;
}

/* What the server itself says about an event: a client that sends it back means nothing by it. */
static bool annotation_is_ours(struct slice key)
{
    static const char *const ours[] = {
        "x-opt-sequence-number",
        "x-opt-sequence-number-epoch",
        "x-opt-offset",
        "x-opt-enqueued-time",
        "com.microsoft:producer-id",
        "com.microsoft:producer-epoch",
        "com.microsoft:producer-sequence-number",
    };
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (slice_equal(key, slice_cstr(ours[i])))
            return true;
    }
    return false;
}

static struct slice key_text(const struct amqp_value *value)
{
    bool fits =
        value->type == AMQP_STRING && value->bytes.len > 0 && value->bytes.len <= EVENT_KEY_MAX;
    return fits ? value->bytes : SLICE_NULL;
}

struct slice event_partition_key(const struct amqp_message *message)
{
    ASSERT(message);
    struct amqp_value value;
    if (!amqp_map_find(message->message_annotations, SLICE_LIT("x-opt-partition-key"), &value))
        return SLICE_NULL;
    return key_text(&value);
}

/* Takes one annotation that has a place in the record; false when it has none. */
static bool take_known_annotation(struct map_in *in, struct slice key,
                                  const struct amqp_value *value)
{
    if (annotation_is_ours(key))
        return true;
    if (slice_equal(key, SLICE_LIT("x-opt-partition-key"))) {
        in->partition_key = key_text(value);
        return true;
    }
    if (slice_equal(key, SLICE_LIT("x-opt-publisher"))) {
        in->publisher = key_text(value);
        return true;
    }
    if (slice_equal(key, SLICE_LIT("x-opt-kafka-key")) &&
        (value->type == AMQP_BINARY || value->type == AMQP_STRING)) {
        in->kafka_key = value->bytes.data ? value->bytes : SLICE_LIT("");
        return true;
    }
    return false;
}

/* Those with a meaning of their own go to their places; the others are kept together, byte for byte. */
static bool take_annotations(struct map_in *in)
{
    struct amqp_value map, key, value;
    struct bytebuf foreign;
    uint32_t count = 0;
    struct slice raw = in->message.message_annotations;
    if (!raw.data)
        return true;
    if (!amqp_value_parse(raw, &map))
        return false;
    bytebuf_init(&foreign, raw.len + 16);
    size_t mark = amqp_begin_map(&foreign);
    struct amqp_iter iter = amqp_iter_begin(&map);
    while (amqp_iter_next_pair(&iter, &key, &value)) {
        if (take_known_annotation(in, amqp_value_text(&key), &value))
            continue;
        amqp_put_raw(&foreign, key.raw);
        amqp_put_raw(&foreign, value.raw);
        count += 2;
    }
    amqp_end(&foreign, mark, count);
    if (count > 0) {
        in->foreign = arena_copy(in->arena, bytebuf_slice(&foreign));
        in->sections = true;
    }
    bool ok = !foreign.failed && (count == 0 || in->foreign.data);
    bytebuf_deinit(&foreign);
    return ok;
}

/*
 * Values keep their AMQP encoding: numbers, times and nested maps come back as what they were. A name
 * that our own headers use is told apart by the sections header.
 */
static bool take_application_properties(struct map_in *in, const struct amqp_value *map)
{
    ASSERT(map->type == AMQP_MAP && map->count % 2 == 0);
    struct amqp_value key, value;
    struct amqp_iter iter = amqp_iter_begin(map);
    while (amqp_iter_next_pair(&iter, &key, &value)) {
        if (key.type != AMQP_STRING && key.type != AMQP_SYMBOL)
            return false;
        if (event_name_find(key.bytes) != EVENT_NAME_COUNT ||
            slice_equal(key.bytes, SLICE_LIT(EVENT_SECTIONS_HEADER)))
            in->sections = true; /* a name that would be taken for something else */
        field_add(in, key.bytes.data ? key.bytes : SLICE_LIT(""), value.raw);
    }
    return true;
}

/* A single Data section is the record's value as it is. Everything else needs a note of what it was. */
static bool take_body(struct map_in *in, struct slice *ret_value)
{
    const struct amqp_message *message = &in->message;
    struct amqp_value section, descriptor, value;
    *ret_value = SLICE_NULL;
    if (message->footer.data)
        in->sections = true;
    if (message->body_kind == AMQP_BODY_NONE)
        return true;
    if (message->body_kind == AMQP_BODY_DATA && message->body_count == 1) {
        *ret_value = message->data;
        return true;
    }
    in->sections = true;
    in->body = EVENT_BODY_RAW;
    *ret_value = message->body;
    if (message->body_kind != AMQP_BODY_VALUE)
        return true;
    if (!amqp_value_parse(message->body, &section))
        return false;
    amqp_value_undescribe(&section, &descriptor, &value);
    if (value.type == AMQP_STRING || value.type == AMQP_BINARY) {
        in->body = value.type == AMQP_STRING ? EVENT_BODY_VALUE_STRING : EVENT_BODY_VALUE_BINARY;
        *ret_value = value.bytes;
    } else if (value.type == AMQP_NULL) {
        in->body = EVENT_BODY_VALUE_NULL;
        *ret_value = SLICE_NULL;
    }
    return true;
}

/* Fills the place kept for the sections header. */
static bool add_sections(struct map_in *in)
{
    ASSERT(in->sections && !in->fields[0].key.data);
    struct bytebuf buf;
    const struct amqp_message *message = &in->message;
    bytebuf_init(&buf, message->properties.len + message->footer.len + in->foreign.len + 64);
    size_t mark = amqp_begin_list(&buf);
    amqp_put_ulong(&buf, in->derived);
    amqp_put_raw(&buf, message->properties);
    amqp_put_raw(&buf, in->foreign);
    amqp_put_raw(&buf, message->footer);
    amqp_put_ulong(&buf, in->body);
    amqp_end(&buf, mark, 5);
    struct slice copy = buf.failed ? SLICE_NULL : arena_copy(in->arena, bytebuf_slice(&buf));
    bytebuf_deinit(&buf);
    in->fields[0] = (struct batch_field){SLICE_LIT(EVENT_SECTIONS_HEADER), copy};
    return copy.data;
}

/* Nothing is half done: a message that turns out malformed on the way has changed only the arena. */
enum err event_to_record(struct slice message_bytes, const struct event_origin *origin,
                         struct arena *arena, struct batch_build_record *ret_record,
                         struct err_info *info)
{
    ASSERT(origin && arena && ret_record);
    struct map_in in = {.arena = arena, .count = 1};
    struct amqp_value properties = {.type = AMQP_NULL};
    struct slice value;
    if (!amqp_message_scan(message_bytes, &in.message))
        return err_info_set(info, ERR_INVALID_REQUEST,
                            "The message is not a sequence of AMQP sections.");
    if (in.message.application_properties.data &&
        !amqp_value_parse(in.message.application_properties, &properties))
        return err_info_set(info, ERR_INVALID_REQUEST, "The application properties are malformed.");
    if (properties.count / 2 > EVENT_PROPERTIES_MAX)
        return err_info_set(info, ERR_LIMIT, "An event has at most %d application properties.",
                            EVENT_PROPERTIES_MAX);
    in.cap = 1 + EVENT_NAME_COUNT + properties.count / 2;
    in.fields = ARENA_ARRAY(arena, struct batch_field, in.cap);
    if (!in.fields)
        return err_info_set(info, ERR_NO_MEMORY, "The event's headers do not fit in memory.");
    if (!take_properties(&in) || !take_annotations(&in))
        return err_info_set(info, ERR_INVALID_REQUEST,
                            "The properties or annotations are malformed.");
    if (!in.partition_key.data)
        in.partition_key = origin->partition_key;
    if (in.partition_key.len > 0)
        derived_add(&in, EVENT_PARTITION_KEY, in.partition_key);
    if (origin->publisher.len > 0)
        in.publisher = origin->publisher;
    if (in.publisher.len > 0)
        derived_add(&in, EVENT_PUBLISHER, in.publisher);
    if (properties.type == AMQP_MAP && !take_application_properties(&in, &properties))
        return err_info_set(info, ERR_INVALID_REQUEST,
                            "Names of application properties must be text.");
    if (!take_body(&in, &value) || (in.sections && !add_sections(&in)))
        return err_info_set(info, ERR_NO_MEMORY, "The event's sections do not fit in memory.");
    ASSERT(in.count <= in.cap && in.derived <= EVENT_NAME_COUNT);
    uint32_t first = in.sections ? 0 : 1;
    *ret_record = (struct batch_build_record){.timestamp_ms = origin->now_ms,
                                              .key = in.kafka_key,
                                              .value = value,
                                              .headers = in.fields + first,
                                              .header_count = in.count - first};
    return ERR_OK;
}
