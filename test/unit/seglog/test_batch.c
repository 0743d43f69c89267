/* Batches: checking what producers send, walking, building, old formats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/crc32c.h"
#include "codec/compress.h"
#include "log_rig.h"
#include "seglog/bytes_int.h"

static struct batch_policy policy_default(void)
{
    return (struct batch_policy){.origin = BATCH_FROM_CLIENT,
                                 .batch_bytes_max = 1048588,
                                 .segment_bytes_max = 1 << 30,
                                 .zstd_allowed = true,
                                 .records_checked = true,
                                 .now_ms = 1700000000000,
                                 .timestamp_before_max_ms = INT64_MAX,
                                 .timestamp_after_max_ms = INT64_MAX};
}

static enum err check(struct iobuf_range range, const struct batch_policy *policy,
                      struct batch_verdict *ret_verdict)
{
    struct bytebuf scratch;
    struct batch_verdict verdict;
    bytebuf_init(&scratch, 1 << 20);
    enum err err =
        batch_validate(range.bytes, policy, &scratch, ret_verdict ? ret_verdict : &verdict, NULL);
    bytebuf_deinit(&scratch);
    return err;
}

/* Sets bytes of the header and renews the checksum. */
static void tamper16(struct iobuf_range range, size_t at, uint16_t value)
{
    uint8_t *p = iobuf_data(range.buf);
    be16_store(p + at, value);
    be32_store(p + 17, crc32c(0, p + 21, range.bytes.len - 21));
}

static void tamper32(struct iobuf_range range, size_t at, uint32_t value)
{
    uint8_t *p = iobuf_data(range.buf);
    be32_store(p + at, value);
    be32_store(p + 17, crc32c(0, p + 21, range.bytes.len - 21));
}

static void built_batches_are_valid(void **state)
{
    (void)state;
    struct batch_field headers[] = {{SLICE_LIT("h"), SLICE_LIT("1")}, {SLICE_LIT(""), SLICE_NULL}};
    struct batch_build_record records[] = {
        {.timestamp_ms = 1000, .key = SLICE_LIT("k"), .value = SLICE_NULL},
        {.timestamp_ms = 900, .value = SLICE_LIT(""), .headers = headers, .header_count = 2},
        {.timestamp_ms = 2000, .key = SLICE_LIT(""), .value = SLICE_LIT("value")}};
    struct batch_builder builder;
    struct iobuf_range range;
    batch_builder_init(&builder, 4096);
    for (int i = 0; i < 3; i++)
        assert_int_equal(batch_builder_add(&builder, &records[i]), ERR_OK);
    batch_builder_finish(&builder, &range);
    struct batch_policy policy = policy_default();
    struct batch_verdict verdict;
    assert_int_equal(check(range, &policy, &verdict), ERR_OK);
    assert_int_equal(verdict.max_timestamp_ms, 2000);
    assert_int_equal(verdict.header.record_count, 3);

    struct batch_iter iter;
    struct batch_record record;
    assert_int_equal(batch_iter_init(&iter, range.bytes, NULL, NULL), ERR_OK);
    for (int i = 0; i < 3; i++) {
        assert_true(batch_iter_next(&iter, &record));
        assert_int_equal(record.offset.value, i);
        assert_int_equal(record.timestamp_ms, records[i].timestamp_ms);
        assert_true(slice_equal(record.key, records[i].key));
        assert_true((record.key.data == NULL) == (records[i].key.data == NULL));
        assert_true((record.value.data == NULL) == (records[i].value.data == NULL));
        assert_int_equal(record.header_count, records[i].header_count);
        struct batch_field field;
        for (uint32_t k = 0; k < record.header_count; k++) {
            assert_true(batch_headers_next(&record.headers, &field));
            assert_true(slice_equal(field.key, headers[k].key));
            assert_true((field.value.data == NULL) == (headers[k].value.data == NULL));
        }
        assert_false(batch_headers_next(&record.headers, &field));
    }
    assert_false(batch_iter_next(&iter, &record));
    assert_int_equal(iter.err, ERR_OK);
    iobuf_unref(range.buf);
}

