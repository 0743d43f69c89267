/*
 * xoshiro256** seeded through splitmix64, so that a seed of any quality fills all 256 bits.
 *
 * Invariant: the state is never all zero (splitmix64 gives at most one zero word per cycle). One
 * owner per generator; the same seed gives the same numbers on every machine.
 */
#include "base/random.h"

#include <string.h>

#include "base/assert.h"

static uint64_t splitmix_next(uint64_t *x)
{
    *x += 0x9e3779b97f4a7c15u;
    uint64_t z = *x;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void random_init(struct random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        random->state[i] = splitmix_next(&seed);
    ASSERT(random->state[0] | random->state[1] | random->state[2] | random->state[3]);
}

static uint64_t rotate_left(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

uint64_t random_u64(struct random *random)
{
    uint64_t *s = random->state;
    ASSERT(s[0] | s[1] | s[2] | s[3]); /* random_init was called: from all zero it never leaves */
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t random_below(struct random *random, uint64_t bound)
{
    ASSERT(bound > 0);
    /* The high half of a product is uniform once the few low halves that would favour small results
     * are thrown away. */
    uint64_t reject_below = (0 - bound) % bound;
    for (;;) {
        unsigned __int128 product = (unsigned __int128)random_u64(random) * bound;
        if ((uint64_t)product >= reject_below)
            return (uint64_t)(product >> 64);
    }
}

double random_unit(struct random *random)
{
    return (double)(random_u64(random) >> 11) * 0x1p-53;
}

bool random_one_in(struct random *random, uint32_t odds)
{
    return odds > 0 && random_below(random, odds) == 0;
}

void random_fill(struct random *random, void *data, uint32_t len)
{
    ASSERT(data || len == 0);
    uint8_t *to = data;
    while (len > 0) {
        uint64_t word = random_u64(random);
        uint32_t n = len < sizeof(word) ? len : (uint32_t)sizeof(word);
        memcpy(to, &word, n);
        to += n;
        len -= n;
    }
}
