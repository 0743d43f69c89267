/*
 * AMQP types, frames and messages: golden bytes both ways, and bytes that must be refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "amqp_types.h"
#include "base/random.h"
#include "wire/amqp_frame.h"

static struct slice hex(const char *text, uint8_t *out)
{
    size_t n = 0;
    for (const char *at = text; *at;) {
        if (*at == ' ') {
            at++;
            continue;
        }
        char pair[3] = {at[0], at[1], 0};
        out[n++] = (uint8_t)strtoul(pair, NULL, 16);
        at += 2;
    }
    return slice_make(out, n);
}

static void assert_bytes(const struct bytebuf *buf, const char *expected)
{
    uint8_t out[1024];
    struct slice want = hex(expected, out);
    assert_false(buf->failed);
    assert_int_equal(buf->len, want.len);
    assert_memory_equal(buf->data, want.data, want.len);
}

static void test_numbers(void **state)
{
    static const struct {
        const char *bytes;
        enum amqp_type type;
        int64_t number;
    } cases[] = {
        {"43", AMQP_UINT, 0},
        {"52 ff", AMQP_UINT, 255},
        {"70 00 01 00 00", AMQP_UINT, 65536},
        {"44", AMQP_ULONG, 0},
        {"53 70", AMQP_ULONG, 0x70},
        {"80 00 00 00 13 70 00 00 0a", AMQP_ULONG, 0x137000000aLL},
        {"50 07", AMQP_UBYTE, 7},
        {"51 fe", AMQP_BYTE, -2},
        {"60 01 02", AMQP_USHORT, 0x102},
        {"61 ff fe", AMQP_SHORT, -2},
        {"54 ff", AMQP_INT, -1},
        {"71 80 00 00 00", AMQP_INT, INT32_MIN},
        {"55 80", AMQP_LONG, -128},
        {"81 7f ff ff ff ff ff ff ff", AMQP_LONG, INT64_MAX},
    };
    uint8_t out[64];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct amqp_value value;
        int64_t number;
        struct slice raw = hex(cases[i].bytes, out);
        assert_true(amqp_value_parse(raw, &value));
        assert_int_equal(value.type, cases[i].type);
        assert_true(amqp_value_int64(&value, &number));
        assert_int_equal(number, cases[i].number);
        assert_int_equal(value.raw.len, raw.len);
        for (size_t cut = 0; cut < raw.len; cut++)
            assert_false(amqp_value_parse(slice_make(raw.data, cut), &value));
    }
}

static void test_writers(void **state)
{
    struct bytebuf buf;
    bytebuf_init(&buf, 4096);
    amqp_put_null(&buf);
    amqp_put_boolean(&buf, true);
    amqp_put_ubyte(&buf, 2);
    amqp_put_ushort(&buf, 4999);
    amqp_put_uint(&buf, 0);
    amqp_put_uint(&buf, 255);
    amqp_put_uint(&buf, 65536);
    amqp_put_ulong(&buf, 0x80013700u);
    amqp_put_int(&buf, 202);
    amqp_put_long(&buf, -1);
    amqp_put_timestamp(&buf, 1);
    amqp_put_binary(&buf, SLICE_LIT("ab"));
    amqp_put_string(&buf, SLICE_LIT("c"));
    amqp_put_symbol(&buf, SLICE_LIT(""));
    amqp_put_double(&buf, 1.5);
    assert_bytes(
        &buf,
        "40 41 50 02 60 13 87 43 52 ff 70 00 01 00 00 80 00 00 00 00 80 01 37 00 71 00 00 00 ca"
        "55 ff 83 00 00 00 00 00 00 00 01 a0 02 61 62 a1 01 63 a3 00 82 3f f8 00 00 00 00 00 00");
    bytebuf_clear(&buf);
    size_t mark = amqp_begin_map(&buf);
    amqp_put_symbol(&buf, SLICE_LIT("k"));
    amqp_put_long(&buf, 5);
    amqp_end(&buf, mark, 2);
    assert_bytes(&buf, "c1 06 02 a3 01 6b 55 05");
    bytebuf_clear(&buf);
    static const char big[300];
    mark = amqp_begin_list(&buf);
    amqp_put_binary(&buf, slice_make(big, sizeof(big)));
    amqp_end(&buf, mark, 1);
    assert_int_equal(buf.data[0], 0xd0);
    struct amqp_value value;
    assert_true(amqp_value_parse(bytebuf_slice(&buf), &value));
    assert_int_equal(value.count, 1);
    bytebuf_deinit(&buf);
}

static void test_containers(void **state)
{
    uint8_t out[256];
    struct amqp_value value, item;
    struct slice map = hex("c1 12 04 a3 01 61 a1 02 68 69 a3 01 62 e0 04 02 50 01 02", out);
    assert_false(amqp_value_parse(map, &value)); /* size too large */
    map = hex("c1 11 04 a3 01 61 a1 02 68 69 a3 01 62 e0 04 02 50 01 02", out);
    assert_true(amqp_value_parse(map, &value));
    assert_true(amqp_map_find(map, SLICE_LIT("b"), &item));
    assert_int_equal(item.type, AMQP_ARRAY);
    assert_int_equal(item.count, 2);
    struct amqp_iter iter = amqp_iter_begin(&item);
    assert_true(amqp_iter_next(&iter, &value));
    assert_int_equal(value.u, 1);
    assert_true(amqp_iter_next(&iter, &value));
    assert_int_equal(value.u, 2);
    assert_false(amqp_iter_next(&iter, &value));
    assert_false(amqp_map_find(map, SLICE_LIT("c"), &item));
    assert_true(amqp_symbols_contain(hex("f0 00 00 00 09 00 00 00 02 a3 01 78 01 79", out),
                                     SLICE_LIT("y")));
    assert_true(amqp_symbols_contain(hex("a3 01 78", out), SLICE_LIT("x")));
    assert_false(amqp_symbols_contain(hex("a3 01 78", out), SLICE_LIT("y")));
    assert_false(amqp_symbols_contain(hex("f0 00 00 00 05 ff ff ff ff 41", out), SLICE_LIT("y")));
}

