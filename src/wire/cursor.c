/*
 * Role: the parts of the wire cursors that are not worth inlining: varints, Kafka's length
 * prefixes, tagged sections, splices.
 *
 * Picture: reader = [at .. end) of somebody's bytes; writer = bytebuf plus a list of places where
 * pinned ranges go:
 *
 *     buf:      |header|prefix|        |tags|
 *     splices:                ^ range A, range B (both at this position)
 *     on wire:  |header|prefix|A|B|tags|
 *
 * Invariants: (1) a failed reader yields zeros and stands at its end; (2) no slice reaches outside
 * the input; (3) a count never exceeds what the bytes left can hold; (4) splice positions do not
 * decrease.
 *
 * Ownership: none beyond the caller's buffer and arena; any shard. Failure modes: short or lying
 * input sets the reader's flag; a full buffer or arena sets the writer's.
 */
#include "wire/cursor.h"

#include "base/assert.h"

uint32_t wire_reader_uvarint(struct wire_reader *in)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        uint8_t byte = wire_reader_u8(in);
        if (shift == 28 && byte > 0x0f)
            break;
        value |= (uint32_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return in->failed ? 0 : value;
    }
    wire_reader_fail(in);
    return 0;
}

uint64_t wire_reader_uvarlong(struct wire_reader *in)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte = wire_reader_u8(in);
        if (shift == 63 && byte > 0x01)
            break;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return in->failed ? 0 : value;
    }
    wire_reader_fail(in);
    return 0;
}

int32_t wire_reader_varint(struct wire_reader *in)
{
    uint32_t raw = wire_reader_uvarint(in);
    return (int32_t)((raw >> 1) ^ (0u - (raw & 1)));
}

int64_t wire_reader_varlong(struct wire_reader *in)
{
    uint64_t raw = wire_reader_uvarlong(in);
    return (int64_t)((raw >> 1) ^ (0u - (raw & 1)));
}

/* A length of -1 is null where that is allowed; any other negative one is a failure. */
static struct slice reader_sized(struct wire_reader *in, int64_t len, bool nullable)
{
    if (in->failed)
        return SLICE_NULL;
    if (len < 0) {
        if (len != -1 || !nullable)
            wire_reader_fail(in);
        return SLICE_NULL;
    }
    return wire_reader_bytes(in, (size_t)len);
}

struct slice wire_reader_string(struct wire_reader *in, bool nullable)
{
    return reader_sized(in, wire_reader_i16(in), nullable);
}

struct slice wire_reader_data(struct wire_reader *in, bool nullable)
{
    return reader_sized(in, wire_reader_i32(in), nullable);
}

struct slice wire_reader_compact(struct wire_reader *in, bool nullable)
{
    return reader_sized(in, (int64_t)wire_reader_uvarint(in) - 1, nullable);
}

int32_t wire_reader_count(struct wire_reader *in, bool compact, bool nullable, size_t element_min)
{
    ASSERT(element_min > 0);
    int64_t count = compact ? (int64_t)wire_reader_uvarint(in) - 1 : wire_reader_i32(in);
    if (in->failed)
        return 0;
    if (count < 0) {
        if (count == -1 && nullable)
            return -1;
        wire_reader_fail(in);
        return 0;
    }
    if ((uint64_t)count > wire_reader_left(in) / element_min) {
        wire_reader_fail(in);
        return 0;
    }
    return (int32_t)count;
}

void wire_reader_tags_skip(struct wire_reader *in)
{
    uint32_t count = wire_reader_uvarint(in);
    for (uint32_t i = 0; i < count && !in->failed; i++) {
        (void)wire_reader_uvarint(in);
        (void)wire_reader_take(in, wire_reader_uvarint(in));
    }
}

void wire_writer_uvarint(struct wire_writer *out, uint32_t value)
{
    wire_writer_uvarlong(out, value);
}

