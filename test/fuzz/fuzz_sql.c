/* The SQL front end: any text gives a tree or at least one message with a place inside the text,
 * and never more. */
#include "fuzz.h"
#include "sql/parser.h"
#include "sql/report.h"

static void check_messages(const struct sql_report *report, struct slice script)
{
    uint32_t count = 0;
    for (const struct sql_message *m = report->first; m; m = m->next, count++) {
        FUZZ_CHECK(m->text && m->text[0]);
        FUZZ_CHECK(m->span.offset <= script.len && m->span.line >= 1 && m->span.column >= 1);
    }
    FUZZ_CHECK(count <= SQL_MESSAGES_MAX);
    struct bytebuf out;
    bytebuf_init(&out, 1 << 20);
    sql_report_print(report, "fuzz.asaql", &out);
    bytebuf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice script = fuzz_copy(slice_make(data, size));
    struct arena *arena = arena_create(NULL, "fuzz", 64 << 20);
    struct sql_report report;
    sql_report_init(&report, arena, script);
    struct sql_script *tree = sql_parse(script, arena, &report);
    FUZZ_CHECK(tree || report.errors > 0 || arena_held(arena) > (32 << 20));
    check_messages(&report, script);
    sql_report_init(&report, arena, script);
    sql_parse_expression(script, arena, &report);
    check_messages(&report, script);
    arena_destroy(arena);
    fuzz_free(script);
    return 0;
}
