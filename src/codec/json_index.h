/*
 * Stage one of the JSON scanner: where the tokens of a text are.
 *
 * Every brace, bracket, colon and comma outside strings, every unescaped quote (opening and
 * closing) and the first byte of every other run of characters gets one entry, in order. Kernels
 * for AVX2, SSE4.2 and plain C give the same answer; the best one that the processor has is chosen
 * on first use.
 */
#ifndef WEIR_CODEC_JSON_INDEX_H
#define WEIR_CODEC_JSON_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

enum { JSON_INDEX_TEXT_MAX = 1 << 28 };

struct json_index {
    uint32_t *pos; /* count entries, ascending */
    uint32_t count;
    uint32_t cap;
    bool has_backslash;   /* somewhere in the text */
    bool has_high;        /* a byte above 0x7f */
    bool has_control;     /* a byte below 0x20 inside a string */
    bool has_open_string; /* the text ends inside a string */
};

enum json_kernel { JSON_KERNEL_PORTABLE, JSON_KERNEL_SSE42, JSON_KERNEL_AVX2 };

void json_index_init(struct json_index *index);
void json_index_deinit(struct json_index *index);
/* false: text longer than JSON_INDEX_TEXT_MAX, or out of memory. */
MUST_CHECK bool json_index_build(struct json_index *index, struct slice text);
/* For tests and benchmarks: the same with a given kernel; false also when the processor lacks it.
 */
MUST_CHECK bool json_index_build_with(struct json_index *index, struct slice text,
                                      enum json_kernel kernel);
/* The kernel that json_index_build uses, as a word: "avx2", "sse4.2", "portable". */
const char *json_index_kernel_name(void);

#endif
