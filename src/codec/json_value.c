/* Single JSON values: numbers, strings, and the walk of a valid object or array (see json_scan.h).
 */
#include <math.h>

#include "base/numtext.h"
#include "codec/json_scan.h"

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* Digits alone reach infinity only when there are hundreds of them. */
static bool float_fits(struct slice text, bool exponent)
{
    double value;

    return (!exponent && text.len <= 308) || (numtext_read_double(text, &value) && isfinite(value));
}

enum json_kind json_number_kind(struct slice text)
{
    const uint8_t *at = text.data;
    const uint8_t *end = text.data + text.len;
    bool fraction = false;
    bool exponent = false;

    if (at < end && *at == '-')
        at++;
    const uint8_t *digits = at;
    while (at < end && is_digit(*at))
        at++;
    if (at == digits || (*digits == '0' && at - digits > 1))
        return JSON_KIND_MISSING;
    size_t digit_count = (size_t)(at - digits);
    if (at < end && *at == '.') {
        const uint8_t *first = ++at;
        while (at < end && is_digit(*at))
            at++;
        if (at == first)
            return JSON_KIND_MISSING;
        fraction = true;
    }
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        const uint8_t *first = at;
        while (at < end && is_digit(*at))
            at++;
        if (at == first)
            return JSON_KIND_MISSING;
        exponent = true;
    }
    if (at != end)
        return JSON_KIND_MISSING;
    if (fraction || exponent)
        return float_fits(text, exponent) ? JSON_KIND_FLOAT : JSON_KIND_MISSING;
    int64_t value;
    if (digit_count > 18 && !numtext_read_int64(text, &value))
        return JSON_KIND_MISSING;
    return JSON_KIND_INT;
}

bool json_cell_from_source(struct slice source, struct json_cell *ret_cell)
{
    struct slice content = source;
    enum json_kind kind = JSON_KIND_MISSING;

    if (source.len == 0)
        return false;
    switch (source.data[0]) {
    case 't':
        kind = slice_equal(source, SLICE_LIT("true")) ? JSON_KIND_TRUE : JSON_KIND_MISSING;
        break;
    case 'f':
        kind = slice_equal(source, SLICE_LIT("false")) ? JSON_KIND_FALSE : JSON_KIND_MISSING;
        break;
    case 'n':
        kind = slice_equal(source, SLICE_LIT("null")) ? JSON_KIND_NULL : JSON_KIND_MISSING;
        break;
    case '{':
        kind = JSON_KIND_OBJECT;
        break;
    case '[':
        kind = JSON_KIND_ARRAY;
        break;
    case '"':
        if (source.len < 2)
            return false;
        content = slice_make(source.data + 1, source.len - 2);
        kind =
            slice_find_byte(content, '\\', 0) == SIZE_MAX ? JSON_KIND_TEXT : JSON_KIND_TEXT_ESCAPED;
        break;
    default:
        kind = json_number_kind(source);
        break;
    }
    *ret_cell = (struct json_cell){content.data, (uint32_t)content.len, (uint8_t)kind, 0};
    return kind != JSON_KIND_MISSING;
}

struct slice json_cell_source(const struct json_cell *cell)
{
    if (cell->kind == JSON_KIND_TEXT || cell->kind == JSON_KIND_TEXT_ESCAPED)
        return slice_make(cell->data - 1, (size_t)cell->len + 2);
    return slice_make(cell->data, cell->len);
}

static void utf8_append(struct bytebuf *out, uint32_t c)
{
    uint8_t bytes[4];
    size_t len;

    ASSERT(c <= 0x10ffff);
    if (c < 0x80) {
        bytes[0] = (uint8_t)c;
        len = 1;
    } else if (c < 0x800) {
        bytes[0] = (uint8_t)(0xc0 | (c >> 6));
        bytes[1] = (uint8_t)(0x80 | (c & 0x3f));
        len = 2;
    } else if (c < 0x10000) {
        bytes[0] = (uint8_t)(0xe0 | (c >> 12));
        bytes[1] = (uint8_t)(0x80 | ((c >> 6) & 0x3f));
        bytes[2] = (uint8_t)(0x80 | (c & 0x3f));
        len = 3;
    } else {
        bytes[0] = (uint8_t)(0xf0 | (c >> 18));
        bytes[1] = (uint8_t)(0x80 | ((c >> 12) & 0x3f));
        bytes[2] = (uint8_t)(0x80 | ((c >> 6) & 0x3f));
        bytes[3] = (uint8_t)(0x80 | (c & 0x3f));
        len = 4;
    }
    bytebuf_append(out, bytes, len);
}

