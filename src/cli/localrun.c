/*
 * `weir localrun`: a query over local files, on the engine that jobs use.
 *
 * Each input is one or more files, JSON (objects one after another, or arrays of them) or CSV with
 * a header line. With TIMESTAMP BY anywhere in the query all events are ordered by time first;
 * without it files are read as a stream and all events have the time of the run's start. Every
 * output becomes DIR/<output>.json, one JSON object a line.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/datetime.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "codec/csv.h"
#include "codec/json_write.h"
#include "exec/query.h"
#include "plan/plan.h"

enum { CHUNK = 256 << 10, OUTPUT_BUFFER = 1 << 20, CSV_ROW_MAX = 16 << 20, FIELDS_MAX = 1024 };

/* 2000-01-01, the start of every run: the same input gives the same output. */
#define RUN_START_ISO "2000-01-01T00:00:00Z"

struct file {
    struct slice bytes; /* mapped, or made from CSV */
    void *mapping;
    size_t mapping_len;
    struct bytebuf converted;
};

struct output {
    FILE *stream;
    struct bytebuf buffer;
};

struct run {
    const char *query_path;
    const char *settings;
    const char *out_dir;
    struct arg_list inputs;
    struct arg_list references;
    bool explain;
    bool strict;
    struct plan_options options;

    struct arena *arena;
    struct sql_report report;
    struct file script;
    struct file *files; /* one for each item of inputs */
    size_t file_count;
    struct plan *plan;
    struct exec_query *query;
    struct output *outputs;
    struct progress progress;
    bool sorted;
    int64_t start; /* ticks since 0001-01-01 */
};

static int failed(const char *what, const char *path)
{
    fprintf(stderr, "weir: %s '%s': %s\n", what, path, strerror(errno));
    return 1;
}

static int file_map(struct file *file, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) != 0) {
        int status = failed("cannot open", path);
        if (fd >= 0)
            close(fd);
        return status;
    }
    if (st.st_size > 0) {
        file->mapping = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (file->mapping == MAP_FAILED) {
            file->mapping = NULL;
            close(fd);
            return failed("cannot read", path);
        }
        file->mapping_len = (size_t)st.st_size;
        (void)madvise(file->mapping, file->mapping_len, MADV_SEQUENTIAL);
    }
    close(fd);
    file->bytes = slice_make(file->mapping, file->mapping_len);
    if (slice_starts_with(file->bytes, SLICE_LIT("\xef\xbb\xbf")))
        file->bytes = slice_sub(file->bytes, 3, file->bytes.len);
    return 0;
}

static void file_close(struct file *file)
{
    if (file->mapping != NULL)
        munmap(file->mapping, file->mapping_len);
    bytebuf_deinit(&file->converted);
}

static void csv_row(struct bytebuf *out, const struct slice *names, size_t name_count,
                    const struct slice *fields, size_t count)
{
    bytebuf_append_byte(out, '{');
    for (size_t i = 0; i < count && i < name_count; i++) {
        if (i > 0)
            bytebuf_append_byte(out, ',');
        json_write_text(out, names[i]);
        bytebuf_append_byte(out, ':');
        json_write_text(out, fields[i]);
    }
    bytebuf_append_cstr(out, "}\n");
}

/* The header's names, each once: a row with one name twice could not be told apart. */
static bool csv_header(struct run *run, const char *path, const struct slice *fields, size_t count,
                       struct slice *names)
{
    for (size_t i = 0; i < count; i++) {
        names[i] = arena_copy(run->arena, slice_trim(fields[i]));
        for (size_t k = 0; k < i; k++) {
            if (!slice_equal(names[k], names[i]))
                continue;
            fprintf(stderr, "weir: %s:1: error: two columns have the name '%.*s'\n", path,
                    SLICE_FMT(names[i]));
            return false;
        }
    }
    return true;
}

/* Rows of a CSV file as JSON lines: every value is a string. */
static int file_from_csv(struct run *run, struct file *file, const char *path)
{
    struct csv_reader reader;
    struct slice in = file->bytes;
    struct slice fields[FIELDS_MAX];
    struct slice *names = ARENA_ARRAY(run->arena, struct slice, FIELDS_MAX);
    size_t name_count = 0;
    size_t count = 0;
    enum csv_result result;

    csv_reader_init(&reader, ',', CSV_ROW_MAX);
    while ((result = csv_reader_next(&reader, &in, true, fields, FIELDS_MAX, &count)) ==
           CSV_RECORD) {
        if (name_count > 0) {
            csv_row(&file->converted, names, name_count, fields, count);
            continue;
        }
        if (names == NULL || !csv_header(run, path, fields, count, names)) {
            csv_reader_deinit(&reader);
            return 1;
        }
        name_count = count;
    }
    if (result == CSV_BAD)
        fprintf(stderr, "weir: %s:%llu: %s\n", path, (unsigned long long)reader.line + 1,
                reader.reason);
    csv_reader_deinit(&reader);
    if (result == CSV_BAD || names == NULL || file->converted.failed)
        return 1;
    file->bytes = bytebuf_slice(&file->converted);
    return 0;
}

