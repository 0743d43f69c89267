/*
 * Small texts from peers and disks: settings of topics, ids, the saved state of a job. Input: a kind,
 * then the bytes.
 */
#include "fuzz.h"
#include "meta/topic_config.h"
#include "meta/uuid.h"
#include "stream/state_int.h"

/* What a check lets pass can be applied. */
static void check_setting(struct slice bytes)
{
    enum topic_config_key key = (enum topic_config_key)(fuzz_take(&bytes, 1) % TOPIC_CONFIG_COUNT);
    struct slice value = fuzz_copy(bytes);
    struct err_info info = {0};
    if (topic_config_check(key, value, &info) == ERR_OK) {
        FUZZ_CHECK(!memchr(value.data, 0, value.len)); /* values travel as C strings */
        char *text = strndup((const char *)value.data, value.len);
        struct topic_override override = {key, text};
        struct topic_values values;
        topic_config_values(&override, 1, &values);
        FUZZ_CHECK(values.segment_bytes > 0 && values.max_message_bytes >= 0);
        FUZZ_CHECK(values.cleanup != 0);
        free(text);
    } else {
        FUZZ_CHECK(info.text[0]);
    }
    fuzz_free(value);
}

static void check_uuid(struct slice bytes)
{
    struct slice text = fuzz_copy(bytes);
    struct uuid id;
    if (uuid_read_text(text, &id)) {
        char again[UUID_TEXT_LEN + 1];
        uuid_write_text(id, again);
        FUZZ_CHECK(slice_equal(text, slice_cstr(again)));
    }
    fuzz_free(text);
}

static void check_inside(struct slice outer, struct slice inner)
{
    FUZZ_CHECK(inner.len == 0 ||
               (inner.data >= outer.data && inner.data + inner.len <= outer.data + outer.len));
}

static void check_state(struct slice bytes)
{
    struct slice state = fuzz_copy(bytes);
    struct slice positions = stream_state_positions(state);
    check_inside(state, positions);
    FUZZ_CHECK(positions.len == 0 || positions.data[0] == '{');
    for (uint32_t i = 0; i < 4; i++)
        check_inside(state, stream_state_sink(state, i));
    fuzz_free(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const checks[])(struct slice) = {check_setting, check_uuid, check_state};
    struct slice input = slice_make(data, size);
    uint64_t kind = fuzz_take(&input, 1);
    checks[kind % 3](input);
    return 0;
}
