/* Heartbeat: a member is alive; the answer tells whether it must rejoin. */
#include "front/kafka/group_call.h"
#include "kafka_heartbeat.h"

static void heartbeat_answer(struct group_call *call)
{
    struct kafka_request *req = call->req;
    ASSERT(call->op.action == GROUP_HEARTBEAT);
    struct kafka_heartbeat_response answer;
    kafka_heartbeat_response_init(&answer);
    answer.error_code = kafka_code_of_group(call->op.err);
    kafka_heartbeat_response_encode(kafka_reply_begin(req), req->version, &answer);
    kafka_reply_end(req);
}

void kafka_handle_heartbeat(struct kafka_request *req)
{
    struct kafka_heartbeat_request msg;
    struct group_call *call = ARENA_NEW(req->arena, struct group_call);
    if (!call || !KAFKA_DECODE(req, heartbeat, &msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    call->op.action = GROUP_HEARTBEAT;
    call->op.group_id = msg.group_id;
    call->op.member_id = msg.member_id;
    call->op.instance_id = msg.group_instance_id;
    call->op.generation = msg.generation_id;
    kafka_group_submit(req, call, heartbeat_answer);
}
