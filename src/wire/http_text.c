/*
 * Small texts of HTTP: percent-encoding, queries, dates, status phrases, response heads.
 */
#include "base/bytebuf.h"
#include "base/datetime.h"
#include "base/numtext.h"
#include "wire/http_int.h"

int http_hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool http_percent_decode(struct slice in, bool plus, uint8_t *out, size_t *ret_len)
{
    ASSERT(ret_len && (out || in.len == 0));
    size_t len = 0;
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.data[i];
        if (c == '%') {
            if (i + 2 >= in.len)
                return false;
            int high = http_hex_value(in.data[i + 1]);
            int low = http_hex_value(in.data[i + 2]);
            if (high < 0 || low < 0)
                return false;
            c = (uint8_t)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        out[len++] = c;
    }
    ASSERT(len <= in.len);
    *ret_len = len;
    return true;
}

bool http_query_next(struct slice query, size_t *cursor, struct slice *ret_name,
                     struct slice *ret_value)
{
    ASSERT(cursor && ret_name && ret_value);
    while (*cursor < query.len) {
        size_t amp = slice_find_byte(query, '&', *cursor);
        size_t stop = amp == SIZE_MAX ? query.len : amp;
        struct slice pair = slice_sub(query, *cursor, stop - *cursor);
        *cursor = stop + 1;
        if (pair.len == 0)
            continue;
        size_t equals = slice_find_byte(pair, '=', 0);
        if (equals == SIZE_MAX) {
            *ret_name = pair;
            *ret_value = (struct slice){pair.data + pair.len, 0};
        } else {
            *ret_name = slice_sub(pair, 0, equals);
            *ret_value = (struct slice){pair.data + equals + 1, pair.len - equals - 1};
        }
        return true;
    }
    return false;
}

struct slice http_query_get(struct slice query, const char *name)
{
    ASSERT(name);
    struct slice wanted = slice_cstr(name);
    struct slice key;
    struct slice value;
    for (size_t cursor = 0; http_query_next(query, &cursor, &key, &value);)
        if (slice_equal(key, wanted))
            return value;
    return SLICE_NULL;
}

void http_date_write(char out[HTTP_DATE_SIZE], int64_t unix_seconds)
{
    ASSERT(unix_seconds >= 0 && unix_seconds <= DATETIME_TICKS_MAX / DATETIME_TICKS_PER_SECOND);
    size_t len = datetime_write_http(out, unix_seconds * DATETIME_TICKS_PER_SECOND);
    ASSERT(len == HTTP_DATE_LEN);
    out[len] = 0;
}

bool http_date_read(struct slice text, int64_t *ret_unix_seconds)
{
    ASSERT(ret_unix_seconds);
    int64_t ticks;
    if (!datetime_read_http(text, &ticks))
        return false;
    *ret_unix_seconds = ticks / DATETIME_TICKS_PER_SECOND; /* whole seconds: nothing is cut */
    return true;
}

const char *http_status_text(uint16_t status)
{
    static const struct {
        uint16_t status;
        const char *text;
    } rows[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].status == status)
            return rows[i].text;
    return "Unknown";
}

/* Appends the bytes that may stand in a value; drops the rest. */
static void append_clean(struct bytebuf *out, struct slice value)
{
    for (size_t i = 0; i < value.len;) {
        size_t run = i;
        while (run < value.len && http_is_value_byte(value.data[run]))
            run++;
        bytebuf_append(out, value.data + i, run - i);
        i = run + 1;
    }
}

void http_response_begin(struct bytebuf *out, uint16_t status, const char *reason)
{
    ASSERT(out && status >= 100 && status <= 599);
    bytebuf_printf(out, "HTTP/1.1 %u ", (unsigned)status);
    append_clean(out, slice_cstr(reason ? reason : http_status_text(status)));
    bytebuf_append(out, "\r\n", 2);
}

void http_response_field(struct bytebuf *out, const char *name, struct slice value)
{
    ASSERT(out && name && name[0]);
    bytebuf_append_cstr(out, name);
    bytebuf_append(out, ": ", 2);
    append_clean(out, value);
    bytebuf_append(out, "\r\n", 2);
}

void http_response_field_u64(struct bytebuf *out, const char *name, uint64_t value)
{
    char text[NUMTEXT_INT64_MAX];
    size_t len = numtext_write_uint64(text, value);
    http_response_field(out, name, slice_make(text, len));
}

void http_response_end(struct bytebuf *out)
{
    bytebuf_append(out, "\r\n", 2);
}