static bool has_suffix(const char *path, const char *suffix)
{
    size_t len = strlen(path);
    size_t n = strlen(suffix);
    return len >= n && slice_equal_nocase(slice_make(path + len - n, n), slice_cstr(suffix));
}

/* The part of NAME=FILE before and behind the sign. */
static struct slice input_name(const char *item)
{
    const char *equals = strchr(item, '=');
    return slice_make(item, equals == NULL ? 0 : (size_t)(equals - item));
}

static const char *input_path(const char *item)
{
    return strchr(item, '=') + 1;
}

static int load_files(struct run *run)
{
    run->files = ARENA_ARRAY(run->arena, struct file, run->inputs.count + 1);
    if (run->files == NULL)
        return 1;
    for (size_t i = 0; i < run->inputs.count; i++) {
        const char *path = input_path(run->inputs.items[i]);
        struct file *file = &run->files[i];
        bytebuf_init(&file->converted, (size_t)8 << 30);
        run->file_count++;
        if (file_map(file, path) != 0)
            return 1;
        if (has_suffix(path, ".csv") && file_from_csv(run, file, path) != 0)
            return 1;
    }
    return 0;
}

static int setting_error(const char *path, const char *key, const char *what)
{
    fprintf(stderr, "weir: %s: %s '%s'\n", path, what, key);
    return 2;
}

/* Settings that local runs know; the ordering policies are off in them. */
static int load_settings(struct run *run)
{
    static const char *const known[] = {"compatibilityLevel", "eventsLateArrivalMaxDelayInSeconds",
                                        "eventsOutOfOrderMaxDelayInSeconds",
                                        "eventsOutOfOrderPolicy"};
    json_error_t error;
    const char *key;
    json_t *value;

    if (run->settings == NULL)
        return 0;
    json_t *root = json_load_file(run->settings, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(root)) {
        fprintf(stderr, "weir: %s:%d:%d: %s\n", run->settings, root == NULL ? error.line : 1,
                root == NULL ? error.column : 1,
                root == NULL ? error.text : "an object is expected");
        json_decref(root);
        return 2;
    }
    int status = 0;
    json_object_foreach(root, key, value)
    {
        bool found = false;
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
            found |= strcmp(known[i], key) == 0;
        if (strcmp(key, "arrivalTimes") == 0)
            status = setting_error(run->settings, key, "not supported yet: setting");
        else if (!found)
            status = setting_error(run->settings, key, "unknown setting");
    }
    const char *level = json_string_value(json_object_get(root, "compatibilityLevel"));
    if (level != NULL && strcmp(level, "1.0") == 0)
        run->options.level = 10;
    else if (level != NULL && strcmp(level, "1.1") == 0)
        run->options.level = 11;
    else if (level != NULL && strcmp(level, "1.2") != 0)
        status = setting_error(run->settings, level, "the levels are 1.0, 1.1 and 1.2, not");
    json_decref(root);
    return status;
}

/* Every input of the query needs a file; an input that only a --reference names cannot be read
 * alone. */
static void check_inputs(struct run *run)
{
    for (uint32_t i = 0; i < run->plan->input_count; i++) {
        struct slice name = run->plan->inputs[i];
        bool found = false;
        bool reference = false;
        for (size_t k = 0; k < run->inputs.count; k++)
            found |= slice_equal_nocase(input_name(run->inputs.items[k]), name);
        for (size_t k = 0; k < run->references.count; k++)
            reference |= slice_equal_nocase(input_name(run->references.items[k]), name);
        if (found)
            continue;
        if (reference)
            sql_report_error(&run->report, run->plan->input_spans[i], NULL,
                             "a statement reads nothing but the reference data '%.*s'",
                             SLICE_FMT(name));
        else
            sql_report_error(&run->report, run->plan->input_spans[i],
                             "give its events with --input NAME=FILE", "unknown input '%.*s'",
                             SLICE_FMT(name));
    }
}

