/*
 * Fetch: reading the parts of one owner, and cutting the whole to its limits.
 *
 * Invariants:
 *  (1) Ranges hold whole batches; a cut falls between two batches.
 *  (2) Only the first batch of the first part that has data may pass a limit.
 *  (3) Small ranges of one part are joined into one block, so that a reader of many single-record
 *      batches does not get thousands of pieces.
 *
 * Ownership: as in fetch.c; ranges are pinned by references that the part owns.
 *
 * Failures: a failed read sets the part's error; what was read before it stays.
 */
#include <stdlib.h>

#include "broker/fetch_int.h"

enum {
    FETCH_JOIN_BELOW = 4096,     /* ranges smaller than this are copied together */
    FETCH_JOIN_BLOCK = 64 * 1024 /* into blocks of this size */
};

/* ---- collecting ---- */

static bool fetch_part_push(struct broker_fetch_part *part, struct iobuf_range range)
{
    if (part->range_count == part->range_cap) {
        uint32_t cap = part->range_cap ? part->range_cap * 2 : 4;
        struct iobuf_range *grown = realloc(part->ranges, sizeof(*grown) * cap);
        if (!grown)
            return false;
        part->ranges = grown;
        part->range_cap = cap;
    }
    part->ranges[part->range_count++] = range;
    return true;
}

/* Joins small ranges (3): returns how many of the ranges it took, having put one in their place. */
static uint32_t fetch_join(struct iobuf_range *ranges, uint32_t count, struct iobuf_range *ret)
{
    uint32_t taken = 0;
    size_t total = 0;
    while (taken < count && ranges[taken].bytes.len < FETCH_JOIN_BELOW &&
           total + ranges[taken].bytes.len <= FETCH_JOIN_BLOCK)
        total += ranges[taken++].bytes.len;
    if (taken < 2)
        return 0;
    struct iobuf *block = iobuf_create(total);
    if (!block)
        return 0;
    size_t at = 0;
    for (uint32_t i = 0; i < taken; i++) {
        memcpy(iobuf_data(block) + at, ranges[i].bytes.data, ranges[i].bytes.len);
        at += ranges[i].bytes.len;
        iobuf_unref(ranges[i].buf);
    }
    ASSERT(at == total);
    *ret = (struct iobuf_range){block, slice_make(iobuf_data(block), total)};
    return taken;
}

void fetch_read_take(struct broker_fetch_sub *sub)
{
    struct seglog_read *read = sub->read;
    struct broker_fetch_part *part = &sub->op->parts[sub->at - 1];
    uint32_t i = 0;
    sub->more = false;
    if (read->err) {
        if (part->range_count == 0)
            part->err = read->err;
        seglog_read_release(read);
        return;
    }
    while (i < read->range_count) {
        struct iobuf_range range = read->ranges[i];
        uint32_t joined = fetch_join(&read->ranges[i], read->range_count - i, &range);
        size_t len = range.bytes.len;
        i += joined ? joined : 1;
        if (!fetch_part_push(part, range)) {
            iobuf_unref(range.buf);
            for (; i < read->range_count; i++)
                iobuf_unref(read->ranges[i].buf);
            part->err = part->range_count ? ERR_OK : ERR_NO_MEMORY;
            break;
        }
        ASSERT(len <= UINT32_MAX - part->bytes);
        part->bytes += (uint32_t)len;
        sub->some = true;
    }
    sub->more = read->range_count > 0 && !read->cold;
    sub->budget = sub->budget > read->bytes ? sub->budget - (uint32_t)read->bytes : 0;
    read->range_count = 0;
}

/* Bytes that the current part may still take. */
static uint32_t fetch_part_room(const struct broker_fetch_sub *sub,
                                const struct broker_fetch_part *part)
{
    uint32_t room = part->max_bytes > part->bytes ? part->max_bytes - part->bytes : 0;
    return room < sub->budget ? room : sub->budget;
}

