/*
 * JoinGroup on the coordinator: who may join, as whom, and what that starts.
 *
 * Invariants:
 *  (1) A dynamic member that asked for an id first gets one and is remembered as pending; only that
 *      id may use the reservation.
 *  (2) One instance id has one member: a newcomer with the same instance takes its place, and the
 *      old id is fenced.
 *  (3) A member is added only if it shares a protocol with all the others.
 *  (4) The new id of a static member in a stable group is durable before it is told.
 *
 * Ownership: the coordinator's shard; the request is the caller's, parked in its member.
 *
 * Failures: each wrong request gets its error and changes nothing.
 */
#include <stdlib.h>

#include "base/diag.h"
#include "group/group_int.h"

static bool group_supports(const struct group *group, const struct group_join *join)
{
    if (group->member_count == 0)
        return true;
    if (!slice_equal(text_slice(group->protocol_type), join->protocol_type))
        return false;
    for (uint32_t i = 0; i < join->protocol_count; i++) {
        bool common = true;
        LIST_FOREACH(node, &group->members)
        {
            struct member *member = CONTAINER_OF(node, struct member, node);
            common = common && member_protocol(member, join->protocols[i].name);
        }
        if (common)
            return true; /* (3) */
    }
    return false;
}

static enum err join_check(const struct groups_shard *gs, const struct group_op *op)
{
    const struct groups_config *config = &gs->owner->config;
    const struct group_join *join = &op->join;
    if (op->group_id.len == 0 || op->group_id.len > GROUP_ID_MAX)
        return ERR_INVALID_GROUP_ID;
    if (join->session_timeout_ms < config->session_timeout_min_ms ||
        join->session_timeout_ms > config->session_timeout_max_ms)
        return ERR_INVALID_SESSION_TIMEOUT;
    if (join->protocol_type.len == 0 || join->protocol_count == 0 ||
        join->protocol_count > GROUP_MEMBER_PROTOCOLS_MAX || join->rebalance_timeout_ms < 0)
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    size_t metadata = 0;
    for (uint32_t i = 0; i < join->protocol_count; i++)
        metadata += join->protocols[i].metadata.len;
    return metadata > GROUP_MEMBER_METADATA_MAX ? ERR_MESSAGE_TOO_LARGE : ERR_OK;
}

static bool join_is_full(const struct group *group, const struct group_op *op)
{
    uint64_t known = group->member_count + map_count(group->pending);
    if (group_member(group, op->member_id) || group_pending_has(group, op->member_id) ||
        group_member_static(group, op->instance_id))
        return false;
    return known >= (uint64_t)group->gs->owner->config.size_max;
}

/* "<client or instance id>-<uuid>" in the operation's arena; data NULL: memory. */
static struct slice join_make_id(struct group *group, struct group_op *op)
{
    char hex[UUID_HEX_LEN + 1];
    struct arena *arena = group_op_arena(op);
    struct slice prefix = op->instance_id.data ? op->instance_id : op->join.client_id;
    uuid_write_hex(uuid_make(&group->gs->ids), hex);
    if (!arena)
        return SLICE_NULL;
    prefix = slice_sub(prefix, 0, 255);
    char *text = arena_printf(arena, "%.*s-%s", SLICE_FMT(prefix), hex);
    ASSERT(!text || strlen(text) >= UUID_HEX_LEN);
    return text ? slice_cstr(text) : SLICE_NULL;
}

/* Parks the request in its member; a request parked before gives way. */
static void join_park(struct member *member, struct group_op *op)
{
    struct group *group = member->group;
    if (member->join)
        group_answer(group->gs, member->join, ERR_REBALANCE_IN_PROGRESS);
    else
        group->join_count++;
    member->join = op;
    ASSERT(group->join_count <= group->member_count);
    group_session_arm(member);
}

/* The member has been made or updated: the group goes, or stays, in the join phase. */
static void join_enter(struct member *member, struct group_op *op)
{
    struct group *group = member->group;
    join_park(member, op);
    if (group->state == GROUP_PREPARING) {
        group->joined_in_delay = true;
        group_join_try_complete(group);
    } else {
        group_rebalance(group);
    }
}

static void join_add(struct group *group, struct group_op *op, struct slice id)
{
    if (group->member_count == 0 && !text_set(&group->protocol_type, op->join.protocol_type)) {
        group_answer(group->gs, op, ERR_NO_MEMORY);
        return;
    }
    struct member *member = member_make(group, id, op->instance_id, &op->join);
    if (!member) {
        group_answer(group->gs, op, ERR_NO_MEMORY);
        group_free_if_idle(group);
        return;
    }
    ASSERT(group->state != GROUP_DEAD);
    join_enter(member, op);
}

