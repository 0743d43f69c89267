/*
 * Role: a hash map from bytes to a pointer: an index of small slots over a dense array of entries
 * in order of insertion.
 *
 *     slots:    [hash32, entry + 1] x power of two, linear probing
 *               entry 0: empty, SLOT_DEAD: removed
 *     entries:  key, value, hash, in order of insertion; a removed entry has value NULL until the
 *               next rebuild
 *
 * Invariants
 * (1) Live entries = count <= limit.
 * (2) Used entries (live and removed) fill at most half of the slots, so that a probe always meets
 *     an empty slot.
 * (3) The walk follows the entries, hence the order does not depend on hashes, and the hash may be
 *     seeded anew in every process without harm to the simulator.
 *
 * Ownership and shard: keys are copies of the map, values the caller's. One owner.
 *
 * Failure modes: map_put returns false, the map unchanged.
 */
#include "base/map.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"

/* Index plus one of the last entry must stay below SLOT_DEAD: the limit of 2^30 sees to it. */
enum { ENTRIES_MIN = 8, SLOT_DEAD = UINT32_MAX };

struct map_slot {
    uint32_t hash;
    uint32_t entry; /* index + 1 */
};

struct map_entry {
    uint8_t *key;
    size_t key_len;
    void *value; /* NULL: removed */
    uint64_t hash;
};

struct map {
    struct map_slot *slots;
    struct map_entry *entries;
    uint32_t slot_mask;
    uint32_t entries_cap; /* half of the slots */
    uint32_t entries_used;
    uint32_t count;
    uint32_t limit;
    uint64_t seed;
};

struct map *map_create(size_t limit)
{
    struct map *map = calloc(1, sizeof(*map));
    if (!map)
        return NULL;
    map->limit = limit < (1u << 30) ? (uint32_t)limit : (1u << 30);
    /* Peers choose many of the keys: the seed must not be theirs to know. The address space is laid
     * out at random. */
    map->seed = (uint64_t)(uintptr_t)map * 0x9e3779b97f4a7c15u ^ (uint64_t)getpid();
    return map;
}

void map_destroy(struct map *map)
{
    if (!map)
        return;
    for (uint32_t i = 0; i < map->entries_used; i++)
        free(map->entries[i].key);
    free(map->entries);
    free(map->slots);
    free(map);
}

/* The slot that holds key, or NULL. */
static struct map_slot *map_find(const struct map *map, struct slice key, uint64_t hash)
{
    if (map->count == 0)
        return NULL;
    ASSERT(map->slots && map->entries_used * 2 <= map->slot_mask + 1);
    for (uint32_t i = (uint32_t)hash & map->slot_mask;; i = (i + 1) & map->slot_mask) {
        struct map_slot *slot = &map->slots[i];
        if (slot->entry == 0)
            return NULL;
        if (slot->entry == SLOT_DEAD || slot->hash != (uint32_t)(hash >> 32))
            continue;
        ASSERT(slot->entry <= map->entries_used);
        const struct map_entry *entry = &map->entries[slot->entry - 1];
        if (slice_equal(key, slice_make(entry->key, entry->key_len)))
            return slot;
    }
}

static void map_link(struct map *map, uint32_t index)
{
    ASSERT(index < map->entries_cap);
    uint64_t hash = map->entries[index].hash;
    uint32_t i = (uint32_t)hash & map->slot_mask;
    while (map->slots[i].entry != 0)
        i = (i + 1) & map->slot_mask;
    map->slots[i] = (struct map_slot){(uint32_t)(hash >> 32), index + 1};
}

/* Room for another entry: drops removed entries, and doubles when more than half are alive. */
static bool map_rebuild(struct map *map)
{
    uint32_t cap = map->entries_cap ? map->entries_cap : ENTRIES_MIN;
    ASSERT(map->count <= map->entries_used && map->entries_used <= cap);
    if (map->count > cap / 2)
        cap *= 2;
    struct map_slot *slots = calloc((size_t)cap * 2, sizeof(*slots));
    struct map_entry *entries = malloc((size_t)cap * sizeof(*entries));
    if (!slots || !entries) {
        free(slots);
        free(entries);
        return false;
    }
    uint32_t used = 0;
    for (uint32_t i = 0; i < map->entries_used; i++) {
        if (map->entries[i].value)
            entries[used++] = map->entries[i];
    }
    ASSERT(used == map->count && used < cap);
    free(map->slots);
    free(map->entries);
    map->slots = slots;
    map->entries = entries;
    map->slot_mask = cap * 2 - 1;
    map->entries_cap = cap;
    map->entries_used = used;
    for (uint32_t i = 0; i < used; i++)
        map_link(map, i);
    return true;
}

void *map_get(const struct map *map, struct slice key)
{
    ASSERT(map);
    struct map_slot *slot = map_find(map, key, hash_bytes(key, map->seed));
    return slot ? map->entries[slot->entry - 1].value : NULL;
}

/* All that can fail comes before the entry is written: on false the map is as it was. */
bool map_put(struct map *map, struct slice key, void *value)
{
    ASSERT(value);
    uint64_t hash = hash_bytes(key, map->seed);
    struct map_slot *slot = map_find(map, key, hash);
    if (slot) {
        map->entries[slot->entry - 1].value = value;
        return true;
    }
    if (map->count >= map->limit)
        return false;
    if (map->entries_used == map->entries_cap && !map_rebuild(map))
        return false;
    uint8_t *copy = malloc(key.len ? key.len : 1);
    if (!copy)
        return false;
    if (key.len > 0)
        memcpy(copy, key.data, key.len);
    ASSERT(map->entries_used < map->entries_cap);
    map->entries[map->entries_used] = (struct map_entry){copy, key.len, value, hash};
    map_link(map, map->entries_used++);
    map->count++;
    return true;
}

/*
 * Slots of removed entries stay marked until the next rebuild: emptying them would cut the probe
 * sequences of others.
 */
void *map_remove(struct map *map, struct slice key)
{
    struct map_slot *slot = map_find(map, key, hash_bytes(key, map->seed));
    if (!slot)
        return NULL;
    struct map_entry *entry = &map->entries[slot->entry - 1];
    void *value = entry->value;
    ASSERT(value && map->count > 0);
    free(entry->key);
    *entry = (struct map_entry){0};
    slot->entry = SLOT_DEAD;
    map->count--;
    return value;
}

size_t map_count(const struct map *map)
{
    ASSERT(map->count <= map->limit);
    return map->count;
}

bool map_next(const struct map *map, size_t *cursor, struct slice *ret_key, void **ret_value)
{
    ASSERT(cursor);
    for (size_t i = *cursor; i < map->entries_used; i++) {
        const struct map_entry *entry = &map->entries[i];
        if (!entry->value)
            continue;
        *cursor = i + 1;
        if (ret_key)
            *ret_key = slice_make(entry->key, entry->key_len);
        if (ret_value)
            *ret_value = entry->value;
        return true;
    }
    *cursor = map->entries_used;
    return false;
}
