/*
 * Role: CRC-32C: a portable slice-by-8 kernel, and one for SSE4.2 that runs three streams at once.
 *
 * The crc32 instruction has a latency of three cycles and a throughput of one, so three blocks that
 * lie side by side are summed at once and joined:
 *
 *     A B C        sum(AB) = shift(sum(A), len(B)) ^ sum(B), and the same again for C
 *
 * where shift advances a sum over zero bytes. For the two block lengths used, shift is four table
 * lookups.
 *
 * Invariants
 * (1) Tables and the chosen kernel are written before main and constant after.
 * (2) Sums are kept inverted inside the kernels and plain at the interface.
 * (3) All kernels agree on all inputs (tested, and against ISA-L).
 *
 * Ownership and shard: any thread. Failure modes: none.
 */
#include "base/crc32c.h"

#include <stdbool.h>
#include <string.h>

#include "base/assert.h"

#define CRC32C_POLY 0x82f63b78u /* Castagnoli's, bits reversed */

enum {
    BLOCK_LONG = 4096, /* bytes per stream; both multiples of 8 */
    BLOCK_SHORT = 256,
    STREAMS_MIN = 1024 /* below this one stream is faster */
};

/* byte_table[k][b]: the sum of byte b followed by k zero bytes. */
static uint32_t byte_table[8][256];

static void byte_table_fill(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t crc = b;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (crc & 1 ? CRC32C_POLY : 0);
        byte_table[0][b] = crc;
    }
    for (int k = 1; k < 8; k++) {
        for (int b = 0; b < 256; b++) {
            uint32_t before = byte_table[k - 1][b];
            byte_table[k][b] = (before >> 8) ^ byte_table[0][before & 0xff];
        }
    }
}

static uint64_t load_le64(const uint8_t *data)
{
    uint64_t word;
    memcpy(&word, data, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len)
{
    ASSERT(data || len == 0);
    const uint8_t *p = data;
    crc = ~crc;
    while (len >= 8) {
        uint64_t word = load_le64(p) ^ crc;
        crc = byte_table[7][word & 0xff] ^ byte_table[6][(word >> 8) & 0xff] ^
              byte_table[5][(word >> 16) & 0xff] ^ byte_table[4][(word >> 24) & 0xff] ^
              byte_table[3][(word >> 32) & 0xff] ^ byte_table[2][(word >> 40) & 0xff] ^
              byte_table[1][(word >> 48) & 0xff] ^ byte_table[0][word >> 56];
        p += 8;
        len -= 8;
    }
    while (len-- > 0)
        crc = (crc >> 8) ^ byte_table[0][(crc ^ *p++) & 0xff];
    return ~crc;
}

#if defined(__x86_64__)

#include <nmmintrin.h>

/* shift_table[k][b]: byte k of a sum, value b, advanced over a block of zeros. */
static uint32_t shift_long[4][256];
static uint32_t shift_short[4][256];

static void shift_table_fill(uint32_t table[4][256], size_t zeros)
{
    uint32_t basis[32];
    for (int bit = 0; bit < 32; bit++) {
        uint32_t crc = 1u << bit;
        for (size_t i = 0; i < zeros; i++)
            crc = (crc >> 8) ^ byte_table[0][crc & 0xff];
        basis[bit] = crc;
    }
    for (int k = 0; k < 4; k++) {
        table[k][0] = 0;
        for (uint32_t b = 1; b < 256;
             b++) /* linear: lowest bit's image on top of that of the others */
            table[k][b] = table[k][b & (b - 1)] ^ basis[8 * k + __builtin_ctz(b)];
    }
}

static uint32_t shift_apply(uint32_t table[4][256], uint32_t crc)
{
    return table[0][crc & 0xff] ^ table[1][(crc >> 8) & 0xff] ^ table[2][(crc >> 16) & 0xff] ^
           table[3][crc >> 24];
}

/* Sums three neighbouring blocks of `block` bytes each. */
__attribute__((target("sse4.2"))) static uint32_t
three_streams(uint32_t crc, const uint8_t *p, size_t block, uint32_t table[4][256])
{
    ASSERT(block % 8 == 0);
    uint64_t a = crc;
    uint64_t b = 0;
    uint64_t c = 0;
    for (size_t i = 0; i < block; i += 8) {
        a = _mm_crc32_u64(a, load_le64(p + i));
        b = _mm_crc32_u64(b, load_le64(p + block + i));
        c = _mm_crc32_u64(c, load_le64(p + 2 * block + i));
    }
    crc = shift_apply(table, (uint32_t)a) ^ (uint32_t)b;
    return shift_apply(table, crc) ^ (uint32_t)c;
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const void *data,
                                                               size_t len)
{
    ASSERT(data || len == 0);
    const uint8_t *p = data;
    crc = ~crc;
    if (len >= STREAMS_MIN) {
        for (; len >= 3 * BLOCK_LONG; p += 3 * BLOCK_LONG, len -= 3 * BLOCK_LONG)
            crc = three_streams(crc, p, BLOCK_LONG, shift_long);
        for (; len >= 3 * BLOCK_SHORT; p += 3 * BLOCK_SHORT, len -= 3 * BLOCK_SHORT)
            crc = three_streams(crc, p, BLOCK_SHORT, shift_short);
    }
    uint64_t wide = crc;
    for (; len >= 8; p += 8, len -= 8)
        wide = _mm_crc32_u64(wide, load_le64(p));
    crc = (uint32_t)wide;
    while (len-- > 0)
        crc = _mm_crc32_u8(crc, *p++);
    return ~crc;
}

#endif

static uint32_t (*crc32c_kernel)(uint32_t crc, const void *data, size_t len) = crc32c_portable;

/* A constructor, so that no caller pays for asking which kernel it is. */
__attribute__((constructor)) static void crc32c_choose(void)
{
    byte_table_fill();
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("sse4.2")) {
        shift_table_fill(shift_long, BLOCK_LONG);
        shift_table_fill(shift_short, BLOCK_SHORT);
        crc32c_kernel = crc32c_sse42;
    }
#endif
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    ASSERT(data || len == 0);
    return crc32c_kernel(crc, data, len);
}
