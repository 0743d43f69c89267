/*
 * 128-bit identifiers and their text.
 *
 * Format: 22 characters of URL-safe base64 without padding, as Kafka prints topic and cluster ids;
 * the last character carries four spare bits that must be zero.
 *
 * Invariants: (1) uuid_read_text(uuid_write_text(id)) == id; (2) a made id is never zero nor
 * Kafka's reserved metadata id (zero and one), and its text never starts with '-', which tools take
 * for an option.
 *
 * Ownership: pure functions, any shard. Failures: none but malformed text.
 */
#include "meta/uuid.h"

#include <stdio.h>

#include "base/assert.h"

static const char uuid_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

struct uuid uuid_make(struct random *random)
{
    struct uuid id;
    ASSERT(random != NULL);
    do {
        random_fill(random, id.bytes, sizeof(id.bytes));
        id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x40);
        id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3f) | 0x80);
    } while (id.bytes[0] >> 2 == 62);
    ASSERT(!uuid_is_zero(id));
    return id;
}

void uuid_write_text(struct uuid id, char out[UUID_TEXT_LEN + 1])
{
    uint32_t bits = 0;
    int have = 0;
    int len = 0;
    for (int i = 0; i < 16; i++) {
        bits = (bits << 8) | id.bytes[i];
        have += 8;
        while (have >= 6) {
            have -= 6;
            out[len++] = uuid_alphabet[(bits >> have) & 63];
        }
    }
    out[len++] = uuid_alphabet[(bits << (6 - have)) & 63];
    ASSERT(len == UUID_TEXT_LEN);
    out[len] = 0;
}

static int uuid_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool uuid_read_text(struct slice text, struct uuid *ret_id)
{
    uint32_t bits = 0;
    int have = 0;
    int len = 0;
    if (text.len != UUID_TEXT_LEN)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        int digit = uuid_digit(text.data[i]);
        if (digit < 0)
            return false;
        bits = (bits << 6) | (uint32_t)digit;
        have += 6;
        if (have >= 8) {
            have -= 8;
            ret_id->bytes[len++] = (uint8_t)(bits >> have);
        }
    }
    ASSERT(len == 16 && have == 4);
    return (bits & 15) == 0;
}

void uuid_write_hex(struct uuid id, char out[UUID_HEX_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    int len = 0;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[len++] = '-';
        out[len++] = digits[id.bytes[i] >> 4];
        out[len++] = digits[id.bytes[i] & 15];
    }
    ASSERT(len == UUID_HEX_LEN);
    out[len] = 0;
}
