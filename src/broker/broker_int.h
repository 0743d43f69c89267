/* What the files of the broker share: the process part, the shard part, partitions. */
#ifndef WEIR_BROKER_BROKER_INT_H
#define WEIR_BROKER_BROKER_INT_H

#include <stdatomic.h>

#include "base/bytebuf.h"
#include "base/map.h"
#include "broker/broker.h"
#include "io/fs.h"

enum {
    BROKER_PATH_MAX = FS_PATH_MAX,
    BROKER_PRODUCER_BLOCK = 1000,
    BROKER_PARTITIONS_PER_SHARD_MAX = 1000000
};

/*
 * OPENING -> SERVING -> CLOSING -> gone
 *         -> OFFLINE -> CLOSING -> gone        (the log could not be opened)
 */
enum partition_state { PARTITION_OPENING, PARTITION_SERVING, PARTITION_OFFLINE, PARTITION_CLOSING };

enum { PARTITION_REFUSED_MAX = 32 };

struct partition {
    struct broker_shard *bs;
    struct list_node node; /* of the shard's list */
    struct uuid topic_id;
    int32_t index;
    enum partition_state state;
    enum err offline; /* why, when OFFLINE */
    bool internal;
    bool starting;         /* the start of the process waits for it */
    bool delete_when_open; /* the topic went while the log was opening */
    bool close_when_open;  /* the stop came while it was */
    struct seglog *log;
    struct list_node watches;       /* of waiting fetches */
    struct broker_install *install; /* the change that waits for this partition */
    struct seglog_open open;
    struct seglog_op op;
    struct work work;
    int64_t refused[PARTITION_REFUSED_MAX]; /* producer ids + 1, see append.c; 0: none */
    uint32_t refused_next;
    char name[TOPIC_NAME_MAX + 16];
};

/* Relaxed counters, written by the owner shard alone. */
struct broker_counters {
    _Atomic uint64_t partitions;
    _Atomic uint64_t partitions_offline;
    _Atomic uint64_t appends;
    _Atomic uint64_t append_bytes;
    _Atomic uint64_t append_records;
    _Atomic uint64_t append_errors;
    _Atomic uint64_t fetches;
    _Atomic uint64_t fetch_bytes;
    _Atomic uint64_t fetches_waiting;
    _Atomic uint64_t commits;
    _Atomic uint64_t topics;
};

static inline void counter_add(_Atomic uint64_t *counter, uint64_t more)
{
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + more, memory_order_relaxed);
}

static inline void counter_set(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, value, memory_order_relaxed);
}

struct broker_shard {
    struct broker *broker;
    struct shard *shard;
    struct topic_set *topics;
    struct commit *commit;
    struct map *partitions;   /* key: topic id and index */
    struct list_node all;     /* of partitions */
    uint32_t opening;         /* of the start */
    uint32_t to_close;        /* of the stop */
    struct list_node woken;   /* subs to read when a wake-up has walked its list */
    struct list_node fetches; /* those that wait, of this shard's callers */
    struct list_node topic_watches;
    struct list_node appends; /* at the owner, until the log has room for them */
    struct bytebuf scratch;   /* decompression while checking */
    bool stopping;            /* no new requests */
    bool closing;             /* logs are being closed */
    struct shard_stop stop_requests;
    struct shard_stop stop_logs;
    struct timer retain_timer;
    struct list_node *retain_at;
    struct seglog_op retain_op;
    struct partition *retaining;
    bool retain_out;
    struct shard_msg opened_msg;
    struct work recovered_work;
    struct broker_counters counters;
};

struct broker {
    struct broker_config config;
    char dir[BROKER_PATH_MAX];
    struct shards *shards;
    unsigned shard_count;
    struct fs *fs;
    struct fs_file *lock;
    struct catalogue *catalogue;
    struct seglog_store *store;
    struct broker_shard *shard_parts[SHARD_MAX];
    char **orphans; /* folders of no topic, renamed, to be removed in the background */
    uint32_t orphan_count;
    _Atomic bool ready;
    /* of shard 0 */
    unsigned shards_opening;
    struct list_node topic_ops; /* waiting changes; the first one runs */
    struct random ids;          /* for new topics */
    bool topic_busy;
    bool topic_running;
    int64_t producer_next;
    int64_t producer_end;
    bool producer_busy;
    struct list_node producer_ops;
    struct catalogue_op producer_block;
};

/* The shard that owns a partition. Any shard. */
struct shard *broker_owner(const struct broker *broker, struct uuid topic_id, int32_t partition);
static inline struct broker_shard *broker_part(struct broker *broker, const struct shard *shard)
{
    return broker->shard_parts[shard->index];
}

/* ---- partition.c; all on the owner ---- */

/* NULL: unknown here. */
struct partition *partition_find(struct broker_shard *bs, struct uuid topic_id, int32_t index);
/* Makes the partition and starts opening its log. NULL: out of memory. */
struct partition *partition_start(struct broker_shard *bs, const struct topic *topic,
                                  int32_t index);
void partition_configure(struct partition *p, const struct topic *topic);
/* Ends waiting fetches and removes the log; partition_install_done comes when it is gone. */
void partition_remove(struct partition *p);
/* Closes the log at the stop; partition_stopped is called when it is gone. */
void partition_close(struct partition *p);
/* ERR_OK when its log serves. */
enum err partition_check(const struct partition *p, int32_t epoch);
void partition_log_config(const struct topic *topic, struct seglog_config *ret_config);

/* ---- topic_admin.c ---- */

/* A partition that an install waited for is open, set aside or gone. Owner. */
void topic_install_step(struct broker_install *install, enum err err);

/* ---- fetch.c ---- */

/* The high watermark moved, or the partition serves no more: look at the waiting fetches. Owner. */
void fetch_wake(struct partition *p);
/* Ends all waiting fetches of this shard's callers. */
void fetch_stop(struct broker_shard *bs);

/* ---- retain.c ---- */

void retain_start(struct broker_shard *bs);
void retain_stop(struct broker_shard *bs);
/* The partition is about to go: forget it. */
void retain_forget(struct broker_shard *bs, struct partition *p);

/* ---- broker.c ---- */

/* A partition of the start is open or set aside. */
void broker_opened_one(struct broker_shard *bs);
/* A partition closed at the stop. */
void broker_closed_one(struct broker_shard *bs);

#endif
