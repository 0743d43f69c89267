/*
 * The coordinator's state machine: what moves a group from phase to phase, and the timers.
 *
 *     EMPTY --join--> PREPARING --all joined / time out--> COMPLETING --leader's sync stored-->
 * STABLE ^                 |  ^                                  | |
 *       '--nobody left----'  '-------- join, leave, expiry, changed metadata ---------------------'
 *
 * Invariants:
 *  (1) In PREPARING the join timer runs; in COMPLETING, and on into STABLE, the sync timer, for the
 *      members that have not asked for their assignment; in no other phase.
 *  (2) A member's session timer runs unless a request of it is parked (a fresh member's parked join
 *      has the long one).
 *  (3) A parked request is answered exactly once: by completion, removal, replacement or the stop.
 *  (4) A function here either finishes a transition or changes nothing: there is no half way state
 *      on an error path.
 *
 * Ownership: the coordinator's shard; callers must not touch a member after group_member_remove,
 * nor a group after group_free_if_idle.
 *
 * Failures: memory, while an answer is copied: that request gets ERR_NO_MEMORY and the client joins
 * again.
 */
#include <stdlib.h>

#include "base/diag.h"
#include "group/group_int.h"

static void group_join_complete(struct group *group);

static uint64_t ms_to_us(int64_t ms)
{
    ASSERT(ms >= 0);
    return (uint64_t)ms * 1000;
}

/* ---- sessions ---- */

void group_session_stop(struct member *member)
{
    timer_cancel(member->group->gs->shard->reactor, &member->session);
}

void group_session_arm(struct member *member)
{
    int64_t ms = member->session_timeout_ms;
    if (member->join || member->sync) { /* (2) */
        if (!member->fresh) {
            group_session_stop(member);
            return;
        }
        ms = GROUP_NEW_MEMBER_JOIN_MS;
    }
    timer_arm(member->group->gs->shard->reactor, &member->session, ms_to_us(ms));
}

static void group_session_expired(struct timer *timer)
{
    struct member *member = CONTAINER_OF(timer, struct member, session);
    diag(DIAG_DEBUG, "group", "group=%s member=%s expired", member->group->id.data,
         member->id.data);
    group_member_remove(member, ERR_UNKNOWN_MEMBER);
}

static void group_pending_expired(struct timer *timer)
{
    struct pending_member *pending = CONTAINER_OF(timer, struct pending_member, timer);
    struct group *group = pending->group;
    group_pending_drop(group, text_slice(pending->id));
    if (group->state == GROUP_PREPARING)
        group_join_try_complete(group);
    else
        group_free_if_idle(group);
}

/* ---- votes ---- */

static bool group_protocol_common(const struct group *group, struct slice name)
{
    LIST_FOREACH(node, &group->members)
    {
        if (!member_protocol(CONTAINER_OF(node, struct member, node), name))
            return false;
    }
    return true;
}

struct slice group_protocol_vote(const struct group *group)
{
    struct slice names[GROUP_MEMBER_PROTOCOLS_MAX];
    uint32_t votes[GROUP_MEMBER_PROTOCOLS_MAX] = {0};
    uint32_t count = 0;
    uint32_t best = 0;
    if (list_empty(&group->members))
        return SLICE_NULL;
    struct member *first = CONTAINER_OF(group->members.next, struct member, node);
    for (uint32_t i = 0; i < first->protocol_count; i++) {
        struct slice name = text_slice(first->protocols[i].name);
        if (group_protocol_common(group, name))
            names[count++] = name;
    }
    LIST_FOREACH(node, &group->members)
    {
        struct member *member = CONTAINER_OF(node, struct member, node);
        bool voted = false;
        for (uint32_t i = 0; i < member->protocol_count && !voted; i++) {
            for (uint32_t c = 0; c < count && !voted; c++) {
                voted = slice_equal(names[c], text_slice(member->protocols[i].name));
                votes[c] += voted;
            }
        }
    }
    for (uint32_t c = 1; c < count; c++) {
        if (votes[c] > votes[best])
            best = c;
    }
    ASSERT(count <= GROUP_MEMBER_PROTOCOLS_MAX);
    return count ? names[best] : SLICE_NULL;
}

/* ---- answers ---- */

static bool group_answer_members(const struct group *group, struct group_op *op, bool *failed)
{
    struct arena *arena = group_op_arena(op);
    uint32_t count = 0;
    op->join.members =
        arena ? ARENA_ARRAY(arena, struct group_join_member, group->member_count) : NULL;
    if (!op->join.members)
        return false;
    LIST_FOREACH(node, &group->members)
    {
        struct member *member = CONTAINER_OF(node, struct member, node);
        const struct group_proto *proto = member_protocol(member, text_slice(group->protocol));
        struct group_join_member *out = &op->join.members[count++];
        out->member_id = group_op_copy(op, text_slice(member->id), failed);
        out->instance_id = group_op_copy(op, text_slice(member->instance), failed);
        out->metadata =
            group_op_copy(op, proto ? text_slice(proto->metadata) : SLICE_LIT(""), failed);
    }
    ASSERT(count == group->member_count);
    op->join.member_count = count;
    return true;
}

