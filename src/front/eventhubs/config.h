/*
 * The door's configuration as its own files read it.
 */
#ifndef WEIR_FRONT_EVENTHUBS_CONFIG_H
#define WEIR_FRONT_EVENTHUBS_CONFIG_H

#include "base/arena.h"
#include "front/eventhubs/eventhubs.h"

enum {
    EH_KEYS_MAX = 256,
    EH_HUBS_MAX = 1000,
    EH_GROUPS_MAX = 1000,     /* of one hub */
    EH_PARTITIONS_MAX = 1024, /* of a configured hub */
    EH_NAME_MAX = 256
};

struct eh_key {
    struct slice name; /* empty: good under any name */
    struct slice key;
    unsigned rights;
    struct slice hub; /* empty: all hubs */
};

struct eh_hub {
    struct slice name;
    int32_t partitions;
    struct slice *groups;
    uint32_t group_count;
    uint32_t group_cap;
};

struct eventhubs_config {
    struct arena *arena;
    struct eventhubs_options options;
    struct eh_key *keys;
    uint32_t key_count;
    bool keys_own; /* keys were added: the emulator's is gone */
    struct eh_hub *hubs;
    uint32_t hub_count;
};

/* NULL when the configuration does not list it. Names compare without case. */
const struct eh_hub *eh_config_hub(const struct eventhubs_config *config, struct slice name);
/* Whether the group exists on this hub: $Default always; listed ones; any by first use where the
 * hub is not listed or lists none. */
bool eh_config_group_exists(const struct eventhubs_config *config, struct slice hub,
                            struct slice group);

#endif
