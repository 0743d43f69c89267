/*
 * The least of an AMQP 1.0 client: one connection with one session and one link, which sends or receives.
 *
 * Written against the protocol's description, not with the server's own codecs, so that both do not share a mistake.
 */
#ifndef WEIR_TEST_SIM_AMQP_LINK_H
#define WEIR_TEST_SIM_AMQP_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct amqp_link;
struct reactor;

struct amqp_link_ops {
    /* So many more deliveries may be sent. */
    void (*credit)(void *arg);
    /* The outcome of a delivery that was sent. */
    void (*settled)(void *arg, unsigned token, bool accepted);
    /* A whole event came: its sequence number, its offset as a number, and its one Data section. */
    void (*event)(void *arg, int64_t sequence, int64_t offset, struct slice body);
    /* The connection or link is gone; what was in flight has no known outcome. The link frees itself. */
    void (*lost)(void *arg);
    /* The server's bytes make no sense. */
    void (*nonsense)(void *arg, const char *what);
};

struct amqp_link_config {
    const char *address; /* of the node; copied */
    const char *filter;  /* of a receiver, NULL: it is a sender; copied */
    uint32_t frame_max;  /* of frames that come */
    uint32_t window;     /* of frames that come, for a receiver */
    uint32_t credit;     /* that a receiver gives */
    uint32_t piece;      /* most bytes of a message in one frame that goes */
};

/* NULL: refused at once. */
struct amqp_link *amqp_link_dial(struct reactor *reactor, uint16_t port,
                                 const struct amqp_link_config *config,
                                 const struct amqp_link_ops *ops, void *arg);
/* Deliveries that may be sent now. */
uint32_t amqp_link_credit(const struct amqp_link *link);
/* Sends an unsettled delivery of the message, which may be cut into several frames. */
void amqp_link_send(struct amqp_link *link, unsigned token, uint32_t format, struct slice message);
/* No callback comes any more. */
void amqp_link_drop(struct amqp_link *link);

struct bytebuf;
/* Appends a Data section. */
void amqp_link_put_data(struct bytebuf *out, struct slice body);

#endif
