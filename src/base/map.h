/*
 * Hash map from bytes to a pointer: open addressing, XXH3, grows to a limit.
 *
 * The map copies keys; values belong to the caller. A walk goes in order of insertion, whatever
 * the hashes are, so that the simulator stays deterministic. One owner.
 */
#ifndef WEIR_BASE_MAP_H
#define WEIR_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

struct map;

/* limit: most entries. NULL: out of memory. */
struct map *map_create(size_t limit);
void map_destroy(struct map *map);
/* NULL when absent. */
void *map_get(const struct map *map, struct slice key);
/* Inserts or replaces. value must not be NULL. false: at the limit or out of memory, map unchanged.
 */
MUST_CHECK bool map_put(struct map *map, struct slice key, void *value);
/* The removed value, NULL when absent. */
void *map_remove(struct map *map, struct slice key);
size_t map_count(const struct map *map);
/* Walks all entries: start with *cursor = 0; false at the end. Removing the entry just returned is
 * allowed. */
bool map_next(const struct map *map, size_t *cursor, struct slice *ret_key, void **ret_value);

#endif