void group_answer_join(struct member *member, struct group_op *op)
{
    struct group *group = member->group;
    bool failed = false;
    bool leads = slice_equal(text_slice(member->id), text_slice(group->leader));
    op->join.generation = group->generation;
    op->join.ret_protocol_type = group_op_copy(op, text_slice(group->protocol_type), &failed);
    op->join.ret_protocol = group_op_copy(op, text_slice(group->protocol), &failed);
    op->join.leader_id = group_op_copy(op, text_slice(group->leader), &failed);
    op->join.ret_member_id = group_op_copy(op, text_slice(member->id), &failed);
    op->join.member_count = 0;
    if (leads && !group_answer_members(group, op, &failed))
        failed = true;
    ASSERT(member->join != op);
    group_answer(group->gs, op, failed ? ERR_NO_MEMORY : ERR_OK);
}

void group_answer_sync(struct member *member, enum err err)
{
    struct group_op *op = member->sync;
    struct group *group = member->group;
    bool failed = false;
    if (!op)
        return;
    member->sync = NULL;
    if (!err) {
        op->sync.assignment = group_op_copy(
            op, member->assignment.data ? text_slice(member->assignment) : SLICE_LIT(""), &failed);
        op->sync.ret_protocol_type = group_op_copy(op, text_slice(group->protocol_type), &failed);
        op->sync.ret_protocol = group_op_copy(op, text_slice(group->protocol), &failed);
    }
    group_answer(group->gs, op, failed ? ERR_NO_MEMORY : err);
    ASSERT(member->sync == NULL);
    group_session_arm(member);
}

void group_syncs_answer(struct group *group, enum err err)
{
    ASSERT(group->state == GROUP_COMPLETING || group->state == GROUP_STABLE);
    LIST_FOREACH(node, &group->members)
    group_answer_sync(CONTAINER_OF(node, struct member, node), err);
}

/* ---- leaving ---- */

void group_member_remove(struct member *member, enum err why)
{
    struct group *group = member->group;
    if (member->join) {
        struct group_op *op = member->join;
        member->join = NULL;
        group->join_count--;
        group_answer(group->gs, op, why);
    }
    if (member->sync) {
        struct group_op *op = member->sync;
        member->sync = NULL;
        group_answer(group->gs, op, why);
    }
    if (slice_equal(text_slice(member->id), text_slice(group->leader)))
        text_clear(&group->leader);
    member_free(member);
    switch (group->state) {
    case GROUP_STABLE:
    case GROUP_COMPLETING:
        group_rebalance(group);
        break;
    case GROUP_PREPARING:
        group_join_try_complete(group);
        break;
    case GROUP_EMPTY:
    case GROUP_DEAD:
        UNREACHABLE(); /* they have no members */
    }
}

/* ---- the join phase ---- */

static int64_t group_rebalance_ms(const struct group *group)
{
    int64_t longest = 0;
    LIST_FOREACH(node, &group->members)
    {
        struct member *member = CONTAINER_OF(node, struct member, node);
        if (member->rebalance_timeout_ms > longest)
            longest = member->rebalance_timeout_ms;
    }
    ASSERT(longest >= 0);
    return longest;
}

void group_rebalance(struct group *group)
{
    struct reactor *reactor = group->gs->shard->reactor;
    int64_t wait = group_rebalance_ms(group);
    bool first = group->state == GROUP_EMPTY;
    if (group->state == GROUP_COMPLETING)
        group_syncs_answer(group, ERR_REBALANCE_IN_PROGRESS);
    timer_cancel(reactor, &group->sync_timer);
    LIST_FOREACH(node, &group->members)
    CONTAINER_OF(node, struct member, node)->synced = false;
    group_state_set(group, GROUP_PREPARING);
    group->initial_left_ms = -1;
    group->joined_in_delay = false;
    group_counter_add(&group->gs->counters.rebalances, 1);
    int64_t delay = group->gs->owner->config.initial_rebalance_delay_ms;
    if (first && delay > 0) {
        group->initial_left_ms = wait > delay ? wait - delay : 0;
        wait = delay;
    }
    timer_arm(reactor, &group->join_timer, ms_to_us(wait)); /* (1) */
    group_join_try_complete(group);
}

void group_join_try_complete(struct group *group)
{
    if (group->state != GROUP_PREPARING || group->initial_left_ms >= 0)
        return;
    ASSERT(group->join_count <= group->member_count);
    if (group->join_count == group->member_count && map_count(group->pending) == 0)
        group_join_complete(group);
}

