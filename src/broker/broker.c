/*
 * The broker of a process: opening a data folder, its parts on the shards, the stop.
 *
 * Picture of the data folder:
 *
 *     DIR/.lock               held by the process that runs
 *     DIR/meta/catalogue.db   topics, configurations, jobs, ids
 *     DIR/log/                the store of the logs: topics/<topic>-<partition>/, journals
 *     DIR/<name>/             whatever other parts keep (broker_dir)
 *
 * Invariants:
 *  (1) Nothing in DIR is touched before the lock is held.
 *  (2) Folders of logs that the catalogue does not know are renamed at the start, before any log
 *      opens, and removed in the background: they never meet a new topic of the same name.
 *  (3) The journals of earlier runs are given up only when every log has been opened or set aside.
 *  (4) At the stop requests end first (BROKER phase), then logs close (LOG phase).
 *
 * Ownership: struct broker is written at boot and by shard 0, as its fields say; struct
 * broker_shard by its shard.
 *
 * Failures: a folder in use, an unreadable catalogue, logs without one, and a store that does not
 * open refuse the start with a text; a damaged log does not.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "base/hash.h"
#include "broker/broker_int.h"

enum { BROKER_SCRATCH_MAX = BATCH_INFLATED_MAX };

/* ---- accessors ---- */

struct broker_shard *broker_shard_of(struct broker *broker, const struct shard *shard)
{
    ASSERT(shard->index < broker->shard_count);
    return broker->shard_parts[shard->index];
}

const struct broker_config *broker_config_get(const struct broker *broker)
{
    ASSERT(broker != NULL);
    return &broker->config;
}

struct catalogue *broker_catalogue(struct broker *broker)
{
    ASSERT(broker->catalogue != NULL);
    return broker->catalogue;
}

void broker_dir(const struct broker *broker, const char *name, char *out, size_t cap)
{
    int len = snprintf(out, cap, "%s/%s", broker->dir, name);
    ASSERT(len > 0 && (size_t)len < cap);
}

struct uuid broker_cluster_id(const struct broker *broker)
{
    ASSERT(broker->catalogue != NULL);
    return catalogue_cluster_id(broker->catalogue);
}

uint64_t broker_seed(const struct broker *broker, struct shard *shard)
{
    struct {
        struct uuid cluster;
        uint64_t drawn;
        uint64_t start;
        uint64_t shard;
    } mix = {broker_cluster_id(broker), random_u64(&shard->random),
             (uint64_t)broker_leader_epoch(broker), shard->index};
    ASSERT(sizeof(mix) == 40); /* no padding to hash */
    return hash_bytes(slice_make(&mix, sizeof(mix)), 0);
}

bool broker_ready(struct broker *broker)
{
    return atomic_load_explicit(&broker->ready, memory_order_acquire);
}

int32_t broker_leader_epoch(const struct broker *broker)
{
    ASSERT(broker->store != NULL);
    return seglog_store_epoch(broker->store).value;
}

struct topic_set *broker_topics(struct broker_shard *bs)
{
    ASSERT(bs->topics != NULL);
    return bs->topics;
}

const struct topic *broker_topic_find(struct broker_shard *bs, struct slice name)
{
    return topic_set_find(bs->topics, name);
}

const struct topic *broker_topic_find_id(struct broker_shard *bs, struct uuid id)
{
    return topic_set_find_id(bs->topics, id);
}

struct shard *broker_partition_shard(const struct broker *broker, struct uuid topic_id,
                                     int32_t partition)
{
    return broker_owner(broker, topic_id, partition);
}

void broker_topic_watch_add(struct broker_shard *bs, struct broker_topic_watch *watch)
{
    ASSERT(watch->deleted != NULL);
    list_push_back(&bs->topic_watches, &watch->node);
}

static uint64_t counter_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void broker_stats_read(const struct broker_shard *bs, struct broker_stats *ret)
{
    const struct broker_counters *c = &bs->counters;
    ASSERT(ret != NULL);
    *ret = (struct broker_stats){
        .topics = bs->shard->index == 0 ? counter_get(&c->topics) : 0,
        .partitions = counter_get(&c->partitions),
        .partitions_offline = counter_get(&c->partitions_offline),
        .appends = counter_get(&c->appends),
        .append_bytes = counter_get(&c->append_bytes),
        .append_records = counter_get(&c->append_records),
        .append_errors = counter_get(&c->append_errors),
        .fetches = counter_get(&c->fetches),
        .fetch_bytes = counter_get(&c->fetch_bytes),
        .fetches_waiting = counter_get(&c->fetches_waiting),
        .commits = counter_get(&c->commits),
    };
}

