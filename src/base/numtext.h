/*
 * Exact numbers <-> text. Doubles print in the shortest form that reads back to the same bits and
 * read with correct rounding (ties to even). No locale, no allocation. Cross-checked with the C++
 * library's to_chars/from_chars.
 */
#ifndef WEIR_BASE_NUMTEXT_H
#define WEIR_BASE_NUMTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum {
    NUMTEXT_DOUBLE_MAX = 32, /* bytes that any double needs */
    NUMTEXT_INT64_MAX = 20
};

/*
 * Shortest round-trip digits, JavaScript's layout: plain decimals for 1e-7 <= |v| < 1e21, else
 * d.ddde±x; integers without ".0". Zero of either sign prints as 0. NaN and infinities print as
 * NaN, Infinity, -Infinity. Returns the length.
 */
size_t numtext_write_double(char out[NUMTEXT_DOUBLE_MAX], double value);
size_t numtext_write_int64(char out[NUMTEXT_INT64_MAX], int64_t value);
size_t numtext_write_uint64(char out[NUMTEXT_INT64_MAX], uint64_t value);

/* Whole text must be a number: [-+]digits[.digits][e[-+]digits], "." needs a digit on one side. Too
 * large reads as infinity. false: not so. */
bool numtext_read_double(struct slice text, double *ret_value);
/* [-+]digits, false also on overflow. */
bool numtext_read_int64(struct slice text, int64_t *ret_value);
bool numtext_read_uint64(struct slice text, uint64_t *ret_value);

#endif
