/*
 * `weir job`: Stream Analytics jobs, through the admin interface.
 *
 * A job is a YAML file that names the query, its inputs and outputs; here its keys are checked with
 * their lines, the rest is the server's to judge. `query_file` may stand for `query`.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/endpoint.h"
#include "cli/output.h"
#include "cli/yaml_tree.h"

#define JOBS_PATH "/api/v1/jobs"
#define QUERY_MAX (1u << 20)
#define OPTION_ADMIN(target)                                                                       \
    {                                                                                              \
        "admin", 0, ARG_TEXT, target, "HOST:PORT",                                                 \
            "the admin port (default 127.0.0.1:5300, WEIR_ADMIN)", NULL, 0, 0                      \
    }
#define OPTION_OUTPUT(target)                                                                      \
    {                                                                                              \
        "output", 'o', ARG_CHOICE, target, NULL, "form of the output", OUTPUT_FORMATS, 0, 0        \
    }

static enum err check_keys(const char *path, const struct yaml_node *map, const char *const *keys,
                           size_t count, struct err_info *info)
{
    if (map->kind != YAML_MAP)
        return err_info_set(info, ERR_INVALID_CONFIG,
                            "%s:%u:%u: keys with values are expected here", path, map->line,
                            map->column);
    for (const struct yaml_node *node = map->first; node; node = node->next) {
        bool known = false;
        for (size_t i = 0; i < count; i++)
            known |= strcmp(keys[i], node->key->text) == 0;
        const char *nearest = known ? NULL : nearest_name(node->key->text, keys, count);
        if (!known)
            return err_info_set(info, ERR_INVALID_CONFIG, "%s:%u:%u: unknown key '%s'%s%s%s", path,
                                node->key->line, node->key->column, node->key->text,
                                nearest ? "; did you mean '" : "", nearest ? nearest : "",
                                nearest ? "'?" : "");
    }
    return ERR_OK;
}

static enum err check_ends(const char *path, const struct yaml_node *list, const char *const *keys,
                           size_t count, struct err_info *info)
{
    if (!list)
        return ERR_OK;
    if (list->kind != YAML_LIST)
        return err_info_set(info, ERR_INVALID_CONFIG, "%s:%u:%u: a list is expected here", path,
                            list->line, list->column);
    enum err err = ERR_OK;
    for (const struct yaml_node *node = list->first; node && err == ERR_OK; node = node->next)
        err = check_keys(path, node, keys, count, info);
    return err;
}

static enum err check_job(const char *path, const struct yaml_node *root, struct err_info *info)
{
    static const char *const keys[] = {"name", "query", "query_file", "start", "inputs", "outputs"};
    static const char *const input_keys[] = {"name", "topic", "hub"};
    static const char *const output_keys[] = {"name", "topic", "hub", "blob", "format"};
    enum err err = check_keys(path, root, keys, 6, info);
    if (err == ERR_OK)
        err = check_ends(path, yaml_get(root, "inputs"), input_keys, 3, info);
    if (err == ERR_OK)
        err = check_ends(path, yaml_get(root, "outputs"), output_keys, 5, info);
    if (err == ERR_OK && !yaml_get(root, "query") == !yaml_get(root, "query_file"))
        err = err_info_set(info, ERR_INVALID_CONFIG,
                           "%s:%u:%u: a job has either 'query' or 'query_file'", path, root->line,
                           root->column);
    return err;
}

/* Puts the text of the file in place of its name; a relative name starts at the job file's folder.
 */
static enum err read_query(const char *path, json_t *job, struct err_info *info)
{
    const char *name = json_string_value(json_object_get(job, "query_file"));
    if (!name)
        return ERR_OK;
    char full[4096];
    const char *slash = strrchr(path, '/');
    snprintf(full, sizeof(full), "%.*s%s", slash && name[0] != '/' ? (int)(slash + 1 - path) : 0,
             path, name);
    FILE *file = fopen(full, "r");
    char *text = file ? malloc(QUERY_MAX) : NULL;
    size_t len = text ? fread(text, 1, QUERY_MAX, file) : 0;
    enum err err = ERR_OK;
    if (!file)
        err = err_info_set(info, err_from_errno(errno), "%s: %s", full, strerror(errno));
    else if (!text || len == QUERY_MAX || ferror(file))
        err = err_info_set(info, ERR_INVALID_CONFIG, "%s: cannot be read, or is larger than 1 MiB",
                           full);
    else
        json_object_set_new(job, "query", json_stringn(text, len));
    json_object_del(job, "query_file");
    free(text);
    if (file)
        fclose(file);
    return err;
}

/* The job file as JSON. NULL: the reason is on stderr. */
static json_t *load_job(const char *path)
{
    struct err_info info = {0};
    json_t *job = NULL;
    struct yaml_node *root;
    struct arena *arena = arena_create(NULL, "job file", 8u << 20);
    enum err err = arena ? yaml_load(arena, path, &root, &info) : ERR_NO_MEMORY;
    if (err == ERR_OK)
        err = check_job(path, root, &info);
    if (err == ERR_OK) {
        job = yaml_to_json(root);
        err = read_query(path, job, &info);
    }
    if (err != ERR_OK) {
        fprintf(stderr, "weir: %s\n", info.text[0] ? info.text : err_row(err)->text);
        json_decref(job);
        job = NULL;
    }
    arena_destroy(arena);
    return job;
}

