/*
 * What the two directions of number conversion share. Private to numtext*.c.
 */
#ifndef WEIR_BASE_NUMTEXT_INT_H
#define WEIR_BASE_NUMTEXT_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

enum {
    NUMTEXT_POW10_FIRST = -342,
    NUMTEXT_POW10_LAST = 324,
    NUMTEXT_POW10_EXACT_LAST = 55, /* 5^55 is the highest power below 2^128 */
    DOUBLE_FRACTION_BITS = 52,
    DOUBLE_EXPONENT_BIAS = 1075 /* of the significand as an integer */
};

/* The 128 highest bits of a power of ten, cut. Generated. */
struct numtext_pow10 {
    uint64_t high;
    uint64_t low;
};
extern const struct numtext_pow10 numtext_pow10[NUMTEXT_POW10_LAST - NUMTEXT_POW10_FIRST + 1];

static inline const struct numtext_pow10 *numtext_pow10_get(int k)
{
    ASSERT(k >= NUMTEXT_POW10_FIRST && k <= NUMTEXT_POW10_LAST);
    return &numtext_pow10[k - NUMTEXT_POW10_FIRST];
}

/* Whether the entry is the power itself and not merely its highest bits. */
static inline bool numtext_pow10_exact(int k)
{
    return k >= 0 && k <= NUMTEXT_POW10_EXACT_LAST;
}

/* floor(log2(10^k)), right for |k| <= 400. */
static inline int numtext_log2_pow10(int k)
{
    return (k * 1741647) >> 19;
}

/* A decimal number found in text: sign * significand * 10^exponent, then more digits if any were
 * left out. */
struct numtext_decimal {
    uint64_t significand; /* the first 19 significant digits */
    int64_t exponent;
    int digits; /* in significand */
    bool negative;
    bool cut;           /* some digit left out is not zero */
    size_t first_digit; /* position of the first significant digit in the text */
};

/* |decimal| rounded to nearest, ties to even, as the bits of a double; infinity when too large. */
uint64_t numtext_decimal_round(struct slice text, const struct numtext_decimal *decimal);

/* Shortest digits that read back as the finite non-zero double of these bits: significand *
 * 10^exponent. */
uint64_t numtext_shortest(uint64_t double_bits, int *ret_exponent);

#endif
