/*
 * What every fuzz target shares.
 *
 * A target is one file fuzz_<name>.c with LLVMFuzzerTestOneInput: it feeds the bytes to one decoder
 * and checks with FUZZ_CHECK what must hold for every input. It is linked with libFuzzer
 * (tools/fuzz) or with fuzz_replay.c, which runs the committed corpus and simple mutations of it in
 * the unit suite.
 */
#ifndef WEIR_TEST_FUZZ_H
#define WEIR_TEST_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/slice.h"

/* visibility: libFuzzer's main looks it up by name. */
__attribute__((visibility("default"))) int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(cond) ASSERT(cond)

/* Takes bytes from the front; zeros when there are not enough. */
static inline uint64_t fuzz_take(struct slice *input, size_t bytes)
{
    uint64_t value = 0;
    size_t n = bytes < input->len ? bytes : input->len;
    for (size_t i = 0; i < n; i++)
        value |= (uint64_t)input->data[i] << (8 * i);
    input->data += n;
    input->len -= n;
    return value;
}

/* A copy of exactly that size, so that the sanitizer sees an overread by one. The caller frees
 * data. */
static inline struct slice fuzz_copy(struct slice bytes)
{
    uint8_t *copy = malloc(bytes.len ? bytes.len : 1);
    FUZZ_CHECK(copy);
    if (bytes.len > 0)
        memcpy(copy, bytes.data, bytes.len);
    return slice_make(copy, bytes.len);
}

static inline void fuzz_free(struct slice copy)
{
    free((void *)(uintptr_t)copy.data);
}

#endif
