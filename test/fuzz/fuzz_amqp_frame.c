/* AMQP frames and message sections: slices stay inside the input. */
#include "fuzz.h"
#include "wire/amqp_frame.h"

static bool inside(struct slice outer, struct slice inner)
{
    return inner.len == 0 ||
           (inner.data >= outer.data && inner.data + inner.len <= outer.data + outer.len);
}

static void check_message(struct slice bytes)
{
    struct amqp_message message;
    if (!amqp_message_scan(bytes, &message))
        return;
    FUZZ_CHECK(inside(bytes, message.header) && inside(bytes, message.delivery_annotations));
    FUZZ_CHECK(inside(bytes, message.message_annotations) && inside(bytes, message.properties));
    FUZZ_CHECK(inside(bytes, message.application_properties) && inside(bytes, message.footer));
    FUZZ_CHECK(inside(bytes, message.body) && inside(bytes, message.data));
    struct slice content;
    uint32_t count = 0;
    struct slice body = message.body;
    while (message.body_kind == AMQP_BODY_DATA && amqp_message_data_next(&body, &content)) {
        FUZZ_CHECK(inside(bytes, content));
        count++;
    }
    FUZZ_CHECK(message.body_kind != AMQP_BODY_DATA || count == message.body_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice copy = fuzz_copy(slice_make(data, size));
    struct slice rest = copy;
    check_message(copy);
    for (;;) {
        struct amqp_frame frame;
        size_t need = 0;
        enum amqp_frame_result result = amqp_frame_read(rest, 4096, &frame, &need);
        if (result == AMQP_FRAME_MORE)
            FUZZ_CHECK(need > rest.len);
        if (result != AMQP_FRAME_OK)
            break;
        FUZZ_CHECK(frame.size >= AMQP_FRAME_HEADER && frame.size <= rest.len &&
                   inside(rest, frame.body));
        check_message(frame.body);
        rest = slice_sub(rest, frame.size, SIZE_MAX);
    }
    fuzz_free(copy);
    return 0;
}
