/*
 * Idempotent producers: what each producer id last wrote to this partition.
 *
 * Role: tells a repeated batch from a new one and refuses gaps, for the last five batches of each
 * producer. Saved in Kafka's snapshot form:
 *
 *   <offset>.snapshot: | int16 version 1 | uint32 CRC-32C of the rest | int32 count | entries |
 *   entry: | int64 id | int16 epoch | int32 last sequence | int64 last offset | int32 offset delta
 * | int64 timestamp | | int32 coordinator epoch (-1) | int64 first offset of the open transaction
 * (-1) | A producer has one entry per remembered batch, oldest first; Kafka's own reader keeps the
 * last of them.
 *
 * Invariants: (1) a producer has 0 to 5 batches in order of append, newest last; (2) same epoch for
 * all of them.
 *
 * Ownership: owner shard; recovery fills it on a worker before the log is shared.
 *
 * Failure modes: without memory, or with PRODUCERS_MAX ids, old producers go first; a batch
 * of a forgotten producer is accepted with any sequence. A damaged snapshot is an error that
 * recovery answers by walking batches.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "seglog/bytes_int.h"
#include "seglog/seglog_int.h"

enum { SNAPSHOT_HEAD = 10, SNAPSHOT_ENTRY = 46, FORGET_LOOK = 64 };

bool producers_init(struct producers *producers)
{
    producers->limit = PRODUCERS_MAX;
    producers->hand = 0;
    producers->map = map_create(PRODUCERS_MAX);
    return producers->map != NULL;
}

void producers_clear(struct producers *producers)
{
    size_t cursor = 0;
    struct slice key;
    void *value;
    while (map_next(producers->map, &cursor, &key, &value)) {
        map_remove(producers->map, key);
        free(value);
    }
    ASSERT(map_count(producers->map) == 0);
}

void producers_deinit(struct producers *producers)
{
    if (!producers->map)
        return;
    producers_clear(producers);
    map_destroy(producers->map);
    producers->map = NULL;
}

const struct producer *producers_get(const struct producers *producers, int64_t id)
{
    return map_get(producers->map, slice_make(&id, sizeof(id)));
}

static const struct producer_batch *producer_last(const struct producer *producer)
{
    ASSERT(producer->count > 0 && producer->count <= PRODUCER_BATCHES);
    return &producer->batches[producer->count - 1];
}

enum err producers_check(const struct producers *producers, const struct batch_header *header,
                         struct producer_batch *ret_duplicate, struct err_info *info)
{
    ret_duplicate->delta = -1;
    if (header->producer_id < 0 || (header->attributes & BATCH_ATTR_CONTROL))
        return ERR_OK;
    const struct producer *known = producers_get(producers, header->producer_id);
    if (!known)
        return ERR_OK;
    ASSERT(known->id == header->producer_id && known->count > 0);
    if (header->producer_epoch < known->epoch)
        return err_info_set(info, ERR_INVALID_PRODUCER_EPOCH,
                            "producer %" PRId64 " has epoch %d, the batch %d", known->id,
                            known->epoch, header->producer_epoch);
    int32_t last_sequence = batch_last_sequence(header);
    if (header->producer_epoch > known->epoch) {
        if (header->base_sequence == 0)
            return ERR_OK;
        return err_info_set(info, ERR_OUT_OF_ORDER_SEQUENCE,
                            "producer %" PRId64 " begins epoch %d with sequence %d", known->id,
                            header->producer_epoch, header->base_sequence);
    }
    for (uint32_t i = 0; i < known->count; i++) {
        const struct producer_batch *batch = &known->batches[i];
        if (batch->last_sequence == last_sequence && batch->delta == header->last_offset_delta) {
            *ret_duplicate = *batch;
            return ERR_OK;
        }
    }
    int32_t expected = (int32_t)(((uint32_t)producer_last(known)->last_sequence + 1) & 0x7fffffffU);
    if (header->base_sequence != expected)
        return err_info_set(info, ERR_OUT_OF_ORDER_SEQUENCE,
                            "producer %" PRId64 " sent sequence %d after %d", known->id,
                            header->base_sequence, producer_last(known)->last_sequence);
    return ERR_OK;
}

/* At the limit: forgets, of the next few, the producer that wrote longest ago. All of them would be a
 * million steps for every append of a new one. */
