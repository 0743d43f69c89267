/*
 * Role: OffsetFetch. One group per request up to version 7, several from version 8: one coordinator
 * operation each, one after another, so that what their answers hold together has a limit.
 *
 *     request -> lookups (one per group) -> group_submit, done, the next -> last one done -> answer
 *
 * Invariants: (1) a partition without a committed offset is -1 with error 0; (2) with no list of
 * topics the answer names all that the group has, partitions of one topic together; (3) offsets of
 * a list keep the order asked. Ownership: the shard of the connection; what the answers point to is
 * given back with the request. Failure modes: unknown topic id (100) per partition; the
 * coordinator's per group, in versions 0 and 1 per partition.
 */
#include "front/kafka/kafka_int.h"
#include "kafka_offset_fetch.h"

struct lookup {
    struct group_op op;
    struct lookups *lookups;
    struct slice group_id;
    struct kafka_offset_fetch_request_group_topic
        *topics;         /* both shapes of the request in the newer one */
    int32_t topic_count; /* -1: all */
};

struct lookups {
    struct kafka_request *req;
    struct kafka_offset_fetch_request msg;
    struct lookup *groups;
    uint32_t group_count;
    uint32_t next; /* operations begun; the last of them may be under way */
    size_t held;   /* by the answers of those that have ended */
};

static struct kafka_offset_fetch_response_group_partition
partition_of(const struct group_offset *offset)
{
    struct kafka_offset_fetch_response_group_partition partition;
    kafka_offset_fetch_response_group_partition_init(&partition);
    partition.partition_index = offset->partition;
    partition.committed_offset = offset->offset;
    partition.committed_leader_epoch = offset->leader_epoch;
    partition.metadata = offset->metadata.data ? offset->metadata : SLICE_LIT("");
    partition.error_code = kafka_code_of_group(offset->err);
    return partition;
}

/* Everything the group has: the coordinator lists offsets topic by topic, neighbours share an
 * entry. */
static bool group_answer_all(struct lookup *lookup, struct kafka_offset_fetch_response_group *ret)
{
    struct kafka_request *req = lookup->lookups->req;
    const struct group_fetch_offsets *got = &lookup->op.fetch;
    uint32_t count = got->offset_count;
    struct kafka_offset_fetch_response_group_partition *all =
        ARENA_ARRAY(req->arena, struct kafka_offset_fetch_response_group_partition, count);
    ret->topics = ARENA_ARRAY(req->arena, struct kafka_offset_fetch_response_group_topic, count);
    if (!all || !ret->topics)
        return false;
    struct kafka_offset_fetch_response_group_topic *topic = NULL;
    uint32_t filled = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct group_offset *offset = &got->offsets[i];
        if (!topic || !slice_equal(topic->name, offset->topic)) {
            const struct topic *known = broker_topic_find(req->ks->bs, offset->topic);
            if (!known && req->version >= 10)
                continue;
            topic = &ret->topics[ret->topics_count++];
            topic->name = offset->topic;
            topic->topic_id = known ? kafka_uuid_out(known->id) : (struct wire_uuid){{0}};
            topic->partitions = &all[filled];
        }
        all[filled++] = partition_of(offset);
        topic->partitions_count++;
    }
    return true;
}

/* A code that is not 0 is told for each partition instead of its offset. */
static bool group_answer_asked(struct lookup *lookup, int16_t code,
                               struct kafka_offset_fetch_response_group *ret)
{
    struct kafka_request *req = lookup->lookups->req;
    const struct group_fetch_offsets *got = &lookup->op.fetch;
    uint32_t at = 0;
    ret->topics = ARENA_ARRAY(req->arena, struct kafka_offset_fetch_response_group_topic,
                              (size_t)lookup->topic_count);
    if (!ret->topics)
        return false;
    ret->topics_count = lookup->topic_count;
    for (int32_t t = 0; t < lookup->topic_count; t++) {
        const struct kafka_offset_fetch_request_group_topic *asked = &lookup->topics[t];
        struct kafka_offset_fetch_response_group_topic *topic = &ret->topics[t];
        size_t count = (size_t)asked->partition_indexes_count;
        bool unknown = req->version >= 10 &&
                       !broker_topic_find_id(req->ks->bs, kafka_uuid_in(asked->topic_id));
        topic->name = asked->name;
        topic->topic_id = asked->topic_id;
        topic->partitions =
            ARENA_ARRAY(req->arena, struct kafka_offset_fetch_response_group_partition, count);
        if (!topic->partitions)
            return false;
        topic->partitions_count = asked->partition_indexes_count;
        for (size_t p = 0; p < count; p++) {
            ASSERT(at < got->offset_count);
            const struct group_offset none = {
                .partition = asked->partition_indexes[p], .offset = -1, .leader_epoch = -1};
            topic->partitions[p] = partition_of(code == KAFKA_NONE ? &got->offsets[at] : &none);
            at++;
            if (code != KAFKA_NONE)
                topic->partitions[p].error_code = code;
            else if (unknown)
                topic->partitions[p].error_code = KAFKA_UNKNOWN_TOPIC_ID;
        }
    }
    return true;
}

