/*
 * Job definitions: strict reading of their JSON.
 *
 * Invariants: (1) a parsed definition has a name and a query, and every end has exactly one place; (2) all text lives
 * in the caller's arena. Failure: ERR_INVALID_CONFIG, with the key or value at fault.
 */
#include "connect/job_def.h"

#include <jansson.h>
#include <stdio.h>

#include "base/nearest.h"
#include "meta/topics.h"

struct parse {
    struct arena *arena;
    struct err_info *info;
    enum err err;
};

static void fail(struct parse *parse, const char *what, const char *key)
{
    if (parse->err == ERR_OK)
        parse->err = err_info_set(parse->info, ERR_INVALID_CONFIG, "%s '%s'", what, key);
}

static struct slice copy_text(struct parse *parse, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    if (value == NULL)
        return SLICE_NULL;
    if (!json_is_string(value) || json_string_length(value) == 0) {
        fail(parse, "a text is expected for", key);
        return SLICE_NULL;
    }
    struct slice copy =
        arena_copy(parse->arena, slice_make(json_string_value(value), json_string_length(value)));
    if (copy.data == NULL)
        fail(parse, "out of memory for", key);
    return copy;
}

static void check_keys(struct parse *parse, json_t *object, const char *const *known,
                       const char *where)
{
    const char *key;
    json_t *value;
    unsigned count = 0;

    if (!json_is_object(object)) {
        fail(parse, "an object is expected for", where);
        return;
    }
    while (known[count] != NULL)
        count++;
    json_object_foreach(object, key, value)
    {
        bool found = false;
        for (unsigned i = 0; i < count; i++)
            found |= strcmp(known[i], key) == 0;
        const char *nearest = found ? NULL : nearest_name(key, known, count);
        if (!found && parse->err == ERR_OK)
            parse->err = err_info_set(parse->info, ERR_INVALID_CONFIG,
                                      "%s has the unknown key '%.64s'%s%s%s", where, key,
                                      nearest != NULL ? "; did you mean '" : "",
                                      nearest != NULL ? nearest : "", nearest != NULL ? "'?" : "");
    }
}

/* topic or hub: the same thing. */
static struct slice take_topic(struct parse *parse, const json_t *object)
{
    struct slice topic = copy_text(parse, object, "topic");
    struct slice hub = copy_text(parse, object, "hub");
    struct err_info info;

    if (topic.data != NULL && hub.data != NULL)
        fail(parse, "there is a topic as well as", "hub");
    if (topic.data == NULL)
        topic = hub;
    if (topic.data != NULL && topic_name_check(topic, &info) != ERR_OK)
        fail(parse, "no topic can have the name", (const char *)topic.data);
    return topic;
}

static void parse_input(struct parse *parse, json_t *object, struct job_def *def)
{
    static const char *const keys[] = {"name", "topic", "hub", NULL};
    struct job_input *input = &def->inputs[def->input_count];

    check_keys(parse, object, keys, "an input");
    if (parse->err != ERR_OK)
        return;
    input->name = copy_text(parse, object, "name");
    input->topic = take_topic(parse, object);
    if (input->name.data == NULL)
        fail(parse, "an input has no", "name");
    else if (input->topic.data == NULL)
        fail(parse, "neither topic nor hub is given for the input", (const char *)input->name.data);
    for (uint32_t i = 0; i < def->input_count && parse->err == ERR_OK; i++) {
        if (slice_equal_nocase(def->inputs[i].name, input->name))
            fail(parse, "there are two inputs", (const char *)input->name.data);
    }
    def->input_count++;
}

/* 3 to 63 lower-case letters, digits and single hyphens, as the Blob door has it. */
static bool container_valid(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        bool hyphen = c == '-' && i > 0 && i + 1 < name.len && name.data[i - 1] != '-';
        if (!letter && !hyphen)
            return false;
    }
    return name.len >= 3 && name.len <= 63;
}

static void parse_blob(struct parse *parse, const json_t *object, struct job_output *output)
{
    struct slice path = copy_text(parse, object, "blob");
    struct slice format = copy_text(parse, object, "format");
    size_t slash = slice_find_byte(path, '/', 0);

    if (path.data == NULL) {
        if (format.data != NULL && !slice_equal(format, SLICE_LIT("json")) &&
            !slice_equal(format, SLICE_LIT("jsonl")))
            fail(parse, "topics and hubs take JSON only, not", (const char *)format.data);
        return;
    }
    if (slash == SIZE_MAX || slash == 0 || slash + 1 == path.len) {
        fail(parse, "a blob is written container/name, not", (const char *)path.data);
        return;
    }
    output->container = slice_sub(path, 0, slash);
    if (!container_valid(output->container))
        fail(parse, "not a name for a container:", (const char *)path.data);
    output->blob = slice_sub(path, slash + 1, path.len);
    bool csv_name =
        path.len > 4 && slice_equal_nocase(slice_sub(path, path.len - 4, 4), SLICE_LIT(".csv"));
    if (slice_equal(format, SLICE_LIT("csv")) || (format.data == NULL && csv_name))
        output->format = JOB_FORMAT_CSV;
    else if (format.data != NULL && !slice_equal(format, SLICE_LIT("jsonl")) &&
             !slice_equal(format, SLICE_LIT("json")))
        fail(parse, "the formats are jsonl and csv, not", (const char *)format.data);
}

