/*
 * Events to records and back: what Kafka clients see of AMQP events, and that nothing of an event
 * is lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "amqp_types.h"
#include "base/random.h"
#include "event/event_map.h"

struct fixture {
    struct arena *arena;
    struct bytebuf message;
    struct bytebuf out;
    struct batch_build_record record;
    struct iobuf_range batch;
    struct batch_iter iter;
    struct batch_record stored;
    struct event_parts parts;
    struct amqp_message back;
    struct bytebuf joined;
};

static void setup(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    f->arena = arena_create(NULL, "test", 1 << 20);
    bytebuf_init(&f->message, 1 << 20);
    bytebuf_init(&f->out, 1 << 20);
    bytebuf_init(&f->joined, 1 << 20);
}

static void teardown(struct fixture *f)
{
    iobuf_unref(f->batch.buf);
    arena_destroy(f->arena);
    bytebuf_deinit(&f->message);
    bytebuf_deinit(&f->out);
    bytebuf_deinit(&f->joined);
}

static void store(struct fixture *f)
{
    struct batch_builder builder;
    struct err_info info;
    batch_builder_init(&builder, 1 << 20);
    assert_int_equal(batch_builder_add(&builder, &f->record), ERR_OK);
    batch_builder_finish(&builder, &f->batch);
    assert_int_equal(batch_iter_init(&f->iter, f->batch.bytes, &f->out, &info), ERR_OK);
    assert_true(batch_iter_next(&f->iter, &f->stored));
}

static void load(struct fixture *f, bool amqp)
{
    assert_true(event_from_record(&f->stored, amqp, NULL, &f->out, &f->parts));
    bytebuf_append_slice(&f->joined, f->parts.head);
    bytebuf_append_slice(&f->joined, f->parts.body);
    bytebuf_append_slice(&f->joined, f->parts.tail);
    assert_true(amqp_message_scan(bytebuf_slice(&f->joined), &f->back));
}

static void round_trip(struct fixture *f)
{
    struct event_origin origin = {.now_ms = 1700000000000};
    struct err_info info;
    assert_false(f->message.failed);
    assert_int_equal(
        event_to_record(bytebuf_slice(&f->message), &origin, f->arena, &f->record, &info), ERR_OK);
    store(f);
    load(f, true);
}

static void assert_slice(struct slice got, const char *bytes, size_t len)
{
    assert_int_equal(got.len, len);
    assert_memory_equal(got.data, bytes, len);
}

#define ASSERT_SLICE(got, literal) assert_slice((got), (literal), sizeof(literal) - 1)

static void put_application_properties(struct bytebuf *buf)
{
    amqp_put_descriptor(buf, 0x74);
    size_t mark = amqp_begin_map(buf);
    amqp_put_string(buf, SLICE_LIT("s"));
    amqp_put_string(buf, SLICE_LIT("hello"));
    amqp_put_string(buf, SLICE_LIT("i"));
    bytebuf_append(buf, "\x71\x00\x00\x04\xd2", 5);
    amqp_end(buf, mark, 4);
}

static void put_data(struct bytebuf *buf, struct slice bytes)
{
    amqp_put_descriptor(buf, 0x75);
    amqp_put_binary(buf, bytes);
}

static struct slice header_value(const struct fixture *f, const char *name)
{
    struct slice headers = f->stored.headers;
    struct batch_field field;
    while (batch_headers_next(&headers, &field)) {
        if (slice_equal(field.key, slice_cstr(name)))
            return field.value;
    }
    return SLICE_NULL;
}

static void test_plain(void **state)
{
    struct fixture f;
    struct amqp_value value;
    setup(&f);
    amqp_put_descriptor(&f.message, 0x72);
    size_t mark = amqp_begin_map(&f.message);
    amqp_put_symbol(&f.message, SLICE_LIT("x-opt-partition-key"));
    amqp_put_string(&f.message, SLICE_LIT("key"));
    amqp_put_symbol(&f.message, SLICE_LIT("x-opt-offset"));
    amqp_put_string(&f.message, SLICE_LIT("forged"));
    amqp_end(&f.message, mark, 4);
    struct amqp_properties properties = {.message_id = SLICE_LIT("\xa1\x02id"),
                                         .content_type = SLICE_LIT("application/json"),
                                         .creation_time = 5,
                                         .has_creation_time = true,
                                         .user_id = SLICE_LIT("u"),
                                         .subject = SLICE_LIT("")};
    amqp_properties_encode(&f.message, &properties);
    put_application_properties(&f.message);
    put_data(&f.message, SLICE_LIT("body"));
    round_trip(&f);
    /* As the other door sees it. */
    assert_null(f.stored.key.data);
    ASSERT_SLICE(f.stored.value, "body");
    assert_int_equal(f.stored.header_count, 8);
    ASSERT_SLICE(header_value(&f, "x-opt-partition-key"), "key");
    ASSERT_SLICE(header_value(&f, "message-id"), "id");
    ASSERT_SLICE(header_value(&f, "content-type"), "application/json");
    ASSERT_SLICE(header_value(&f, "creation-time"), "5");
    ASSERT_SLICE(header_value(&f, "s"), "\xa1\x05hello");
    ASSERT_SLICE(header_value(&f, "i"), "\x71\x00\x00\x04\xd2");
    /* And back. */
    ASSERT_SLICE(f.back.data, "body");
    assert_true(
        amqp_map_find(f.back.message_annotations, SLICE_LIT("x-opt-partition-key"), &value));
    ASSERT_SLICE(value.bytes, "key");
    assert_true(amqp_map_find(f.back.message_annotations, SLICE_LIT("x-opt-offset"), &value));
    ASSERT_SLICE(value.bytes, "0");
    assert_true(
        amqp_map_find(f.back.message_annotations, SLICE_LIT("x-opt-enqueued-time"), &value));
    assert_int_equal(value.i, 1700000000000);
    struct amqp_properties again;
    assert_true(amqp_value_parse(f.back.properties, &value));
    assert_true(amqp_properties_decode(&value, &again));
    assert_true(slice_equal(again.message_id, properties.message_id));
    assert_true(slice_equal(again.content_type, properties.content_type));
    assert_int_equal(again.creation_time, 5);
    assert_non_null(again.subject.data);
    assert_true(amqp_map_find(f.back.application_properties, SLICE_LIT("i"), &value));
    assert_int_equal(value.type, AMQP_INT);
    assert_int_equal(value.i, 1234);
    teardown(&f);
}

