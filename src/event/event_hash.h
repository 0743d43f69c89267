/*
 * Partition of an event by its partition key: lookup3's two-word hash, folded as the Event Hubs
 * SDKs fold it.
 *
 * The same key gives the same partition in buffered producers of the SDKs, in this server and in
 * jobs.
 */
#ifndef WEIR_EVENT_EVENT_HASH_H
#define WEIR_EVENT_EVENT_HASH_H

#include <stdint.h>

#include "base/slice.h"

/* Both words of the hash with seeds 0. Any thread. */
void event_hash_words(struct slice key, uint32_t *ret_c, uint32_t *ret_b);
/* The SDKs' 16-bit fold: (int16_t)(c ^ b). */
int16_t event_hash_fold(struct slice key);
/* Partition in [0, count) as the SDKs compute it; count > 0. */
int32_t event_partition_sdk(struct slice key, int32_t count);
/*
 * Partition in [0, count) as the public service appears to compute it: the upper-cased key's hash
 * modulo 32767 names a logical partition, and those are cut into count ranges.
 */
int32_t event_partition_ranges(struct slice key, int32_t count);

#endif
