/*
 * Building a batch from records.
 *
 * Role: how this server writes records of its own (Event Hubs events, job outputs, group offsets)
 * into the one format of the log. The batch is built in the block that later travels to the tail
 * and to readers: no copy at the end.
 *
 *   buf: | 61 bytes, filled by finish | record | record | ... | free |
 *         0                            61                     len    cap
 *
 * Invariants: (1) len <= cap <= bytes_max; (2) records are numbered 0, 1, 2 ... without gaps; (3)
 * the checksum is right when finish returns.
 *
 * Ownership: one owner; the buffer moves out in finish. Any thread.
 *
 * Failure modes: at bytes_max add refuses and the batch so far stays good; without memory add gives
 * ERR_NO_MEMORY, the same holds.
 */
#include "seglog/batch.h"

#include "base/crc32c.h"
#include "seglog/bytes_int.h"

enum { BATCH_BUILD_FIRST = 1024 };

void batch_builder_init(struct batch_builder *builder, size_t bytes_max)
{
    ASSERT(bytes_max >= BATCH_HEADER_SIZE && bytes_max <= BATCH_SIZE_MAX);
    *builder = (struct batch_builder){.bytes_max = bytes_max,
                                      .len = BATCH_HEADER_SIZE,
                                      .max_timestamp_ms = -1,
                                      .producer_id = -1,
                                      .producer_epoch = -1,
                                      .base_sequence = -1};
}

void batch_builder_deinit(struct batch_builder *builder)
{
    iobuf_unref(builder->buf);
    builder->buf = NULL;
}

/* Makes room for more bytes: doubles, as far as the limit allows. */
static enum err batch_builder_grow(struct batch_builder *builder, size_t more)
{
    size_t need = builder->len + more;
    if (need > builder->bytes_max)
        return ERR_MESSAGE_TOO_LARGE;
    size_t cap = builder->buf ? iobuf_cap(builder->buf) : 0;
    if (need <= cap)
        return ERR_OK;
    cap = cap ? cap * 2 : BATCH_BUILD_FIRST;
    while (cap < need)
        cap *= 2;
    if (cap > builder->bytes_max)
        cap = builder->bytes_max;
    struct iobuf *grown = iobuf_create(cap);
    if (!grown)
        return ERR_NO_MEMORY;
    if (builder->buf)
        memcpy(iobuf_data(grown), iobuf_data(builder->buf), builder->len);
    iobuf_unref(builder->buf);
    builder->buf = grown;
    ASSERT(iobuf_cap(grown) >= need);
    return ERR_OK;
}

static size_t field_size(struct slice field)
{
    return field.data ? varlong_size((int64_t)field.len) + field.len : 1;
}

static uint8_t *field_store(uint8_t *p, struct slice field)
{
    if (!field.data)
        return p + varlong_store(p, -1);
    p += varlong_store(p, (int64_t)field.len);
    memcpy(p, field.data, field.len);
    return p + field.len;
}

enum err batch_builder_add(struct batch_builder *builder, const struct batch_build_record *record)
{
    bool first = builder->record_count == 0;
    int64_t base_ms = first ? record->timestamp_ms : builder->base_timestamp_ms;
    int64_t delta_ms = record->timestamp_ms - base_ms;
    size_t body = 1 + varlong_size(delta_ms) + varlong_size(builder->record_count) +
                  field_size(record->key) + field_size(record->value) +
                  varlong_size(record->header_count);
    for (uint32_t i = 0; i < record->header_count; i++) {
        ASSERT(record->headers[i].key.data);
        body += field_size(record->headers[i].key) + field_size(record->headers[i].value);
    }
    if (body > builder->bytes_max || builder->record_count >= BATCH_RECORDS_MAX)
        return ERR_MESSAGE_TOO_LARGE;
    enum err err = batch_builder_grow(builder, varlong_size((int64_t)body) + body);
    if (err)
        return err;
    uint8_t *start = iobuf_data(builder->buf) + builder->len;
    uint8_t *p = start + varlong_store(start, (int64_t)body);
    uint8_t *body_start = p;
    *p++ = 0;
    p += varlong_store(p, delta_ms);
    p += varlong_store(p, builder->record_count);
    p = field_store(p, record->key);
    p = field_store(p, record->value);
    p += varlong_store(p, record->header_count);
    for (uint32_t i = 0; i < record->header_count; i++) {
        p = field_store(p, record->headers[i].key);
        p = field_store(p, record->headers[i].value);
    }
    ASSERT((size_t)(p - body_start) == body);
    builder->len += (size_t)(p - start);
    builder->base_timestamp_ms = base_ms;
    if (first || record->timestamp_ms > builder->max_timestamp_ms)
        builder->max_timestamp_ms = record->timestamp_ms;
    builder->record_count++;
    return ERR_OK;
}

void batch_builder_finish(struct batch_builder *builder, struct iobuf_range *ret_batch)
{
    ASSERT(builder->record_count > 0 && builder->buf);
    uint8_t *p = iobuf_data(builder->buf);
    be64_store(p, 0);
    be32_store(p + 8, (uint32_t)(builder->len - BATCH_PREFIX_SIZE));
    be32_store(p + 12, (uint32_t)-1);
    p[16] = 2;
    be16_store(p + 21, builder->attributes);
    be32_store(p + 23, (uint32_t)(builder->record_count - 1));
    be64_store(p + 27, (uint64_t)builder->base_timestamp_ms);
    be64_store(p + 35, (uint64_t)builder->max_timestamp_ms);
    be64_store(p + 43, (uint64_t)builder->producer_id);
    be16_store(p + 51, (uint16_t)builder->producer_epoch);
    be32_store(p + 53, (uint32_t)builder->base_sequence);
    be32_store(p + 57, (uint32_t)builder->record_count);
    be32_store(p + 17, crc32c(0, p + BATCH_CRC_START, builder->len - BATCH_CRC_START));
    *ret_batch = (struct iobuf_range){builder->buf, {p, builder->len}};
    size_t bytes_max = builder->bytes_max;
    builder->buf = NULL;
    batch_builder_init(builder, bytes_max);
    ASSERT(batch_crc_holds(ret_batch->bytes));
}
