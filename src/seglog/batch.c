/*
 * Batch header and checks of a produced batch.
 *
 * Role: the one place that knows the 61 bytes in front of the records, and the order in which a
 * broker refuses them.
 *
 *   0        8      12     16    17    21     23           27        35       43        51       53
 * 57    61 | base   | length | epoch | magic | crc | attributes | last     | base    | max     |
 * producer | epoch | base  | count | | offset |        |       |   2   |     |            | delta
 * | time    | time    | id       |       | seq   |       |
 *   `------------ patched by us -----'      `------------------- covered by the checksum
 * ----------------------------------
 *
 * Invariants: (1) nothing in here asserts on the content of a batch; (2) a batch that
 * batch_validate accepts can be walked to its end by batch_iter when records_checked was set; (3)
 * patching position and epoch leaves the checksum true.
 *
 * Ownership: pure functions on the caller's bytes; any thread.
 *
 * Failure modes: hostile bytes give an error of defs/errors.json with the index of the record; a
 * broken client that sends a bad checksum gets ERR_CORRUPT_MESSAGE (clients retry it), anything
 * that will never be right gets ERR_INVALID_RECORD.
 */
#include "seglog/batch.h"

#include "base/crc32c.h"
#include "seglog/bytes_int.h"

int32_t batch_last_sequence(const struct batch_header *header)
{
    return (int32_t)(((uint32_t)header->base_sequence + (uint32_t)header->last_offset_delta) &
                     0x7fffffffU);
}

uint32_t batch_size_peek(struct slice bytes)
{
    if (bytes.len < BATCH_PREFIX_SIZE)
        return 0;
    uint32_t length = be32_load(bytes.data + 8);
    if (length < 1 || length > BATCH_SIZE_MAX - BATCH_PREFIX_SIZE)
        return 0;
    return length + BATCH_PREFIX_SIZE;
}

static void batch_header_load(const uint8_t *p, uint32_t size, struct batch_header *ret_header)
{
    *ret_header = (struct batch_header){
        .base_offset = record_offset((int64_t)be64_load(p)),
        .size = size,
        .epoch = leader_epoch((int32_t)be32_load(p + 12)),
        .crc = be32_load(p + 17),
        .attributes = be16_load(p + 21),
        .last_offset_delta = (int32_t)be32_load(p + 23),
        .base_timestamp_ms = (int64_t)be64_load(p + 27),
        .max_timestamp_ms = (int64_t)be64_load(p + 35),
        .producer_id = (int64_t)be64_load(p + 43),
        .producer_epoch = (int16_t)be16_load(p + 51),
        .base_sequence = (int32_t)be32_load(p + 53),
        .record_count = (int32_t)be32_load(p + 57),
    };
}

enum err batch_header_read(struct slice bytes, struct batch_header *ret_header,
                           struct err_info *info)
{
    ASSERT(ret_header);
    if (bytes.len < BATCH_PREFIX_SIZE + 5)
        return err_info_set(info, ERR_CORRUPT_MESSAGE, "batch of %zu bytes has no header",
                            bytes.len);
    uint32_t size = batch_size_peek(bytes);
    int8_t magic = (int8_t)bytes.data[16];
    if (magic == 0 || magic == 1)
        return err_info_set(info, ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT, "message format v%d", magic);
    if (magic != 2)
        return err_info_set(info, ERR_INVALID_RECORD, "batch has magic %d, not 2", magic);
    if (size < BATCH_HEADER_SIZE || size > bytes.len)
        return err_info_set(info, ERR_CORRUPT_MESSAGE,
                            "batch length %u does not fit the %zu bytes given",
                            be32_load(bytes.data + 8), bytes.len);
    batch_header_load(bytes.data, size, ret_header);
    if (ret_header->last_offset_delta < 0)
        return err_info_set(info, ERR_INVALID_RECORD, "last offset delta is %d",
                            ret_header->last_offset_delta);
    ASSERT(ret_header->size >= BATCH_HEADER_SIZE);
    return ERR_OK;
}

