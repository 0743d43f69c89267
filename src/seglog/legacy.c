/*
 * Message sets of formats v0 and v1, to and from v2.
 *
 * Role: lets clients of before 2017 write and read; nothing else in the server knows these formats.
 *
 *   entry: | int64 offset | int32 size | uint32 CRC-32 of the rest | int8 magic | int8 attributes |
 *          | v1: int64 timestamp | int32 key length, key | int32 value length, value |       length -1: null
 *   attributes: bits 0-2 codec (value is then a compressed message set), v1 bit 3: log-append time
 *
 * Invariants: (1) nesting is one wrapper deep, deeper is malformed; (2) every length is checked against what is there before
 * it is used; (3) a batch made here passes batch_validate.
 *
 * Ownership: pure functions on the caller's buffers; any thread.
 *
 * Failure modes: bad checksums and lengths are ERR_CORRUPT_MESSAGE; a partial entry at the end of a set is dropped, as old
 * brokers cut sets at byte limits.
 */
#include <zlib.h>

#include "codec/compress.h"
#include "seglog/batch.h"
#include "seglog/bytes_int.h"

enum { LEGACY_PREFIX = 12, LEGACY_MIN_V0 = 14, LEGACY_MIN_V1 = 22 };

struct legacy_entry {
    int64_t offset;
    int8_t magic;
    uint8_t attributes;
    int64_t timestamp_ms;
    struct slice key;
    struct slice value;
};

static bool legacy_field(struct slice *body, struct slice *ret_field)
{
    if (body->len < 4)
        return false;
    int32_t len = (int32_t)be32_load(body->data);
    *body = slice_sub(*body, 4, SIZE_MAX);
    *ret_field = SLICE_NULL;
    if (len == -1)
        return true;
    if (len < 0 || (size_t)len > body->len)
        return false;
    *ret_field = slice_make(body->data, (size_t)len);
    *body = slice_sub(*body, (size_t)len, SIZE_MAX);
    return true;
}

/* Takes the next entry off the set. ERR_NOT_FOUND: the end, or a partial entry. */
static enum err legacy_next(struct slice *set, struct legacy_entry *ret_entry)
{
    if (set->len < LEGACY_PREFIX)
        return ERR_NOT_FOUND;
    uint32_t size = be32_load(set->data + 8);
    if (size > BATCH_SIZE_MAX || size < LEGACY_MIN_V0)
        return ERR_CORRUPT_MESSAGE;
    if (size > set->len - LEGACY_PREFIX)
        return ERR_NOT_FOUND;
    struct slice body = slice_sub(*set, LEGACY_PREFIX, size);
    uint32_t crc = (uint32_t)crc32(0, body.data + 4, (uInt)(body.len - 4));
    if (crc != be32_load(body.data))
        return ERR_CORRUPT_MESSAGE;
    *ret_entry = (struct legacy_entry){.offset = (int64_t)be64_load(set->data),
                                       .magic = (int8_t)body.data[4],
                                       .attributes = body.data[5],
                                       .timestamp_ms = -1};
    if (ret_entry->magic != 0 && ret_entry->magic != 1)
        return ERR_INVALID_RECORD;
    body = slice_sub(body, 6, SIZE_MAX);
    if (ret_entry->magic == 1) {
        if (size < LEGACY_MIN_V1)
            return ERR_CORRUPT_MESSAGE;
        ret_entry->timestamp_ms = (int64_t)be64_load(body.data);
        body = slice_sub(body, 8, SIZE_MAX);
    }
    if (!legacy_field(&body, &ret_entry->key) || !legacy_field(&body, &ret_entry->value) ||
        body.len != 0)
        return ERR_CORRUPT_MESSAGE;
    *set = slice_sub(*set, LEGACY_PREFIX + size, SIZE_MAX);
    return ERR_OK;
}

static enum err legacy_add(struct batch_builder *builder, const struct legacy_entry *entry)
{
    struct batch_build_record record = {
        .timestamp_ms = entry->timestamp_ms, .key = entry->key, .value = entry->value};
    return batch_builder_add(builder, &record);
}