/* Sets the next read of the current part up in sub->read; false: the part is through. */
static bool fetch_read_prepare(struct broker_fetch_sub *sub, struct partition *p,
                               void (*on_cold)(struct seglog_read *))
{
    struct broker_fetch_part *part = &sub->op->parts[sub->at - 1];
    uint32_t room = fetch_part_room(sub, part);
    if (part->err || !p || !p->log || part->range_count >= FETCH_RANGES_MAX)
        return false;
    if (sub->visited && (!sub->more || room < BATCH_HEADER_SIZE))
        return false;
    if (room == 0 && sub->some)
        return false;
    int64_t from = sub->visited ? sub->read->next.value : part->offset;
    ASSERT(from >= 0);
    *sub->read = (struct seglog_read){.from = record_offset(from),
                                      .below = record_offset(INT64_MAX),
                                      .bytes_max = room,
                                      .first_whole = !sub->some,
                                      .on_done = on_cold,
                                      .ctx = sub};
    sub->visited = true;
    return true;
}

bool fetch_read_more(struct broker_fetch_sub *sub, void (*on_cold)(struct seglog_read *read))
{
    if (!sub->read)
        sub->read = malloc(sizeof(*sub->read));
    while (sub->at) {
        struct broker_fetch_part *part = &sub->op->parts[sub->at - 1];
        struct partition *p = partition_find(sub->owner, part->topic_id, part->partition);
        if (!sub->read && !part->err)
            part->err = ERR_NO_MEMORY;
        if (!fetch_read_prepare(sub, p, on_cold)) {
            sub->at = part->next;
            sub->visited = sub->more = false;
            continue;
        }
        if (!seglog_read(p->log, sub->read))
            return false;
        fetch_read_take(sub);
    }
    return true;
}

/* ---- cutting ---- */

/* Leading bytes of range that make whole batches and fit into limit. */
static size_t fetch_range_fit(struct slice bytes, size_t limit)
{
    size_t fit = 0;
    while (fit < bytes.len) {
        uint32_t size = batch_size_peek(slice_sub(bytes, fit, bytes.len));
        if (size == 0 || size > bytes.len - fit || fit + size > limit)
            break;
        fit += size;
    }
    ASSERT(fit <= bytes.len);
    return fit;
}

static void fetch_part_cut(struct broker_fetch_part *part, uint32_t limit)
{
    uint32_t kept = 0;
    uint32_t i = 0;
    for (; i < part->range_count; i++) {
        struct iobuf_range *range = &part->ranges[i];
        if (range->bytes.len <= limit - kept) {
            kept += (uint32_t)range->bytes.len;
            continue;
        }
        range->bytes.len = fetch_range_fit(range->bytes, limit - kept);
        kept += (uint32_t)range->bytes.len;
        if (range->bytes.len > 0)
            i++;
        break;
    }
    for (uint32_t j = i; j < part->range_count; j++)
        iobuf_unref(part->ranges[j].buf);
    ASSERT(kept <= limit);
    part->range_count = i;
    part->bytes = kept;
}

void fetch_cut(struct broker_fetch *op)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < op->part_count; i++) {
        struct broker_fetch_part *part = &op->parts[i];
        if (part->bytes == 0)
            continue;
        uint64_t left = op->max_bytes > total ? op->max_bytes - total : 0;
        uint64_t limit = part->max_bytes < left ? part->max_bytes : left;
        if (part->bytes > limit && total > 0) /* (2) */
            fetch_part_cut(part, (uint32_t)limit);
        total += part->bytes;
    }
    ASSERT(total <= UINT32_MAX);
}

void broker_fetch_release(struct broker_fetch *op)
{
    ASSERT(op->subs_open == 0);
    for (uint32_t i = 0; i < op->part_count; i++) {
        struct broker_fetch_part *part = &op->parts[i];
        for (uint32_t j = 0; j < part->range_count; j++)
            iobuf_unref(part->ranges[j].buf);
        free(part->ranges);
        part->ranges = NULL;
        part->range_count = part->range_cap = 0;
    }
}
