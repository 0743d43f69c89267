/*
 * Loading: what one partition of __consumer_offsets amounts to, read from its start.
 *
 * Invariants:
 *  (1) Records apply in the order of the log; the last one of a key wins, a tombstone removes.
 *  (2) Until the end is reached, no request sees the store: they are deferred.
 *  (3) A group with members comes back STABLE with fresh session timers, so that consumers of a
 *      broker that was restarted go on without a rebalance; one without comes back EMPTY.
 *
 * Ownership: the shard that owns the partition.
 *
 * Failures: a partition that is offline fails its store, and its groups answer
 * ERR_COORDINATOR_NOT_AVAILABLE; a read that fails is repeated for two seconds before that. A record that cannot be read is left out with a warning.
 */
#include <stdlib.h>

#include "base/diag.h"
#include "group/group_int.h"

enum {
    LOAD_FETCH_BYTES = 4 << 20,
    LOAD_RETRY_US = 2000,
    LOAD_AGAIN_US = 100000,
    LOAD_RETRIES_MAX = 20,
    LOAD_INFLATED_MAX = 256 << 20
};

struct store_load {
    struct store *store;
    struct broker_fetch fetch;
    struct broker_fetch_part part;
    struct timer retry;
    struct bytebuf scratch;
    uint64_t skipped;
    unsigned retries; /* of reads that failed */
};

static void load_next(struct store_load *load);

static void load_finish(struct store_load *load, enum store_state state)
{
    struct store *store = load->store;
    ASSERT(store->state == STORE_LOADING && state != STORE_LOADING);
    if (load->skipped)
        diag(DIAG_WARN, "group", "store=%d records_skipped=%llu", store->partition,
             (unsigned long long)load->skipped);
    timer_cancel(store->gs->shard->reactor, &load->retry);
    bytebuf_deinit(&load->scratch);
    free(load);
    store->load = NULL;
    store->state = state;
    groups_store_loaded(store);
}

/* ---- records ---- */

static void load_members_clear(struct group *group)
{
    LIST_FOREACH_SAFE(node, &group->members)
    member_free(CONTAINER_OF(node, struct member, node));
    text_clear(&group->leader);
    text_clear(&group->protocol);
    text_clear(&group->protocol_type);
    ASSERT(group->member_count == 0);
}

static struct group *load_group(struct store_load *load, struct slice id)
{
    struct groups_shard *gs = load->store->gs;
    struct group *group = group_find(gs, id);
    if (group || id.len > GROUP_ID_MAX || groups_store_of(gs->owner, id) != load->store->partition)
        return group;
    if (map_count(gs->groups) >= GROUPS_PER_SHARD_MAX)
        return NULL;
    return group_make(gs, id);
}

static bool load_offset(struct group *group, const struct record_key *key, struct slice value)
{
    struct offset_entry values;
    struct slice metadata = SLICE_NULL;
    if (!value.data) {
        group_offset_drop(group, key->topic, key->partition);
        return true;
    }
    ASSERT(key->kind == RECORD_OFFSET);
    return record_offset_value_read(value, &values, &metadata) &&
           group_offset_put(group, key->topic, key->partition, &values, metadata);
}

static void load_record(struct store_load *load, const struct batch_record *record)
{
    struct record_key key;
    bool ok = record_key_read(record->key, &key);
    if (!ok || key.kind == RECORD_UNKNOWN) {
        load->skipped += !ok;
        return;
    }
    struct group *group = load_group(load, key.group);
    if (!group) {
        load->skipped++;
        return;
    }
    ASSERT(group->gs == load->store->gs);
    if (key.kind == RECORD_OFFSET) {
        ok = load_offset(group, &key, record->value);
    } else {
        load_members_clear(group);
        ok = !record->value.data || record_group_value_read(record->value, group);
        if (!ok)
            load_members_clear(group);
    }
    load->skipped += !ok;
}

/* Applies the batches of one range; returns the offset behind them, -1 when they are damaged. */
static int64_t load_range(struct store_load *load, struct slice bytes)
{
    int64_t next = -1;
    while (bytes.len > 0) {
        struct batch_iter iter;
        struct batch_record record;
        uint32_t size = batch_size_peek(bytes);
        if (size == 0 || size > bytes.len)
            return next;
        if (batch_iter_init(&iter, slice_sub(bytes, 0, size), &load->scratch, NULL))
            return next;
        while (batch_iter_next(&iter, &record)) {
            if (record.offset.value >= load->part.offset)
                load_record(load, &record);
        }
        load->skipped += iter.err != ERR_OK; /* the rest of this batch */
        next = batch_end_offset(&iter.header).value;
        ASSERT(next > 0);
        bytes = slice_sub(bytes, size, bytes.len);
    }
    return next;
}

