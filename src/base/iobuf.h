/*
 * A reference-counted block of bytes that travels from a socket to the log and to readers without a
 * copy.
 *
 * The count is atomic, since a batch received on one shard is pinned by the shard that owns its
 * partition. The bytes are written by one holder before they are shared, then only read.
 */
#ifndef WEIR_BASE_IOBUF_H
#define WEIR_BASE_IOBUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct iobuf;

/* One reference, cap bytes, uninitialised. NULL: out of memory. */
struct iobuf *iobuf_create(size_t cap);
struct iobuf *iobuf_ref(struct iobuf *buf);
/* NULL is allowed. The last reference frees. */
void iobuf_unref(struct iobuf *buf);
uint8_t *iobuf_data(struct iobuf *buf);
size_t iobuf_cap(const struct iobuf *buf);
/* Bytes of all blocks alive in the process, for the memory budget and the metrics. Any thread. */
size_t iobuf_bytes_alive(void);

/* A pinned range: holder has one reference on buf (NULL buf: static bytes). */
struct iobuf_range {
    struct iobuf *buf;
    struct slice bytes;
};

#endif
