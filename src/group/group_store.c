/*
 * The coordinator's memory on disk: records appended to one partition of __consumer_offsets.
 *
 * Picture: records of one turn gather in a batch; at the turn's end it goes to the log as one
 * append with acks -1; whoever waits is told when that is durable. Nothing is compacted record by
 * record: the coordinator knows all that is alive, so when enough has been written it writes
 * everything anew and gives up the log before it.
 *
 *     records -> builder (next) -> append 7 | append 8 | append 9 -> log
 *     rewrite: hold the builder -> nothing under way -> all that is alive -> builder again -> durable
 *              -> trim
 *
 * Invariants:
 *  (1) Appends of a store complete in the order they were started; waiters are told in that order.
 *  (2) After a failed append all those under way, and what is in the builder, count as failed: a
 *      request spread over two batches is never half acknowledged. Later ones are of no concern.
 *  (3) A rewrite starts only when no append is under way; records put meanwhile are held and follow
 *      it. So what it writes is what all earlier records amount to, and the log before its first
 *      record may go when all of it is durable, whatever follows by then.
 *  (4) The rewrite writes no more of a group than members were told: of one that is rebalancing
 *      it keeps the generation, and after a restart everybody joins again.
 *
 * Ownership: the shard that owns the partition. Waiters embed store_write.
 *
 * Failures: a failed append fails its waiters; the state in memory is what was durable before. A
 * rewrite of which anything could not be written leaves the old log in place.
 */
#include <stdlib.h>

#include "base/diag.h"
#include "group/group_int.h"
#include "io/fault.h"

enum { STORE_KEY_LIMIT = GROUP_ID_MAX + TOPIC_NAME_MAX + 64, STORE_VALUE_LIMIT = 64 << 20 };

FAULT_DEFINE(store_memory, "group.store.memory")

struct store_append {
    struct broker_append op;
    struct store *store;
    struct list_node waits;
    uint64_t number;
    bool rewrite;
    bool failed; /* an append before it failed while it was filled */
};

/* ---- appending ---- */

static struct store_append *store_append_make(struct store *store)
{
    struct store_append *append = fault_check(&store_memory) ? NULL : calloc(1, sizeof(*append));
    if (!append)
        return NULL;
    append->store = store;
    append->number = UINT64_MAX; /* not started */
    list_init(&append->waits);
    return append;
}

static void store_waits_answer(struct list_node *waits, enum err err)
{
    struct list_node *node = NULL;
    while ((node = list_pop_front(waits))) {
        struct store_write *write = CONTAINER_OF(node, struct store_write, node);
        ASSERT(write->done != NULL);
        write->done(write, err);
    }
}

static void store_trimmed(struct broker_trim_op *op)
{
    struct store *store = CONTAINER_OF(op, struct store, trim);
    if (op->err)
        diag(DIAG_DEBUG, "group", "store=%d trim error=%s", store->partition,
             err_row(op->err)->name);
    ASSERT(store->rewriting && store->rewrite_appends == 0);
    store->rewriting = false;
}

/* All of the rewrite has been answered. */
static void store_rewritten(struct store *store)
{
    ASSERT(store->rewriting && store->rewrite_appends == 0);
    if (store->rewrite_failed || store->rewrite_first < 0) {
        store->rewriting = false; /* once more when as much has been written again */
        return;
    }
    store->trim = (struct broker_trim_op){.topic_id = store->gs->owner->topic_id,
                                          .partition = store->partition,
                                          .offset = store->rewrite_first,
                                          .done = store_trimmed};
    broker_trim(store->gs->bs, &store->trim);
}

static void store_rewrite_start(struct store *store);

static void store_appended(struct broker_append *op)
{
    struct store_append *append = CONTAINER_OF(op, struct store_append, op);
    struct store *store = append->store;
    enum err err = op->err;
    ASSERT(store->appends > 0 && append->number < store->append_number);
    if (err) {
        store->failed_below = store->append_number; /* (2) */
        if (store->next)
            store->next->failed = true;
        diag(DIAG_WARN, "group", "store=%d append error=%s text=\"%s\"", store->partition,
             err_row(err)->name, op->info.text);
    } else if (append->failed || append->number < store->failed_below) {
        err = ERR_STORAGE; /* (2) */
    }
    store->appends--;
    if (append->rewrite) {
        ASSERT(store->rewriting && store->rewrite_appends > 0);
        store->rewrite_failed |= err != ERR_OK;
        if (!err && (store->rewrite_first < 0 || op->base_offset < store->rewrite_first))
            store->rewrite_first = op->base_offset;
        if (--store->rewrite_appends == 0)
            store_rewritten(store);
    }
    store_waits_answer(&append->waits, err);
    free(append);
    if (store->appends == 0 && store->rewrite_wanted)
        store_rewrite_start(store);
}