static bool group_answer(struct lookup *lookup, struct kafka_offset_fetch_response_group *ret)
{
    kafka_offset_fetch_response_group_init(ret);
    ret->group_id = lookup->group_id;
    ret->error_code = kafka_code_of_group(lookup->op.err);
    /* Versions 0 and 1 have no place for an error of the group. */
    if (lookup->op.err != ERR_OK && lookup->lookups->req->version >= 2)
        return true;
    if (lookup->topic_count < 0)
        return lookup->op.err != ERR_OK || group_answer_all(lookup, ret);
    return group_answer_asked(lookup, ret->error_code, ret);
}

/* Versions 0 to 7 have the one group's topics at the top. */
static bool answer_flatten(struct lookups *lookups,
                           const struct kafka_offset_fetch_response_group *group,
                           struct kafka_offset_fetch_response *answer)
{
    struct arena *arena = lookups->req->arena;
    ASSERT(lookups->req->version < 8 && lookups->group_count == 1);
    answer->error_code = group->error_code;
    answer->topics =
        ARENA_ARRAY(arena, struct kafka_offset_fetch_response_topic, (size_t)group->topics_count);
    if (!answer->topics)
        return false;
    answer->topics_count = group->topics_count;
    for (int32_t t = 0; t < group->topics_count; t++) {
        const struct kafka_offset_fetch_response_group_topic *from = &group->topics[t];
        struct kafka_offset_fetch_response_topic *to = &answer->topics[t];
        to->name = from->name;
        to->partitions = ARENA_ARRAY(arena, struct kafka_offset_fetch_response_partition,
                                     (size_t)from->partitions_count);
        if (!to->partitions)
            return false;
        to->partitions_count = from->partitions_count;
        for (int32_t p = 0; p < from->partitions_count; p++)
            to->partitions[p] = (struct kafka_offset_fetch_response_partition){
                .partition_index = from->partitions[p].partition_index,
                .committed_offset = from->partitions[p].committed_offset,
                .committed_leader_epoch = from->partitions[p].committed_leader_epoch,
                .metadata = from->partitions[p].metadata,
                .error_code = from->partitions[p].error_code,
            };
    }
    return true;
}

static void lookups_answer(struct lookups *lookups)
{
    struct kafka_request *req = lookups->req;
    ASSERT(lookups->next == lookups->group_count);
    struct kafka_offset_fetch_response answer;
    kafka_offset_fetch_response_init(&answer);
    answer.groups =
        ARENA_ARRAY(req->arena, struct kafka_offset_fetch_response_group, lookups->group_count);
    answer.groups_count = (int32_t)lookups->group_count;
    bool done = answer.groups != NULL;
    for (uint32_t i = 0; done && i < lookups->group_count; i++)
        done = group_answer(&lookups->groups[i], &answer.groups[i]);
    if (done && req->version < 8)
        done = answer_flatten(lookups, &answer.groups[0], &answer);
    if (!done) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    kafka_offset_fetch_response_encode(kafka_reply_begin(req), req->version, &answer);
    kafka_reply_end(req);
}

static void lookups_next(struct lookups *lookups)
{
    if (lookups->next == lookups->group_count)
        lookups_answer(lookups);
    else
        group_submit(lookups->req->ks->gs, &lookups->groups[lookups->next++].op);
}

static void lookup_done(struct group_op *op)
{
    struct lookup *lookup = CONTAINER_OF(op, struct lookup, op);
    struct lookups *lookups = lookup->lookups;
    ASSERT(lookups->next > 0 && lookup == &lookups->groups[lookups->next - 1]);
    lookups->held += group_op_bytes(op);
    if (!lookups->req->conn)
        kafka_reply_none(lookups->req);
    else if (lookups->held > KAFKA_RESPONSE_MAX)
        kafka_request_reject(lookups->req, "answer_too_large");
    else
        lookups_next(lookups);
}

