/*
 * The tail: recent batches in memory.
 *
 * Role: what was appended lately is served to readers without touching the disk, and is what a
 * commit round writes and a journal frame repeats. One tail per log, one budget per shard, oldest
 * batch of the shard goes first.
 *
 *   entries (ring):  | written, may go ...  | in the round | pending |
 *                    first                  keep                      first + count
 *   shard fifo:      | log A | log B | log A | ...  owner of each entry, in order of append
 *
 * A large batch stays where the socket put it, pinned by a reference. A small one is copied into
 * the log's current block: it would pin a network buffer many times its size, and batches lying one
 * behind another read and write as one range.
 *
 * Invariants: (1) entries of a log are consecutive in offsets, end of one <= base of the next; (2)
 * entries ending above `keep` are never evicted; (3) the shard fifo holds each log as often as its
 * tail holds entries, in the same order; (4) tail_bytes is the sum of the entries' charges plus the
 * capacity of open blocks.
 *
 * Ownership: owner shard. A round reads the bytes through slices that `keep` protects.
 *
 * Failure modes: without memory an append is refused with ERR_NO_MEMORY before anything changed.
 */
#include <stdlib.h>

#include "seglog/commit_int.h"

enum {
    TAIL_COPY_MAX = 32 * 1024, /* batches up to here are copied into blocks */
    TAIL_BLOCK_FIRST = 4 * 1024,
    TAIL_BLOCK_MAX = 64 * 1024,
    TAIL_ENTRIES_FIRST = 16,
    TAIL_FIFO_FIRST = 256
};

static bool tail_reserve(struct tail *tail)
{
    if (tail->count < tail->cap)
        return true;
    uint32_t cap = tail->cap ? tail->cap * 2 : TAIL_ENTRIES_FIRST;
    struct tail_entry *grown = calloc(cap, sizeof(*grown));
    if (!grown)
        return false;
    for (uint32_t i = 0; i < tail->count; i++)
        grown[i] = *tail_at(tail, i);
    free(tail->entries);
    tail->entries = grown;
    tail->cap = cap;
    tail->first = 0;
    ASSERT(tail->count < tail->cap && (tail->cap & (tail->cap - 1)) == 0);
    return true;
}

static bool fifo_reserve(struct commit *commit)
{
    if (commit->fifo_count < commit->fifo_cap)
        return true;
    uint64_t cap = commit->fifo_cap ? commit->fifo_cap * 2 : TAIL_FIFO_FIRST;
    struct seglog **grown = calloc(cap, sizeof(struct seglog *));
    if (!grown)
        return false;
    for (uint64_t i = 0; i < commit->fifo_count; i++)
        grown[i] = commit->tail_fifo[(commit->fifo_first + i) & (commit->fifo_cap - 1)];
    free(commit->tail_fifo);
    commit->tail_fifo = grown;
    commit->fifo_cap = cap;
    commit->fifo_first = 0;
    ASSERT(commit->fifo_count < commit->fifo_cap);
    return true;
}

/* Closes the current block: its capacity is charged to the last entry that lies in it. */
static void tail_block_close(struct seglog *seglog)
{
    struct tail *tail = &seglog->tail;
    if (!tail->block)
        return;
    uint32_t cap = (uint32_t)iobuf_cap(tail->block);
    struct tail_entry *last = tail->count ? tail_at(tail, tail->count - 1) : NULL;
    if (last && last->buf == tail->block)
        last->charge = cap;
    else
        seglog->commit->tail_bytes -= cap;
    iobuf_unref(tail->block);
    tail->block = NULL;
    tail->block_used = 0;
}

/* Copies a small batch into the log's block. NULL: out of memory. */
static uint8_t *tail_copy(struct seglog *seglog, struct slice bytes)
{
    struct tail *tail = &seglog->tail;
    if (!tail->block || iobuf_cap(tail->block) - tail->block_used < bytes.len) {
        uint32_t cap = tail->block_next ? tail->block_next : TAIL_BLOCK_FIRST;
        while (cap < bytes.len)
            cap *= 2;
        struct iobuf *block = iobuf_create(cap);
        if (!block)
            return NULL;
        tail_block_close(seglog);
        tail->block = block;
        tail->block_next = cap < TAIL_BLOCK_MAX ? cap * 2 : TAIL_BLOCK_MAX;
        seglog->commit->tail_bytes += iobuf_cap(block);
    }
    uint8_t *at = iobuf_data(tail->block) + tail->block_used;
    ASSERT(tail->block_used + bytes.len <= iobuf_cap(tail->block));
    memcpy(at, bytes.data, bytes.len);
    tail->block_used += (uint32_t)bytes.len;
    return at;
}

