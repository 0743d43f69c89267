/*
 * The coordinators of a process: opening them, sending requests to the right one, the stop.
 *
 * Picture: group id -> partition of __consumer_offsets (hash) -> the shard that owns it. A request
 * travels there as a message and comes back as one; while it is there its fields are the
 * coordinator's.
 *
 * Invariants:
 *  (1) A group lives on one shard: the number of partitions of the offsets topic never changes.
 *  (2) Requests for a store that loads wait in its list, in order; for one that failed they are
 *      refused.
 *  (3) Every request is answered once, at the stop too.
 *
 * Ownership: struct groups is constant after groups_open, but for its atomics; each shard part
 * belongs to its shard.
 *
 * Failures: an offsets topic that cannot be loaded refuses its groups with
 * ERR_COORDINATOR_NOT_AVAILABLE; all others go on.
 */
#include <stdlib.h>

#include "base/diag.h"
#include "group/group_int.h"

const char *group_state_name(enum group_state state)
{
    static const char *const names[] = {"Empty", "PreparingRebalance", "CompletingRebalance",
                                        "Stable", "Dead"};
    ASSERT((unsigned)state < sizeof(names) / sizeof(names[0]));
    return names[state];
}

/* Hash of the group id as Java's String.hashCode gives it for ASCII, so that the partition is the
 * one that Kafka's tools expect. */
int32_t groups_store_of(const struct groups *groups, struct slice group_id)
{
    uint32_t hash = 0;
    ASSERT(groups->store_count > 0);
    for (size_t i = 0; i < group_id.len; i++)
        hash = hash * 31 + group_id.data[i];
    return (int32_t)((hash & 0x7fffffff) % (uint32_t)groups->store_count);
}

struct store *group_store(const struct group *group)
{
    struct store *store = group->gs->stores[group->store_partition];
    ASSERT(store != NULL);
    return store;
}

int64_t groups_now_ms(const struct groups_shard *gs)
{
    return reactor_wall_ms(gs->shard->reactor);
}

/* ---- answers ---- */

struct arena *group_op_arena(struct group_op *op)
{
    if (!op->arena)
        op->arena = arena_create(NULL, "group answer", GROUP_ANSWER_MAX);
    return op->arena;
}

size_t group_op_bytes(const struct group_op *op)
{
    return op->arena ? arena_held(op->arena) : 0;
}

struct slice group_op_copy(struct group_op *op, struct slice bytes, bool *failed)
{
    struct arena *arena = group_op_arena(op);
    if (!bytes.data)
        return SLICE_NULL;
    struct slice copy = arena ? arena_copy(arena, bytes) : SLICE_NULL;
    if (!copy.data)
        *failed = true;
    return copy;
}

static void group_answer_arrive(struct shard *to, struct shard_msg *msg)
{
    struct group_op *op = CONTAINER_OF(msg, struct group_op, msg);
    ASSERT(op->from == to);
    op->done(op);
}

void group_answer(struct groups_shard *gs, struct group_op *op, enum err err)
{
    op->err = err;
    ASSERT(list_empty(&op->node));
    op->msg.fn = group_answer_arrive;
    shard_send(gs->shard, op->from, &op->msg);
}

void group_op_release(struct group_op *op)
{
    arena_destroy(op->arena);
    op->arena = NULL;
}

/* ---- dispatch ---- */

static void group_dispatch(struct groups_shard *gs, struct group_op *op)
{
    switch (op->action) {
    case GROUP_JOIN:
        group_do_join(gs, op);
        return;
    case GROUP_SYNC:
        group_do_sync(gs, op);
        return;
    case GROUP_HEARTBEAT:
        group_do_heartbeat(gs, op);
        return;
    case GROUP_LEAVE:
        group_do_leave(gs, op);
        return;
    case GROUP_COMMIT:
        group_do_commit(gs, op);
        return;
    case GROUP_FETCH_OFFSETS:
        group_do_fetch_offsets(gs, op);
        return;
    case GROUP_DESCRIBE:
        group_do_describe(gs, op);
        return;
    case GROUP_DELETE:
        group_do_delete(gs, op);
        return;
    case GROUP_DELETE_OFFSETS:
        group_do_delete_offsets(gs, op);
        return;
    case GROUP_LIST:
        UNREACHABLE(); /* goes its own way */
    }
}

static void group_arrive(struct shard *to, struct shard_msg *msg)
{
    struct group_op *op = CONTAINER_OF(msg, struct group_op, msg);
    struct groups_shard *gs = op->groups->parts[to->index];
    struct store *store = gs->stores[groups_store_of(op->groups, op->group_id)];
    ASSERT(store != NULL); /* (1) */
    if (gs->stopping)
        group_answer(gs, op, ERR_COORDINATOR_NOT_AVAILABLE);
    else if (store->state == STORE_LOADING)
        list_push_back(&store->deferred, &op->node); /* (2) */
    else if (store->state == STORE_FAILED)
        group_answer(gs, op, ERR_COORDINATOR_NOT_AVAILABLE);
    else
        group_dispatch(gs, op);
}