/* Sends the builder's batch with the append made for it. */
static void store_send(struct store *store, struct batch_builder *builder,
                       struct store_append *append)
{
    append->op.topic_id = store->gs->owner->topic_id;
    append->op.partition = store->partition;
    append->op.acks = -1;
    append->op.flags = BROKER_APPEND_INTERNAL;
    append->op.done = store_appended;
    append->number = store->append_number++;
    batch_builder_finish(builder, &append->op.batch);
    ASSERT(append->op.batch.buf != NULL);
    store->appends++;
    broker_append(store->gs->bs, &append->op);
}

static void store_flush(struct store *store)
{
    struct store_append *append = store->next;
    if (!append || store->rewrite_wanted) /* (3): held */
        return;
    store->next = NULL;
    store->bytes_since += batch_builder_size(&store->builder);
    store_send(store, &store->builder, append);
}

static void store_turn_end(struct hook *hook)
{
    store_flush(CONTAINER_OF(hook, struct store, hook));
}

enum err store_put(struct store *store, struct slice key, struct slice value)
{
    struct batch_build_record record = {
        .timestamp_ms = groups_now_ms(store->gs), .key = key, .value = value};
    if (store->state != STORE_READY)
        return ERR_COORDINATOR_LOADING;
    if (!store->next)
        store->next = store_append_make(store);
    if (!store->next)
        return ERR_NO_MEMORY;
    enum err err = batch_builder_add(&store->builder, &record);
    if (err == ERR_MESSAGE_TOO_LARGE && store->builder.record_count > 0) {
        if (store->rewrite_wanted)
            return ERR_BUSY;                                    /* held, and full */
        struct store_append *behind = store_append_make(store); /* before anything has left */
        if (!behind)
            return ERR_NO_MEMORY;
        store_flush(store);
        store->next = behind;
        err = batch_builder_add(&store->builder, &record);
    }
    if (store->builder.record_count == 0) { /* nothing to wait for */
        ASSERT(err && list_empty(&store->next->waits));
        free(store->next);
        store->next = NULL;
        return err;
    }
    reactor_at_turn_end(store->gs->shard->reactor, &store->hook);
    return err;
}

void store_wait(struct store *store, struct store_write *write, store_done_fn done, void *ctx)
{
    ASSERT(store->next); /* the record put last is in the builder */
    write->done = done;
    write->ctx = ctx;
    list_init(&write->node);
    list_push_back(&store->next->waits, &write->node);
}

/* ---- records ---- */

typedef enum err (*store_sink_fn)(void *arg, struct slice key, struct slice value);

static enum err store_sink_put(void *arg, struct slice key, struct slice value)
{
    return store_put(arg, key, value);
}

static enum err store_emit_group(store_sink_fn sink, void *arg, const struct group *group,
                                 const struct group_sync *assignments, bool members)
{
    struct bytebuf key;
    struct bytebuf value;
    bytebuf_init(&key, STORE_KEY_LIMIT);
    bytebuf_init(&value, STORE_VALUE_LIMIT);
    record_group_key_write(&key, text_slice(group->id));
    record_group_value_write(&value, group, assignments, members);
    enum err err = key.failed || value.failed
                       ? ERR_NO_MEMORY
                       : sink(arg, bytebuf_slice(&key), bytebuf_slice(&value));
    ASSERT(err || value.len > 0);
    bytebuf_deinit(&key);
    bytebuf_deinit(&value);
    return err;
}

static enum err store_emit_offset(store_sink_fn sink, void *arg, struct slice group_id,
                                  struct slice topic, int32_t partition,
                                  const struct offset_entry *values, struct slice metadata)
{
    struct bytebuf key;
    struct bytebuf value;
    bytebuf_init(&key, STORE_KEY_LIMIT);
    bytebuf_init(&value, STORE_VALUE_LIMIT);
    record_offset_key_write(&key, group_id, topic, partition);
    if (values)
        record_offset_value_write(&value, values, metadata);
    enum err err = key.failed || value.failed ? ERR_NO_MEMORY
                                              : sink(arg, bytebuf_slice(&key),
                                                     values ? bytebuf_slice(&value) : SLICE_NULL);
    ASSERT(err || key.len > 0);
    bytebuf_deinit(&key);
    bytebuf_deinit(&value);
    return err;
}

enum err store_put_group(struct store *store, const struct group *group,
                         const struct group_sync *assignments)
{
    return store_emit_group(store_sink_put, store, group, assignments, true);
}

enum err store_put_group_gone(struct store *store, struct slice group_id)
{
    struct bytebuf key;
    bytebuf_init(&key, STORE_KEY_LIMIT);
    record_group_key_write(&key, group_id);
    enum err err = key.failed ? ERR_NO_MEMORY : store_put(store, bytebuf_slice(&key), SLICE_NULL);
    bytebuf_deinit(&key);
    return err;
}

