/*
 * Cursors over wire bytes with a sticky failure.
 *
 * A reader walks bytes that a peer sent; a writer appends to a bytebuf. Neither reports an error
 * where it happens: the first fault sets `failed`, later reads yield zero and consume nothing,
 * later writes do nothing, and the caller tests the flag once at the end. Nothing is copied by a
 * reader: slices point into the bytes it was given.
 *
 * Integers are big endian. Varints are base-128 little-endian groups, at most 5 bytes for 32 bits
 * and 10 for 64; a longer or overflowing one is a failure. Shard: any (no shared state).
 */
#ifndef WEIR_WIRE_CURSOR_H
#define WEIR_WIRE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytebuf.h"
#include "base/endian.h"
#include "base/iobuf.h"
#include "base/slice.h"

/* ---- Reader ---- */

struct wire_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

static inline struct wire_reader wire_reader_make(struct slice bytes)
{
    return (struct wire_reader){bytes.data, bytes.len ? bytes.data + bytes.len : bytes.data, false};
}

static inline size_t wire_reader_left(const struct wire_reader *in)
{
    return in->failed ? 0 : (size_t)(in->end - in->at);
}

/* Marks the reader as failed; for callers that find a value unacceptable. */
static inline void wire_reader_fail(struct wire_reader *in)
{
    in->failed = true;
    in->at = in->end;
}

/* len bytes in place, NULL (and failed) when there are fewer. */
static inline const uint8_t *wire_reader_take(struct wire_reader *in, size_t len)
{
    if (in->failed || (size_t)(in->end - in->at) < len) {
        wire_reader_fail(in);
        return NULL;
    }
    const uint8_t *at = in->at;
    in->at += len;
    return at;
}

static inline uint8_t wire_reader_u8(struct wire_reader *in)
{
    const uint8_t *at = wire_reader_take(in, 1);
    return at ? at[0] : 0;
}

static inline uint16_t wire_reader_u16(struct wire_reader *in)
{
    const uint8_t *at = wire_reader_take(in, 2);
    return at ? be16_load(at) : 0;
}

static inline uint32_t wire_reader_u32(struct wire_reader *in)
{
    const uint8_t *at = wire_reader_take(in, 4);
    return at ? be32_load(at) : 0;
}

static inline uint64_t wire_reader_u64(struct wire_reader *in)
{
    const uint8_t *at = wire_reader_take(in, 8);
    return at ? be64_load(at) : 0;
}

static inline int8_t wire_reader_i8(struct wire_reader *in)
{
    return (int8_t)wire_reader_u8(in);
}

static inline int16_t wire_reader_i16(struct wire_reader *in)
{
    return (int16_t)wire_reader_u16(in);
}

static inline int32_t wire_reader_i32(struct wire_reader *in)
{
    return (int32_t)wire_reader_u32(in);
}

static inline int64_t wire_reader_i64(struct wire_reader *in)
{
    return (int64_t)wire_reader_u64(in);
}

/* One byte: 0 is false, anything else true. */
static inline bool wire_reader_bool(struct wire_reader *in)
{
    return wire_reader_u8(in) != 0;
}

