/*
 * Role: the table of the server's settings, and the file that changes them.
 *
 *     name "kafka.port" -> kind, place in struct config, default, range, text for people
 *
 * Invariants
 * (1) Defaults pass the checks that values of a file have to pass: they take the same way.
 * (2) The file is the only source of dotted names; a section is what stands before the dot.
 *
 * Ownership and shard: boot, one thread. Texts lie in the caller's arena.
 *
 * Failure modes: ERR_INVALID_CONFIG with file, line and column, and the nearest known name.
 */
#include "cli/config.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/assert.h"
#include "base/nearest.h"
#include "base/numtext.h"
#include "cli/args.h"
#include "cli/yaml_tree.h"

enum setting_kind { SETTING_INT, SETTING_BOOL, SETTING_TEXT };

struct setting {
    const char *name; /* of the file: sections and keys joined by dots */
    enum setting_kind kind;
    size_t place;
    const char *fallback; /* NULL: none */
    int64_t min, max;
    const char *unit;
    const char *text;
};

#define PLACE(member) offsetof(struct config, member)

/* Every setting takes effect at the next start. */
static const struct setting settings[] = {
    {"host", SETTING_TEXT, PLACE(host), "127.0.0.1", 0, 0, "",
     "numeric address that the Kafka, Event Hubs and Blob doors listen on; the Kafka door asks for "
     "no credentials"},
    {"shards", SETTING_INT, PLACE(shards), "0", 0, 64, "threads", "0: one per core"},
    {"kafka.port", SETTING_INT, PLACE(kafka_port), "9092", 0, 65535, "", "0: a free one"},
    {"kafka.advertised_host", SETTING_TEXT, PLACE(kafka_advertised_host), NULL, 0, 0, "",
     "host told to clients; without it the address each client dialled"},
    {"kafka.advertised_port", SETTING_INT, PLACE(kafka_advertised_port), "0", 0, 65535, "",
     "0: the listener's port"},
    {"kafka.connections_max", SETTING_INT, PLACE(kafka_connections_max), "10000", 1, 1000000,
     "connections", "open at once; a further one is closed"},
    {"groups.initial_rebalance_delay_ms", SETTING_INT, PLACE(initial_rebalance_delay_ms), "0", 0,
     300000, "ms", "how long an empty consumer group waits for more members before it starts"},
    {"log.auto_create", SETTING_BOOL, PLACE(auto_create), "true", 0, 0, "",
     "create a topic at its first use"},
    {"log.default_partitions", SETTING_INT, PLACE(default_partitions), "1", 1, 10000, "partitions",
     "of topics created without a number"},
    {"log.retention_check_ms", SETTING_INT, PLACE(retention_check_ms), "300000", 100,
     INT64_C(86400000), "ms", "how often old segments are looked for"},
    {"log.relaxed", SETTING_BOOL, PLACE(relaxed), "false", 0, 0, "",
     "acks=all answers before the disk has it, as Apache Kafka does on one node"},
    {"log.tail_cache_bytes", SETTING_INT, PLACE(tail_cache_bytes), "16777216", 1 << 20,
     INT64_C(1) << 40, "bytes", "memory for the recent ends of all logs"},
    {"amqp.port", SETTING_INT, PLACE(amqp_port), "5672", 0, 65535, "", "0: a free one"},
    {"amqp.entities", SETTING_TEXT, PLACE(amqp_entities), NULL, 0, 0, "",
     "path of a Config.json of the Event Hubs emulator: hubs and consumer groups to create"},
    {"amqp.key_name", SETTING_TEXT, PLACE(amqp_key_name), "RootManageSharedAccessKey", 0, 0, "",
     "name of the shared access policy"},
    {"amqp.key", SETTING_TEXT, PLACE(amqp_key), NULL, 0, 0, "",
     "its key; without it the emulator's literal SAS_KEY_VALUE, on loopback only"},
    {"amqp.token_wait_ms", SETTING_INT, PLACE(amqp_token_wait_ms), "60000", 100, INT64_C(86400000),
     "ms",
     "a connection that is not open, or with amqp.key has no valid token, is closed after it"},
    {"amqp.connections_max", SETTING_INT, PLACE(amqp_connections_max), "10000", 1, 1000000,
     "connections", "further ones are refused"},
    {"blob.port", SETTING_INT, PLACE(blob_port), "10000", 0, 65535, "", "0: a free one"},
    {"blob.connections_max", SETTING_INT, PLACE(blob_connections_max), "4096", 1, 1000000,
     "connections", "open at once; one more is answered with 503 and closed"},
    {"blob.account", SETTING_TEXT, PLACE(blob_account), "devstoreaccount1", 0, 0, "",
     "name of the account"},
    {"blob.key", SETTING_TEXT, PLACE(blob_key), NULL, 0, 0, "",
     "its Base64 key; without it the well-known development key, on loopback only"},
    {"blob.key2", SETTING_TEXT, PLACE(blob_key2), NULL, 0, 0, "",
     "a second key that is good as well, so that keys can be changed without a pause"},
    {"blob.clock_check", SETTING_BOOL, PLACE(blob_clock_check), "true", 0, 0, "",
     "refuse signed requests whose date is over 15 minutes off"},
    {"admin.host", SETTING_TEXT, PLACE(admin_host), "127.0.0.1", 0, 0, "",
     "numeric address of the admin port, which asks for no credentials; `host` does not change it"},
    {"admin.port", SETTING_INT, PLACE(admin_port), "5300", 0, 65535, "", "0: a free one"},
    {"admin.hosts", SETTING_TEXT, PLACE(admin_hosts), NULL, 0, 0, "",
     "names with dots that clients may call the admin port by, separated by commas; `*`: any"},
    {"admin.connections_max", SETTING_INT, PLACE(admin_connections_max), "256", 1, 1000000,
     "connections", "open at once; one more is answered with 503 and closed"},
    {"diagnostics", SETTING_TEXT, PLACE(diagnostics), "info", 0, 0, "",
     "error, warn, info or debug"},
};

