/*
 * CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), the checksum of Kafka's batch v2 and of
 * our journal. Kernel chosen once at start: SSE4.2 with three streams from 1 KiB up, else a
 * portable slice-by-8 table.
 */
#ifndef WEIR_BASE_CRC32C_H
#define WEIR_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Extends crc (0 to start) over len bytes. crc32c(crc32c(0, a), b) == crc32c(0, ab). Any thread. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/* The portable kernel, for tests and other processors. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len);

#endif
