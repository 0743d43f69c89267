/*
 * Bodies of HTTP/1.1 requests: by length, or chunked.
 *
 * The decoder keeps three numbers between calls and no bytes: a size line or a trailer line is
 * looked at only when it is complete in the caller's buffer, which therefore must hold the longest
 * of them (HTTP_CHUNK_LINE_MAX and HTTP_TRAILER_LIMIT). Content is handed out where it lies.
 */
#include "wire/http_int.h"

enum { CHUNK_DIGITS_MAX = 15 }; /* fits in 60 bits: no overflow to think about */

static enum http_result refuse(struct http_body *body, struct http_refusal *refusal,
                               const char *reason)
{
    body->state = HTTP_BODY_BAD;
    *refusal = (struct http_refusal){400, reason};
    return HTTP_BAD;
}

void http_body_init(struct http_body *body, const struct http_head *head)
{
    ASSERT(body && head);
    ASSERT(!(head->chunked && head->has_length));
    *body = (struct http_body){.state = HTTP_BODY_NONE};
    if (head->chunked) {
        body->state = HTTP_BODY_CHUNK_SIZE;
    } else if (head->content_length > 0) {
        body->state = HTTP_BODY_LENGTH;
        body->remaining = head->content_length;
    }
}

/*
 * A complete line ending in CRLF within max bytes. HTTP_MORE: not here yet. The line is without its
 * CRLF.
 */
static enum http_result take_line(struct http_body *body, struct slice input, size_t max,
                                  struct slice *ret_line, struct http_refusal *refusal)
{
    size_t lf = slice_find_byte(input, '\n', 0);
    if (lf == SIZE_MAX) {
        if (input.len >= max)
            return refuse(body, refusal, "A line of the chunked body is too long");
        return HTTP_MORE;
    }
    if (lf == 0 || input.data[lf - 1] != '\r')
        return refuse(body, refusal, "A line of the chunked body ends without CR");
    if (lf + 1 > max)
        return refuse(body, refusal, "A line of the chunked body is too long");
    *ret_line = slice_sub(input, 0, lf - 1);
    return HTTP_DONE;
}

/* chunk-size [ ";" extension ]: extensions are checked for their bytes and ignored. */
static enum http_result chunk_size(struct http_body *body, struct slice line,
                                   struct http_refusal *refusal)
{
    uint64_t size = 0;
    size_t digits = 0;
    while (digits < line.len && http_hex_value(line.data[digits]) >= 0) {
        if (digits == CHUNK_DIGITS_MAX)
            return refuse(body, refusal, "A chunk size is too large");
        size = size * 16 + (uint64_t)http_hex_value(line.data[digits]);
        digits++;
    }
    if (digits == 0)
        return refuse(body, refusal, "A chunk size is missing");
    if (digits < line.len && line.data[digits] != ';')
        return refuse(body, refusal, "A chunk size is malformed");
    for (size_t i = digits; i < line.len; i++)
        if (!http_is_value_byte(line.data[i]))
            return refuse(body, refusal, "A chunk extension holds a control byte");
    body->remaining = size;
    body->state = size ? HTTP_BODY_CHUNK_DATA : HTTP_BODY_TRAILER;
    return HTTP_MORE;
}

static enum http_result trailer_line(struct http_body *body, struct slice line,
                                     struct http_refusal *refusal)
{
    struct http_field field;
    body->trailer_bytes += (uint32_t)line.len + 2;
    if (body->trailer_bytes > HTTP_TRAILER_LIMIT)
        return refuse(body, refusal, "The trailer is too large");
    if (line.len == 0) {
        body->state = HTTP_BODY_END;
        return HTTP_DONE;
    }
    if (http_field_parse(line, &field, refusal) != HTTP_DONE) {
        body->state = HTTP_BODY_BAD;
        return HTTP_BAD;
    }
    if (slice_equal_nocase(field.name, SLICE_LIT("content-length")) ||
        slice_equal_nocase(field.name, SLICE_LIT("transfer-encoding")) ||
        slice_equal_nocase(field.name, SLICE_LIT("host")))
        return refuse(body, refusal, "A framing field stands in the trailer");
    return HTTP_MORE;
}

/* Content of the current length or chunk. */
static void take_data(struct http_body *body, struct slice input, size_t *ret_consumed,
                      struct slice *ret_data)
{
    size_t take = input.len;
    if ((uint64_t)take > body->remaining)
        take = (size_t)body->remaining;
    *ret_data = slice_sub(input, 0, take);
    *ret_consumed = take;
    body->remaining -= take;
}

enum http_result http_body_next(struct http_body *body, struct slice input, size_t *ret_consumed,
                                struct slice *ret_data, struct http_refusal *ret_refusal)
{
    ASSERT(body && ret_consumed && ret_data && ret_refusal);
    struct slice line = SLICE_NULL;
    enum http_result result;
    *ret_consumed = 0;
    *ret_data = SLICE_NULL;
    switch (body->state) {
    case HTTP_BODY_NONE:
    case HTTP_BODY_END:
        body->state = HTTP_BODY_END;
        return HTTP_DONE;
    case HTTP_BODY_LENGTH:
        take_data(body, input, ret_consumed, ret_data);
        if (body->remaining > 0)
            return HTTP_MORE;
        body->state = HTTP_BODY_END;
        return HTTP_DONE;
    case HTTP_BODY_CHUNK_SIZE:
        result = take_line(body, input, HTTP_CHUNK_LINE_MAX, &line, ret_refusal);
        if (result != HTTP_DONE)
            return result;
        *ret_consumed = line.len + 2;
        return chunk_size(body, line, ret_refusal);
    case HTTP_BODY_CHUNK_DATA:
        take_data(body, input, ret_consumed, ret_data);
        if (body->remaining == 0)
            body->state = HTTP_BODY_CHUNK_CRLF;
        return HTTP_MORE;
    case HTTP_BODY_CHUNK_CRLF:
        if (input.len >= 1 && input.data[0] != '\r')
            return refuse(body, ret_refusal, "A chunk does not end where its size says");
        if (input.len < 2)
            return HTTP_MORE;
        if (input.data[1] != '\n')
            return refuse(body, ret_refusal, "A chunk does not end where its size says");
        *ret_consumed = 2;
        body->state = HTTP_BODY_CHUNK_SIZE;
        return HTTP_MORE;
    case HTTP_BODY_TRAILER:
        result = take_line(body, input, HTTP_TRAILER_LIMIT, &line, ret_refusal);
        if (result != HTTP_DONE)
            return result;
        *ret_consumed = line.len + 2;
        return trailer_line(body, line, ret_refusal);
    case HTTP_BODY_BAD:
        break;
    }
    return refuse(body, ret_refusal, "The body was refused before");
}
