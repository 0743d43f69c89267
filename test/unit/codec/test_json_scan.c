/* The JSON scanner: kernels against each other, projection, levels, recovery, and jansson as the judge of validity. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "codec/json_index.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"

static void expect_same_index(struct slice text)
{
    struct json_index want;
    struct json_index got;

    json_index_init(&want);
    assert_true(json_index_build_with(&want, text, JSON_KERNEL_PORTABLE));
    for (int kernel = JSON_KERNEL_SSE42; kernel <= JSON_KERNEL_AVX2; kernel++) {
        json_index_init(&got);
        if (json_index_build_with(&got, text, (enum json_kernel)kernel)) {
            assert_int_equal(got.count, want.count);
            assert_memory_equal(got.pos, want.pos, want.count * sizeof(uint32_t));
            assert_int_equal(got.has_backslash, want.has_backslash);
            assert_int_equal(got.has_high, want.has_high);
            assert_int_equal(got.has_control, want.has_control);
            assert_int_equal(got.has_open_string, want.has_open_string);
        }
        json_index_deinit(&got);
    }
    json_index_deinit(&want);
}

/* The kernels take brackets by a folded compare, so bytes 0x5b ^ 0x20 and the like are of interest. */
static void test_kernels(void **state)
{
    static const char alphabet[] = "{}[]:,\"\\ \n\tab0-\x01\x1a\x0c\xc3\xa9";
    struct random random;
    uint8_t text[400];

    random_init(&random, 7);
    for (unsigned round = 0; round < 3000; round++) {
        size_t len = random_below(&random, sizeof(text));
        for (size_t i = 0; i < len; i++)
            text[i] = (uint8_t)alphabet[random_below(&random, sizeof(alphabet) - 1)];
        expect_same_index(slice_make(text, len));
    }
    expect_same_index(SLICE_LIT(""));
}

/* Rows of text as "a|b;": the cells of two paths, by their source; "!" for each bad event, "+" for more. */
static void scan_text(const char *text, enum json_level level, bool resume, char *out, size_t cap)
{
    struct arena *arena = arena_create(NULL, "test", 1 << 20);
    struct json_scan *scan = json_scan_create(arena, level);
    struct slice a[] = {SLICE_LIT("a")};
    struct slice bc[] = {SLICE_LIT("b"), SLICE_LIT("c")};
    struct json_cell cells[2];
    struct slice rest = slice_cstr(text);
    const char *error;
    enum json_step step = JSON_STEP_ROW;
    size_t len = 0;

    assert_int_equal(json_scan_want(scan, a, 1), 0);
    assert_int_equal(json_scan_want(scan, bc, 2), 1);
    assert_int_equal(json_scan_want(scan, a, 1), 0);
    assert_true(json_scan_begin(scan, rest));
    out[0] = '\0';
    while (step != JSON_STEP_END && step != JSON_STEP_MORE) {
        step = json_scan_next(scan, cells, 1, &error);
        if (step == JSON_STEP_ROW) {
            struct slice x = json_cell_source(&cells[0]);
            struct slice y = json_cell_source(&cells[1]);
            len += (size_t)snprintf(
                out + len, cap - len, "%.*s|%.*s;", cells[0].kind ? (int)x.len : 1,
                cells[0].kind ? (const char *)x.data : "-", cells[1].kind ? (int)y.len : 1,
                cells[1].kind ? (const char *)y.data : "-");
        } else if (step == JSON_STEP_BAD) {
            len += (size_t)snprintf(out + len, cap - len, "!");
            if (resume && json_scan_resume(scan))
                continue;
            rest = slice_sub(rest, json_scan_at(scan), rest.len);
            assert_true(json_scan_begin(scan, rest));
        } else if (step == JSON_STEP_MORE) {
            len += (size_t)snprintf(out + len, cap - len, "+");
        }
    }
    json_scan_destroy(scan);
    arena_destroy(arena);
}

static void expect_rows(const char *text, const char *want)
{
    char got[1000];
    for (int resume = 0; resume < 2; resume++) {
        scan_text(text, JSON_LEVEL_CHECKED, resume, got, sizeof(got));
        assert_string_equal(got, want);
        scan_text(text, JSON_LEVEL_STRICT, resume, got, sizeof(got));
        assert_string_equal(got, want);
    }
}