static void group_join_timer(struct timer *timer)
{
    struct group *group = CONTAINER_OF(timer, struct group, join_timer);
    int64_t delay = group->gs->owner->config.initial_rebalance_delay_ms;
    ASSERT(group->state == GROUP_PREPARING); /* (1) */
    if (group->initial_left_ms > 0 && group->joined_in_delay) {
        /* Newcomers keep arriving: wait once more, within the rebalance timeout. */
        int64_t next = delay < group->initial_left_ms ? delay : group->initial_left_ms;
        group->initial_left_ms -= next;
        group->joined_in_delay = false;
        timer_arm(group->gs->shard->reactor, &group->join_timer, ms_to_us(next));
        return;
    }
    group->initial_left_ms = -1;
    group_join_complete(group);
}

/* The leader stays if it has joined; else the first that has. false: nobody has. */
static bool group_leader_elect(struct group *group)
{
    struct member *leader =
        group->leader.data ? group_member(group, text_slice(group->leader)) : NULL;
    if (leader && leader->join)
        return true;
    LIST_FOREACH(node, &group->members)
    {
        struct member *member = CONTAINER_OF(node, struct member, node);
        if (member->join)
            return text_set(&group->leader, text_slice(member->id));
    }
    return false;
}

static void group_became_empty(struct group *group)
{
    group->generation++;
    text_clear(&group->protocol);
    text_clear(&group->leader);
    group_state_set(group, GROUP_EMPTY);
    if (store_put_group(group_store(group), group, NULL))
        diag(DIAG_DEBUG, "group", "group=%s empty state not stored", group->id.data);
    group_check(group);
    group_free_if_idle(group);
}

/* Members that did not come back go; static ones stay until their session ends. */
static void group_drop_absent(struct group *group)
{
    LIST_FOREACH_SAFE(node, &group->members)
    {
        struct member *member = CONTAINER_OF(node, struct member, node);
        if (member->join || member->instance.data)
            continue;
        ASSERT(!member->sync);
        if (slice_equal(text_slice(member->id), text_slice(group->leader)))
            text_clear(&group->leader);
        member_free(member);
    }
}

static void group_join_complete(struct group *group)
{
    struct reactor *reactor = group->gs->shard->reactor;
    ASSERT(group->state == GROUP_PREPARING);
    timer_cancel(reactor, &group->join_timer);
    group->initial_left_ms = -1;
    group_drop_absent(group);
    if (group->member_count == 0) {
        group_became_empty(group);
        return;
    }
    bool elected = group_leader_elect(group);
    struct slice winner = group_protocol_vote(group);
    if (!elected || !winner.data || !text_set(&group->protocol, winner)) {
        /* Only static members that are away: wait for one of them to join or to expire. */
        int64_t wait = group_rebalance_ms(group);
        timer_arm(reactor, &group->join_timer, ms_to_us(wait > 100 ? wait : 100));
        return;
    }
    group->generation++;
    group_state_set(group, GROUP_COMPLETING);
    LIST_FOREACH(node, &group->members)
    {
        struct member *member = CONTAINER_OF(node, struct member, node);
        struct group_op *op = member->join;
        member->synced = false;
        if (!op)
            continue;
        member->join = NULL;
        group->join_count--;
        member->fresh = false;
        group_answer_join(member, op);
        group_session_arm(member);
    }
    group_phase_sync_arm(group);
    group_check(group);
}

/* ---- the sync phase ---- */

void group_phase_sync_arm(struct group *group)
{
    ASSERT(group->state == GROUP_COMPLETING);
    timer_arm(group->gs->shard->reactor, &group->sync_timer, ms_to_us(group_rebalance_ms(group)));
}

/* Members that have not asked for their assignment in time go, and the others start anew. */
static void group_sync_timer(struct timer *timer)
{
    struct group *group = CONTAINER_OF(timer, struct group, sync_timer);
    bool removed = false;
    ASSERT(group->state == GROUP_COMPLETING || group->state == GROUP_STABLE); /* (1) */
    LIST_FOREACH_SAFE(node, &group->members)
    {
        struct member *member = CONTAINER_OF(node, struct member, node);
        if (member->synced)
            continue;
        if (group->state == GROUP_STABLE && member->instance.data)
            continue; /* perhaps away: it stays until its session ends */
        ASSERT(!member->sync && !member->join);
        if (slice_equal(text_slice(member->id), text_slice(group->leader)))
            text_clear(&group->leader);
        member_free(member);
        removed = true;
    }
    if (removed)
        group_rebalance(group);
}

/* ---- timers ---- */

void group_init_timers(struct group *group)
{
    ASSERT(group->gs != NULL);
    timer_init(&group->join_timer, group_join_timer);
    timer_init(&group->sync_timer, group_sync_timer);
}

void member_init_timers(struct member *member)
{
    ASSERT(member->group != NULL);
    timer_init(&member->session, group_session_expired);
}

void pending_init_timer(struct pending_member *pending, int32_t timeout_ms)
{
    ASSERT(timeout_ms >= 0);
    timer_init(&pending->timer, group_pending_expired);
    timer_arm(pending->group->gs->shard->reactor, &pending->timer, ms_to_us(timeout_ms));
}
