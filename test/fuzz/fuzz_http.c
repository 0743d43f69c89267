/*
 * HTTP: a head found byte by byte ends where it ends when seen at once; slices stay inside; the
 * body's content does not depend on how the bytes arrive.
 */
#include "base/bytebuf.h"
#include "fuzz.h"
#include "wire/http.h"

static bool inside(struct slice outer, struct slice inner)
{
    return inner.len == 0 ||
           (inner.data >= outer.data && inner.data + inner.len <= outer.data + outer.len);
}

/* Content of the body when the input arrives in pieces of `step` bytes. */
static enum http_result read_body(const struct http_head *head, struct slice input, size_t step,
                                  struct bytebuf *ret_content)
{
    struct http_body body;
    struct http_refusal refusal;
    http_body_init(&body, head);
    size_t at = 0;
    size_t seen = step < input.len ? step : input.len;
    for (;;) {
        size_t consumed = 0;
        struct slice content = SLICE_NULL;
        struct slice window = slice_sub(input, at, seen - at);
        enum http_result result = http_body_next(&body, window, &consumed, &content, &refusal);
        FUZZ_CHECK(consumed <= window.len && inside(window, content));
        bytebuf_append_slice(ret_content, content);
        at += consumed;
        if (result != HTTP_MORE)
            return result;
        if (consumed > 0)
            continue;
        if (seen == input.len)
            return HTTP_MORE;
        seen = input.len - seen < step ? input.len : seen + step;
    }
}

static void check_body(const struct http_head *head, struct slice input)
{
    struct bytebuf whole;
    struct bytebuf pieces;
    bytebuf_init(&whole, input.len + 1);
    bytebuf_init(&pieces, input.len + 1);
    enum http_result a = read_body(head, input, SIZE_MAX, &whole);
    enum http_result b = read_body(head, input, 1, &pieces);
    FUZZ_CHECK(a == b && !whole.failed && !pieces.failed);
    FUZZ_CHECK(slice_equal(bytebuf_slice(&whole), bytebuf_slice(&pieces)));
    bytebuf_deinit(&whole);
    bytebuf_deinit(&pieces);
}

static void check_query(struct slice query)
{
    size_t cursor = 0;
    struct slice name;
    struct slice value;
    uint8_t *text = malloc(query.len + 1);
    FUZZ_CHECK(text);
    while (http_query_next(query, &cursor, &name, &value)) {
        size_t len;
        FUZZ_CHECK(inside(query, name) && inside(query, value));
        if (http_percent_decode(value, true, text, &len))
            FUZZ_CHECK(len <= value.len);
    }
    free(text);
}

static void check_head(struct slice head_bytes, struct slice behind)
{
    struct http_field fields[HTTP_FIELDS_MAX];
    struct http_head head = {.fields = fields, .field_cap = HTTP_FIELDS_MAX};
    struct http_refusal refusal = {0};
    enum http_result result = http_head_parse(head_bytes, &head, &refusal);
    FUZZ_CHECK(result != HTTP_MORE);
    if (result == HTTP_BAD) {
        FUZZ_CHECK(refusal.status >= 400 && refusal.reason);
        return;
    }
    FUZZ_CHECK(head.head_len == head_bytes.len && head.field_count <= HTTP_FIELDS_MAX);
    FUZZ_CHECK(head.path.len > 0 && inside(head_bytes, head.query));
    /* the path that an absolute target leaves out is a literal */
    FUZZ_CHECK(inside(head_bytes, head.path) || slice_equal(head.path, SLICE_LIT("/")));
    for (int i = 0; i < head.field_count; i++)
        FUZZ_CHECK(fields[i].name.len > 0 && inside(head_bytes, fields[i].value));
    check_query(head.query);
    check_body(&head, behind);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = fuzz_copy(slice_make(data, size));
    struct http_refusal refusal = {0};
    size_t scanned = 0;
    size_t whole_len = 0;
    enum http_result whole = http_head_find(input, HTTP_HEAD_LIMIT, &scanned, &whole_len, &refusal);
    size_t piece_len = 0;
    enum http_result pieces = HTTP_MORE;
    scanned = 0;
    for (size_t len = 0; len <= input.len && pieces == HTTP_MORE; len++)
        pieces = http_head_find(slice_sub(input, 0, len), HTTP_HEAD_LIMIT, &scanned, &piece_len,
                                &refusal);
    FUZZ_CHECK(whole == pieces && (whole != HTTP_DONE || whole_len == piece_len));
    if (whole == HTTP_DONE)
        check_head(slice_sub(input, 0, whole_len), slice_sub(input, whole_len, SIZE_MAX));
    int64_t seconds;
    if (http_date_read(input, &seconds) && seconds >= 0 && seconds < INT64_C(253402300800)) {
        char text[HTTP_DATE_SIZE];
        int64_t again;
        http_date_write(text, seconds);
        FUZZ_CHECK(http_date_read(slice_cstr(text), &again) && again == seconds);
    }
    fuzz_free(input);
    return 0;
}