static void test_hostile_values(void **state)
{
    static const char *const bad[] = {
        "",
        "00",
        "00 53",
        "00 53 10",
        "3f",
        "46",
        "57 00",
        "a1 05 61",
        "b1 ff ff ff ff 61",
        "a2 00",
        "c0 00",
        "c0 01 01",
        "c0 02 01 40 40 c0",
        "c1 03 01 40 40",
        "c1 02 01 40",
        "d0 ff ff ff ff 00 00 00 01 40",
        "d0 00 00 00 05 ff ff ff ff 40",
        "e0 01 00",
        "e0 03 02 50 01",
        "f0 00 00 00 05 ff ff ff ff 50",
        "f0 00 00 00 05 00 00 00 00 3f",
        "e0 02 01 00",
        "c2 01 00",
        "e1 02 00 40",
    };
    uint8_t out[64];
    struct amqp_value value;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct slice raw = hex(bad[i], out);
        if (amqp_value_parse(raw, &value))
            fail_msg("accepted: %s", bad[i]);
    }
    /* An array of four billion items that take no bytes costs nothing. */
    assert_true(amqp_value_parse(hex("f0 00 00 00 05 ff ff ff ff 40", out), &value));
    /* Nesting: descriptors of descriptors, and lists in lists. */
    uint8_t deep[4096];
    memset(deep, 0, sizeof(deep));
    assert_false(amqp_value_parse(slice_make(deep, sizeof(deep)), &value));
    for (unsigned levels = 30; levels < 36; levels++) {
        size_t at = sizeof(deep);
        deep[--at] = 0x45;
        for (unsigned i = 0; i < levels; i++) {
            uint8_t head[9] = {0xd0,
                               0,
                               0,
                               (uint8_t)((sizeof(deep) - at + 4) >> 8),
                               (uint8_t)(sizeof(deep) - at + 4),
                               0,
                               0,
                               0,
                               1};
            at -= sizeof(head);
            memcpy(deep + at, head, sizeof(head));
        }
        assert_int_equal(amqp_value_parse(slice_make(deep + at, sizeof(deep) - at), &value),
                         levels <= AMQP_DEPTH_MAX);
    }
}

/* Random bytes and single changed bytes of good ones: any answer, but no fault and no endless walk.
 */
static void walk(const struct amqp_value *value, unsigned depth)
{
    struct amqp_value a, b;
    if (depth > AMQP_DEPTH_MAX)
        return;
    if (value->type == AMQP_DESCRIBED) {
        amqp_value_undescribe(value, &a, &b);
        walk(&a, depth + 1);
        walk(&b, depth + 1);
    } else if (value->type == AMQP_LIST || value->type == AMQP_MAP || value->type == AMQP_ARRAY) {
        struct amqp_iter iter = amqp_iter_begin(value);
        for (unsigned n = 0; n < 1000 && amqp_iter_next(&iter, &a); n++)
            walk(&a, depth + 1);
    }
}

