/* Queries over events in memory: rows as JSON lines and CSV, typed and variant columns, batches, runtime errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exec/query.h"

struct run {
    struct arena *arena;
    struct plan *plan;
    struct exec_query *query;
    struct bytebuf out;
    struct exec_csv *csv;
    struct err_info info;
    enum err err;
};

static enum err take(void *ctx, const struct exec_rows *rows, struct err_info *info)
{
    struct run *run = ctx;
    if (run->csv != NULL)
        return exec_rows_csv(rows, run->csv, &run->out, info);
    return exec_rows_json_lines(rows, &run->out, info);
}

static void run_query(struct run *run, const char *script, struct slice events, bool csv)
{
    struct sql_report report;
    struct exec_options options = {.rows = take, .rows_ctx = run};
    size_t used;

    memset(run, 0, sizeof(*run));
    run->arena = arena_create(NULL, "test", 64 << 20);
    bytebuf_init(&run->out, 64 << 20);
    run->csv = csv ? exec_csv_create(',') : NULL;
    sql_report_init(&report, run->arena, slice_cstr(script));
    run->plan = plan_compile(report.script, NULL, run->arena, &report);
    if (run->plan == NULL)
        fail_msg("%s", report.first->text);
    run->query = exec_query_create(run->plan, &options, &run->info);
    assert_non_null(run->query);
    run->err =
        exec_query_feed(run->query, 0, events, 621355968000000000LL, true, &used, &run->info);
    if (run->err == ERR_OK)
        run->err = exec_query_finish(run->query, &run->info);
    bytebuf_append_byte(&run->out, 0);
}

static void run_end(struct run *run)
{
    exec_query_destroy(run->query);
    exec_csv_destroy(run->csv);
    bytebuf_deinit(&run->out);
    arena_destroy(run->arena);
}

static void expect(const char *script, const char *events, const char *want)
{
    struct run run;
    run_query(&run, script, slice_cstr(events), false);
    if (run.err != ERR_OK)
        fail_msg("%s", run.info.text);
    assert_string_equal((char *)run.out.data, want);
    run_end(&run);
}

static void expect_error(const char *script, const char *events, const char *text)
{
    struct run run;
    run_query(&run, script, slice_cstr(events), false);
    assert_int_equal(run.err, ERR_SQL_RUNTIME);
    assert_string_equal(run.info.text, text);
    run_end(&run);
}

/* One expression over one event. */
static void expect_result(const char *expr, const char *event, const char *want)
{
    char script[600];
    char line[600];
    snprintf(script, sizeof(script), "SELECT %s AS v FROM i", expr);
    snprintf(line, sizeof(line), "{\"v\":%s}\n", want);
    expect(script, event, line);
}

static void test_filter(void **state)
{
    static const char events[] =
        "{\"t\":\"CO2\",\"v\":46}\n{\"t\":\"co2\",\"v\":45.5}\n"
        "{\"t\":\"O2\",\"v\":99}\n{\"v\":99}\n{\"t\":\"CO2\",\"v\":\"47\"}\n"
        "{\"t\":\"CO2\"}\n";
    expect("SELECT v FROM i WHERE t = 'CO2' AND v > 45", events,
           "{\"v\":46}\n{\"v\":45.5}\n{\"v\":\"47\"}\n");
    expect("SELECT v FROM i WHERE t <> 'CO2'", events, "{\"v\":99}\n");
    expect("SELECT v FROM i WHERE NOT t = 'CO2'", events, "{\"v\":99}\n{\"v\":99}\n");
    expect("SELECT v FROM i WHERE t = 'O2' OR v = 46", events, "{\"v\":46}\n{\"v\":99}\n");
    expect("SELECT v FROM i WHERE v BETWEEN 46 AND 47", events, "{\"v\":46}\n{\"v\":\"47\"}\n");
    expect("SELECT v FROM i WHERE v IS NULL", events, "{\"v\":null}\n");
    expect("SELECT v FROM i WHERE t IN ('o2', NULL)", events, "{\"v\":99}\n");
    expect("SELECT v FROM i WHERE t NOT IN ('o2')", events,
           "{\"v\":46}\n{\"v\":45.5}\n{\"v\":\"47\"}\n{\"v\":null}\n");
    expect("SELECT v FROM i WHERE t LIKE '[a-n]%2' AND v NOT LIKE 'x%' OR v = 99 AND t = 'O2'",
           "{\"t\":\"CO2\",\"v\":\"y\"}", "{\"v\":\"y\"}\n");
}