static void builder_keeps_its_limit(void **state)
{
    (void)state;
    struct batch_builder builder;
    batch_builder_init(&builder, 200);
    struct batch_build_record record = {.value = SLICE_LIT("twenty bytes of text")};
    int count = 0;
    while (batch_builder_add(&builder, &record) == ERR_OK)
        count++;
    assert_int_equal(count, 5);
    struct iobuf_range range;
    batch_builder_finish(&builder, &range);
    assert_true(range.bytes.len <= 200);
    struct batch_policy policy = policy_default();
    assert_int_equal(check(range, &policy, NULL), ERR_OK);
    iobuf_unref(range.buf);
    assert_int_equal(batch_builder_add(&builder, &record), ERR_OK);
    batch_builder_deinit(&builder);
}

static void bad_headers_are_refused(void **state)
{
    (void)state;
    struct batch_policy policy = policy_default();
    struct iobuf_range range = log_rig_batch("x", 3, 1000);
    uint8_t *p = iobuf_data(range.buf);
    assert_int_equal(check(range, &policy, NULL), ERR_OK);
    struct {
        size_t at;
        int bytes;
        uint32_t value;
        enum err err;
    } cases[] = {
        {57, 4, 0, ERR_INVALID_RECORD}, /* no records */
        {57, 4, 2, ERR_INVALID_RECORD}, /* count and delta differ */
        {57, 4, (uint32_t)-1, ERR_INVALID_RECORD},
        {23, 4, 3, ERR_INVALID_RECORD},
        {23, 4, (uint32_t)-1, ERR_INVALID_RECORD},
        {21, 2, BATCH_ATTR_CONTROL, ERR_INVALID_RECORD},
        {21, 2, BATCH_ATTR_DELETE_HORIZON, ERR_INVALID_RECORD},
        {21, 2, 0x100, ERR_INVALID_RECORD},
        {21, 2, 5, ERR_INVALID_RECORD},                 /* no such codec */
        {21, 2, BATCH_CODEC_GZIP, ERR_CORRUPT_MESSAGE}, /* does not inflate */
        {21, 2, BATCH_ATTR_APPEND_TIME, ERR_INVALID_TIMESTAMP},
        {43, 4, 0, ERR_INVALID_RECORD}, /* a producer id without a sequence */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t before[BATCH_HEADER_SIZE];
        memcpy(before, p, sizeof(before));
        if (cases[i].bytes == 2)
            tamper16(range, cases[i].at, (uint16_t)cases[i].value);
        else
            tamper32(range, cases[i].at, cases[i].value);
        assert_int_equal(check(range, &policy, NULL), cases[i].err);
        memcpy(p, before, sizeof(before));
    }
    assert_int_equal(check(range, &policy, NULL), ERR_OK);
    p[range.bytes.len - 1] ^= 1;
    assert_int_equal(check(range, &policy, NULL), ERR_CORRUPT_MESSAGE);
    p[range.bytes.len - 1] ^= 1;
    p[16] = 1;
    assert_int_equal(check(range, &policy, NULL), ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT);
    p[16] = 2;
    be64_store(p, 7);
    assert_int_equal(check(range, &policy, NULL), ERR_INVALID_RECORD);
    policy.origin = BATCH_FROM_SERVER;
    assert_int_equal(check(range, &policy, NULL), ERR_OK);
    policy = policy_default();
    be64_store(p, 0);
    struct iobuf_range cut = range;
    for (cut.bytes.len = 0; cut.bytes.len < range.bytes.len; cut.bytes.len++)
        assert_int_equal(check(cut, &policy, NULL), ERR_CORRUPT_MESSAGE);
    policy.batch_bytes_max = (uint32_t)range.bytes.len - 1;
    assert_int_equal(check(range, &policy, NULL), ERR_MESSAGE_TOO_LARGE);
    policy = policy_default();
    policy.segment_bytes_max = (uint32_t)range.bytes.len - 1;
    assert_int_equal(check(range, &policy, NULL), ERR_RECORD_LIST_TOO_LARGE);
    iobuf_unref(range.buf);
}

