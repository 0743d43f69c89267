/* DeleteGroups: forgets empty groups with their offsets. */
#include "front/kafka/group_batch.h"
#include "kafka_delete_groups.h"

static void delete_answer(struct group_batch *batch)
{
    struct kafka_request *req = batch->req;
    ASSERT(batch->next == batch->count);
    struct kafka_delete_groups_response answer;
    kafka_delete_groups_response_init(&answer);
    answer.results =
        ARENA_ARRAY(req->arena, struct kafka_delete_groups_response_result, batch->count);
    if (!answer.results) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    answer.results_count = (int32_t)batch->count;
    for (uint32_t i = 0; i < batch->count; i++) {
        answer.results[i].group_id = batch->items[i].op.group_id;
        answer.results[i].error_code = kafka_code_of_group(batch->items[i].op.err);
    }
    kafka_delete_groups_response_encode(kafka_reply_begin(req), req->version, &answer);
    kafka_reply_end(req);
}

void kafka_handle_delete_groups(struct kafka_request *req)
{
    struct kafka_delete_groups_request msg;
    struct group_batch *batch = ARENA_NEW(req->arena, struct group_batch);
    if (!batch || !KAFKA_DECODE(req, delete_groups, &msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    kafka_group_batch_run(req, batch, GROUP_DELETE, msg.groups_names, msg.groups_names_count,
                          delete_answer);
}
