/*
 * Seeded random numbers (xoshiro256**, state filled by splitmix64). Not for secrets: those come
 * from OpenSSL. Everything random in the core draws from the shard's generator, so that a seed
 * repeats a run.
 */
#ifndef WEIR_BASE_RANDOM_H
#define WEIR_BASE_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
    uint64_t state[4];
};

void random_init(struct random *random, uint64_t seed);
uint64_t random_u64(struct random *random);
/* Uniform in [0, bound); bound > 0. */
uint64_t random_below(struct random *random, uint64_t bound);
/* Uniform in [0, 1). */
double random_unit(struct random *random);
/* True once in `odds` draws on average; odds 0: never. */
bool random_one_in(struct random *random, uint32_t odds);
void random_fill(struct random *random, void *data, uint32_t len);

#endif
