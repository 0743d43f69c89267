/*
 * The JSON scanner against a reference parser (jansson): an object that one accepts in full the
 * other accepts too, and the values found are the same. Deliberate differences: the scanner allows
 * lone surrogates and NUL characters, keeps the first of equal names, and stops at its own depth.
 */
#include "base/numtext.h"
#include "codec/json_index.h"
#include "codec/json_scan.h"
#include "fuzz.h"
#include "json_oracle.h"

enum { COLUMNS = 4 };

static bool deep(struct slice text)
{
    size_t opens = 0;
    for (size_t i = 0; i < text.len; i++)
        opens += text.data[i] == '{' || text.data[i] == '[';
    return opens >= JSON_DEPTH_MAX - 1;
}

static void check_text(struct json_cell cell, const struct oracle_value *value)
{
    struct bytebuf content;
    bytebuf_init(&content, 4 * (size_t)cell.len + 16);
    if (cell.kind == JSON_KIND_TEXT)
        bytebuf_append(&content, cell.data, cell.len);
    else
        FUZZ_CHECK(json_unescape(slice_make(cell.data, cell.len), &content));
    FUZZ_CHECK(slice_equal(bytebuf_slice(&content), slice_make(value->text, value->len)));
    bytebuf_deinit(&content);
}

static void check_value(struct json_cell cell, const struct oracle_value *value)
{
    double real;
    int64_t integer;
    struct slice source = slice_make(cell.data, cell.len);
    switch ((enum json_kind)cell.kind) {
    case JSON_KIND_NULL:
        FUZZ_CHECK(value->kind == ORACLE_NULL);
        break;
    case JSON_KIND_FALSE:
    case JSON_KIND_TRUE:
        FUZZ_CHECK(value->kind == ORACLE_BOOLEAN &&
                   value->boolean == (cell.kind == JSON_KIND_TRUE));
        break;
    case JSON_KIND_INT:
        FUZZ_CHECK(numtext_read_int64(source, &integer));
        FUZZ_CHECK(value->kind == ORACLE_INTEGER && value->integer == integer);
        break;
    case JSON_KIND_FLOAT:
        FUZZ_CHECK(numtext_read_double(source, &real));
        FUZZ_CHECK(value->kind == ORACLE_REAL && value->real == real);
        break;
    case JSON_KIND_TEXT:
    case JSON_KIND_TEXT_ESCAPED:
        FUZZ_CHECK(value->kind == ORACLE_STRING);
        check_text(cell, value);
        break;
    case JSON_KIND_OBJECT:
    case JSON_KIND_ARRAY:
        FUZZ_CHECK(value->kind == ORACLE_COMPOUND);
        break;
    case JSON_KIND_MISSING:
        FUZZ_CHECK(value->kind == ORACLE_NONE);
    }
}

static void walk(struct slice object)
{
    size_t at = 0;
    struct slice name;
    struct json_cell value;
    size_t fields = 0;
    while (json_source_next_field(object, &at, &name, &value)) {
        FUZZ_CHECK(value.data >= object.data && value.data + value.len <= object.data + object.len);
        struct bytebuf content;
        bytebuf_init(&content, name.len + 1);
        FUZZ_CHECK(json_unescape(name, &content));
        FUZZ_CHECK(json_source_get(object, bytebuf_slice(&content)).kind != JSON_KIND_MISSING);
        bytebuf_deinit(&content);
        if (++fields == 50)
            break;
    }
}

static bool blank(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!memchr(" \t\r\n", text.data[i], 4))
            return false;
    }
    return true;
}

/* Reads the first event strictly; true when it is an object and only white space is around it. */
static bool scan_whole(struct json_scan *scan, struct slice text, struct json_cell *cells)
{
    const char *error = NULL;
    FUZZ_CHECK(json_scan_begin(scan, text));
    if (json_scan_next(scan, cells, 1, &error) != JSON_STEP_ROW)
        return false;
    size_t begin = (size_t)(cells[0].data - text.data);
    return blank(slice_sub(text, 0, begin)) &&
           blank(slice_sub(text, begin + cells[0].len, SIZE_MAX));
}

/* Any text at any level: steps end, and each row lies inside the text. */
static void scan_loosely(struct arena *arena, struct slice text, struct slice name)
{
    struct json_scan *scan = json_scan_create(arena, JSON_LEVEL_CHECKED);
    FUZZ_CHECK(scan && json_scan_want(scan, &name, 1) == 0 && json_scan_begin(scan, text));
    struct json_cell cell;
    const char *error = NULL;
    enum json_step step;
    size_t before = 0;
    while ((step = json_scan_next(scan, &cell, 1, &error)) == JSON_STEP_ROW) {
        FUZZ_CHECK(json_scan_at(scan) > before && json_scan_at(scan) <= text.len);
        before = json_scan_at(scan);
        if (cell.kind != JSON_KIND_MISSING)
            FUZZ_CHECK(cell.data >= text.data && cell.data + cell.len <= text.data + text.len);
    }
    FUZZ_CHECK(step != JSON_STEP_BAD || error);
    json_scan_destroy(scan);
}