static void test_mutations(void **state)
{
    uint8_t good[256], bytes[256];
    struct random random;
    struct amqp_message message;
    random_init(&random, 1);
    struct slice raw = hex("00 53 70 c0 02 01 41 00 53 72 c1 11 04 a3 01 61 a1 02 68 69 a3 01 62 "
                           "e0 04 02 50 01 02 00 53 73 c0 05 01"
                           "a1 02 69 64 00 53 74 c1 0a 02 a1 01 6b c1 04 02 a1 00 56 01 00 53 75 "
                           "a0 03 61 62 63 00 53 75 a0 00",
                           good);
    for (unsigned i = 0; i < 20000; i++) {
        size_t len = raw.len;
        memcpy(bytes, good, len);
        for (unsigned n = (unsigned)random_below(&random, 3); n-- > 0;)
            bytes[random_below(&random, len)] = (uint8_t)random_u64(&random);
        if (random_one_in(&random, 4))
            len = random_below(&random, len + 1);
        struct slice rest = slice_make(bytes, len);
        struct amqp_value value;
        while (rest.len > 0 && amqp_value_read(&rest, &value))
            walk(&value, 0);
        if (amqp_message_scan(slice_make(bytes, len), &message) &&
            message.body_kind == AMQP_BODY_DATA) {
            struct slice body = message.body, data;
            uint32_t count = 0;
            while (amqp_message_data_next(&body, &data))
                count++;
            assert_int_equal(count, message.body_count);
        }
    }
}

static void test_performatives(void **state)
{
    struct bytebuf buf;
    struct amqp_value value;
    bytebuf_init(&buf, 4096);
    struct amqp_open open = {.container_id = SLICE_LIT("abc_G1"),
                             .max_frame_size = 65536,
                             .channel_max = 4999,
                             .idle_time_out = 120000,
                             .has_idle_time_out = true};
    amqp_open_encode(&buf, &open);
    assert_bytes(
        &buf, "00 53 10 c0 1c 0a a1 06 61 62 63 5f 47 31 40 70 00 01 00 00 60 13 87 70 00 01 d4 c0"
              "40 40 40 40 40");
    struct amqp_open again;
    assert_true(amqp_value_parse(bytebuf_slice(&buf), &value));
    assert_true(amqp_open_decode(&value, &again));
    assert_true(slice_equal(again.container_id, open.container_id));
    assert_null(again.hostname.data);
    assert_int_equal(again.idle_time_out, 120000);
    struct amqp_begin begin;
    assert_false(amqp_begin_decode(&value, &begin));
    uint8_t out[256];
    /* Defaults of a list that ends early. */
    assert_true(amqp_value_parse(hex("00 53 10 c0 04 01 a1 01 61", out), &value));
    assert_true(amqp_open_decode(&value, &again));
    assert_int_equal(again.max_frame_size, UINT32_MAX);
    assert_int_equal(again.channel_max, 65535);
    assert_false(again.has_idle_time_out);
    /* A missing required field, a wrong type, a field too many. */
    assert_true(amqp_value_parse(hex("00 53 10 45", out), &value));
    assert_false(amqp_open_decode(&value, &again));
    assert_true(amqp_value_parse(hex("00 53 10 c0 03 01 52 01", out), &value));
    assert_false(amqp_open_decode(&value, &again));
    assert_true(amqp_value_parse(hex("00 53 17 c0 03 02 40 40", out), &value));
    struct amqp_end end;
    assert_false(amqp_end_decode(&value, &end));
    /* The descriptor by name is not used by any peer and is refused. */
    assert_true(amqp_value_parse(hex("00 a3 01 61 45", out), &value));
    assert_false(amqp_end_decode(&value, &end));
    bytebuf_deinit(&buf);
}

static void test_cbs_reply(void **state)
{
    /* Properties with only a correlation id, and two application properties: the form of the public
     * service. */
    struct bytebuf buf;
    bytebuf_init(&buf, 4096);
    struct amqp_properties properties = {.correlation_id = SLICE_LIT("\x98"
                                                                     "0123456789abcdef")};
    amqp_properties_encode(&buf, &properties);
    assert_bytes(
        &buf, "00 53 73 c0 1e 0d 40 40 40 40 40 98 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66"
              "40 40 40 40 40 40 40");
    bytebuf_deinit(&buf);
}

