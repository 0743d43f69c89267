/*
 * The door's configuration: keys, hubs to create, consumer groups, and the emulator's Config.json.
 *
 *     {"UserConfig":{"NamespaceConfig":[{"Type":"EventHub","Name":"emulatorNs1",
 *        "Entities":[{"Name":"eh1","PartitionCount":"2","ConsumerGroups":[{"Name":"cg1"}]}]}],
 *        "LoggingConfig":{"Type":"File"}}}
 *
 * Invariants
 *  (1) All text lives in the configuration's arena, so that shards may read it without locks.
 *  (2) Until a key is added there is exactly the emulator's key.
 *
 * Ownership and shard: built at boot, read by every shard, freed after they have ended.
 *
 * Failure: a mistake in the file is named with its place, and nothing of the file counts then for
 * the caller, who stops.
 */
#include "front/eventhubs/config.h"

#include <jansson.h>

#include "base/diag.h"
#include "base/numtext.h"

struct eventhubs_config *eventhubs_config_create(void)
{
    struct arena *arena = arena_create(NULL, "eventhubs-config", 16 << 20);
    struct eventhubs_config *config = arena ? ARENA_NEW(arena, struct eventhubs_config) : NULL;
    if (!config) {
        arena_destroy(arena);
        return NULL;
    }
    config->arena = arena;
    config->options = (struct eventhubs_options){
        .open_access = true,
        .key_for_any_name = true,
        .groups_by_use = true,
        .message_max = 1 << 20,
        .idle_ms = 120000,
        .token_wait_ms = 60000,
        .connections_max = 10000,
    };
    config->keys = ARENA_ARRAY(arena, struct eh_key, EH_KEYS_MAX);
    config->hubs = ARENA_ARRAY(arena, struct eh_hub, EH_HUBS_MAX);
    if (!config->keys || !config->hubs) {
        arena_destroy(arena);
        return NULL;
    }
    config->keys[config->key_count++] =
        (struct eh_key){SLICE_LIT(EVENTHUBS_EMULATOR_KEY_NAME), SLICE_LIT(EVENTHUBS_EMULATOR_KEY),
                        EVENTHUBS_SEND | EVENTHUBS_LISTEN | EVENTHUBS_MANAGE, SLICE_NULL};
    return config;
}

void eventhubs_config_destroy(struct eventhubs_config *config)
{
    if (config)
        arena_destroy(config->arena);
}

struct eventhubs_options *eventhubs_config_options(struct eventhubs_config *config)
{
    return &config->options;
}

uint32_t eventhubs_config_hub_count(const struct eventhubs_config *config)
{
    return config->hub_count;
}

enum err eventhubs_config_key_add(struct eventhubs_config *config, struct slice name,
                                  struct slice key, unsigned rights, struct slice hub,
                                  struct err_info *info)
{
    if (name.len == 0 || name.len > EH_NAME_MAX || key.len == 0 || key.len > EH_NAME_MAX ||
        hub.len > EH_NAME_MAX)
        return err_info_set(info, ERR_INVALID_ARGUMENT,
                            "a key needs a name and a value of at most %d bytes", EH_NAME_MAX);
    if (config->key_count == EH_KEYS_MAX)
        return err_info_set(info, ERR_LIMIT, "at most %d keys", EH_KEYS_MAX);
    if (!config->keys_own) {
        config->keys_own = true;
        config->key_count = 0;
        config->options.open_access = false;
        config->options.key_for_any_name = false;
    }
    struct eh_key row = {arena_copy(config->arena, name), arena_copy(config->arena, key), rights,
                         hub.len ? arena_copy(config->arena, hub) : SLICE_NULL};
    if (!row.name.data || !row.key.data || (hub.len && !row.hub.data))
        return err_info_set(info, ERR_NO_MEMORY, "the keys do not fit in memory");
    config->keys[config->key_count++] = row;
    return ERR_OK;
}

static struct eh_hub *hub_find(const struct eventhubs_config *config, struct slice name)
{
    for (uint32_t i = 0; i < config->hub_count; i++) {
        if (slice_equal_nocase(config->hubs[i].name, name))
            return &config->hubs[i];
    }
    return NULL;
}

const struct eh_hub *eh_config_hub(const struct eventhubs_config *config, struct slice name)
{
    return hub_find(config, name);
}

enum err eventhubs_config_hub_add(struct eventhubs_config *config, struct slice name,
                                  int32_t partitions, struct err_info *info)
{
    if (name.len == 0 || name.len > EH_NAME_MAX)
        return err_info_set(info, ERR_INVALID_ARGUMENT,
                            "an event hub needs a name of at most %d bytes", EH_NAME_MAX);
    if (partitions < 1 || partitions > EH_PARTITIONS_MAX)
        return err_info_set(info, ERR_INVALID_PARTITIONS,
                            "event hub %.*s: PartitionCount must be 1 to %d", SLICE_FMT(name),
                            EH_PARTITIONS_MAX);
    if (hub_find(config, name))
        return err_info_set(info, ERR_EXISTS, "event hub %.*s is listed twice", SLICE_FMT(name));
    if (config->hub_count == EH_HUBS_MAX)
        return err_info_set(info, ERR_LIMIT, "at most %d event hubs", EH_HUBS_MAX);
    struct slice copy = arena_copy(config->arena, name);
    if (!copy.data)
        return err_info_set(info, ERR_NO_MEMORY, "the event hubs do not fit in memory");
    config->hubs[config->hub_count++] = (struct eh_hub){.name = copy, .partitions = partitions};
    return ERR_OK;
}

