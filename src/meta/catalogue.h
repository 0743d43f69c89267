/*
 * The catalogue: what must survive a restart besides the logs. Topics and their configurations,
 * consumer groups of hubs, jobs, the producer-id block and the cluster id, in one SQLite database
 * (see io/db.h).
 *
 * Topics are changed only by the broker (broker/broker.h); everything else by whoever owns it,
 * through the calls here. All calls complete on the calling shard.
 */
#ifndef WEIR_META_CATALOGUE_H
#define WEIR_META_CATALOGUE_H

#include <stdbool.h>
#include <stdint.h>

#include "io/db.h"
#include "meta/topics.h"

struct catalogue;
struct fs;

/* Opens DIR/meta/catalogue.db, making folder and file at need. Shard: init. */
MUST_CHECK enum err catalogue_open(struct fs *fs, const char *dir, uint64_t seed,
                                   struct catalogue **ret_catalogue, struct err_info *info);
void catalogue_close(struct catalogue *catalogue);
void catalogue_shard_start(struct catalogue *catalogue, struct shard *shard);
/* Made once, at the first start. */
struct uuid catalogue_cluster_id(const struct catalogue *catalogue);

/* All topics, as one set with one reference. Shard: init. */
MUST_CHECK enum err catalogue_load_topics(struct catalogue *catalogue, struct topic_set **ret_set,
                                          struct err_info *info);

/* Writes of the broker's. The operation lives until done. */
struct catalogue_op {
    void (*done)(struct catalogue_op *op);
    enum err err;
    struct err_info info;
    /* private */
    struct db_task task;
    struct catalogue *catalogue;
    const struct topic *topic;
    int64_t ret_block_first;
    int64_t block_size;
};

/* Inserts, or replaces by name, the topic with its overrides. */
void catalogue_topic_put(struct catalogue *catalogue, struct shard *shard, struct catalogue_op *op,
                         const struct topic *topic);
/* The same at boot. Shard: init. */
MUST_CHECK enum err catalogue_topic_put_now(struct catalogue *catalogue, const struct topic *topic,
                                            struct err_info *info);
void catalogue_topic_delete(struct catalogue *catalogue, struct shard *shard,
                            struct catalogue_op *op, const struct topic *topic);
/* Takes block_size producer ids nobody else will ever get; op->ret_block_first is the first. */
void catalogue_producer_block(struct catalogue *catalogue, struct shard *shard,
                              struct catalogue_op *op, int64_t block_size);

/*
 * Small named records of one kind: hub consumer groups, jobs' definitions, wanted states and
 * positions. The value is bytes of the owner's own form. Kinds keep apart.
 */
enum catalogue_kind {
    CATALOGUE_HUB_GROUP = 1, /* key "hub/group", value: user metadata */
    CATALOGUE_JOB = 2,       /* key: job name, value: its definition */
    CATALOGUE_JOB_STATE = 3, /* key: job name, value: wanted state and positions */
    CATALOGUE_SETTING = 4    /* key: a name, value: text */
};

enum {
    CATALOGUE_KEY_MAX = 512,
    CATALOGUE_VALUE_MAX = 4 << 20,
    CATALOGUE_ENTRIES_MAX = 100000 /* that one list may return */
};

struct catalogue_entry {
    struct slice key;
    struct slice value;
};

struct catalogue_record_op {
    void (*done)(struct catalogue_record_op *op);
    enum err err; /* get, delete and replace: ERR_NOT_FOUND; put with only_new: ERR_EXISTS */
    struct err_info info;
    enum catalogue_kind kind;
    struct slice key;   /* must live until done */
    struct slice value; /* put: must live until done */
    bool only_new;      /* put: ERR_EXISTS when the key is there */
    /* answers of get (one entry) and list (by key); freed by catalogue_record_op_release */
    struct catalogue_entry *entries;
    uint32_t entry_count;
    /* private */
    struct db_task task;
    uint32_t entry_cap;
};

void catalogue_record_put(struct catalogue *catalogue, struct shard *shard,
                          struct catalogue_record_op *op);
void catalogue_record_delete(struct catalogue *catalogue, struct shard *shard,
                             struct catalogue_record_op *op);
void catalogue_record_get(struct catalogue *catalogue, struct shard *shard,
                          struct catalogue_record_op *op);
/* Entries of the kind whose key starts with op->key (empty: all), in order of key. */
void catalogue_record_list(struct catalogue *catalogue, struct shard *shard,
                           struct catalogue_record_op *op);
/* The same as list, at boot. Shard: init. */
MUST_CHECK enum err catalogue_record_list_now(struct catalogue *catalogue,
                                              struct catalogue_record_op *op);
MUST_CHECK enum err catalogue_record_put_now(struct catalogue *catalogue,
                                             struct catalogue_record_op *op);
void catalogue_record_op_release(struct catalogue_record_op *op);

#endif
