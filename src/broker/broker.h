/*
 * The broker core: topics and their partitions, for every front. Knows no wire format except the v2
 * record batch.
 *
 * A partition belongs to the shard that the hash of topic id and partition names; only that shard
 * touches its log. Every call here may be made on any shard: it is forwarded as a message to the
 * owner, and its `done` runs on the calling shard, later, never inside the call. Operations are
 * structs embedded in the caller's request: the caller fills the first part, must keep the struct
 * and all it points to until done, and reads the answers then. Each operation completes exactly
 * once, also when the process stops (ERR_CLOSING).
 *
 * Durability (one node): acks -1 answers after the batch is on stable storage, acks 1 and 0 after
 * the kernel has it. Readers see a batch only when nothing acknowledged with acks -1 could vanish
 * under it, see seglog.
 */
#ifndef WEIR_BROKER_BROKER_H
#define WEIR_BROKER_BROKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/iobuf.h"
#include "io/reactor.h"
#include "io/shard.h"
#include "meta/catalogue.h"
#include "meta/topics.h"
#include "seglog/seglog.h"

struct broker;
struct broker_shard;
struct broker_fetch_sub;
struct broker_install;
struct partition;

/* ---- start and stop ---- */

struct broker_config {
    const char *dir;            /* data folder, made at need */
    int32_t default_partitions; /* of auto-created topics; 0: 1 */
    bool auto_create;           /* what broker_topic_ensure does with an unknown name */
    int32_t offsets_partitions; /* of __consumer_offsets at its creation; 0: 4 */
    bool strict;                /* decompress and check every record of every batch */
    bool relaxed;               /* acks -1 answers as acks 1 does (as Kafka does on one node) */
    uint64_t tail_cache_bytes;  /* of the process, for the recent ends of all logs; 0: 64 MiB */
    int32_t node_id;            /* 0: 1 */
    int64_t retention_check_ms; /* 0: 5 minutes */
    uint64_t journal_bytes;     /* of one of a shard's two journal files; 0: 32 MiB */
    uint32_t direct_files_max;  /* see struct commit_config; 0: as measured */
};

/*
 * Locks the data folder, opens the catalogue, makes the shards' parts and starts the recovery of
 * all partitions on the workers. Partitions that are not ready answer ERR_NOT_LEADER meanwhile.
 * ERR_LOCKED: another process has the folder. The stop of the shards (SHARD_STOP_BROKER,
 * SHARD_STOP_LOG) is hooked here. Shard: init.
 */
MUST_CHECK enum err broker_open(struct shards *shards, const struct broker_config *config,
                                struct broker **ret_broker, struct err_info *info);
/* After shards_run has returned. Unlocks the folder. Shard: init. */
void broker_close(struct broker *broker);

struct broker_shard *broker_shard_of(struct broker *broker, const struct shard *shard);
const struct broker_config *broker_config_get(const struct broker *broker);
struct catalogue *broker_catalogue(struct broker *broker);
/* Folder for one subsystem's files, DIR/<name>. Valid for the life of the broker. Writes to out. */
void broker_dir(const struct broker *broker, const char *name, char *out, size_t cap);
struct uuid broker_cluster_id(const struct broker *broker);
/* A seed that no earlier start of this data folder had, also when the shards' seeds repeat: for ids
 * that must not come again. Draws from the shard's generator. */
uint64_t broker_seed(const struct broker *broker, struct shard *shard);
/* True when every partition has been recovered or set aside as offline. Any shard. */
bool broker_ready(struct broker *broker);

/* ---- topics ---- */

/* The set as this shard knows it now; see meta/topics.h for how long it is good. */
struct topic_set *broker_topics(struct broker_shard *bs);
/* NULL when unknown. Short for topic_set_find(broker_topics(bs), name). */
const struct topic *broker_topic_find(struct broker_shard *bs, struct slice name);
const struct topic *broker_topic_find_id(struct broker_shard *bs, struct uuid id);

enum broker_topic_action {
    BROKER_TOPIC_CREATE,     /* ERR_TOPIC_EXISTS, ERR_INVALID_TOPIC, ERR_INVALID_PARTITIONS,
                                ERR_INVALID_CONFIG */
    BROKER_TOPIC_ENSURE,     /* as CREATE with the defaults unless it exists; for auto-creation */
    BROKER_TOPIC_DELETE,     /* ERR_UNKNOWN_TOPIC_OR_PARTITION; by id when name is empty
                                (ERR_UNKNOWN_TOPIC_ID) */
    BROKER_TOPIC_PARTITIONS, /* raise to partition_count: ERR_INVALID_PARTITIONS when not larger */
    BROKER_TOPIC_CONFIG      /* replace all overrides by these */
};

