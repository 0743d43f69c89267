/* What the two files of the fetch share. */
#ifndef WEIR_BROKER_FETCH_INT_H
#define WEIR_BROKER_FETCH_INT_H

#include "broker/broker_int.h"

enum { FETCH_RANGES_MAX = 2048 /* of one part */ };

struct fetch_watch {
    struct list_node node; /* of the partition's list */
    struct broker_fetch_sub *sub;
    struct broker_fetch_part *part;
};

/* The parts of one owner; see fetch.c. */
struct broker_fetch_sub {
    struct broker_fetch *op;
    struct broker_shard *owner;
    uint32_t first; /* part + 1; the rest by part->next */
    struct shard_msg msg;
    struct shard_msg data;
    struct shard_msg finish;
    /* the owner's */
    struct fetch_watch *watches;
    uint32_t watch_count;
    uint64_t available;
    uint64_t told;
    bool msg_here;
    bool parked;
    bool reading;
    bool failed;
    bool filled;
    bool finish_seen;
    bool data_sent;
    struct list_node woken_node;
    struct seglog_read *read;
    uint32_t at;  /* part + 1 that is read now */
    bool visited; /* it was read at least once */
    bool more;    /* the last read of it may not have been all */
    uint32_t budget;
    bool some; /* a part gave bytes */
    /* the caller's */
    uint64_t reported;
    bool has_data;
    bool has_ack;
    bool finish_sent;
    bool go_on_sent;
    bool settled;
};

/* Reads on: part after part, until all are through (true) or one waits for the disk (false). */
MUST_CHECK bool fetch_read_more(struct broker_fetch_sub *sub,
                                void (*on_cold)(struct seglog_read *read));
/* Moves the results of sub->read into the current part. */
void fetch_read_take(struct broker_fetch_sub *sub);
/* Cuts what several owners brought to the limits of the whole operation. */
void fetch_cut(struct broker_fetch *op);

#endif