void wire_writer_uvarlong(struct wire_writer *out, uint64_t value)
{
    uint8_t bytes[10];
    size_t len = 0;
    while (value >= 0x80) {
        bytes[len++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[len++] = (uint8_t)value;
    ASSERT(len <= sizeof(bytes));
    bytebuf_append(out->buf, bytes, len);
}

void wire_writer_varint(struct wire_writer *out, int32_t value)
{
    wire_writer_uvarint(out, ((uint32_t)value << 1) ^ (uint32_t)(value >> 31));
}

void wire_writer_varlong(struct wire_writer *out, int64_t value)
{
    wire_writer_uvarlong(out, ((uint64_t)value << 1) ^ (uint64_t)(value >> 63));
}

void wire_writer_string(struct wire_writer *out, struct slice text)
{
    if (text.len > INT16_MAX) {
        out->failed = true;
        return;
    }
    wire_writer_u16(out, text.data ? (uint16_t)text.len : UINT16_MAX);
    wire_writer_bytes(out, text);
}

void wire_writer_data(struct wire_writer *out, struct slice bytes)
{
    if (bytes.len > INT32_MAX) {
        out->failed = true;
        return;
    }
    wire_writer_u32(out, bytes.data ? (uint32_t)bytes.len : UINT32_MAX);
    wire_writer_bytes(out, bytes);
}

void wire_writer_compact(struct wire_writer *out, struct slice bytes)
{
    if (bytes.len >= INT32_MAX) {
        out->failed = true;
        return;
    }
    wire_writer_uvarint(out, bytes.data ? (uint32_t)bytes.len + 1 : 0);
    wire_writer_bytes(out, bytes);
}

void wire_writer_count(struct wire_writer *out, bool compact, int32_t count)
{
    ASSERT(count >= -1);
    if (compact)
        wire_writer_uvarint(out, (uint32_t)(count + 1));
    else
        wire_writer_u32(out, (uint32_t)count);
}

/* Doubles the list in the arena; the old one stays there until the arena is reset. */
static bool writer_splices_grow(struct wire_writer *out)
{
    uint32_t cap = out->splice_cap ? out->splice_cap * 2 : 8;
    struct wire_splice *splices = arena_alloc(out->arena, cap * sizeof(*splices));
    if (!splices) {
        out->failed = true;
        return false;
    }
    if (out->splice_count)
        memcpy(splices, out->splices, out->splice_count * sizeof(*splices));
    out->splices = splices;
    out->splice_cap = cap;
    return true;
}

void wire_writer_splice(struct wire_writer *out, struct iobuf_range range)
{
    if (range.bytes.len == 0)
        return;
    if (!out->arena) {
        wire_writer_bytes(out, range.bytes);
        return;
    }
    if (out->splice_count == out->splice_cap && !writer_splices_grow(out))
        return;
    ASSERT(out->splice_count == 0 || out->splices[out->splice_count - 1].at <= out->buf->len);
    out->splices[out->splice_count++] = (struct wire_splice){out->buf->len, range};
    out->splice_bytes += range.bytes.len;
}

size_t wire_writer_tag_begin(struct wire_writer *out, uint32_t tag)
{
    wire_writer_uvarint(out, tag);
    return out->buf->len;
}

void wire_writer_tag_end(struct wire_writer *out, size_t mark)
{
    if (!wire_writer_ok(out))
        return;
    ASSERT(mark <= out->buf->len);
    size_t payload = out->buf->len - mark;
    if (payload > INT32_MAX) {
        out->failed = true;
        return;
    }
    wire_writer_uvarint(out, (uint32_t)payload);
    if (!wire_writer_ok(out))
        return;
    /* The size now stands behind the payload: turn the two round. */
    uint8_t size[5];
    size_t size_len = out->buf->len - mark - payload;
    ASSERT(size_len <= sizeof(size));
    memcpy(size, out->buf->data + mark + payload, size_len);
    memmove(out->buf->data + mark + size_len, out->buf->data + mark, payload);
    memcpy(out->buf->data + mark, size, size_len);
}

void wire_writer_patch_u32(struct wire_writer *out, size_t at, uint32_t value)
{
    if (!wire_writer_ok(out))
        return;
    ASSERT(at + 4 <= out->buf->len);
    be32_store(out->buf->data + at, value);
}

size_t wire_records_len(const struct wire_records *records)
{
    if (!records->range_count)
        return records->bytes.len;
    size_t len = 0;
    for (uint32_t i = 0; i < records->range_count; i++)
        len += records->ranges[i].bytes.len;
    return len;
}

struct wire_records wire_reader_records(struct wire_reader *in, bool compact, bool nullable)
{
    struct wire_records records = {.ranges = NULL};
    records.bytes = compact ? wire_reader_compact(in, nullable) : wire_reader_data(in, nullable);
    records.is_null = records.bytes.data == NULL;
    return records;
}

void wire_writer_records(struct wire_writer *out, bool compact, const struct wire_records *records)
{
    size_t len = wire_records_len(records);
    if (len >= INT32_MAX) {
        out->failed = true;
        return;
    }
    wire_writer_count(out, compact, records->is_null ? -1 : (int32_t)len);
    if (!records->range_count)
        wire_writer_bytes(out, records->bytes);
    for (uint32_t i = 0; i < records->range_count; i++)
        wire_writer_splice(out, records->ranges[i]);
}
