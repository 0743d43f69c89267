/*
 * Record batches of format v2, byte for byte as Kafka's: reading, checking, walking, building.
 *
 * Everything here works on raw bytes of unknown origin; nothing is asserted about them. All
 * functions are pure apart from the buffers they are given, and may run on any thread.
 */
#ifndef WEIR_SEGLOG_BATCH_H
#define WEIR_SEGLOG_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/bytebuf.h"
#include "base/error.h"
#include "base/iobuf.h"
#include "base/slice.h"
#include "seglog/types.h"

enum {
    BATCH_HEADER_SIZE = 61,
    BATCH_PREFIX_SIZE = 12, /* base offset and length, which the length does not count */
    BATCH_CRC_START = 21,   /* the checksum covers [21, end) */
    BATCH_SIZE_MAX = 128 * 1024 * 1024, /* no batch is larger, whatever the configuration says */
    BATCH_INFLATED_MAX =
        256 * 1024 * 1024, /* hard cap on the records of one batch after decompression */
    BATCH_RECORDS_MAX = 64 * 1024 * 1024
};

enum batch_codec {
    BATCH_CODEC_NONE,
    BATCH_CODEC_GZIP,
    BATCH_CODEC_SNAPPY,
    BATCH_CODEC_LZ4,
    BATCH_CODEC_ZSTD
};

enum {
    BATCH_ATTR_CODEC = 0x07,
    BATCH_ATTR_APPEND_TIME = 0x08,
    BATCH_ATTR_TRANSACTIONAL = 0x10,
    BATCH_ATTR_CONTROL = 0x20,
    BATCH_ATTR_DELETE_HORIZON = 0x40
};

/* The header in host order. */
struct batch_header {
    struct record_offset base_offset;
    uint32_t size; /* whole batch, header and prefix included */
    struct leader_epoch epoch;
    uint32_t crc;
    uint16_t attributes;
    int32_t last_offset_delta;
    int64_t base_timestamp_ms;
    int64_t max_timestamp_ms;
    int64_t producer_id; /* -1: not idempotent */
    int16_t producer_epoch;
    int32_t base_sequence;
    int32_t record_count;
};

static inline enum batch_codec batch_codec(const struct batch_header *header)
{
    return (enum batch_codec)(header->attributes & BATCH_ATTR_CODEC);
}

static inline struct record_offset batch_last_offset(const struct batch_header *header)
{
    return record_offset_add(header->base_offset, header->last_offset_delta);
}

/* Offset behind the batch. */
static inline struct record_offset batch_end_offset(const struct batch_header *header)
{
    return record_offset_add(header->base_offset, (int64_t)header->last_offset_delta + 1);
}

/* Sequence of the last record: base + delta, going round after 2147483647. Only for batches with a
 * producer id. */
int32_t batch_last_sequence(const struct batch_header *header);

/*
 * Reads the header at the start of bytes. Checks what is needed to walk on: magic 2, size within
 * [61, BATCH_SIZE_MAX] and within bytes, last offset delta >= 0. Does not look at the checksum.
 * ERR_CORRUPT_MESSAGE (size, short), ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT (magic 0 and 1),
 * ERR_INVALID_RECORD (delta).
 */
MUST_CHECK enum err batch_header_read(struct slice bytes, struct batch_header *ret_header,
                                      struct err_info *info);
/* Size of the batch at the start of bytes as its prefix tells, 0 when fewer than 12 bytes or an
 * impossible size. */
uint32_t batch_size_peek(struct slice bytes);
/* Whether the stored checksum is that of the bytes. bytes is one whole batch of at least 61 bytes.
 */
bool batch_crc_holds(struct slice bytes);

/* Writes in place what the checksum does not cover. */
void batch_patch_position(uint8_t *batch, struct record_offset base, struct leader_epoch epoch);
/* Marks the batch as log-append time at now_ms and renews the checksum. */
void batch_patch_append_time(uint8_t *batch, size_t size, int64_t now_ms);
/* Replaces the max timestamp and renews the checksum. */
void batch_patch_max_timestamp(uint8_t *batch, size_t size, int64_t max_timestamp_ms);

/* ---- Checking what a producer sent
 * ---------------------------------------------------------------------------- */

enum batch_origin {
    BATCH_FROM_CLIENT, /* base offset 0, no control batches */
    BATCH_FROM_SERVER  /* written by this server: control batches allowed, base offset free */
};

struct batch_policy {
    enum batch_origin origin;
    uint32_t batch_bytes_max;   /* max.message.bytes: larger is ERR_MESSAGE_TOO_LARGE */
    uint32_t segment_bytes_max; /* segment.bytes: larger is ERR_RECORD_LIST_TOO_LARGE */
    bool zstd_allowed;          /* Produce >= 7 */
    bool records_checked; /* decompress and walk every record; else header and checksum only */
    bool keys_required;   /* compacted topic; implies a walk */
    bool append_time;     /* topic stamps the time: timestamp bounds do not apply */
    int64_t now_ms;
    int64_t timestamp_before_max_ms; /* INT64_MAX: unlimited */
    int64_t timestamp_after_max_ms;  /* INT64_MAX: unlimited; any bound implies a walk */
};

/* One record that made the whole batch invalid; index -1: the batch itself. */
struct batch_fault {
    int32_t record_index;
    enum err code;
    const char *text; /* a literal */
};

