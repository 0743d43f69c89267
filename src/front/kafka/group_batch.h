/* Requests that name several groups: one coordinator operation each, one after another, answered
 * together. All at once would let a short request, with a group named a million times, make answers
 * that are far longer than any that is sent. */
#ifndef WEIR_FRONT_KAFKA_GROUP_BATCH_H
#define WEIR_FRONT_KAFKA_GROUP_BATCH_H

#include "front/kafka/kafka_int.h"

struct group_batch {
    struct kafka_request *req;
    struct group_batch_item *items;
    uint32_t count;
    uint32_t next; /* operations begun; the last of them may be under way */
    size_t held;   /* by the answers of those that have ended */
    void (*answer)(struct group_batch *batch);
};

struct group_batch_item {
    struct group_op op;
    struct group_batch *batch;
};

/* Runs action on every group named; batch lives in the request's arena. answer runs with the peer
 * still there. */
void kafka_group_batch_run(struct kafka_request *req, struct group_batch *batch,
                           enum group_action action, const struct slice *groups, int32_t count,
                           void (*answer)(struct group_batch *batch));

#endif