bool batch_crc_holds(struct slice bytes)
{
    ASSERT(bytes.len >= BATCH_HEADER_SIZE);
    uint32_t stored = be32_load(bytes.data + 17);
    return stored == crc32c(0, bytes.data + BATCH_CRC_START, bytes.len - BATCH_CRC_START);
}

void batch_patch_position(uint8_t *batch, struct record_offset base, struct leader_epoch epoch)
{
    ASSERT(batch && base.value >= 0);
    be64_store(batch, (uint64_t)base.value);
    be32_store(batch + 12, (uint32_t)epoch.value);
}

static void batch_crc_renew(uint8_t *batch, size_t size)
{
    ASSERT(size >= BATCH_HEADER_SIZE);
    be32_store(batch + 17, crc32c(0, batch + BATCH_CRC_START, size - BATCH_CRC_START));
}

void batch_patch_append_time(uint8_t *batch, size_t size, int64_t now_ms)
{
    uint16_t attributes = be16_load(batch + 21);
    be16_store(batch + 21, attributes | BATCH_ATTR_APPEND_TIME);
    be64_store(batch + 35, (uint64_t)now_ms);
    batch_crc_renew(batch, size);
}

void batch_patch_max_timestamp(uint8_t *batch, size_t size, int64_t max_timestamp_ms)
{
    be64_store(batch + 35, (uint64_t)max_timestamp_ms);
    batch_crc_renew(batch, size);
}

/* Checks of the header alone, step by step in the order of the reference. NULL: fine. */
static const char *batch_header_fault(const struct batch_header *header,
                                      const struct batch_policy *policy)
{
    if (header->record_count <= 0)
        return "the batch has no records";
    if ((int64_t)header->last_offset_delta + 1 != header->record_count)
        return "record count and last offset delta differ";
    if (header->record_count > BATCH_RECORDS_MAX)
        return "too many records in one batch";
    if (header->attributes & 0xff00)
        return "unknown attribute bits";
    if (policy->origin == BATCH_FROM_CLIENT && (header->attributes & BATCH_ATTR_CONTROL))
        return "clients must not write control batches";
    if (header->attributes & BATCH_ATTR_DELETE_HORIZON)
        return "clients must not set a delete horizon";
    if (header->producer_id >= 0 && header->base_sequence < 0 &&
        !(header->attributes & BATCH_ATTR_CONTROL))
        return "an idempotent batch needs a sequence";
    return NULL;
}

static void batch_fault_add(struct batch_verdict *verdict, int32_t index, enum err code,
                            const char *text)
{
    if (verdict->fault_count < BATCH_FAULTS_MAX)
        verdict->faults[verdict->fault_count++] =
            (struct batch_fault){.record_index = index, .code = code, .text = text};
}

static const char *batch_time_fault(int64_t timestamp_ms, const struct batch_policy *policy)
{
    if (policy->append_time || timestamp_ms == -1)
        return NULL;
    if (policy->timestamp_before_max_ms != INT64_MAX && timestamp_ms < policy->now_ms &&
        (uint64_t)policy->now_ms - (uint64_t)timestamp_ms >
            (uint64_t)policy->timestamp_before_max_ms)
        return "the timestamp is too far in the past";
    if (policy->timestamp_after_max_ms != INT64_MAX && timestamp_ms > policy->now_ms &&
        (uint64_t)timestamp_ms - (uint64_t)policy->now_ms >
            (uint64_t)policy->timestamp_after_max_ms)
        return "the timestamp is too far in the future";
    return NULL;
}

/* Walks all records: layout, offsets without gaps, keys, timestamps; finds the true max timestamp.
 */