void groups_store_loaded(struct store *store)
{
    struct groups_shard *gs = store->gs;
    struct list_node *node = NULL;
    ASSERT(store->state != STORE_LOADING);
    atomic_fetch_sub_explicit(&gs->owner->loading, 1, memory_order_release);
    while ((node = list_pop_front(&store->deferred))) {
        struct group_op *op = CONTAINER_OF(node, struct group_op, node);
        if (store->state == STORE_READY && !gs->stopping)
            group_dispatch(gs, op);
        else
            group_answer(gs, op, ERR_COORDINATOR_NOT_AVAILABLE);
    }
}

void group_submit(struct groups_shard *gs, struct group_op *op)
{
    struct groups *groups = gs->owner;
    ASSERT(op->done != NULL);
    op->groups = groups;
    op->from = gs->shard;
    op->err = ERR_OK;
    op->arena = NULL;
    list_init(&op->node);
    if (op->action == GROUP_LIST) {
        group_do_list(gs, op);
        return;
    }
    int32_t partition = groups_store_of(groups, op->group_id);
    struct shard *to = broker_partition_shard(groups->broker, groups->topic_id, partition);
    op->msg.fn = group_arrive;
    shard_send(gs->shard, to, &op->msg);
}

/* ---- opening ---- */

struct groups_shard *groups_shard_of(struct groups *groups, const struct shard *shard)
{
    ASSERT(shard->index < groups->shard_count);
    return groups->parts[shard->index];
}

bool groups_ready(struct groups *groups)
{
    return atomic_load_explicit(&groups->loading, memory_order_acquire) == 0;
}

static void groups_config_fill(struct groups *groups, const struct groups_config *config)
{
    struct groups_config *c = &groups->config;
    *c = *config;
    if (c->session_timeout_min_ms == 0)
        c->session_timeout_min_ms = 6000;
    if (c->session_timeout_max_ms == 0)
        c->session_timeout_max_ms = 30 * 60 * 1000;
    if (c->size_max == 0)
        c->size_max = 10000;
    if (c->offsets_retention_ms == 0)
        c->offsets_retention_ms = (int64_t)7 * 24 * 3600 * 1000;
    if (c->offset_metadata_max == 0)
        c->offset_metadata_max = 4096;
    if (c->rewrite_bytes == 0)
        c->rewrite_bytes = 32 << 20;
    if (c->check_ms == 0)
        c->check_ms = 60 * 1000;
    ASSERT(c->session_timeout_min_ms <= c->session_timeout_max_ms);
}

static void groups_expire_round(struct timer *timer)
{
    struct groups_shard *gs = CONTAINER_OF(timer, struct groups_shard, expire);
    ASSERT(!gs->stopping);
    group_offsets_expire(gs);
    for (int32_t i = 0; i < gs->owner->store_count; i++) {
        if (gs->stores[i])
            store_rewrite_if_due(gs->stores[i]);
    }
    timer_arm(gs->shard->reactor, &gs->expire, (uint64_t)gs->owner->config.check_ms * 1000);
}

static void groups_topic_deleted(struct broker_topic_watch *watch, const struct topic *topic)
{
    struct groups_shard *gs = CONTAINER_OF(watch, struct groups_shard, topic_watch);
    ASSERT(topic != NULL);
    group_offsets_topic_deleted(gs, topic->name);
}

static void groups_stop(struct shard_stop *stop);

static enum err groups_part_create(struct groups *groups, struct shard *shard)
{
    struct groups_shard *gs = calloc(1, sizeof(*gs));
    if (!gs)
        return ERR_NO_MEMORY;
    groups->parts[shard->index] = gs;
    gs->owner = groups;
    gs->shard = shard;
    gs->bs = broker_shard_of(groups->broker, shard);
    gs->groups = map_create(GROUPS_PER_SHARD_MAX);
    gs->stores = calloc((size_t)groups->store_count, sizeof(*gs->stores));
    if (!gs->groups || !gs->stores)
        return ERR_NO_MEMORY;
    for (int32_t i = 0; i < groups->store_count; i++) {
        if (broker_partition_shard(groups->broker, groups->topic_id, i) != shard)
            continue;
        gs->stores[i] = store_create(gs, i);
        if (!gs->stores[i])
            return ERR_NO_MEMORY;
    }
    random_init(&gs->ids, broker_seed(groups->broker, shard));
    gs->topic_watch.deleted = groups_topic_deleted;
    ASSERT(gs->bs != NULL);
    return ERR_OK;
}

static void groups_part_start(struct groups_shard *gs)
{
    struct groups *groups = gs->owner;
    broker_topic_watch_add(gs->bs, &gs->topic_watch);
    shard_at_stop(gs->shard, SHARD_STOP_FRONT, &gs->stop, groups_stop);
    timer_init(&gs->expire, groups_expire_round);
    timer_arm(gs->shard->reactor, &gs->expire, (uint64_t)gs->owner->config.check_ms * 1000);
    for (int32_t i = 0; i < groups->store_count; i++) {
        if (gs->stores[i]) {
            ASSERT(gs->stores[i]->state == STORE_LOADING);
            store_load_start(gs->stores[i]);
        }
    }
}

