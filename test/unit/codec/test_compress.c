/* Compression: round trips, caps, bombs, truncation, foreign framings, and garbage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "codec/compress.h"

enum { TEXT_CAP = 300 * 1000 };

static uint8_t *make_text(struct random *random, size_t len)
{
    uint8_t *text = malloc(len ? len : 1);
    for (size_t i = 0; i < len; i++)
        text[i] = (uint8_t)(i % 7 == 0 ? random_below(random, 256) : 'a' + i % 5);
    return text;
}

static struct bytebuf compressed(enum compress_kind kind, struct slice in)
{
    struct bytebuf out;
    bytebuf_init(&out, 64 << 20);
    assert_int_equal(compress_compress(kind, in, 0, &out), ERR_OK);
    return out;
}

static void expect_decoded(enum compress_kind kind, struct slice in, struct slice want)
{
    struct bytebuf out;
    bytebuf_init(&out, 64 << 20);
    bytebuf_append_cstr(&out, "before"); /* what stands in the buffer stays */
    assert_int_equal(compress_decompress(kind, in, want.len, &out), ERR_OK);
    assert_int_equal(out.len, 6 + want.len);
    assert_memory_equal(out.data, "before", 6);
    if (want.len > 0)
        assert_memory_equal(out.data + 6, want.data, want.len);
    bytebuf_deinit(&out);
}

static void expect_error(enum compress_kind kind, struct slice in, size_t limit, enum err want)
{
    struct bytebuf out;
    bytebuf_init(&out, 64 << 20);
    bytebuf_append_byte(&out, 'x');
    assert_int_equal(compress_decompress(kind, in, limit, &out), want);
    assert_int_equal(out.len, 1);
    assert_false(out.failed);
    bytebuf_deinit(&out);
}

static void test_round_trip(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 100, 32767, 32768, 32769, 65536, 70000, TEXT_CAP};
    struct random random;
    random_init(&random, 5);
    for (int kind = COMPRESS_NONE; kind < COMPRESS_COUNT; kind++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            uint8_t *text = make_text(&random, sizes[i]);
            struct slice plain = slice_make(text, sizes[i]);
            struct bytebuf packed = compressed((enum compress_kind)kind, plain);
            expect_decoded((enum compress_kind)kind, bytebuf_slice(&packed), plain);
            if (plain.len > 0)
                expect_error((enum compress_kind)kind, bytebuf_slice(&packed), plain.len - 1,
                             ERR_MESSAGE_TOO_LARGE);
            bytebuf_deinit(&packed);
            free(text);
        }
    }
}

static void test_levels(void **state)
{
    struct random random;
    random_init(&random, 6);
    uint8_t *text = make_text(&random, 50000);
    struct slice plain = slice_make(text, 50000);
    static const enum compress_kind kinds[] = {COMPRESS_GZIP, COMPRESS_ZSTD};
    for (int k = 0; k < 2; k++) {
        for (int level = 1; level <= 9; level++) {
            struct bytebuf packed;
            bytebuf_init(&packed, 1 << 20);
            assert_int_equal(compress_compress(kinds[k], plain, level, &packed), ERR_OK);
            expect_decoded(kinds[k], bytebuf_slice(&packed), plain);
            bytebuf_deinit(&packed);
        }
    }
    free(text);
}

static void test_bombs(void **state)
{
    size_t len = 32 << 20;
    uint8_t *zeros = calloc(1, len);
    for (int kind = COMPRESS_GZIP; kind < COMPRESS_COUNT; kind++) {
        struct bytebuf packed = compressed((enum compress_kind)kind, slice_make(zeros, len));
        struct bytebuf out;
        bytebuf_init(&out, 1 << 30);
        assert_int_equal(
            compress_decompress((enum compress_kind)kind, bytebuf_slice(&packed), 1 << 20, &out),
            ERR_MESSAGE_TOO_LARGE);
        assert_true(out.cap <= 2 << 20); /* the cap bounds memory, not only the result */
        bytebuf_deinit(&out);
        bytebuf_init(&out, 4096); /* the buffer's own limit counts too */
        assert_int_equal(
            compress_decompress((enum compress_kind)kind, bytebuf_slice(&packed), 1 << 20, &out),
            ERR_MESSAGE_TOO_LARGE);
        bytebuf_deinit(&out);
        bytebuf_deinit(&packed);
    }
    free(zeros);
}

static void test_truncated(void **state)
{
    struct random random;
    random_init(&random, 7);
    uint8_t *text = make_text(&random, 2000);
    for (int kind = COMPRESS_GZIP; kind < COMPRESS_COUNT; kind++) {
        struct bytebuf packed = compressed((enum compress_kind)kind, slice_make(text, 2000));
        for (size_t len = kind == COMPRESS_SNAPPY ? 17 : 0; len < packed.len; len++) {
            uint8_t *cut = malloc(len ? len : 1); /* exact size, so that an overread is caught */
            memcpy(cut, packed.data, len);
            expect_error((enum compress_kind)kind, slice_make(cut, len), 1 << 20,
                         ERR_CORRUPT_MESSAGE);
            free(cut);
        }
        bytebuf_append_cstr(&packed, "garbage behind");
        expect_error((enum compress_kind)kind, bytebuf_slice(&packed), 1 << 20,
                     ERR_CORRUPT_MESSAGE);
        bytebuf_deinit(&packed);
    }
    free(text);
}