static void producers_forget_one(struct producers *producers)
{
    struct slice key;
    void *value;
    struct producer *oldest = NULL;
    ASSERT(map_count(producers->map) > 0);
    for (uint32_t i = 0; i < FORGET_LOOK; i++) {
        if (!map_next(producers->map, &producers->hand, &key, &value)) {
            producers->hand = 0;
            if (!map_next(producers->map, &producers->hand, &key, &value))
                break;
        }
        struct producer *producer = value;
        if (!oldest || record_offset_before(producer_last(producer)->last_offset,
                                            producer_last(oldest)->last_offset))
            oldest = producer;
    }
    ASSERT(oldest);
    map_remove(producers->map, slice_make(&oldest->id, sizeof(oldest->id)));
    free(oldest);
}

static struct producer *producers_make(struct producers *producers, int64_t id)
{
    struct producer *producer = map_get(producers->map, slice_make(&id, sizeof(id)));
    if (producer)
        return producer;
    if (map_count(producers->map) >= producers->limit)
        producers_forget_one(producers);
    producer = calloc(1, sizeof(*producer));
    if (!producer)
        return NULL;
    producer->id = id;
    ASSERT(id >= 0);
    if (!map_put(producers->map, slice_make(&id, sizeof(id)), producer)) {
        free(producer);
        return NULL;
    }
    return producer;
}

static void producer_push(struct producer *producer, int16_t epoch,
                          const struct producer_batch *batch)
{
    if (producer->epoch != epoch) {
        producer->epoch = epoch;
        producer->count = 0;
    }
    if (producer->count == PRODUCER_BATCHES) {
        memmove(producer->batches, producer->batches + 1,
                (PRODUCER_BATCHES - 1) * sizeof(producer->batches[0]));
        producer->count--;
    }
    ASSERT(producer->count < PRODUCER_BATCHES);
    producer->batches[producer->count++] = *batch;
}

bool producers_note(struct producers *producers, const struct batch_header *header,
                    int64_t timestamp_ms)
{
    if (header->producer_id < 0 || (header->attributes & BATCH_ATTR_CONTROL))
        return true;
    struct producer *producer = producers_make(producers, header->producer_id);
    if (!producer)
        return false;
    ASSERT(producer->id == header->producer_id);
    struct producer_batch batch = {.last_sequence = batch_last_sequence(header),
                                   .delta = header->last_offset_delta,
                                   .last_offset = batch_last_offset(header),
                                   .timestamp_ms = timestamp_ms};
    producer_push(producer, header->producer_epoch, &batch);
    return true;
}

void producers_restore(struct producers *producers, const struct producer *former)
{
    struct slice key = slice_make(&former->id, sizeof(former->id));
    ASSERT(former->id >= 0 && former->count <= PRODUCER_BATCHES); /* (1) */
    struct producer *producer = map_get(producers->map, key);
    if (!producer)
        return; /* forgotten since */
    if (former->count == 0) {
        map_remove(producers->map, key);
        free(producer);
        return;
    }
    *producer = *former;
}

void producers_expire(struct producers *producers, int64_t before_ms)
{
    size_t cursor = 0;
    struct slice key;
    void *value;
    while (map_next(producers->map, &cursor, &key, &value)) {
        struct producer *producer = value;
        if (producer_last(producer)->timestamp_ms < before_ms) {
            map_remove(producers->map, key);
            free(producer);
        }
    }
}

