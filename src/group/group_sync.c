/*
 * SyncGroup, Heartbeat and LeaveGroup on the coordinator.
 *
 * Invariants:
 *  (1) Assignments are stored durably before any member hears them: what a restarted coordinator
 *      knows is what the members work by.
 *  (2) A rebalance that begins while they are being stored wins: the store's answer finds another
 *      generation or phase and does nothing.
 *
 * Ownership: the coordinator's shard. store_write carries group and generation across the wait.
 *
 * Failures: the store fails: all parked syncs get its error and the group rebalances.
 */
#include <stdlib.h>

#include "group/group_int.h"

/* Finds the member a request speaks for. */
static enum err member_of_request(struct group *group, const struct group_op *op,
                                  struct member **ret_member)
{
    struct member *by_instance = group_member_static(group, op->instance_id);
    struct member *member = group_member(group, op->member_id);
    if (op->instance_id.data) {
        if (!by_instance)
            return ERR_UNKNOWN_MEMBER;
        if (by_instance != member)
            return ERR_FENCED_INSTANCE_ID;
    }
    if (!member)
        return ERR_UNKNOWN_MEMBER;
    ASSERT(member->group == group);
    *ret_member = member;
    return ERR_OK;
}

/* ---- sync ---- */

struct sync_write {
    struct store_write write;
    struct group *group;
    int32_t generation;
    struct group_text *assignments; /* in the order of the members at the time */
    struct group_text *ids;
    uint32_t count;
};

static void sync_write_free(struct sync_write *sync)
{
    for (uint32_t i = 0; i < sync->count; i++) {
        text_clear(&sync->assignments[i]);
        text_clear(&sync->ids[i]);
    }
    free(sync->assignments);
    free(sync->ids);
    free(sync);
}

static struct slice sync_assignment_of(const struct group_sync *sync, struct slice member_id)
{
    for (uint32_t i = 0; i < sync->assignment_count; i++) {
        if (slice_equal(sync->assignments[i].member_id, member_id))
            return sync->assignments[i].assignment.data ? sync->assignments[i].assignment
                                                        : SLICE_LIT("");
    }
    return SLICE_LIT("");
}

static struct sync_write *sync_write_make(struct group *group, const struct group_sync *from)
{
    struct sync_write *sync = calloc(1, sizeof(*sync));
    if (!sync)
        return NULL;
    sync->group = group;
    sync->generation = group->generation;
    sync->assignments = calloc(group->member_count, sizeof(*sync->assignments));
    sync->ids = calloc(group->member_count, sizeof(*sync->ids));
    bool ok = sync->assignments && sync->ids;
    LIST_FOREACH(node, &group->members)
    {
        struct member *member = CONTAINER_OF(node, struct member, node);
        if (!ok)
            break;
        struct slice id = text_slice(member->id);
        ok = text_set(&sync->ids[sync->count], id) &&
             text_set(&sync->assignments[sync->count], sync_assignment_of(from, id));
        sync->count++;
    }
    if (!ok) {
        sync->count = sync->assignments && sync->ids ? sync->count : 0;
        sync_write_free(sync);
        return NULL;
    }
    ASSERT(sync->count == group->member_count);
    return sync;
}

static void sync_stored(struct store_write *write, enum err err)
{
    struct sync_write *sync = CONTAINER_OF(write, struct sync_write, write);
    struct group *group = sync->group;
    ASSERT(group->writes > 0);
    group->writes--;
    if (group->storing == sync->generation)
        group->storing = -1;
    if (group->state != GROUP_COMPLETING || group->generation != sync->generation) { /* (2) */
        sync_write_free(sync);
        group_free_if_idle(group);
        return;
    }
    if (err) {
        group_syncs_answer(group, ERR_COORDINATOR_NOT_AVAILABLE);
        sync_write_free(sync);
        group_rebalance(group);
        return;
    }
    for (uint32_t i = 0; i < sync->count; i++) {
        struct member *member = group_member(group, text_slice(sync->ids[i]));
        if (!member)
            continue;
        text_clear(&member->assignment);
        member->assignment = sync->assignments[i];
        sync->assignments[i] = (struct group_text){0};
    }
    group_state_set(group,
                    GROUP_STABLE); /* the sync timer runs on, for those who have yet to ask */
    group_syncs_answer(group, ERR_OK);
    sync_write_free(sync);
    group_check(group);
}

