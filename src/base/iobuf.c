/*
 * Role: reference-counted blocks of bytes, shared between shards without a copy.
 *
 *     [count | cap | bytes ...]
 *
 * Invariants
 * (1) The count is at least 1 while anybody holds the block.
 * (2) Bytes are written only while one holder exists, or behind what was handed out, so that
 *     readers need no lock.
 * (3) The sum of all caps is iobuf_bytes_alive.
 *
 * Ownership and shard: any thread may hold, and drop the last reference.
 *
 * Failure modes: creation returns NULL when memory is exhausted.
 */
#include "base/iobuf.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"

struct iobuf {
    atomic_uint refs;
    size_t cap;
    _Alignas(16) uint8_t data[];
};

static atomic_size_t bytes_alive;

struct iobuf *iobuf_create(size_t cap)
{
    if (cap > SIZE_MAX / 2)
        return NULL;
    struct iobuf *buf = malloc(sizeof(*buf) + cap);
    if (!buf)
        return NULL;
    atomic_init(&buf->refs, 1);
    buf->cap = cap;
    atomic_fetch_add_explicit(&bytes_alive, cap, memory_order_relaxed);
    return buf;
}

struct iobuf *iobuf_ref(struct iobuf *buf)
{
    ASSERT(buf);
    unsigned before = atomic_fetch_add_explicit(&buf->refs, 1, memory_order_relaxed);
    ASSERT(before >= 1 && before < UINT32_MAX);
    return buf;
}

/*
 * Dropping is a release and the last drop an acquire: all reads of other holders happened before the
 * memory goes back.
 */
void iobuf_unref(struct iobuf *buf)
{
    if (!buf)
        return;
    unsigned before = atomic_fetch_sub_explicit(&buf->refs, 1, memory_order_acq_rel);
    ASSERT(before >= 1);
    if (before > 1)
        return;
    size_t alive = atomic_fetch_sub_explicit(&bytes_alive, buf->cap, memory_order_relaxed);
    ASSERT(alive >= buf->cap);
    free(buf);
}

uint8_t *iobuf_data(struct iobuf *buf)
{
    ASSERT(buf);
    return buf->data;
}

size_t iobuf_cap(const struct iobuf *buf)
{
    ASSERT(buf);
    return buf->cap;
}

size_t iobuf_bytes_alive(void)
{
    return atomic_load_explicit(&bytes_alive, memory_order_relaxed);
}
