/*
 * Role: record -> AMQP message.
 *
 * The message is head, body and tail: the body is the record's value where it lies, so a large
 * event is not copied.
 *
 *     [delivery annotations] | message annotations | [properties] | [application properties]
 *                            | body | [footer]
 *
 * Invariants
 * (1) Every message carries x-opt-sequence-number (long), x-opt-offset (str) and
 *     x-opt-enqueued-time (timestamp).
 * (2) Stored bytes are checked again before they are sent: a producer of the other door can have
 *     written anything under our header names, and then its headers travel as binary properties.
 *
 * Ownership and shard: pure functions over the caller's buffers; any thread.
 *
 * Failure modes: only the buffer's limit; the caller closes the link.
 */
#include "base/numtext.h"
#include "base/utf8.h"
#include "event/event_int.h"

/* What a walk over the headers found. */
struct map_out {
    struct slice sections_properties;
    struct slice sections_annotations;
    struct slice sections_footer;
    uint64_t body;
    struct slice derived[EVENT_NAME_COUNT]; /* data NULL: absent */
    struct slice rest;                      /* headers that are application properties */
    uint32_t rest_count;
    bool has_properties;
    bool typed;   /* values of the rest are AMQP encodings */
    bool by_name; /* no sections header: derived headers are told by their names */
};

/* Whether value is null or a section with this descriptor around a value of this type. */
static bool section_fits(const struct amqp_value *value, uint64_t code, enum amqp_type type)
{
    struct amqp_value descriptor, inner;
    if (value->type != AMQP_DESCRIBED || value->code != code)
        return value->type == AMQP_NULL;
    amqp_value_undescribe(value, &descriptor, &inner);
    return inner.type == type;
}

/* Checked to the last field: the header may have been written by anybody who writes to the topic. */
static bool sections_read(struct slice value, struct map_out *out, uint64_t *ret_derived)
{
    ASSERT(ret_derived);
    struct amqp_value list, item[5];
    if (!amqp_value_parse_below(value, 1, &list) || list.type != AMQP_LIST || list.count != 5)
        return false;
    struct amqp_iter iter = amqp_iter_begin(&list);
    for (unsigned i = 0; i < 5; i++) {
        if (!amqp_iter_next(&iter, &item[i]))
            return false;
    }
    bool fits = item[0].type == AMQP_ULONG && item[0].u <= EVENT_NAME_COUNT &&
                item[4].type == AMQP_ULONG && item[4].u <= EVENT_BODY_VALUE_NULL;
    fits = fits && section_fits(&item[1], 0x73, AMQP_LIST);
    fits = fits && (item[2].type == AMQP_NULL || item[2].type == AMQP_MAP);
    fits = fits && section_fits(&item[3], 0x78, AMQP_MAP);
    if (!fits)
        return false;
    *ret_derived = item[0].u;
    out->sections_properties = item[1].type == AMQP_NULL ? SLICE_NULL : item[1].raw;
    out->sections_annotations = item[2].type == AMQP_NULL ? SLICE_NULL : item[2].raw;
    out->sections_footer = item[3].type == AMQP_NULL ? SLICE_NULL : item[3].raw;
    out->body = item[4].u;
    return true;
}

static void derived_take(struct map_out *out, enum event_name name, struct slice value)
{
    ASSERT(name < EVENT_NAME_COUNT);
    out->derived[name] = value.data ? value : SLICE_LIT("");
    if (name < EVENT_PROPERTY_COUNT)
        out->has_properties = true;
}

/* Finds the derived headers and where the application properties begin. */
static void headers_read(const struct batch_record *record, bool amqp, struct map_out *out)
{
    ASSERT(out);
    struct slice before = record->headers, at = before;
    struct batch_field field;
    uint64_t left = UINT64_MAX; /* derived headers still to come; by name there may be any number */
    uint32_t taken = 0;
    *out = (struct map_out){
        .rest = at, .rest_count = record->header_count, .typed = amqp, .by_name = amqp};
    if (!amqp || !batch_headers_next(&at, &field))
        return;
    if (slice_equal(field.key, SLICE_LIT(EVENT_SECTIONS_HEADER)) &&
        sections_read(field.value, out, &left)) {
        out->by_name = false;
        taken = 1;
        before = at;
    }
    at = before;
    while (left-- > 0 && batch_headers_next(&at, &field)) {
        enum event_name name = event_name_find(field.key);
        if (name == EVENT_NAME_COUNT)
            break;
        derived_take(out, name, field.value);
        before = at;
        taken++;
    }
    ASSERT(taken <= record->header_count);
    out->rest = before;
    out->rest_count = record->header_count - taken;
}

