/*
 * Partitions of a shard: the table, opening, removing and closing their logs.
 *
 * States (enum partition_state): a partition is made OPENING, becomes SERVING when its log has been
 * recovered, or OFFLINE when that failed; CLOSING leads to its end.
 *
 * Invariants:
 *  (1) A partition in the table is owned by this shard: broker_owner says so.
 *  (2) log is set exactly in SERVING and, until the close or delete was started, in CLOSING.
 *  (3) Each partition that an install or the start waits for reports once.
 *
 * Ownership: the shard that broker_owner names; never touched by another.
 *
 * Failures: a log that does not open leaves the partition OFFLINE with the reason; everything else
 * goes on. A log that fails while serving says so itself (seglog_state).
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "base/hash.h"
#include "broker/broker_int.h"

enum { PARTITION_KEY_LEN = 20 };

static void partition_key(struct uuid topic_id, int32_t index, uint8_t out[PARTITION_KEY_LEN])
{
    memcpy(out, topic_id.bytes, 16);
    memcpy(out + 16, &index, sizeof(index));
}

struct shard *broker_owner(const struct broker *broker, struct uuid topic_id, int32_t partition)
{
    uint8_t key[PARTITION_KEY_LEN];
    ASSERT(broker->shard_count > 0);
    if (broker->shard_count == 1)
        return broker->shard_parts[0]->shard;
    /* Partitions of one topic go round the shards, topics start anywhere. */
    partition_key(topic_id, 0, key);
    uint64_t start = hash_bytes(slice_make(key, sizeof(key)), 0);
    unsigned index = (unsigned)((start + (uint32_t)partition) % broker->shard_count);
    return broker->shard_parts[index]->shard;
}

struct partition *partition_find(struct broker_shard *bs, struct uuid topic_id, int32_t index)
{
    uint8_t key[PARTITION_KEY_LEN];
    partition_key(topic_id, index, key);
    return map_get(bs->partitions, slice_make(key, sizeof(key)));
}

void partition_log_config(const struct topic *topic, struct seglog_config *ret)
{
    const struct topic_values *values = &topic->values;
    seglog_config_default(ret);
    ret->segment_bytes = (uint64_t)values->segment_bytes;
    ret->segment_ms = values->segment_ms;
    ret->retention_ms = values->retention_ms;
    ret->retention_bytes = values->retention_bytes;
    ret->index_interval_bytes = (uint32_t)values->index_interval_bytes;
    ret->always_durable = values->flush_messages == 1;
    ret->deletion = (values->cleanup & CLEANUP_DELETE) != 0;
    ret->append_time = values->timestamp_type == TIMESTAMP_LOG_APPEND_TIME;
    ASSERT(ret->segment_bytes > 0);
}

/* Tells whoever waits for this partition, once (3). */
static void partition_report(struct partition *p, enum err err)
{
    struct broker_install *install = p->install;
    p->install = NULL;
    if (install)
        topic_install_step(install, err);
}

static void partition_free(struct partition *p)
{
    uint8_t key[PARTITION_KEY_LEN];
    ASSERT(list_empty(&p->watches));
    partition_key(p->topic_id, p->index, key);
    void *removed = map_remove(p->bs->partitions, slice_make(key, sizeof(key)));
    ASSERT(removed == p);
    retain_forget(p->bs, p);
    list_remove(&p->node);
    counter_set(&p->bs->counters.partitions, map_count(p->bs->partitions));
    free(p);
}

static void partition_moved(struct seglog *seglog, void *ctx)
{
    struct partition *p = ctx;
    (void)seglog;
    ASSERT(p->bs != NULL);
    fetch_wake(p);
}

static void partition_opened(struct seglog_open *open)
{
    struct partition *p = CONTAINER_OF(open, struct partition, open);
    struct broker_shard *bs = p->bs;
    ASSERT(p->state == PARTITION_OPENING);
    if (open->err) {
        p->state = PARTITION_OFFLINE;
        p->offline = open->err;
        counter_add(&bs->counters.partitions_offline, 1);
        diag(DIAG_ERROR, "broker", "partition=%s offline error=%s text=\"%s\"", p->name,
             err_row(open->err)->name, open->info.text);
    } else {
        p->state = PARTITION_SERVING;
        p->log = open->seglog;
        /* The configuration may have changed since the opening began. */
        const struct topic *topic = broker_topic_find_id(bs, p->topic_id);
        if (topic)
            partition_configure(p, topic);
        if (open->truncated_bytes)
            diag(DIAG_WARN, "broker", "partition=%s torn_bytes=%llu cut", p->name,
                 (unsigned long long)open->truncated_bytes);
    }
    if (p->starting)
        broker_opened_one(bs);
    p->starting = false;
    if (p->delete_when_open) {
        partition_remove(p); /* reports when gone */
        return;
    }
    partition_report(p, open->err);
    if (p->close_when_open)
        partition_close(p);
    else
        fetch_wake(p);
}

struct partition *partition_start(struct broker_shard *bs, const struct topic *topic, int32_t index)
{
    uint8_t key[PARTITION_KEY_LEN];
    ASSERT(broker_owner(bs->broker, topic->id, index) == bs->shard); /* (1) */
    struct partition *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->bs = bs;
    p->topic_id = topic->id;
    p->index = index;
    p->internal = topic->internal;
    list_init(&p->watches);
    snprintf(p->name, sizeof(p->name), "%.*s-%d", SLICE_FMT(topic->name), index);
    partition_key(topic->id, index, key);
    if (!map_put(bs->partitions, slice_make(key, sizeof(key)), p)) {
        free(p);
        return NULL;
    }
    list_push_back(&bs->all, &p->node);
    counter_set(&bs->counters.partitions, map_count(bs->partitions));
    p->open.commit = bs->commit;
    p->open.name = p->name;
    memcpy(p->open.id.topic_id, topic->id.bytes, sizeof(p->open.id.topic_id));
    p->open.id.partition = index;
    partition_log_config(topic, &p->open.config);
    p->open.moved = partition_moved;
    p->open.moved_ctx = p;
    p->open.on_done = partition_opened;
    seglog_open_start(&p->open);
    return p;
}

