/* What the handlers of the group APIs share: one operation of the coordinator tied to one request.
 */
#ifndef WEIR_FRONT_KAFKA_GROUP_CALL_H
#define WEIR_FRONT_KAFKA_GROUP_CALL_H

#include "front/kafka/kafka_int.h"

struct group_call {
    struct group_op op;
    struct kafka_request *req;
    void (*answer)(struct group_call *call);
};

/* Submits call->op, which the caller has filled but for done; answer runs when it has ended, with
 * the peer still there. */
void kafka_group_submit(struct kafka_request *req, struct group_call *call,
                        void (*answer)(struct group_call *call));

#endif