/* The steps of a whole text as letters, bad events passed over by a new index, or without where that is possible. */
static void scan_steps(struct arena *arena, struct slice text, bool resume, struct bytebuf *out)
{
    struct json_scan *scan = json_scan_create(arena, JSON_LEVEL_CHECKED);
    FUZZ_CHECK(scan && json_scan_want(scan, NULL, 0) == 0 && json_scan_begin(scan, text));
    struct json_cell cell;
    const char *error = NULL;
    enum json_step step = JSON_STEP_ROW;
    while (step == JSON_STEP_ROW || step == JSON_STEP_BAD) {
        step = json_scan_next(scan, &cell, 1, &error);
        bytebuf_append_byte(out, "rbme"[step]);
        if (step == JSON_STEP_ROW)
            bytebuf_append_slice(out, json_cell_source(&cell));
        if (step != JSON_STEP_BAD || (resume && json_scan_resume(scan)))
            continue;
        FUZZ_CHECK(json_scan_at(scan) > 0 || text.len == 0);
        text = slice_sub(text, json_scan_at(scan), SIZE_MAX);
        FUZZ_CHECK(json_scan_begin(scan, text));
    }
    json_scan_destroy(scan);
}

/* Going on behind bad events in the same index changes nothing, and all kernels make the same index. */
static void check_ways(struct arena *arena, struct slice text)
{
    struct bytebuf anew;
    struct bytebuf resumed;
    bytebuf_init(&anew, 4 * text.len + 64);
    bytebuf_init(&resumed, 4 * text.len + 64);
    scan_steps(arena, text, false, &anew);
    scan_steps(arena, text, true, &resumed);
    FUZZ_CHECK(slice_equal(bytebuf_slice(&anew), bytebuf_slice(&resumed)));
    bytebuf_deinit(&anew);
    bytebuf_deinit(&resumed);
    struct json_index plain;
    json_index_init(&plain);
    FUZZ_CHECK(json_index_build_with(&plain, text, JSON_KERNEL_PORTABLE));
    for (int kernel = JSON_KERNEL_SSE42; kernel <= JSON_KERNEL_AVX2; kernel++) {
        struct json_index index;
        json_index_init(&index);
        if (json_index_build_with(&index, text, (enum json_kernel)kernel))
            FUZZ_CHECK(index.count == plain.count &&
                       memcmp(index.pos, plain.pos, plain.count * sizeof(uint32_t)) == 0 &&
                       index.has_backslash == plain.has_backslash &&
                       index.has_high == plain.has_high && index.has_control == plain.has_control &&
                       index.has_open_string == plain.has_open_string);
        json_index_deinit(&index);
    }
    json_index_deinit(&plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = fuzz_copy(slice_make(data, size));
    static const struct slice names[COLUMNS - 1] = {
        {(const uint8_t *)"a", 1}, {(const uint8_t *)"b", 1}, {(const uint8_t *)"carrier", 7}};
    struct arena *arena = arena_create(NULL, "fuzz", 16 << 20);
    struct json_scan *scan = json_scan_create(arena, JSON_LEVEL_STRICT);
    FUZZ_CHECK(scan && json_scan_want(scan, NULL, 0) == 0);
    for (int i = 0; i < COLUMNS - 1; i++)
        FUZZ_CHECK(json_scan_want(scan, &names[i], 1) == i + 1);
    struct json_cell cells[COLUMNS] = {{0}};
    bool ours = scan_whole(scan, text, cells);
    enum oracle_verdict verdict;
    void *document = json_oracle_load(text.data, text.len, &verdict);
    if (ours)
        FUZZ_CHECK(verdict == ORACLE_OBJECT || verdict == ORACLE_UNSURE);
    else
        /* the oracle skips NUL bytes in some places */
        FUZZ_CHECK(verdict != ORACLE_OBJECT || deep(text) ||
                   slice_find_byte(text, 0, 0) != SIZE_MAX);
    if (ours) {
        FUZZ_CHECK(cells[0].kind == JSON_KIND_OBJECT);
        walk(slice_make(cells[0].data, cells[0].len));
    }
    if (ours && document &&
        json_oracle_fields(document) <= 1) { /* no two names alike but for case */
        for (int i = 0; i < COLUMNS - 1; i++) {
            struct oracle_value value = json_oracle_get(document, (const char *)names[i].data);
            if (cells[i + 1].exact)
                check_value(cells[i + 1], &value);
        }
    }
    if (document)
        json_oracle_free(document);
    json_scan_destroy(scan);
    scan_loosely(arena, text, names[0]);
    check_ways(arena, text);
    arena_destroy(arena);
    fuzz_free(text);
    return 0;
}
