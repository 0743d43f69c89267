/* SyncGroup: the leader hands out assignments, every member waits here for its own. From version 5
 * on a request must name the protocol that it believes in. */
#include "front/kafka/group_call.h"
#include "kafka_sync_group.h"

struct sync {
    struct group_call call;
    struct kafka_sync_group_request msg;
};

static void sync_answer(struct group_call *call)
{
    struct kafka_request *req = call->req;
    const struct group_sync *got = &call->op.sync;
    struct kafka_sync_group_response answer;
    kafka_sync_group_response_init(&answer);
    answer.error_code = kafka_code_of_group(call->op.err);
    if (call->op.err == ERR_OK) {
        answer.protocol_type = got->ret_protocol_type;
        answer.protocol_name = got->ret_protocol;
        answer.assignment = got->assignment;
    }
    kafka_sync_group_response_encode(kafka_reply_begin(req), req->version, &answer);
    kafka_reply_end(req);
}

static void sync_refuse(struct kafka_request *req, int16_t code)
{
    ASSERT(code != KAFKA_NONE);
    struct kafka_sync_group_response answer;
    kafka_sync_group_response_init(&answer);
    answer.error_code = code;
    kafka_sync_group_response_encode(kafka_reply_begin(req), req->version, &answer);
    kafka_reply_end(req);
}

void kafka_handle_sync_group(struct kafka_request *req)
{
    struct sync *sync = ARENA_NEW(req->arena, struct sync);
    if (!sync || !KAFKA_DECODE(req, sync_group, &sync->msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    const struct kafka_sync_group_request *msg = &sync->msg;
    if (req->version >= 5 && (!msg->protocol_type.data || !msg->protocol_name.data)) {
        sync_refuse(req, KAFKA_INCONSISTENT_GROUP_PROTOCOL);
        return;
    }
    struct group_assignment *assignments =
        ARENA_ARRAY(req->arena, struct group_assignment, (size_t)msg->assignments_count);
    if (!assignments) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    for (int32_t i = 0; i < msg->assignments_count; i++)
        assignments[i] = (struct group_assignment){msg->assignments[i].member_id,
                                                   msg->assignments[i].assignment};
    struct group_op *op = &sync->call.op;
    op->action = GROUP_SYNC;
    op->group_id = msg->group_id;
    op->member_id = msg->member_id;
    op->instance_id = msg->group_instance_id;
    op->generation = msg->generation_id;
    op->sync = (struct group_sync){
        .protocol_type = msg->protocol_type,
        .protocol = msg->protocol_name,
        .assignments = assignments,
        .assignment_count = (uint32_t)msg->assignments_count,
    };
    kafka_group_submit(req, &sync->call, sync_answer);
}