static void parse_output(struct parse *parse, json_t *object, struct job_def *def)
{
    static const char *const keys[] = {"name", "topic", "hub", "blob", "format", NULL};
    struct job_output *output = &def->outputs[def->output_count];

    check_keys(parse, object, keys, "an output");
    if (parse->err != ERR_OK)
        return;
    output->name = copy_text(parse, object, "name");
    output->topic = take_topic(parse, object);
    parse_blob(parse, object, output);
    if (output->name.data == NULL)
        fail(parse, "an output has no", "name");
    else if ((output->topic.data == NULL) == (output->blob.data == NULL))
        fail(parse, "one of topic, hub and blob must be given for the output",
             (const char *)output->name.data);
    for (uint32_t i = 0; i < def->output_count && parse->err == ERR_OK; i++) {
        if (slice_equal_nocase(def->outputs[i].name, output->name))
            fail(parse, "there are two outputs", (const char *)output->name.data);
    }
    def->output_count++;
}

static void parse_list(struct parse *parse, const json_t *root, const char *key,
                       struct job_def *def,
                       void (*one)(struct parse *parse, json_t *object, struct job_def *def))
{
    const json_t *list = json_object_get(root, key);

    if (list == NULL)
        return;
    if (!json_is_array(list) || json_array_size(list) > JOB_ENDS_MAX) {
        fail(parse, "a list of at most 60 is expected for", key);
        return;
    }
    for (size_t i = 0; i < json_array_size(list) && parse->err == ERR_OK; i++)
        one(parse, json_array_get(list, i), def);
}

static void parse_root(struct parse *parse, json_t *root, struct job_def *def)
{
    static const char *const keys[] = {"name", "query", "start", "inputs", "outputs", NULL};

    check_keys(parse, root, keys, "the job");
    if (parse->err != ERR_OK)
        return;
    def->name = copy_text(parse, root, "name");
    def->query = copy_text(parse, root, "query");
    if (def->name.data == NULL)
        fail(parse, "the job has no", "name");
    else if (def->name.len > JOB_NAME_MAX || slice_find_byte(def->name, '/', 0) != SIZE_MAX)
        fail(parse, "not a name for a job:", (const char *)def->name.data);
    if (def->query.data == NULL)
        fail(parse, "the job has no", "query");
    struct slice start = copy_text(parse, root, "start");
    if (slice_equal(start, SLICE_LIT("latest")))
        def->start = JOB_START_LATEST;
    else if (start.data != NULL && !slice_equal(start, SLICE_LIT("earliest")))
        fail(parse, "start is earliest or latest, not", (const char *)start.data);
    parse_list(parse, root, "inputs", def, parse_input);
    parse_list(parse, root, "outputs", def, parse_output);
}

enum err job_def_parse(struct slice json, struct arena *arena, struct job_def *ret_def,
                       struct err_info *info)
{
    struct parse parse = {arena, info, ERR_OK};
    json_error_t error;

    memset(ret_def, 0, sizeof(*ret_def));
    if (json.len > JOB_DEFINITION_MAX)
        return err_info_set(info, ERR_INVALID_CONFIG, "the definition is longer than %d bytes",
                            JOB_DEFINITION_MAX);
    json_t *root = json_loadb((const char *)json.data, json.len, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL)
        return err_info_set(info, ERR_INVALID_CONFIG, "the definition is no JSON: line %d: %s",
                            error.line, error.text);
    parse_root(&parse, root, ret_def);
    json_decref(root);
    return parse.err;
}

const struct job_input *job_def_input(struct job_def *def, struct slice name)
{
    for (uint32_t i = 0; i < def->input_count; i++) {
        if (slice_equal_nocase(def->inputs[i].name, name))
            return &def->inputs[i];
    }
    if (def->input_count == JOB_ENDS_MAX)
        return NULL;
    def->inputs[def->input_count] = (struct job_input){name, name};
    return &def->inputs[def->input_count++];
}

const struct job_output *job_def_output(struct job_def *def, struct slice name)
{
    for (uint32_t i = 0; i < def->output_count; i++) {
        if (slice_equal_nocase(def->outputs[i].name, name))
            return &def->outputs[i];
    }
    if (def->output_count == JOB_ENDS_MAX)
        return NULL;
    def->outputs[def->output_count] = (struct job_output){.name = name, .topic = name};
    return &def->outputs[def->output_count++];
}