/* Outputs become files of their names. */
static void check_outputs(struct run *run)
{
    for (uint32_t i = 0; i < run->plan->output_count; i++) {
        struct slice name = run->plan->outputs[i];
        if (name.data[0] == '.' || slice_find_byte(name, '/', 0) != SIZE_MAX ||
            slice_find_byte(name, '\0', 0) != SIZE_MAX || name.len > 200)
            sql_report_error(&run->report, run->plan->output_spans[i], NULL,
                             "the output '%.*s' cannot be the name of a file", SLICE_FMT(name));
    }
}

static int compile(struct run *run)
{
    struct bytebuf text;

    if (file_map(&run->script, run->query_path) != 0)
        return 2;
    sql_report_init(&run->report, run->arena,
                    slice_make(run->script.mapping, run->script.mapping_len));
    run->plan = plan_compile(run->report.script, &run->options, run->arena, &run->report);
    if (run->plan != NULL) {
        check_inputs(run);
        check_outputs(run);
    }
    bytebuf_init(&text, 1 << 20);
    sql_report_print(&run->report, run->query_path, &text);
    if (run->plan != NULL && run->explain)
        plan_print(run->plan, &text);
    if (text.len > 0)
        fwrite(text.data, 1, text.len, stderr);
    bytebuf_deinit(&text);
    return run->plan == NULL || run->report.errors > 0 ? 2 : 0;
}

static enum err take_rows(void *ctx, const struct exec_rows *rows, struct err_info *info)
{
    struct run *run = ctx;
    struct output *output = &run->outputs[exec_rows_output(rows)];
    enum err err = exec_rows_json_lines(rows, &output->buffer, info);

    if (err == ERR_OK && output->buffer.len >= OUTPUT_BUFFER) {
        if (fwrite(output->buffer.data, 1, output->buffer.len, output->stream) !=
            output->buffer.len)
            err = err_info_set(info, err_from_errno(errno), "cannot write an output: %s",
                               strerror(errno));
        bytebuf_clear(&output->buffer);
    }
    return err;
}

static int open_outputs(struct run *run)
{
    if (mkdir(run->out_dir, 0777) != 0 && errno != EEXIST)
        return failed("cannot create", run->out_dir);
    run->outputs = ARENA_ARRAY(run->arena, struct output, run->plan->output_count + 1);
    if (run->outputs == NULL)
        return 1;
    for (uint32_t i = 0; i < run->plan->output_count; i++) {
        struct slice name = run->plan->outputs[i];
        char *path = arena_printf(run->arena, "%s/%.*s.json", run->out_dir, SLICE_FMT(name));
        if (path == NULL)
            return 1;
        bytebuf_init(&run->outputs[i].buffer, (size_t)1 << 30);
        run->outputs[i].stream = fopen(path, "we");
        if (run->outputs[i].stream == NULL)
            return failed("cannot write", path);
    }
    return 0;
}

static int close_outputs(struct run *run)
{
    int status = 0;

    for (uint32_t i = 0; run->outputs != NULL && i < run->plan->output_count; i++) {
        struct output *output = &run->outputs[i];
        if (output->stream == NULL)
            continue;
        if (output->buffer.len > 0)
            fwrite(output->buffer.data, 1, output->buffer.len, output->stream);
        bool bad = ferror(output->stream) != 0;
        if (fclose(output->stream) != 0 || bad)
            status = failed("cannot write an output in", run->out_dir);
        bytebuf_deinit(&output->buffer);
    }
    return status;
}

static enum err feed_file(struct run *run, uint32_t input, struct slice bytes,
                          struct err_info *info)
{
    size_t chunk = CHUNK;
    size_t at = 0;
    enum err err = ERR_OK;

    while (err == ERR_OK && at < bytes.len) {
        struct slice part = slice_sub(bytes, at, chunk);
        bool last = at + part.len == bytes.len;
        size_t used = 0;
        err = exec_query_feed(run->query, input, part, run->start, last, &used, info);
        chunk = used > 0 ? CHUNK : chunk * 2; /* an event longer than the chunk */
        at += used;
        if (last && err == ERR_OK)
            break;
        progress_update(&run->progress, exec_query_counts(run->query)->events);
    }
    return err;
}

