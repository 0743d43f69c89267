/*
 * One segment: its names, its counts and its two sparse indexes.
 *
 * Role: a segment is a file of consecutive batches and the two indexes that lead into it, in
 * Kafka's own formats:
 *
 *   <base>.log        batches, one after another; behind the last one zeros may follow while the
 * segment is active <base>.index      | int32 last offset of a batch - base | int32 position of
 * that batch |             8 bytes each <base>.timeindex  | int64 greatest timestamp so far | int32
 * last offset of its batch - base |      12 bytes each
 *
 * An index entry is made for the first batch behind every index_interval bytes. New entries wait in
 * memory in the bytes of the file and are appended to it by a flush.
 *
 * Invariants: (1) base <= offset of every entry; (2) offsets and positions rise strictly in .index,
 * times and offsets rise strictly in .timeindex; (3) written <= bytes; (4) flushed is a multiple of
 * the entry size.
 *
 * Ownership: the counts and index parts belong to the owner shard; file, zeroed and zero_step to
 * the work item at hand.
 *
 * Failure modes: without memory an index entry is left out; a sparser index costs a longer scan and
 * nothing else.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "seglog/bytes_int.h"
#include "seglog/seglog_int.h"

enum { INDEX_PART_FIRST = 128, INDEX_PART_MAX = 16 * 1024 * 1024 };

struct segment *segment_create(struct record_offset base, int64_t now_ms)
{
    ASSERT(base.value >= 0);
    struct segment *segment = calloc(1, sizeof(*segment));
    if (!segment)
        return NULL;
    segment->base = base;
    segment->created_ms = now_ms;
    segment->first_ms = -1;
    segment->max_ms = -1;
    segment->indexed_ms = -1;
    segment->max_ms_last = record_offset(-1);
    segment->zero_step = ZERO_STEP_MIN;
    return segment;
}

void segment_destroy(struct segment *segment)
{
    if (!segment)
        return;
    ASSERT(!segment->file);
    free(segment->index.bytes);
    free(segment->time.bytes);
    free(segment);
}

bool segment_path(char ret_path[SEGLOG_PATH_MAX], const char *dir, struct record_offset base,
                  const char *suffix)
{
    ASSERT(base.value >= 0);
    int n = snprintf(ret_path, SEGLOG_PATH_MAX, "%s/%020" PRId64 "%s", dir, base.value, suffix);
    return n > 0 && n < SEGLOG_PATH_MAX;
}

int64_t segment_name_parse(const char *name, const char *suffix)
{
    uint64_t value = 0;
    for (int i = 0; i < 20; i++) {
        if (name[i] < '0' || name[i] > '9' || value > (uint64_t)INT64_MAX / 10)
            return -1;
        value = value * 10 + (uint64_t)(name[i] - '0');
    }
    if (value > (uint64_t)INT64_MAX || strcmp(name + 20, suffix) != 0)
        return -1;
    return (int64_t)value;
}

static uint8_t *index_part_reserve(struct index_part *part, uint32_t more)
{
    if (part->len + more > part->cap) {
        uint32_t cap = part->cap ? part->cap * 2 : INDEX_PART_FIRST;
        if (cap > INDEX_PART_MAX)
            return NULL;
        uint8_t *grown = realloc(part->bytes, cap);
        if (!grown)
            return NULL;
        part->bytes = grown;
        part->cap = cap;
    }
    ASSERT(part->len + more <= part->cap);
    return part->bytes + part->len;
}

static void segment_time_add(struct segment *segment)
{
    if (segment->max_ms <= segment->indexed_ms || segment->max_ms_last.value < 0)
        return;
    uint8_t *p = index_part_reserve(&segment->time, TIME_ENTRY_SIZE);
    if (!p)
        return;
    be64_store(p, (uint64_t)segment->max_ms);
    be32_store(p + 8, (uint32_t)(segment->max_ms_last.value - segment->base.value));
    segment->time.len += TIME_ENTRY_SIZE;
    segment->indexed_ms = segment->max_ms;
}

void segment_note(struct segment *segment, const struct batch_header *header, uint32_t interval)
{
    ASSERT(!record_offset_before(header->base_offset, segment->base)); /* (1) */
    ASSERT(header->size >= BATCH_HEADER_SIZE);
    struct record_offset last = batch_last_offset(header);
    ASSERT(last.value - segment->base.value <= INT32_MAX);
    if (segment->bytes == 0)
        segment->first_ms = header->max_timestamp_ms;
    if (header->max_timestamp_ms > segment->max_ms) {
        segment->max_ms = header->max_timestamp_ms;
        segment->max_ms_last = last;
    }
    if (segment->since_index > interval && segment->bytes <= INT32_MAX) {
        uint8_t *p = index_part_reserve(&segment->index, INDEX_ENTRY_SIZE);
        if (p) {
            be32_store(p, (uint32_t)(last.value - segment->base.value));
            be32_store(p + 4, (uint32_t)segment->bytes);
            segment->index.len += INDEX_ENTRY_SIZE;
        }
        segment_time_add(segment);
        segment->since_index = 0;
    }
    segment->since_index += header->size;
    segment->bytes += header->size;
}