static void sync_leader(struct group *group, const struct group_op *op)
{
    struct sync_write *sync = NULL;
    size_t total = 0;
    for (uint32_t i = 0; i < op->sync.assignment_count; i++)
        total += op->sync.assignments[i].assignment.len;
    enum err err = total > GROUP_ASSIGNMENT_MAX ? ERR_MESSAGE_TOO_LARGE : ERR_OK;
    if (!err)
        sync = sync_write_make(group, &op->sync);
    if (!err && !sync)
        err = ERR_NO_MEMORY;
    if (!err)
        err = store_put_group(group_store(group), group, &op->sync);
    if (err) {
        if (sync)
            sync_write_free(sync);
        group_syncs_answer(group, err);
        group_rebalance(group);
        return;
    }
    ASSERT(group->storing != group->generation);
    group->storing = group->generation;
    group->writes++;
    store_wait(group_store(group), &sync->write, sync_stored, NULL); /* (1) */
}

static enum err sync_check(struct group *group, const struct group_op *op,
                           struct member **ret_member)
{
    if (!group)
        return ERR_UNKNOWN_MEMBER;
    enum err err = member_of_request(group, op, ret_member);
    if (err)
        return err;
    if (op->generation != group->generation)
        return ERR_ILLEGAL_GENERATION;
    if (op->sync.protocol_type.data &&
        !slice_equal(op->sync.protocol_type, text_slice(group->protocol_type)))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    if (op->sync.protocol.data && !slice_equal(op->sync.protocol, text_slice(group->protocol)))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    return group->state == GROUP_PREPARING ? ERR_REBALANCE_IN_PROGRESS : ERR_OK;
}

void group_do_sync(struct groups_shard *gs, struct group_op *op)
{
    struct group *group = group_find(gs, op->group_id);
    struct member *member = NULL;
    enum err err = op->group_id.len ? sync_check(group, op, &member) : ERR_INVALID_GROUP_ID;
    if (err) {
        group_answer(gs, op, err);
        return;
    }
    ASSERT(group->state == GROUP_STABLE || group->state == GROUP_COMPLETING);
    if (member->sync)
        group_answer(gs, member->sync, ERR_REBALANCE_IN_PROGRESS);
    member->sync = op;
    member->synced = true;
    if (group->state == GROUP_STABLE) {
        group_answer_sync(member, ERR_OK);
        return;
    }
    group_session_arm(member);
    bool leads = slice_equal(text_slice(member->id), text_slice(group->leader));
    if (leads && group->storing != group->generation)
        sync_leader(group, op);
}

/* ---- heartbeat ---- */

void group_do_heartbeat(struct groups_shard *gs, struct group_op *op)
{
    struct group *group = group_find(gs, op->group_id);
    struct member *member = NULL;
    enum err err = op->group_id.len ? ERR_OK : ERR_INVALID_GROUP_ID;
    if (!err && !group)
        err = ERR_UNKNOWN_MEMBER;
    if (!err)
        err = member_of_request(group, op, &member);
    if (!err && op->generation != group->generation)
        err = ERR_ILLEGAL_GENERATION;
    if (!err) {
        ASSERT(member != NULL);
        group_session_arm(member);
        if (group->state == GROUP_PREPARING)
            err = ERR_REBALANCE_IN_PROGRESS;
    }
    group_answer(gs, op, err);
}

/* ---- leave ---- */

static enum err leave_one(struct group *group, struct group_leave_member *leaving)
{
    struct member *member = NULL;
    if (leaving->instance_id.data) {
        member = group_member_static(group, leaving->instance_id);
        if (!member)
            return ERR_UNKNOWN_MEMBER;
        if (leaving->member_id.len && !slice_equal(leaving->member_id, text_slice(member->id)))
            return ERR_FENCED_INSTANCE_ID;
    } else if (group_pending_has(group, leaving->member_id)) {
        group_pending_drop(group, leaving->member_id);
        if (group->state == GROUP_PREPARING)
            group_join_try_complete(group);
        return ERR_OK;
    } else {
        member = group_member(group, leaving->member_id);
        if (!member)
            return ERR_UNKNOWN_MEMBER;
    }
    ASSERT(member->group == group);
    group_member_remove(member, ERR_UNKNOWN_MEMBER);
    return ERR_OK;
}

void group_do_leave(struct groups_shard *gs, struct group_op *op)
{
    enum err err = op->group_id.len ? ERR_OK : ERR_INVALID_GROUP_ID;
    for (uint32_t i = 0; i < op->leave.member_count; i++) {
        struct group_leave_member *leaving = &op->leave.members[i];
        /* The group may be gone after its last member left: look anew each time. */
        struct group *group = group_find(gs, op->group_id);
        leaving->err = err ? err : group ? leave_one(group, leaving) : ERR_UNKNOWN_MEMBER;
        ASSERT(leaving->err != ERR_INTERNAL);
    }
    struct group *group = group_find(gs, op->group_id);
    if (group)
        group_free_if_idle(group);
    group_answer(gs, op, err);
}