static void test_sections(void **state)
{
    /* A uuid id, a foreign annotation, a property with a reserved name, a footer and a sequence
     * body survive. */
    struct fixture f;
    struct amqp_value value;
    setup(&f);
    amqp_put_descriptor(&f.message, 0x72);
    size_t mark = amqp_begin_map(&f.message);
    amqp_put_symbol(&f.message, SLICE_LIT("x-custom"));
    amqp_put_long(&f.message, 77);
    amqp_end(&f.message, mark, 2);
    struct amqp_properties properties = {.message_id = SLICE_LIT("\x98"
                                                                 "0123456789abcdef"),
                                         .correlation_id = SLICE_LIT("\x53\x07")};
    amqp_properties_encode(&f.message, &properties);
    amqp_put_descriptor(&f.message, 0x74);
    mark = amqp_begin_map(&f.message);
    amqp_put_string(&f.message, SLICE_LIT("subject"));
    amqp_put_string(&f.message, SLICE_LIT("mine"));
    amqp_end(&f.message, mark, 2);
    size_t body_at = f.message.len;
    bytebuf_append(&f.message, "\x00\x53\x76\x45\x00\x53\x76\xc0\x03\x01\x52\x01", 12);
    bytebuf_append(&f.message, "\x00\x53\x78\xc1\x01\x00", 6);
    round_trip(&f);
    ASSERT_SLICE(header_value(&f, "message-id"), "30313233-3435-3637-3839-616263646566");
    assert_true(amqp_map_find(f.back.message_annotations, SLICE_LIT("x-custom"), &value));
    assert_int_equal(value.i, 77);
    assert_true(amqp_map_find(f.back.application_properties, SLICE_LIT("subject"), &value));
    ASSERT_SLICE(value.bytes, "mine");
    assert_int_equal(f.back.body_kind, AMQP_BODY_SEQUENCE);
    assert_memory_equal(f.back.body.data, f.message.data + body_at, 12);
    assert_int_equal(f.back.footer.len, 6);
    struct amqp_properties again;
    assert_true(amqp_value_parse(f.back.properties, &value));
    assert_true(amqp_properties_decode(&value, &again));
    assert_true(slice_equal(again.message_id, properties.message_id));
    assert_null(again.subject.data);
    teardown(&f);
}

