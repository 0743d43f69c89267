/*
 * JoinGroup: a member asks in; the answer comes when the group's join phase ends, to the leader
 * with all members. Protocols and metadata pass through as bytes.
 */
#include "front/kafka/group_call.h"
#include "kafka_join_group.h"

struct join {
    struct group_call call;
    struct kafka_join_group_request msg;
};

static bool join_members(struct join *join, struct kafka_join_group_response *answer)
{
    const struct group_join *got = &join->call.op.join;
    answer->members = ARENA_ARRAY(join->call.req->arena, struct kafka_join_group_response_member,
                                  got->member_count);
    if (!answer->members)
        return false;
    answer->members_count = (int32_t)got->member_count;
    for (uint32_t i = 0; i < got->member_count; i++)
        answer->members[i] = (struct kafka_join_group_response_member){
            .member_id = got->members[i].member_id,
            .group_instance_id = got->members[i].instance_id,
            .metadata = got->members[i].metadata,
        };
    return true;
}

static void join_answer(struct group_call *call)
{
    struct join *join = CONTAINER_OF(call, struct join, call);
    struct kafka_request *req = call->req;
    const struct group_join *got = &call->op.join;
    struct kafka_join_group_response answer;
    kafka_join_group_response_init(&answer);
    answer.error_code = kafka_code_of_group(call->op.err);
    answer.protocol_name = req->version >= 7 ? SLICE_NULL : SLICE_LIT("");
    answer.member_id = join->msg.member_id;
    if (call->op.err == ERR_MEMBER_ID_REQUIRED)
        answer.member_id = got->ret_member_id;
    if (call->op.err == ERR_OK) {
        /* Only who leads is told of the others. */
        ASSERT(got->ret_member_id.len > 0 &&
               (got->member_count == 0 || slice_equal(got->leader_id, got->ret_member_id)));
        answer.generation_id = got->generation;
        answer.protocol_type = got->ret_protocol_type;
        answer.protocol_name = got->ret_protocol;
        answer.leader = got->leader_id;
        answer.skip_assignment = got->skip_assignment;
        answer.member_id = got->ret_member_id;
        if (!join_members(join, &answer)) {
            kafka_request_reject(req, "no_memory");
            return;
        }
    }
    kafka_join_group_response_encode(kafka_reply_begin(req), req->version, &answer);
    kafka_reply_end(req);
}

static struct group_protocol *join_protocols(struct kafka_request *req,
                                             const struct kafka_join_group_request *msg)
{
    struct group_protocol *protocols =
        ARENA_ARRAY(req->arena, struct group_protocol, (size_t)msg->protocols_count);
    for (int32_t i = 0; protocols && i < msg->protocols_count; i++)
        protocols[i] = (struct group_protocol){msg->protocols[i].name, msg->protocols[i].metadata};
    return protocols;
}

void kafka_handle_join_group(struct kafka_request *req)
{
    struct join *join = ARENA_NEW(req->arena, struct join);
    if (!join || !KAFKA_DECODE(req, join_group, &join->msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    const struct kafka_join_group_request *msg = &join->msg;
    struct group_op *op = &join->call.op;
    op->action = GROUP_JOIN;
    op->group_id = msg->group_id;
    op->member_id = msg->member_id;
    op->instance_id = msg->group_instance_id;
    op->generation = -1;
    op->join = (struct group_join){
        .protocol_type = msg->protocol_type,
        .protocols = join_protocols(req, msg),
        .protocol_count = (uint32_t)msg->protocols_count,
        .session_timeout_ms = msg->session_timeout_ms,
        .rebalance_timeout_ms =
            req->version == 0 ? msg->session_timeout_ms : msg->rebalance_timeout_ms,
        .member_id_required = req->version >= 4,
        .may_skip_assignment = req->version >= 9,
        .client_id = req->client_id,
        .client_host = arena_copy(req->arena, slice_cstr(req->conn->peer)),
    };
    if (!op->join.protocols) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    kafka_group_submit(req, &join->call, join_answer);
}