/* A string of stored bytes that may not be UTF-8: then every byte beyond ASCII becomes a question mark. */
static void put_text(struct bytebuf *buf, struct slice text)
{
    size_t at = buf->len + (text.len < 256 ? 2 : 5);
    amqp_put_string(buf, text);
    if (buf->failed || utf8_valid(text))
        return;
    for (size_t i = at; i < buf->len; i++) {
        if (buf->data[i] >= 128)
            buf->data[i] = '?';
    }
}

static void put_runtime(struct bytebuf *buf, const struct event_runtime *runtime)
{
    char text[NUMTEXT_INT64_MAX];
    size_t len = numtext_write_int64(text, runtime->last_sequence_number);
    amqp_put_descriptor(buf, 0x71);
    size_t mark = amqp_begin_map(buf);
    amqp_put_symbol(buf, SLICE_LIT("last_enqueued_sequence_number"));
    amqp_put_long(buf, runtime->last_sequence_number);
    amqp_put_symbol(buf, SLICE_LIT("last_enqueued_offset"));
    amqp_put_string(buf, slice_make(text, len));
    amqp_put_symbol(buf, SLICE_LIT("last_enqueued_time_utc"));
    amqp_put_timestamp(buf, runtime->last_enqueued_ms);
    amqp_put_symbol(buf, SLICE_LIT("runtime_info_retrieval_time_utc"));
    amqp_put_timestamp(buf, runtime->retrieved_ms);
    amqp_end(buf, mark, 8);
}

/* The keys where the record has them, then what every event has by its place in the log, then the
 * foreign ones as they came. */
static void put_annotations(struct bytebuf *buf, const struct batch_record *record,
                            const struct map_out *out)
{
    char text[NUMTEXT_INT64_MAX];
    size_t len = numtext_write_int64(text, record->offset.value);
    uint32_t count = 8;
    amqp_put_descriptor(buf, 0x72);
    size_t mark = amqp_begin_map(buf);
    for (unsigned name = EVENT_PARTITION_KEY; name < EVENT_NAME_COUNT; name++) {
        if (!out->derived[name].data)
            continue;
        amqp_put_symbol(buf, event_name_text((enum event_name)name));
        put_text(buf, out->derived[name]);
        count += 2;
    }
    if (record->key.data) {
        amqp_put_symbol(buf, SLICE_LIT("x-opt-kafka-key"));
        amqp_put_binary(buf, record->key);
        count += 2;
    }
    amqp_put_symbol(buf, SLICE_LIT("x-opt-sequence-number-epoch"));
    amqp_put_int(buf, -1);
    amqp_put_symbol(buf, SLICE_LIT("x-opt-sequence-number"));
    amqp_put_long(buf, record->offset.value);
    amqp_put_symbol(buf, SLICE_LIT("x-opt-offset"));
    amqp_put_string(buf, slice_make(text, len));
    amqp_put_symbol(buf, SLICE_LIT("x-opt-enqueued-time"));
    amqp_put_timestamp(buf, record->timestamp_ms);
    struct amqp_value map;
    if (out->sections_annotations.data && amqp_value_parse(out->sections_annotations, &map)) {
        bytebuf_append_slice(buf, map.bytes);
        count += map.count;
    }
    amqp_end(buf, mark, count);
}

static void put_property(struct bytebuf *buf, enum event_name name, struct slice text)
{
    int64_t number;
    switch (name) {
    case EVENT_USER_ID:
        amqp_put_binary(buf, text);
        return;
    case EVENT_CONTENT_TYPE:
    case EVENT_CONTENT_ENCODING:
        amqp_put_symbol(buf, text);
        return;
    case EVENT_ABSOLUTE_EXPIRY_TIME:
    case EVENT_CREATION_TIME:
        if (numtext_read_int64(text, &number))
            amqp_put_timestamp(buf, number);
        else
            amqp_put_null(buf);
        return;
    case EVENT_GROUP_SEQUENCE:
        if (numtext_read_int64(text, &number) && number >= 0 && number <= UINT32_MAX)
            amqp_put_uint(buf, (uint32_t)number);
        else
            amqp_put_null(buf);
        return;
    default:
        put_text(buf, text);
    }
}