/* Changes pass through shard 0, one after another. After done every shard knows the new set, and
   the partitions of a created topic accept appends and fetches: it is usable in the very answer. */
struct broker_topic_op {
    enum broker_topic_action action;
    struct slice name;
    struct uuid id;
    int32_t partition_count; /* -1: the default */
    bool internal;
    bool check_only; /* all checks, no change */
    const struct topic_override *overrides;
    uint32_t override_count;
    void (*done)(struct broker_topic_op *op);
    /* answers */
    enum err err;
    struct err_info info;
    const struct topic
        *topic; /* created, found or changed; good as those of broker_topics (NULL for delete) */
    /* private */
    struct shard_msg msg;
    struct broker *broker;
    struct shard *from;
    struct list_node node;
    struct catalogue_op catalogue;
    struct topic *made; /* the new form of the topic */
    struct topic *old;  /* what it replaces */
    bool taken_back;    /* it failed: what was made goes again */
    struct broker_install *installs;
    uint32_t installs_open;
};

void broker_topic_submit(struct broker_shard *bs, struct broker_topic_op *op);

/* Shard that owns the partition, whether or not it exists. Any shard. */
struct shard *broker_partition_shard(const struct broker *broker, struct uuid topic_id,
                                     int32_t partition);

/* Told on the shard that registered it, after its set has changed. */
struct broker_topic_watch {
    struct list_node node;
    void (*deleted)(struct broker_topic_watch *watch, const struct topic *topic);
};

/* Shard: owner, or boot. For the life of the shard. */
void broker_topic_watch_add(struct broker_shard *bs, struct broker_topic_watch *watch);

/* ---- append ---- */

enum broker_append_flags {
    BROKER_APPEND_INTERNAL = 1, /* from the broker itself: internal topics, control batches */
    BROKER_APPEND_STRICT = 2,   /* decompress and check every record, whatever the topic needs */
    BROKER_APPEND_NO_ZSTD = 4,  /* Produce < 7: a zstd batch is refused */
    BROKER_APPEND_MEASURED = 8  /* the door held the message against max.message.bytes in its own
                                   form: the batch may pass it by what records add */
};

enum { BROKER_FAULTS_MAX = 4 };

struct broker_append {
    struct uuid topic_id;
    int32_t partition;
    int8_t acks;    /* -1, 0, 1 */
    uint32_t flags; /* BROKER_APPEND_* */
    /*
     * Exactly one whole v2 batch as the producer sent it, pinned; bytes behind it are cut. It is
     * patched in place (base offset, leader epoch, log-append time), so it must be writable memory
     * that nobody reads meanwhile. The reference passes to the broker at the call.
     */
    struct iobuf_range batch;
    void (*done)(struct broker_append *op);
    /* answers */
    enum err err;
    struct err_info info;
    int64_t base_offset; /* of the original batch for a duplicate (err is ERR_OK then) */
    int64_t last_offset;
    int64_t log_append_time_ms; /* -1 unless the topic stamps LogAppendTime */
    int64_t log_start_offset;   /* -1: not known */
    bool duplicate;
    uint32_t fault_count; /* records that made the batch invalid, the first ones */
    struct batch_fault faults[BROKER_FAULTS_MAX];
    /* private */
    struct shard_msg msg;
    struct broker *broker;
    struct shard *from;
    struct partition *owner;
    uint32_t bytes;
    uint32_t records;
    int64_t producer_id; /* -1: not idempotent */
    int32_t base_sequence;
    struct seglog_append log;
};

void broker_append(struct broker_shard *bs, struct broker_append *op);

/* ---- fetch ---- */

struct broker_fetch_part {
    struct uuid topic_id;
    int32_t partition;
    int64_t offset;
    uint32_t max_bytes;
    int32_t leader_epoch; /* what the client believes; -1: not said */
    bool skip;            /* caller found an error of its own: err is kept, nothing is read */
    /* answers; ranges hold whole batches, the first may start before offset */
    enum err err;
    int64_t high_watermark;     /* -1: not known */
    int64_t last_stable_offset; /* -1: not known */
    int64_t log_start_offset;   /* -1: not known */
    int32_t current_epoch;
    struct iobuf_range *ranges; /* pinned: freed by broker_fetch_release */
    uint32_t range_count;
    uint32_t bytes; /* of all ranges */
    /* private */
    uint32_t next; /* part of the same owner + 1; 0: last */
    uint32_t range_cap;
    uint64_t available;
};