enum err store_put_offset(struct store *store, struct slice group_id, struct slice topic,
                          int32_t partition, const struct offset_entry *values,
                          struct slice metadata)
{
    ASSERT(values != NULL);
    return store_emit_offset(store_sink_put, store, group_id, topic, partition, values, metadata);
}

enum err store_put_offset_gone(struct store *store, struct slice group_id, struct slice topic,
                               int32_t partition)
{
    return store_emit_offset(store_sink_put, store, group_id, topic, partition, NULL, SLICE_NULL);
}

/* ---- rewriting ---- */

struct rewrite {
    struct store *store;
    struct batch_builder builder;
    struct store_append *next;
    uint64_t bytes;
};

static void rewrite_send(struct rewrite *rewrite)
{
    struct store *store = rewrite->store;
    struct store_append *append = rewrite->next;
    ASSERT(store->rewriting && append);
    rewrite->bytes += batch_builder_size(&rewrite->builder);
    rewrite->next = NULL;
    append->rewrite = true;
    store->rewrite_appends++;
    store_send(store, &rewrite->builder, append);
}

static enum err rewrite_put(void *arg, struct slice key, struct slice value)
{
    struct rewrite *rewrite = arg;
    struct batch_build_record record = {
        .timestamp_ms = groups_now_ms(rewrite->store->gs), .key = key, .value = value};
    enum err err = batch_builder_add(&rewrite->builder, &record);
    if (err == ERR_MESSAGE_TOO_LARGE && rewrite->next) {
        rewrite_send(rewrite);
        err = batch_builder_add(&rewrite->builder, &record);
    }
    if (!err && !rewrite->next)
        rewrite->next = store_append_make(rewrite->store);
    return err || rewrite->next ? err : ERR_NO_MEMORY;
}

static enum err rewrite_group(struct rewrite *rewrite, const struct group *group)
{
    size_t cursor = 0;
    struct slice key;
    void *value = NULL;
    enum err err = ERR_OK;
    bool settled = group->state == GROUP_STABLE || group->state == GROUP_EMPTY; /* (4) */
    ASSERT(group->store_partition == rewrite->store->partition);
    if (group->protocol_type.data)
        err = store_emit_group(rewrite_put, rewrite, group, NULL, settled);
    while (!err && map_next(group->offsets, &cursor, &key, &value)) {
        const struct offset_entry *entry = value;
        err =
            store_emit_offset(rewrite_put, rewrite, text_slice(group->id), text_slice(entry->topic),
                              entry->partition, entry, text_slice(entry->metadata));
    }
    return err;
}

/* Writes all that is alive (3). */
static void store_rewrite_start(struct store *store)
{
    struct rewrite rewrite = {.store = store};
    size_t cursor = 0;
    struct slice key;
    void *value = NULL;
    enum err err = ERR_OK;
    ASSERT(store->appends == 0 && !store->rewriting && store->rewrite_appends == 0);
    store->rewrite_wanted = store->rewrite_failed = false;
    store->rewriting = true;
    store->rewrite_first = -1;
    store->bytes_since = 0;
    batch_builder_init(&rewrite.builder, STORE_BATCH_MAX);
    while (!err && map_next(store->gs->groups, &cursor, &key, &value)) {
        struct group *group = value;
        if (group->store_partition == store->partition)
            err = rewrite_group(&rewrite, group);
    }
    if (err) {
        diag(DIAG_WARN, "group", "store=%d rewrite error=%s", store->partition, err_row(err)->name);
        store->rewrite_failed = true;
        free(rewrite.next);
    } else if (rewrite.next) {
        rewrite_send(&rewrite);
    }
    batch_builder_deinit(&rewrite.builder);
    store->rewrite_bytes = rewrite.bytes;
    if (store->rewrite_appends == 0)
        store_rewritten(store);
    store_flush(store);
}

void store_rewrite_if_due(struct store *store)
{
    if (store->state != STORE_READY || store->rewriting || store->rewrite_wanted ||
        store->bytes_since < (uint64_t)store->gs->owner->config.rewrite_bytes ||
        store->bytes_since < store->rewrite_bytes) /* else a large state is written all the time */
        return;
    store->rewrite_wanted = true;
    ASSERT(store->rewrite_appends == 0);
    if (store->appends == 0)
        store_rewrite_start(store);
}

/* ---- life ---- */

struct store *store_create(struct groups_shard *gs, int32_t partition)
{
    struct store *store = calloc(1, sizeof(*store));
    if (!store)
        return NULL;
    store->gs = gs;
    store->partition = partition;
    store->state = STORE_LOADING;
    store->rewrite_first = -1;
    list_init(&store->deferred);
    hook_init(&store->hook, store_turn_end);
    batch_builder_init(&store->builder, STORE_BATCH_MAX);
    ASSERT(partition >= 0);
    return store;
}

void store_destroy(struct store *store)
{
    if (!store)
        return;
    ASSERT(list_empty(&store->deferred));
    free(store->next);
    batch_builder_deinit(&store->builder);
    free(store);
}
