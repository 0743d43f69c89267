/* CRC-64/NVME (reflected polynomial 0x9A6C9329AC4BC9B5, ones in and out): the checksum of blob
 * clients. */
#ifndef WEIR_BLOBSTORE_CRC64_H
#define WEIR_BLOBSTORE_CRC64_H

#include <stddef.h>
#include <stdint.h>

/* Extends crc (0 to start) over len bytes. Any thread. */
uint64_t crc64(uint64_t crc, const void *data, size_t len);

#endif