static int run_query(struct run *run)
{
    struct err_info info = {.code = ERR_OK};
    struct exec_options options = {.level = run->strict ? JSON_LEVEL_STRICT : JSON_LEVEL_CHECKED,
                                   .sorted = run->sorted,
                                   .memory_max = (size_t)8 << 30,
                                   .rows = take_rows,
                                   .rows_ctx = run};
    enum err err = ERR_OK;

    run->query = exec_query_create(run->plan, &options, &info);
    if (run->query == NULL) {
        fprintf(stderr, "weir: %s\n", info.text);
        return 1;
    }
    for (uint32_t input = 0; input < run->plan->input_count; input++) {
        for (size_t i = 0; i < run->inputs.count && err == ERR_OK; i++) {
            if (slice_equal_nocase(input_name(run->inputs.items[i]), run->plan->inputs[input]))
                err = feed_file(run, input, run->files[i].bytes, &info);
        }
    }
    if (err == ERR_OK)
        err = exec_query_finish(run->query, &info);
    progress_end(&run->progress);
    const struct exec_counts *counts = exec_query_counts(run->query);
    if (err != ERR_OK)
        fprintf(stderr, "%s: runtime error: %s\n", run->query_path, info.text);
    if (counts->bad > 0)
        fprintf(stderr, "weir: events=%llu unreadable=%llu last=\"%s\"\n",
                (unsigned long long)counts->events, (unsigned long long)counts->bad,
                counts->bad_text);
    return err == ERR_OK ? 0 : 1;
}

static bool needs_order(const struct plan *plan)
{
    for (const struct plan_node *node = plan->nodes; node != NULL; node = node->next) {
        if (node->used && node->timestamp != NULL)
            return true;
    }
    return false;
}

static int run_all(struct run *run)
{
    int status = load_settings(run);
    int64_t start = 0;

    if (status == 0)
        status = compile(run);
    if (status == 0)
        status = load_files(run);
    if (status == 0)
        status = open_outputs(run);
    if (status == 0) {
        (void)datetime_read_iso(SLICE_LIT(RUN_START_ISO), &start);
        run->start = start - DATETIME_TICKS_MIN;
        run->sorted = needs_order(run->plan);
        progress_init(&run->progress, "events", 0);
        status = run_query(run);
    }
    if (run->plan != NULL) {
        int closed = close_outputs(run);
        status = status == 0 ? closed : status;
    }
    return status;
}

static bool pairs_valid(const struct arg_command *command, const struct arg_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (input_name(list->items[i]).len == 0) {
            args_wrong(command, "an input is written NAME=FILE, not '%s'", list->items[i]);
            return false;
        }
    }
    return true;
}

int cli_localrun(int argc, char **argv)
{
    struct run run = {.out_dir = NULL};
    const struct arg_option options[] = {
        {"input", 'i', ARG_LIST, &run.inputs, "NAME=FILE", "events of an input: .json or .csv",
         NULL, 0, 0},
        {"reference", 'r', ARG_LIST, &run.references, "NAME=FILE", "reference data", NULL, 0, 0},
        {"settings", 0, ARG_TEXT, &run.settings, "FILE", "job settings as JSON", NULL, 0, 0},
        {"out", 0, ARG_TEXT, &run.out_dir, "DIR", "where the outputs go", NULL, 0, 0},
        {"strict", 0, ARG_FLAG, &run.strict, NULL, "check every byte of every event", NULL, 0, 0},
        {"explain", 0, ARG_FLAG, &run.explain, NULL, "print the plan on stderr", NULL, 0, 0},
        {NULL, 0, ARG_FLAG, NULL, NULL, NULL, NULL, 0, 0}};
    const struct arg_command command = {
        "localrun",
        "QUERY.asaql",
        "run a Stream Analytics query over local files",
        "Each output of the query becomes DIR/<output>.json, one JSON object a line.\n"
        "Exit status: 0 done, 1 runtime error, 2 the query does not compile.",
        1,
        1,
        options};
    struct arg_operands operands;
    enum args_result parsed = args_parse(&command, argc, argv, &operands);

    if (parsed != ARGS_OK)
        return parsed == ARGS_DONE ? 0 : 2;
    if (run.out_dir == NULL)
        return args_wrong(&command, "--out is missing");
    if (!pairs_valid(&command, &run.inputs) || !pairs_valid(&command, &run.references))
        return 2;
    run.query_path = operands.items[0];
    run.arena = arena_create(NULL, "localrun", (size_t)1 << 30);
    if (run.arena == NULL)
        return 1;
    int status = run_all(&run);
    exec_query_destroy(run.query);
    for (size_t i = 0; i < run.file_count; i++)
        file_close(&run.files[i]);
    file_close(&run.script);
    arena_destroy(run.arena);
    return status;
}
