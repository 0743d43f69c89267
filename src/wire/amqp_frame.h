/*
 * AMQP 1.0 framing and the sections of a message.
 *
 * Both only find boundaries inside the caller's bytes and check them against limits; they keep
 * nothing.
 */
#ifndef WEIR_WIRE_AMQP_FRAME_H
#define WEIR_WIRE_AMQP_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytebuf.h"
#include "base/slice.h"
#include "wire/amqp_value.h"

enum {
    AMQP_FRAME_HEADER = 8,
    AMQP_FRAME_MIN_MAX = 512, /* every peer takes frames of this size */
    AMQP_FRAME_TYPE_AMQP = 0,
    AMQP_FRAME_TYPE_SASL = 1
};

enum amqp_frame_result {
    AMQP_FRAME_OK,
    AMQP_FRAME_MORE,  /* the frame is not complete: ret_need bytes in all */
    AMQP_FRAME_BAD,   /* not a frame: size or data offset impossible */
    AMQP_FRAME_LARGE, /* above the limit */
};

struct amqp_frame {
    uint8_t type;
    uint16_t channel;
    size_t size;       /* header included */
    struct slice body; /* performative and payload; empty for a heartbeat */
};

/* The frame at the start of input. */
enum amqp_frame_result amqp_frame_read(struct slice input, size_t size_max,
                                       struct amqp_frame *ret_frame, size_t *ret_need);
/* Opens a frame; amqp_frame_end fills its size in. */
size_t amqp_frame_begin(struct bytebuf *buf, uint8_t type, uint16_t channel);
void amqp_frame_end(struct bytebuf *buf, size_t mark);
/* The same when extra bytes of payload follow that are not in buf. */
void amqp_frame_end_with(struct bytebuf *buf, size_t mark, size_t extra);

enum amqp_body {
    AMQP_BODY_NONE,
    AMQP_BODY_DATA,     /* one or more binary sections */
    AMQP_BODY_SEQUENCE, /* one or more lists */
    AMQP_BODY_VALUE     /* one value */
};

/* The sections of one message. Slices of whole sections include their descriptors; absent ones are
 * SLICE_NULL. */
struct amqp_message {
    struct slice header;
    struct slice delivery_annotations;   /* the map's encoding */
    struct slice message_annotations;    /* the map's encoding */
    struct slice properties;             /* the whole section */
    struct slice application_properties; /* the map's encoding */
    struct slice body;                   /* all body sections, from the first to the last */
    struct slice footer;                 /* the whole section */
    struct slice data;                   /* content of the first Data section */
    enum amqp_body body_kind;
    uint32_t body_count; /* body sections */
};

/* Finds the sections; they must be well-formed, in order, without repetition but for the body. */
MUST_CHECK bool amqp_message_scan(struct slice bytes, struct amqp_message *ret_message);

/* Walks Data sections of a body that was scanned: start with the body's slice. false at the end. */
bool amqp_message_data_next(struct slice *body, struct slice *ret_content);

#endif
