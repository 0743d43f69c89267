/*
 * The generated Kafka codecs against samples that Kafka's own client library encoded, and against
 * hostile bytes. Every sample is decoded and encoded again: the bytes must be the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kafka_api_versions.h"
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
    X(create_topics) X(delete_groups) X(delete_topics) X(describe_cluster) X(describe_configs)     \
        X(describe_groups) X(fetch) X(find_coordinator) X(heartbeat) X(init_producer_id)           \
            X(join_group) X(leave_group) X(list_groups) X(list_offsets) X(metadata)                \
                X(offset_commit) X(offset_fetch) X(offset_for_leader_epoch) X(produce)             \
                    X(sync_group)

/* Decodes and, when that succeeds and out is given, encodes again. */
#define CODEC(name)                                                                                \
    static bool codec_##name(struct wire_reader *in, int16_t version, struct arena *arena,         \
                             struct wire_writer *out)                                              \
    {                                                                                              \
        struct kafka_##name msg;                                                                   \
        if (!kafka_##name##_decode(in, version, arena, &msg))                                      \
            return false;                                                                          \
        if (out)                                                                                   \
            kafka_##name##_encode(out, version, &msg);                                             \
        return true;                                                                               \
    }
#define BOTH(name) CODEC(name##_request) CODEC(name##_response)
APIS(BOTH)

typedef bool codec_fn(struct wire_reader *in, int16_t version, struct arena *arena,
                      struct wire_writer *out);

static const struct {
    const char *name;
    codec_fn *request;
    codec_fn *response;
} codecs[] = {
#define ROW(name) {#name, codec_##name##_request, codec_##name##_response},
    APIS(ROW)};

struct sample {
    char name[64];
    codec_fn *codec;
    int16_t version;
    uint8_t bytes[4096];
    size_t len;
};

static struct sample *samples;
static size_t sample_count;

static int hex_digit(int c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static int samples_load(void **state)
{
    FILE *file = fopen(KAFKA_GOLDEN, "r");
    assert_non_null(file);
    samples = calloc(2000, sizeof(*samples));
    assert_non_null(samples);
    char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, file) > 0) {
        char name[64], kind[16];
        int version, start = 0;
        assert_int_equal(sscanf(line, "%63s %15s %d%n", name, kind, &version, &start), 3);
        struct sample *sample = &samples[sample_count++];
        assert_true(sample_count < 2000);
        snprintf(sample->name, sizeof(sample->name), "%.30s %s %d", name, kind, version);
        sample->version = (int16_t)version;
        for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++)
            if (strcmp(codecs[i].name, name) == 0)
                sample->codec = kind[2] == 'q' ? codecs[i].request : codecs[i].response;
        assert_non_null(sample->codec);
        for (const char *hex = line + start + 1; hex[0] > ' ' && hex[1] > ' '; hex += 2) {
            assert_true(sample->len < sizeof(sample->bytes));
            sample->bytes[sample->len++] = (uint8_t)(hex_digit(hex[0]) << 4 | hex_digit(hex[1]));
        }
    }
    free(line);
    fclose(file);
    assert_true(sample_count > 300);
    return 0;
}

static int samples_free(void **state)
{
    free(samples);
    return 0;
}

static void test_golden_samples(void **state)
{
    struct arena *arena = arena_create(NULL, "test", 1 << 20);
    struct bytebuf buf;
    bytebuf_init(&buf, 65536);
    for (size_t i = 0; i < sample_count; i++) {
        const struct sample *sample = &samples[i];
        struct wire_reader in = wire_reader_make(slice_make(sample->bytes, sample->len));
        struct wire_writer out = wire_writer_make(&buf, NULL);
        bytebuf_clear(&buf);
        bool same = sample->codec(&in, sample->version, arena, &out) &&
                    wire_reader_left(&in) == 0 &&
                    slice_equal(bytebuf_slice(&buf), slice_make(sample->bytes, sample->len));
        if (!same)
            print_error("sample %zu: %s\n", i, sample->name);
        assert_true(same);
        arena_reset(arena);
    }
    bytebuf_deinit(&buf);
    arena_destroy(arena);
}

