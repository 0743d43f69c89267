/*
 * Heads of HTTP/1.1 requests.
 *
 * Two passes: http_head_find measures the head while it arrives and refuses bytes that no head may
 * hold; http_head_parse then works on complete lines, so it never has to remember a half-read
 * token. Both look at each byte once. Every rule that decides where a message ends is in
 * head_frame.
 */
#include "wire/http.h"

#include <limits.h>

#include "wire/http_int.h"

static enum http_result refuse(struct http_refusal *refusal, uint16_t status, const char *reason)
{
    ASSERT(refusal && reason);
    *refusal = (struct http_refusal){status, reason};
    return HTTP_BAD;
}

bool http_is_token_byte(uint8_t c)
{
    /* RFC 9110 5.6.2: letters, digits and !#$%&'*+-.^_`|~ */
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
        return true;
    return c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

bool http_is_value_byte(uint8_t c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

/* Blanks at the ends only: OWS is SP and HTAB, nothing else. */
static struct slice trim_blanks(struct slice s)
{
    while (s.len > 0 && (s.data[0] == ' ' || s.data[0] == '\t')) {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
        s.len--;
    return s;
}

enum http_result http_head_find(struct slice input, size_t limit, size_t *scanned, size_t *ret_len,
                                struct http_refusal *ret_refusal)
{
    ASSERT(scanned && ret_len && ret_refusal);
    ASSERT(*scanned <= input.len);
    size_t pos = *scanned;
    size_t end = input.len < limit ? input.len : limit;
    for (; pos < end; pos++) {
        uint8_t c = input.data[pos];
        if (c >= 0x20 && c != 0x7f)
            continue;
        if (c == '\n') {
            if (pos == 0 || input.data[pos - 1] != '\r')
                return refuse(ret_refusal, 400, "A line ends without CR");
            /* One empty line before the request line is skipped, as RFC 9112 2.2 asks. */
            if (pos >= 3 && input.data[pos - 2] == '\n' && pos != 3) {
                *ret_len = pos + 1;
                *scanned = pos + 1;
                return HTTP_DONE;
            }
            if (pos == 3 && input.data[1] == '\n')
                return refuse(ret_refusal, 400, "The request line is empty");
        } else if (c == '\r') {
            if (pos + 1 == input.len)
                break; /* look again when the next byte is here */
            if (input.data[pos + 1] != '\n')
                return refuse(ret_refusal, 400, "A CR stands alone");
        } else if (c != '\t') {
            return refuse(ret_refusal, 400, "A control byte stands in the head");
        }
    }
    *scanned = pos;
    if (pos >= limit)
        return refuse(ret_refusal, 431, "The head is too large");
    return HTTP_MORE;
}

/* The next line without its CRLF; false at the end. Every LF is known to follow a CR. */
static bool next_line(struct slice bytes, size_t *pos, struct slice *ret_line)
{
    if (*pos >= bytes.len)
        return false;
    size_t lf = slice_find_byte(bytes, '\n', *pos);
    if (lf == SIZE_MAX || lf == *pos)
        return false;
    *ret_line = slice_sub(bytes, *pos, lf - 1 - *pos);
    *pos = lf + 1;
    return true;
}

static enum http_method method_of(struct slice text)
{
    static const struct {
        const char *name;
        enum http_method method;
    } rows[] = {
        {"GET", HTTP_METHOD_GET},       {"HEAD", HTTP_METHOD_HEAD},
        {"POST", HTTP_METHOD_POST},     {"PUT", HTTP_METHOD_PUT},
        {"DELETE", HTTP_METHOD_DELETE}, {"OPTIONS", HTTP_METHOD_OPTIONS},
        {"PATCH", HTTP_METHOD_PATCH},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (slice_equal(text, slice_cstr(rows[i].name)))
            return rows[i].method;
    return HTTP_METHOD_OTHER;
}

/* Splits the target into path and query; absolute form gives up its authority. */
static enum http_result split_target(struct http_head *head, struct http_refusal *refusal)
{
    struct slice rest = head->target;
    for (size_t i = 0; i < rest.len; i++)
        if (rest.data[i] <= 0x20 || rest.data[i] >= 0x7f || rest.data[i] == '#')
            return refuse(refusal, 400, "The request target holds a byte that must be encoded");
    if (rest.data[0] != '/') {
        if (slice_equal(rest, SLICE_LIT("*"))) {
            if (head->method != HTTP_METHOD_OPTIONS)
                return refuse(refusal, 400, "Only OPTIONS takes the target *");
            head->path = rest;
            return HTTP_DONE;
        }
        struct slice scheme = slice_sub(rest, 0, 7);
        if (!slice_equal_nocase(scheme, SLICE_LIT("http://")))
            return refuse(refusal, 400, "The request target is not a path");
        size_t slash = slice_find_byte(rest, '/', 7);
        size_t mark = slice_find_byte(rest, '?', 7);
        size_t stop = slash < mark ? slash : mark;
        if (stop > rest.len)
            stop = rest.len;
        head->authority = slice_sub(rest, 7, stop - 7);
        if (head->authority.len == 0)
            return refuse(refusal, 400, "The request target has no host");
        rest = slice_sub(rest, stop, rest.len);
    }
    size_t mark = slice_find_byte(rest, '?', 0);
    head->path = slice_sub(rest, 0, mark == SIZE_MAX ? rest.len : mark);
    if (mark != SIZE_MAX)
        head->query = (struct slice){rest.data + mark + 1, rest.len - mark - 1};
    if (head->path.len == 0)
        head->path = SLICE_LIT("/");
    return HTTP_DONE;
}

static enum http_result parse_request_line(struct slice line, struct http_head *head,
                                           struct http_refusal *refusal)
{
    size_t first = slice_find_byte(line, ' ', 0);
    if (first == SIZE_MAX || first == 0)
        return refuse(refusal, 400, "The request line is malformed");
    size_t second = slice_find_byte(line, ' ', first + 1);
    if (second == SIZE_MAX || second == first + 1)
        return refuse(refusal, 400, "The request line is malformed");
    head->method_text = slice_sub(line, 0, first);
    head->target = slice_sub(line, first + 1, second - first - 1);
    struct slice version = slice_sub(line, second + 1, line.len);
    for (size_t i = 0; i < head->method_text.len; i++)
        if (!http_is_token_byte(head->method_text.data[i]))
            return refuse(refusal, 400, "The method is not a token");
    if (version.len != 8 || memcmp(version.data, "HTTP/", 5) != 0 || version.data[6] != '.' ||
        version.data[5] < '0' || version.data[5] > '9' || version.data[7] < '0' ||
        version.data[7] > '9')
        return refuse(refusal, 400, "The protocol version is malformed");
    if (version.data[5] != '1' || version.data[7] > '1')
        return refuse(refusal, 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here");
    if (head->target.len > HTTP_TARGET_LIMIT)
        return refuse(refusal, 414, "The request target is too long");
    head->minor = (uint8_t)(version.data[7] - '0');
    head->method = method_of(head->method_text);
    if (slice_equal(head->method_text, SLICE_LIT("CONNECT")))
        return refuse(refusal, 501, "This server is not a proxy");
    return split_target(head, refusal);
}

enum http_result http_field_parse(struct slice line, struct http_field *ret_field,
                                  struct http_refusal *refusal)
{
    if (line.len > 0 && (line.data[0] == ' ' || line.data[0] == '\t'))
        return refuse(refusal, 400, "Folded lines are not accepted");
    size_t colon = slice_find_byte(line, ':', 0);
    if (colon == SIZE_MAX || colon == 0)
        return refuse(refusal, 400, "A header line has no name");
    for (size_t i = 0; i < colon; i++)
        if (!http_is_token_byte(line.data[i]))
            return refuse(refusal, 400, "A header name is not a token");
    for (size_t i = colon + 1; i < line.len; i++)
        if (!http_is_value_byte(line.data[i]))
            return refuse(refusal, 400, "A header value holds a control byte");
    ret_field->name = slice_sub(line, 0, colon);
    ret_field->value = trim_blanks((struct slice){line.data + colon + 1, line.len - colon - 1});
    return HTTP_DONE;
}

/* Decimal digits only, at most INT64_MAX. */
static bool read_length(struct slice text, uint64_t *ret_value)
{
    if (text.len == 0 || text.len > 19)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *ret_value = value;
    return value <= INT64_MAX;
}

static bool host_valid(struct slice host)
{
    for (size_t i = 0; i < host.len; i++) {
        uint8_t c = host.data[i];
        bool fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    strchr("-._~!$&'()*+;=:[]%", c) != NULL;
        if (!fine || c == 0)
            return false;
    }
    return true;
}

/* The fields that say where the message ends and what becomes of the connection. */
static enum http_result head_frame(struct http_head *head, struct http_refusal *refusal)
{
    uint32_t hosts = http_head_field_count(head, "host");
    if (hosts > 1 || (hosts == 0 && head->minor == 1))
        return refuse(refusal, 400, "Exactly one Host is needed");
    head->host = http_head_field(head, "host");
    if (!host_valid(head->host))
        return refuse(refusal, 400, "The Host is malformed");

    uint32_t lengths = http_head_field_count(head, "content-length");
    uint32_t codings = http_head_field_count(head, "transfer-encoding");
    if (lengths > 1)
        return refuse(refusal, 400, "Content-Length is repeated");
    if (lengths && codings)
        return refuse(refusal, 400, "Content-Length and Transfer-Encoding exclude each other");
    if (lengths) {
        if (!read_length(http_head_field(head, "content-length"), &head->content_length))
            return refuse(refusal, 400, "The Content-Length is malformed");
        head->has_length = true;
    }
    if (codings) {
        if (head->minor == 0)
            return refuse(refusal, 400, "HTTP/1.0 has no Transfer-Encoding");
        if (codings > 1 ||
            !slice_equal_nocase(http_head_field(head, "transfer-encoding"), SLICE_LIT("chunked")))
            return refuse(refusal, 501, "Only the transfer coding chunked is known");
        head->chunked = true;
    }
    bool close = false;
    bool keep = head->minor == 1;
    for (uint16_t i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        if (!slice_equal_nocase(field->name, SLICE_LIT("connection")))
            continue;
        close |= http_list_has(field->value, "close");
        keep |= http_list_has(field->value, "keep-alive");
        head->upgrade |= http_list_has(field->value, "upgrade");
    }
    head->keep_alive = keep && !close;
    struct slice expect = http_head_field(head, "expect");
    if (expect.len > 0) {
        if (!slice_equal_nocase(expect, SLICE_LIT("100-continue")))
            return refuse(refusal, 417, "Only the expectation 100-continue is known");
        head->expect_continue = head->minor == 1 && (head->chunked || head->content_length > 0);
    }
    return HTTP_DONE;
}

enum http_result http_head_parse(struct slice bytes, struct http_head *head,
                                 struct http_refusal *ret_refusal)
{
    ASSERT(head && head->fields && ret_refusal);
    struct http_field *fields = head->fields;
    uint16_t cap = head->field_cap;
    *head = (struct http_head){.fields = fields, .field_cap = cap, .head_len = bytes.len};

    size_t pos = 0;
    if (bytes.len >= 2 && bytes.data[0] == '\r' && bytes.data[1] == '\n')
        pos = 2;
    struct slice line;
    if (!next_line(bytes, &pos, &line) || line.len == 0)
        return refuse(ret_refusal, 400, "The request line is empty");
    enum http_result result = parse_request_line(line, head, ret_refusal);
    while (result == HTTP_DONE && next_line(bytes, &pos, &line) && line.len > 0) {
        if (head->field_count == cap)
            return refuse(ret_refusal, 431, "There are too many header fields");
        result = http_field_parse(line, &head->fields[head->field_count], ret_refusal);
        if (result == HTTP_DONE)
            head->field_count++;
    }
    if (result != HTTP_DONE)
        return result;
    return head_frame(head, ret_refusal);
}

struct slice http_head_field(const struct http_head *head, const char *name)
{
    ASSERT(head && name);
    struct slice wanted = slice_cstr(name);
    for (uint16_t i = 0; i < head->field_count; i++)
        if (slice_equal_nocase(head->fields[i].name, wanted))
            return head->fields[i].value;
    return SLICE_NULL;
}

uint32_t http_head_field_count(const struct http_head *head, const char *name)
{
    ASSERT(head && name);
    struct slice wanted = slice_cstr(name);
    uint32_t count = 0;
    for (uint16_t i = 0; i < head->field_count; i++)
        count += slice_equal_nocase(head->fields[i].name, wanted);
    return count;
}

bool http_list_has(struct slice list, const char *token)
{
    ASSERT(token);
    struct slice wanted = slice_cstr(token);
    for (size_t pos = 0; pos < list.len;) {
        size_t comma = slice_find_byte(list, ',', pos);
        size_t stop = comma == SIZE_MAX ? list.len : comma;
        if (slice_equal_nocase(trim_blanks(slice_sub(list, pos, stop - pos)), wanted))
            return true;
        pos = stop + 1;
    }
    return false;
}
