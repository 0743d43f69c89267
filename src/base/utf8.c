/*
 * UTF-8 by the strict table.
 *
 *     00..7F
 *     C2..DF 80..BF
 *     E0 A0..BF, E1..EC 80..BF, ED 80..9F, EE..EF 80..BF   then 80..BF
 *     F0 90..BF, F1..F3 80..BF, F4 80..8F                  then 80..BF 80..BF
 *
 * Only the second byte has a range that depends on the first, so one lookup of that range decides
 * everything. Runs of ASCII are skipped sixteen bytes at a time. No state.
 */
#include "base/utf8.h"

#include "base/assert.h"

#define HIGH_BITS 0x8080808080808080u

static uint64_t load_word(const uint8_t *data)
{
    uint64_t word;
    memcpy(&word, data, sizeof(word));
    return word;
}

static bool is_tail(uint8_t c)
{
    return (c & 0xc0) == 0x80;
}

/* Bytes of the code point that starts at p with a byte >= 0x80, 0 when malformed; left > 0. */
static size_t multibyte_length(const uint8_t *p, size_t left)
{
    ASSERT(left > 0 && p[0] >= 0x80);
    uint8_t first = p[0];
    if (first < 0xc2 || first > 0xf4 || left < 2)
        return 0;
    if (first < 0xe0)
        return is_tail(p[1]) ? 2 : 0;
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high || left < 3 || !is_tail(p[2]))
        return 0;
    if (first < 0xf0)
        return 3;
    return left >= 4 && is_tail(p[3]) ? 4 : 0;
}

/* Most text is ASCII: sixteen bytes at a time are tested for a high bit, and only others looked at. */
size_t utf8_valid_prefix(struct slice text)
{
    size_t at = 0;
    while (at < text.len) {
        if (text.len - at >= 16 &&
            ((load_word(text.data + at) | load_word(text.data + at + 8)) & HIGH_BITS) == 0) {
            at += 16;
            continue;
        }
        if (text.data[at] < 0x80) {
            at++;
            continue;
        }
        size_t len = multibyte_length(text.data + at, text.len - at);
        if (len == 0)
            return at;
        at += len;
    }
    ASSERT(at == text.len);
    return at;
}

bool utf8_valid(struct slice text)
{
    return utf8_valid_prefix(text) == text.len;
}

size_t utf8_decode(struct slice text, size_t at, uint32_t *ret_code_point)
{
    ASSERT(at < text.len);
    const uint8_t *p = text.data + at;
    if (p[0] < 0x80) {
        *ret_code_point = p[0];
        return 1;
    }
    size_t len = multibyte_length(p, text.len - at);
    if (len == 0)
        return 0;
    uint32_t code_point = p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++)
        code_point = code_point << 6 | (p[i] & 0x3fu);
    ASSERT(code_point <= UTF8_CODE_POINT_MAX);
    *ret_code_point = code_point;
    return len;
}

/* Surrogates are no code points of their own and give nothing. */
size_t utf8_encode(char out[UTF8_MAX], uint32_t code_point)
{
    ASSERT(out);
    if (code_point < 0x80) {
        out[0] = (char)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        out[0] = (char)(0xc0 | code_point >> 6);
        out[1] = (char)(0x80 | (code_point & 0x3f));
        return 2;
    }
    if (code_point < 0x10000) {
        if (code_point >= 0xd800 && code_point < 0xe000)
            return 0;
        out[0] = (char)(0xe0 | code_point >> 12);
        out[1] = (char)(0x80 | (code_point >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code_point & 0x3f));
        return 3;
    }
    if (code_point > UTF8_CODE_POINT_MAX)
        return 0;
    out[0] = (char)(0xf0 | code_point >> 18);
    out[1] = (char)(0x80 | (code_point >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code_point >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code_point & 0x3f));
    return 4;
}

size_t utf8_count(struct slice text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += !is_tail(text.data[i]);
    return count;
}

size_t utf8_count_utf16(struct slice text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += !is_tail(text.data[i]) + (text.data[i] >= 0xf0); /* beyond U+FFFF: a pair */
    return count;
}
