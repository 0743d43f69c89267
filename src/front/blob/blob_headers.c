/*
 * Headers of the blob protocol, in and out: conditions, metadata, content headers, checksums.
 *
 * An empty header counts as absent, since some clients send them so. Names of what goes out are in
 * lower case where they begin with x-ms-: one SDK finds metadata by a case-sensitive prefix.
 */
#include <stdlib.h>

#include "base/numtext.h"
#include "base/utf8.h"
#include "front/blob/blob_int.h"
#include "wire/base64.h"

/* ---- in ---- */

/* 0x… in or out of quotes; what is no tag of ours becomes 0, which equals nothing. */
static uint64_t read_etag(struct slice text)
{
    uint64_t value = 0;
    if (text.len >= 2 && text.data[0] == '"' && text.data[text.len - 1] == '"')
        text = slice_sub(text, 1, text.len - 2);
    if (text.len < 3 || text.len > 18 || text.data[0] != '0' || (text.data[1] | 0x20) != 'x')
        return 0;
    for (size_t i = 2; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c >= '0' && c <= '9')
            value = value * 16 + (uint64_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            value = value * 16 + (uint64_t)((c | 0x20) - 'a' + 10);
        else
            return 0;
    }
    return value;
}

static bool read_etags(struct blob_call *call, const char *name, bool many,
                       struct blobstore_etags *ret_etags)
{
    struct slice text = call_header(call, name);
    *ret_etags = (struct blobstore_etags){.present = text.len > 0};
    for (size_t pos = 0; pos < text.len;) {
        size_t comma = many ? slice_find_byte(text, ',', pos) : SIZE_MAX;
        size_t stop = comma == SIZE_MAX ? text.len : comma;
        struct slice one = slice_trim(slice_sub(text, pos, stop - pos));
        pos = stop + 1;
        if (slice_equal(one, SLICE_LIT("*"))) {
            ret_etags->any = true;
            continue;
        }
        if (ret_etags->count == BLOBSTORE_ETAGS_MAX) {
            call_fail_with(call, BLOB_INVALID_HEADER_VALUE, "HeaderName", slice_cstr(name));
            return false;
        }
        ret_etags->tags[ret_etags->count++] = read_etag(one);
    }
    return true;
}

static bool read_date(struct blob_call *call, const char *name, bool *ret_has, int64_t *ret_seconds)
{
    struct slice text = call_header(call, name);
    *ret_has = text.len > 0;
    if (!*ret_has || http_date_read(text, ret_seconds))
        return true;
    call_fail_with(call, BLOB_INVALID_HEADER_VALUE, "HeaderName", slice_cstr(name));
    return false;
}

bool call_conditions(struct blob_call *call, bool reading)
{
    struct blobstore_conditions *c = &call->op.conditions;
    if (!read_etags(call, "if-match", reading, &c->match) ||
        !read_etags(call, "if-none-match", reading, &c->none_match) ||
        !read_date(call, "if-modified-since", &c->has_modified_since, &c->modified_since) ||
        !read_date(call, "if-unmodified-since", &c->has_unmodified_since, &c->unmodified_since))
        return false;
    if (reading && c->none_match.any) {
        call_fail(call, BLOB_UNSATISFIABLE_CONDITION);
        return false;
    }
    bool first = c->match.present || c->has_unmodified_since;
    bool second = c->none_match.present || c->has_modified_since;
    if (!reading && first && second) {
        call_fail(call, BLOB_MULTIPLE_CONDITIONS);
        return false;
    }
    return true;
}

/* Letters, digits and '_', no digit first; also what lies above ASCII is left to the encoder of the
 * client. */
static bool identifier(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && (c < '0' || c > '9' || i == 0))
            return false;
    }
    return name.len > 0;
}

/* Visible ASCII and blanks: what clients encode other text to, and all that a listing can carry. */
static bool ascii_value(struct slice value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] > 0x7e || (value.data[i] < 0x20 && value.data[i] != '\t'))
            return false;
    return true;
}

/* One metadata header; a name seen before in the same case has its value joined by a comma. */
static bool metadata_add(struct blob_call *call, struct slice names[], struct slice values[],
                         size_t *count, struct slice name, struct slice value)
{
    for (size_t i = 0; i < *count; i++) {
        if (!slice_equal_nocase(names[i], name))
            continue;
        if (!slice_equal(names[i], name)) {
            call_fail(call, BLOB_INVALID_METADATA);
            return false;
        }
        char *joined =
            arena_printf(call->arena, "%.*s,%.*s", SLICE_FMT(values[i]), SLICE_FMT(value));
        if (!joined) {
            call_fail(call, BLOB_SERVER_BUSY);
            return false;
        }
        values[i] = slice_cstr(joined);
        return true;
    }
    names[*count] = name;
    values[(*count)++] = value;
    return true;
}