static void bad_records_fail_the_batch(void **state)
{
    (void)state;
    struct batch_policy policy = policy_default();
    struct batch_verdict verdict;
    struct batch_builder builder;
    struct iobuf_range range;
    batch_builder_init(&builder, 4096);
    struct batch_build_record good = {.timestamp_ms = policy.now_ms, .key = SLICE_LIT("k")};
    struct batch_build_record bare = {.timestamp_ms = policy.now_ms + 7200000};
    assert_int_equal(batch_builder_add(&builder, &good), ERR_OK);
    assert_int_equal(batch_builder_add(&builder, &bare), ERR_OK);
    batch_builder_finish(&builder, &range);
    assert_int_equal(check(range, &policy, &verdict), ERR_OK);
    policy.keys_required = true;
    assert_int_equal(check(range, &policy, &verdict), ERR_INVALID_RECORD);
    assert_int_equal(verdict.fault_count, 1);
    assert_int_equal(verdict.faults[0].record_index, 1);
    policy = policy_default();
    policy.timestamp_after_max_ms = 3600000;
    assert_int_equal(check(range, &policy, &verdict), ERR_INVALID_TIMESTAMP);
    assert_int_equal(verdict.faults[0].record_index, 1);
    policy.append_time = true;
    assert_int_equal(check(range, &policy, &verdict), ERR_OK);
    policy = policy_default();
    policy.now_ms += 100;
    policy.timestamp_before_max_ms = 50;
    assert_int_equal(check(range, &policy, &verdict), ERR_INVALID_TIMESTAMP);
    assert_int_equal(verdict.faults[0].record_index, 0);
    /* every byte of the records changed, with a true checksum: never a crash, never a wrong walk */
    uint8_t *p = iobuf_data(range.buf);
    policy = policy_default();
    for (size_t at = BATCH_HEADER_SIZE; at < range.bytes.len; at++)
        for (int bit = 0; bit < 8; bit++) {
            p[at] ^= (uint8_t)(1 << bit);
            be32_store(p + 17, crc32c(0, p + 21, range.bytes.len - 21));
            enum err err = check(range, &policy, &verdict);
            assert_true(err == ERR_OK || err == ERR_INVALID_RECORD);
            p[at] ^= (uint8_t)(1 << bit);
        }
    iobuf_unref(range.buf);
}

/* The same batch with its records compressed. */
static struct iobuf_range compressed(struct iobuf_range plain, enum compress_kind kind)
{
    struct bytebuf out;
    bytebuf_init(&out, 1 << 20);
    bytebuf_append(&out, plain.bytes.data, BATCH_HEADER_SIZE);
    assert_int_equal(
        compress_compress(kind, slice_sub(plain.bytes, BATCH_HEADER_SIZE, SIZE_MAX), 0, &out),
        ERR_OK);
    struct iobuf *buf = iobuf_create(out.len);
    assert_non_null(buf);
    memcpy(iobuf_data(buf), out.data, out.len);
    struct iobuf_range range = {buf, slice_make(iobuf_data(buf), out.len)};
    be32_store(iobuf_data(buf) + 8, (uint32_t)(out.len - BATCH_PREFIX_SIZE));
    tamper16(range, 21, (uint16_t)kind);
    bytebuf_deinit(&out);
    return range;
}

static void compression_is_followed(void **state)
{
    (void)state;
    struct iobuf_range plain = log_rig_batch("a longer text that repeats ", 200, 1000);
    for (enum compress_kind kind = COMPRESS_GZIP; kind < COMPRESS_COUNT; kind++) {
        struct iobuf_range range = compressed(plain, kind);
        struct batch_policy policy = policy_default();
        struct batch_verdict verdict;
        assert_int_equal(check(range, &policy, &verdict), ERR_OK);
        assert_int_equal(verdict.max_timestamp_ms, 1199);
        if (kind == COMPRESS_ZSTD) {
            policy.zstd_allowed = false;
            assert_int_equal(check(range, &policy, NULL), ERR_UNSUPPORTED_COMPRESSION_TYPE);
        }
        struct bytebuf small;
        struct batch_iter iter;
        bytebuf_init(&small, 1000); /* inflates past the cap */
        assert_int_equal(batch_iter_init(&iter, range.bytes, &small, NULL), ERR_CORRUPT_MESSAGE);
        bytebuf_deinit(&small);
        iobuf_unref(range.buf);
    }
    iobuf_unref(plain.buf);
}

static void patches_keep_the_checksum(void **state)
{
    (void)state;
    struct iobuf_range range = log_rig_batch("x", 3, 1000);
    uint8_t *p = iobuf_data(range.buf);
    struct batch_header header;
    batch_patch_position(p, record_offset(1234567890123), leader_epoch(42));
    assert_true(batch_crc_holds(range.bytes));
    assert_int_equal(batch_header_read(range.bytes, &header, NULL), ERR_OK);
    assert_int_equal(header.base_offset.value, 1234567890123);
    assert_int_equal(header.epoch.value, 42);
    assert_int_equal(batch_end_offset(&header).value, 1234567890126);
    batch_patch_append_time(p, range.bytes.len, 5000);
    assert_true(batch_crc_holds(range.bytes));
    struct batch_iter iter;
    struct batch_record record;
    assert_int_equal(batch_iter_init(&iter, range.bytes, NULL, NULL), ERR_OK);
    assert_true(batch_iter_next(&iter, &record));
    assert_int_equal(record.timestamp_ms, 5000);
    header = (struct batch_header){.base_sequence = INT32_MAX - 1, .last_offset_delta = 3};
    assert_int_equal(batch_last_sequence(&header), 1);
    iobuf_unref(range.buf);
}

