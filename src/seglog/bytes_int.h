/*
 * Zig-zag varints of Kafka's records, on raw memory. Private to seglog.
 */
#ifndef WEIR_SEGLOG_BYTES_INT_H
#define WEIR_SEGLOG_BYTES_INT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/endian.h"
#include "base/slice.h"

/* Takes a zig-zag varint off the front; false: truncated or longer than its type allows. */
static inline bool varlong_take(struct slice *bytes, int64_t *ret_value)
{
    uint64_t raw = 0;
    for (unsigned shift = 0, i = 0; i < bytes->len && i < 10; i++, shift += 7) {
        uint8_t byte = bytes->data[i];
        if (i == 9 && byte > 1)
            return false;
        raw |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret_value = (int64_t)(raw >> 1) ^ -(int64_t)(raw & 1);
            bytes->data += i + 1;
            bytes->len -= i + 1;
            return true;
        }
    }
    return false;
}

static inline bool varint_take(struct slice *bytes, int32_t *ret_value)
{
    uint32_t raw = 0;
    for (unsigned shift = 0, i = 0; i < bytes->len && i < 5; i++, shift += 7) {
        uint8_t byte = bytes->data[i];
        if (i == 4 && byte > 15)
            return false;
        raw |= (uint32_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret_value = (int32_t)(raw >> 1) ^ -(int32_t)(raw & 1);
            bytes->data += i + 1;
            bytes->len -= i + 1;
            return true;
        }
    }
    return false;
}

/* Writes at most 10 bytes, returns how many. */
static inline size_t varlong_store(uint8_t *p, int64_t value)
{
    uint64_t raw = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    size_t n = 0;
    while (raw >= 0x80) {
        p[n++] = (uint8_t)(raw | 0x80);
        raw >>= 7;
    }
    p[n++] = (uint8_t)raw;
    return n;
}

static inline size_t varlong_size(int64_t value)
{
    uint64_t raw = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    size_t n = 1;
    while (raw >= 0x80) {
        raw >>= 7;
        n++;
    }
    return n;
}

#endif
