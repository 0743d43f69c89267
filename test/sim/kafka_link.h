/*
 * The least of a Kafka client: one connection, requests pipelined, answers in order.
 *
 * Written against the protocol's description, not with the server's own codecs, so that both do not share a mistake.
 */
#ifndef WEIR_TEST_SIM_KAFKA_LINK_H
#define WEIR_TEST_SIM_KAFKA_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct kafka_link;
struct reactor;

struct kafka_link_ops {
    /* Answer to kafka_link_produce: Kafka's error code, and the offset of the first record. */
    void (*produced)(void *arg, unsigned token, int16_t code, int64_t base_offset);
    void (*id_given)(void *arg, int16_t code, int64_t producer_id);
    /* The connection is gone; what was in flight has no known outcome. The link frees itself. */
    void (*lost)(void *arg);
    /* The server's bytes make no sense. */
    void (*nonsense)(void *arg, const char *what);
};

/* NULL: refused at once. */
struct kafka_link *kafka_link_dial(struct reactor *reactor, uint16_t port,
                                   const struct kafka_link_ops *ops, void *arg);
void kafka_link_produce(struct kafka_link *link, unsigned token, int16_t acks, const char *topic,
                        int32_t partition, struct slice batch);
void kafka_link_ask_id(struct kafka_link *link);
/* No callback comes any more. */
void kafka_link_drop(struct kafka_link *link);

#endif