enum err groups_open(struct shards *shards, struct broker *broker,
                     const struct groups_config *config, struct groups **ret_groups,
                     struct err_info *info)
{
    struct groups *groups = calloc(1, sizeof(*groups));
    enum err err = ERR_OK;
    if (!groups)
        return err_info_set(info, ERR_NO_MEMORY, "consumer groups");
    groups_config_fill(groups, config);
    groups->broker = broker;
    groups->shards = shards;
    groups->shard_count = shards_count(shards);
    struct broker_shard *home = broker_shard_of(broker, shards_get(shards, 0));
    const struct topic *topic = broker_topic_find(home, SLICE_LIT("__consumer_offsets"));
    ASSERT(topic != NULL); /* broker_open makes it */
    groups->topic_id = topic->id;
    groups->store_count = topic->partition_count;
    for (unsigned i = 0; i < groups->shard_count && !err; i++)
        err = groups_part_create(groups, shards_get(shards, i));
    if (err) {
        groups_close(groups);
        return err_info_set(info, err, "consumer groups: %s", err_row(err)->text);
    }
    atomic_store(&groups->loading, (uint32_t)groups->store_count);
    for (unsigned i = 0; i < groups->shard_count; i++)
        groups_part_start(groups->parts[i]);
    *ret_groups = groups;
    return ERR_OK;
}

/* ---- the end ---- */

/* Answers everything that is parked (3); the members stay as they are, for the next start. */
static void groups_stop_group(struct group *group)
{
    struct groups_shard *gs = group->gs;
    struct reactor *reactor = gs->shard->reactor;
    timer_cancel(reactor, &group->join_timer);
    timer_cancel(reactor, &group->sync_timer);
    LIST_FOREACH(node, &group->members)
    {
        struct member *member = CONTAINER_OF(node, struct member, node);
        timer_cancel(reactor, &member->session);
        if (member->join)
            group_answer(gs, member->join, ERR_COORDINATOR_NOT_AVAILABLE);
        if (member->sync)
            group_answer(gs, member->sync, ERR_COORDINATOR_NOT_AVAILABLE);
        group->join_count -= member->join != NULL;
        member->join = member->sync = NULL;
    }
    size_t cursor = 0;
    struct slice key;
    void *value = NULL;
    while (map_next(group->pending, &cursor, &key, &value))
        timer_cancel(reactor, &((struct pending_member *)value)->timer);
    ASSERT(group->join_count == 0);
}

static void groups_stop(struct shard_stop *stop)
{
    struct groups_shard *gs = CONTAINER_OF(stop, struct groups_shard, stop);
    size_t cursor = 0;
    struct slice key;
    void *value = NULL;
    ASSERT(!gs->stopping);
    gs->stopping = true;
    timer_cancel(gs->shard->reactor, &gs->expire);
    while (map_next(gs->groups, &cursor, &key, &value))
        groups_stop_group(value);
    for (int32_t i = 0; i < gs->owner->store_count; i++) {
        struct store *store = gs->stores[i];
        struct list_node *node = NULL;
        while (store && (node = list_pop_front(&store->deferred)))
            group_answer(gs, CONTAINER_OF(node, struct group_op, node),
                         ERR_COORDINATOR_NOT_AVAILABLE);
    }
    shard_stop_done(stop);
}

static void groups_part_destroy(struct groups_shard *gs)
{
    size_t cursor = 0;
    struct slice key;
    void *value = NULL;
    while (gs->groups && map_next(gs->groups, &cursor, &key, &value)) {
        struct group *group = value;
        LIST_FOREACH_SAFE(node, &group->members)
        member_free(CONTAINER_OF(node, struct member, node));
        group->writes = 0;
        group_free(group);
    }
    map_destroy(gs->groups);
    for (int32_t i = 0; gs->stores && i < gs->owner->store_count; i++)
        store_destroy(gs->stores[i]);
    free(gs->stores);
    free(gs);
}

void groups_close(struct groups *groups)
{
    if (!groups)
        return;
    for (unsigned i = 0; i < groups->shard_count; i++) {
        if (groups->parts[i])
            groups_part_destroy(groups->parts[i]);
    }
    ASSERT(groups->shard_count > 0);
    free(groups);
}

void groups_stats_read(const struct groups_shard *gs, struct groups_stats *ret)
{
    const struct groups_counters *c = &gs->counters;
    ASSERT(ret != NULL);
    *ret = (struct groups_stats){
        .groups = atomic_load_explicit(&c->groups, memory_order_relaxed),
        .members = atomic_load_explicit(&c->members, memory_order_relaxed),
        .offsets = atomic_load_explicit(&c->offsets, memory_order_relaxed),
        .rebalances = atomic_load_explicit(&c->rebalances, memory_order_relaxed),
        .commits = atomic_load_explicit(&c->commits, memory_order_relaxed),
    };
}
