/*
 * Events <-> records: the one place that knows how an AMQP message lies in the log.
 *
 *     record value      the body: bytes of a single Data section, or text of a string value; null
 *                       without a body
 *     record key        annotation x-opt-kafka-key
 *     record headers    AMQP properties as UTF-8 text under their standard names,
 *                       x-opt-partition-key and x-opt-publisher as text,
 *                       application properties as their AMQP encoding with constructor
 *     batch attribute   EVENT_BATCH_AMQP tells a reader that headers are in this form; without it
 *                       (a Kafka producer's batch) every header is an application property of type
 *                       binary
 *
 * What text cannot carry (message ids that are not strings, footers, foreign annotations, other
 * kinds of body) is kept in one more header, EVENT_SECTIONS_HEADER, as the bytes that came; it
 * stands first and most events have none.
 */
#ifndef WEIR_EVENT_EVENT_MAP_H
#define WEIR_EVENT_EVENT_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytebuf.h"
#include "base/slice.h"
#include "seglog/batch.h"
#include "wire/amqp_frame.h"

enum {
    EVENT_BATCH_AMQP = 0x80,     /* a bit of the batch attributes that Kafka leaves unused */
    EVENT_PROPERTIES_MAX = 1024, /* application properties of one event */
    EVENT_KEY_MAX = 128          /* characters of a partition key */
};

#define EVENT_SECTIONS_HEADER "x-opt-amqp-sections"

/* What the sender's link and batch envelope say about an event. Empty slices: nothing. */
struct event_origin {
    struct slice partition_key; /* used when the event has none of its own */
    struct slice publisher;
    int64_t now_ms;
};

/*
 * Makes the record of one event. Slices of *ret_record point into the message, the arena, or
 * literals. ERR_INVALID_REQUEST: malformed; ERR_LIMIT: too many properties; ERR_NO_MEMORY.
 */
MUST_CHECK enum err event_to_record(struct slice message_bytes, const struct event_origin *origin,
                                    struct arena *arena, struct batch_build_record *ret_record,
                                    struct err_info *info);

/* The partition key that a message's annotations give: a string of 1 to 128 bytes, else empty. */
struct slice event_partition_key(const struct amqp_message *message);

/* Facts of the partition that a receiver asked for with every event. */
struct event_runtime {
    int64_t last_sequence_number;
    int64_t last_enqueued_ms;
    int64_t retrieved_ms;
};

/* An encoded message in three parts to be sent one after another. head and tail lie in the buffer
 * of the caller. */
struct event_parts {
    struct slice head;
    struct slice body;
    struct slice tail;
};

/*
 * Encodes the record at offset as a message for a receiver, into out (cleared first). The body is a
 * view of the record. amqp: the record's batch has EVENT_BATCH_AMQP. runtime: NULL for none. false:
 * out is at its limit.
 */
MUST_CHECK bool event_from_record(const struct batch_record *record, bool amqp,
                                  const struct event_runtime *runtime, struct bytebuf *out,
                                  struct event_parts *ret_parts);

#endif