/* ---- known members ---- */

/* Answers with the running generation. */
static void join_answer_current(struct member *member, struct group_op *op)
{
    struct group *group = member->group;
    ASSERT(group->state == GROUP_STABLE || group->state == GROUP_COMPLETING);
    if (member->join) {
        struct group_op *old = member->join;
        member->join = NULL;
        group->join_count--;
        group_answer(group->gs, old, ERR_REBALANCE_IN_PROGRESS);
    }
    group_answer_join(member, op);
    group_session_arm(member);
}

static void join_update(struct member *member, struct group_op *op)
{
    if (!member_update(member, &op->join)) {
        group_answer(member->group->gs, op, ERR_NO_MEMORY);
        return;
    }
    join_enter(member, op);
}

static void join_known(struct member *member, struct group_op *op)
{
    struct group *group = member->group;
    bool same = member_protocols_same(member, &op->join);
    bool leads = slice_equal(text_slice(member->id), text_slice(group->leader));
    switch (group->state) {
    case GROUP_PREPARING:
        join_update(member, op);
        return;
    case GROUP_COMPLETING:
        if (same)
            join_answer_current(member, op);
        else
            join_update(member, op);
        return;
    case GROUP_STABLE:
        if (same && !leads)
            join_answer_current(member, op);
        else
            join_update(member, op);
        return;
    case GROUP_EMPTY:
    case GROUP_DEAD:
        UNREACHABLE(); /* they have no members */
    }
}

/* ---- static members ---- */

/* The answer to a static member that came back, while its new id is on the way to the log. */
struct keep_write {
    struct store_write write;
    struct group *group;
    struct group_op *op;
    struct group_text id;
    struct slice old_leader; /* in the operation's arena */
};

static void join_static_answer(struct member *member, struct group_op *op, struct slice old_leader)
{
    struct group *group = member->group;
    bool leads = slice_equal(text_slice(member->id), text_slice(group->leader));
    bool failed = false;
    if (leads && op->join.may_skip_assignment) {
        op->join.skip_assignment = true;
        group_answer_join(member, op);
        return;
    }
    /* An older client that finds itself leader would hand out assignments anew: it is told the id
     * that led before. */
    op->join.generation = group->generation;
    op->join.ret_protocol_type = group_op_copy(op, text_slice(group->protocol_type), &failed);
    op->join.ret_protocol = group_op_copy(op, text_slice(group->protocol), &failed);
    op->join.leader_id = group_op_copy(
        op, op->join.may_skip_assignment ? text_slice(group->leader) : old_leader, &failed);
    op->join.ret_member_id = group_op_copy(op, text_slice(member->id), &failed);
    op->join.member_count = 0;
    ASSERT(!member->join);
    group_answer(group->gs, op, failed ? ERR_NO_MEMORY : ERR_OK);
}

static void join_static_stored(struct store_write *write, enum err err)
{
    struct keep_write *keep = CONTAINER_OF(write, struct keep_write, write);
    struct group *group = keep->group;
    struct member *member = group_member(group, text_slice(keep->id));
    ASSERT(group->writes > 0);
    group->writes--;
    if (err) /* the client comes again, with or without its new id */
        group_answer(group->gs, keep->op, ERR_COORDINATOR_NOT_AVAILABLE);
    else if (!member)
        group_answer(group->gs, keep->op, ERR_UNKNOWN_MEMBER);
    else if (group->state != GROUP_STABLE)
        group_answer(group->gs, keep->op, ERR_REBALANCE_IN_PROGRESS);
    else
        join_static_answer(member, keep->op, keep->old_leader);
    text_clear(&keep->id);
    free(keep);
    group_free_if_idle(group);
}

/* Stable group, same choice of protocol: no rebalance. The new id is durable before anybody hears of
 * it (4): after a loss the old one alone would be known, and the new one fenced, which ends a client. */
static void join_static_keep(struct member *member, struct group_op *op, struct slice old_leader)
{
    struct group *group = member->group;
    struct keep_write *keep = calloc(1, sizeof(*keep));
    enum err err = keep && text_set(&keep->id, text_slice(member->id)) ? ERR_OK : ERR_NO_MEMORY;
    group_session_arm(member);
    if (!err)
        err = store_put_group(group_store(group), group, NULL);
    if (err) {
        diag(DIAG_DEBUG, "group", "group=%s static member not stored", group->id.data);
        if (keep)
            text_clear(&keep->id);
        free(keep);
        group_answer(group->gs, op, ERR_COORDINATOR_NOT_AVAILABLE);
        return;
    }
    keep->group = group;
    keep->op = op;
    keep->old_leader = old_leader;
    group->writes++;
    ASSERT(group->writes > 0);
    store_wait(group_store(group), &keep->write, join_static_stored, NULL);
}

