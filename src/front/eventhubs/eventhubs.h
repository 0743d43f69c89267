/*
 * The Event Hubs door: AMQP 1.0 as the Event Hubs SDKs speak it.
 *
 * Hubs are the broker's topics; consumer groups exist by configuration or by first use. The
 * configuration is made at boot, never changes afterwards, and is read by all shards.
 */
#ifndef WEIR_FRONT_EVENTHUBS_EVENTHUBS_H
#define WEIR_FRONT_EVENTHUBS_EVENTHUBS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/slice.h"

struct broker;
struct shards;
struct eventhubs_config;
struct front_eventhubs;

enum eventhubs_right {
    EVENTHUBS_SEND = 1,
    EVENTHUBS_LISTEN = 2,
    EVENTHUBS_MANAGE = 4 /* implies the other two */
};

#define EVENTHUBS_EMULATOR_KEY_NAME "RootManageSharedAccessKey"
#define EVENTHUBS_EMULATOR_KEY "SAS_KEY_VALUE"

/* Numbers that may be changed between create and start. */
struct eventhubs_options {
    bool open_access;      /* links need no token; true until a key is added */
    bool key_for_any_name; /* the emulator's key is good under any key name; true until a key is
                              added */
    bool
        groups_by_use; /* hubs that the configuration does not list have any consumer group; true */
    bool
        clamp_positions; /* a position beyond the end starts at the end instead of failing; false */
    bool ranges_hash; /* partition by event_partition_ranges instead of the SDKs' formula; false */
    uint32_t message_max;   /* bytes of one transfer; 1 MiB */
    uint32_t idle_ms;       /* a silent peer is dropped after it; 120,000 */
    uint32_t unused_ms;     /* a connection that never had a link is closed after it; 0: never */
    uint32_t linkless_ms;   /* a connection whose links are all gone is closed after it; 0: never */
    uint32_t link_idle_ms;  /* a sender link without transfers is detached after it; 0: never */
    uint32_t token_wait_ms; /* a connection that has not opened, or has no valid token where one is
                               needed, is closed after it; 60,000; 0: never */
    uint32_t connections_max; /* of the process; 10,000 */
};

/* The emulator's key, no hubs of its own. NULL: out of memory. Shard: init. */
struct eventhubs_config *eventhubs_config_create(void);
void eventhubs_config_destroy(struct eventhubs_config *config);
struct eventhubs_options *eventhubs_config_options(struct eventhubs_config *config);
/* A key with rights (EVENTHUBS_*) on all hubs, or on one when hub is not empty. Ends the emulator's
 * key and open access. ERR_LIMIT, ERR_INVALID_ARGUMENT, ERR_NO_MEMORY. */
MUST_CHECK enum err eventhubs_config_key_add(struct eventhubs_config *config, struct slice name,
                                             struct slice key, unsigned rights, struct slice hub,
                                             struct err_info *info);
/* A hub to be created at start; groups that are added make its list of consumer groups closed. */
MUST_CHECK enum err eventhubs_config_hub_add(struct eventhubs_config *config, struct slice name,
                                             int32_t partitions, struct err_info *info);
MUST_CHECK enum err eventhubs_config_group_add(struct eventhubs_config *config, struct slice hub,
                                               struct slice group, struct err_info *info);
/* Reads the emulator's Config.json as it is. Unknown keys are passed over, mistakes named with
 * their place. */
MUST_CHECK enum err eventhubs_config_json_read(struct eventhubs_config *config, struct slice text,
                                               struct err_info *info);
/* Number of hubs the configuration creates. */
uint32_t eventhubs_config_hub_count(const struct eventhubs_config *config);

/*
 * Starts the door on every shard: listens on host and port (0: a free one), and creates the
 * configured hubs when the shards run. The config becomes the front's, also on failure. Call once
 * at boot, after broker_open and before shards_run. On failure *ret_front may be set: destroy it
 * then too. ERR_PORT_IN_USE, ERR_INVALID_ARGUMENT, ERR_NO_MEMORY. Shard: init.
 */
MUST_CHECK enum err front_eventhubs_start(struct shards *shards, struct broker *broker,
                                          struct eventhubs_config *config, const char *host,
                                          uint16_t port, struct front_eventhubs **ret_front,
                                          struct err_info *info);
/* "127.0.0.1:5672". Lives as long as the front. */
const char *front_eventhubs_address(const struct front_eventhubs *front);
/* After shards_run has returned, or instead of it when the start failed. Shard: init. */
void front_eventhubs_destroy(struct front_eventhubs *front);

/* Figures of the process for the metrics page: relaxed reads, any thread. */
struct eventhubs_stats {
    uint64_t connections;
    uint64_t links;
    uint64_t events_in;
    uint64_t events_out;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t refused; /* tokens, links and deliveries */
};
void front_eventhubs_stats(const struct front_eventhubs *front, struct eventhubs_stats *ret_stats);

#endif