/* A call about one job: /api/v1/jobs/NAME and a suffix. */
static int call_named(const char *admin, const char *method, const char *name, const char *suffix,
                      json_t **ret_answer)
{
    struct bytebuf path;
    bytebuf_init(&path, 4096);
    bytebuf_append_cstr(&path, JOBS_PATH "/");
    endpoint_escape(&path, name);
    bytebuf_append_cstr(&path, suffix);
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

static int job_create(int argc, char **argv)
{
    const char *admin = NULL, *format = "table";
    bool start = false;
    const struct arg_option options[] = {
        OPTION_ADMIN(&admin),
        OPTION_OUTPUT(&format),
        {"start", 0, ARG_FLAG, &start, "", "start it at once", NULL, 0, 0},
        {0},
    };
    const struct arg_command command = {
        "job create",
        "FILE",
        "Creates a job from a YAML file.",
        "example of a file:\n"
        "  name: late-flights\n"
        "  query: SELECT carrier, dep_delay INTO late FROM flights WHERE dep_delay > 60\n"
        "  inputs:\n    - {name: flights, topic: flights}\n"
        "  outputs:\n    - {name: late, blob: results/late.csv, format: csv}",
        1,
        1,
        options};
    struct arg_operands operands;
    enum args_result result = args_parse(&command, argc, argv, &operands);
    if (result != ARGS_OK)
        return result == ARGS_DONE ? 0 : 2;
    json_t *job = load_job(operands.items[0]), *answer = NULL;
    if (!job)
        return 2;
    int status = endpoint_admin_call(ENDPOINT_ADMIN(admin), "POST", JOBS_PATH, job, &answer);
    const char *name = json_string_value(json_object_get(job, "name"));
    if (status == 0 && start && name) {
        json_decref(answer);
        status = call_named(admin, "POST", name, "/start", &answer);
    }
    if (status == 0 && answer)
        status = output_object(format, answer);
    json_decref(answer);
    json_decref(job);
    return status;
}

static int job_list(int argc, char **argv)
{
    const char *admin = NULL, *format = "table";
    const struct arg_option options[] = {OPTION_ADMIN(&admin), OPTION_OUTPUT(&format), {0}};
    const struct arg_command command = {"job list", "", "Lists the jobs.", NULL, 0, 0, options};
    struct arg_operands operands;
    enum args_result result = args_parse(&command, argc, argv, &operands);
    if (result != ARGS_OK)
        return result == ARGS_DONE ? 0 : 2;
    static const char *const columns[] = {"name",      "state", "events", "rows",
                                          "malformed", "lag",   "error"};
    json_t *answer = NULL;
    int status = endpoint_admin_call(ENDPOINT_ADMIN(admin), "GET", JOBS_PATH, NULL, &answer);
    if (status == 0)
        status = output_rows(format, json_object_get(answer, "jobs"), columns, 7);
    json_decref(answer);
    return status;
}

/* The verbs about one job differ in method, path and summary only. */
static int job_named(const struct arg_command *form, const char *method, const char *suffix,
                     int argc, char **argv)
{
    const char *admin = NULL, *format = "table";
    const struct arg_option options[] = {OPTION_ADMIN(&admin), OPTION_OUTPUT(&format), {0}};
    struct arg_command command = *form;
    command.options = options;
    struct arg_operands operands;
    enum args_result result = args_parse(&command, argc, argv, &operands);
    if (result != ARGS_OK)
        return result == ARGS_DONE ? 0 : 2;
    json_t *answer = NULL;
    int status = call_named(admin, method, operands.items[0], suffix, &answer);
    if (status == 0 && answer)
        status = output_object(format, answer);
    json_decref(answer);
    return status;
}

static int job_show(int argc, char **argv)
{
    static const struct arg_command command = {
        "job show", "JOB", "Shows a job's definition and status.", NULL, 1, 1, NULL};
    return job_named(&command, "GET", "", argc, argv);
}

static int job_start(int argc, char **argv)
{
    static const struct arg_command command = {
        "job start", "JOB", "Starts a job where it stopped.", NULL, 1, 1, NULL};
    return job_named(&command, "POST", "/start", argc, argv);
}

static int job_stop(int argc, char **argv)
{
    static const struct arg_command command = {
        "job stop", "JOB", "Stops a job; it keeps its positions.", NULL, 1, 1, NULL};
    return job_named(&command, "POST", "/stop", argc, argv);
}

static int job_delete(int argc, char **argv)
{
    static const struct arg_command command = {
        "job delete", "JOB", "Stops and deletes a job; its outputs stay.", NULL, 1, 1, NULL};
    return job_named(&command, "DELETE", "", argc, argv);
}

int cli_job(int argc, char **argv)
{
    static const struct cli_verb verbs[] = {
        {"create", job_create, "create a job from a YAML file"},
        {"list", job_list, "list the jobs"},
        {"show", job_show, "show a job's definition and status"},
        {"start", job_start, "start a job where it stopped"},
        {"stop", job_stop, "stop a job"},
        {"delete", job_delete, "stop and delete a job"},
        {NULL, NULL, NULL},
    };
    return cli_dispatch("job", verbs, argc, argv);
}
