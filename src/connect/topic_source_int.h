/* What the files of the topic source share. */
#ifndef WEIR_CONNECT_TOPIC_SOURCE_INT_H
#define WEIR_CONNECT_TOPIC_SOURCE_INT_H

#include <jansson.h>

#include "broker/broker.h"
#include "connect/ends.h"

/* What is known of a partition besides its fetch. */
struct in_part {
    uint32_t input; /* number of the topic */
    int32_t epoch;  /* of the record before the position; -1: not known */
    int64_t end;    /* high watermark at the last fetch; -1: not known */
};

/* What is known of an input's topic. */
struct in_topic {
    struct uuid id;
    int32_t partitions; /* that are read */
};

struct topic_source {
    struct source base;
    struct broker_shard *bs;
    struct shard *shard;
    const struct slice *topics; /* names */
    struct in_topic *inputs;    /* one for each name */
    uint32_t topic_count;
    enum job_start start;

    source_done_fn done;
    void *done_ctx;
    json_t *saved;     /* during open; NULL: nothing was saved */
    uint32_t topic_at; /* being opened */
    uint32_t part_at;  /* whose offset is being asked for */

    struct broker_topic_op topic_op;
    struct broker_offset_op offset_op;
    struct broker_fetch fetch;
    struct broker_fetch_part *parts;
    struct in_part *in; /* of each part */
    uint32_t part_count;
    uint32_t part_cap;
    bool fetched; /* the fetch's answers are pinned */
    bool polling;
    struct timer timer;      /* before another poll after an error */
    struct err_info trouble; /* what keeps a part from being read */

    /* the walk over the answers */
    uint32_t walk_part;
    uint32_t walk_range;
    struct slice rest; /* batches of the range not yet walked */
    struct batch_iter iter;
    bool in_batch;
    bool scratch_used; /* values that the caller holds lie in scratch */
    struct bytebuf scratch;
};

/* Open (topic_source_open.c): sets parts and positions, then answers done. */
void topic_source_open(struct topic_source *ts);
/* Adds the partitions of input `at` from `partitions` on; false: too many, or memory. */
bool topic_source_add_parts(struct topic_source *ts, uint32_t at, const struct topic *topic,
                            const json_t *entry);
/* Answers the operation under way. */
void topic_source_finish(struct topic_source *ts, enum err err, const struct err_info *info);

/* The walk (topic_source_walk.c): from the first answer of a fetch on, and the next event of it. */
void topic_source_walk_start(struct topic_source *ts);
enum source_next topic_source_walk(struct topic_source *ts, struct source_event *ret_event,
                                   struct err_info *info);

#endif
