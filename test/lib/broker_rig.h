/* A broker on real shards in a temporary folder, with calls that wait for their answers. */
#ifndef WEIR_TEST_BROKER_RIG_H
#define WEIR_TEST_BROKER_RIG_H

#include "broker/broker.h"
#include "node_rig.h"

struct broker_rig {
    struct node_rig node;
    struct broker *broker;
    struct broker_config config;
};

/* Starts (again) on the rig's folder; the shards run at return, every partition is ready. */
void broker_rig_start(struct broker_rig *rig, unsigned shards);
/* The same without starting the shards: more parts may be opened before broker_rig_run. */
void broker_rig_open(struct broker_rig *rig, unsigned shards);
void broker_rig_run(struct broker_rig *rig);
/* Graceful stop; the folder stays. */
void broker_rig_stop(struct broker_rig *rig);

/* Each runs on the shard named and waits. */
enum err rig_topic(struct broker_rig *rig, unsigned shard, struct broker_topic_op *op);
enum err rig_topic_create(struct broker_rig *rig, const char *name, int32_t partitions,
                          struct uuid *ret_id);
enum err rig_append(struct broker_rig *rig, unsigned shard, struct broker_append *op);
void rig_fetch(struct broker_rig *rig, unsigned shard, struct broker_fetch *op);
enum err rig_offset(struct broker_rig *rig, unsigned shard, struct broker_offset_op *op);
enum err rig_trim(struct broker_rig *rig, unsigned shard, struct broker_trim_op *op);
int64_t rig_producer_id(struct broker_rig *rig, unsigned shard);

/* A fetch that is only started: done sets the event. */
struct rig_wait {
    struct broker_fetch op;
    struct broker_fetch_part parts[8];
    struct node_event done;
};
void rig_fetch_start(struct broker_rig *rig, unsigned shard, struct rig_wait *wait);
void rig_fetch_cancel(struct broker_rig *rig, unsigned shard, struct rig_wait *wait);

/* One batch of `count` records "<text>-<i>", value size padded to at least pad bytes. */
struct iobuf_range rig_batch(const char *text, int count, size_t pad, int64_t timestamp_ms);

#endif
