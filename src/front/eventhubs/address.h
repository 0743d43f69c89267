/*
 * Addresses of links, and the start positions that receivers ask for.
 */
#ifndef WEIR_FRONT_EVENTHUBS_ADDRESS_H
#define WEIR_FRONT_EVENTHUBS_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum eh_node {
    EH_NODE_UNKNOWN,
    EH_NODE_CBS,        /* $cbs */
    EH_NODE_MANAGEMENT, /* $management or <hub>/$management */
    EH_NODE_HUB,        /* hub, hub/Partitions/n, hub/Publishers/p */
    EH_NODE_GROUP       /* hub/ConsumerGroups/cg/Partitions/n */
};

struct eh_address {
    enum eh_node node;
    struct slice path; /* without scheme, authority and leading slashes */
    struct slice hub;
    struct slice group;
    struct slice partition; /* text; data NULL: none */
    struct slice publisher; /* data NULL: none */
};

/* Takes every form that clients use: with scheme and host, with a leading slash, or bare. */
struct eh_address eh_address_parse(struct slice text);
/* A partition's number, -1 when text is not one of 0 .. count - 1. */
int32_t eh_address_partition(struct slice text, int32_t count);

enum eh_position_kind {
    EH_POSITION_OFFSET,   /* offset or sequence number: the two are one */
    EH_POSITION_EARLIEST, /* "-1" or no filter */
    EH_POSITION_LATEST,   /* "@latest" */
    EH_POSITION_TIME      /* milliseconds */
};

struct eh_position {
    enum eh_position_kind kind;
    bool inclusive;
    bool sequence; /* for the wording of errors: a sequence number was given, not an offset */
    int64_t value;
    struct slice text; /* as given */
};

/* Reads "amqp.annotation.x-opt-offset > '123'" and its relatives. false: none of them. */
bool eh_position_parse(struct slice filter, struct eh_position *ret_position);

#endif