static void test_bodies(void **state)
{
    static const struct {
        const char *body;
        size_t len;
        const char *value;
        size_t value_len;
    } cases[] = {
        {"\x00\x53\x77\xa1\x02hi", 7, "hi", 2},
        {"\x00\x53\x77\xa0\x02hi", 7, "hi", 2},
        {"\x00\x53\x77\x54\x05", 5, "\x00\x53\x77\x54\x05", 5},
        {"\x00\x53\x75\xa0\x01"
         "a\x00\x53\x75\xa0\x01"
         "b",
         12,
         "\x00\x53\x75\xa0\x01"
         "a\x00\x53\x75\xa0\x01"
         "b",
         12},
        {"\x00\x53\x77\x40", 4, NULL, 0},
        {"\x00\x53\x75\xa0\x00", 5, "", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture f;
        setup(&f);
        bytebuf_append(&f.message, cases[i].body, cases[i].len);
        round_trip(&f);
        assert_int_equal(f.stored.value.len, cases[i].value_len);
        assert_int_equal(f.stored.value.data != NULL, cases[i].value != NULL);
        if (cases[i].value_len > 0)
            assert_memory_equal(f.stored.value.data, cases[i].value, cases[i].value_len);
        assert_slice(f.back.body, cases[i].body, cases[i].len);
        teardown(&f);
    }
}

static void test_from_kafka(void **state)
{
    struct fixture f;
    struct amqp_value value;
    struct batch_field headers[3] = {{SLICE_LIT("h"), SLICE_LIT("\xa1\x01x")},
                                     {SLICE_LIT("message-id"), SLICE_LIT("raw")},
                                     {SLICE_LIT("none"), SLICE_NULL}};
    setup(&f);
    f.record = (struct batch_build_record){.timestamp_ms = 42,
                                           .key = SLICE_LIT("k"),
                                           .value = SLICE_LIT("v"),
                                           .headers = headers,
                                           .header_count = 3};
    store(&f);
    load(&f, false);
    ASSERT_SLICE(f.back.data, "v");
    assert_null(f.back.properties.data);
    assert_true(amqp_map_find(f.back.message_annotations, SLICE_LIT("x-opt-kafka-key"), &value));
    assert_int_equal(value.type, AMQP_BINARY);
    ASSERT_SLICE(value.bytes, "k");
    assert_true(amqp_map_find(f.back.application_properties, SLICE_LIT("h"), &value));
    assert_int_equal(value.type, AMQP_BINARY);
    ASSERT_SLICE(value.bytes, "\xa1\x01x");
    assert_true(amqp_map_find(f.back.application_properties, SLICE_LIT("message-id"), &value));
    ASSERT_SLICE(value.bytes, "raw");
    assert_true(amqp_map_find(f.back.application_properties, SLICE_LIT("none"), &value));
    assert_int_equal(value.type, AMQP_NULL);
    teardown(&f);
}

static void test_refused(void **state)
{
    static const char *const bad[] = {"\xff\xff", "\x00\x53\x74\xc1\x05\x02\x52\x01\x52\x01",
                                      "\x00\x53\x73\xc0\x03\x02\x40\x41"};
    static const size_t lens[] = {2, 10, 8};
    for (size_t i = 0; i < 3; i++) {
        struct fixture f;
        struct event_origin origin = {.now_ms = 1};
        struct err_info info;
        setup(&f);
        assert_int_not_equal(
            event_to_record(slice_make(bad[i], lens[i]), &origin, f.arena, &f.record, &info),
            ERR_OK);
        teardown(&f);
    }
}

static void test_forged(void **state)
{
    /* Another producer wrote anything under our names and the batch bit: the message still is one.
     */
    struct random random;
    random_init(&random, 3);
    for (unsigned round = 0; round < 2000; round++) {
        struct fixture f;
        uint8_t bytes[64];
        size_t len = random_below(&random, sizeof(bytes));
        random_fill(&random, bytes, (uint32_t)len);
        if (random_one_in(&random, 2) && len > 12)
            memcpy(bytes, "\xc0\x08\x05\x53\x02\x40\x40\x40\x53\x03", 10);
        struct batch_field headers[3] = {{SLICE_LIT(EVENT_SECTIONS_HEADER), slice_make(bytes, len)},
                                         {SLICE_LIT("creation-time"), slice_make(bytes, len / 2)},
                                         {SLICE_LIT("x"), slice_make(bytes, len / 3)}};
        setup(&f);
        f.record = (struct batch_build_record){
            .value = slice_make(bytes, len), .headers = headers, .header_count = 3};
        store(&f);
        load(&f, true);
        teardown(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),   cmocka_unit_test(test_sections),
        cmocka_unit_test(test_bodies),  cmocka_unit_test(test_from_kafka),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_forged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
