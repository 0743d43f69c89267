/* DescribeGroups: state, protocol and members of each group named. An unknown group is "Dead", with
 * an error from version 6 on. */
#include "front/kafka/group_batch.h"
#include "kafka_describe_groups.h"

struct describe {
    struct group_batch batch;
    struct kafka_describe_groups_request msg;
};

static bool describe_members(struct arena *arena, const struct group_describe *got,
                             struct kafka_describe_groups_response_group *ret)
{
    ret->members =
        ARENA_ARRAY(arena, struct kafka_describe_groups_response_member, got->member_count);
    if (!ret->members)
        return false;
    ret->members_count = (int32_t)got->member_count;
    for (uint32_t i = 0; i < got->member_count; i++) {
        const struct group_member_view *view = &got->members[i];
        ret->members[i] = (struct kafka_describe_groups_response_member){
            .member_id = view->member_id,
            .group_instance_id = view->instance_id,
            .client_id = view->client_id,
            .client_host = view->client_host,
            .member_metadata = view->metadata,
            .member_assignment = view->assignment,
        };
    }
    return true;
}

static bool describe_group(struct describe *describe, uint32_t index,
                           struct kafka_describe_groups_response_group *ret)
{
    const struct group_op *op = &describe->batch.items[index].op;
    const struct group_describe *got = &op->describe;
    kafka_describe_groups_response_group_init(ret);
    ret->group_id = op->group_id;
    ret->error_code = kafka_code_of_group(op->err);
    if (op->err != ERR_OK)
        return true;
    ret->group_state = slice_cstr(group_state_name(got->state));
    ret->protocol_type = got->protocol_type;
    ret->protocol_data = got->protocol;
    if (describe->msg.include_authorized_operations)
        ret->authorized_operations = KAFKA_GROUP_OPERATIONS;
    if (!got->found && describe->batch.req->version >= 6) {
        ret->error_code = kafka_code_of_group(ERR_GROUP_ID_NOT_FOUND);
        ret->error_message = slice_cstr(err_row(ERR_GROUP_ID_NOT_FOUND)->text);
    }
    return describe_members(describe->batch.req->arena, got, ret);
}

static void describe_answer(struct group_batch *batch)
{
    struct describe *describe = CONTAINER_OF(batch, struct describe, batch);
    struct kafka_request *req = batch->req;
    ASSERT(batch->next == batch->count);
    struct kafka_describe_groups_response answer;
    kafka_describe_groups_response_init(&answer);
    answer.groups =
        ARENA_ARRAY(req->arena, struct kafka_describe_groups_response_group, batch->count);
    answer.groups_count = (int32_t)batch->count;
    bool done = answer.groups != NULL;
    for (uint32_t i = 0; done && i < batch->count; i++)
        done = describe_group(describe, i, &answer.groups[i]);
    if (!done) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    kafka_describe_groups_response_encode(kafka_reply_begin(req), req->version, &answer);
    kafka_reply_end(req);
}

void kafka_handle_describe_groups(struct kafka_request *req)
{
    struct describe *describe = ARENA_NEW(req->arena, struct describe);
    if (!describe || !KAFKA_DECODE(req, describe_groups, &describe->msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    kafka_group_batch_run(req, &describe->batch, GROUP_DESCRIBE, describe->msg.groups,
                          describe->msg.groups_count, describe_answer);
}