/* The section as it came where it was kept; else one made of the derived headers, with a null for
 * each that is absent. */
static void put_properties(struct bytebuf *buf, const struct map_out *out)
{
    if (out->sections_properties.data) {
        bytebuf_append_slice(buf, out->sections_properties);
        return;
    }
    if (!out->has_properties || !out->by_name)
        return;
    amqp_put_descriptor(buf, AMQP_CODE_PROPERTIES);
    size_t mark = amqp_begin_list(buf);
    for (unsigned name = 0; name < EVENT_PROPERTY_COUNT; name++) {
        if (out->derived[name].data)
            put_property(buf, (enum event_name)name, out->derived[name]);
        else
            amqp_put_null(buf);
    }
    amqp_end(buf, mark, EVENT_PROPERTY_COUNT);
}

static void put_application_properties(struct bytebuf *buf, const struct map_out *out)
{
    struct slice rest = out->rest;
    struct batch_field field;
    struct amqp_value value;
    uint32_t count = 0;
    if (out->rest_count == 0)
        return;
    amqp_put_descriptor(buf, 0x74);
    size_t mark = amqp_begin_map(buf);
    while (batch_headers_next(&rest, &field)) {
        put_text(buf, field.key);
        if (out->typed && amqp_value_parse_below(field.value, 2, &value))
            bytebuf_append_slice(buf, field.value);
        else if (!field.value.data)
            amqp_put_null(buf);
        else
            amqp_put_binary(buf, field.value);
        count += 2;
    }
    amqp_end(buf, mark, count);
}

/* The constructor of a body of len bytes that follow. */
static void put_body_head(struct bytebuf *buf, uint8_t section, uint8_t kind, size_t len)
{
    const uint8_t wide[5] = {(uint8_t)(0xb0 | kind), (uint8_t)(len >> 24), (uint8_t)(len >> 16),
                             (uint8_t)(len >> 8), (uint8_t)len};
    ASSERT(len <= UINT32_MAX);
    amqp_put_descriptor(buf, section);
    if (len < 256) {
        bytebuf_append_byte(buf, 0xa0 | kind);
        bytebuf_append_byte(buf, (uint8_t)len);
    } else {
        bytebuf_append(buf, wide, sizeof(wide));
    }
}

/* Stored raw body sections that still are what they claim to be. */
static bool body_is_raw(struct slice value)
{
    struct amqp_message message;
    return amqp_message_scan(value, &message) && message.body.len == value.len && value.len > 0;
}

static struct slice put_body(struct bytebuf *buf, const struct batch_record *record,
                             const struct map_out *out)
{
    switch (out->body) {
    case EVENT_BODY_VALUE_NULL:
        amqp_put_descriptor(buf, 0x77);
        amqp_put_null(buf);
        return SLICE_NULL;
    case EVENT_BODY_VALUE_STRING:
        put_body_head(buf, 0x77, 1, record->value.len);
        return record->value;
    case EVENT_BODY_VALUE_BINARY:
        put_body_head(buf, 0x77, 0, record->value.len);
        return record->value;
    case EVENT_BODY_RAW:
        if (body_is_raw(record->value))
            return record->value;
        break;
    default:
        break;
    }
    if (out->typed && !record->value.data)
        return SLICE_NULL; /* the sender's message had no body */
    put_body_head(buf, 0x75, 0, record->value.len);
    return record->value;
}

/*
 * Whatever is in the record, a well-formed message comes out: what does not fit our form is sent as
 * binary properties.
 */
bool event_from_record(const struct batch_record *record, bool amqp,
                       const struct event_runtime *runtime, struct bytebuf *out,
                       struct event_parts *ret_parts)
{
    struct map_out map;
    ASSERT(record->offset.value >= 0);
    bytebuf_clear(out);
    headers_read(record, amqp, &map);
    if (runtime)
        put_runtime(out, runtime);
    put_annotations(out, record, &map);
    put_properties(out, &map);
    put_application_properties(out, &map);
    ret_parts->body = put_body(out, record, &map);
    size_t head = out->len;
    bytebuf_append_slice(out, map.sections_footer);
    if (out->failed)
        return false;
    ret_parts->head = slice_make(out->data, head);
    ret_parts->tail = slice_make(out->data + head, out->len - head);
    return true;
}
