/*
 * Role: librdkafka, set up alike for every command.
 *
 * Idempotence is on and retries are the library's: a command that says a record was written means
 * it, and a restart of the server in the middle is waited out for 30 s.
 *
 * Ownership and shard: the library has threads of its own; callbacks used here only print.
 *
 * Failure modes: a wrong property or an unreachable server is a line on stderr and a NULL.
 */
#include "cli/kafka_client.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

static bool set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    ASSERT(name && value);
    char text[512];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) == RD_KAFKA_CONF_OK)
        return true;
    fprintf(stderr, "weir: %s\n", text);
    return false;
}

/* Nothing listens yet is worth a line; it is said once, and the retries are silent. */
static void on_error(rd_kafka_t *client, int code, const char *reason, void *arg)
{
    static bool said;
    if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || said)
        return;
    said = true;
    fprintf(stderr, "weir: %s\n", reason);
}

rd_kafka_conf_t *kafka_client_conf(const char *brokers, const struct arg_list *properties)
{
    ASSERT(brokers && properties->count <= ARG_LIST_MAX);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_error_cb(conf, on_error);
    bool good = set(conf, "bootstrap.servers", brokers) && set(conf, "log_level", "0") &&
                set(conf, "enable.idempotence", "true") && set(conf, "message.timeout.ms", "30000");
    for (size_t i = 0; good && i < properties->count; i++) {
        char name[256];
        const char *equals = strchr(properties->items[i], '=');
        good = equals && (size_t)(equals - properties->items[i]) < sizeof(name);
        if (!good) {
            fprintf(stderr, "weir: a property is written NAME=VALUE, not '%s'\n",
                    properties->items[i]);
            break;
        }
        snprintf(name, sizeof(name), "%.*s", (int)(equals - properties->items[i]),
                 properties->items[i]);
        good = set(conf, name, equals + 1);
    }
    if (good)
        return conf;
    rd_kafka_conf_destroy(conf);
    return NULL;
}

rd_kafka_t *kafka_client_create(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    ASSERT(conf);
    char text[512];
    rd_kafka_t *client = rd_kafka_new(type, conf, text, sizeof(text));
    if (!client) {
        fprintf(stderr, "weir: %s\n", text);
        rd_kafka_conf_destroy(conf);
    }
    return client;
}
