/*
 * Regular expressions for REGEXMATCH: ECMAScript's syntax, without regard to case, ^ and $ at the
 * ends of the text only. Lookbehind and Unicode properties are not part of it.
 */
#ifndef WEIR_EXEC_REGEX_H
#define WEIR_EXEC_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/slice.h"

struct regex;
struct regex_cache;

enum regex_result {
    REGEX_NONE,  /* no match, or the pattern is not valid */
    REGEX_MATCH, /* *ret_at is the byte where the first match begins */
    REGEX_LIMIT, /* the pattern is too large, or takes too many steps on this text */
    REGEX_MEMORY
};

/* The compiled patterns of one query: a few, since most queries write theirs as literals. NULL:
 * memory. */
struct regex_cache *regex_cache_create(void);
void regex_cache_destroy(struct regex_cache *cache);
/* Both are UTF-8. Time is bounded: linear in the text unless the pattern has back references. */
MUST_CHECK enum regex_result regex_search(struct regex_cache *cache, struct slice pattern,
                                          struct slice text, size_t *ret_at);

#endif
