/* Regular expressions: places of first matches, patterns that are not valid, and bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exec/regex.h"

enum { NONE = -1, LIMIT = -2 };

static long find(const char *pattern, const char *text)
{
    struct regex_cache *cache = regex_cache_create();
    size_t at = 0;

    assert_non_null(cache);
    enum regex_result result = regex_search(cache, slice_cstr(pattern), slice_cstr(text), &at);
    regex_cache_destroy(cache);
    assert_int_not_equal(result, REGEX_MEMORY);
    return result == REGEX_MATCH ? (long)at : result == REGEX_NONE ? NONE : LIMIT;
}

struct row {
    const char *pattern;
    const char *text;
    long at;
};

static void check(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        long got = find(rows[i].pattern, rows[i].text);
        if (got != rows[i].at)
            fail_msg("/%s/ in '%s': %ld instead of %ld", rows[i].pattern, rows[i].text, got,
                     rows[i].at);
    }
}

static void test_matches(void **state)
{
    static const struct row rows[] = {
        {"b", "ABC", 1},
        {"", "abc", 0},
        {"", "", 0},
        {"[0-9]+", "JNB 7001", 4},
        {"^[a-z]{3} \\d+$", "JNB 7001", 0},
        {"^b", "ab", NONE},
        {"b$", "ab", 1},
        {"a|bc|d", "xxbcd", 2},
        {"(a|ab)(c|bcd)$", "zabcd", 1},
        {"a*?b", "aaab", 0},
        {"a{2}", "baaa", 1},
        {"a{2,}", "baba", NONE},
        {"a{1,2}b", "aaab", 1},
        {"a{,2}", "xa{,2}", 1}, /* no count: the brace stands for itself */
        {"x{", "ax{", 1},
        {"]", "a]", 1},
        {"}", "a}", 1},
        {"[]", "a", NONE},
        {"[^]", "\n", 0},
        {"[^a-c]", "abcd", 3},
        {"[\\w-]+@", "a-b@", 0},
        {"[a\\-z]", "b-", 1},
        {"[\\]]", "a]", 1},
        {"[\\b]", "a\bc", 1},
        {"\\D", "12x", 2},
        {"\\W", "ab c", 2},
        {"\\s\\S", "a b", 1},
        {"\\s", "a\xc2\xa0", 1},
        {"\\bcat\\b", "a cat.", 2},
        {"\\Bat", "cat at", 1},
        {"a.c", "a\nc", NONE},
        {"a[^]c", "a\nc", 0},
        {"\\x41", "xa", 1},
        {"\\u00e9", "\xc3\x89", 0}, /* without regard to case */
        {"\\ud83d\\ude00", "a\xf0\x9f\x98\x80", 1},
        {"\\t", "a\tb", 1},
        {"\\cJ", "a\nb", 1},
        {"\\101", "xA", 1},
        {"\\.", "ab.", 2},
        {"a(?=b)", "acab", 2},
        {"a(?!b)", "abac", 2},
        {"(?=.*\\d)(?=.*[a-z]).{4,}$", "..a1", 0},
        {"(?=.*\\d)(?=.*[a-z]).{4,}$", "...a", NONE},
        {"(?!(?=a)b)[ab]", "b", 0},
        {"(?:ab)+c", "xababc", 1},
        {"(?<year>\\d{4})", "in 2024", 3},
        {"(.)\\1", "abccd", 2},
        {"(a)|b\\1", "xb", 1},
        {"(a*)*$", "aab", 3},
        {"(a*)*\\1b", "aab", 0},
        {"(?:a|b)*?c", "zabc", 1},
        {"((a|b)(c|d)){2}", "acad", 0},
        {"\xe8\x8c\xb6+", "x\xe8\x8c\xb6", 1},
        {"[\xc3\xa0-\xc3\xb6]", "\xc3\x96", 0},
    };
    check(rows, sizeof(rows) / sizeof(rows[0]));
}

static void test_not_valid(void **state)
{
    static const char *const patterns[] = {"(",      ")",      "a)",    "(a",   "[a",    "*a",
                                           "a**",    "+",      "?",     "a{2}{3}", "\\", "[z-a]",
                                           "a{3,2}", "(?<=a)b", "(?<!a)b", "(?a)", "(?", "(?<>a)",
                                           "[\\",    "^*",     "\\b+"};

    for (unsigned i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        if (find(patterns[i], "aab(") != NONE)
            fail_msg("/%s/ was taken for a pattern", patterns[i]);
    }
}

/* Patterns that cost a simple matcher time without end, and such as are refused. */
static void test_bounds(void **state)
{
    char *text = malloc(200001);
    char deep[201];

    memset(text, 'a', 200000);
    text[200000] = '\0';
    assert_int_equal(find("(a+)+b", text), NONE);
    assert_int_equal(find("(a|aa)*(b|c)", text), NONE);
    assert_int_equal(find("(?:(?=a*)a)*b", text + 197000), NONE);
    assert_int_equal(find("(a*)*\\1b", text), LIMIT);
    assert_int_equal(find("((((a{100}){100}){100}){100}){100}", text), LIMIT);
    assert_int_equal(find("((((((?:){1000}){1000}){1000}){1000}){1000})", text), LIMIT);
    memset(deep, '(', 100);
    memset(deep + 100, ')', 100);
    deep[200] = '\0';
    assert_int_equal(find(deep, text), LIMIT);
    free(text);
}

/* More patterns than the cache holds, one after another and back. */
static void test_cache(void **state)
{
    struct regex_cache *cache = regex_cache_create();
    size_t at;

    assert_non_null(cache);
    for (unsigned i = 0; i < 60; i++) {
        uint8_t letter = (uint8_t)('a' + i % 20);
        struct slice text = SLICE_LIT("abcdefghijklmnopqrst");
        assert_int_equal(regex_search(cache, slice_make(&letter, 1), text, &at), REGEX_MATCH);
        assert_int_equal(at, i % 20);
    }
    regex_cache_destroy(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches), cmocka_unit_test(test_not_valid),
        cmocka_unit_test(test_bounds), cmocka_unit_test(test_cache)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
