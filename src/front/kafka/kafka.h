/*
 * The Kafka door: accepts connections, decodes requests, calls the core, answers in order.
 *
 * One front serves one listener on all shards. It holds protocol only; topics, logs and groups are
 * the core's.
 */
#ifndef WEIR_FRONT_KAFKA_KAFKA_H
#define WEIR_FRONT_KAFKA_KAFKA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/error.h"

struct broker;
struct front_kafka;
struct groups;
struct shards;

struct front_kafka_config {
    const char *host;            /* to listen on; NULL: 127.0.0.1 */
    uint16_t port;               /* 0: a free one */
    const char *advertised_host; /* told to clients; NULL: the address each client dialled */
    uint16_t advertised_port;    /* 0: the listener's */
    uint64_t idle_ms;            /* connections silent for so long are closed; 0: 10 minutes */
    uint32_t connections_max;    /* of all shards; 0: 10,000 */
};

struct front_kafka_stats {
    uint64_t connections; /* open now */
    uint64_t refused;     /* beyond connections_max */
    uint64_t waiting;     /* connections not read from, since others hold all that there may be */
    uint64_t requests;
    uint64_t request_errors; /* malformed or unsupported: the connection was closed */
};

/* Listens; connections are served once the shards run. Stops with SHARD_STOP_FRONT. Shard: init. */
MUST_CHECK enum err front_kafka_open(struct shards *shards, struct broker *broker,
                                     struct groups *groups, const struct front_kafka_config *config,
                                     struct front_kafka **ret_front, struct err_info *info);
/* After the shards have stopped. NULL is allowed. Shard: init. */
void front_kafka_close(struct front_kafka *front);
/* "127.0.0.1:9092". Lives as long as the front. */
const char *front_kafka_address(const struct front_kafka *front);
/* Sums over all shards. Any thread. */
void front_kafka_stats_read(const struct front_kafka *front, struct front_kafka_stats *ret_stats);

#endif
