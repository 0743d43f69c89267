/*
 * `weir bench`: how fast the parts are on this machine, in one process and without a server where that is possible.
 *
 * `sql` runs a query over a file in memory several times and throws the rendered rows away: it measures the scanner,
 * the expressions and the writing of rows, not the disk.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytebuf.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "codec/json_index.h"
#include "exec/query.h"
#include "plan/plan.h"

enum { FEED_BYTES = 256 << 10, FILE_MAX = 1 << 30, ROUNDS_MAX = 1000 };

struct bench {
    struct bytebuf events;
    struct bytebuf out;
    struct plan *plan;
    uint64_t rows;
    uint64_t bytes;
};

static double clock_seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool read_file(const char *path, struct bytebuf *out)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (!file) {
        perror(path);
        return false;
    }
    for (;;) {
        uint8_t *room = bytebuf_reserve(out, 1 << 20);
        size_t got = room ? fread(room, 1, 1 << 20, file) : 0;
        if (got == 0)
            break;
        out->len += got;
    }
    bool ok = !ferror(file) && !out->failed;
    if (!ok)
        fprintf(stderr, "weir: '%s' cannot be read, or is larger than 1 GiB\n", path);
    if (file != stdin)
        fclose(file);
    return ok;
}

static enum err take_rows(void *ctx, const struct exec_rows *rows, struct err_info *info)
{
    struct bench *bench = ctx;
    bytebuf_clear(&bench->out);
    enum err err = exec_rows_json_lines(rows, &bench->out, info);
    bench->rows += exec_rows_count(rows);
    bench->bytes += bench->out.len;
    return err;
}

/* One pass over the events; the counts of the query that ran it. */
static enum err run_once(struct bench *bench, bool strict, struct exec_counts *ret_counts,
                         struct err_info *info)
{
    struct exec_options options = {.level = strict ? JSON_LEVEL_STRICT : JSON_LEVEL_CHECKED,
                                   .rows = take_rows,
                                   .rows_ctx = bench};
    struct exec_query *query = exec_query_create(bench->plan, &options, info);
    struct slice events = bytebuf_slice(&bench->events);
    enum err err = query ? ERR_OK : ERR_NO_MEMORY;
    size_t chunk = FEED_BYTES;
    bench->rows = bench->bytes = 0;
    for (size_t at = 0; err == ERR_OK && at < events.len;) {
        struct slice part = slice_sub(events, at, chunk);
        bool last = at + part.len == events.len;
        size_t used = 0;
        err = exec_query_feed(query, 0, part, 0, last, &used, info);
        chunk = used > 0 ? FEED_BYTES : chunk * 2;
        at = last ? events.len : at + used;
    }
    if (err == ERR_OK)
        err = exec_query_finish(query, info);
    if (query)
        *ret_counts = *exec_query_counts(query);
    exec_query_destroy(query);
    return err;
}

static int report(const char *format, const struct bench *bench, const struct exec_counts *counts,
                  double cpu, double wall)
{
    double events = (double)(counts->events + counts->bad);
    json_t *object =
        json_pack("{s:I,s:I,s:I,s:f,s:f,s:f,s:f,s:f,s:s}", "events", (json_int_t)counts->events,
                  "unreadable", (json_int_t)counts->bad, "rows", (json_int_t)bench->rows,
                  "cpu_seconds", cpu, "wall_seconds", wall, "events_per_cpu_second", events / cpu,
                  "ns_per_event", cpu / events * 1e9, "input_mb_per_cpu_second",
                  (double)bench->events.len / 1e6 / cpu, "kernel", json_index_kernel_name());
    int status = output_object(format, object);
    json_decref(object);
    return status;
}

static int run_rounds(struct bench *bench, int64_t rounds, bool strict, const char *format)
{
    struct err_info info = {0};
    struct exec_counts counts = {0};
    double cpu = 0;
    double wall = 0;
    for (int64_t round = 0; round < rounds; round++) {
        double cpu_start = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
        double wall_start = clock_seconds(CLOCK_MONOTONIC);
        if (run_once(bench, strict, &counts, &info) != ERR_OK) {
            fprintf(stderr, "weir: %s\n", info.text);
            return 1;
        }
        double used = clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_start;
        double passed = clock_seconds(CLOCK_MONOTONIC) - wall_start;
        if (round == 0 || used < cpu)
            cpu = used;
        if (round == 0 || passed < wall)
            wall = passed;
    }
    return report(format, bench, &counts, cpu, wall);
}

static int compile(struct bench *bench, const char *text, struct arena *arena)
{
    struct sql_report messages;
    struct bytebuf out;
    sql_report_init(&messages, arena, slice_cstr(text));
    bench->plan = plan_compile(messages.script, NULL, arena, &messages);
    bytebuf_init(&out, 1 << 20);
    sql_report_print(&messages, "query", &out);
    if (out.len > 0)
        fwrite(out.data, 1, out.len, stderr);
    bytebuf_deinit(&out);
    if (bench->plan && bench->plan->input_count != 1) {
        fprintf(stderr, "weir: the query must read one input\n");
        return 2;
    }
    return bench->plan ? 0 : 2;
}

static int bench_sql(int argc, char **argv)
{
    const char *format = "table";
    const char *query = "SELECT deviceId, value INTO o FROM t WHERE type = 'CO2' AND value > 45";
    int64_t rounds = 5;
    bool strict = false;
    const struct arg_option options[] = {
        {"query", 'q', ARG_TEXT, &query, "SQL", "the query (default: a filter over telemetry)",
         NULL, 0, 0},
        {"rounds", 'n', ARG_INT, &rounds, "N", "passes; the best one counts (default 5)", NULL, 1,
         ROUNDS_MAX},
        {"strict", 0, ARG_FLAG, &strict, NULL, "check every byte of every event", NULL, 0, 0},
        {"output", 'o', ARG_CHOICE, &format, NULL, "form of the output", OUTPUT_FORMATS, 0, 0},
        {NULL, 0, ARG_FLAG, NULL, NULL, NULL, NULL, 0, 0}};
    const struct arg_command command = {
        "bench sql",
        "FILE",
        "Runs a query over the JSON events of a file, in memory, on one core.",
        "example:\n"
        "  weir generate telemetry -n 1000000 | weir bench sql -\n",
        1,
        1,
        options};
    struct arg_operands operands;
    enum args_result parsed = args_parse(&command, argc, argv, &operands);
    if (parsed != ARGS_OK)
        return parsed == ARGS_DONE ? 0 : 2;
    struct bench bench = {.plan = NULL};
    struct arena *arena = arena_create(NULL, "bench", 64 << 20);
    bytebuf_init(&bench.events, FILE_MAX);
    bytebuf_init(&bench.out, FILE_MAX);
    int status = arena ? compile(&bench, query, arena) : 1;
    if (status == 0)
        status = read_file(operands.items[0], &bench.events) ? 0 : 1;
    if (status == 0)
        status = run_rounds(&bench, rounds, strict, format);
    bytebuf_deinit(&bench.events);
    bytebuf_deinit(&bench.out);
    arena_destroy(arena);
    return status;
}

int cli_bench(int argc, char **argv)
{
    static const struct cli_verb verbs[] = {
        {"produce", cli_bench_produce, "records into a topic"},
        {"consume", cli_bench_consume, "records out of a topic"},
        {"sql", bench_sql, "run a query over events in memory"},
        {NULL, NULL, NULL},
    };
    return cli_dispatch("bench", verbs, argc, argv);
}