static enum err batch_records_check(struct slice bytes, const struct batch_policy *policy,
                                    struct bytebuf *scratch, struct batch_verdict *verdict,
                                    struct err_info *info)
{
    struct batch_iter iter;
    enum err err = batch_iter_init(&iter, bytes, scratch, info);
    if (err)
        return err;
    struct batch_record record;
    int64_t max_ms = -1;
    enum err first = ERR_OK;
    while (batch_iter_next(&iter, &record)) {
        int32_t index = iter.index - 1;
        const char *text = NULL;
        enum err code = ERR_INVALID_RECORD;
        if (record.offset.value - iter.header.base_offset.value != index) {
            text = "offsets of the records are not consecutive";
        } else if (policy->keys_required && !record.key.data) {
            text = "a compacted topic needs a key in every record";
        } else if ((text = batch_time_fault(record.timestamp_ms, policy)) != NULL) {
            code = ERR_INVALID_TIMESTAMP;
        }
        if (text) {
            batch_fault_add(verdict, index, code, text);
            first = first ? first : code;
        }
        if (record.timestamp_ms > max_ms)
            max_ms = record.timestamp_ms;
    }
    if (iter.err) {
        batch_fault_add(verdict, iter.index, iter.err, iter.fault);
        return err_info_set(info, iter.err, "record %d: %s", iter.index, iter.fault);
    }
    if (first)
        return err_info_set(info, first, "record %d: %s", verdict->faults[0].record_index,
                            verdict->faults[0].text);
    verdict->max_timestamp_ms = max_ms;
    verdict->walked = true;
    return ERR_OK;
}

/* What the size and codec forbid. */
static enum err batch_limits_check(const struct batch_header *header,
                                   const struct batch_policy *policy, struct err_info *info)
{
    if (batch_codec(header) > BATCH_CODEC_ZSTD)
        return err_info_set(info, ERR_INVALID_RECORD, "unknown compression type %d",
                            batch_codec(header));
    if (batch_codec(header) == BATCH_CODEC_ZSTD && !policy->zstd_allowed)
        return err_info_set(info, ERR_UNSUPPORTED_COMPRESSION_TYPE,
                            "zstd needs a newer version of the request");
    if (policy->origin == BATCH_FROM_CLIENT && header->base_offset.value != 0)
        return err_info_set(info, ERR_INVALID_RECORD, "base offset is %lld, not 0",
                            (long long)header->base_offset.value);
    if (header->size > policy->batch_bytes_max)
        return err_info_set(info, ERR_MESSAGE_TOO_LARGE, "batch of %u bytes, limit %u",
                            header->size, policy->batch_bytes_max);
    return ERR_OK;
}

enum err batch_validate(struct slice bytes, const struct batch_policy *policy,
                        struct bytebuf *scratch, struct batch_verdict *ret_verdict,
                        struct err_info *info)
{
    ASSERT(policy && ret_verdict);
    *ret_verdict = (struct batch_verdict){.max_timestamp_ms = -1};
    struct batch_header *header = &ret_verdict->header;
    enum err err = batch_header_read(bytes, header, info);
    if (!err && header->size != bytes.len)
        err = err_info_set(info, ERR_INVALID_RECORD, "more than one batch for a partition");
    if (!err)
        err = batch_limits_check(header, policy, info);
    if (err)
        return err;
    if (!batch_crc_holds(bytes))
        return err_info_set(info, ERR_CORRUPT_MESSAGE, "checksum of the batch does not match");
    const char *text = batch_header_fault(header, policy);
    if (text) {
        batch_fault_add(ret_verdict, -1, ERR_INVALID_RECORD, text);
        return err_info_set(info, ERR_INVALID_RECORD, "%s", text);
    }
    if (policy->origin == BATCH_FROM_CLIENT && (header->attributes & BATCH_ATTR_APPEND_TIME)) {
        text = "clients must not set the append time bit";
        batch_fault_add(ret_verdict, 0, ERR_INVALID_TIMESTAMP, text);
        return err_info_set(info, ERR_INVALID_TIMESTAMP, "%s", text);
    }
    ret_verdict->max_timestamp_ms = header->max_timestamp_ms;
    bool bounded = !policy->append_time && (policy->timestamp_before_max_ms != INT64_MAX ||
                                            policy->timestamp_after_max_ms != INT64_MAX);
    if (policy->records_checked || policy->keys_required || bounded) {
        err = batch_records_check(bytes, policy, scratch, ret_verdict, info);
        if (err)
            return err;
    }
    if (header->size > policy->segment_bytes_max)
        return err_info_set(info, ERR_RECORD_LIST_TOO_LARGE, "batch of %u bytes, segments hold %u",
                            header->size, policy->segment_bytes_max);
    return ERR_OK;
}
