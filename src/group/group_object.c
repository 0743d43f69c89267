/*
 * Groups and their members as objects: making, finding, changing, freeing. No protocol here.
 *
 * Invariants (group_check):
 *  (1) by_id holds exactly the members of the list, by_instance those with an instance id.
 *  (2) join_count is the number of members with a parked join.
 *  (3) A group with members has a protocol type.
 *  (4) EMPTY and DEAD groups have no members; a STABLE or COMPLETING one has.
 *
 * Ownership: a group belongs to one shard; texts and maps are the object's own.
 *
 * Failures: memory and limits; a function that fails leaves the object as it was.
 */
#include <stdlib.h>

#include "group/group_int.h"

bool text_set(struct group_text *text, struct slice value)
{
    char *copy = NULL;
    if (value.data) {
        ASSERT(value.len < UINT32_MAX);
        copy = malloc(value.len + 1);
        if (!copy)
            return false;
        memcpy(copy, value.data, value.len);
        copy[value.len] = 0;
    }
    free(text->data);
    text->data = copy;
    text->len = (uint32_t)(copy ? value.len : 0);
    return true;
}

void text_clear(struct group_text *text)
{
    free(text->data);
    *text = (struct group_text){0};
}

/* ---- groups ---- */

struct group *group_find(struct groups_shard *gs, struct slice id)
{
    ASSERT(gs->groups != NULL);
    return map_get(gs->groups, id);
}

static void group_destroy(struct group *group)
{
    group_offsets_free(group);
    map_destroy(group->by_id);
    map_destroy(group->by_instance);
    map_destroy(group->pending);
    text_clear(&group->id);
    text_clear(&group->protocol_type);
    text_clear(&group->protocol);
    text_clear(&group->leader);
    free(group);
}

struct group *group_make(struct groups_shard *gs, struct slice id)
{
    struct group *group = calloc(1, sizeof(*group));
    if (!group)
        return NULL;
    ASSERT(!group_find(gs, id));
    group->gs = gs;
    group->store_partition = groups_store_of(gs->owner, id);
    group->state = GROUP_EMPTY;
    group->state_ms = groups_now_ms(gs);
    group->initial_left_ms = -1;
    group->storing = -1;
    list_init(&group->members);
    group_init_timers(group);
    group->by_id = map_create((size_t)gs->owner->config.size_max + 1);
    group->by_instance = map_create((size_t)gs->owner->config.size_max + 1);
    group->pending = map_create(GROUP_PENDING_MAX);
    group->offsets = map_create(GROUP_OFFSETS_MAX);
    bool ok = group->by_id && group->by_instance && group->pending && group->offsets &&
              text_set(&group->id, id) && map_put(gs->groups, id, group);
    if (!ok) {
        group_destroy(group);
        return NULL;
    }
    group_counter_add(&gs->counters.groups, 1);
    return group;
}

void group_free(struct group *group)
{
    struct groups_shard *gs = group->gs;
    size_t cursor = 0;
    struct slice key;
    void *value = NULL;
    ASSERT(group->member_count == 0 && group->writes == 0);
    while (map_next(group->pending, &cursor, &key, &value)) {
        struct pending_member *pending = value;
        timer_cancel(gs->shard->reactor, &pending->timer);
        text_clear(&pending->id);
        free(pending);
    }
    timer_cancel(gs->shard->reactor, &group->join_timer);
    timer_cancel(gs->shard->reactor, &group->sync_timer);
    void *removed = map_remove(gs->groups, text_slice(group->id));
    ASSERT(removed == group);
    group_counter_add(&gs->counters.groups, UINT64_MAX);
    group_destroy(group);
}

void group_free_if_idle(struct group *group)
{
    if (group->member_count || group->writes || map_count(group->offsets) ||
        map_count(group->pending) || group->protocol_type.data)
        return; /* the last: it is in the log, and goes with a tombstone (group_offsets_expire) */
    if (group->state != GROUP_EMPTY && group->state != GROUP_DEAD)
        return;
    group_free(group);
}

void group_state_set(struct group *group, enum group_state state)
{
    /* Which states may follow which: EMPTY, PREPARING, COMPLETING, STABLE, DEAD. */
    static const bool allowed[5][5] = {
        [GROUP_EMPTY] = {[GROUP_PREPARING] = true, [GROUP_DEAD] = true},
        [GROUP_PREPARING] = {[GROUP_EMPTY] = true, [GROUP_COMPLETING] = true, [GROUP_DEAD] = true},
        [GROUP_COMPLETING] = {[GROUP_PREPARING] = true, [GROUP_STABLE] = true, [GROUP_DEAD] = true},
        [GROUP_STABLE] = {[GROUP_PREPARING] = true, [GROUP_DEAD] = true},
        [GROUP_DEAD] = {false},
    };
    ASSERT(allowed[group->state][state]);
    group->state = state;
    group->state_ms = groups_now_ms(group->gs);
}

struct member *group_member(const struct group *group, struct slice id)
{
    return map_get(group->by_id, id);
}

struct member *group_member_static(const struct group *group, struct slice instance)
{
    return instance.data ? map_get(group->by_instance, instance) : NULL;
}

void group_check(const struct group *group)
{
    uint32_t members = 0;
    uint32_t joins = 0;
    uint32_t instances = 0;
    LIST_FOREACH(node, &group->members)
    {
        struct member *member = CONTAINER_OF(node, struct member, node);
        members++;
        joins += member->join != NULL;
        instances += member->instance.data != NULL;
        DASSERT(group_member(group, text_slice(member->id)) == member);
    }
    ASSERT(members == group->member_count && members == map_count(group->by_id)); /* (1) */
    ASSERT(instances == map_count(group->by_instance));
    ASSERT(joins == group->join_count);                                                  /* (2) */
    ASSERT(members == 0 || group->protocol_type.data);                                   /* (3) */
    ASSERT(members == 0 || (group->state != GROUP_EMPTY && group->state != GROUP_DEAD)); /* (4) */
    ASSERT(members > 0 || (group->state != GROUP_STABLE && group->state != GROUP_COMPLETING));
}