static void test_frames(void **state)
{
    struct amqp_frame frame;
    size_t need;
    uint8_t out[64];
    struct slice raw = hex("00 00 00 0c 02 00 00 01 00 53 17 45", out);
    assert_int_equal(amqp_frame_read(raw, 512, &frame, &need), AMQP_FRAME_OK);
    assert_int_equal(frame.channel, 1);
    assert_int_equal(frame.body.len, 4);
    assert_int_equal(amqp_frame_read(slice_make(raw.data, 7), 512, &frame, &need), AMQP_FRAME_MORE);
    assert_int_equal(need, 8);
    assert_int_equal(amqp_frame_read(slice_make(raw.data, 11), 512, &frame, &need),
                     AMQP_FRAME_MORE);
    assert_int_equal(need, 12);
    assert_int_equal(amqp_frame_read(hex("00 00 00 07 02 00 00 00", out), 512, &frame, &need),
                     AMQP_FRAME_BAD);
    assert_int_equal(amqp_frame_read(hex("00 00 00 08 01 00 00 00", out), 512, &frame, &need),
                     AMQP_FRAME_BAD);
    assert_int_equal(amqp_frame_read(hex("00 00 00 08 03 00 00 00", out), 512, &frame, &need),
                     AMQP_FRAME_BAD);
    assert_int_equal(amqp_frame_read(hex("00 00 02 01 02 00 00 00", out), 512, &frame, &need),
                     AMQP_FRAME_LARGE);
    assert_int_equal(amqp_frame_read(hex("47 45 54 20 2f 20 48 54", out), 512, &frame, &need),
                     AMQP_FRAME_LARGE);
}

static void test_messages(void **state)
{
    struct amqp_message message;
    uint8_t out[256];
    assert_true(amqp_message_scan(hex("00 53 75 a0 02 61 62 00 53 75 a0 01 63", out), &message));
    assert_int_equal(message.body_count, 2);
    assert_int_equal(message.data.len, 2);
    assert_true(
        amqp_message_scan(hex("00 53 72 c1 01 00 00 53 77 40 00 53 78 c1 01 00", out), &message));
    assert_int_equal(message.body_kind, AMQP_BODY_VALUE);
    assert_int_equal(message.footer.len, 6);
    assert_true(amqp_message_scan(SLICE_NULL, &message));
    assert_int_equal(message.body_kind, AMQP_BODY_NONE);
    static const char *const late[] = {
        "00 53 75 a0 01 61 00 53 71 c1 01 00", /* delivery annotations behind the body */
        "00 53 75 a0 01 61 00 53 71 c1 01 00 00 53 78 c1 01 00",
        "00 53 73 45 00 53 71 c1 01 00 00 53 75 a0 01 61",
        "00 53 75 a0 01 61 00 53 78 c1 01 00 00 53 71 c1 01 00",
    };
    for (size_t i = 0; i < sizeof(late) / sizeof(late[0]); i++) {
        if (!amqp_message_scan(hex(late[i], out), &message))
            fail_msg("refused: %s", late[i]);
        assert_int_equal(message.body.len, 6);
        assert_int_equal(message.delivery_annotations.len, 3);
    }
    static const char *const bad[] = {
        "00 53 71 c1 01 00 00 53 75 a0 01 61 00 53 71 c1 01 00", /* twice */
        "00 53 75 a0 01 61 00 53 71 c1 01 00 00 53 75 a0 01 61", /* inside of the body */
        "00 53 77 40 00 53 71 c1 01 00 00 53 72 c1 01 00",       /* order behind it */
        "00 53 75 a1 01 61",                                     /* data holds text */
        "00 53 73 45 00 53 72 c1 01 00",                         /* order */
        "00 53 77 40 00 53 77 40",                               /* two values */
        "00 53 75 a0 00 00 53 77 40",                            /* mixed bodies */
        "00 53 79 45",                                           /* unknown section */
        "00 53 75 a0 05 61",                                     /* truncated */
        "a0 01 61",                                              /* no section */
        "00 53 74 a0 00",                                        /* not a map */
        "00 53 73 45 00 53 73 45",                               /* twice */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (amqp_message_scan(hex(bad[i], out), &message))
            fail_msg("accepted: %s", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),    cmocka_unit_test(test_writers),
        cmocka_unit_test(test_containers), cmocka_unit_test(test_hostile_values),
        cmocka_unit_test(test_mutations),  cmocka_unit_test(test_performatives),
        cmocka_unit_test(test_cbs_reply),  cmocka_unit_test(test_frames),
        cmocka_unit_test(test_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