static void test_values(void **state)
{
    expect_result("a + 1", "{\"a\":41}", "42");
    expect_result("a + 1", "{\"a\":41.5}", "42.5");
    expect_result("a / 2", "{\"a\":7}", "3");
    expect_result("a % -1", "{\"a\":-9223372036854775808}", "0");
    expect_result("a + 1", "{\"a\":null}", "null");
    expect_result("a + 'x'", "{\"a\":\"y\"}", "\"yx\"");
    expect_result("a > 1", "{\"a\":2}", "true");
    expect_result("CASE WHEN a > 1 THEN 1 ELSE 2.5 END", "{\"a\":2}", "1.0");
    expect_result("CASE a WHEN 'x' THEN b WHEN 'y' THEN c END",
                  "{\"a\":\"y\",\"b\":1,\"c\":[1, 2]}", "[1,2]");
    expect_result("CAST(a AS bigint)", "{\"a\":\" 12 \"}", "12");
    expect_result("TRY_CAST(a AS bigint)", "{\"a\":\"x\"}", "null");
    expect_result("CAST(a AS datetime)", "{\"a\":\"2014-09-10T12:01:02.5+02:00\"}",
                  "\"2014-09-10T10:01:02.5000000Z\"");
    expect_result("ROUND(123.9995, 3)", "{}", "124.0");
    expect_result("UPPER(a)", "{\"a\":\"gr\\u00fc\\u00df\"}", "\"GR\xc3\x9c\xc3\x9f\"");
    expect_result("GetArrayElement(a, 1)", "{\"a\":[1,{\"b\":2}]}", "{\"b\":2}");
    expect_result("a.b.c", "{\"a\":{\"b\":{\"c\":\"x\\ny\"}}}", "\"x\\ny\"");
    expect_result("DATEDIFF(week, '2024-01-06', '2024-01-07')", "{}", "1");
    expect_result("System.Timestamp()", "{}", "\"1970-01-01T00:00:00.0000000Z\"");
}

static void test_star(void **state)
{
    expect("SELECT * FROM i", "{\"a\":1,\n \"b\" : [1,\n2]}", "{\"a\":1,\"b\":[1,2]}\n");
    expect("SELECT *, a + 1 AS a FROM i", "{\"z\":0,\"a\":1,\"b\":2}",
           "{\"z\":0,\"a\":2,\"b\":2}\n");
    expect("SELECT b AS a, * FROM i", "{\"a\":1,\"b\":2}", "{\"a\":2,\"b\":2}\n");
    expect("SELECT r.* FROM i", "{\"r\":{\"x\":1,\"y\":null}}", "{\"x\":1,\"y\":null}\n");
}

static void test_steps(void **state)
{
    expect("WITH s AS (SELECT a, b.c AS d FROM i WHERE a > 1), t AS (SELECT *, a * 2 AS e FROM s) "
           "SELECT e, d.x FROM t WHERE e < 7",
           "{\"a\":1}{\"a\":2,\"b\":{\"c\":{\"x\":5}}}{\"a\":3}{\"a\":4}",
           "{\"e\":4,\"x\":5}\n{\"e\":6,\"x\":null}\n");
    expect("WITH s AS (SELECT a FROM i UNION SELECT b AS x FROM i) SELECT a INTO o FROM s",
           "{\"a\":1,\"b\":2}", "{\"a\":1}\n{\"a\":2}\n");
}

