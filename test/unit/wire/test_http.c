/*
 * The HTTP codec: heads, bodies, texts; a corpus of ambiguous messages; a cross-check with
 * http-parser.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef HAVE_HTTP_PARSER
/* Its enum has the name of ours. */
#define http_method http_parser_method
#include <http_parser.h>
#undef http_method
#endif

#include "base/bytebuf.h"
#include "base/random.h"
#include "wire/base64.h"
#include "wire/http.h"

#define TEXT(literal) SLICE_LIT(literal)

static struct http_field fields[HTTP_FIELDS_MAX];

/* Finds and parses a head that must be complete. */
static enum http_result parse(struct slice input, struct http_head *head,
                              struct http_refusal *refusal)
{
    size_t scanned = 0;
    size_t len = 0;
    *refusal = (struct http_refusal){0, NULL};
    enum http_result result = http_head_find(input, HTTP_HEAD_LIMIT, &scanned, &len, refusal);
    if (result != HTTP_DONE)
        return result;
    head->fields = fields;
    head->field_cap = HTTP_FIELDS_MAX;
    return http_head_parse(slice_sub(input, 0, len), head, refusal);
}

static void assert_slice(struct slice got, const char *want)
{
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.data, want, got.len);
}

static void test_plain(void **state)
{
    struct http_head head;
    struct http_refusal refusal;
    struct slice input = TEXT("PUT /a%20b//c/?x=1&y HTTP/1.1\r\nHost: h:10000\r\nX-A:\t v w \t\r\n"
                              "Content-Length: 11\r\nExpect: 100-Continue\r\n\r\nhello world");
    assert_int_equal(parse(input, &head, &refusal), HTTP_DONE);
    assert_int_equal(head.method, HTTP_METHOD_PUT);
    assert_slice(head.path, "/a%20b//c/");
    assert_slice(head.query, "x=1&y");
    assert_slice(head.host, "h:10000");
    assert_slice(http_head_field(&head, "x-a"), "v w");
    assert_null(http_head_field(&head, "x-b").data);
    assert_true(head.keep_alive && head.expect_continue && head.has_length && !head.chunked);
    assert_int_equal(head.content_length, 11);
    assert_int_equal(head.head_len, input.len - 11);
}

