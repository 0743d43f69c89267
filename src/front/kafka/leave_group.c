/* LeaveGroup: one member (versions 0 to 2) or several (3 and up), each with its own result. */
#include "front/kafka/group_call.h"
#include "kafka_leave_group.h"

struct leave {
    struct group_call call;
    struct kafka_leave_group_request msg;
};

static void leave_answer(struct group_call *call)
{
    struct kafka_request *req = call->req;
    const struct group_leave *got = &call->op.leave;
    ASSERT(req->version >= 3 || got->member_count == 1);
    struct kafka_leave_group_response answer;
    kafka_leave_group_response_init(&answer);
    answer.error_code = kafka_code_of_group(call->op.err);
    if (req->version < 3 && call->op.err == ERR_OK)
        answer.error_code = kafka_code_of_group(got->members[0].err);
    if (req->version >= 3 && call->op.err == ERR_OK) {
        answer.members =
            ARENA_ARRAY(req->arena, struct kafka_leave_group_response_member, got->member_count);
        if (!answer.members) {
            kafka_request_reject(req, "no_memory");
            return;
        }
        answer.members_count = (int32_t)got->member_count;
        for (uint32_t i = 0; i < got->member_count; i++)
            answer.members[i] = (struct kafka_leave_group_response_member){
                .member_id = got->members[i].member_id,
                .group_instance_id = got->members[i].instance_id,
                .error_code = kafka_code_of_group(got->members[i].err),
            };
    }
    kafka_leave_group_response_encode(kafka_reply_begin(req), req->version, &answer);
    kafka_reply_end(req);
}

void kafka_handle_leave_group(struct kafka_request *req)
{
    struct leave *leave = ARENA_NEW(req->arena, struct leave);
    if (!leave || !KAFKA_DECODE(req, leave_group, &leave->msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    const struct kafka_leave_group_request *msg = &leave->msg;
    uint32_t count = req->version < 3 ? 1 : (uint32_t)msg->members_count;
    struct group_leave_member *members = ARENA_ARRAY(req->arena, struct group_leave_member, count);
    if (!members) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    if (req->version < 3)
        members[0].member_id = msg->member_id;
    for (int32_t i = 0; i < msg->members_count; i++) {
        members[i].member_id = msg->members[i].member_id;
        members[i].instance_id = msg->members[i].group_instance_id;
    }
    struct group_op *op = &leave->call.op;
    op->action = GROUP_LEAVE;
    op->group_id = msg->group_id;
    op->generation = -1;
    op->leave = (struct group_leave){members, count};
    kafka_group_submit(req, &leave->call, leave_answer);
}
