/*
 * ListGroups: every group with its protocol type and state, filtered by state names (version 4) and
 * types (version 5) as text that clients write in any case. All groups are of the classic type.
 */
#include "front/kafka/group_call.h"
#include "kafka_list_groups.h"

struct listing {
    struct group_call call;
    struct kafka_list_groups_request msg;
};

static bool filter_passes(const struct slice *filter, int32_t count, const char *text)
{
    for (int32_t i = 0; i < count; i++)
        if (slice_equal_nocase(filter[i], slice_cstr(text)))
            return true;
    return count <= 0;
}

static void listing_answer(struct group_call *call)
{
    struct listing *listing = CONTAINER_OF(call, struct listing, call);
    struct kafka_request *req = call->req;
    const struct kafka_list_groups_request *msg = &listing->msg;
    const struct group_list *got = &call->op.list;
    struct kafka_list_groups_response answer;
    kafka_list_groups_response_init(&answer);
    answer.error_code = kafka_code_of_group(call->op.err);
    bool classic = filter_passes(msg->types_filter, msg->types_filter_count, "classic");
    uint32_t count = call->op.err == ERR_OK && classic ? got->group_count : 0;
    answer.groups = ARENA_ARRAY(req->arena, struct kafka_list_groups_response_group, count);
    if (!answer.groups) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct group_view *view = &got->groups[i];
        const char *state = group_state_name(view->state);
        if (!filter_passes(msg->states_filter, msg->states_filter_count, state))
            continue;
        ASSERT((uint32_t)answer.groups_count < count);
        answer.groups[answer.groups_count++] = (struct kafka_list_groups_response_group){
            .group_id = view->group_id,
            .protocol_type = view->protocol_type,
            .group_state = slice_cstr(state),
            .group_type = SLICE_LIT("classic"),
        };
    }
    kafka_list_groups_response_encode(kafka_reply_begin(req), req->version, &answer);
    kafka_reply_end(req);
}

void kafka_handle_list_groups(struct kafka_request *req)
{
    struct listing *listing = ARENA_NEW(req->arena, struct listing);
    if (!listing || !KAFKA_DECODE(req, list_groups, &listing->msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    listing->call.op.action = GROUP_LIST;
    kafka_group_submit(req, &listing->call, listing_answer);
}
