/*
 * AMQP 1.0 frames and message sections.
 *
 * A frame:    size:4 | data offset:1 (in words of four) | type:1 | channel:2 | extended header |
 * body A message:  header 0x70 | delivery annotations 0x71 | message annotations 0x72 | properties
 * 0x73 | application properties 0x74 | body: data 0x75+, sequence 0x76+ or value 0x77 | footer 0x78
 *             each section is a described value and all are optional
 *
 * Invariants
 *  (1) A frame is reported only when all its bytes are there and its size passes the limit.
 *  (2) Sections come in rising order, but delivery annotations may come late: one SDK puts them
 * behind the body. Only data and sequence sections repeat, with nothing between them, and kinds of
 * body do not mix.
 *
 * Ownership and shard: pure functions; any thread.
 *
 * Failure: boundaries that do not hold give BAD, LARGE or false; the caller closes or rejects.
 */
#include "wire/amqp_frame.h"

enum amqp_frame_result amqp_frame_read(struct slice input, size_t size_max,
                                       struct amqp_frame *ret_frame, size_t *ret_need)
{
    ASSERT(size_max >= AMQP_FRAME_MIN_MAX);
    *ret_need = AMQP_FRAME_HEADER;
    if (input.len < AMQP_FRAME_HEADER)
        return AMQP_FRAME_MORE;
    const uint8_t *at = input.data;
    size_t size = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
    size_t offset = (size_t)at[4] * 4;
    if (size < AMQP_FRAME_HEADER || offset < AMQP_FRAME_HEADER || offset > size)
        return AMQP_FRAME_BAD;
    if (size > size_max)
        return AMQP_FRAME_LARGE;
    *ret_need = size;
    if (input.len < size)
        return AMQP_FRAME_MORE;
    ret_frame->type = at[5];
    ret_frame->channel = (uint16_t)(at[6] << 8 | at[7]);
    ret_frame->size = size;
    ret_frame->body = slice_make(at + offset, size - offset);
    return AMQP_FRAME_OK;
}

size_t amqp_frame_begin(struct bytebuf *buf, uint8_t type, uint16_t channel)
{
    size_t mark = buf->len;
    const uint8_t head[AMQP_FRAME_HEADER] = {
        0, 0, 0, 0, 2, type, (uint8_t)(channel >> 8), (uint8_t)channel};
    bytebuf_append(buf, head, sizeof(head));
    return mark;
}

void amqp_frame_end_with(struct bytebuf *buf, size_t mark, size_t extra)
{
    if (buf->failed)
        return;
    ASSERT(mark + AMQP_FRAME_HEADER <= buf->len);
    size_t size = buf->len - mark + extra;
    for (unsigned i = 0; i < 4; i++)
        buf->data[mark + i] = (uint8_t)(size >> (24 - 8 * i));
}

void amqp_frame_end(struct bytebuf *buf, size_t mark)
{
    amqp_frame_end_with(buf, mark, 0);
}

enum {
    SECTION_HEADER = 0x70,
    SECTION_DELIVERY,
    SECTION_DATA = 0x75,
    SECTION_SEQUENCE,
    SECTION_VALUE,
    SECTION_FOOTER
};

/* A map section's map; false when it holds something else. An explicit null counts as absent. */
static bool section_map(const struct amqp_value *value, struct slice *ret_map)
{
    *ret_map = value->type == AMQP_MAP ? value->raw : SLICE_NULL;
    return value->type == AMQP_MAP || value->type == AMQP_NULL;
}

static bool section_take(const struct amqp_value *section, struct amqp_message *message)
{
    struct amqp_value descriptor, value;
    amqp_value_undescribe(section, &descriptor, &value);
    switch (section->code) {
    case SECTION_HEADER:
        message->header = section->raw;
        return value.type == AMQP_LIST;
    case SECTION_DELIVERY:
        return section_map(&value, &message->delivery_annotations);
    case 0x72:
        return section_map(&value, &message->message_annotations);
    case 0x73:
        message->properties = section->raw;
        return value.type == AMQP_LIST;
    case 0x74:
        return section_map(&value, &message->application_properties);
    case SECTION_DATA:
        if (message->body_count == 0)
            message->data = value.bytes;
        message->body_kind = AMQP_BODY_DATA;
        return value.type == AMQP_BINARY;
    case SECTION_SEQUENCE:
        message->body_kind = AMQP_BODY_SEQUENCE;
        return value.type == AMQP_LIST;
    case SECTION_VALUE:
        message->body_kind = AMQP_BODY_VALUE;
        return true;
    case SECTION_FOOTER:
        message->footer = section->raw;
        return value.type == AMQP_MAP;
    default:
        return false;
    }
}

/* Whether a section may follow the one of code last. Delivery annotations that come late count as
 * the end of the body that they follow. */
static bool section_fits(const struct amqp_message *message, uint64_t last, uint64_t code)
{
    bool repeats = code == last && (last == SECTION_DATA || last == SECTION_SEQUENCE);
    if (code == SECTION_DELIVERY)
        return !message->delivery_annotations.data;
    if (code <= last && !repeats)
        return false;
    bool is_body = code >= SECTION_DATA && code <= SECTION_VALUE;
    return !is_body || repeats || message->body_count == 0; /* no second kind of body */
}

bool amqp_message_scan(struct slice bytes, struct amqp_message *ret_message)
{
    *ret_message = (struct amqp_message){0};
    uint64_t last = 0;
    while (bytes.len > 0) {
        struct amqp_value section;
        if (!amqp_value_read(&bytes, &section) || section.type != AMQP_DESCRIBED)
            return false;
        if (!section_fits(ret_message, last, section.code) || !section_take(&section, ret_message))
            return false;
        if (section.code == SECTION_DELIVERY && last >= SECTION_DATA) {
            last = last < SECTION_VALUE ? SECTION_VALUE : last;
            continue;
        }
        if (section.code >= SECTION_DATA && section.code <= SECTION_VALUE) {
            if (ret_message->body_count == 0)
                ret_message->body.data = section.raw.data;
            ret_message->body.len =
                (size_t)(section.raw.data + section.raw.len - ret_message->body.data);
            ret_message->body_count++;
        }
        if (section.code > last)
            last = section.code;
    }
    return true;
}

bool amqp_message_data_next(struct slice *body, struct slice *ret_content)
{
    struct amqp_value section, descriptor, value;
    if (body->len == 0 || !amqp_value_read(body, &section))
        return false;
    ASSERT(section.type == AMQP_DESCRIBED && section.code == SECTION_DATA);
    amqp_value_undescribe(&section, &descriptor, &value);
    *ret_content = value.bytes;
    return true;
}
