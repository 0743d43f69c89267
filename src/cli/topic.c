/*
 * `weir topic`: create, list, describe and delete topics, through the admin interface.
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/endpoint.h"
#include "cli/output.h"

#define TOPICS_PATH "/api/v1/topics"
#define OPTION_ADMIN(target)                                                                       \
    {                                                                                              \
        "admin", 0, ARG_TEXT, target, "HOST:PORT",                                                 \
            "the admin port (default 127.0.0.1:5300, WEIR_ADMIN)", NULL, 0, 0                      \
    }
#define OPTION_OUTPUT(target)                                                                      \
    {                                                                                              \
        "output", 'o', ARG_CHOICE, target, NULL, "form of the output", OUTPUT_FORMATS, 0, 0        \
    }

static int call_named(const char *admin, const char *method, const char *name, json_t **ret_answer)
{
    struct bytebuf path;
    bytebuf_init(&path, 4096);
    bytebuf_append_cstr(&path, TOPICS_PATH "/");
    endpoint_escape(&path, name);
    bytebuf_append_byte(&path, 0);
    int status = 1;
    if (path.failed)
        fprintf(stderr, "weir: the name is too long\n");
    else
        status = endpoint_admin_call(ENDPOINT_ADMIN(admin), method, (const char *)path.data, NULL,
                                     ret_answer);
    bytebuf_deinit(&path);
    return status;
}

/* NAME=VALUE pairs as an object; NULL: one is not a pair, or no text, and it was said. */
static json_t *configs_to_json(const struct arg_command *command, const struct arg_list *list)
{
    json_t *configs = json_object();
    for (size_t i = 0; i < list->count; i++) {
        const char *equals = strchr(list->items[i], '=');
        if (!equals) {
            args_wrong(command, "a setting is written NAME=VALUE, not '%s'", list->items[i]);
            json_decref(configs);
            return NULL;
        }
        char name[256];
        int len =
            snprintf(name, sizeof(name), "%.*s", (int)(equals - list->items[i]), list->items[i]);
        ASSERT(len >= 0);
        if ((size_t)len >= sizeof(name) ||
            json_object_set_new(configs, name, json_string(equals + 1)) != 0) {
            args_wrong(command, "'%s' is too long or not UTF-8", list->items[i]);
            json_decref(configs);
            return NULL;
        }
    }
    return configs;
}

static int topic_create(int argc, char **argv)
{
    const char *admin = NULL, *format = "table";
    int64_t partitions = 0;
    struct arg_list settings = {0};
    const struct arg_option options[] = {
        OPTION_ADMIN(&admin),
        OPTION_OUTPUT(&format),
        {"partitions", 'p', ARG_INT, &partitions, "N",
         "number of partitions (default: the server's)", NULL, 1, 10000},
        {"config", 'c', ARG_LIST, &settings, "NAME=VALUE", "a setting such as retention.ms=3600000",
         NULL, 0, 0},
        {0},
    };
    const struct arg_command command = {"topic create", "TOPIC", "Creates a topic.", NULL, 1, 1,
                                        options};
    struct arg_operands operands;
    enum args_result result = args_parse(&command, argc, argv, &operands);
    if (result != ARGS_OK)
        return result == ARGS_DONE ? 0 : 2;
    json_t *configs = configs_to_json(&command, &settings);
    if (!configs)
        return 2;
    json_t *body = json_object(), *answer = NULL;
    json_object_set_new(body, "name", json_string(operands.items[0]));
    if (partitions)
        json_object_set_new(body, "partitions", json_integer(partitions));
    if (json_object_size(configs))
        json_object_set(body, "configs", configs);
    int status = endpoint_admin_call(ENDPOINT_ADMIN(admin), "POST", TOPICS_PATH, body, &answer);
    if (status == 0 && answer)
        status = output_object(format, answer);
    json_decref(answer);
    json_decref(body);
    json_decref(configs);
    return status;
}

static int topic_list(int argc, char **argv)
{
    const char *admin = NULL, *format = "table";
    bool internal = false;
    const struct arg_option options[] = {
        OPTION_ADMIN(&admin),
        OPTION_OUTPUT(&format),
        {"internal", 0, ARG_FLAG, &internal, "", "also the server's own topics", NULL, 0, 0},
        {0},
    };
    const struct arg_command command = {"topic list", "", "Lists the topics.", NULL, 0, 0, options};
    struct arg_operands operands;
    enum args_result result = args_parse(&command, argc, argv, &operands);
    if (result != ARGS_OK)
        return result == ARGS_DONE ? 0 : 2;
    json_t *answer = NULL;
    int status =
        endpoint_admin_call(ENDPOINT_ADMIN(admin), "GET",
                            internal ? TOPICS_PATH "?internal=true" : TOPICS_PATH, NULL, &answer);
    static const char *const columns[] = {"name", "partitions", "id"};
    if (status == 0)
        status = output_rows(format, json_object_get(answer, "topics"), columns, 3);
    json_decref(answer);
    return status;
}

/* In a table the partitions follow the topic as rows. */
static int print_description(const char *format, json_t *answer)
{
    static const char *const columns[] = {"partition", "log_start_offset", "high_watermark",
                                          "size_bytes", "error"};
    if (strcmp(format, "table") != 0)
        return output_object(format, answer);
    json_t *states = json_incref(json_object_get(answer, "partition_states"));
    json_object_del(answer, "partition_states");
    int status = output_object(format, answer);
    if (status == 0 && states) {
        putchar('\n');
        status = output_rows(format, states, columns, 5);
    }
    json_decref(states);
    return status;
}

static int topic_describe(int argc, char **argv)
{
    const char *admin = NULL, *format = "table";
    const struct arg_option options[] = {OPTION_ADMIN(&admin), OPTION_OUTPUT(&format), {0}};
    const struct arg_command command = {
        "topic describe", "TOPIC", "Shows a topic and its partitions.", NULL, 1, 1, options};
    struct arg_operands operands;
    enum args_result result = args_parse(&command, argc, argv, &operands);
    if (result != ARGS_OK)
        return result == ARGS_DONE ? 0 : 2;
    json_t *answer = NULL;
    int status = call_named(admin, "GET", operands.items[0], &answer);
    if (status == 0)
        status = print_description(format, answer);
    json_decref(answer);
    return status;
}

static int topic_delete(int argc, char **argv)
{
    const char *admin = NULL;
    const struct arg_option options[] = {OPTION_ADMIN(&admin), {0}};
    const struct arg_command command = {
        "topic delete", "TOPIC...", "Deletes topics and their records.", NULL, 1, 1000, options};
    struct arg_operands operands;
    enum args_result result = args_parse(&command, argc, argv, &operands);
    if (result != ARGS_OK)
        return result == ARGS_DONE ? 0 : 2;
    int status = 0;
    for (size_t i = 0; i < operands.count; i++) {
        json_t *answer = NULL;
        status |= call_named(admin, "DELETE", operands.items[i], &answer);
        json_decref(answer);
    }
    return status;
}

int cli_topic(int argc, char **argv)
{
    static const struct cli_verb verbs[] = {
        {"create", topic_create, "create a topic"},
        {"list", topic_list, "list the topics"},
        {"describe", topic_describe, "show a topic and its partitions"},
        {"delete", topic_delete, "delete topics and their records"},
        {NULL, NULL, NULL},
    };
    return cli_dispatch("topic", verbs, argc, argv);
}
