/*
 * Describing, listing and deleting groups.
 *
 * Invariants: (1) a list visits the shards one after another with one message, gathering into the
 * request's own arena; (2) a group is deleted when the tombstones of its offsets and of itself are
 * durable, and only while no write of it is under way, so that none is missing.
 *
 * Ownership: the coordinator's shard; a list belongs to the shard it visits.
 *
 * Failures: a full arena answers ERR_NO_MEMORY; a failed store leaves the group as it is; a store
 * that was not loaded fails the whole list.
 */
#include <stdlib.h>

#include "group/group_int.h"

/* ---- describe ---- */

static void describe_member(struct group_op *op, const struct group *group,
                            const struct member *member, struct group_member_view *out,
                            bool *failed)
{
    const struct group_proto *proto =
        group->protocol.data ? member_protocol(member, text_slice(group->protocol)) : NULL;
    bool stable = group->state == GROUP_STABLE;
    ASSERT(member->group == group);
    out->member_id = group_op_copy(op, text_slice(member->id), failed);
    out->instance_id = group_op_copy(op, text_slice(member->instance), failed);
    out->client_id = group_op_copy(op, text_slice(member->client_id), failed);
    out->client_host = group_op_copy(op, text_slice(member->client_host), failed);
    out->metadata =
        group_op_copy(op, stable && proto ? text_slice(proto->metadata) : SLICE_LIT(""), failed);
    out->assignment = group_op_copy(
        op, stable && member->assignment.data ? text_slice(member->assignment) : SLICE_LIT(""),
        failed);
}

void group_do_describe(struct groups_shard *gs, struct group_op *op)
{
    struct group *group = group_find(gs, op->group_id);
    bool failed = false;
    op->describe = (struct group_describe){.state = GROUP_DEAD};
    if (!group) {
        group_answer(gs, op, ERR_OK);
        return;
    }
    struct arena *arena = group_op_arena(op);
    op->describe.found = true;
    op->describe.state = group->state;
    op->describe.protocol_type = group_op_copy(op, text_slice(group->protocol_type), &failed);
    op->describe.protocol = group_op_copy(op, text_slice(group->protocol), &failed);
    op->describe.members =
        arena ? ARENA_ARRAY(arena, struct group_member_view, group->member_count) : NULL;
    if (!op->describe.members) {
        group_answer(gs, op, ERR_NO_MEMORY);
        return;
    }
    LIST_FOREACH(node, &group->members)
    describe_member(op, group, CONTAINER_OF(node, struct member, node),
                    &op->describe.members[op->describe.member_count++], &failed);
    ASSERT(op->describe.member_count == group->member_count);
    group_answer(gs, op, failed ? ERR_NO_MEMORY : ERR_OK);
}

/* ---- list ---- */

static bool list_gather(struct groups_shard *gs, struct group_op *op)
{
    struct arena *arena = group_op_arena(op);
    size_t cursor = 0;
    struct slice key;
    void *value = NULL;
    bool failed = false;
    size_t room = op->list.group_count + map_count(gs->groups);
    struct group_view *views = arena ? ARENA_ARRAY(arena, struct group_view, room) : NULL;
    if (!views)
        return false;
    if (op->list.group_count)
        memcpy(views, op->list.groups, sizeof(*views) * op->list.group_count);
    op->list.groups = views;
    while (map_next(gs->groups, &cursor, &key, &value)) {
        const struct group *group = value;
        if (op->list.states && !(op->list.states & (1u << group->state)))
            continue;
        views[op->list.group_count++] = (struct group_view){
            .group_id = group_op_copy(op, text_slice(group->id), &failed),
            .protocol_type = group_op_copy(
                op, group->protocol_type.data ? text_slice(group->protocol_type) : SLICE_LIT(""),
                &failed),
            .state = group->state,
        };
    }
    ASSERT(op->list.group_count <= room);
    return !failed;
}

/* A list that lacks the groups of a lost store would say that they are gone. */
static bool list_is_short(const struct groups_shard *gs)
{
    for (int32_t i = 0; i < gs->owner->store_count; i++) {
        if (gs->stores[i] && gs->stores[i]->state == STORE_FAILED)
            return true;
    }
    return false;
}