static void join_static_fence(struct member *member)
{
    struct group *group = member->group;
    if (member->join) {
        struct group_op *old = member->join;
        member->join = NULL;
        group->join_count--;
        group_answer(group->gs, old, ERR_FENCED_INSTANCE_ID);
    }
    if (member->sync) {
        struct group_op *old = member->sync;
        member->sync = NULL;
        group_answer(group->gs, old, ERR_FENCED_INSTANCE_ID);
    }
    ASSERT(!member->join && !member->sync);
}

/* A newcomer with an instance id that is there: it takes the place (2). */
static void join_static_replace(struct member *member, struct group_op *op)
{
    struct group *group = member->group;
    bool failed = false;
    struct slice id = join_make_id(group, op);
    struct slice old_leader = group_op_copy(op, text_slice(group->leader), &failed);
    bool leads = slice_equal(text_slice(member->id), text_slice(group->leader));
    struct slice chosen = group_op_copy(op, text_slice(group->protocol), &failed);
    join_static_fence(member);
    if (failed || !id.data || !member_rename(member, id) || !member_update(member, &op->join)) {
        group_answer(group->gs, op, ERR_NO_MEMORY);
        group_session_arm(member); /* its parked request is gone, which had stopped it */
        return;
    }
    if (leads && !text_set(&group->leader, id))
        text_clear(&group->leader);
    bool same = slice_equal(group_protocol_vote(group), chosen);
    ASSERT(group_member_static(group, op->instance_id) == member);
    if (group->state == GROUP_STABLE && same)
        join_static_keep(member, op, old_leader);
    else
        join_enter(member, op);
}

/* ---- entry ---- */

static void join_without_id(struct group *group, struct group_op *op)
{
    struct member *known = group_member_static(group, op->instance_id);
    if (known) {
        join_static_replace(known, op);
        return;
    }
    struct slice id = join_make_id(group, op);
    if (!id.data) {
        group_answer(group->gs, op, ERR_NO_MEMORY);
        group_free_if_idle(group);
        return;
    }
    if (op->instance_id.data || !op->join.member_id_required) {
        join_add(group, op, id);
        return;
    }
    op->join.ret_member_id = id; /* (1) */
    bool kept = group_pending_add(group, id, op->join.session_timeout_ms);
    ASSERT(!kept || group_pending_has(group, id));
    group_answer(group->gs, op, kept ? ERR_MEMBER_ID_REQUIRED : ERR_GROUP_MAX_SIZE);
}

static void join_with_id(struct group *group, struct group_op *op)
{
    struct member *by_instance = group_member_static(group, op->instance_id);
    struct member *member = group_member(group, op->member_id);
    enum err err = ERR_OK;
    if (op->instance_id.data && by_instance && by_instance != member)
        err = ERR_FENCED_INSTANCE_ID;
    else if (op->instance_id.data && !by_instance)
        err = ERR_UNKNOWN_MEMBER;
    else if (!member && !group_pending_has(group, op->member_id))
        err = ERR_UNKNOWN_MEMBER;
    if (err) {
        group_answer(group->gs, op, err);
        group_free_if_idle(group);
        return;
    }
    if (member) {
        join_known(member, op);
        return;
    }
    ASSERT(group_pending_has(group, op->member_id));
    group_pending_drop(group, op->member_id);
    join_add(group, op, op->member_id);
}

void group_do_join(struct groups_shard *gs, struct group_op *op)
{
    enum err err = join_check(gs, op);
    struct group *group = err ? NULL : group_find(gs, op->group_id);
    if (!err && !group) {
        if (op->member_id.len > 0)
            err = ERR_UNKNOWN_MEMBER;
        else if (map_count(gs->groups) >= GROUPS_PER_SHARD_MAX)
            err = ERR_COORDINATOR_NOT_AVAILABLE;
        else if (!(group = group_make(gs, op->group_id)))
            err = ERR_COORDINATOR_NOT_AVAILABLE;
    }
    if (!err && join_is_full(group, op))
        err = ERR_GROUP_MAX_SIZE;
    if (!err && !group_supports(group, &op->join))
        err = ERR_INCONSISTENT_GROUP_PROTOCOL;
    if (err) {
        group_answer(gs, op, err);
        return;
    }
    ASSERT(group != NULL);
    if (op->member_id.len == 0)
        join_without_id(group, op);
    else
        join_with_id(group, op);
}