static void test_projection(void **state)
{
    expect_rows("{\"a\":1,\"b\":{\"c\":\"x\",\"d\":[1,{\"c\":2}]}}", "1|\"x\";");
    expect_rows("{\"b\":{\"c\":{\"e\":[]}},\"z\":{\"a\":5}} {\"a\":null}", "-|{\"e\":[]};null|-;");
    expect_rows("[{\"a\":1},\n{\"a\":2}]", "1|-;2|-;");
    expect_rows("{}{\"a\" : -1.5e3 }", "-|-;-1.5e3|-;");
    expect_rows("", "");
    expect_rows(" \n[ ]\n", "");
    expect_rows("{\"b\":7,\"a\":true}", "true|-;");
}

/* An exact name wins over one that differs in case; of two alike the first counts; escapes in names are read. */
static void test_names(void **state)
{
    expect_rows("{\"A\":1,\"a\":2}", "2|-;");
    expect_rows("{\"A\":1}", "1|-;");
    expect_rows("{\"a\":1,\"a\":2}", "1|-;");
    expect_rows("{\"\\u0061\":3}", "3|-;");
    expect_rows("{\"B\":{\"C\":4}}", "-|4;");
}

static void test_recovery(void **state)
{
    expect_rows("{\"a\":1}\nbad\n{\"a\":2}", "1|-;!2|-;");
    expect_rows("{\"a\":1\n{\"a\":2}\n{\"a\":3}", "!2|-;3|-;");
    expect_rows("{\"a\":\"x\n\"}\n{\"a\":3}", "!3|-;");
    expect_rows("7 {\"a\":1}", "!1|-;");
    expect_rows("{\"a\":99999999999999999999}\n{\"a\":1}", "!1|-;");
    expect_rows("{\"a\":01}\n{\"a\":1}", "!1|-;");
    expect_rows("{\"a\":\"\xff\"}\n{\"a\":1}", "!1|-;");
    expect_rows("{\"a\":\"\\q\"}\n{\"a\":1}", "!1|-;");
    expect_rows("{\"a\":1,}\n{\"a\":1}", "!1|-;");
    expect_rows("[{\"a\":1},]\n{\"a\":2}", "1|-;!2|-;");
    expect_rows("{\"a\":01}{\"a\":2} {\"a\":1e400},{\"a\":3}\n{\"a\":4}", "!2|-;!!4|-;");
    expect_rows("[{\"a\":1},{\"a\":99999999999999999999},{\"a\":\"\\q\"},{\"a\":3}]", "1|-;!!3|-;");
    expect_rows("{\n\"a\": 01,\n\"r\":\n{\"a\": 5}\n}\n{\"a\":2}", "!2|-;");
    expect_rows("{\"a\":01,\"x\":[\n{\"a\":1}\n{\"a\":2}", "!1|-;2|-;");
    expect_rows("{\"a\":01,\"x\":", "+");
    expect_rows("[5,{\"a\":1},\"x\",{\"a\":2}]", "!1|-;!2|-;");
    expect_rows("{\"a\":\"\\\"\n{\"a\":1}\n{\"a\":2}", "!1|-;2|-;");
    expect_rows("{\"a\":1 \"\n{\"b\":{\"c\":\"q\"}}\n{\"a\":2}", "!-|\"q\";2|-;");
    expect_rows("{\"a\":1", "+");
    expect_rows("{\"a\":\"x", "+");
}

/* Strict looks at values that nobody reads; checked at their place in the structure only. */
static void test_levels(void **state)
{
    char got[100];
    scan_text("{\"a\":1,\"x\":tru}", JSON_LEVEL_STRICT, true, got, sizeof(got));
    assert_string_equal(got, "!");
    scan_text("{\"a\":1,\"x\":tru}", JSON_LEVEL_CHECKED, true, got, sizeof(got));
    assert_string_equal(got, "1|-;");
    scan_text("{\"a\":1,\"x\":[1,]}", JSON_LEVEL_CHECKED, true, got, sizeof(got));
    assert_string_equal(got, "!");
}