/* Exact copies on the heap, so that the sanitizers see a read past the end. */
static bool decode_exact(const struct sample *sample, const uint8_t *bytes, size_t len,
                         struct arena *arena)
{
    uint8_t *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    if (len)
        memcpy(copy, bytes, len);
    struct wire_reader in = wire_reader_make(slice_make(copy, len));
    bool ok = sample->codec(&in, sample->version, arena, NULL);
    free(copy);
    arena_reset(arena);
    return ok;
}

static void test_truncated_samples_fail(void **state)
{
    struct arena *arena = arena_create(NULL, "test", 1 << 20);
    for (size_t i = 0; i < sample_count; i++)
        for (size_t len = 0; len < samples[i].len; len++)
            assert_false(decode_exact(&samples[i], samples[i].bytes, len, arena));
    arena_destroy(arena);
}

static void test_lying_lengths_are_survived(void **state)
{
    static const uint8_t lies[][5] = {{0x7f, 0xff, 0xff, 0xff, 0xff},
                                      {0xff, 0xff, 0xff, 0xff, 0x0f},
                                      {0x80, 0, 0, 0, 0},
                                      {0, 0, 0xff, 0xff, 0xff}};
    struct arena *arena = arena_create(NULL, "test", 1 << 20);
    for (size_t i = 0; i < sample_count; i++) {
        for (size_t at = 0; at < samples[i].len; at++) {
            for (size_t k = 0; k < sizeof(lies) / sizeof(lies[0]); k++) {
                uint8_t bytes[sizeof(samples->bytes)];
                size_t left = samples[i].len - at;
                memcpy(bytes, samples[i].bytes, samples[i].len);
                memcpy(bytes + at, lies[k], left < 5 ? left : 5);
                (void)decode_exact(&samples[i], bytes, samples[i].len, arena);
                assert_true(arena_held(arena) <= 1 << 20);
            }
        }
    }
    arena_destroy(arena);
}

static void test_unknown_tags_are_ignored(void **state)
{
    /* Heartbeat 4: empty group, generation 1, empty member, no instance, then one unknown tag 9 of
     * 2 bytes. */
    static const uint8_t bytes[] = {1, 0, 0, 0, 1, 1, 0, 1, 9, 2, 0xaa, 0xbb};
    struct arena *arena = arena_create(NULL, "test", 1 << 20);
    struct wire_reader in = wire_reader_make(slice_make(bytes, sizeof(bytes)));
    struct kafka_heartbeat_request msg;
    assert_true(kafka_heartbeat_request_decode(&in, 4, arena, &msg));
    assert_int_equal(msg.generation_id, 1);
    assert_null(msg.group_instance_id.data);
    arena_destroy(arena);
}

static void test_defaults_of_absent_fields(void **state)
{
    struct kafka_fetch_request fetch;
    kafka_fetch_request_init(&fetch);
    assert_int_equal(fetch.max_bytes, INT32_MAX);
    assert_int_equal(fetch.session_epoch, -1);
    assert_int_equal(fetch.replica_state.replica_id, -1);
    assert_null(fetch.cluster_id.data);
    struct kafka_metadata_response metadata;
    kafka_metadata_response_init(&metadata);
    assert_int_equal(metadata.cluster_authorized_operations, INT32_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_samples),
        cmocka_unit_test(test_truncated_samples_fail),
        cmocka_unit_test(test_lying_lengths_are_survived),
        cmocka_unit_test(test_unknown_tags_are_ignored),
        cmocka_unit_test(test_defaults_of_absent_fields),
    };
    return cmocka_run_group_tests(tests, samples_load, samples_free);
}
