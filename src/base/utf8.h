/*
 * UTF-8: validation, decoding and encoding, by the strict table of the Unicode standard (no
 * overlong forms, no surrogates, nothing above U+10FFFF). Any thread, no allocation.
 */
#ifndef WEIR_BASE_UTF8_H
#define WEIR_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum {
    UTF8_MAX = 4, /* bytes of the longest code point */
    UTF8_CODE_POINT_MAX = 0x10ffff
};

bool utf8_valid(struct slice text);
/* Length of the longest valid prefix made of whole code points. */
size_t utf8_valid_prefix(struct slice text);
/* Decodes the code point at `at` (< text.len). Returns its bytes, 0 when it is malformed or cut. */
size_t utf8_decode(struct slice text, size_t at, uint32_t *ret_code_point);
/* Returns the bytes written, 0 for surrogates and what lies above U+10FFFF. */
size_t utf8_encode(char out[UTF8_MAX], uint32_t code_point);
/* Code points in valid text; malformed bytes count as one each at most. */
size_t utf8_count(struct slice text);
/* UTF-16 code units that valid text would take: what .NET and JavaScript call its length. */
size_t utf8_count_utf16(struct slice text);

#endif
