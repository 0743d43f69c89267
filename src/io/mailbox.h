/*
 * A bounded ring of message pointers from one shard to another: one writer, one reader, no lock.
 *
 *     slots   [ . . m m m m . . ]      head: next to read, tail: next to write
 *                   ^       ^          both count for ever and wrap around at 2^32; a slot is
 *                  head    tail        index modulo SHARD_MAILBOX, full is tail - head == SHARD_MAILBOX
 *
 * Invariants
 * (1) tail - head is between 0 and SHARD_MAILBOX, also across the wrap of the counters.
 * (2) A slot is written before the tail that shows it is stored, and read before the head that
 *     frees it is stored: the two stores order everything, the message's content included.
 * (3) head_seen and tail_seen lag behind; they only ever make a side look once more.
 */
#ifndef WEIR_IO_MAILBOX_H
#define WEIR_IO_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "io/shard.h"

#define MAILBOX_LINE 64

/* Writer and reader fields lie in different cache lines; each side keeps a copy of the other's
 * index. */
struct mailbox {
    _Alignas(MAILBOX_LINE) _Atomic uint32_t tail; /* written by the writer */
    uint32_t head_seen;
    _Alignas(MAILBOX_LINE) _Atomic uint32_t head; /* written by the reader */
    uint32_t tail_seen;
    _Alignas(MAILBOX_LINE) struct shard_msg *slots[SHARD_MAILBOX];
};

_Static_assert((SHARD_MAILBOX & (SHARD_MAILBOX - 1)) == 0, "a power of two");

/* Writer. False: full. */
static inline bool mailbox_push(struct mailbox *box, struct shard_msg *msg)
{
    uint32_t tail = atomic_load_explicit(&box->tail, memory_order_relaxed);
    ASSERT(msg && tail - box->head_seen <= SHARD_MAILBOX);
    if (tail - box->head_seen == SHARD_MAILBOX) {
        box->head_seen = atomic_load_explicit(&box->head, memory_order_acquire);
        if (tail - box->head_seen == SHARD_MAILBOX)
            return false;
    }
    box->slots[tail & (SHARD_MAILBOX - 1)] = msg;
    /* Sequentially consistent: the writer then looks whether the reader sleeps, and the reader,
     * having said so, looks here. */
    atomic_store(&box->tail, tail + 1);
    return true;
}

/* Reader. NULL: empty. */
static inline struct shard_msg *mailbox_pop(struct mailbox *box)
{
    uint32_t head = atomic_load_explicit(&box->head, memory_order_relaxed);
    if (head == box->tail_seen) {
        box->tail_seen = atomic_load_explicit(&box->tail, memory_order_acquire);
        if (head == box->tail_seen)
            return NULL;
    }
    ASSERT(box->tail_seen - head <= SHARD_MAILBOX);
    struct shard_msg *msg = box->slots[head & (SHARD_MAILBOX - 1)];
    atomic_store_explicit(&box->head, head + 1, memory_order_release);
    return msg;
}

/* Reader. */
static inline bool mailbox_empty(const struct mailbox *box)
{
    return atomic_load_explicit(&box->head, memory_order_relaxed) == atomic_load(&box->tail);
}

#endif
