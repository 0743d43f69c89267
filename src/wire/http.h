/*
 * HTTP/1.1 requests: one strict incremental parser for every HTTP port, and the writer of response
 * heads.
 *
 * Framing follows RFC 9112 and refuses whatever two parsers could read differently: a length next
 * to a transfer coding, two lengths, a sign or a list in a length, bare LF or CR, folded lines,
 * blanks before the colon, unknown transfer codings, more than one Host. A refusal carries the
 * status to answer with before the connection is closed.
 *
 * The parser holds no bytes: it looks at the caller's buffer, and all slices of a head point into
 * it. The raw target is kept as it came, since signatures cover it. Nothing here allocates.
 */
#ifndef WEIR_WIRE_HTTP_H
#define WEIR_WIRE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

struct bytebuf;

enum {
    HTTP_HEAD_LIMIT = 32 * 1024,   /* default for a whole head, request line included */
    HTTP_TARGET_LIMIT = 16 * 1024, /* bytes of the request target */
    HTTP_FIELDS_MAX = 128,         /* fields of one head */
    HTTP_CHUNK_LINE_MAX = 256,     /* a chunk's size line with its extensions */
    HTTP_TRAILER_LIMIT = 8 * 1024, /* all trailer lines of one chunked body */
    HTTP_DATE_LEN = 29,            /* "Sun, 06 Nov 1994 08:49:37 GMT" */
    HTTP_DATE_SIZE = HTTP_DATE_LEN + 1
};

enum http_result {
    HTTP_MORE, /* the bytes so far are fine and not complete */
    HTTP_DONE,
    HTTP_BAD /* refused: answer with the status given and close */
};

enum http_method {
    HTTP_METHOD_OTHER, /* a well-formed token that is none of these */
    HTTP_METHOD_GET,
    HTTP_METHOD_HEAD,
    HTTP_METHOD_POST,
    HTTP_METHOD_PUT,
    HTTP_METHOD_DELETE,
    HTTP_METHOD_OPTIONS,
    HTTP_METHOD_PATCH
};

/* Why a head or body was refused. */
struct http_refusal {
    uint16_t status;    /* 400, 414, 417, 431, 501, 505 */
    const char *reason; /* a literal, one short sentence without a full stop */
};

struct http_field {
    struct slice name;  /* as sent, never empty */
    struct slice value; /* without blanks at the ends; may be empty */
};

/* One request head. Slices point into the bytes parsed. */
struct http_head {
    struct slice method_text;
    enum http_method method;
    uint8_t minor;          /* 0 or 1 of HTTP/1.x */
    struct slice target;    /* as received */
    struct slice path;      /* raw, of the target: begins with '/', or is "*" */
    struct slice query;     /* raw, behind '?'; data is NULL when there is no '?' */
    struct slice authority; /* of an absolute-form target, else NULL */
    struct slice host;      /* value of Host; data is NULL when absent (HTTP/1.0 only) */

    struct http_field *fields; /* the caller's array */
    uint16_t field_cap;
    uint16_t field_count;

    bool has_length; /* Content-Length was sent */
    bool chunked;    /* Transfer-Encoding: chunked was sent */
    uint64_t content_length;
    bool keep_alive; /* the connection may serve another request afterwards */
    bool expect_continue;
    bool upgrade; /* Connection: upgrade was sent */
    size_t head_len;
};

/*
 * Looks for the end of a head at the front of input. *scanned remembers how far earlier calls
 * looked (start with 0) so that a head arriving in pieces is scanned once. HTTP_DONE sets *ret_len
 * to the bytes of the head including its empty line. A bare LF, a control byte or more than limit
 * bytes is refused at once, without waiting for the end.
 */
enum http_result http_head_find(struct slice input, size_t limit, size_t *scanned, size_t *ret_len,
                                struct http_refusal *ret_refusal);

/*
 * Parses a complete head (as measured by http_head_find) into head. The caller sets head->fields
 * and head->field_cap before. HTTP_DONE or HTTP_BAD, never HTTP_MORE.
 */
enum http_result http_head_parse(struct slice bytes, struct http_head *head,
                                 struct http_refusal *ret_refusal);

/* First field of that name, compared without regard to case; value.data is NULL when absent. */
struct slice http_head_field(const struct http_head *head, const char *name);
/* How many fields of that name there are. */
uint32_t http_head_field_count(const struct http_head *head, const char *name);
/* Whether a comma list holds the token, compared without regard to case. */
bool http_list_has(struct slice list, const char *token);

/* Decoder of one body. */
enum http_body_state {
    HTTP_BODY_NONE,
    HTTP_BODY_LENGTH,
    HTTP_BODY_CHUNK_SIZE,
    HTTP_BODY_CHUNK_DATA,
    HTTP_BODY_CHUNK_CRLF,
    HTTP_BODY_TRAILER,
    HTTP_BODY_END,
    HTTP_BODY_BAD
};

struct http_body {
    enum http_body_state state;
    uint64_t remaining;     /* of the body (by length) or of the current chunk */
    uint32_t trailer_bytes; /* seen so far */
};

/* Prepares to decode the body that head announces. */
void http_body_init(struct http_body *body, const struct http_head *head);
/*
 * Takes bytes from the front of input. Always sets *ret_consumed (framing and content taken) and
 * *ret_data (content among them, one piece, inside input; may be empty). HTTP_DONE: this was the
 * last of the body; HTTP_MORE: call again with what is behind *ret_consumed, at once if
 * *ret_consumed > 0, else when more has arrived.
 */
enum http_result http_body_next(struct http_body *body, struct slice input, size_t *ret_consumed,
                                struct slice *ret_data, struct http_refusal *ret_refusal);

/* Decodes %XX in `in`; plus: '+' becomes a blank. out holds in.len bytes and may be in.data itself.
 * false: bad escape. */
MUST_CHECK bool http_percent_decode(struct slice in, bool plus, uint8_t *out, size_t *ret_len);
/* Next name=value pair of a raw query, both still encoded; value is empty without '='. Start with
 * *cursor = 0. */
bool http_query_next(struct slice query, size_t *cursor, struct slice *ret_name,
                     struct slice *ret_value);
/* First raw value whose raw name is exactly name; data is NULL when absent. */
struct slice http_query_get(struct slice query, const char *name);

/* Seconds since 1970 as an IMF-fixdate, NUL-terminated. */
void http_date_write(char out[HTTP_DATE_SIZE], int64_t unix_seconds);
/* Reads an IMF-fixdate. false: another form, no such day, or a weekday that is not the day's. */
MUST_CHECK bool http_date_read(struct slice text, int64_t *ret_unix_seconds);

/* The usual phrase of a status, "Unknown" when there is none. */
const char *http_status_text(uint16_t status);
/* Starts a response head; reason NULL: the usual phrase. Control bytes in reason become blanks. */
void http_response_begin(struct bytebuf *out, uint16_t status, const char *reason);
/* Adds a field. Bytes that may not stand in a value (CR, LF, other controls) are dropped, so
 * nothing can be injected. */
void http_response_field(struct bytebuf *out, const char *name, struct slice value);
void http_response_field_u64(struct bytebuf *out, const char *name, uint64_t value);
/* The empty line. */
void http_response_end(struct bytebuf *out);

#endif