/* Reads text at the checked level with the value at the one-part path wanted ("": the whole event). */
static bool wanted_accepts(const char *path, const char *text)
{
    struct arena *arena = arena_create(NULL, "test", 1 << 20);
    struct json_scan *scan = json_scan_create(arena, JSON_LEVEL_CHECKED);
    struct slice part = slice_cstr(path);
    struct json_cell cell;
    const char *error;

    assert_int_equal(json_scan_want(scan, &part, part.len > 0 ? 1 : 0), 0);
    assert_true(json_scan_begin(scan, slice_cstr(text)));
    bool ok = json_scan_next(scan, &cell, 1, &error) == JSON_STEP_ROW;
    json_scan_destroy(scan);
    arena_destroy(arena);
    return ok;
}

/* What is handed on as source must be JSON whatever the level: all below a wanted value is verified. */
static void test_wanted_source(void **state)
{
    assert_true(wanted_accepts("", "{\"a\":1,\"x\":[true,\"\\n\"]}"));
    assert_false(wanted_accepts("", "{\"a\":1,\"x\":tru}"));
    assert_false(wanted_accepts("", "{\"a\":1,\"x\":[{\"y\":01}]}"));
    assert_false(wanted_accepts("", "{\"a\":1,\"x\":\"\\q\"}"));
    assert_false(wanted_accepts("", "{\"a\":1,\"x\":9223372036854775808}"));
    assert_false(wanted_accepts("", "{\"a\":1,\"x\":1e400}"));
    assert_false(wanted_accepts("a", "{\"a\":[nul],\"x\":1}"));
    assert_false(wanted_accepts("a", "{\"a\":{\"b\":+1},\"x\":1}"));
    assert_false(wanted_accepts("a", "{\"a\":-1e309}"));
    assert_true(wanted_accepts("a", "{\"a\":1.7976931348623157e308,\"x\":tru}"));
    assert_true(wanted_accepts("a", "{\"x\":tru,\"a\":{\"b\":[1]},\"y\":fals}"));
}

/* Fields are found by what their names say, not by how they are spelled. */
static void test_escaped_names(void **state)
{
    struct slice object = SLICE_LIT("{\"\\u0041\":1,\"b\\\"c\":2,\"d\":3}");

    assert_int_equal(json_source_get(object, SLICE_LIT("A")).data[0], '1');
    assert_int_equal(json_source_get(object, SLICE_LIT("a")).data[0], '1');
    assert_int_equal(json_source_get(object, SLICE_LIT("b\"c")).data[0], '2');
    assert_int_equal(json_source_get(object, SLICE_LIT("d")).data[0], '3');
    assert_int_equal(json_source_get(object, SLICE_LIT("\\u0041")).kind, JSON_KIND_MISSING);
}

static bool scan_accepts(struct slice text, enum json_level level)
{
    struct arena *arena = arena_create(NULL, "test", 1 << 20);
    struct json_scan *scan = json_scan_create(arena, level);
    struct slice a = SLICE_LIT("a");
    struct json_cell cell;
    const char *error;
    bool ok = false;

    assert_int_equal(json_scan_want(scan, &a, 1), 0);
    assert_true(json_scan_begin(scan, text));
    if (text.len > 0 && slice_trim(text).data[0] == '{')
        ok = json_scan_next(scan, &cell, 1, &error) == JSON_STEP_ROW &&
             json_scan_next(scan, &cell, 1, &error) == JSON_STEP_END;
    json_scan_destroy(scan);
    arena_destroy(arena);
    return ok;
}

