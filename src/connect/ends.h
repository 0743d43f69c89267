/* Sources and sinks of jobs on this server's topics and blobs. */
#ifndef WEIR_CONNECT_ENDS_H
#define WEIR_CONNECT_ENDS_H

#include "connect/job_def.h"
#include "stream/sink.h"
#include "stream/source.h"

struct blobstore;
struct broker;
struct shard;

/* All partitions of the topics, input i of the plan from topics[i]. The slices must outlive the source. NULL: memory. */
struct source *topic_source_create(struct broker *broker, struct shard *shard,
                                   const struct slice *topics, uint32_t count,
                                   enum job_start start);
/* One record for each row, JSON, round robin over the partitions batch by batch. NULL: memory. */
struct sink *topic_sink_create(struct broker *broker, struct shard *shard, struct slice topic);
/* An append blob of JSON lines or CSV, one block for each epoch that has rows. NULL: memory. */
struct sink *blob_sink_create(struct blobstore *blobs, struct shard *shard,
                              const struct job_output *output);

#endif
