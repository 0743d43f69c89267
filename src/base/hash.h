/* Hashes: XXH3 for tables (seeded where peers choose the keys), nothing here is wire format. */
#ifndef WEIR_BASE_HASH_H
#define WEIR_BASE_HASH_H

#include <stdint.h>

#include "base/slice.h"

uint64_t hash_bytes(struct slice bytes, uint64_t seed);

#endif
