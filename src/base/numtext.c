/*
 * Exact numbers <-> text over the C library's correctly rounded conversions.
 *
 * Printing tries 1 to 17 significant digits until the text reads back to the same bits; reading
 * checks the grammar and hands a NUL-terminated copy to strtod. The process never leaves the C
 * locale. No state, any thread.
 */
#include "base/numtext.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

static size_t write_digits(char *out, uint64_t value)
{
    char reversed[NUMTEXT_INT64_MAX];
    size_t len = 0;
    do {
        reversed[len++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    ASSERT(len <= NUMTEXT_INT64_MAX);
    for (size_t i = 0; i < len; i++)
        out[i] = reversed[len - 1 - i];
    return len;
}

/* JavaScript's layout of `digits` (no trailing zeros) with the decimal point after digit number
 * `point`. */
static size_t layout_digits(char *out, const char *digits, int count, int point)
{
    size_t len = 0;
    if (point > 21 || point < -5) {
        out[len++] = digits[0];
        if (count > 1) {
            out[len++] = '.';
            memcpy(out + len, digits + 1, (size_t)count - 1);
            len += (size_t)count - 1;
        }
        out[len++] = 'e';
        out[len++] = point - 1 < 0 ? '-' : '+';
        return len + write_digits(out + len, (uint64_t)abs(point - 1));
    }
    if (point <= 0) {
        out[len++] = '0';
        out[len++] = '.';
        for (int i = point; i < 0; i++)
            out[len++] = '0';
        memcpy(out + len, digits, (size_t)count);
        return len + (size_t)count;
    }
    for (int i = 0; i < point || i < count; i++) {
        if (i == point)
            out[len++] = '.';
        out[len++] = i < count ? digits[i] : '0';
    }
    return len;
}

static size_t write_special(char *out, const char *text)
{
    size_t len = strlen(text);
    ASSERT(len < NUMTEXT_DOUBLE_MAX);
    memcpy(out, text, len);
    return len;
}

size_t numtext_write_double(char out[NUMTEXT_DOUBLE_MAX], double value)
{
    if (isnan(value))
        return write_special(out, "NaN");
    if (isinf(value))
        return write_special(out, value < 0 ? "-Infinity" : "Infinity");
    if (value == 0)
        return write_special(out, "0");
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*e", digits - 1, fabs(value));
        if (strtod(text, NULL) == fabs(value))
            break;
    }
    char digits[20];
    int count = 0;
    const char *p = text;
    for (; *p != 'e'; p++) {
        if (*p != '.')
            digits[count++] = *p;
    }
    int exponent = (int)strtol(p + 1, NULL, 10);
    while (count > 1 && digits[count - 1] == '0')
        count--;
    size_t sign = value < 0;
    out[0] = '-';
    size_t len = sign + layout_digits(out + sign, digits, count, exponent + 1);
    ASSERT(len <= NUMTEXT_DOUBLE_MAX);
    return len;
}

size_t numtext_write_uint64(char out[NUMTEXT_INT64_MAX], uint64_t value)
{
    return write_digits(out, value);
}

size_t numtext_write_int64(char out[NUMTEXT_INT64_MAX], int64_t value)
{
    if (value >= 0)
        return numtext_write_uint64(out, (uint64_t)value);
    out[0] = '-';
    return 1 + write_digits(out + 1, 0 - (uint64_t)value);
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static size_t skip_digits(struct slice text, size_t at)
{
    while (at < text.len && is_digit(text.data[at]))
        at++;
    return at;
}

static size_t skip_sign(struct slice text, size_t at)
{
    return at + (at < text.len && (text.data[at] == '-' || text.data[at] == '+'));
}

static bool is_double_text(struct slice text)
{
    size_t begin = skip_sign(text, 0);
    size_t at = skip_digits(text, begin);
    size_t digits = at - begin;
    if (at < text.len && text.data[at] == '.') {
        size_t end = skip_digits(text, at + 1);
        digits += end - at - 1;
        at = end;
    }
    if (digits == 0)
        return false;
    if (at < text.len && (text.data[at] | 32) == 'e') {
        begin = skip_sign(text, at + 1);
        at = skip_digits(text, begin);
        if (at == begin)
            return false;
    }
    return at == text.len;
}

bool numtext_read_double(struct slice text, double *ret_value)
{
    if (!is_double_text(text))
        return false;
    char local[64];
    char *copy = text.len < sizeof(local) ? local : malloc(text.len + 1);
    if (!copy)
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    *ret_value = strtod(copy, NULL);
    if (copy != local)
        free(copy);
    return true;
}

bool numtext_read_uint64(struct slice text, uint64_t *ret_value)
{
    size_t at = text.len > 0 && text.data[0] == '+';
    if (at == text.len)
        return false;
    uint64_t value = 0;
    for (; at < text.len; at++) {
        if (!is_digit(text.data[at]) || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.data[at] - '0'), &value))
            return false;
    }
    *ret_value = value;
    return true;
}

bool numtext_read_int64(struct slice text, int64_t *ret_value)
{
    bool negative = text.len > 0 && text.data[0] == '-';
    uint64_t magnitude;
    if (negative && text.len > 1 && text.data[1] == '+')
        return false;
    if (!numtext_read_uint64(slice_sub(text, negative, SIZE_MAX), &magnitude))
        return false;
    if (magnitude > (uint64_t)INT64_MAX + negative)
        return false;
    *ret_value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}
