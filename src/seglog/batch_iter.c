/*
 * Walking the records of one batch.
 *
 * Role: the only reader of records; validation, searches by time, fetch conversion and jobs all use
 * it.
 *
 *   record: | length | attributes | time delta | offset delta | key length | key | value length |
 * value | headers | header:                                                   | key length | key |
 * value length | value | All numbers are zig-zag varints except the attributes byte; length -1 is
 * null (not allowed for a header key).
 *
 * Invariants: (1) every slice returned lies within the records' bytes; (2) a record is returned
 * only when all of it, its headers included, is well formed and fills its length exactly; (3)
 * offset deltas rise strictly and stay within the header's last delta; (4) the walk ends without
 * error only after exactly record_count records and no byte more.
 *
 * Ownership: the iterator lives on the caller's stack; slices point into the batch, or into the
 * caller's scratch buffer when the records are compressed. Any thread.
 *
 * Failure modes: the first malformed byte stops the walk with ERR_INVALID_RECORD; records that do
 * not inflate, or inflate past the scratch buffer's limit, are ERR_CORRUPT_MESSAGE at the start of
 * the walk.
 */
#include "seglog/batch.h"

#include "codec/compress.h"
#include "seglog/bytes_int.h"

enum err batch_iter_init(struct batch_iter *iter, struct slice batch, struct bytebuf *scratch,
                         struct err_info *info)
{
    ASSERT(iter);
    *iter = (struct batch_iter){.last_delta = -1};
    enum err err = batch_header_read(batch, &iter->header, info);
    if (err)
        return err;
    struct slice body = {batch.data + BATCH_HEADER_SIZE, iter->header.size - BATCH_HEADER_SIZE};
    if (batch_codec(&iter->header) == BATCH_CODEC_NONE) {
        iter->records = body;
        return ERR_OK;
    }
    ASSERT(scratch);
    bytebuf_clear(scratch);
    err = (int)batch_codec(&iter->header) < (int)COMPRESS_COUNT
              ? compress_decompress((enum compress_kind)batch_codec(&iter->header), body,
                                    scratch->limit, scratch)
              : ERR_INVALID_RECORD;
    if (err == ERR_MESSAGE_TOO_LARGE)
        err = ERR_CORRUPT_MESSAGE;
    if (err)
        return err_info_set(info, err, "records do not inflate (codec %d)",
                            batch_codec(&iter->header));
    iter->records = bytebuf_slice(scratch);
    return ERR_OK;
}

static bool batch_iter_fail(struct batch_iter *iter, const char *fault)
{
    iter->err = ERR_INVALID_RECORD;
    iter->fault = fault;
    return false;
}

/* A length-prefixed field; null gives data NULL, empty gives data non-NULL. */
static bool field_take(struct slice *bytes, struct slice *ret_field)
{
    int32_t len;
    if (!varint_take(bytes, &len) || len < -1 || (len > 0 && (size_t)len > bytes->len))
        return false;
    if (len < 0) {
        *ret_field = SLICE_NULL;
        return true;
    }
    *ret_field = (struct slice){bytes->data, (size_t)len};
    bytes->data += len;
    bytes->len -= (size_t)len;
    return true;
}

bool batch_headers_next(struct slice *headers, struct batch_field *ret_field)
{
    if (headers->len == 0)
        return false;
    return field_take(headers, &ret_field->key) && ret_field->key.data &&
           field_take(headers, &ret_field->value);
}

/* The part of a record behind its length. */
static const char *record_parse(struct slice body, struct batch_iter *iter,
                                struct batch_record *ret_record, int32_t *ret_delta)
{
    if (body.len == 0)
        return "empty record";
    body.data++;
    body.len--;
    int64_t time_delta;
    if (!varlong_take(&body, &time_delta) || !varint_take(&body, ret_delta))
        return "malformed deltas";
    if (*ret_delta <= iter->last_delta || *ret_delta > iter->header.last_offset_delta)
        return "offset delta out of order";
    int32_t header_count;
    if (!field_take(&body, &ret_record->key) || !field_take(&body, &ret_record->value))
        return "malformed key or value";
    if (!varint_take(&body, &header_count) || header_count < 0)
        return "malformed header count";
    ret_record->headers = body;
    ret_record->header_count = (uint32_t)header_count;
    struct batch_field field;
    for (int32_t i = 0; i < header_count; i++)
        if (!batch_headers_next(&body, &field))
            return "malformed header";
    if (body.len != 0)
        return "bytes behind the headers";
    const struct batch_header *header = &iter->header;
    ret_record->offset = record_offset(
        (int64_t)((uint64_t)header->base_offset.value + (uint64_t)(int64_t)*ret_delta));
    ret_record->timestamp_ms =
        header->attributes & BATCH_ATTR_APPEND_TIME
            ? header->max_timestamp_ms
            : (int64_t)((uint64_t)header->base_timestamp_ms + (uint64_t)time_delta);
    return NULL;
}

bool batch_iter_next(struct batch_iter *iter, struct batch_record *ret_record)
{
    if (iter->err)
        return false;
    if (iter->index >= iter->header.record_count) {
        if (iter->records.len != 0)
            return batch_iter_fail(iter, "bytes behind the last record");
        return false;
    }
    int32_t len;
    if (!varint_take(&iter->records, &len))
        return batch_iter_fail(iter, "malformed record length");
    if (len < 0 || (size_t)len > iter->records.len)
        return batch_iter_fail(iter, "record length passes the batch");
    struct slice body = {iter->records.data, (size_t)len};
    int32_t delta = 0;
    const char *fault = record_parse(body, iter, ret_record, &delta);
    if (fault)
        return batch_iter_fail(iter, fault);
    iter->records.data += len;
    iter->records.len -= (size_t)len;
    iter->last_delta = delta;
    iter->index++;
    return true;
}