#define SETTINGS (sizeof(settings) / sizeof(settings[0]))

static bool assign(struct config *config, const struct setting *setting, const char *text)
{
    ASSERT(text && setting->place < sizeof(*config));
    void *place = (char *)config + setting->place;
    switch (setting->kind) {
    case SETTING_TEXT:
        *(const char **)place = text;
        return true;
    case SETTING_BOOL:
        *(bool *)place = strcmp(text, "true") == 0;
        return *(bool *)place || strcmp(text, "false") == 0;
    case SETTING_INT: {
        int64_t number;
        if (!numtext_read_int64(slice_cstr(text), &number) || number < setting->min ||
            number > setting->max)
            return false;
        *(int64_t *)place = number;
        return true;
    }
    }
    UNREACHABLE();
}

void config_defaults(struct config *config)
{
    *config = (struct config){0};
    for (size_t i = 0; i < SETTINGS; i++) {
        if (settings[i].fallback)
            ASSERT(assign(config, &settings[i], settings[i].fallback));
    }
}

static const struct setting *find(const char *name)
{
    ASSERT(name);
    for (size_t i = 0; i < SETTINGS; i++) {
        if (strcmp(settings[i].name, name) == 0)
            return &settings[i];
    }
    return NULL;
}

/* A section is the part of names before the dot. */
static bool is_section(const char *name)
{
    ASSERT(name[0]);
    size_t len = strlen(name);
    for (size_t i = 0; i < SETTINGS; i++) {
        if (strncmp(settings[i].name, name, len) == 0 && settings[i].name[len] == '.')
            return true;
    }
    return false;
}

static enum err unknown_key(const char *path, const struct yaml_node *node, const char *name,
                            struct err_info *info)
{
    ASSERT(node->key && !find(name));
    const char *names[SETTINGS];
    for (size_t i = 0; i < SETTINGS; i++)
        names[i] = settings[i].name;
    const char *nearest = nearest_name(name, names, SETTINGS);
    return err_info_set(info, ERR_INVALID_CONFIG, "%s:%u:%u: unknown setting '%s'%s%s%s", path,
                        node->key->line, node->key->column, name, nearest ? "; did you mean '" : "",
                        nearest ? nearest : "", nearest ? "'?" : "");
}

static enum err wrong_value(const char *path, const struct yaml_node *node,
                            const struct setting *setting, struct err_info *info)
{
    if (setting->kind == SETTING_INT)
        return err_info_set(info, ERR_INVALID_CONFIG,
                            "%s:%u:%u: %s takes a number from %" PRId64 " to %" PRId64, path,
                            node->line, node->column, setting->name, setting->min, setting->max);
    return err_info_set(info, ERR_INVALID_CONFIG, "%s:%u:%u: %s takes %s", path, node->line,
                        node->column, setting->name,
                        setting->kind == SETTING_BOOL ? "true or false" : "a text");
}

/*
 * Sections are one level deep, and so is the recursion. A key with nothing behind it is refused: read
 * as an empty text, `host:` would open all interfaces.
 */
static enum err load_map(struct config *config, const char *path, const struct yaml_node *map,
                         const char *section, struct err_info *info)
{
    ASSERT(map->kind == YAML_MAP);
    for (const struct yaml_node *node = map->first; node; node = node->next) {
        ASSERT(node->key);
        char name[128];
        snprintf(name, sizeof(name), "%s%s%s", section, section[0] ? "." : "", node->key->text);
        const struct setting *setting = find(name);
        enum err err = ERR_OK;
        if (!section[0] && node->kind == YAML_MAP && is_section(name))
            err = load_map(config, path, node, name, info);
        else if (!setting)
            err = unknown_key(path, node, name, info);
        else if (node->kind != YAML_SCALAR || (node->plain && !node->text[0]) ||
                 !assign(config, setting, node->text))
            err = wrong_value(path, node, setting, info);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

enum err config_load(struct config *config, struct arena *arena, const char *path,
                     struct err_info *info)
{
    ASSERT(config && arena && path);
    struct yaml_node *root;
    enum err err = yaml_load(arena, path, &root, info);
    if (err != ERR_OK)
        return err;
    if (root->kind != YAML_MAP)
        return err_info_set(info, ERR_INVALID_CONFIG,
                            "%s:%u:%u: settings are written 'name: value'", path, root->line,
                            root->column);
    return load_map(config, path, root, "", info);
}

void config_print_settings(FILE *out)
{
    fputs("| setting | default | range | meaning |\n|---|---|---|---|\n", out);
    for (size_t i = 0; i < SETTINGS; i++) {
        const struct setting *setting = &settings[i];
        fprintf(out, "| `%s` | %s | ", setting->name, setting->fallback ? setting->fallback : "–");
        if (setting->kind == SETTING_INT)
            fprintf(out, "%" PRId64 "–%" PRId64 " %s", setting->min, setting->max, setting->unit);
        else
            fputs(setting->kind == SETTING_BOOL ? "true, false" : "text", out);
        fprintf(out, " | %s |\n", setting->text);
    }
}