static void list_visit(struct shard *to, struct shard_msg *msg)
{
    struct group_op *op = CONTAINER_OF(msg, struct group_op, msg);
    struct groups *groups = op->groups;
    struct groups_shard *gs = groups->parts[to->index];
    ASSERT(op->waiting == to->index);
    if (list_is_short(gs)) {
        group_answer(gs, op, ERR_COORDINATOR_NOT_AVAILABLE);
        return;
    }
    if (!list_gather(gs, op)) {
        group_answer(gs, op, ERR_NO_MEMORY);
        return;
    }
    if (++op->waiting == groups->shard_count) {
        group_answer(gs, op, groups_ready(groups) ? ERR_OK : ERR_COORDINATOR_LOADING);
        return;
    }
    shard_send(to, groups->parts[op->waiting]->shard, msg); /* (1) */
}

void group_do_list(struct groups_shard *gs, struct group_op *op)
{
    ASSERT(op->action == GROUP_LIST);
    op->list.groups = NULL;
    op->list.group_count = 0;
    op->waiting = 0;
    op->msg.fn = list_visit;
    shard_send(gs->shard, gs->owner->parts[0]->shard, &op->msg);
}

/* ---- delete ---- */

struct delete_write {
    struct store_write write;
    struct groups_shard *gs;
    struct group *group;
    struct group_op *op;
};

static void delete_stored(struct store_write *write, enum err err)
{
    struct delete_write *w = CONTAINER_OF(write, struct delete_write, write);
    struct group *group = w->group;
    struct groups_shard *gs = w->gs;
    ASSERT(group->writes > 0);
    group->writes--;
    if (!err) {
        size_t cursor = 0;
        struct slice key;
        void *value = NULL;
        while (map_next(group->offsets, &cursor, &key, &value)) {
            struct offset_entry *entry = value;
            group_offset_drop(group, text_slice(entry->topic), entry->partition);
        }
    }
    if (!err && group->member_count > 0)
        err = ERR_NON_EMPTY_GROUP; /* somebody joined meanwhile: the next store writes it again */
    if (!err)
        text_clear(&group->protocol_type);
    group_free_if_idle(group);
    group_answer(gs, w->op,
                 err && err != ERR_NON_EMPTY_GROUP ? ERR_COORDINATOR_NOT_AVAILABLE : err);
    free(w);
}

static enum err delete_put(struct group *group)
{
    size_t cursor = 0;
    struct slice key;
    void *value = NULL;
    enum err err = ERR_OK;
    while (!err && map_next(group->offsets, &cursor, &key, &value)) {
        const struct offset_entry *entry = value;
        ASSERT(entry->topic.data != NULL);
        err = store_put_offset_gone(group_store(group), text_slice(group->id),
                                    text_slice(entry->topic), entry->partition);
    }
    return err ? err : store_put_group_gone(group_store(group), text_slice(group->id));
}

void group_do_delete(struct groups_shard *gs, struct group_op *op)
{
    struct group *group = group_find(gs, op->group_id);
    enum err err = op->group_id.len ? ERR_OK : ERR_INVALID_GROUP_ID;
    if (!err && !group)
        err = ERR_GROUP_ID_NOT_FOUND;
    if (!err && group->state != GROUP_EMPTY)
        err = ERR_NON_EMPTY_GROUP;
    if (!err &&
        group->writes > 0) /* a commit on its way would have no tombstone: once more, soon */
        err = ERR_COORDINATOR_NOT_AVAILABLE;
    struct delete_write *w = err ? NULL : calloc(1, sizeof(*w));
    if (!err && (!w || delete_put(group)))
        err = ERR_COORDINATOR_NOT_AVAILABLE;
    if (err) {
        free(w);
        group_answer(gs, op, err);
        return;
    }
    ASSERT(group->member_count == 0);
    w->gs = gs;
    w->group = group;
    w->op = op;
    group->writes++;
    store_wait(group_store(group), &w->write, delete_stored, NULL);
}