static void lookups_cleanup(struct kafka_request *req)
{
    struct lookups *lookups = req->state_of_api;
    for (uint32_t i = 0; i < lookups->next; i++)
        group_op_release(&lookups->groups[i].op);
}

/* Names (resolved from ids at need) and partitions, flat. False: the arena is full. */
static bool lookup_offsets(struct lookup *lookup)
{
    struct kafka_request *req = lookup->lookups->req;
    struct group_fetch_offsets *list = &lookup->op.fetch;
    size_t count = 0;
    for (int32_t t = 0; t < lookup->topic_count; t++)
        count += (size_t)lookup->topics[t].partition_indexes_count;
    list->offsets = ARENA_ARRAY(req->arena, struct group_offset, count);
    if (!list->offsets)
        return false;
    for (int32_t t = 0; t < lookup->topic_count; t++) {
        const struct kafka_offset_fetch_request_group_topic *asked = &lookup->topics[t];
        struct slice name = asked->name;
        if (req->version >= 10) {
            const struct topic *topic =
                broker_topic_find_id(req->ks->bs, kafka_uuid_in(asked->topic_id));
            name = topic ? arena_copy(req->arena, topic->name) : SLICE_LIT("");
        }
        for (int32_t p = 0; p < asked->partition_indexes_count; p++)
            list->offsets[list->offset_count++] =
                (struct group_offset){.topic = name,
                                      .partition = asked->partition_indexes[p],
                                      .offset = -1,
                                      .leader_epoch = -1};
    }
    return true;
}

static bool lookup_prepare(struct lookup *lookup, struct slice group_id)
{
    lookup->group_id = group_id;
    lookup->op.action = GROUP_FETCH_OFFSETS;
    lookup->op.group_id = group_id;
    lookup->op.generation = -1;
    lookup->op.done = lookup_done;
    lookup->op.fetch.all = lookup->topic_count < 0;
    return lookup->topic_count < 0 || lookup_offsets(lookup);
}

/* The older shape of the request, in the newer one. */
static bool lookups_single(struct lookups *lookups)
{
    const struct kafka_offset_fetch_request *msg = &lookups->msg;
    struct lookup *lookup = &lookups->groups[0];
    lookup->topic_count = msg->topics_count;
    if (msg->topics_count >= 0) {
        lookup->topics =
            ARENA_ARRAY(lookups->req->arena, struct kafka_offset_fetch_request_group_topic,
                        (size_t)msg->topics_count);
        if (!lookup->topics)
            return false;
    }
    for (int32_t t = 0; t < msg->topics_count; t++)
        lookup->topics[t] = (struct kafka_offset_fetch_request_group_topic){
            .name = msg->topics[t].name,
            .partition_indexes = msg->topics[t].partition_indexes,
            .partition_indexes_count = msg->topics[t].partition_indexes_count,
        };
    return lookup_prepare(lookup, msg->group_id);
}

static bool lookups_prepare(struct lookups *lookups)
{
    const struct kafka_offset_fetch_request *msg = &lookups->msg;
    bool single = lookups->req->version < 8;
    lookups->group_count = single ? 1 : (uint32_t)msg->groups_count;
    lookups->groups = ARENA_ARRAY(lookups->req->arena, struct lookup, lookups->group_count);
    if (!lookups->groups)
        return false;
    for (uint32_t i = 0; i < lookups->group_count; i++)
        lookups->groups[i].lookups = lookups;
    if (single)
        return lookups_single(lookups);
    for (int32_t i = 0; i < msg->groups_count; i++) {
        lookups->groups[i].topics = msg->groups[i].topics;
        lookups->groups[i].topic_count = msg->groups[i].topics_count;
        if (!lookup_prepare(&lookups->groups[i], msg->groups[i].group_id))
            return false;
    }
    return true;
}

void kafka_handle_offset_fetch(struct kafka_request *req)
{
    struct lookups *lookups = ARENA_NEW(req->arena, struct lookups);
    if (!lookups || !KAFKA_DECODE(req, offset_fetch, &lookups->msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    lookups->req = req;
    if (!lookups_prepare(lookups)) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    req->state_of_api = lookups;
    req->cleanup = lookups_cleanup;
    lookups_next(lookups);
}