/* ---- members ---- */

static void member_protocols_free(struct group_proto *protocols, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        text_clear(&protocols[i].name);
        text_clear(&protocols[i].metadata);
    }
    free(protocols);
}

bool member_update(struct member *member, const struct group_join *join)
{
    uint32_t count = join->protocol_count;
    struct group_proto *protocols = calloc(count ? count : 1, sizeof(*protocols));
    bool ok = protocols != NULL;
    for (uint32_t i = 0; i < count && ok; i++) {
        struct slice metadata = join->protocols[i].metadata;
        if (!metadata.data)
            metadata = SLICE_LIT("");
        ok = text_set(&protocols[i].name, join->protocols[i].name) &&
             text_set(&protocols[i].metadata, metadata);
    }
    ok = ok && text_set(&member->client_id, join->client_id) &&
         text_set(&member->client_host, join->client_host);
    if (!ok) {
        if (protocols)
            member_protocols_free(protocols, count);
        return false;
    }
    member_protocols_free(member->protocols, member->protocol_count);
    member->protocols = protocols;
    member->protocol_count = count;
    member->session_timeout_ms = join->session_timeout_ms;
    member->rebalance_timeout_ms = join->rebalance_timeout_ms;
    ASSERT(count <= GROUP_MEMBER_PROTOCOLS_MAX);
    return true;
}

bool member_protocols_same(const struct member *member, const struct group_join *join)
{
    if (member->protocol_count != join->protocol_count)
        return false;
    for (uint32_t i = 0; i < join->protocol_count; i++) {
        const struct group_proto *mine = &member->protocols[i];
        ASSERT(mine->name.data != NULL);
        if (!slice_equal(text_slice(mine->name), join->protocols[i].name) ||
            !slice_equal(text_slice(mine->metadata), join->protocols[i].metadata))
            return false;
    }
    return true;
}

const struct group_proto *member_protocol(const struct member *member, struct slice name)
{
    for (uint32_t i = 0; i < member->protocol_count; i++) {
        ASSERT(member->protocols[i].name.data != NULL);
        if (slice_equal(text_slice(member->protocols[i].name), name))
            return &member->protocols[i];
    }
    return NULL;
}

static void member_destroy(struct member *member)
{
    text_clear(&member->id);
    text_clear(&member->instance);
    text_clear(&member->client_id);
    text_clear(&member->client_host);
    text_clear(&member->assignment);
    member_protocols_free(member->protocols, member->protocol_count);
    free(member);
}

struct member *member_make(struct group *group, struct slice id, struct slice instance,
                           const struct group_join *join)
{
    struct member *member = calloc(1, sizeof(*member));
    if (!member)
        return NULL;
    member->group = group;
    member->fresh = true;
    list_init(&member->node);
    member_init_timers(member);
    ASSERT(!group_member(group, id) && !group_member_static(group, instance));
    bool ok = text_set(&member->id, id) && text_set(&member->instance, instance) &&
              member_update(member, join) && map_put(group->by_id, id, member);
    if (ok && instance.data && !map_put(group->by_instance, instance, member)) {
        map_remove(group->by_id, id);
        ok = false;
    }
    if (!ok) {
        member_destroy(member);
        return NULL;
    }
    list_push_back(&group->members, &member->node);
    group->member_count++;
    group_counter_add(&group->gs->counters.members, 1);
    return member;
}

bool member_rename(struct member *member, struct slice id)
{
    struct group *group = member->group;
    struct group_text fresh = {0};
    ASSERT(!group_member(group, id));
    if (!text_set(&fresh, id))
        return false;
    if (!map_put(group->by_id, id, member)) {
        text_clear(&fresh);
        return false;
    }
    map_remove(group->by_id, text_slice(member->id));
    text_clear(&member->id);
    member->id = fresh;
    return true;
}

void member_free(struct member *member)
{
    struct group *group = member->group;
    ASSERT(!member->join && !member->sync);
    timer_cancel(group->gs->shard->reactor, &member->session);
    void *removed = map_remove(group->by_id, text_slice(member->id));
    ASSERT(removed == member);
    if (member->instance.data)
        map_remove(group->by_instance, text_slice(member->instance));
    list_remove(&member->node);
    group->member_count--;
    group_counter_add(&group->gs->counters.members, UINT64_MAX);
    member_destroy(member);
}

/* ---- ids given out ---- */

bool group_pending_has(const struct group *group, struct slice id)
{
    return map_get(group->pending, id) != NULL;
}

bool group_pending_add(struct group *group, struct slice id, int32_t timeout_ms)
{
    struct pending_member *pending = calloc(1, sizeof(*pending));
    if (!pending)
        return false;
    pending->group = group;
    if (!text_set(&pending->id, id) || !map_put(group->pending, id, pending)) {
        text_clear(&pending->id);
        free(pending);
        return false;
    }
    pending_init_timer(pending, timeout_ms);
    return true;
}

void group_pending_drop(struct group *group, struct slice id)
{
    struct pending_member *pending = map_remove(group->pending, id);
    if (!pending)
        return;
    ASSERT(pending->group == group);
    timer_cancel(group->gs->shard->reactor, &pending->timer);
    text_clear(&pending->id);
    free(pending);
}
