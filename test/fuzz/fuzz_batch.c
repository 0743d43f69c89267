/*
 * Record batches: validation, the walk and both conversions of old formats on any bytes. The
 * checksum is mended first in most runs, else nothing behind it would be reached.
 */
#include "base/crc32c.h"
#include "fuzz.h"
#include "seglog/batch.h"

enum { INFLATED_MAX = 1 << 20 };

static void store_be32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

/* Length and checksum as a batch of exactly these bytes has them. */
static void mend(struct slice bytes)
{
    uint8_t *data = (uint8_t *)(uintptr_t)bytes.data;
    if (bytes.len < BATCH_HEADER_SIZE)
        return;
    store_be32(data + 8, (uint32_t)bytes.len - BATCH_PREFIX_SIZE);
    data[16] = 2;
    store_be32(data + 17, crc32c(0, data + BATCH_CRC_START, bytes.len - BATCH_CRC_START));
}

static void walk(struct slice bytes, struct bytebuf *scratch)
{
    struct batch_iter iter;
    struct batch_record record;
    if (batch_iter_init(&iter, bytes, scratch, NULL) != ERR_OK)
        return;
    int32_t count = 0;
    while (batch_iter_next(&iter, &record)) {
        struct slice headers = record.headers;
        struct batch_field field;
        uint32_t fields = 0;
        while (batch_headers_next(&headers, &field))
            fields++;
        FUZZ_CHECK(fields == record.header_count);
        count++;
    }
    FUZZ_CHECK(count <= iter.header.record_count || iter.header.record_count < 0);
}

static void convert(struct slice bytes, struct bytebuf *scratch)
{
    struct iobuf_range batch;
    if (batch_from_message_set(bytes, INFLATED_MAX, scratch, &batch, NULL) == ERR_OK) {
        walk(batch.bytes, scratch);
        FUZZ_CHECK(batch_crc_holds(batch.bytes));
        iobuf_unref(batch.buf);
    }
    struct bytebuf out;
    bytebuf_init(&out, INFLATED_MAX);
    for (int8_t magic = 0; magic <= 1; magic++) {
        bytebuf_clear(&out);
        enum err error = batch_to_message_set(bytes, magic, scratch, &out, NULL);
        FUZZ_CHECK(error != ERR_OK || !out.failed);
    }
    bytebuf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = slice_make(data, size);
    uint64_t flags = fuzz_take(&input, 1);
    struct slice bytes = fuzz_copy(input);
    if (flags & 1)
        mend(bytes);
    struct batch_policy policy = {.origin = flags & 2 ? BATCH_FROM_SERVER : BATCH_FROM_CLIENT,
                                  .batch_bytes_max = 1 << 20,
                                  .segment_bytes_max = 1 << 20,
                                  .zstd_allowed = flags & 4,
                                  .records_checked = flags & 8,
                                  .keys_required = flags & 16,
                                  .append_time = flags & 32,
                                  .now_ms = 1384000000000,
                                  .timestamp_before_max_ms = flags & 64 ? 1000 : INT64_MAX,
                                  .timestamp_after_max_ms = flags & 64 ? 1000 : INT64_MAX};
    struct bytebuf scratch;
    struct batch_verdict verdict;
    struct err_info info;
    bytebuf_init(&scratch, INFLATED_MAX);
    if (size > 1 && batch_validate(bytes, &policy, &scratch, &verdict, &info) == ERR_OK) {
        FUZZ_CHECK(verdict.header.size == bytes.len && batch_crc_holds(bytes));
        FUZZ_CHECK(verdict.header.record_count > 0 || policy.origin == BATCH_FROM_SERVER);
    }
    walk(bytes, &scratch);
    convert(bytes, &scratch);
    FUZZ_CHECK(batch_size_peek(bytes) == 0 || bytes.len >= BATCH_PREFIX_SIZE);
    bytebuf_deinit(&scratch);
    fuzz_free(bytes);
    return 0;
}