enum { BATCH_FAULTS_MAX = 16 };

struct batch_verdict {
    struct batch_header header;
    int64_t max_timestamp_ms; /* over the records, when walked; else the header's */
    bool walked;
    uint32_t fault_count;
    struct batch_fault faults[BATCH_FAULTS_MAX]; /* the first ones */
};

/*
 * Checks one whole batch that a producer sent, in the order of Kafka's checks. bytes must be
 * exactly the batch: trailing partial bytes are cut by the caller (batch_size_peek), a second batch
 * is the caller's error. scratch: reused buffer for decompression, its limit is the cap on the
 * inflated size. ERR_CORRUPT_MESSAGE: size or checksum. ERR_INVALID_RECORD: counts, deltas,
 * control, sequence, record layout, keys. ERR_INVALID_TIMESTAMP, ERR_MESSAGE_TOO_LARGE,
 * ERR_RECORD_LIST_TOO_LARGE, ERR_UNSUPPORTED_COMPRESSION_TYPE.
 */
MUST_CHECK enum err batch_validate(struct slice bytes, const struct batch_policy *policy,
                                   struct bytebuf *scratch, struct batch_verdict *ret_verdict,
                                   struct err_info *info);

/* ---- Walking records
 * ------------------------------------------------------------------------------------------ */

struct batch_field {
    struct slice key;
    struct slice value; /* data NULL: null */
};

struct batch_record {
    struct record_offset offset;
    int64_t timestamp_ms;
    struct slice key;   /* data NULL: null */
    struct slice value; /* data NULL: null */
    uint32_t header_count;
    struct slice headers; /* encoded; walk with batch_headers_next */
};

/* On the caller's stack; slices of records live as long as the batch bytes and scratch stay. */
struct batch_iter {
    struct batch_header header;
    struct slice records; /* uncompressed records not yet walked */
    int32_t index;        /* of the next record */
    int32_t last_delta;
    enum err err; /* why the walk stopped early, else ERR_OK */
    const char *fault;
};

/*
 * Starts a walk over the records of one whole batch. Compressed records are inflated into scratch
 * (cleared first; its limit caps the size). ERR_CORRUPT_MESSAGE: does not inflate or passes the
 * cap; also every error of batch_header_read.
 */
MUST_CHECK enum err batch_iter_init(struct batch_iter *iter, struct slice batch,
                                    struct bytebuf *scratch, struct err_info *info);
/* false at the end and on malformed bytes (iter->err tells). The index of the record returned is
 * iter->index - 1. */
bool batch_iter_next(struct batch_iter *iter, struct batch_record *ret_record);
/* Takes the next header off *headers (start with record.headers); false at the end. The walk has
 * checked them. */
bool batch_headers_next(struct slice *headers, struct batch_field *ret_field);

/* ---- Building
 * -------------------------------------------------------------------------------------------------
 */

struct batch_build_record {
    int64_t timestamp_ms;
    struct slice key;
    struct slice value;
    const struct batch_field *headers;
    uint32_t header_count;
};

/* Makes one uncompressed batch. Owns its buffer until finish takes it. */
struct batch_builder {
    struct iobuf *buf;
    size_t len;
    size_t bytes_max;
    int32_t record_count;
    int64_t base_timestamp_ms;
    int64_t max_timestamp_ms;
    uint16_t attributes; /* the caller may set BATCH_ATTR_CONTROL and BATCH_ATTR_TRANSACTIONAL
                            before finish */
    int64_t producer_id; /* -1, -1, -1 unless the caller sets them before finish */
    int16_t producer_epoch;
    int32_t base_sequence;
};

void batch_builder_init(struct batch_builder *builder, size_t bytes_max);
void batch_builder_deinit(struct batch_builder *builder);
/* ERR_MESSAGE_TOO_LARGE: would pass bytes_max, the batch so far stays good (finish it and start
 * anew). */
MUST_CHECK enum err batch_builder_add(struct batch_builder *builder,
                                      const struct batch_build_record *record);
/* Bytes that the batch has now. */
static inline size_t batch_builder_size(const struct batch_builder *builder)
{
    return builder->len;
}
/* Closes the batch and moves it to ret_batch (one reference); the builder is empty again. At least
 * one record. */
void batch_builder_finish(struct batch_builder *builder, struct iobuf_range *ret_batch);

/* ---- Old formats
 * ---------------------------------------------------------------------------------------------- */

/*
 * Converts a message set of format v0 or v1 (also wrapped in gzip, snappy or lz4) into one v2 batch
 * without compression. set: the whole set as sent; a partial message at its end is dropped. v0
 * messages get timestamp -1. ERR_CORRUPT_MESSAGE, ERR_INVALID_RECORD, ERR_MESSAGE_TOO_LARGE (result
 * above bytes_max), ERR_NO_MEMORY.
 */
MUST_CHECK enum err batch_from_message_set(struct slice set, size_t bytes_max,
                                           struct bytebuf *scratch, struct iobuf_range *ret_batch,
                                           struct err_info *info);
/*
 * Converts v2 batches into a message set of magic 0 or 1 appended to out, without compression;
 * headers and control batches are left out. Stops before out's limit. For fetches of versions 0
 * to 3.
 */
MUST_CHECK enum err batch_to_message_set(struct slice batches, int8_t magic,
                                         struct bytebuf *scratch, struct bytebuf *out,
                                         struct err_info *info);

#endif