bool call_metadata(struct blob_call *call)
{
    enum { PACKED_MAX = BLOBSTORE_METADATA_MAX + 6 * HTTP_FIELDS_MAX };
    static const struct slice prefix = SLICE_LIT("x-ms-meta-");
    struct slice *names = ARENA_ARRAY(call->arena, struct slice, HTTP_FIELDS_MAX);
    struct slice *values = ARENA_ARRAY(call->arena, struct slice, HTTP_FIELDS_MAX);
    uint8_t *packed = arena_alloc(call->arena, PACKED_MAX);
    size_t count = 0;
    size_t total = 0;
    if (!names || !values || !packed) {
        call_fail(call, BLOB_SERVER_BUSY);
        return false;
    }
    for (uint16_t i = 0; i < call->head->field_count; i++) {
        const struct http_field *field = &call->head->fields[i];
        if (!slice_equal_nocase(slice_sub(field->name, 0, prefix.len), prefix))
            continue;
        struct slice name = slice_sub(field->name, prefix.len, field->name.len);
        if (!identifier(name) || !ascii_value(field->value)) {
            call_fail(call, name.len ? BLOB_INVALID_METADATA : BLOB_EMPTY_METADATA_KEY);
            return false;
        }
        if (!metadata_add(call, names, values, &count, name, field->value))
            return false;
    }
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        total += names[i].len + values[i].len;
        if (total > BLOBSTORE_METADATA_MAX ||
            !blobstore_pair_append(packed, PACKED_MAX, &len, names[i], values[i])) {
            call_fail(call, BLOB_METADATA_TOO_LARGE);
            return false;
        }
    }
    call->op.metadata = slice_make(packed, len);
    return true;
}

/* Base64 of exactly want bytes; 0: of 1 to BLOBSTORE_MD5_MAX. */
static bool read_base64(struct blob_call *call, struct slice text, size_t want,
                        struct slice *ret_bytes)
{
    size_t len = 0;
    uint8_t *out = arena_alloc(call->arena, 64);
    if (!out || text.len > 64 || !base64_decode(text, out, &len))
        return false;
    if (want ? len != want : len == 0 || len > BLOBSTORE_MD5_MAX)
        return false;
    *ret_bytes = slice_make(out, len);
    return true;
}

bool call_content_headers(struct blob_call *call, bool plain_too)
{
    struct blobstore_headers *h = &call->op.headers;
    const struct {
        const char *special;
        const char *plain;
        struct slice *out;
    } rows[] = {
        {"x-ms-blob-content-type", "content-type", &h->content_type},
        {"x-ms-blob-content-encoding", "content-encoding", &h->content_encoding},
        {"x-ms-blob-content-language", "content-language", &h->content_language},
        {"x-ms-blob-content-disposition", "content-disposition", &h->content_disposition},
        {"x-ms-blob-cache-control", "cache-control", &h->cache_control},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        *rows[i].out = call_header(call, rows[i].special);
        const char *name = rows[i].special;
        if (!rows[i].out->data && plain_too) {
            name = rows[i].plain;
            *rows[i].out = call_header(call, name);
        }
        if (!utf8_valid(*rows[i].out)) { /* listings are UTF-8 */
            call_fail_with(call, BLOB_INVALID_HEADER_VALUE, "HeaderName", slice_cstr(name));
            return false;
        }
    }
    /* Kept as it is given where it is not verified: clients put other sums there. */
    struct slice md5 = call_header(call, "x-ms-blob-content-md5");
    if (md5.len > 0 && !read_base64(call, md5, 0, &h->md5)) {
        call_fail(call, BLOB_INVALID_MD5);
        return false;
    }
    return true;
}

bool call_checksums(struct blob_call *call)
{
    struct slice md5 = call_header(call, "content-md5");
    struct slice crc = call_header(call, "x-ms-content-crc64");
    if (md5.len && crc.len) {
        call_fail(call, BLOB_BOTH_CHECKSUMS);
        return false;
    }
    if (md5.len && !read_base64(call, md5, 16, &call->md5_given)) {
        call_fail(call, BLOB_INVALID_MD5);
        return false;
    }
    if (crc.len && !read_base64(call, crc, 8, &call->crc64_given)) {
        call_fail_with(call, BLOB_INVALID_HEADER_VALUE, "HeaderName",
                       SLICE_LIT("x-ms-content-crc64"));
        return false;
    }
    return true;
}

