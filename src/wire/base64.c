/* Base64 in its two alphabets. One table-free digit function each way: these texts are short. */
#include "wire/base64.h"

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char urlsafe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t encode(struct slice in, char *out, const char *alphabet, bool pad)
{
    ASSERT(out || in.len == 0);
    size_t len = 0;
    for (size_t i = 0; i < in.len; i += 3) {
        size_t have = in.len - i < 3 ? in.len - i : 3;
        uint32_t word = (uint32_t)in.data[i] << 16;
        if (have > 1)
            word |= (uint32_t)in.data[i + 1] << 8;
        if (have > 2)
            word |= in.data[i + 2];
        for (size_t digit = 0; digit < 4; digit++) {
            if (digit <= have)
                out[len++] = alphabet[word >> (18 - 6 * digit) & 63];
            else if (pad)
                out[len++] = '=';
        }
    }
    ASSERT(len <= BASE64_LEN(in.len));
    return len;
}

size_t base64_encode(struct slice in, char *out)
{
    return encode(in, out, standard, true);
}

size_t base64url_encode(struct slice in, char *out)
{
    return encode(in, out, urlsafe, false);
}

static int digit_value(uint8_t c, uint8_t c62, uint8_t c63)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == c62)
        return 62;
    return c == c63 ? 63 : -1;
}

/* Digits without padding; left-over bits must be zero, so that every value has one spelling. */
static bool decode(struct slice digits, uint8_t c62, uint8_t c63, uint8_t *out, size_t *ret_len)
{
    uint32_t word = 0;
    unsigned bits = 0;
    size_t len = 0;
    for (size_t i = 0; i < digits.len; i++) {
        int value = digit_value(digits.data[i], c62, c63);
        if (value < 0)
            return false;
        word = word << 6 | (uint32_t)value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[len++] = (uint8_t)(word >> bits);
            word &= (1u << bits) - 1;
        }
    }
    *ret_len = len;
    return bits < 6 && word == 0;
}

bool base64_decode(struct slice text, uint8_t *out, size_t *ret_len)
{
    ASSERT(ret_len && (out || text.len == 0));
    if (text.len % 4 != 0)
        return false;
    size_t pad = 0;
    while (pad < 2 && pad < text.len && text.data[text.len - 1 - pad] == '=')
        pad++;
    return decode(slice_sub(text, 0, text.len - pad), '+', '/', out, ret_len);
}

bool base64url_decode(struct slice text, uint8_t *out, size_t *ret_len)
{
    ASSERT(ret_len && (out || text.len == 0));
    return decode(text, '-', '_', out, ret_len);
}
