/*
 * Kafka's messages, all APIs, versions and both directions: what decodes can be encoded, and from
 * then on decoding and encoding change nothing.
 *
 * Input: API's position, version and direction (one byte each), then the message.
 */
#include "fuzz.h"
#include "kafka_api_versions.h"
#include "kafka_apis.h"
#include "kafka_create_topics.h"
#include "kafka_delete_groups.h"
#include "kafka_delete_topics.h"
#include "kafka_describe_cluster.h"
#include "kafka_describe_configs.h"
#include "kafka_describe_groups.h"
#include "kafka_fetch.h"
#include "kafka_find_coordinator.h"
#include "kafka_heartbeat.h"
#include "kafka_init_producer_id.h"
#include "kafka_join_group.h"
#include "kafka_leave_group.h"
#include "kafka_list_groups.h"
#include "kafka_list_offsets.h"
#include "kafka_metadata.h"
#include "kafka_offset_commit.h"
#include "kafka_offset_fetch.h"
#include "kafka_offset_for_leader_epoch.h"
#include "kafka_produce.h"
#include "kafka_sync_group.h"

#define APIS(X)                                                                                    \
    X(api_versions)                                                                                \
    X(create_topics)                                                                               \
    X(delete_groups)                                                                               \
    X(delete_topics)                                                                               \
    X(describe_cluster)                                                                            \
    X(describe_configs)                                                                            \
    X(describe_groups)                                                                             \
    X(fetch)                                                                                       \
    X(find_coordinator)                                                                            \
    X(heartbeat)                                                                                   \
    X(init_producer_id)                                                                            \
    X(join_group)                                                                                  \
    X(leave_group)                                                                                 \
    X(list_groups)                                                                                 \
    X(list_offsets)                                                                                \
    X(metadata)                                                                                    \
    X(offset_commit)                                                                               \
    X(offset_fetch)                                                                                \
    X(offset_for_leader_epoch)                                                                     \
    X(produce)                                                                                     \
    X(sync_group)

typedef bool codec_fn(struct wire_reader *in, int16_t version, struct arena *arena,
                      struct wire_writer *out);

#define CODEC(name)                                                                                \
    static bool codec_##name(struct wire_reader *in, int16_t version, struct arena *arena,         \
                             struct wire_writer *out)                                              \
    {                                                                                              \
        struct kafka_##name msg;                                                                   \
        if (!kafka_##name##_decode(in, version, arena, &msg))                                      \
            return false;                                                                          \
        kafka_##name##_encode(out, version, &msg);                                                 \
        return true;                                                                               \
    }
#define BOTH(name) CODEC(name##_request) CODEC(name##_response)
APIS(BOTH)

static const struct {
    const char *name;
    codec_fn *codecs[2];
} rows[] = {
#define ROW(name) {#name, {codec_##name##_request, codec_##name##_response}},
    APIS(ROW)};

static codec_fn *find_codec(const char *name, bool response)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].name, name) == 0)
            return rows[i].codecs[response];
    }
    FUZZ_CHECK(!"every API has a codec");
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = slice_make(data, size);
    const struct kafka_api *api = &kafka_apis[fuzz_take(&input, 1) % KAFKA_API_COUNT];
    int span = api->version_max - api->version_min + 1;
    int16_t version = (int16_t)(api->version_min + (int)(fuzz_take(&input, 1) % (unsigned)span));
    codec_fn *codec = find_codec(api->name, fuzz_take(&input, 1) & 1);
    struct slice bytes = fuzz_copy(input);
    struct arena *arena = arena_create(NULL, "fuzz", 8 << 20);
    struct bytebuf first;
    struct bytebuf second;
    bytebuf_init(&first, 8 << 20);
    bytebuf_init(&second, 8 << 20);
    struct wire_reader in = wire_reader_make(bytes);
    struct wire_writer out = wire_writer_make(&first, NULL);
    if (codec(&in, version, arena, &out)) {
        FUZZ_CHECK(wire_writer_ok(&out));
        in = wire_reader_make(bytebuf_slice(&first));
        out = wire_writer_make(&second, NULL);
        FUZZ_CHECK(codec(&in, version, arena, &out) && wire_reader_left(&in) == 0);
        FUZZ_CHECK(slice_equal(bytebuf_slice(&first), bytebuf_slice(&second)));
    }
    bytebuf_deinit(&first);
    bytebuf_deinit(&second);
    arena_destroy(arena);
    fuzz_free(bytes);
    return 0;
}
