/* Events <-> records: any message that becomes a record becomes a message again, and that one is well-formed. */
#include "event/event_map.h"
#include "fuzz.h"

enum { MESSAGE_MAX = 1 << 20 };

static void send_back(const struct batch_build_record *built, bool amqp)
{
    struct batch_builder builder;
    batch_builder_init(&builder, MESSAGE_MAX);
    if (batch_builder_add(&builder, built) != ERR_OK) {
        batch_builder_deinit(&builder);
        return;
    }
    struct iobuf_range batch;
    batch_builder_finish(&builder, &batch);
    struct bytebuf scratch;
    struct bytebuf out;
    struct bytebuf whole;
    struct batch_iter iter;
    struct batch_record record;
    struct event_parts parts;
    struct event_runtime runtime = {1, 2, 3};
    bytebuf_init(&scratch, MESSAGE_MAX);
    bytebuf_init(&out, 4 * MESSAGE_MAX);
    bytebuf_init(&whole, 8 * MESSAGE_MAX);
    FUZZ_CHECK(batch_iter_init(&iter, batch.bytes, &scratch, NULL) == ERR_OK);
    FUZZ_CHECK(batch_iter_next(&iter, &record));
    if (event_from_record(&record, amqp, &runtime, &out, &parts)) {
        struct amqp_message message;
        bytebuf_append_slice(&whole, parts.head);
        bytebuf_append_slice(&whole, parts.body);
        bytebuf_append_slice(&whole, parts.tail);
        FUZZ_CHECK(!whole.failed && amqp_message_scan(bytebuf_slice(&whole), &message));
    }
    bytebuf_deinit(&scratch);
    bytebuf_deinit(&out);
    bytebuf_deinit(&whole);
    iobuf_unref(batch.buf);
}

/* A Kafka producer's record with this key, value and one header. */
static void from_kafka(struct slice bytes)
{
    struct slice key = slice_sub(bytes, 0, bytes.len / 4);
    struct batch_field header = {slice_sub(bytes, bytes.len / 4, bytes.len / 4),
                                 slice_sub(bytes, bytes.len / 2, bytes.len / 4)};
    struct batch_build_record record = {.timestamp_ms = 5,
                                        .key = key,
                                        .value = slice_sub(bytes, bytes.len / 2, SIZE_MAX),
                                        .headers = &header,
                                        .header_count = 1};
    send_back(&record, false);
    send_back(&record, true); /* headers of a log that somebody else wrote */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = fuzz_copy(slice_make(data, size));
    struct arena *arena = arena_create(NULL, "fuzz", 16 << 20);
    struct event_origin origin = {
        .partition_key = SLICE_LIT("key"), .publisher = SLICE_LIT("p"), .now_ms = 1384000000000};
    struct batch_build_record record;
    struct err_info info;
    enum err error = event_to_record(bytes, &origin, arena, &record, &info);
    if (error == ERR_OK)
        send_back(&record, true);
    else
        FUZZ_CHECK(error == ERR_INVALID_REQUEST || error == ERR_LIMIT || error == ERR_NO_MEMORY);
    from_kafka(bytes);
    arena_destroy(arena);
    fuzz_free(bytes);
    return 0;
}
