/* 128-bit identifiers: topics, the cluster, members. Text form: Kafka's 22 characters of URL-safe
 * base64. */
#ifndef WEIR_META_UUID_H
#define WEIR_META_UUID_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/random.h"
#include "base/slice.h"

enum { UUID_TEXT_LEN = 22, UUID_HEX_LEN = 36 };

struct uuid {
    uint8_t bytes[16];
};

static inline bool uuid_equal(struct uuid a, struct uuid b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

static inline bool uuid_is_zero(struct uuid id)
{
    static const struct uuid zero;
    return uuid_equal(id, zero);
}

/* Version 4 from the given generator; never zero, never Kafka's reserved values, never starts with
 * '-' in text. */
struct uuid uuid_make(struct random *random);
/* 22 characters and a NUL. */
void uuid_write_text(struct uuid id, char out[UUID_TEXT_LEN + 1]);
/* false: not 22 characters of the alphabet, or spare bits set. */
bool uuid_read_text(struct slice text, struct uuid *ret_id);
/* 8-4-4-4-12 lower-case hex and a NUL. */
void uuid_write_hex(struct uuid id, char out[UUID_HEX_LEN + 1]);

#endif
