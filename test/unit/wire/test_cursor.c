/* Cursors: limits of every form, sticky failure, splices and tags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "wire/cursor.h"

static struct wire_reader reader(const char *literal, size_t len)
{
    return wire_reader_make(slice_make(literal, len));
}
#define READER(text) reader((text), sizeof(text) - 1)

static void test_integers(void **state)
{
    struct wire_reader in =
        READER("\x01\x02\x03\x04\xff\xff\xff\xfe\x80\x00\x00\x00\x00\x00\x00\x01\x02\x00");
    assert_int_equal(wire_reader_u8(&in), 1);
    assert_int_equal(wire_reader_u16(&in), 0x0203);
    assert_int_equal(wire_reader_i8(&in), 4);
    assert_int_equal(wire_reader_i32(&in), -2);
    assert_true(wire_reader_i64(&in) == INT64_MIN + 1);
    assert_true(wire_reader_bool(&in));
    assert_false(wire_reader_bool(&in));
    assert_false(in.failed);
    assert_int_equal(wire_reader_u8(&in), 0);
    assert_true(in.failed);
}

static void test_failure_is_sticky(void **state)
{
    struct wire_reader in = READER("\x01\x02\x03");
    assert_int_equal(wire_reader_u32(&in), 0);
    assert_true(in.failed);
    assert_int_equal(wire_reader_u8(&in), 0);
    assert_int_equal(wire_reader_left(&in), 0);
}

static void test_varints(void **state)
{
    static const uint64_t values[] = {
        0, 1, 127, 128, 16383, 16384, UINT32_MAX, (uint64_t)1 << 35, UINT64_MAX};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct bytebuf buf;
        bytebuf_init(&buf, 64);
        struct wire_writer out = wire_writer_make(&buf, NULL);
        wire_writer_uvarlong(&out, values[i]);
        wire_writer_varlong(&out, (int64_t)values[i]);
        wire_writer_varint(&out, (int32_t)values[i]);
        struct wire_reader in = wire_reader_make(bytebuf_slice(&buf));
        assert_true(wire_reader_uvarlong(&in) == values[i]);
        assert_true(wire_reader_varlong(&in) == (int64_t)values[i]);
        assert_int_equal(wire_reader_varint(&in), (int32_t)values[i]);
        assert_false(in.failed);
        assert_int_equal(wire_reader_left(&in), 0);
        bytebuf_deinit(&buf);
    }
}

static void test_varints_too_long(void **state)
{
    struct wire_reader in = READER("\xff\xff\xff\xff\x10");
    assert_int_equal(wire_reader_uvarint(&in), 0);
    assert_true(in.failed);
    in = READER("\xff\xff\xff\xff\x0f");
    assert_int_equal(wire_reader_uvarint(&in), UINT32_MAX);
    assert_false(in.failed);
    in = READER("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02");
    wire_reader_uvarlong(&in);
    assert_true(in.failed);
    in = READER("\x80\x80");
    wire_reader_uvarint(&in);
    assert_true(in.failed);
    /* Longer than needed, but within five groups: allowed. */
    in = READER("\x81\x80\x80\x80\x00");
    assert_int_equal(wire_reader_uvarint(&in), 1);
    assert_false(in.failed);
}

static void test_strings(void **state)
{
    struct wire_reader in = READER("\x00\x02hi\xff\xff\x00\x00\x00\x01!\x04yes\x00");
    assert_true(slice_equal(wire_reader_string(&in, false), SLICE_LIT("hi")));
    assert_null(wire_reader_string(&in, true).data);
    assert_true(slice_equal(wire_reader_data(&in, false), SLICE_LIT("!")));
    assert_true(slice_equal(wire_reader_compact(&in, false), SLICE_LIT("yes")));
    assert_null(wire_reader_compact(&in, true).data);
    assert_false(in.failed);
    in = READER("\xff\xff");
    wire_reader_string(&in, false);
    assert_true(in.failed);
    in = READER("\xff\xfe");
    wire_reader_string(&in, true);
    assert_true(in.failed);
    in = READER("\x00\x05hi");
    wire_reader_string(&in, true);
    assert_true(in.failed);
}

