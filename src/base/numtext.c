/*
 * Numbers <-> text: the grammar, the layout and the integers. The conversions of doubles proper are
 * in numtext_write.c (shortest digits) and numtext_read.c (correct rounding).
 *
 * Invariants: (1) reading accepts exactly the grammar in the header, to the last byte; (2) writing
 * never passes the buffer sizes that the header names. No locale, no state, no allocation, any
 * thread.
 */
#include "base/numtext.h"

#include "base/numtext_int.h"

#define DOUBLE_INFINITY_BITS (UINT64_C(0x7ff) << DOUBLE_FRACTION_BITS)

enum {
    SIGNIFICAND_DIGITS = 19,          /* of any value below 10^19 */
    EXPONENT_CAP = 1000 * 1000 * 1000 /* explicit exponents beyond are all the same */
};

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
        return len + write_digits(out + len, (uint64_t)(point - 1 < 0 ? 1 - point : point - 1));
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
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    size_t sign = bits >> 63;
    uint64_t magnitude = bits & INT64_MAX;
    if (magnitude > DOUBLE_INFINITY_BITS)
        return write_special(out, "NaN");
    if (magnitude == DOUBLE_INFINITY_BITS)
        return write_special(out, sign ? "-Infinity" : "Infinity");
    if (magnitude == 0)
        return write_special(out, "0");
    out[0] = '-';
    double absolute = sign ? -value : value;
    if (absolute < 0x1p53 && (double)(uint64_t)absolute == absolute)
        return sign + write_digits(out + sign, (uint64_t)absolute);
    char digits[NUMTEXT_INT64_MAX];
    int exponent;
    int count = (int)write_digits(digits, numtext_shortest(magnitude, &exponent));
    ASSERT(count <= 17);
    size_t len = sign + layout_digits(out + sign, digits, count, count + exponent);
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

static size_t skip_sign(struct slice text, size_t at)
{
    return at + (at < text.len && (text.data[at] == '-' || text.data[at] == '+'));
}

/* Digits with at most one point; false: none. */
static bool scan_digits(struct slice text, size_t *at, struct numtext_decimal *decimal)
{
    bool any = false;
    bool behind_point = false;
    size_t i = *at;
    for (; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '.' && !behind_point) {
            behind_point = true;
            continue;
        }
        if (!is_digit(c))
            break;
        any = true;
        if (decimal->digits == SIGNIFICAND_DIGITS) {
            decimal->cut |= c != '0';
            decimal->exponent += !behind_point;
            continue;
        }
        if (decimal->digits > 0 || c != '0') {
            if (decimal->digits++ == 0)
                decimal->first_digit = i;
            decimal->significand = decimal->significand * 10 + (c - '0');
        }
        decimal->exponent -= behind_point;
    }
    *at = i;
    return any;
}

/* [eE][-+]digits if it is there; false: an e without digits. */
static bool scan_exponent(struct slice text, size_t *at, struct numtext_decimal *decimal)
{
    if (*at == text.len || (text.data[*at] | 32) != 'e')
        return true;
    size_t i = *at + 1;
    bool negative = i < text.len && text.data[i] == '-';
    i = skip_sign(text, i);
    size_t begin = i;
    int64_t value = 0;
    for (; i < text.len && is_digit(text.data[i]); i++) {
        if (value < EXPONENT_CAP)
            value = value * 10 + (text.data[i] - '0');
    }
    *at = i;
    decimal->exponent += negative ? -value : value;
    return i > begin;
}

bool numtext_read_double(struct slice text, double *ret_value)
{
    struct numtext_decimal decimal = {.negative = text.len > 0 && text.data[0] == '-'};
    size_t at = skip_sign(text, 0);
    if (!scan_digits(text, &at, &decimal) || !scan_exponent(text, &at, &decimal) || at != text.len)
        return false;
    uint64_t bits = numtext_decimal_round(text, &decimal) | (uint64_t)decimal.negative << 63;
    memcpy(ret_value, &bits, sizeof(bits));
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
