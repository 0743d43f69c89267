/*
 * CRC-64/NVME by eight tables (slicing): eight bytes per step, about two gigabytes a second.
 *
 * table[k][b] is the remainder of byte b followed by k zero bytes. The tables are made before main
 * runs, so that any thread may read them.
 */
#include "blobstore/crc64.h"

#include <string.h>

#include "base/assert.h"

static uint64_t table[8][256];

__attribute__((constructor)) static void crc64_tables(void)
{
    for (unsigned b = 0; b < 256; b++) {
        uint64_t crc = b;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x9A6C9329AC4BC9B5u : crc >> 1;
        table[0][b] = crc;
    }
    for (unsigned b = 0; b < 256; b++)
        for (int k = 1; k < 8; k++)
            table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 255];
}

uint64_t crc64(uint64_t crc, const void *data, size_t len)
{
    ASSERT(data || len == 0);
    const uint8_t *p = data;
    crc = ~crc;
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8); /* little-endian machines only, as the rest of the store */
        crc ^= word;
        crc = table[7][crc & 255] ^ table[6][crc >> 8 & 255] ^ table[5][crc >> 16 & 255] ^
              table[4][crc >> 24 & 255] ^ table[3][crc >> 32 & 255] ^ table[2][crc >> 40 & 255] ^
              table[1][crc >> 48 & 255] ^ table[0][crc >> 56];
    }
    for (; len > 0; len--, p++)
        crc = crc >> 8 ^ table[0][(crc ^ *p) & 255];
    return ~crc;
}