/* Four hexadecimal digits at p; -1: they are not. */
static int32_t hex4(const uint8_t *p)
{
    int32_t value = 0;

    for (unsigned i = 0; i < 4; i++) {
        uint8_t c = p[i];
        int32_t digit;
        if (is_digit(c))
            digit = c - '0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (c | 0x20) - 'a' + 10;
        else
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The \uXXXX whose u is at *at; joins a surrogate pair. Leaves *at on its last byte. */
static bool unescape_unicode(struct slice content, size_t *at, struct bytebuf *out)
{
    if (content.len - *at < 5)
        return false;
    int32_t c = hex4(content.data + *at + 1);
    if (c < 0)
        return false;
    *at += 4;
    if (c >= 0xd800 && c < 0xdc00 && content.len - *at > 6 && content.data[*at + 1] == '\\' &&
        content.data[*at + 2] == 'u') {
        int32_t low = hex4(content.data + *at + 3);
        if (low >= 0xdc00 && low < 0xe000) {
            *at += 6;
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        }
    }
    if (c >= 0xd800 && c < 0xe000)
        c = 0xfffd;
    utf8_append(out, (uint32_t)c);
    return true;
}

bool json_unescape(struct slice content, struct bytebuf *out)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    size_t start = 0;

    for (size_t i = 0; i < content.len; i++) {
        if (content.data[i] != '\\')
            continue;
        bytebuf_append(out, content.data + start, i - start);
        if (++i >= content.len)
            return false;
        if (content.data[i] == 'u') {
            if (!unescape_unicode(content, &i, out))
                return false;
        } else {
            const char *found = memchr(from, content.data[i], sizeof(from) - 1);
            if (found == NULL)
                return false;
            bytebuf_append_byte(out, (uint8_t)to[found - from]);
        }
        start = i + 1;
    }
    bytebuf_append(out, content.data + start, content.len - start);
    return true;
}

/* Length of the well-formed sequence at p, 0 when it is not. */
static size_t utf8_sequence(const uint8_t *p, size_t left)
{
    uint8_t first = p[0];
    size_t len = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint8_t low = 0x80;
    uint8_t high = 0xbf;

    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4 || left < len)
        return 0;
    if (first == 0xe0)
        low = 0xa0;
    else if (first == 0xed)
        high = 0x9f;
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return len;
}

bool json_utf8_valid(struct slice text)
{
    size_t at = 0;

    while (at < text.len) {
        uint64_t word;
        if (text.len - at >= 8) {
            memcpy(&word, text.data + at, 8);
            if ((word & 0x8080808080808080ULL) == 0) {
                at += 8;
                continue;
            }
        }
        size_t len = utf8_sequence(text.data + at, text.len - at);
        if (len == 0)
            return false;
        at += len;
    }
    return true;
}

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

static size_t skip_space(struct slice text, size_t at)
{
    while (at < text.len && is_space(text.data[at]))
        at++;
    return at;
}

/* End of the string whose opening quote is at `at`. */
static size_t string_end(struct slice text, size_t at)
{
    for (at++; at < text.len && text.data[at] != '"'; at++) {
        if (text.data[at] == '\\')
            at++;
    }
    return at < text.len ? at + 1 : text.len;
}

/* End of the value at `at`; brackets are counted, since the text is known to be valid. */
static size_t value_end(struct slice text, size_t at)
{
    size_t depth = 0;

    while (at < text.len) {
        uint8_t byte = text.data[at];
        if (byte == '"') {
            at = string_end(text, at);
        } else if (byte == '{' || byte == '[') {
            depth++;
            at++;
        } else if (byte == '}' || byte == ']') {
            if (depth == 0)
                return at;
            depth--;
            at++;
        } else if (depth == 0 && (byte == ',' || is_space(byte))) {
            return at;
        } else {
            at++;
            if (depth == 0)
                continue;
        }
        if (depth == 0 && (byte == '"' || byte == '}' || byte == ']'))
            return at;
    }
    return at;
}

/* Moves to the next member or element of the container; false at its end. */
static bool container_step(struct slice source, size_t *at)
{
    size_t pos = *at == 0 ? 1 : *at;

    pos = skip_space(source, pos);
    if (pos < source.len && source.data[pos] == ',')
        pos = skip_space(source, pos + 1);
    *at = pos;
    return pos < source.len && source.data[pos] != '}' && source.data[pos] != ']';
}

bool json_source_next_element(struct slice array, size_t *at, struct json_cell *ret_value)
{
    if (array.len == 0 || !container_step(array, at))
        return false;
    size_t end = value_end(array, *at);
    bool ok = json_cell_from_source(slice_sub(array, *at, end - *at), ret_value);
    *at = end;
    return ok;
}

bool json_source_next_field(struct slice object, size_t *at, struct slice *ret_name,
                            struct json_cell *ret_value)
{
    if (object.len == 0 || !container_step(object, at) || object.data[*at] != '"')
        return false;
    size_t end = string_end(object, *at);
    *ret_name = slice_sub(object, *at + 1, end - *at - 2);
    size_t value = skip_space(object, end);
    if (value >= object.len || object.data[value] != ':')
        return false;
    value = skip_space(object, value + 1);
    end = value_end(object, value);
    bool ok = json_cell_from_source(slice_sub(object, value, end - value), ret_value);
    *at = end;
    return ok;
}

struct slice json_name_content(struct slice key, struct bytebuf *scratch)
{
    if (slice_find_byte(key, '\\', 0) == SIZE_MAX)
        return key;
    bytebuf_clear(scratch);
    return json_unescape(key, scratch) && !scratch->failed ? bytebuf_slice(scratch) : key;
}

struct json_cell json_source_get(struct slice object, struct slice name)
{
    struct json_cell found = {NULL, 0, JSON_KIND_MISSING, 0};
    struct json_cell exact = found;
    struct json_cell value;
    struct bytebuf scratch;
    struct slice key;
    size_t at = 0;

    bytebuf_init(&scratch, object.len); /* allocates only for a name with escapes */
    while (exact.kind == JSON_KIND_MISSING && json_source_next_field(object, &at, &key, &value)) {
        key = json_name_content(key, &scratch);
        if (slice_equal(key, name))
            exact = value;
        else if (found.kind == JSON_KIND_MISSING && slice_equal_nocase(key, name))
            found = value;
    }
    bytebuf_deinit(&scratch);
    return exact.kind != JSON_KIND_MISSING ? exact : found;
}