enum err eventhubs_config_group_add(struct eventhubs_config *config, struct slice hub_name,
                                    struct slice group, struct err_info *info)
{
    struct eh_hub *hub = hub_find(config, hub_name);
    if (!hub)
        return err_info_set(info, ERR_NOT_FOUND, "consumer group %.*s names no listed event hub",
                            SLICE_FMT(group));
    if (group.len == 0 || group.len > EH_NAME_MAX)
        return err_info_set(info, ERR_INVALID_ARGUMENT,
                            "event hub %.*s: a consumer group needs a name", SLICE_FMT(hub_name));
    if (hub->group_count == EH_GROUPS_MAX)
        return err_info_set(info, ERR_LIMIT, "event hub %.*s: at most %d consumer groups",
                            SLICE_FMT(hub_name), EH_GROUPS_MAX);
    if (hub->group_count == hub->group_cap) {
        uint32_t cap = hub->group_cap ? hub->group_cap * 2 : 8;
        struct slice *groups = ARENA_ARRAY(config->arena, struct slice, cap);
        if (!groups)
            return err_info_set(info, ERR_NO_MEMORY, "the consumer groups do not fit in memory");
        for (uint32_t i = 0; i < hub->group_count; i++)
            groups[i] = hub->groups[i];
        hub->groups = groups;
        hub->group_cap = cap;
    }
    struct slice copy = arena_copy(config->arena, group);
    if (!copy.data)
        return err_info_set(info, ERR_NO_MEMORY, "the consumer groups do not fit in memory");
    hub->groups[hub->group_count++] = copy;
    return ERR_OK;
}

bool eh_config_group_exists(const struct eventhubs_config *config, struct slice hub_name,
                            struct slice group)
{
    const struct eh_hub *hub = hub_find(config, hub_name);
    if (slice_equal_nocase(group, SLICE_LIT("$Default")))
        return true;
    if (!hub || hub->group_count == 0)
        return config->options.groups_by_use && group.len > 0 && group.len <= EH_NAME_MAX;
    for (uint32_t i = 0; i < hub->group_count; i++) {
        if (slice_equal_nocase(hub->groups[i], group))
            return true;
    }
    return false;
}

/* ---- Config.json ---- */

static struct slice json_text(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_string(value) ? slice_make(json_string_value(value), json_string_length(value))
                                 : SLICE_NULL;
}

/* A count that samples write as a number or as text. 0: neither. */
static int32_t json_count(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    int64_t number = 0;
    if (json_is_integer(value))
        number = json_integer_value(value);
    else if (!numtext_read_int64(json_text(object, key), &number))
        return 0;
    return number >= 1 && number <= EH_PARTITIONS_MAX ? (int32_t)number : 0;
}

static enum err entity_read(struct eventhubs_config *config, const json_t *entity, size_t index,
                            struct err_info *info)
{
    struct slice name = json_text(entity, "Name");
    if (!name.data)
        return err_info_set(info, ERR_INVALID_CONFIG, "Entities[%zu] has no Name", index);
    enum err err =
        eventhubs_config_hub_add(config, name, json_count(entity, "PartitionCount"), info);
    if (err != ERR_OK)
        return err;
    size_t i;
    json_t *group;
    json_array_foreach(json_object_get(entity, "ConsumerGroups"), i, group)
    {
        struct slice text = json_text(group, "Name");
        if (!text.data)
            return err_info_set(info, ERR_INVALID_CONFIG,
                                "event hub %.*s: ConsumerGroups[%zu] has no Name", SLICE_FMT(name),
                                i);
        err = eventhubs_config_group_add(config, name, text, info);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static enum err document_read(struct eventhubs_config *config, const json_t *root,
                              struct err_info *info)
{
    const json_t *namespaces =
        json_object_get(json_object_get(root, "UserConfig"), "NamespaceConfig");
    if (!json_is_array(namespaces) || json_array_size(namespaces) == 0)
        return err_info_set(info, ERR_INVALID_CONFIG,
                            "UserConfig.NamespaceConfig must be a list of one namespace");
    size_t n;
    json_t *space;
    json_array_foreach(namespaces, n, space)
    {
        struct slice type = json_text(space, "Type");
        if (!slice_equal_nocase(type, SLICE_LIT("EventHub")))
            return err_info_set(info, ERR_INVALID_CONFIG,
                                "NamespaceConfig[%zu].Type must be EventHub", n);
        const json_t *entities = json_object_get(space, "Entities");
        if (!json_is_array(entities))
            return err_info_set(info, ERR_INVALID_CONFIG,
                                "NamespaceConfig[%zu].Entities must be a list", n);
        size_t i;
        json_t *entity;
        json_array_foreach(entities, i, entity)
        {
            enum err err = entity_read(config, entity, i, info);
            if (err != ERR_OK)
                return err;
        }
    }
    return ERR_OK;
}

enum err eventhubs_config_json_read(struct eventhubs_config *config, struct slice text,
                                    struct err_info *info)
{
    json_error_t fault;
    /* The samples begin with a byte order mark now and then. */
    if (slice_starts_with(text, SLICE_LIT("\xef\xbb\xbf")))
        text = slice_sub(text, 3, SIZE_MAX);
    json_t *root = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &fault);
    if (!root)
        return err_info_set(info, ERR_INVALID_CONFIG, "line %d, column %d: %s", fault.line,
                            fault.column, fault.text);
    enum err err = document_read(config, root, info);
    json_decref(root);
    return err;
}
