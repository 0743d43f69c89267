/*
 * SharedKey and SharedKeyLite: the signature of a request under an account's key.
 *
 *     SharedKey:     VERB \n eleven standard headers, one a line \n x-ms- headers, sorted \n
 * resource with its query SharedKeyLite: VERB \n Content-MD5 \n Content-Type \n Date \n x-ms-
 * headers, sorted \n resource with its comp
 *
 * Clients differ in three points, so a request may be tried in up to eight spellings: names with
 * '_' or digits are sorted by bytes or as .NET's culture does it, one SDK swaps two lines, and a
 * '+' in the query is a plus or a blank. Comparison takes constant time. Both keys of an account
 * are good.
 *
 * A signature is good for 15 minutes around its date, so that one that was overheard cannot be used
 * for ever.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "front/blob/blob_int.h"
#include "wire/base64.h"

enum { SIGNATURE_LEN = 32, TO_SIGN_MAX = 96 * 1024, DATE_SKEW_S = 15 * 60 };

struct pair {
    struct slice name;
    struct slice value;
};

struct spelling {
    bool lite;
    bool culture; /* sort as .NET does */
    bool swapped; /* Content-Language before Content-Encoding */
    bool blanks;  /* '+' in the query is a blank */
};

static struct slice lower(struct arena *arena, struct slice text)
{
    struct slice copy = arena_copy(arena, text);
    uint8_t *p = (uint8_t *)copy.data;
    for (size_t i = 0; p && i < copy.len; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (uint8_t)(p[i] + ('a' - 'A'));
    return copy;
}

static int compare_bytes(const void *a, const void *b)
{
    const struct pair *x = a;
    const struct pair *y = b;
    int order = slice_compare(x->name, y->name);
    return order ? order : slice_compare(x->value, y->value);
}

/* Weight of a byte of a header name in .NET's culture order: marks, digits, letters. */
static unsigned culture_weight(uint8_t c)
{
    static const char marks[] = "!#$%&*.^_`|~+";
    const char *mark = c ? strchr(marks, c) : NULL;
    return mark ? (unsigned)(mark - marks) : 256u + c;
}

static bool culture_ignores(uint8_t c)
{
    return c == '-' || c == '\'';
}

/* Names in lower case; what the order ignores decides only between names that are equal without. */
static int compare_culture(const void *a, const void *b)
{
    const struct pair *x = a;
    const struct pair *y = b;
    size_t i = 0;
    size_t j = 0;
    for (;;) {
        while (i < x->name.len && culture_ignores(x->name.data[i]))
            i++;
        while (j < y->name.len && culture_ignores(y->name.data[j]))
            j++;
        if (i == x->name.len || j == y->name.len)
            break;
        unsigned c = culture_weight(x->name.data[i]);
        unsigned d = culture_weight(y->name.data[j]);
        if (c != d)
            return c < d ? -1 : 1;
        i++;
        j++;
    }
    if (i < x->name.len || j < y->name.len)
        return i < x->name.len ? 1 : -1;
    return compare_bytes(a, b);
}

/* Whether version (YYYY-MM-DD) is at least that date; an absent one counts as new. */
static bool version_from(const struct blob_call *call, const char *date)
{
    return call->version.len == 0 || slice_compare(call->version, slice_cstr(date)) >= 0;
}

static void append_header_line(struct bytebuf *out, const struct blob_call *call, const char *name)
{
    bytebuf_append_slice(out, http_head_field(call->head, name));
    bytebuf_append_byte(out, '\n');
}

/* All x-ms- headers as name:value lines. false: out of memory. */
static bool append_ms_headers(struct bytebuf *out, struct blob_call *call, bool culture)
{
    const struct http_head *head = call->head;
    struct pair *pairs = ARENA_ARRAY(call->arena, struct pair, HTTP_FIELDS_MAX);
    size_t count = 0;
    bool keep_empty = version_from(call, "2016-05-31");
    if (!pairs)
        return false;
    for (uint16_t i = 0; i < head->field_count; i++) {
        struct slice name = head->fields[i].name;
        if (!slice_equal_nocase(slice_sub(name, 0, 5), SLICE_LIT("x-ms-")))
            continue;
        if (head->fields[i].value.len == 0 && !keep_empty)
            continue;
        pairs[count].name = lower(call->arena, name);
        pairs[count].value = head->fields[i].value;
        if (!pairs[count].name.data)
            return false;
        count++;
    }
    qsort(pairs, count, sizeof(*pairs), culture ? compare_culture : compare_bytes);
    for (size_t i = 0; i < count; i++) {
        bool repeated = i > 0 && slice_equal(pairs[i].name, pairs[i - 1].name);
        if (!repeated) {
            if (i > 0)
                bytebuf_append_byte(out, '\n');
            bytebuf_append_slice(out, pairs[i].name);
        }
        bytebuf_append_byte(out, repeated ? ',' : ':');
        bytebuf_append_slice(out, pairs[i].value);
    }
    if (count > 0)
        bytebuf_append_byte(out, '\n');
    return true;
}

static struct slice decoded(struct arena *arena, struct slice raw, bool blanks)
{
    uint8_t *out = arena_alloc(arena, raw.len + 1);
    size_t len = 0;
    if (!out || !http_percent_decode(raw, blanks, out, &len))
        return SLICE_NULL;
    return slice_make(out, len);
}

/* "\n" name ":" values, for every query parameter. */
static bool append_query(struct bytebuf *out, struct blob_call *call, bool blanks)
{
    enum { QUERY_MAX = 64 };
    struct pair *pairs = ARENA_ARRAY(call->arena, struct pair, QUERY_MAX);
    struct slice name;
    struct slice value;
    size_t count = 0;
    if (!pairs)
        return false;
    for (size_t cursor = 0; http_query_next(call->head->query, &cursor, &name, &value);) {
        if (count == QUERY_MAX)
            return false;
        name = decoded(call->arena, name, blanks);
        value = decoded(call->arena, value, blanks);
        if (!name.data || !value.data)
            return false;
        pairs[count++] = (struct pair){lower(call->arena, name), value};
    }
    qsort(pairs, count, sizeof(*pairs), compare_bytes);
    for (size_t i = 0; i < count; i++) {
        bool repeated = i > 0 && slice_equal(pairs[i].name, pairs[i - 1].name);
        if (!repeated) {
            bytebuf_append_byte(out, '\n');
            bytebuf_append_slice(out, pairs[i].name);
        }
        bytebuf_append_byte(out, repeated ? ',' : ':');
        bytebuf_append_slice(out, pairs[i].value);
    }
    return true;
}

static void append_standard_lines(struct bytebuf *out, struct blob_call *call, bool swapped)
{
    static const char *const conditions[] = {"if-modified-since", "if-match", "if-none-match",
                                             "if-unmodified-since", "range"};
    const struct http_head *head = call->head;
    append_header_line(out, call, swapped ? "content-language" : "content-encoding");
    append_header_line(out, call, swapped ? "content-encoding" : "content-language");
    bool empty = head->content_length == 0 && version_from(call, "2015-02-21");
    if (head->has_length && !empty)
        bytebuf_append_slice(out, http_head_field(head, "content-length"));
    bytebuf_append_byte(out, '\n');
    append_header_line(out, call, "content-md5");
    append_header_line(out, call, "content-type");
    if (!http_head_field(head, "x-ms-date").data)
        bytebuf_append_slice(out, http_head_field(head, "date"));
    bytebuf_append_byte(out, '\n');
    for (size_t i = 0; i < sizeof(conditions) / sizeof(conditions[0]); i++)
        append_header_line(out, call, conditions[i]);
}

/* The string to sign; false: it cannot be built. */
static bool string_to_sign(struct bytebuf *out, struct blob_call *call, struct spelling spelling)
{
    const struct http_head *head = call->head;
    bytebuf_append_slice(out, head->method_text);
    bytebuf_append_byte(out, '\n');
    if (spelling.lite) {
        append_header_line(out, call, "content-md5");
        append_header_line(out, call, "content-type");
        if (!http_head_field(head, "x-ms-date").data)
            bytebuf_append_slice(out, http_head_field(head, "date"));
        bytebuf_append_byte(out, '\n');
    } else {
        append_standard_lines(out, call, spelling.swapped);
    }
    if (!append_ms_headers(out, call, spelling.culture))
        return false;
    bytebuf_append_byte(out, '/');
    bytebuf_append_cstr(out, call->account->name);
    bytebuf_append_slice(out, head->path);
    if (!spelling.lite)
        return append_query(out, call, spelling.blanks) && !out->failed;
    if (call->comp.len > 0) {
        bytebuf_append_cstr(out, "?comp=");
        bytebuf_append_slice(out, call->comp);
    }
    return !out->failed;
}

static bool signature_good(struct blob_call *call, const uint8_t given[SIGNATURE_LEN],
                           struct spelling spelling)
{
    struct bytebuf text;
    bool good = false;
    ASSERT(call->account->key_len[0] > 0 && call->account->key_len[0] <= BLOB_KEY_MAX);
    bytebuf_init(&text, TO_SIGN_MAX);
    if (string_to_sign(&text, call, spelling)) {
        for (int i = 0; i < 2; i++) {
            uint8_t mac[EVP_MAX_MD_SIZE];
            unsigned len = 0;
            if (!call->account->key_len[i])
                continue;
            if (HMAC(EVP_sha256(), call->account->keys[i], (int)call->account->key_len[i],
                     text.data, text.len, mac, &len) &&
                len == SIGNATURE_LEN)
                good |= CRYPTO_memcmp(mac, given, SIGNATURE_LEN) == 0;
        }
    }
    bytebuf_deinit(&text);
    return good;
}

static bool signature_any(struct blob_call *call, const uint8_t given[SIGNATURE_LEN], bool lite)
{
    bool swap = !lite && call_header(call, "content-language").data &&
                call_header(call, "content-encoding").data;
    bool plus = !lite && slice_find_byte(call->head->query, '+', 0) != SIZE_MAX;
    for (int bits = 0; bits < 8; bits++) {
        struct spelling spelling = {lite, (bits & 4) != 0, (bits & 2) != 0, (bits & 1) != 0};
        if ((spelling.swapped && !swap) || (spelling.blanks && !plus))
            continue;
        if (signature_good(call, given, spelling))
            return true;
    }
    return false;
}

static bool refuse_with_detail(struct blob_call *call, const char *detail, struct slice date)
{
    char *text = arena_printf(call->arena, "%s: '%.*s'", detail, SLICE_FMT(date));
    call_fail_with(call, BLOB_AUTHENTICATION_FAILED, "AuthenticationErrorDetail",
                   slice_cstr(text ? text : detail));
    return false;
}

/* The date that was signed must be near; false: answered. */
static bool date_near(struct blob_call *call)
{
    int64_t seconds;
    struct slice date = call_header(call, "x-ms-date");
    if (!date.data)
        date = call_header(call, "date");
    if (!date.data) {
        call_fail_with(call, BLOB_AUTHENTICATION_FAILED, "AuthenticationErrorDetail",
                       SLICE_LIT("Request date header not specified"));
        return false;
    }
    if (!http_date_read(date, &seconds))
        return refuse_with_detail(call, "Request date header is not an HTTP date", date);
    int64_t now = reactor_wall_ms(call->shard->reactor) / 1000;
    if (call->front->any_date || llabs(now - seconds) <= DATE_SKEW_S)
        return true;
    return refuse_with_detail(call,
                              seconds < now ? "Request date header too old"
                                            : "Request date header too far in the future",
                              date);
}

/* SCHEME ACCOUNT:SIGNATURE; an account of "-secondary" signs with the plain name. */
static bool authorize_key(struct blob_call *call, struct slice rest, bool lite)
{
    uint8_t given[64];
    size_t len = 0;
    size_t colon = slice_find_byte(rest, ':', 0);
    if (colon == SIZE_MAX || colon == 0) {
        call_fail(call, BLOB_INVALID_AUTHENTICATION_INFO);
        return false;
    }
    struct slice name = slice_sub(rest, 0, colon);
    struct slice text = slice_sub(rest, colon + 1, rest.len);
    bool readable = text.len == BASE64_LEN(SIGNATURE_LEN) && base64_decode(text, given, &len);
    bool good = readable && len == SIGNATURE_LEN &&
                slice_equal(name, slice_cstr(call->account->name)) &&
                signature_any(call, given, lite);
    if (!good) {
        call_fail(call, BLOB_AUTHENTICATION_FAILED);
        return false;
    }
    return date_near(call);
}

bool call_authorize(struct blob_call *call)
{
    ASSERT(call->account);
    struct slice value = http_head_field(call->head, "authorization");
    if (!value.data) {
        bool sas = http_query_get(call->head->query, "sig").data != NULL;
        call_fail(call, sas ? BLOB_NOT_IMPLEMENTED : BLOB_NO_AUTHENTICATION);
        return false;
    }
    size_t blank = slice_find_byte(value, ' ', 0);
    struct slice scheme = slice_sub(value, 0, blank == SIZE_MAX ? value.len : blank);
    struct slice rest =
        blank == SIZE_MAX ? SLICE_NULL : slice_trim(slice_sub(value, blank, value.len));
    if (slice_equal_nocase(scheme, SLICE_LIT("SharedKey")))
        return authorize_key(call, rest, false);
    if (slice_equal_nocase(scheme, SLICE_LIT("SharedKeyLite")))
        return authorize_key(call, rest, true);
    bool bearer = slice_equal_nocase(scheme, SLICE_LIT("Bearer"));
    call_fail(call, bearer ? BLOB_NOT_IMPLEMENTED : BLOB_INVALID_AUTHENTICATION_INFO);
    return false;
}
