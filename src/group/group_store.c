/*
 * The coordinator's memory on disk: records appended to one partition of __consumer_offsets.
 *
 * Picture: records of one turn gather in a batch; at the turn's end it goes to the log as one
 * append with acks -1; whoever waits is told when that is durable. Nothing is compacted record by
 * record: the coordinator knows all that is alive, so when enough has been written it writes
 * everything anew and gives up the log before it.
 *
 * Invariants:
 *  (1) Appends of a store complete in the order they were started; waiters are told in that order.
 *  (2) After a failed append all those under way count as failed: a request spread over two batches
 *      is never half acknowledged.
 *  (3) A rewrite starts only when no append is under way; records put meanwhile are held and follow
 *      it. So what it writes is what all earlier records amount to, and the log before its first
 *      record may go.
 *
 * Ownership: the shard that owns the partition. Waiters embed store_write.
 *
 * Failures: a failed append fails its waiters; the state in memory is what was durable before.
 */
#include "base/diag.h"
#include <stdlib.h>

#include "group/group_int.h"

enum { STORE_KEY_LIMIT = GROUP_ID_MAX + TOPIC_NAME_MAX + 64, STORE_VALUE_LIMIT = 64 << 20 };

struct store_append {
    struct broker_append op;
    struct store *store;
    struct list_node waits;
    bool rewrite;
};

static void store_flush(struct store *store);

/* ---- appending ---- */

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
    ASSERT(store->rewriting);
    store->rewriting = false;
}