/* An entry of format v0 or v1 behind out. */
static void legacy_put(struct bytebuf *out, int8_t magic, uint8_t attributes, int64_t offset,
                       int64_t ms, const char *key, struct slice value)
{
    size_t body = (magic ? 22 : 14) + strlen(key) + value.len;
    uint8_t *p = bytebuf_reserve(out, 12 + body);
    assert_non_null(p);
    out->len += 12 + body;
    be64_store(p, (uint64_t)offset);
    be32_store(p + 8, (uint32_t)body);
    p[16] = (uint8_t)magic;
    p[17] = attributes;
    uint8_t *q = p + 18;
    if (magic) {
        be64_store(q, (uint64_t)ms);
        q += 8;
    }
    be32_store(q, (uint32_t)strlen(key));
    memcpy(q + 4, key, strlen(key));
    q += 4 + strlen(key);
    be32_store(q, (uint32_t)value.len);
    memcpy(q + 4, value.data, value.len);
    be32_store(p + 12, (uint32_t)crc32(0, p + 16, (uInt)(body - 4)));
}

static void old_formats_convert(void **state)
{
    (void)state;
    struct bytebuf set, inner, packed, scratch, back;
    bytebuf_init(&set, 1 << 20);
    bytebuf_init(&inner, 1 << 20);
    bytebuf_init(&packed, 1 << 20);
    bytebuf_init(&scratch, 1 << 20);
    bytebuf_init(&back, 1 << 20);
    for (int i = 0; i < 3; i++)
        legacy_put(&inner, 1, 0, i, 100 + i, "ik", SLICE_LIT("inner"));
    assert_int_equal(compress_compress(COMPRESS_GZIP, bytebuf_slice(&inner), 0, &packed), ERR_OK);
    legacy_put(&set, 0, 0, 0, 0, "k0", SLICE_LIT("v0"));
    legacy_put(&set, 1, 0, 1, 77, "k1", SLICE_LIT("v1"));
    legacy_put(&set, 1, COMPRESS_GZIP, 4, 102, "", bytebuf_slice(&packed));
    size_t whole = set.len;
    legacy_put(&set, 1, 0, 5, 77, "cut", SLICE_LIT("off"));
    struct iobuf_range range;
    assert_int_equal(
        batch_from_message_set(slice_make(set.data, whole + 20), 65536, &scratch, &range, NULL),
        ERR_OK);
    struct batch_policy policy = policy_default();
    struct batch_verdict verdict;
    assert_int_equal(check(range, &policy, &verdict), ERR_OK);
    assert_int_equal(verdict.header.record_count, 5);
    for (int8_t magic = 0; magic <= 1; magic++) {
        bytebuf_clear(&back);
        assert_int_equal(batch_to_message_set(range.bytes, magic, &scratch, &back, NULL), ERR_OK);
        struct iobuf_range again;
        assert_int_equal(
            batch_from_message_set(bytebuf_slice(&back), 65536, &scratch, &again, NULL), ERR_OK);
        if (magic == 1)
            assert_true(slice_equal(range.bytes, again.bytes));
        iobuf_unref(again.buf);
    }
    set.data[whole - 1] ^= 1;
    assert_int_equal(
        batch_from_message_set(slice_make(set.data, whole), 65536, &scratch, &range, NULL),
        ERR_CORRUPT_MESSAGE);
    bytebuf_deinit(&set);
    bytebuf_deinit(&inner);
    bytebuf_deinit(&packed);
    bytebuf_deinit(&scratch);
    bytebuf_deinit(&back);
    iobuf_unref(range.buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(built_batches_are_valid), cmocka_unit_test(builder_keeps_its_limit),
        cmocka_unit_test(bad_headers_are_refused), cmocka_unit_test(bad_records_fail_the_batch),
        cmocka_unit_test(compression_is_followed), cmocka_unit_test(patches_keep_the_checksum),
        cmocka_unit_test(old_formats_convert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