static void test_connection(void **state)
{
    struct http_head head;
    struct http_refusal refusal;
    assert_int_equal(parse(TEXT("GET / HTTP/1.0\r\n\r\n"), &head, &refusal), HTTP_DONE);
    assert_false(head.keep_alive);
    assert_int_equal(
        parse(TEXT("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), &head, &refusal),
        HTTP_DONE);
    assert_true(head.keep_alive);
    assert_int_equal(
        parse(TEXT("GET / HTTP/1.1\r\nHost:\r\nConnection: x, CLOSE\r\n\r\n"), &head, &refusal),
        HTTP_DONE);
    assert_false(head.keep_alive);
    assert_int_equal(
        parse(TEXT("GET http://h:1/p?q HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n\r\n"), &head,
              &refusal),
        HTTP_DONE);
    assert_slice(head.authority, "h:1");
    assert_slice(head.path, "/p");
    assert_slice(head.query, "q");
    assert_true(head.upgrade);
    assert_int_equal(parse(TEXT("\r\nOPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"), &head, &refusal),
                     HTTP_DONE);
    assert_slice(head.path, "*");
    assert_int_equal(parse(TEXT("GET http://h?a=/b HTTP/1.1\r\nHost: h\r\n\r\n"), &head, &refusal),
                     HTTP_DONE);
    assert_slice(head.path, "/");
    assert_slice(head.query, "a=/b");
}

struct refused {
    const char *bytes;
    size_t len;
    uint16_t status;
};
#define REFUSED(literal, status)                                                                   \
    {                                                                                              \
        literal, sizeof(literal) - 1, status                                                       \
    }
#define H "Host: h\r\n"

/* Every message here is read differently by some parser of the world, or is plainly wrong. */
static const struct refused corpus[] = {
    REFUSED("PUT / HTTP/1.1\r\n" H "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    REFUSED("PUT / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400),
    REFUSED("PUT / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
    REFUSED("PUT / HTTP/1.1\r\n" H "Content-Length: 1\r\ncontent-length: 2\r\n\r\n", 400),
    REFUSED("PUT / HTTP/1.1\r\n" H "Content-Length: 1, 1\r\n\r\n", 400),
    REFUSED("PUT / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\n", 400),
    REFUSED("PUT / HTTP/1.1\r\n" H "Content-Length: -5\r\n\r\n", 400),
    REFUSED("PUT / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\n", 400),
    REFUSED("PUT / HTTP/1.1\r\n" H "Content-Length: 5 5\r\n\r\n", 400),
    REFUSED("PUT / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", 400),
    REFUSED("PUT / HTTP/1.1\r\n" H "Content-Length: 9223372036854775808\r\n\r\n", 400),
    REFUSED("PUT / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n", 400),
    REFUSED("PUT / HTTP/1.1\r\n" H "Content-Length : 5\r\n\r\n", 400),
    REFUSED("PUT / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    REFUSED("PUT / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked\r\n\r\n", 501),
    REFUSED("PUT / HTTP/1.1\r\n" H
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            501),
    REFUSED("PUT / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n", 501),
    REFUSED("PUT / HTTP/1.1\r\n" H "Transfer-Encoding: \x0b"
            "chunked\r\n\r\n",
            400),
    REFUSED("PUT / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n", 501),
    REFUSED("PUT / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n", 501),
    REFUSED("PUT / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 400),
    REFUSED("GET / HTTP/1.1\n" H "\r\n", 400),
    REFUSED("GET / HTTP/1.1\r\nHost: h\n\r\n", 400),
    REFUSED("GET / HTTP/1.1\r\n" H "\n", 400),
    REFUSED("GET / HTTP/1.1\r\n" H "A: b\rC: d\r\n\r\n", 400),
    REFUSED("GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n", 400),
    REFUSED("GET / HTTP/1.1\r\n" H "A: b\r\n\tc\r\n\r\n", 400),
    REFUSED("GET / HTTP/1.1\r\n A: b\r\n" H "\r\n", 400),
    REFUSED("GET / HTTP/1.1\r\n" H "A: b\0c\r\n\r\n", 400),
    REFUSED("GET / HTTP/1.1\r\n" H "A: b\x7f\r\n\r\n", 400),
    REFUSED("GET / HTTP/1.1\r\n" H "A\r\n\r\n", 400),
    REFUSED("GET / HTTP/1.1\r\n" H ": b\r\n\r\n", 400),
    REFUSED("GET / HTTP/1.1\r\n" H "A B: c\r\n\r\n", 400),
    REFUSED("GET / HTTP/1.1\r\n" H "A\xc3\xa9: c\r\n\r\n", 400),
    REFUSED("GET / HTTP/1.1\r\n\r\n", 400),
    REFUSED("GET / HTTP/1.1\r\n" H H "\r\n", 400),
    REFUSED("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
    REFUSED("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    REFUSED("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    REFUSED("GET /\r\n" H "\r\n", 400),
    REFUSED("GET  / HTTP/1.1\r\n" H "\r\n", 400),
    REFUSED("GET /  HTTP/1.1\r\n" H "\r\n", 400),
    REFUSED("GET / x HTTP/1.1\r\n" H "\r\n", 400),
    REFUSED(" GET / HTTP/1.1\r\n" H "\r\n", 400),
    REFUSED("GET\t/ HTTP/1.1\r\n" H "\r\n", 400),
    REFUSED("G(T / HTTP/1.1\r\n" H "\r\n", 400),
    REFUSED("GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n", 400),
    REFUSED("GET /a#b HTTP/1.1\r\n" H "\r\n", 400),
    REFUSED("GET a HTTP/1.1\r\n" H "\r\n", 400),
    REFUSED("GET * HTTP/1.1\r\n" H "\r\n", 400),
    REFUSED("GET http:///a HTTP/1.1\r\n" H "\r\n", 400),
    REFUSED("CONNECT h:1 HTTP/1.1\r\n" H "\r\n", 501),
    REFUSED("GET / http/1.1\r\n" H "\r\n", 400),
    REFUSED("GET / HTTP/1.1 \r\n" H "\r\n", 400),
    REFUSED("GET / HTTP/11\r\n" H "\r\n", 400),
    REFUSED("GET / HTTP/1.10\r\n" H "\r\n", 400),
    REFUSED("GET / HTTP/2.0\r\n" H "\r\n", 505),
    REFUSED("GET / HTTP/1.2\r\n" H "\r\n", 505),
    REFUSED("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    REFUSED("\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", 400),
    REFUSED("PUT / HTTP/1.1\r\n" H "Content-Length: 1\r\nExpect: 200-ok\r\n\r\n", 417),
    REFUSED("\x16\x03\x01\x02\x00\x01\x00", 400),
};

static void test_refusals(void **state)
{
    for (size_t i = 0; i < sizeof(corpus) / sizeof(corpus[0]); i++) {
        struct http_head head;
        struct http_refusal refusal;
        enum http_result result =
            parse(slice_make(corpus[i].bytes, corpus[i].len), &head, &refusal);
        if (result != HTTP_BAD || refusal.status != corpus[i].status)
            fail_msg("corpus %zu: result %d status %d for %s", i, result, refusal.status,
                     corpus[i].bytes);
        assert_non_null(refusal.reason);
    }
}

static void test_pieces(void **state)
{
    struct slice input = TEXT("\r\nGET /x HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\nGET");
    size_t scanned = 0;
    size_t len = 0;
    struct http_refusal refusal;
    for (size_t n = 0; n < input.len - 3; n++)
        assert_int_equal(http_head_find(slice_sub(input, 0, n), 100, &scanned, &len, &refusal),
                         HTTP_MORE);
    assert_int_equal(
        http_head_find(slice_sub(input, 0, input.len - 3), 100, &scanned, &len, &refusal),
        HTTP_DONE);
    assert_int_equal(len, input.len - 3);
    scanned = 0;
    assert_int_equal(http_head_find(input, 20, &scanned, &len, &refusal), HTTP_BAD);
    assert_int_equal(refusal.status, 431);
}

/* Decodes a body fed step bytes at a time; the content goes to out. */
static enum http_result decode_body(struct http_body *body, struct slice input, size_t step,
                                    struct bytebuf *out, size_t *ret_used)
{
    size_t have = 0;
    size_t pos = 0;
    struct http_refusal refusal;
    enum http_result result = HTTP_MORE;
    while (result == HTTP_MORE) {
        size_t consumed;
        struct slice data;
        result =
            http_body_next(body, slice_sub(input, pos, have - pos), &consumed, &data, &refusal);
        bytebuf_append_slice(out, data);
        pos += consumed;
        if (result == HTTP_MORE && consumed == 0) {
            if (have == input.len)
                break;
            have = have + step < input.len ? have + step : input.len;
        }
    }
    *ret_used = pos;
    return result;
}

static void test_chunked(void **state)
{
    struct slice input = TEXT("5\r\nhello\r\n0006;a=\"b\"\r\n world\r\n0\r\nX-T: v\r\n\r\nGET");
    for (size_t step = 1; step < 12; step++) {
        struct http_head head = {.chunked = true};
        struct http_body body;
        struct bytebuf out;
        size_t used;
        bytebuf_init(&out, 100);
        http_body_init(&body, &head);
        assert_int_equal(decode_body(&body, input, step, &out, &used), HTTP_DONE);
        assert_slice(bytebuf_slice(&out), "hello world");
        assert_int_equal(used, input.len - 3);
        bytebuf_deinit(&out);
    }
}

static const struct refused bodies[] = {
    REFUSED("5 \r\nhello\r\n0\r\n\r\n", 400),
    REFUSED("+5\r\nhello\r\n0\r\n\r\n", 400),
    REFUSED("0x5\r\nhello\r\n0\r\n\r\n", 400),
    REFUSED("5\nhello\r\n0\r\n\r\n", 400),
    REFUSED("\r\nhello\r\n0\r\n\r\n", 400),
    REFUSED("5\r\nhelloX\r\n0\r\n\r\n", 400),
    REFUSED("5\r\nhello\n0\r\n\r\n", 400),
    REFUSED("5\r\nhello0\r\n\r\n", 400),
    REFUSED("5\r\nhello\r\n0\r\n\n", 400),
    REFUSED("5\r\nhello\r\n0\r\n X: y\r\n\r\n", 400),
    REFUSED("ffffffffffffffff5\r\nhello", 400),
    REFUSED("5;a\x01\r\nhello\r\n0\r\n\r\n", 400),
    REFUSED("0\r\nContent-Length: 5\r\n\r\n", 400),
    REFUSED("-1\r\n", 400),
};

static void test_bad_chunks(void **state)
{
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct http_head head = {.chunked = true};
        struct http_body body;
        struct bytebuf out;
        size_t used;
        bytebuf_init(&out, 100);
        http_body_init(&body, &head);
        if (decode_body(&body, slice_make(bodies[i].bytes, bodies[i].len), 64, &out, &used) !=
            HTTP_BAD)
            fail_msg("body %zu was taken", i);
        assert_int_equal(body.state, HTTP_BODY_BAD);
        bytebuf_deinit(&out);
    }
}

static void test_length_body(void **state)
{
    struct http_head head = {.has_length = true, .content_length = 5};
    struct http_body body;
    struct bytebuf out;
    size_t used;
    bytebuf_init(&out, 100);
    http_body_init(&body, &head);
    assert_int_equal(decode_body(&body, TEXT("helloGET"), 3, &out, &used), HTTP_DONE);
    assert_slice(bytebuf_slice(&out), "hello");
    assert_int_equal(used, 5);
    bytebuf_deinit(&out);
}

static void test_texts(void **state)
{
    uint8_t out[64];
    size_t len;
    assert_true(http_percent_decode(TEXT("a%20b+c%2f"), false, out, &len));
    assert_slice(slice_make(out, len), "a b+c/");
    assert_true(http_percent_decode(TEXT("a+b"), true, out, &len));
    assert_slice(slice_make(out, len), "a b");
    assert_false(http_percent_decode(TEXT("a%2"), false, out, &len));
    assert_false(http_percent_decode(TEXT("a%zz"), false, out, &len));
    assert_slice(http_query_get(TEXT("a=1&&b&c=x=y"), "c"), "x=y");
    assert_int_equal(http_query_get(TEXT("a=1&&b&c=x=y"), "b").len, 0);
    assert_null(http_query_get(TEXT("a=1&&b&c=x=y"), "d").data);

    char date[HTTP_DATE_SIZE];
    int64_t seconds;
    http_date_write(date, 784111777);
    assert_string_equal(date, "Sun, 06 Nov 1994 08:49:37 GMT");
    for (int64_t t = 0; t < 8000000000; t += 86399 * 7) {
        http_date_write(date, t);
        assert_true(http_date_read(slice_cstr(date), &seconds));
        assert_int_equal(seconds, t);
    }
    assert_false(http_date_read(TEXT("Sun, 06 Nov 1994 08:49:37 UTC"), &seconds));
    assert_false(http_date_read(TEXT("Sun, 36 Nov 1994 08:49:37 GMT"), &seconds));
    assert_false(http_date_read(TEXT("Mon, 06 Nov 1994 08:49:37 GMT"), &seconds));
    assert_false(http_date_read(TEXT("Wed, 31 Feb 1994 08:49:37 GMT"), &seconds));
    assert_false(http_date_read(TEXT("yesterday"), &seconds));
}

static void test_response(void **state)
{
    struct bytebuf out;
    bytebuf_init(&out, 1000);
    http_response_begin(&out, 404, "Not\r\nhere");
    http_response_field(&out, "X-A", TEXT("b\r\nSet-Cookie: c"));
    http_response_field_u64(&out, "Content-Length", 12345678901234567890u);
    http_response_end(&out);
    assert_slice(bytebuf_slice(&out), "HTTP/1.1 404 Nothere\r\nX-A: bSet-Cookie: c\r\n"
                                      "Content-Length: 12345678901234567890\r\n\r\n");
    bytebuf_deinit(&out);
}

static void test_base64(void **state)
{
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    char text[32];
    uint8_t bytes[32];
    size_t len;
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(base64_encode(slice_cstr(pairs[i][0]), text), strlen(pairs[i][1]));
        assert_memory_equal(text, pairs[i][1], strlen(pairs[i][1]));
        assert_true(base64_decode(slice_cstr(pairs[i][1]), bytes, &len));
        assert_slice(slice_make(bytes, len), pairs[i][0]);
    }
    static const char *const bad[] = {
        "Zg=", "Zh==", "Z===", "====", "Zm9v\n", "Zm-v", "Zg==Zg==", "Z"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(base64_decode(slice_cstr(bad[i]), bytes, &len));
    assert_int_equal(base64url_encode(TEXT("\xff\xfe\xfd\xfc"), text), 6);
    assert_memory_equal(text, "__79_A", 6);
    assert_true(base64url_decode(TEXT("__79_A"), bytes, &len));
    assert_int_equal(len, 4);
}

#ifdef HAVE_HTTP_PARSER
struct oracle {
    int complete;
    bool chunked;
    bool keep_alive;
    uint64_t length;
};

static int on_complete(http_parser *parser)
{
    struct oracle *oracle = parser->data;
    oracle->complete++;
    oracle->chunked = (parser->flags & F_CHUNKED) != 0;
    oracle->keep_alive = http_should_keep_alive(parser) != 0;
    oracle->length = parser->flags & F_CONTENTLENGTH ? parser->content_length : 0;
    return 0;
}

/*
 * What we take, http-parser takes too, with the same framing. The other way round does not hold: it
 * forgives more.
 */
static void test_cross_check(void **state)
{
    static const char *const seeds[] = {
        "PUT /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX: y\r\n\r\n",
        "POST /q HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    };
    struct random random;
    random_init(&random, 7);
    http_parser_settings settings;
    http_parser_settings_init(&settings);
    settings.on_headers_complete = on_complete;
    uint32_t taken = 0;
    for (int round = 0; round < 200000; round++) {
        char bytes[256];
        const char *seed = seeds[random_below(&random, 4)];
        size_t len = strlen(seed);
        memcpy(bytes, seed, len);
        for (uint64_t edits = random_below(&random, 4); edits > 0; edits--) {
            static const char alphabet[] = "\r\n\t :;,=/?0159aAzZ\x80\x7f%#";
            bytes[random_below(&random, len)] =
                alphabet[random_below(&random, sizeof(alphabet) - 1)];
        }
        struct http_head head;
        struct http_refusal refusal;
        if (parse(slice_make(bytes, len), &head, &refusal) != HTTP_DONE)
            continue;
        taken++;
        struct oracle oracle = {0};
        http_parser parser;
        http_parser_init(&parser, HTTP_REQUEST);
        parser.data = &oracle;
        http_parser_execute(&parser, &settings, bytes, head.head_len);
        /* It refuses some methods and targets that the grammar allows; framing is what must agree.
         */
        if (oracle.complete != 1)
            continue;
        assert_int_equal(oracle.chunked, head.chunked);
        assert_int_equal(oracle.length, head.content_length);
        /* It misses a token behind an empty list element, which the grammar allows. */
        struct slice connection = http_head_field(&head, "connection");
        if (!head.upgrade && slice_find_byte(connection, ',', 0) == SIZE_MAX &&
            oracle.keep_alive != head.keep_alive)
            fail_msg("keep-alive differs: %.*s", (int)len, bytes);
    }
    assert_true(taken > 20000);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),       cmocka_unit_test(test_connection),
        cmocka_unit_test(test_refusals),    cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_chunked),     cmocka_unit_test(test_bad_chunks),
        cmocka_unit_test(test_length_body), cmocka_unit_test(test_texts),
        cmocka_unit_test(test_response),    cmocka_unit_test(test_base64),
#ifdef HAVE_HTTP_PARSER
        cmocka_unit_test(test_cross_check),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