static void test_garbage(void **state)
{
    struct random random;
    random_init(&random, 8);
    uint8_t *text = make_text(&random, 3000);
    for (int kind = COMPRESS_GZIP; kind < COMPRESS_COUNT; kind++) {
        struct bytebuf packed = compressed((enum compress_kind)kind, slice_make(text, 3000));
        for (int i = 0; i < 3000; i++) {
            size_t at = random_below(&random, packed.len);
            uint8_t saved = packed.data[at];
            packed.data[at] ^= (uint8_t)(1 + random_below(&random, 255));
            struct bytebuf out;
            bytebuf_init(&out, 1 << 20);
            enum err error =
                compress_decompress((enum compress_kind)kind, bytebuf_slice(&packed), 100000, &out);
            assert_true(error == ERR_OK || error == ERR_CORRUPT_MESSAGE ||
                        error == ERR_MESSAGE_TOO_LARGE);
            bytebuf_deinit(&out);
            packed.data[at] = saved;
        }
        bytebuf_deinit(&packed);
    }
    free(text);
}

/* Two members, frames or streams one behind the other give both contents. */
static void test_concatenated(void **state)
{
    for (int kind = COMPRESS_GZIP; kind < COMPRESS_COUNT; kind++) {
        struct bytebuf a = compressed((enum compress_kind)kind, SLICE_LIT("hello "));
        struct bytebuf b = compressed((enum compress_kind)kind, SLICE_LIT("world"));
        bytebuf_append_slice(&a, bytebuf_slice(&b));
        expect_decoded((enum compress_kind)kind, bytebuf_slice(&a), SLICE_LIT("hello world"));
        bytebuf_deinit(&a);
        bytebuf_deinit(&b);
    }
}

static void test_snappy_raw(void **state)
{
    /* length 11, literal of 11 bytes */
    expect_decoded(COMPRESS_SNAPPY, SLICE_LIT("\x0b\x28hello world"), SLICE_LIT("hello world"));
    expect_decoded(COMPRESS_SNAPPY, SLICE_LIT("\0"), SLICE_LIT(""));
    expect_error(COMPRESS_SNAPPY, SLICE_LIT("\xff\xff\xff\xff\x0f\x28hello"), SIZE_MAX,
                 ERR_CORRUPT_MESSAGE);
}

static void test_lz4_broken_sum(void **state)
{
    /* A frame of "hello" as old Java clients wrote it: the sum covers the magic as well. */
    static const uint8_t right[] = {0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82, 0x05, 0x00, 0x00,
                                    0x80, 'h',  'e',  'l',  'l',  'o',  0x00, 0x00, 0x00, 0x00};
    uint8_t broken[sizeof(right)];
    memcpy(broken, right, sizeof(right));
    expect_decoded(COMPRESS_LZ4, slice_make(right, sizeof(right)), SLICE_LIT("hello"));
    int accepted = 0;
    for (int sum = 0; sum < 256; sum++) {
        struct bytebuf out;
        bytebuf_init(&out, 100);
        broken[6] = (uint8_t)sum;
        if (compress_decompress(COMPRESS_LZ4, slice_make(broken, sizeof(broken)), 100, &out) ==
            ERR_OK) {
            assert_true(slice_equal(bytebuf_slice(&out), SLICE_LIT("hello")));
            accepted++;
        }
        bytebuf_deinit(&out);
    }
    assert_int_equal(accepted, 2); /* the right sum and the old clients' */
}

static void test_names(void **state)
{
    enum compress_kind kind;
    for (int i = 0; i < COMPRESS_COUNT; i++) {
        assert_true(compress_from_name(slice_cstr(compress_name((enum compress_kind)i)), &kind));
        assert_int_equal(kind, i);
    }
    assert_true(compress_from_name(SLICE_LIT("uncompressed"), &kind) && kind == COMPRESS_NONE);
    assert_false(compress_from_name(SLICE_LIT("producer"), &kind));
}

static void test_full_output(void **state)
{
    for (int kind = COMPRESS_NONE; kind < COMPRESS_COUNT; kind++) {
        struct bytebuf out;
        bytebuf_init(&out, 5);
        assert_int_equal(
            compress_compress((enum compress_kind)kind, SLICE_LIT("hello world"), 0, &out),
            ERR_MESSAGE_TOO_LARGE);
        assert_int_equal(out.len, 0);
        assert_false(out.failed);
        bytebuf_deinit(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_levels),
        cmocka_unit_test(test_bombs),      cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_garbage),    cmocka_unit_test(test_concatenated),
        cmocka_unit_test(test_snappy_raw), cmocka_unit_test(test_lz4_broken_sum),
        cmocka_unit_test(test_names),      cmocka_unit_test(test_full_output),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
