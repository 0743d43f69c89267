/*
 * Role: OffsetCommit. Flattens the request into one list of offsets for the coordinator and answers
 * in its shape.
 *
 * Invariants: (1) offsets and answer have the same order; (2) an error of the whole request is told
 * for every partition, since the answer has no other place; (3) partitions of topics that do not
 * exist are answered here and left alone by the coordinator. Ownership: the shard of the
 * connection. Failure modes: unknown topic (3) or id (100), then the coordinator's.
 */
#include "front/kafka/group_call.h"
#include "kafka_offset_commit.h"

struct commit {
    struct group_call call;
    struct kafka_offset_commit_request msg;
    bool *unknown_id; /* per offset */
};

static bool commit_topic(struct commit *commit, int32_t index, uint32_t *at,
                         struct kafka_offset_commit_response_topic *ret)
{
    const struct kafka_offset_commit_request_topic *asked = &commit->msg.topics[index];
    const struct group_op *op = &commit->call.op;
    size_t count = (size_t)asked->partitions_count;
    ret->name = asked->name;
    ret->topic_id = asked->topic_id;
    ret->partitions =
        ARENA_ARRAY(commit->call.req->arena, struct kafka_offset_commit_response_partition, count);
    if (!ret->partitions)
        return false;
    ret->partitions_count = asked->partitions_count;
    for (size_t p = 0; p < count; p++, (*at)++) {
        ASSERT(*at < op->commit.offset_count);
        enum err err = op->commit.offsets[*at].err;
        int16_t code = kafka_code_of_group(err != ERR_OK ? err : op->err);
        if (commit->unknown_id[*at])
            code = KAFKA_UNKNOWN_TOPIC_ID;
        ret->partitions[p].partition_index = asked->partitions[p].partition_index;
        ret->partitions[p].error_code = code;
    }
    return true;
}

static void commit_answer(struct group_call *call)
{
    struct commit *commit = CONTAINER_OF(call, struct commit, call);
    struct kafka_request *req = call->req;
    struct kafka_offset_commit_response answer;
    kafka_offset_commit_response_init(&answer);
    answer.topics = ARENA_ARRAY(req->arena, struct kafka_offset_commit_response_topic,
                                (size_t)commit->msg.topics_count);
    answer.topics_count = commit->msg.topics_count;
    bool done = answer.topics != NULL;
    uint32_t at = 0;
    for (int32_t t = 0; done && t < answer.topics_count; t++)
        done = commit_topic(commit, t, &at, &answer.topics[t]);
    ASSERT(!done || at == call->op.commit.offset_count);
    if (!done) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    kafka_offset_commit_response_encode(kafka_reply_begin(req), req->version, &answer);
    kafka_reply_end(req);
}

static void commit_offset(struct commit *commit,
                          const struct kafka_offset_commit_request_topic *asked,
                          const struct kafka_offset_commit_request_partition *partition,
                          uint32_t at)
{
    struct kafka_request *req = commit->call.req;
    bool by_id = req->version >= 10;
    int16_t code;
    const struct topic *topic = kafka_topic_find(req, by_id, asked->name, asked->topic_id, &code);
    struct group_offset *offset = &commit->call.op.commit.offsets[at];
    *offset = (struct group_offset){
        .topic = asked->name,
        .partition = partition->partition_index,
        .offset = partition->committed_offset,
        .leader_epoch = partition->committed_leader_epoch,
        .metadata =
            partition->committed_metadata.data ? partition->committed_metadata : SLICE_LIT(""),
    };
    commit->unknown_id[at] = by_id && !topic;
    if (!topic || partition->partition_index < 0 ||
        partition->partition_index >= topic->partition_count) {
        offset->err = ERR_UNKNOWN_TOPIC_OR_PARTITION;
        return;
    }
    if (by_id)
        offset->topic = arena_copy(req->arena, topic->name);
    if (!offset->topic.data)
        offset->err = ERR_NO_MEMORY;
}

static bool commit_offsets(struct commit *commit)
{
    const struct kafka_offset_commit_request *msg = &commit->msg;
    struct arena *arena = commit->call.req->arena;
    struct group_commit *list = &commit->call.op.commit;
    size_t count = 0;
    for (int32_t t = 0; t < msg->topics_count; t++)
        count += (size_t)msg->topics[t].partitions_count;
    list->offsets = ARENA_ARRAY(arena, struct group_offset, count);
    commit->unknown_id = ARENA_ARRAY(arena, bool, count);
    if (!list->offsets || !commit->unknown_id)
        return false;
    for (int32_t t = 0; t < msg->topics_count; t++)
        for (int32_t p = 0; p < msg->topics[t].partitions_count; p++)
            commit_offset(commit, &msg->topics[t], &msg->topics[t].partitions[p],
                          list->offset_count++);
    return true;
}

void kafka_handle_offset_commit(struct kafka_request *req)
{
    struct commit *commit = ARENA_NEW(req->arena, struct commit);
    if (!commit || !KAFKA_DECODE(req, offset_commit, &commit->msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    const struct kafka_offset_commit_request *msg = &commit->msg;
    struct group_op *op = &commit->call.op;
    commit->call.req = req;
    op->action = GROUP_COMMIT;
    op->group_id = msg->group_id;
    op->member_id = msg->member_id;
    op->instance_id = msg->group_instance_id;
    op->generation = msg->generation_id_or_member_epoch;
    op->commit.unknown_group_as_not_found = req->version >= 9;
    op->commit.retention_ms = msg->retention_time_ms;
    if (!commit_offsets(commit)) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    kafka_group_submit(req, &commit->call, commit_answer);
}