bool call_unsupported(struct blob_call *call)
{
    static const char *const headers[] = {
        "x-ms-copy-source",
        "x-ms-tags",
        "x-ms-if-tags",
        "x-ms-encryption-key",
        "x-ms-encryption-scope",
        "x-ms-structured-body",
        "x-ms-legal-hold",
        "x-ms-immutability-policy-until-date",
        "x-ms-rehydrate-priority",
        "x-ms-expiry-option",
    };
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        if (call_header(call, headers[i]).len == 0)
            continue;
        call_fail_with(call, BLOB_NOT_IMPLEMENTED, "HeaderName", slice_cstr(headers[i]));
        return false;
    }
    struct slice tier = call_header(call, "x-ms-access-tier");
    if (tier.len > 0 && !slice_equal_nocase(tier, SLICE_LIT("Hot"))) {
        call_fail_with(call, BLOB_NOT_IMPLEMENTED, "HeaderName", SLICE_LIT("x-ms-access-tier"));
        return false;
    }
    static const char *const parameters[] = {"snapshot", "versionid", "prevsnapshot", "startFrom"};
    for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++) {
        if (http_query_get(call->head->query, parameters[i]).len == 0)
            continue;
        call_fail_with(call, BLOB_NOT_IMPLEMENTED, "QueryParameterName", slice_cstr(parameters[i]));
        return false;
    }
    /* There are no leases yet, so a request that claims one is wrong. */
    if (call_header(call, "x-ms-lease-id").len > 0) {
        call_fail(call,
                  call->blob.len ? BLOB_LEASE_NOT_PRESENT_BLOB : BLOB_LEASE_NOT_PRESENT_CONTAINER);
        return false;
    }
    return true;
}

/* ---- out ---- */

void answer_count(struct blob_call *call, uint16_t status)
{
    _Atomic uint64_t *answers = call->front->answers;
    ASSERT(status >= 100 && status < 600);
    atomic_fetch_add_explicit(&answers[0], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&answers[status / 100], 1, memory_order_relaxed);
}

/* At most 1,024 visible ASCII characters, else it is not echoed. */
static bool echo_fit(struct slice id)
{
    for (size_t i = 0; i < id.len; i++)
        if (id.data[i] < 0x20 || id.data[i] > 0x7e)
            return false;
    return id.len > 0 && id.len <= 1024;
}

struct bytebuf *call_answer_reason(struct blob_call *call, uint16_t status, const char *reason)
{
    struct bytebuf *out = web_answer(call->req, status, reason);
    struct slice id = http_head_field(call->head, "x-ms-client-request-id");
    answer_count(call, status);
    http_response_field(out, "x-ms-request-id", slice_cstr(call->request_id));
    http_response_field(out, "x-ms-version",
                        call->version.len ? call->version : SLICE_LIT("2021-12-02"));
    if (echo_fit(id))
        http_response_field(out, "x-ms-client-request-id", id);
    return out;
}

struct bytebuf *call_answer(struct blob_call *call, uint16_t status)
{
    return call_answer_reason(call, status, NULL);
}

void answer_etag(struct bytebuf *out, uint64_t etag)
{
    char date[HTTP_DATE_SIZE];
    http_date_write(date, blobstore_ticks_unix(etag));
    bytebuf_printf(out, "ETag: \"0x%llX\"\r\n", (unsigned long long)etag);
    http_response_field(out, "Last-Modified", slice_make(date, HTTP_DATE_LEN));
}

void answer_metadata(struct blob_call *call, struct bytebuf *out, struct slice metadata)
{
    struct slice name;
    struct slice value;
    for (size_t cursor = 0; blobstore_pair_next(metadata, &cursor, &name, &value);) {
        char *field = arena_printf(call->arena, "x-ms-meta-%.*s", SLICE_FMT(name));
        if (field)
            http_response_field(out, field, value);
    }
}

void answer_base64(struct bytebuf *out, const char *name, struct slice bytes)
{
    char text[BASE64_LEN(BLOBSTORE_MD5_MAX)];
    ASSERT(bytes.len <= BLOBSTORE_MD5_MAX);
    http_response_field(out, name, slice_make(text, base64_encode(bytes, text)));
}

void call_send_xml(struct blob_call *call, struct bytebuf *out, const struct bytebuf *xml)
{
    if (xml->failed) {
        /* Too large for memory: an empty body with a length would be a lie, so the connection says
         * it. */
        http_response_field(out, "Connection", SLICE_LIT("close"));
        web_stream_begin(call->req, 1);
        web_stream_end(call->req);
        return;
    }
    http_response_field(out, "Content-Type", SLICE_LIT("application/xml"));
    web_send(call->req, bytebuf_slice(xml));
}