/* ---- recovery ---- */

static void broker_recovered_work(struct work *work)
{
    struct broker_shard *bs = CONTAINER_OF(work, struct broker_shard, recovered_work);
    struct broker *broker = bs->broker;
    seglog_store_recovered(broker->store); /* (3) */
    for (uint32_t i = 0; i < broker->orphan_count; i++) {
        struct err_info info = {0};
        ASSERT(broker->orphans[i] != NULL);
        if (fs_remove_tree(broker->fs, broker->orphans[i], &info))
            diag(DIAG_WARN, "broker", "orphan=%s text=\"%s\"", broker->orphans[i], info.text);
    }
}

static void broker_recovered_done(struct work *work)
{
    struct broker_shard *bs = CONTAINER_OF(work, struct broker_shard, recovered_work);
    atomic_store_explicit(&bs->broker->ready, true, memory_order_release);
}

static void broker_shard_opened(struct shard *home, struct shard_msg *msg)
{
    struct broker_shard *from = CONTAINER_OF(msg, struct broker_shard, opened_msg);
    struct broker *broker = from->broker;
    struct broker_shard *bs = broker_part(broker, home);
    ASSERT(broker->shards_opening > 0);
    if (--broker->shards_opening == 0)
        reactor_work_lane(home->reactor, &bs->recovered_work, WORK_SLOW, broker_recovered_work,
                          broker_recovered_done);
}

void broker_opened_one(struct broker_shard *bs)
{
    ASSERT(bs->opening > 0);
    if (--bs->opening > 0)
        return;
    bs->opened_msg.fn = broker_shard_opened;
    shard_send(bs->shard, bs->broker->shard_parts[0]->shard, &bs->opened_msg);
}

static enum err broker_partitions_start(struct broker *broker, struct err_info *info)
{
    struct topic_set *set = broker->shard_parts[0]->topics;
    for (unsigned s = 0; s < broker->shard_count; s++)
        broker->shard_parts[s]->opening = 1; /* this function's own */
    broker->shards_opening = broker->shard_count;
    for (uint32_t t = 0; t < topic_set_count(set); t++) {
        const struct topic *topic = topic_set_at(set, t);
        for (int32_t i = 0; i < topic->partition_count; i++) {
            struct broker_shard *bs = broker_part(broker, broker_owner(broker, topic->id, i));
            ASSERT(!partition_find(bs, topic->id, i));
            struct partition *p = partition_start(bs, topic, i);
            if (!p)
                return err_info_set(info, ERR_NO_MEMORY, "too many partitions for the memory");
            p->starting = true;
            bs->opening++;
        }
    }
    for (unsigned s = 0; s < broker->shard_count; s++)
        broker_opened_one(broker->shard_parts[s]);
    return ERR_OK;
}

/* ---- orphans ---- */

struct orphan_scan {
    struct broker *broker;
    struct topic_set *set;
    char **names;
    uint32_t count;
    uint32_t cap;
    bool failed;
};

/* Whether the catalogue knows the folder "<topic>-<partition>". */
static bool orphan_known(struct topic_set *set, const char *name)
{
    const char *dash = strrchr(name, '-');
    char *end = NULL;
    if (!dash || dash == name || dash[1] < '0' || dash[1] > '9')
        return false;
    errno = 0;
    long index = strtol(dash + 1, &end, 10);
    const struct topic *topic = topic_set_find(set, slice_make(name, (size_t)(dash - name)));
    return !errno && *end == 0 && topic && index < topic->partition_count;
}

