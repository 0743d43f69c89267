/* UTF-8 against its definition, for every code point and every short byte sequence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/utf8.h"

static void test_code_points(void **state)
{
    for (uint32_t cp = 0; cp < 0x120000; cp++) {
        char text[UTF8_MAX];
        size_t len = utf8_encode(text, cp);
        if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff)) {
            assert_int_equal(len, 0);
            continue;
        }
        struct slice s = slice_make(text, len);
        uint32_t back = 0;
        if (!utf8_valid(s) || utf8_decode(s, 0, &back) != len || back != cp || utf8_count(s) != 1 ||
            utf8_count_utf16(s) != (cp > 0xffff ? 2u : 1u) ||
            utf8_valid_prefix(slice_sub(s, 0, len - 1)) != 0)
            fail_msg("code point %x", cp);
    }
}

/* The definition, straight: the shortest form of a permitted code point. */
static size_t model_length(const uint8_t *p, size_t left)
{
    for (size_t len = 1; len <= left && len <= 4; len++) {
        static const uint8_t lead_mask[5] = {0, 0x80, 0xe0, 0xf0, 0xf8};
        static const uint8_t lead_bits[5] = {0, 0x00, 0xc0, 0xe0, 0xf0};
        static const uint32_t low[5] = {0, 0, 0x80, 0x800, 0x10000};
        if ((p[0] & lead_mask[len]) != lead_bits[len])
            continue;
        uint32_t cp = p[0] & (uint8_t)~lead_mask[len];
        for (size_t i = 1; i < len; i++) {
            if ((p[i] & 0xc0) != 0x80)
                return 0;
            cp = cp << 6 | (p[i] & 0x3f);
        }
        return cp >= low[len] && cp <= 0x10ffff && !(cp >= 0xd800 && cp < 0xe000) ? len : 0;
    }
    return 0;
}

static void test_sequences(void **state)
{
    static const uint8_t seconds[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90,
                                      0x9f, 0xa0, 0xbf, 0xc0, 0xff};
    for (int first = 0; first < 256; first++) {
        for (size_t b = 0; b < sizeof(seconds); b++) {
            for (size_t c = 0; c < sizeof(seconds); c++) {
                for (size_t d = 0; d < sizeof(seconds); d++) {
                    uint8_t text[4] = {(uint8_t)first, seconds[b], seconds[c], seconds[d]};
                    uint32_t cp;
                    assert_int_equal(utf8_decode(slice_make(text, 4), 0, &cp),
                                     model_length(text, 4));
                }
            }
        }
    }
}

static void test_prefix(void **state)
{
    char text[200];
    memset(text, 'a', sizeof(text));
    for (size_t at = 0; at < sizeof(text); at++) {
        text[at] = '\xff';
        assert_int_equal(utf8_valid_prefix(slice_make(text, sizeof(text))), at);
        assert_false(utf8_valid(slice_make(text, sizeof(text))));
        text[at] = 'a';
    }
    assert_true(utf8_valid(slice_make(text, sizeof(text))));
    assert_true(utf8_valid(SLICE_NULL));
    assert_int_equal(utf8_count(SLICE_LIT("a\xc3\xa4\xf0\x9f\x98\x80")), 3);
    assert_int_equal(utf8_count_utf16(SLICE_LIT("a\xc3\xa4\xf0\x9f\x98\x80")), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_code_points),
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