/* Mutated events: strict takes exactly what jansson takes, checked at least that. */
static void test_against_jansson(void **state)
{
    static const char seed_text[] = "{\"a\":-12.5e1,\"b\":[1,2,{\"c\":\"x\\u00e9\\n\"}],\"d\":null,"
                                    "\"e\":true,\"f\":{},\"g\":\"\xc3\xa9\"}";
    static const char bytes[] = "{}[]:,\"\\ \n0123456789.eE+-truefalsn\x01\x80\xc3u/";
    struct random random;
    unsigned accepted = 0;

    random_init(&random, 11);
    for (unsigned round = 0; round < 40000; round++) {
        char text[sizeof(seed_text) + 8];
        size_t len = sizeof(seed_text) - 1;
        json_error_t error;
        memcpy(text, seed_text, len);
        for (uint64_t edits = 1 + random_below(&random, 3); edits > 0; edits--) {
            size_t at = random_below(&random, len);
            uint8_t byte = (uint8_t)bytes[random_below(&random, sizeof(bytes) - 1)];
            if (random_one_in(&random, 3)) {
                memmove(text + at, text + at + 1, len - at - 1);
                len--;
            } else {
                text[at] = (char)byte;
            }
        }
        json_t *want = json_loadb(text, len, JSON_ALLOW_NUL, &error);
        bool strict = scan_accepts(slice_make(text, len), JSON_LEVEL_STRICT);
        bool checked = scan_accepts(slice_make(text, len), JSON_LEVEL_CHECKED);
        enum json_error_code code = want == NULL ? json_error_code(&error) : json_error_unknown;
        bool object = json_is_object(want);
        /* A lone surrogate is refused by jansson and read as U+FFFD here; a double out of range likewise. */
        bool judged = code != json_error_numeric_overflow && memmem(text, len, "\\ud", 3) == NULL &&
                      memmem(text, len, "\\uD", 3) == NULL;
        if (judged && strict != object)
            fail_msg("strict %d, jansson %d (%s): %.*s", strict, object, error.text, (int)len,
                     text);
        if (strict && !checked)
            fail_msg("checked refuses what strict takes: %.*s", (int)len, text);
        accepted += strict;
        json_decref(want);
    }
    assert_true(accepted > 1000);
}

/* A text cut anywhere gives whole events, then asks for more: never a bad one. */
static void test_cuts(void **state)
{
    static const char text[] = "{\"a\":-12.5,\"x\":true,\"b\":{\"c\":\"y\\\"\"},\"z\":[1,null]}\n";
    char part[sizeof(text)];
    char got[200];

    for (size_t len = 1; len < sizeof(text) - 2; len++) {
        memcpy(part, text, len);
        part[len] = '\0';
        scan_text(part, JSON_LEVEL_CHECKED, true, got, sizeof(got));
        assert_string_equal(got, "+");
        scan_text(part, JSON_LEVEL_STRICT, true, got, sizeof(got));
        assert_string_equal(got, "+");
    }
}

static void test_values(void **state)
{
    struct slice object = SLICE_LIT("{ \"x\" : [1, \"]\", {\"y\":2}] , \"Z\":\"q\" }");
    struct json_cell cell = json_source_get(object, SLICE_LIT("x"));
    struct json_cell element;
    size_t at = 0;
    unsigned count = 0;
    struct bytebuf out;

    assert_int_equal(cell.kind, JSON_KIND_ARRAY);
    while (json_source_next_element(json_cell_source(&cell), &at, &element))
        count++;
    assert_int_equal(count, 3);
    assert_int_equal(json_source_get(object, SLICE_LIT("z")).kind, JSON_KIND_TEXT);
    assert_int_equal(json_source_get(object, SLICE_LIT("none")).kind, JSON_KIND_MISSING);
    bytebuf_init(&out, 1000);
    json_write_compact(&out, object);
    assert_true(
        slice_equal(bytebuf_slice(&out), SLICE_LIT("{\"x\":[1,\"]\",{\"y\":2}],\"Z\":\"q\"}")));
    bytebuf_clear(&out);
    assert_true(json_unescape(SLICE_LIT("\\u00e9\\ud83d\\ude00\\n\\/"), &out));
    assert_true(slice_equal(bytebuf_slice(&out), SLICE_LIT("\xc3\xa9\xf0\x9f\x98\x80\n/")));
    bytebuf_clear(&out);
    json_write_float(&out, 95);
    json_write_text(&out, SLICE_LIT("a\"\\\x01"));
    assert_true(slice_equal(bytebuf_slice(&out), SLICE_LIT("95.0\"a\\\"\\\\\\u0001\"")));
    bytebuf_deinit(&out);
}

static void test_depth(void **state)
{
    char *text = malloc(200000);
    size_t len = 0;

    assert_non_null(text);
    len += (size_t)snprintf(text, 100, "{\"x\":");
    memset(text + len, '[', 90000);
    memset(text + len + 90000, ']', 90000);
    len += 180000;
    text[len++] = '}';
    assert_false(scan_accepts(slice_make(text, len), JSON_LEVEL_CHECKED));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernels), cmocka_unit_test(test_projection),
        cmocka_unit_test(test_names),   cmocka_unit_test(test_recovery),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_wanted_source),
        cmocka_unit_test(test_escaped_names),
        cmocka_unit_test(test_against_jansson),
        cmocka_unit_test(test_values),  cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_depth)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
