/* The one place where a group operation is submitted, and where what its answer points to is given
 * back. */
#include "front/kafka/group_call.h"

static void call_done(struct group_op *op)
{
    struct group_call *call = CONTAINER_OF(op, struct group_call, op);
    struct kafka_request *req = call->req;
    ASSERT(req->state == KAFKA_RUNNING);
    if (!req->conn)
        kafka_reply_none(req);
    else
        call->answer(call);
}

static void call_cleanup(struct kafka_request *req)
{
    struct group_call *call = req->state_of_api;
    group_op_release(&call->op);
}

void kafka_group_submit(struct kafka_request *req, struct group_call *call,
                        void (*answer)(struct group_call *call))
{
    ASSERT(!req->cleanup);
    call->req = req;
    call->answer = answer;
    call->op.done = call_done;
    req->state_of_api = call;
    req->cleanup = call_cleanup;
    group_submit(req->ks->gs, &call->op);
}