static inline double wire_reader_f64(struct wire_reader *in)
{
    uint64_t bits = wire_reader_u64(in);
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* len bytes as a slice into the input. */
static inline struct slice wire_reader_bytes(struct wire_reader *in, size_t len)
{
    const uint8_t *at = wire_reader_take(in, len);
    return at ? slice_make(at, len) : SLICE_NULL;
}

/* Unsigned and zig-zag varints. */
uint32_t wire_reader_uvarint(struct wire_reader *in);
uint64_t wire_reader_uvarlong(struct wire_reader *in);
int32_t wire_reader_varint(struct wire_reader *in);
int64_t wire_reader_varlong(struct wire_reader *in);

/* ---- Kafka's lengths. A null yields SLICE_NULL; it is a failure unless nullable. ---- */

/* int16 length, -1 is null. */
struct slice wire_reader_string(struct wire_reader *in, bool nullable);
/* int32 length, -1 is null. */
struct slice wire_reader_data(struct wire_reader *in, bool nullable);
/* uvarint length + 1, 0 is null; strings, bytes and records alike. */
struct slice wire_reader_compact(struct wire_reader *in, bool nullable);
/*
 * The count of an array: int32 (or uvarint count + 1 when compact), -1 for null. A count that the
 * bytes left cannot hold, at element_min bytes each, is a failure: no allocation follows a lie.
 */
int32_t wire_reader_count(struct wire_reader *in, bool compact, bool nullable, size_t element_min);
/* Skips a tagged section whose tags are all unknown. */
void wire_reader_tags_skip(struct wire_reader *in);

/* 16 raw bytes; all zero means none. */
struct wire_uuid {
    uint8_t bytes[16];
};

static inline struct wire_uuid wire_reader_uuid(struct wire_reader *in)
{
    struct wire_uuid uuid = {{0}};
    const uint8_t *at = wire_reader_take(in, 16);
    if (at)
        memcpy(uuid.bytes, at, 16);
    return uuid;
}

static inline bool wire_uuid_is_zero(struct wire_uuid uuid)
{
    static const struct wire_uuid zero;
    return memcmp(&uuid, &zero, sizeof(zero)) == 0;
}

static inline bool wire_uuid_equal(struct wire_uuid a, struct wire_uuid b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

/* ---- Writer ---- */

/*
 * A place in the output where pinned bytes go: they are not copied into the buffer. `at` is the
 * position in buf before which the range stands; several splices at one position keep their order.
 */
struct wire_splice {
    size_t at;
    struct iobuf_range range;
};

struct wire_writer {
    struct bytebuf *buf; /* caller's */
    struct arena *arena; /* for the splice list; NULL: splices are copied into buf instead */
    struct wire_splice *splices; /* in arena */
    uint32_t splice_count;
    uint32_t splice_cap;
    size_t splice_bytes; /* sum over the splices */
    bool failed;
};

/* Appends behind what buf holds. Splices hold no reference of their own: the caller keeps the
 * ranges pinned. */
static inline struct wire_writer wire_writer_make(struct bytebuf *buf, struct arena *arena)
{
    return (struct wire_writer){.buf = buf, .arena = arena};
}

/* True when nothing went wrong so far, the buffer included. */
static inline bool wire_writer_ok(const struct wire_writer *out)
{
    return !out->failed && !out->buf->failed;
}

static inline uint8_t *wire_writer_grow(struct wire_writer *out, size_t len)
{
    uint8_t *at = bytebuf_reserve(out->buf, len);
    if (at)
        out->buf->len += len;
    return at;
}

static inline void wire_writer_u8(struct wire_writer *out, uint8_t value)
{
    uint8_t *at = wire_writer_grow(out, 1);
    if (at)
        at[0] = value;
}

static inline void wire_writer_u16(struct wire_writer *out, uint16_t value)
{
    uint8_t *at = wire_writer_grow(out, 2);
    if (at)
        be16_store(at, value);
}

static inline void wire_writer_u32(struct wire_writer *out, uint32_t value)
{
    uint8_t *at = wire_writer_grow(out, 4);
    if (at)
        be32_store(at, value);
}

static inline void wire_writer_u64(struct wire_writer *out, uint64_t value)
{
    uint8_t *at = wire_writer_grow(out, 8);
    if (at)
        be64_store(at, value);
}

static inline void wire_writer_f64(struct wire_writer *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    wire_writer_u64(out, bits);
}

static inline void wire_writer_uuid(struct wire_writer *out, struct wire_uuid uuid)
{
    bytebuf_append(out->buf, uuid.bytes, sizeof(uuid.bytes));
}

static inline void wire_writer_bytes(struct wire_writer *out, struct slice bytes)
{
    bytebuf_append_slice(out->buf, bytes);
}

void wire_writer_uvarint(struct wire_writer *out, uint32_t value);
void wire_writer_uvarlong(struct wire_writer *out, uint64_t value);
void wire_writer_varint(struct wire_writer *out, int32_t value);
void wire_writer_varlong(struct wire_writer *out, int64_t value);

/* Kafka's lengths and bytes; SLICE_NULL is written as null. A string over 32,767 bytes is a
 * failure. */
void wire_writer_string(struct wire_writer *out, struct slice text);
void wire_writer_data(struct wire_writer *out, struct slice bytes);
void wire_writer_compact(struct wire_writer *out, struct slice bytes);
/* count -1 is null. */
void wire_writer_count(struct wire_writer *out, bool compact, int32_t count);

/* Puts pinned bytes at the current position without copying them (copied when the writer has no
 * arena). */
void wire_writer_splice(struct wire_writer *out, struct iobuf_range range);

/*
 * A tagged field: begin returns a mark, the payload follows, end inserts the payload's size before
 * it. Payloads hold no splices.
 */
size_t wire_writer_tag_begin(struct wire_writer *out, uint32_t tag);
void wire_writer_tag_end(struct wire_writer *out, size_t mark);

/* Big-endian patch of a length written earlier. */
void wire_writer_patch_u32(struct wire_writer *out, size_t at, uint32_t value);

/*
 * A field of record batches. Decoded: bytes inside the request. To encode: either bytes, or ranges
 * that are spliced. bytes.data NULL and range_count 0 with is_null set is Kafka's null.
 */
struct wire_records {
    struct slice bytes;
    const struct iobuf_range *ranges;
    uint32_t range_count;
    bool is_null;
};

size_t wire_records_len(const struct wire_records *records);
struct wire_records wire_reader_records(struct wire_reader *in, bool compact, bool nullable);
void wire_writer_records(struct wire_writer *out, bool compact, const struct wire_records *records);

#endif