struct segment_mark segment_mark(const struct segment *segment)
{
    return (struct segment_mark){.bytes = segment->bytes,
                                 .max_ms = segment->max_ms,
                                 .max_ms_last = segment->max_ms_last,
                                 .index_bytes = segment->index.flushed + segment->index.len,
                                 .time_bytes = segment->time.flushed + segment->time.len,
                                 .since_index = segment->since_index,
                                 .indexed_ms = segment->indexed_ms};
}

static void index_part_rewind(struct index_part *part, uint64_t bytes)
{
    ASSERT(bytes >= part->flushed && bytes <= part->flushed + part->len);
    part->len = (uint32_t)(bytes - part->flushed);
}

void segment_rewind(struct segment *segment, const struct segment_mark *mark)
{
    ASSERT(mark->bytes <= segment->bytes && mark->bytes >= segment->written);
    segment->bytes = mark->bytes;
    segment->max_ms = mark->max_ms;
    segment->max_ms_last = mark->max_ms_last;
    segment->since_index = mark->since_index;
    segment->indexed_ms = mark->indexed_ms;
    ASSERT(!segment->finished);
    index_part_rewind(&segment->index, mark->index_bytes);
    index_part_rewind(&segment->time, mark->time_bytes);
    segment->sealed = false;
}

void segment_index_close(struct segment *segment)
{
    ASSERT(segment->sealed);
    segment_time_add(segment);
}

bool segment_index_find(const struct segment *segment, struct record_offset offset,
                        struct file_pos *ret_pos)
{
    const struct index_part *part = &segment->index;
    ASSERT(part->len % INDEX_ENTRY_SIZE == 0);
    uint32_t low = 0;
    uint32_t high = part->len / INDEX_ENTRY_SIZE;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        int64_t at = segment->base.value + be32_load(part->bytes + mid * INDEX_ENTRY_SIZE);
        if (at <= offset.value)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0)
        return false;
    *ret_pos = file_pos(be32_load(part->bytes + (low - 1) * INDEX_ENTRY_SIZE + 4));
    return true;
}

bool segment_time_find(const struct segment *segment, int64_t timestamp_ms,
                       struct record_offset *ret_offset)
{
    const struct index_part *part = &segment->time;
    ASSERT(part->len % TIME_ENTRY_SIZE == 0);
    for (uint32_t at = part->len; at > 0; at -= TIME_ENTRY_SIZE) {
        const uint8_t *p = part->bytes + at - TIME_ENTRY_SIZE;
        if ((int64_t)be64_load(p) < timestamp_ms) {
            *ret_offset = record_offset(segment->base.value + be32_load(p + 8) + 1);
            return true;
        }
    }
    return false;
}