/* The producer's state as of `written`. */
static const struct producer *producer_as_of(const struct producer *producer,
                                             struct record_offset written,
                                             const struct producer_undo *undo, uint32_t undo_count)
{
    if (record_offset_before(producer_last(producer)->last_offset, written))
        return producer;
    for (uint32_t i = 0; i < undo_count; i++)
        if (undo[i].former.id == producer->id && !record_offset_before(undo[i].base, written))
            return &undo[i].former;
    return producer;
}

static uint32_t producer_encode(const struct producer *producer, struct bytebuf *out)
{
    ASSERT(producer->count <= PRODUCER_BATCHES);
    for (uint32_t i = 0; i < producer->count; i++) {
        const struct producer_batch *batch = &producer->batches[i];
        uint8_t *p = bytebuf_reserve(out, SNAPSHOT_ENTRY);
        if (!p)
            return 0;
        be64_store(p, (uint64_t)producer->id);
        be16_store(p + 8, (uint16_t)producer->epoch);
        be32_store(p + 10, (uint32_t)batch->last_sequence);
        be64_store(p + 14, (uint64_t)batch->last_offset.value);
        be32_store(p + 22, (uint32_t)batch->delta);
        be64_store(p + 26, (uint64_t)batch->timestamp_ms);
        be32_store(p + 34, (uint32_t)-1);
        be64_store(p + 38, (uint64_t)-1);
        out->len += SNAPSHOT_ENTRY;
    }
    return producer->count;
}

void producers_encode(const struct producers *producers, struct record_offset written,
                      const struct producer_undo *undo, uint32_t undo_count, struct bytebuf *out)
{
    size_t start = out->len;
    ASSERT(undo_count == 0 || undo);
    uint8_t *p = bytebuf_reserve(out, SNAPSHOT_HEAD);
    if (!p)
        return;
    be16_store(p, 1);
    out->len += SNAPSHOT_HEAD;
    uint32_t count = 0;
    size_t cursor = 0;
    struct slice key;
    void *value;
    while (map_next(producers->map, &cursor, &key, &value))
        count += producer_encode(producer_as_of(value, written, undo, undo_count), out);
    if (out->failed)
        return;
    ASSERT(out->len - start == SNAPSHOT_HEAD + (size_t)count * SNAPSHOT_ENTRY);
    be32_store(out->data + start + 6, count);
    be32_store(out->data + start + 2, crc32c(0, out->data + start + 6, out->len - start - 6));
}

enum err producers_decode(struct producers *producers, struct slice bytes, struct err_info *info)
{
    ASSERT(producers->map);
    if (bytes.len < SNAPSHOT_HEAD || be16_load(bytes.data) != 1)
        return err_info_set(info, ERR_CORRUPT, "producer snapshot of an unknown version");
    if (be32_load(bytes.data + 2) != crc32c(0, bytes.data + 6, bytes.len - 6))
        return err_info_set(info, ERR_CORRUPT, "producer snapshot fails its checksum");
    uint64_t count = be32_load(bytes.data + 6);
    if (bytes.len - SNAPSHOT_HEAD != count * SNAPSHOT_ENTRY)
        return err_info_set(info, ERR_CORRUPT, "producer snapshot of a wrong size");
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *p = bytes.data + SNAPSHOT_HEAD + i * SNAPSHOT_ENTRY;
        int64_t id = (int64_t)be64_load(p);
        struct producer_batch batch = {.last_sequence = (int32_t)be32_load(p + 10),
                                       .delta = (int32_t)be32_load(p + 22),
                                       .last_offset = record_offset((int64_t)be64_load(p + 14)),
                                       .timestamp_ms = (int64_t)be64_load(p + 26)};
        if (id < 0 || batch.delta < 0 || batch.last_sequence < 0)
            continue;
        struct producer *producer = producers_make(producers, id);
        if (!producer)
            return err_info_set(info, ERR_NO_MEMORY, "producer state");
        producer_push(producer, (int16_t)be16_load(p + 8), &batch);
    }
    return ERR_OK;
}