/*
 * Answers at once when min_bytes are there, a partition has an error, max_wait_ms is 0, or a limit
 * is filled; otherwise waits for appends (no polling) until min_bytes or max_wait_ms. The limits
 * are never passed, except that the first non-empty partition's first batch always comes whole.
 * Parts are served in the order given.
 */
struct broker_fetch {
    struct broker_fetch_part *parts;
    uint32_t part_count;
    uint32_t min_bytes;
    uint32_t max_bytes;
    uint32_t max_wait_ms;
    void (*done)(struct broker_fetch *op);
    /* answers */
    uint32_t bytes;
    bool cancelled;
    /* private */
    struct broker_shard *bs;
    struct broker_fetch_sub *subs;
    uint32_t sub_count;
    uint32_t subs_open;
    bool starting;
    bool finishing;
    struct timer timer;
    struct hook hook;
    struct list_node node; /* among the waiting ones of the shard */
};

void broker_fetch(struct broker_shard *bs, struct broker_fetch *op);
/* Ends a waiting fetch soon: done comes as always (cancelled is set). Harmless when done is on its
 * way. */
void broker_fetch_cancel(struct broker_fetch *op);
/* Unpins the answers. Call once after done; the caller's ranges taken out (buf set to NULL) stay
 * his. */
void broker_fetch_release(struct broker_fetch *op);

/* ---- offsets ---- */

enum broker_offset_query {
    BROKER_OFFSET_LATEST,        /* high watermark */
    BROKER_OFFSET_EARLIEST,      /* log start */
    BROKER_OFFSET_MAX_TIMESTAMP, /* record with the largest timestamp; empty log: -1 */
    BROKER_OFFSET_BY_TIME,       /* first record with timestamp >= timestamp_ms; none: -1 */
    BROKER_OFFSET_OF_EPOCH,      /* end of the largest epoch <= epoch; none: -1/-1 */
    BROKER_OFFSET_STATE          /* only the bounds below */
};

struct broker_offset_op {
    struct uuid topic_id;
    int32_t partition;
    enum broker_offset_query query;
    int64_t timestamp_ms;
    int32_t epoch;         /* of OF_EPOCH */
    int32_t current_epoch; /* what the client believes; -1: not said */
    void (*done)(struct broker_offset_op *op);
    /* answers */
    enum err err;
    int64_t offset;           /* -1: none */
    int64_t ret_timestamp_ms; /* -1: none */
    int32_t leader_epoch;     /* of the answer; -1: none */
    int64_t log_start_offset;
    int64_t high_watermark;
    int64_t last_stable_offset;
    int64_t last_append_ms; /* timestamp of the newest batch, -1: empty */
    uint64_t size_bytes;
    /* private */
    struct shard_msg msg;
    struct broker *broker;
    struct shard *from;
    struct partition *owner;
    struct seglog_find log;
};

void broker_offset(struct broker_shard *bs, struct broker_offset_op *op);

/* Raises the log start of a partition durably; what lies below is deleted. */
struct broker_trim_op {
    struct uuid topic_id;
    int32_t partition;
    int64_t offset; /* new log start; -1: the high watermark */
    void (*done)(struct broker_trim_op *op);
    /* answers */
    enum err err; /* ERR_OFFSET_OUT_OF_RANGE: above the high watermark */
    int64_t log_start_offset;
    /* private */
    struct shard_msg msg;
    struct broker *broker;
    struct shard *from;
    struct seglog_op log;
};

void broker_trim(struct broker_shard *bs, struct broker_trim_op *op);

/* Current leader epoch of every partition (one node: bumped at each start). Any shard. */
int32_t broker_leader_epoch(const struct broker *broker);

/* ---- producer ids ---- */

/* A fresh id that no producer ever had, from blocks taken durably. */
struct broker_producer_id_op {
    void (*done)(struct broker_producer_id_op *op);
    enum err err;
    int64_t producer_id;
    /* private */
    struct shard_msg msg;
    struct broker *broker;
    struct shard *from;
    struct list_node node;
};

void broker_producer_id(struct broker_shard *bs, struct broker_producer_id_op *op);

/* ---- statistics ---- */

struct broker_stats {
    uint64_t topics;
    uint64_t partitions;
    uint64_t partitions_offline;
    uint64_t appends;
    uint64_t append_bytes;
    uint64_t append_records;
    uint64_t append_errors;
    uint64_t fetches;
    uint64_t fetch_bytes;
    uint64_t fetches_waiting;
    uint64_t commits; /* group commits of the logs */
};

/* Figures of one shard: relaxed atomic reads, any thread. Sum over shards for the process. */
void broker_stats_read(const struct broker_shard *bs, struct broker_stats *ret_stats);

#endif
