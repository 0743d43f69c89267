/*
 * XXH3 over a slice, inlined from the library's header since most keys are short. Seeded, so that
 * peers who choose keys cannot choose collisions; never part of a stored or sent format.
 * No state, any thread.
 */
#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t hash_bytes(struct slice bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes.len ? (const void *)bytes.data : "", bytes.len, seed);
}
