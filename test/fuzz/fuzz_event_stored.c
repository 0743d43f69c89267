/* The event mapping: any message that is taken becomes a record that gives a well-formed message again, and any record does. */
#include "event/event_map.h"
#include "fuzz.h"

static struct slice join(struct bytebuf *buf, const struct event_parts *parts)
{
    bytebuf_clear(buf);
    bytebuf_append_slice(buf, parts->head);
    bytebuf_append_slice(buf, parts->body);
    bytebuf_append_slice(buf, parts->tail);
    return bytebuf_slice(buf);
}

/* Stores one record, reads it back and encodes it both as an AMQP and as a Kafka producer's. */
static void check_record(const struct batch_build_record *record, bool taken)
{
    struct batch_builder builder;
    struct iobuf_range batch;
    struct batch_iter iter;
    struct batch_record stored;
    struct bytebuf out, joined;
    struct event_parts parts;
    struct amqp_message message;
    struct err_info info;
    const struct event_runtime runtime = {1, 2, 3};
    batch_builder_init(&builder, 1 << 22);
    bytebuf_init(&out, 1 << 22);
    bytebuf_init(&joined, 1 << 22);
    if (batch_builder_add(&builder, record) == ERR_OK) {
        batch_builder_finish(&builder, &batch);
        FUZZ_CHECK(batch_iter_init(&iter, batch.bytes, &out, &info) == ERR_OK);
        FUZZ_CHECK(batch_iter_next(&iter, &stored));
        for (int amqp = 0; amqp < 2; amqp++) {
            FUZZ_CHECK(event_from_record(&stored, amqp, amqp ? NULL : &runtime, &out, &parts));
            FUZZ_CHECK(amqp_message_scan(join(&joined, &parts), &message) || !taken);
            FUZZ_CHECK(message.message_annotations.len > 0 || !taken);
        }
        iobuf_unref(batch.buf);
    }
    batch_builder_deinit(&builder);
    bytebuf_deinit(&out);
    bytebuf_deinit(&joined);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice copy = fuzz_copy(slice_make(data, size));
    struct arena *arena = arena_create(NULL, "fuzz", 1 << 22);
    struct event_origin origin = {.partition_key = slice_sub(copy, 0, 4), .now_ms = 5};
    struct batch_build_record record;
    struct err_info info;
    if (arena && event_to_record(copy, &origin, arena, &record, &info) == ERR_OK)
        check_record(&record, true);
    /* The same bytes as what another producer may have written under this mapping's names. */
    size_t half = copy.len / 2;
    struct batch_field headers[3] = {
        {SLICE_LIT(EVENT_SECTIONS_HEADER), slice_sub(copy, 0, half)},
        {slice_sub(copy, half, 7), slice_sub(copy, half, SIZE_MAX)},
        {SLICE_LIT("message-id"), slice_sub(copy, half / 2, SIZE_MAX)},
    };
    record = (struct batch_build_record){
        .timestamp_ms = 1, .key = copy, .value = copy, .headers = headers, .header_count = 3};
    check_record(&record, true);
    arena_destroy(arena);
    fuzz_free(copy);
    return 0;
}