/* ---- the end ---- */

static void load_settle_group(struct group *group)
{
    group->state = GROUP_EMPTY;
    if (group->member_count == 0)
        return;
    if (!group->protocol.data || !group->protocol_type.data) {
        load_members_clear(group);
        return;
    }
    group->state = GROUP_STABLE; /* (3) */
    LIST_FOREACH(node, &group->members)
    {
        struct member *member = CONTAINER_OF(node, struct member, node);
        member->synced = true;
        group_session_arm(member);
    }
    group_check(group);
}

static void load_settle(struct store_load *load)
{
    struct groups_shard *gs = load->store->gs;
    size_t cursor = 0;
    struct slice key;
    void *value = NULL;
    while (map_next(gs->groups, &cursor, &key, &value)) {
        struct group *group = value;
        if (group->store_partition != load->store->partition)
            continue;
        ASSERT(group->writes == 0);
        load_settle_group(group);
        if (!group->protocol_type.data)
            group_free_if_idle(group);
    }
    load_finish(load, STORE_READY);
}

/* ---- reading ---- */

static void load_fetched(struct broker_fetch *fetch)
{
    struct store_load *load = CONTAINER_OF(fetch, struct store_load, fetch);
    struct broker_fetch_part *part = &load->part;
    enum err err = part->err;
    int64_t high = part->high_watermark;
    int64_t next = part->offset;
    for (uint32_t i = 0; i < part->range_count && !err; i++) {
        int64_t end = load_range(load, part->ranges[i].bytes);
        load->store->bytes_since += part->ranges[i].bytes.len;
        if (end > next)
            next = end;
        else
            err = ERR_CORRUPT;
    }
    if (err == ERR_OFFSET_OUT_OF_RANGE && part->log_start_offset > part->offset) {
        next = part->log_start_offset;
        err = ERR_OK;
    } else if (!err && part->range_count == 0 && next < high) {
        err = ERR_CORRUPT; /* no progress although there is more */
    }
    bool opens = err == ERR_NOT_LEADER;
    /* A log that serves may fail one read and not the next; one that is offline tells no bounds. */
    bool again = (err == ERR_STORAGE || err == ERR_BUSY || err == ERR_NO_MEMORY) && high >= 0 &&
                 load->retries < LOAD_RETRIES_MAX;
    broker_fetch_release(fetch);
    if (opens || again) {
        load->retries += again;
        timer_arm(load->store->gs->shard->reactor, &load->retry,
                  opens ? LOAD_RETRY_US : LOAD_AGAIN_US);
        return;
    }
    if (err) {
        diag(DIAG_ERROR, "group", "store=%d load error=%s", load->store->partition,
             err_row(err)->name);
        load_finish(load, STORE_FAILED);
        return;
    }
    part->offset = next;
    if (next >= high && high >= 0)
        load_settle(load);
    else
        load_next(load);
}

static void load_next(struct store_load *load)
{
    int64_t offset = load->part.offset;
    ASSERT(offset >= 0);
    load->part = (struct broker_fetch_part){
        .topic_id = load->store->gs->owner->topic_id,
        .partition = load->store->partition,
        .offset = offset,
        .max_bytes = LOAD_FETCH_BYTES,
        .leader_epoch = -1,
    };
    load->fetch = (struct broker_fetch){
        .parts = &load->part, .part_count = 1, .max_bytes = LOAD_FETCH_BYTES, .done = load_fetched};
    broker_fetch(load->store->gs->bs, &load->fetch);
}

static void load_retry(struct timer *timer)
{
    load_next(CONTAINER_OF(timer, struct store_load, retry));
}

void store_load_start(struct store *store)
{
    struct store_load *load = calloc(1, sizeof(*load));
    ASSERT(load != NULL); /* boot may abort */
    load->store = store;
    store->load = load;
    bytebuf_init(&load->scratch, LOAD_INFLATED_MAX);
    timer_init(&load->retry, load_retry);
    timer_arm(store->gs->shard->reactor, &load->retry, 0);
}
