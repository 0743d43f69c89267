/*
 * The whole query engine: a script and events, divided by a NUL byte. Whatever compiles runs on whatever bytes, every
 * row prints, and what prints is JSON that the scanner takes back.
 */
#include "codec/json_scan.h"
#include "exec/query.h"
#include "fuzz.h"
#include "plan/plan.h"

enum { OUTPUT_MAX = 4 << 20 };

struct sink {
    struct bytebuf text;
    struct exec_csv *csv;
    uint64_t rows;
};

static enum err take_rows(void *ctx, const struct exec_rows *rows, struct err_info *info)
{
    struct sink *sink = ctx;
    sink->rows += exec_rows_count(rows);
    bytebuf_clear(&sink->text);
    enum err error = exec_rows_csv(rows, sink->csv, &sink->text, info);
    if (error != ERR_OK || sink->text.failed)
        return ERR_LIMIT;
    bytebuf_clear(&sink->text);
    error = exec_rows_json_lines(rows, &sink->text, info);
    return error != ERR_OK || sink->text.failed ? ERR_LIMIT : ERR_OK;
}

/* The lines written last, read back strictly. */
static void check_lines(struct slice text)
{
    struct arena *arena = arena_create(NULL, "check", 16 << 20);
    struct json_scan *scan = json_scan_create(arena, JSON_LEVEL_STRICT);
    FUZZ_CHECK(scan && json_scan_want(scan, NULL, 0) == 0 && json_scan_begin(scan, text));
    struct json_cell cell;
    const char *error = NULL;
    enum json_step step;
    while ((step = json_scan_next(scan, &cell, 1, &error)) == JSON_STEP_ROW)
        FUZZ_CHECK(cell.kind == JSON_KIND_OBJECT);
    FUZZ_CHECK(step == JSON_STEP_END);
    json_scan_destroy(scan);
    arena_destroy(arena);
}

static void run(const struct plan *plan, struct slice events, bool sorted, bool strict)
{
    struct sink sink = {.csv = exec_csv_create(',')};
    struct err_info info = {0};
    struct exec_options options = {.level = strict ? JSON_LEVEL_STRICT : JSON_LEVEL_CHECKED,
                                   .sorted = sorted,
                                   .memory_max = 256 << 20,
                                   .rows = take_rows,
                                   .rows_ctx = &sink};
    bytebuf_init(&sink.text, OUTPUT_MAX);
    struct exec_query *query = exec_query_create(plan, &options, &info);
    enum err error = query && sink.csv ? ERR_OK : ERR_NO_MEMORY;
    for (uint32_t input = 0; input < plan->input_count && error == ERR_OK; input++) {
        size_t used = 0;
        error =
            exec_query_feed(query, input, events, INT64_C(635000000000000000), true, &used, &info);
        FUZZ_CHECK(used <= events.len);
    }
    if (error == ERR_OK)
        error = exec_query_flush(query, &info);
    if (error == ERR_OK)
        error = exec_query_finish(query, &info);
    if (error == ERR_OK && sink.rows > 0)
        check_lines(bytebuf_slice(&sink.text));
    exec_query_destroy(query);
    exec_csv_destroy(sink.csv);
    bytebuf_deinit(&sink.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = slice_make(data, size);
    size_t cut = slice_find_byte(input, 0, 0);
    struct slice script = fuzz_copy(slice_sub(input, 0, cut == SIZE_MAX ? size : cut));
    struct slice events =
        fuzz_copy(cut == SIZE_MAX ? SLICE_LIT("") : slice_sub(input, cut + 1, SIZE_MAX));
    struct arena *arena = arena_create(NULL, "fuzz", 64 << 20);
    struct sql_report report;
    struct plan_options options = {.level = size % 3 == 0 ? 10 : 12};
    sql_report_init(&report, arena, script);
    struct plan *plan = plan_compile(script, &options, arena, &report);
    FUZZ_CHECK(plan || report.errors > 0 || arena_held(arena) > (32 << 20));
    if (plan) {
        struct bytebuf text;
        bytebuf_init(&text, 1 << 20);
        plan_print(plan, &text);
        bytebuf_deinit(&text);
        run(plan, events, false, true);
        run(plan, events, true, false);
    }
    arena_destroy(arena);
    fuzz_free(script);
    fuzz_free(events);
    return 0;
}