/* Adds the entries inside a wrapper. */
static enum err legacy_unwrap(struct batch_builder *builder, const struct legacy_entry *wrapper,
                              struct bytebuf *scratch)
{
    int codec = wrapper->attributes & BATCH_ATTR_CODEC;
    if (codec > COMPRESS_LZ4 || !wrapper->value.data)
        return ERR_INVALID_RECORD;
    bytebuf_clear(scratch);
    enum err err =
        compress_decompress((enum compress_kind)codec, wrapper->value, scratch->limit, scratch);
    if (err)
        return err == ERR_NO_MEMORY ? err : ERR_CORRUPT_MESSAGE;
    struct slice inner = bytebuf_slice(scratch);
    struct legacy_entry entry;
    while ((err = legacy_next(&inner, &entry)) == ERR_OK) {
        if ((entry.attributes & BATCH_ATTR_CODEC) != 0)
            return ERR_INVALID_RECORD;
        if (wrapper->attributes & BATCH_ATTR_APPEND_TIME)
            entry.timestamp_ms = wrapper->timestamp_ms;
        err = legacy_add(builder, &entry);
        if (err)
            return err;
    }
    if (err == ERR_NOT_FOUND && inner.len != 0)
        err = ERR_CORRUPT_MESSAGE;
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

enum err batch_from_message_set(struct slice set, size_t bytes_max, struct bytebuf *scratch,
                                struct iobuf_range *ret_batch, struct err_info *info)
{
    ASSERT(scratch && ret_batch);
    struct batch_builder builder;
    struct legacy_entry entry;
    enum err err;
    batch_builder_init(&builder, bytes_max > BATCH_SIZE_MAX ? BATCH_SIZE_MAX : bytes_max);
    while ((err = legacy_next(&set, &entry)) == ERR_OK) {
        err = (entry.attributes & BATCH_ATTR_CODEC) == 0 ? legacy_add(&builder, &entry)
                                                         : legacy_unwrap(&builder, &entry, scratch);
        if (err)
            break;
    }
    if (err == ERR_NOT_FOUND)
        err = builder.record_count > 0 ? ERR_OK : ERR_INVALID_RECORD;
    if (err) {
        batch_builder_deinit(&builder);
        return err_info_set(info, err, "message set of an old format");
    }
    batch_builder_finish(&builder, ret_batch);
    return ERR_OK;
}

static size_t legacy_field_size(struct slice field)
{
    return 4 + (field.data ? field.len : 0);
}

static uint8_t *legacy_field_store(uint8_t *p, struct slice field)
{
    be32_store(p, field.data ? (uint32_t)field.len : (uint32_t)-1);
    if (field.data && field.len > 0)
        memcpy(p + 4, field.data, field.len);
    return p + legacy_field_size(field);
}

/* Appends one record as a plain entry. False: past out's limit. */
static bool legacy_store(const struct batch_record *record, int8_t magic, bool append_time,
                         struct bytebuf *out)
{
    size_t body =
        (magic == 1 ? 14 : 6) + legacy_field_size(record->key) + legacy_field_size(record->value);
    if (out->limit - out->len < LEGACY_PREFIX + body)
        return false;
    uint8_t *start = bytebuf_reserve(out, LEGACY_PREFIX + body);
    if (!start)
        return false;
    be64_store(start, (uint64_t)record->offset.value);
    be32_store(start + 8, (uint32_t)body);
    uint8_t *p = start + LEGACY_PREFIX;
    p[4] = (uint8_t)magic;
    p[5] = magic == 1 && append_time ? BATCH_ATTR_APPEND_TIME : 0;
    uint8_t *q = p + 6;
    if (magic == 1) {
        be64_store(q, (uint64_t)record->timestamp_ms);
        q += 8;
    }
    q = legacy_field_store(q, record->key);
    q = legacy_field_store(q, record->value);
    ASSERT((size_t)(q - p) == body);
    be32_store(p, (uint32_t)crc32(0, p + 4, (uInt)(body - 4)));
    out->len += LEGACY_PREFIX + body;
    return true;
}

enum err batch_to_message_set(struct slice batches, int8_t magic, struct bytebuf *scratch,
                              struct bytebuf *out, struct err_info *info)
{
    ASSERT(magic == 0 || magic == 1);
    while (batches.len > 0) {
        uint32_t size = batch_size_peek(batches);
        struct batch_iter iter;
        struct batch_record record;
        if (size < BATCH_HEADER_SIZE || size > batches.len)
            return err_info_set(info, ERR_CORRUPT_MESSAGE, "batch passes its bytes");
        enum err err = batch_iter_init(&iter, slice_sub(batches, 0, size), scratch, info);
        if (err)
            return err;
        batches = slice_sub(batches, size, SIZE_MAX);
        if (iter.header.attributes & BATCH_ATTR_CONTROL)
            continue;
        bool append_time = iter.header.attributes & BATCH_ATTR_APPEND_TIME;
        while (batch_iter_next(&iter, &record))
            if (!legacy_store(&record, magic, append_time, out))
                return out->failed ? ERR_NO_MEMORY : ERR_OK;
        if (iter.err)
            return err_info_set(info, iter.err, "%s", iter.fault);
    }
    return ERR_OK;
}