static bool orphan_look(void *arg, const char *name, enum fs_kind kind)
{
    struct orphan_scan *scan = arg;
    if (kind != FS_KIND_DIR || orphan_known(scan->set, name))
        return true;
    if (scan->count == scan->cap) {
        uint32_t cap = scan->cap ? scan->cap * 2 : 16;
        char **grown = realloc(scan->names, sizeof(*grown) * cap);
        scan->failed = !grown;
        if (!grown)
            return false;
        scan->names = grown;
        scan->cap = cap;
    }
    scan->names[scan->count] = strdup(name);
    if (!scan->names[scan->count]) {
        scan->failed = true;
        return false;
    }
    scan->count++;
    return true;
}

/* "....orphan.<digits>": set aside by an earlier start. A topic may have ".orphan." in its name, but
 * its folders end with a dash and a number. */
static bool orphan_is_aside(const char *name)
{
    static const char mark[] = ".orphan";
    const char *dot = strrchr(name, '.');
    size_t front = dot ? (size_t)(dot - name) : 0;
    size_t len = sizeof(mark) - 1;
    return front >= len && memcmp(dot - len, mark, len) == 0 && dot[1] &&
           dot[1 + strspn(dot + 1, "0123456789")] == 0;
}

/* Renames folders of no topic out of the way (2). */
static enum err broker_orphans_set_aside(struct broker *broker, struct err_info *info)
{
    const char *folder = seglog_store_folder(broker->store);
    struct orphan_scan scan = {.broker = broker, .set = broker->shard_parts[0]->topics};
    enum err err = fs_list(broker->fs, folder, orphan_look, &scan, info);
    if (scan.failed)
        err = ERR_NO_MEMORY;
    for (uint32_t i = 0; i < scan.count && !err; i++) {
        char from[BROKER_PATH_MAX * 2];
        char to[BROKER_PATH_MAX * 2];
        bool aside = orphan_is_aside(scan.names[i]);
        snprintf(from, sizeof(from), "%s/%s", folder, scan.names[i]);
        snprintf(to, sizeof(to), "%s/%s.orphan.%d", folder, scan.names[i],
                 broker_leader_epoch(broker));
        if (!aside)
            err = fs_rename(broker->fs, from, to, info);
        free(scan.names[i]);
        scan.names[i] = strdup(aside ? from : to);
        if (!scan.names[i])
            err = ERR_NO_MEMORY;
    }
    if (err == ERR_NOT_FOUND)
        err = ERR_OK;
    /* Also for folders that a process made and lost its life before it synced: they hold what was
     * acknowledged since. */
    if (!err)
        err = fs_sync_dir(broker->fs, folder, info);
    broker->orphans = scan.names;
    broker->orphan_count = scan.count;
    ASSERT(scan.count <= scan.cap);
    return err;
}

/* ---- opening ---- */

static void broker_config_fill(struct broker *broker, const struct broker_config *config)
{
    broker->config = *config;
    broker->config.dir = broker->dir;
    if (broker->config.default_partitions == 0)
        broker->config.default_partitions = 1;
    if (broker->config.offsets_partitions == 0)
        broker->config.offsets_partitions = 4;
    if (broker->config.tail_cache_bytes == 0)
        broker->config.tail_cache_bytes = 64 << 20;
    if (broker->config.node_id == 0)
        broker->config.node_id = 1;
    if (broker->config.retention_check_ms == 0)
        broker->config.retention_check_ms = 5 * 60 * 1000;
    ASSERT(broker->config.default_partitions > 0);
}