void partition_configure(struct partition *p, const struct topic *topic)
{
    struct seglog_config config;
    ASSERT(uuid_equal(p->topic_id, topic->id));
    if (p->state != PARTITION_SERVING)
        return;
    partition_log_config(topic, &config);
    seglog_config_set(p->log, &config);
}

static void partition_gone(struct seglog_op *op)
{
    struct partition *p = CONTAINER_OF(op, struct partition, op);
    struct broker_shard *bs = p->bs;
    struct broker_install *install = p->install;
    bool stop_waits =
        p->close_when_open; /* it came between the deletion and the end of the opening */
    ASSERT(p->state == PARTITION_CLOSING);
    if (op->err)
        diag(DIAG_WARN, "broker", "partition=%s remove error=%s text=\"%s\"", p->name,
             err_row(op->err)->name, op->info.text);
    partition_free(p);
    if (install)
        topic_install_step(install, ERR_OK);
    if (stop_waits)
        broker_closed_one(bs);
}

/* The log of an offline partition was never opened: whatever is there is set aside, so that the name
 * is free, and removed. */
static void partition_folder_remove(struct work *work)
{
    struct partition *p = CONTAINER_OF(work, struct partition, work);
    struct broker *broker = p->bs->broker;
    const char *folder = seglog_store_folder(broker->store);
    char from[BROKER_PATH_MAX + TOPIC_NAME_MAX + 64];
    char to[BROKER_PATH_MAX + TOPIC_NAME_MAX + 64];
    ASSERT(p->state == PARTITION_CLOSING);
    snprintf(from, sizeof(from), "%s/%s", folder, p->name);
    snprintf(to, sizeof(to), "%s/%s.orphan.%d", folder, p->name, broker_leader_epoch(broker));
    enum err err = fs_rename(broker->fs, from, to, &p->op.info);
    if (!err)
        err = fs_sync_dir(broker->fs, folder, &p->op.info);
    if (!err && fs_remove_tree(broker->fs, to, &p->op.info))
        err = fs_unlink(broker->fs, to, &p->op.info);
    p->op.err = err == ERR_NOT_FOUND ? ERR_OK : err;
}

static void partition_folder_removed(struct work *work)
{
    struct partition *p = CONTAINER_OF(work, struct partition, work);
    partition_gone(&p->op);
}

void partition_remove(struct partition *p)
{
    if (p->state == PARTITION_OPENING) {
        p->delete_when_open = true;
        return;
    }
    ASSERT(p->state == PARTITION_SERVING || p->state == PARTITION_OFFLINE);
    bool had_log = p->state == PARTITION_SERVING;
    p->state = PARTITION_CLOSING;
    fetch_wake(p);
    p->op = (struct seglog_op){.on_done = partition_gone};
    if (had_log) {
        retain_forget(p->bs, p);
        seglog_delete(p->log, &p->op);
        p->log = NULL;
        return;
    }
    counter_add(&p->bs->counters.partitions_offline, UINT64_MAX);
    reactor_work_lane(p->bs->shard->reactor, &p->work, WORK_SLOW, partition_folder_remove,
                      partition_folder_removed);
}

static void partition_stopped(struct seglog_op *op)
{
    struct partition *p = CONTAINER_OF(op, struct partition, op);
    struct broker_shard *bs = p->bs;
    if (op->err)
        diag(DIAG_WARN, "broker", "partition=%s close error=%s text=\"%s\"", p->name,
             err_row(op->err)->name, op->info.text);
    ASSERT(p->state == PARTITION_CLOSING);
    partition_free(p);
    broker_closed_one(bs);
}

void partition_close(struct partition *p)
{
    ASSERT(p->state == PARTITION_SERVING || p->state == PARTITION_OFFLINE);
    bool had_log = p->state == PARTITION_SERVING;
    p->state = PARTITION_CLOSING;
    fetch_wake(p);
    p->op = (struct seglog_op){.on_done = partition_stopped};
    if (!had_log) {
        partition_stopped(&p->op);
        return;
    }
    retain_forget(p->bs, p);
    seglog_close(p->log, &p->op);
    p->log = NULL;
}

enum err partition_check(const struct partition *p, int32_t epoch)
{
    if (p->state == PARTITION_OPENING)
        return ERR_NOT_LEADER;
    if (p->state == PARTITION_OFFLINE)
        return ERR_STORAGE;
    if (p->state == PARTITION_CLOSING)
        return p->bs->closing ? ERR_CLOSING : ERR_UNKNOWN_TOPIC_OR_PARTITION;
    ASSERT(p->log != NULL); /* (2) */
    enum err state = seglog_state(p->log);
    if (state)
        return state;
    int32_t current = seglog_bounds(p->log).epoch.value;
    if (epoch >= 0 && epoch < current)
        return ERR_FENCED_LEADER_EPOCH;
    if (epoch > current)
        return ERR_UNKNOWN_LEADER_EPOCH;
    return ERR_OK;
}
