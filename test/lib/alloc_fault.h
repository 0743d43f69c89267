/*
 * Countdown faults of the allocator, for tests that try every point of failure:
 *
 *     for (size_t nth = 1; alloc_fault_begin(nth), run(), alloc_fault_end(); nth++)
 *         ;   // run() must have behaved: no crash, no leak, a refusal told to its caller
 *
 * Link with alloc_fault.c and alloc_fault_link_args (test/lib/meson.build): calls of malloc, calloc
 * and realloc in the program's own objects come here; those inside shared libraries do not.
 */
#ifndef WEIR_TEST_ALLOC_FAULT_H
#define WEIR_TEST_ALLOC_FAULT_H

#include <stdbool.h>
#include <stddef.h>

/* From now on the nth allocation of this thread fails (1 is the next), and only that one. */
void alloc_fault_begin(size_t nth);
/* Ends it. Whether an allocation failed. */
bool alloc_fault_end(void);

#endif
