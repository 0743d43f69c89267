/*
 * Role: the partition-key hash.
 *
 *     key  [12 bytes][12 bytes]...[1 to 12 bytes, padded with zeros]
 *            mix       mix          final mix
 *
 * Three words of state take twelve key bytes at a time, little-endian. An empty key gets no mix at
 * all, not even the final one.
 *
 * Invariants
 * (1) The result depends on the key's bytes only.
 * (2) The test vectors in the unit test are those of the SDKs' own partition resolver tests.
 *
 * Ownership and shard: pure functions; any thread. Failure modes: none.
 */
#include "event/event_hash.h"

#include <string.h>

#include "base/assert.h"

enum { EVENT_LOGICAL_PARTITIONS = 32767 };

static uint32_t rotate(uint32_t x, unsigned k)
{
    ASSERT(k > 0 && k < 32);
    return x << k | x >> (32 - k);
}

static uint32_t load_le(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

struct hash_state {
    uint32_t a, b, c;
};

static void state_add(struct hash_state *s, const uint8_t block[12])
{
    s->a += load_le(block);
    s->b += load_le(block + 4);
    s->c += load_le(block + 8);
}

static void state_mix(struct hash_state *s)
{
    uint32_t a = s->a, b = s->b, c = s->c;
    a = (a - c) ^ rotate(c, 4);
    c += b;
    b = (b - a) ^ rotate(a, 6);
    a += c;
    c = (c - b) ^ rotate(b, 8);
    b += a;
    a = (a - c) ^ rotate(c, 16);
    c += b;
    b = (b - a) ^ rotate(a, 19);
    a += c;
    c = (c - b) ^ rotate(b, 4);
    b += a;
    *s = (struct hash_state){a, b, c};
}

static void state_finish(struct hash_state *s)
{
    uint32_t a = s->a, b = s->b, c = s->c;
    c = (c ^ b) - rotate(b, 14);
    a = (a ^ c) - rotate(c, 11);
    b = (b ^ a) - rotate(a, 25);
    c = (c ^ b) - rotate(b, 16);
    a = (a ^ c) - rotate(c, 4);
    b = (b ^ a) - rotate(a, 14);
    c = (c ^ b) - rotate(b, 24);
    *s = (struct hash_state){a, b, c};
}

/* The start depends on the length, so that keys that differ in trailing zeros alone differ here too. */
void event_hash_words(struct slice key, uint32_t *ret_c, uint32_t *ret_b)
{
    ASSERT(ret_c && ret_b);
    uint32_t start = 0xdeadbeefu + (uint32_t)key.len;
    struct hash_state state = {start, start, start};
    while (key.len > 12) {
        state_add(&state, key.data);
        state_mix(&state);
        key.data += 12;
        key.len -= 12;
    }
    if (key.len > 0) {
        uint8_t tail[12] = {0};
        memcpy(tail, key.data, key.len);
        state_add(&state, tail);
        state_finish(&state);
    }
    *ret_c = state.c;
    *ret_b = state.b;
}

int16_t event_hash_fold(struct slice key)
{
    uint32_t c, b;
    event_hash_words(key, &c, &b);
    return (int16_t)(uint16_t)(c ^ b);
}

int32_t event_partition_sdk(struct slice key, int32_t count)
{
    ASSERT(count > 0);
    /* The SDKs take the absolute value of the remainder, not of the hash: -32768 has none. */
    int32_t rest = event_hash_fold(key) % count;
    return rest < 0 ? -rest : rest;
}

/*
 * The service's way: 32,767 logical partitions in equal ranges, the first ones one wider. Keys are
 * folded to upper case first, as the service does with them.
 */
int32_t event_partition_ranges(struct slice key, int32_t count)
{
    ASSERT(count > 0 && count <= EVENT_LOGICAL_PARTITIONS);
    uint8_t upper[256];
    size_t len = key.len < sizeof(upper) ? key.len : sizeof(upper);
    for (size_t i = 0; i < len; i++)
        upper[i] =
            key.data[i] >= 'a' && key.data[i] <= 'z' ? (uint8_t)(key.data[i] - 32) : key.data[i];
    uint32_t c, b;
    event_hash_words(slice_make(upper, len), &c, &b);
    int32_t logical = (int32_t)((c ^ b) % EVENT_LOGICAL_PARTITIONS);
    ASSERT(logical >= 0 && logical < EVENT_LOGICAL_PARTITIONS);
    int32_t width = EVENT_LOGICAL_PARTITIONS / count;
    int32_t wider = EVENT_LOGICAL_PARTITIONS % count; /* the first ranges hold one more */
    if (logical < wider * (width + 1))
        return logical / (width + 1);
    return wider + (logical - wider * (width + 1)) / width;
}