static enum err broker_lock(struct broker *broker, struct err_info *info)
{
    char path[BROKER_PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/.lock", broker->dir);
    enum err err = fs_mkdir_all(broker->fs, broker->dir, info);
    if (!err)
        err = fs_lock(broker->fs, path, &broker->lock, info);
    if (err == ERR_LOCKED)
        err_info_set(info, ERR_LOCKED, "the data folder %s is in use by another process",
                     broker->dir);
    return err;
}

static bool folder_seen(void *arg, const char *name, enum fs_kind kind)
{
    (void)name;
    *(bool *)arg |= kind == FS_KIND_DIR;
    return true;
}

/*
 * Logs without a catalogue: it was removed, or is not mounted yet. A new one would know none of their topics, and what
 * it does not know is removed (2).
 */
static enum err broker_check_catalogue(struct broker *broker, struct err_info *info)
{
    char path[BROKER_PATH_MAX + 32];
    struct fs_stat stat;
    bool seen = false;
    int len = snprintf(path, sizeof(path), "%s/meta/catalogue.db", broker->dir);
    ASSERT(len > 0 && (size_t)len < sizeof(path));
    enum err err = fs_stat(broker->fs, path, &stat, info);
    if (err != ERR_NOT_FOUND)
        return err;
    snprintf(path, sizeof(path), "%s/log/topics", broker->dir);
    err = fs_list(broker->fs, path, folder_seen, &seen, info);
    if (err && err != ERR_NOT_FOUND)
        return err;
    if (!err && seen)
        return err_info_set(
            info, ERR_CORRUPT,
            "%s/log holds the logs of topics, but %s/meta/catalogue.db is missing; put it "
            "back, or move the log folder away to begin anew",
            broker->dir, broker->dir);
    return ERR_OK;
}

/* The topic that keeps committed offsets exists from the first start on. */
static enum err broker_offsets_topic(struct broker *broker, struct topic_set **set,
                                     struct err_info *info)
{
    struct slice name = SLICE_LIT("__consumer_offsets");
    struct topic_override overrides[] = {{TOPIC_CLEANUP_POLICY, "compact"},
                                         {TOPIC_SEGMENT_BYTES, "104857600"}};
    struct shard *home = shards_get(broker->shards, 0);
    if (topic_set_find(*set, name))
        return ERR_OK;
    struct topic *topic =
        topic_make(uuid_make(&home->random), name, broker->config.offsets_partitions, true,
                   reactor_wall_ms(home->reactor), overrides, 2);
    struct topic_set *with = topic ? topic_set_with(*set, topic) : NULL;
    enum err err = with ? catalogue_topic_put_now(broker->catalogue, topic, info) : ERR_NO_MEMORY;
    topic_unref(topic);
    if (err) {
        topic_set_unref(with);
        return err;
    }
    topic_set_unref(*set);
    *set = with;
    return ERR_OK;
}

static enum err broker_part_create(struct broker *broker, struct shard *shard,
                                   struct topic_set *set)
{
    struct broker_shard *bs = calloc(1, sizeof(*bs));
    if (!bs)
        return ERR_NO_MEMORY;
    broker->shard_parts[shard->index] = bs;
    bs->broker = broker;
    bs->shard = shard;
    bs->topics = topic_set_ref(set);
    list_init(&bs->all);
    list_init(&bs->fetches);
    list_init(&bs->woken);
    list_init(&bs->topic_watches);
    list_init(&bs->appends);
    bs->retain_at = &bs->all;
    bytebuf_init(&bs->scratch, BROKER_SCRATCH_MAX);
    counter_set(&bs->counters.topics, topic_set_count(set));
    bs->partitions = map_create(BROKER_PARTITIONS_PER_SHARD_MAX);
    if (!bs->partitions)
        return ERR_NO_MEMORY;
    catalogue_shard_start(broker->catalogue, shard);
    struct commit_config config = {
        .shard_index = shard->index,
        .tail_bytes_max = (size_t)(broker->config.tail_cache_bytes / broker->shard_count),
        .journal_bytes = broker->config.journal_bytes,
        .direct_files_max = broker->config.direct_files_max,
    };
    ASSERT(config.tail_bytes_max > 0);
    return commit_create(broker->store, shard->reactor, &config, &bs->commit);
}

static enum err broker_open_folder(struct broker *broker, struct topic_set **ret_set,
                                   struct err_info *info)
{
    char path[BROKER_PATH_MAX + 16];
    struct shard *home = shards_get(broker->shards, 0);
    enum err err = broker_lock(broker, info); /* (1) */
    if (!err)
        err = broker_check_catalogue(broker, info);
    if (!err)
        err = catalogue_open(broker->fs, broker->dir, random_u64(&home->random), &broker->catalogue,
                             info);
    if (!err)
        err = catalogue_load_topics(broker->catalogue, ret_set, info);
    if (!err)
        err = broker_offsets_topic(broker, ret_set, info);
    snprintf(path, sizeof(path), "%s/log", broker->dir);
    if (!err)
        err = seglog_store_open(broker->fs, path, &broker->store, info);
    ASSERT(err || *ret_set);
    return err;
}

static void broker_stop_hooks(struct broker_shard *bs);

enum err broker_open(struct shards *shards, const struct broker_config *config,
                     struct broker **ret_broker, struct err_info *info)
{
    struct topic_set *set = NULL;
    ASSERT(config->dir && config->dir[0]);
    if (strlen(config->dir) + 64 > BROKER_PATH_MAX)
        return err_info_set(info, ERR_INVALID_ARGUMENT, "the data folder's path is too long");
    struct broker *broker = calloc(1, sizeof(*broker));
    if (!broker)
        return err_info_set(info, ERR_NO_MEMORY, "broker");
    snprintf(broker->dir, sizeof(broker->dir), "%s", config->dir);
    broker_config_fill(broker, config);
    broker->shards = shards;
    broker->shard_count = shards_count(shards);
    broker->fs = shards_get(shards, 0)->fs;
    list_init(&broker->topic_ops);
    list_init(&broker->producer_ops);
    enum err err = broker_open_folder(broker, &set, info);
    for (unsigned i = 0; i < broker->shard_count && !err; i++)
        err = broker_part_create(broker, shards_get(shards, i), set);
    if (!err)
        err = broker_orphans_set_aside(broker, info);
    topic_set_unref(set);
    if (err) {
        if (info && info->code != err)
            err_info_set(info, err, "opening the data folder %s: %s", config->dir,
                         err_row(err)->text);
        broker_close(broker);
        return err;
    }
    for (unsigned i = 0; i < broker->shard_count; i++) {
        broker_stop_hooks(broker->shard_parts[i]);
        retain_start(broker->shard_parts[i]);
    }
    random_init(&broker->ids, broker_seed(broker, shards_get(shards, 0)));
    err = broker_partitions_start(broker, info);
    ASSERT(err == ERR_OK); /* boot may abort for want of memory */
    *ret_broker = broker;
    return ERR_OK;
}

void broker_close(struct broker *broker)
{
    if (!broker)
        return;
    for (unsigned i = 0; i < broker->shard_count; i++) {
        struct broker_shard *bs = broker->shard_parts[i];
        if (!bs)
            continue;
        if (!list_empty(&bs->all))
            diag(DIAG_DEBUG, "broker", "shard=%u logs still open at the end", i);
        else if (bs->commit)
            commit_destroy(bs->commit);
        topic_set_unref(bs->topics);
        map_destroy(bs->partitions);
        bytebuf_deinit(&bs->scratch);
        free(bs);
    }
    if (broker->store)
        seglog_store_close(broker->store);
    catalogue_close(broker->catalogue);
    for (uint32_t i = 0; i < broker->orphan_count; i++)
        free(broker->orphans[i]);
    free(broker->orphans);
    fs_close(broker->lock);
    free(broker);
}

/* ---- stopping ---- */

static void broker_stop_requests(struct shard_stop *stop)
{
    struct broker_shard *bs = CONTAINER_OF(stop, struct broker_shard, stop_requests);
    ASSERT(!bs->stopping);
    bs->stopping = true;
    fetch_stop(bs);
    retain_stop(bs);
    shard_stop_done(stop);
}

static void broker_stop_logs(struct shard_stop *stop)
{
    struct broker_shard *bs = CONTAINER_OF(stop, struct broker_shard, stop_logs);
    ASSERT(bs->stopping);
    bs->closing = true;
    bs->to_close = 1; /* this function's own */
    LIST_FOREACH_SAFE(node, &bs->all)
    {
        struct partition *p = CONTAINER_OF(node, struct partition, node);
        if (p->state == PARTITION_CLOSING)
            continue;
        bs->to_close++;
        if (p->state == PARTITION_OPENING)
            p->close_when_open = true;
        else
            partition_close(p);
    }
    broker_closed_one(bs);
}

void broker_closed_one(struct broker_shard *bs)
{
    ASSERT(bs->to_close > 0);
    if (--bs->to_close == 0)
        shard_stop_done(&bs->stop_logs);
}

static void broker_stop_hooks(struct broker_shard *bs)
{
    ASSERT(bs->commit != NULL);
    shard_at_stop(bs->shard, SHARD_STOP_BROKER, &bs->stop_requests, broker_stop_requests);
    shard_at_stop(bs->shard, SHARD_STOP_LOG, &bs->stop_logs, broker_stop_logs);
}