static void test_counts_never_exceed_the_input(void **state)
{
    struct wire_reader in = READER("\x7f\xff\xff\xff\x00\x00");
    assert_int_equal(wire_reader_count(&in, false, true, 1), 0);
    assert_true(in.failed);
    in = READER("\x00\x00\x00\x02\x00\x00\x00");
    wire_reader_count(&in, false, false, 2);
    assert_true(in.failed);
    in = READER("\x00\x00\x00\x02\x00\x00\x00\x00");
    assert_int_equal(wire_reader_count(&in, false, false, 2), 2);
    in = READER("\xff\xff\xff\xff");
    assert_int_equal(wire_reader_count(&in, false, true, 1), -1);
    assert_false(in.failed);
    in = READER("\xff\xff\xff\xff");
    wire_reader_count(&in, false, false, 1);
    assert_true(in.failed);
    in = READER("\xff\xff\xff\xff\x0f");
    wire_reader_count(&in, true, true, 1);
    assert_true(in.failed);
}

static void test_unknown_tags_are_skipped(void **state)
{
    struct wire_reader in = READER("\x02\x05\x03"
                                   "abc"
                                   "\x09\x00"
                                   "z");
    wire_reader_tags_skip(&in);
    assert_false(in.failed);
    assert_int_equal(wire_reader_u8(&in), 'z');
    in = READER("\x01\x05\x09"
                "abc");
    wire_reader_tags_skip(&in);
    assert_true(in.failed);
    in = READER("\xff\xff\xff\xff\x0f");
    wire_reader_tags_skip(&in);
    assert_true(in.failed);
}

static void test_tag_sizes(void **state)
{
    struct bytebuf buf;
    bytebuf_init(&buf, 1024);
    struct wire_writer out = wire_writer_make(&buf, NULL);
    size_t outer = wire_writer_tag_begin(&out, 7);
    for (int i = 0; i < 200; i++)
        wire_writer_u8(&out, (uint8_t)i);
    wire_writer_tag_end(&out, outer);
    struct wire_reader in = wire_reader_make(bytebuf_slice(&buf));
    assert_int_equal(wire_reader_uvarint(&in), 7);
    assert_int_equal(wire_reader_uvarint(&in), 200);
    for (int i = 0; i < 200; i++)
        assert_int_equal(wire_reader_u8(&in), (uint8_t)i);
    assert_false(in.failed);
    assert_int_equal(wire_reader_left(&in), 0);
    bytebuf_deinit(&buf);
}

static void test_splices_are_not_copied(void **state)
{
    struct arena *arena = arena_create(NULL, "test", 65536);
    struct bytebuf buf;
    bytebuf_init(&buf, 1024);
    struct wire_writer out = wire_writer_make(&buf, arena);
    const struct iobuf_range ranges[] = {
        {NULL, SLICE_LIT("one")}, {NULL, SLICE_LIT("")}, {NULL, SLICE_LIT("three")}};
    const struct wire_records records = {.ranges = ranges, .range_count = 3};
    wire_writer_u8(&out, 'a');
    wire_writer_records(&out, true, &records);
    wire_writer_u8(&out, 'b');
    assert_true(wire_writer_ok(&out));
    assert_int_equal(out.splice_count, 2);
    assert_int_equal(out.splice_bytes, 8);
    assert_int_equal(buf.len, 3);
    assert_int_equal(buf.data[1], 9);
    assert_int_equal(out.splices[0].at, 2);
    assert_ptr_equal(out.splices[1].range.bytes.data, ranges[2].bytes.data);
    for (int i = 0; i < 100; i++)
        wire_writer_splice(&out, ranges[0]);
    assert_true(wire_writer_ok(&out));
    assert_int_equal(out.splice_count, 102);
    bytebuf_deinit(&buf);
    arena_destroy(arena);
}

static void test_writer_limits(void **state)
{
    struct bytebuf buf;
    bytebuf_init(&buf, 4);
    struct wire_writer out = wire_writer_make(&buf, NULL);
    wire_writer_u32(&out, 1);
    assert_true(wire_writer_ok(&out));
    wire_writer_u8(&out, 1);
    assert_false(wire_writer_ok(&out));
    bytebuf_deinit(&buf);
    bytebuf_init(&buf, 100000);
    out = wire_writer_make(&buf, NULL);
    static uint8_t big[40000];
    wire_writer_string(&out, slice_make(big, sizeof(big)));
    assert_false(wire_writer_ok(&out));
    bytebuf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_failure_is_sticky),
        cmocka_unit_test(test_varints),
        cmocka_unit_test(test_varints_too_long),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_counts_never_exceed_the_input),
        cmocka_unit_test(test_unknown_tags_are_skipped),
        cmocka_unit_test(test_tag_sizes),
        cmocka_unit_test(test_splices_are_not_copied),
        cmocka_unit_test(test_writer_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