struct tail_entry *tail_push(struct seglog *seglog, struct iobuf_range *range,
                             const struct batch_header *header)
{
    struct tail *tail = &seglog->tail;
    struct commit *commit = seglog->commit;
    if (!tail_reserve(tail) || !fifo_reserve(commit))
        return NULL;
    struct tail_entry entry = {.base = header->base_offset,
                               .end = batch_end_offset(header),
                               .size = header->size,
                               .max_ms = header->max_timestamp_ms};
    if (range->bytes.len <= TAIL_COPY_MAX || !range->buf) {
        entry.data = tail_copy(seglog, range->bytes);
        if (!entry.data)
            return NULL;
        entry.buf = iobuf_ref(tail->block);
        iobuf_unref(range->buf);
    } else {
        tail_block_close(seglog);
        entry.data = range->bytes.data;
        entry.buf = range->buf;
        entry.charge = entry.size;
        commit->tail_bytes += entry.charge;
    }
    *range = (struct iobuf_range){NULL, SLICE_NULL};
    ASSERT(tail->count == 0 ||
           !record_offset_before(entry.base, tail_at(tail, tail->count - 1)->end));
    tail->count++;
    *tail_at(tail, tail->count - 1) = entry;
    commit->tail_fifo[(commit->fifo_first + commit->fifo_count) & (commit->fifo_cap - 1)] = seglog;
    commit->fifo_count++;
    return tail_at(tail, tail->count - 1);
}

static void tail_drop_first(struct seglog *seglog)
{
    struct tail *tail = &seglog->tail;
    ASSERT(tail->count > 0);
    struct tail_entry *entry = tail_at(tail, 0);
    if (entry->buf == tail->block && tail->count == 1) {
        tail_block_close(seglog); /* charges this very entry */
        tail->block_next = TAIL_BLOCK_FIRST;
    }
    ASSERT(seglog->commit->tail_bytes >= entry->charge);
    seglog->commit->tail_bytes -= entry->charge;
    iobuf_unref(entry->buf);
    *entry = (struct tail_entry){.buf = NULL};
    tail->first = (tail->first + 1) & (tail->cap - 1);
    tail->count--;
    if (tail->count == 0 && tail->cap > TAIL_ENTRIES_FIRST) {
        free(tail->entries);
        tail->entries = NULL;
        tail->cap = tail->first = 0;
    }
}

void tail_evict(struct commit *commit)
{
    while (commit->tail_bytes > commit->config.tail_bytes_max && commit->fifo_count > 0) {
        struct seglog *seglog = commit->tail_fifo[commit->fifo_first];
        if (seglog) {
            struct tail *tail = &seglog->tail;
            ASSERT(tail->count > 0);
            if (record_offset_before(tail->keep, tail_at(tail, 0)->end))
                return;
            tail_drop_first(seglog);
        }
        commit->fifo_first = (commit->fifo_first + 1) & (commit->fifo_cap - 1);
        commit->fifo_count--;
    }
}

/* Takes the newest `count` entries of this log out of the shard's fifo. */
static void fifo_forget(struct commit *commit, const struct seglog *seglog, uint32_t count)
{
    for (uint64_t i = commit->fifo_count; i > 0 && count > 0; i--) {
        struct seglog **slot =
            &commit->tail_fifo[(commit->fifo_first + i - 1) & (commit->fifo_cap - 1)];
        if (*slot == seglog) {
            *slot = NULL;
            count--;
        }
    }
    ASSERT(count == 0);
}

void tail_rewind(struct seglog *seglog, struct record_offset end)
{
    struct tail *tail = &seglog->tail;
    uint32_t dropped = 0;
    tail_block_close(seglog);
    while (tail->count > 0 && record_offset_before(end, tail_at(tail, tail->count - 1)->end)) {
        struct tail_entry *entry = tail_at(tail, tail->count - 1);
        /* A closed block's charge may sit on an entry that goes while older ones keep the block:
         * pass it on. */
        struct tail_entry *before = tail->count > 1 ? tail_at(tail, tail->count - 2) : NULL;
        if (before && before->buf == entry->buf && before->charge == 0)
            before->charge = entry->charge;
        else
            seglog->commit->tail_bytes -= entry->charge;
        iobuf_unref(entry->buf);
        *entry = (struct tail_entry){.buf = NULL};
        tail->count--;
        dropped++;
    }
    fifo_forget(seglog->commit, seglog, dropped);
}

void tail_clear(struct seglog *seglog)
{
    uint32_t count = seglog->tail.count;
    while (seglog->tail.count > 0)
        tail_drop_first(seglog);
    fifo_forget(seglog->commit, seglog, count);
    tail_block_close(seglog);
    free(seglog->tail.entries);
    seglog->tail.entries = NULL;
    seglog->tail.cap = seglog->tail.first = 0;
}

uint32_t tail_find(const struct tail *tail, struct record_offset offset)
{
    uint32_t low = 0;
    uint32_t high = tail->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (record_offset_before(offset, tail_at(tail, mid)->end))
            high = mid;
        else
            low = mid + 1;
    }
    ASSERT(low <= tail->count);
    return low;
}