/* More events than one batch, and a column whose type changes inside one. */
static void test_many(void **state)
{
    struct bytebuf events;
    struct run run;
    unsigned lines = 0;

    bytebuf_init(&events, 8 << 20);
    for (unsigned i = 0; i < 10000; i++)
        bytebuf_printf(&events, i % 7 == 3 ? "{\"n\":%u,\"v\":\"%u\"}\n" : "{\"n\":%u,\"v\":%u}\n",
                       i, i);
    run_query(&run, "SELECT n, v + 1 AS w FROM i WHERE v >= 5000", bytebuf_slice(&events), false);
    assert_int_equal(run.err, ERR_OK);
    for (const uint8_t *p = run.out.data; *p != 0; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 5000);
    assert_non_null(strstr((char *)run.out.data, "{\"n\":9999,\"w\":10000}\n"));
    assert_int_equal(exec_query_counts(run.query)->events, 10000);
    run_end(&run);
    bytebuf_deinit(&events);
}

static void test_errors(void **state)
{
    expect_error("SELECT CAST(a AS bigint) AS v FROM i", "{\"a\":\"x\"}",
                 "line 1, column 8: cannot cast a value of type 'nvarchar(max)' to type 'bigint'; "
                 "TRY_CAST gives NULL instead");
    expect_error("SELECT a / 0 AS v FROM i", "{\"a\":1}", "line 1, column 8: division by zero");
    expect_error("SELECT a + 1 AS v FROM i", "{\"a\":9223372036854775807}",
                 "line 1, column 8: bigint overflow in arithmetic");
    expect("SELECT 1 AS v FROM i WHERE a <> 0 AND 1 / a = 1", "{\"a\":0}{\"a\":1}", "{\"v\":1}\n");
    expect("SELECT CASE WHEN a = 0 THEN 0 ELSE 1 / a END AS v FROM i", "{\"a\":0}{\"a\":1}",
           "{\"v\":0}\n{\"v\":1}\n");
}

static void test_csv(void **state)
{
    struct run run;
    run_query(&run, "SELECT a, b, c AS \"x,y\" FROM i",
              SLICE_LIT("{\"a\":1,\"b\":\"p\\\"q\",\"c\":{}}{\"a\":2.50,\"c\":[]}"), true);
    assert_int_equal(run.err, ERR_OK);
    assert_string_equal((char *)run.out.data,
                        "a,b,\"x,y\"\r\n1,\"p\"\"q\",Record\r\n2.5,,Array\r\n");
    run_end(&run);
}

static void test_bad_events(void **state)
{
    struct run run;
    run_query(&run, "SELECT a FROM i", SLICE_LIT("{\"a\":1}\nnot json\n{\"a\":2}\n{\"a\":"), false);
    assert_int_equal(run.err, ERR_OK);
    assert_string_equal((char *)run.out.data, "{\"a\":1}\n{\"a\":2}\n");
    assert_int_equal(exec_query_counts(run.query)->bad, 2);
    assert_string_equal(exec_query_counts(run.query)->bad_text, "the event does not end");
    run_end(&run);
}

/* The scan reads what the outputs need, and the inner step's predicate joins the outer one's. */
static void test_plan(void **state)
{
    struct run run;
    run_query(&run,
              "WITH s AS (SELECT a, b, c.d AS e FROM i WHERE b = 1) SELECT e FROM s WHERE a = 2",
              SLICE_LIT(""), false);
    bytebuf_clear(&run.out);
    plan_print(run.plan, &run.out);
    bytebuf_append_byte(&run.out, 0);
    assert_string_equal((char *)run.out.data, "0: scan i [#0=.b, #1=.a, #2=.c.d]\n"
                                              "2: select from 0 where op22(op16(#0, 1), op16(#1, "
                                              "2)) [#0=#2]\n"
                                              "output output from 2: e=#0\n");
    run_end(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filter), cmocka_unit_test(test_values),
        cmocka_unit_test(test_star),   cmocka_unit_test(test_steps),
        cmocka_unit_test(test_many),   cmocka_unit_test(test_errors),
        cmocka_unit_test(test_csv),    cmocka_unit_test(test_bad_events),
        cmocka_unit_test(test_plan)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