static void store_rewritten(struct store *store, enum err err)
{
    ASSERT(store->rewriting && store->appends == 0);
    if (err || store->rewrite_first < 0) {
        store->rewriting = false;
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
    bool rewrite = append->rewrite;
    enum err err = op->err;
    ASSERT(store->appends > 0);
    if (err) {
        store->failing = true;
        diag(DIAG_WARN, "group", "store=%d append error=%s text=\"%s\"", store->partition,
             err_row(err)->name, op->info.text);
    } else if (store->failing) {
        err = ERR_STORAGE; /* (2) */
    }
    if (rewrite && !err && store->rewrite_first < 0)
        store->rewrite_first = op->base_offset;
    if (--store->appends == 0)
        store->failing = false;
    store_waits_answer(&append->waits, err);
    free(append);
    if (store->appends > 0)
        return;
    if (store->rewriting && rewrite)
        store_rewritten(store, err);
    if (store->rewrite_wanted)
        store_rewrite_start(store);
}

/* Sends the builder's batch; waits move along with it. */
static void store_send(struct store *store, struct batch_builder *builder, struct list_node *waits,
                       bool rewrite)
{
    struct store_append *append = calloc(1, sizeof(*append));
    if (!append) {
        batch_builder_deinit(builder);
        batch_builder_init(builder, STORE_BATCH_MAX);
        if (waits)
            store_waits_answer(waits, ERR_NO_MEMORY);
        return;
    }
    append->store = store;
    append->rewrite = rewrite;
    list_init(&append->waits);
    struct list_node *node = NULL;
    while (waits && (node = list_pop_front(waits)))
        list_push_back(&append->waits, node);
    append->op.topic_id = store->gs->owner->topic_id;
    append->op.partition = store->partition;
    append->op.acks = -1;
    append->op.flags = BROKER_APPEND_INTERNAL;
    append->op.done = store_appended;
    store->bytes_since += batch_builder_size(builder);
    batch_builder_finish(builder, &append->op.batch);
    ASSERT(append->op.batch.buf != NULL);
    store->appends++;
    broker_append(store->gs->bs, &append->op);
}

static void store_flush(struct store *store)
{
    if (!store->open || store->rewrite_wanted) /* (3): held */
        return;
    store->open = false;
    store_send(store, &store->builder, &store->waits, false);
    ASSERT(!store->open);
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
    enum err err = batch_builder_add(&store->builder, &record);
    if (err == ERR_MESSAGE_TOO_LARGE && store->open) {
        if (store->rewrite_wanted)
            return ERR_BUSY; /* held, and full */
        store_flush(store);
        err = batch_builder_add(&store->builder, &record);
    }
    if (err)
        return err;
    ASSERT(batch_builder_size(&store->builder) > 0);
    store->open = true;
    reactor_at_turn_end(store->gs->shard->reactor, &store->hook);
    return ERR_OK;
}

void store_wait(struct store *store, struct store_write *write, store_done_fn done, void *ctx)
{
    ASSERT(store->open); /* the record put last is in the builder */
    write->done = done;
    write->ctx = ctx;
    list_init(&write->node);
    list_push_back(&store->waits, &write->node);
}

/* ---- records ---- */

typedef enum err (*store_sink_fn)(void *arg, struct slice key, struct slice value);

static enum err store_sink_put(void *arg, struct slice key, struct slice value)
{
    return store_put(arg, key, value);
}

static enum err store_emit_group(store_sink_fn sink, void *arg, const struct group *group,
                                 const struct group_sync *assignments)
{
    struct bytebuf key;
    struct bytebuf value;
    bytebuf_init(&key, STORE_KEY_LIMIT);
    bytebuf_init(&value, STORE_VALUE_LIMIT);
    record_group_key_write(&key, text_slice(group->id));
    record_group_value_write(&value, group, assignments);
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
    return store_emit_group(store_sink_put, store, group, assignments);
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
    bool open;
    enum err err;
};

static enum err rewrite_put(void *arg, struct slice key, struct slice value)
{
    struct rewrite *rewrite = arg;
    struct batch_build_record record = {
        .timestamp_ms = groups_now_ms(rewrite->store->gs), .key = key, .value = value};
    enum err err = batch_builder_add(&rewrite->builder, &record);
    if (err == ERR_MESSAGE_TOO_LARGE && rewrite->open) {
        store_send(rewrite->store, &rewrite->builder, NULL, true);
        err = batch_builder_add(&rewrite->builder, &record);
    }
    rewrite->open = true;
    if (err && !rewrite->err)
        rewrite->err = err;
    return err;
}

static void rewrite_group(struct rewrite *rewrite, const struct group *group)
{
    size_t cursor = 0;
    struct slice key;
    void *value = NULL;
    ASSERT(group->store_partition == rewrite->store->partition);
    if (group->protocol_type.data)
        (void)!store_emit_group(rewrite_put, rewrite, group, NULL);
    while (map_next(group->offsets, &cursor, &key, &value)) {
        const struct offset_entry *entry = value;
        (void)!store_emit_offset(rewrite_put, rewrite, text_slice(group->id),
                                 text_slice(entry->topic), entry->partition, entry,
                                 text_slice(entry->metadata));
    }
}

/* Writes all that is alive (3). */
static void store_rewrite_start(struct store *store)
{
    struct rewrite rewrite = {.store = store};
    size_t cursor = 0;
    struct slice key;
    void *value = NULL;
    ASSERT(store->appends == 0 && !store->rewriting);
    store->rewrite_wanted = false;
    store->rewriting = true;
    store->rewrite_first = -1;
    store->bytes_since = 0;
    batch_builder_init(&rewrite.builder, STORE_BATCH_MAX);
    while (map_next(store->gs->groups, &cursor, &key, &value)) {
        struct group *group = value;
        if (group->store_partition == store->partition)
            rewrite_group(&rewrite, group);
    }
    if (rewrite.open)
        store_send(store, &rewrite.builder, NULL, true);
    batch_builder_deinit(&rewrite.builder);
    if (rewrite.err) /* something is missing in it: the old log must stay */
        store->failing = true;
    if (store->appends == 0)
        store->rewriting = false;
    store_flush(store);
}

void store_rewrite_if_due(struct store *store)
{
    if (store->state != STORE_READY || store->rewriting || store->rewrite_wanted ||
        store->bytes_since < (uint64_t)store->gs->owner->config.rewrite_bytes)
        return;
    store->rewrite_wanted = true;
    ASSERT(!store->rewriting);
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
    list_init(&store->waits);
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
    batch_builder_deinit(&store->builder);
    free(store);
}
