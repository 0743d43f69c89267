/* The parser: trees by their shape, messages by place and hint, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/parser.h"

static void print_expr(const struct sql_expr *expr, struct bytebuf *out)
{
    static const char *const names[] = {
        [SQL_EXPR_ADD] = "+",          [SQL_EXPR_SUB] = "-",     [SQL_EXPR_MUL] = "*",
        [SQL_EXPR_DIV] = "/",          [SQL_EXPR_MOD] = "%",     [SQL_EXPR_EQ] = "=",
        [SQL_EXPR_NE] = "<>",          [SQL_EXPR_LT] = "<",      [SQL_EXPR_GE] = ">=",
        [SQL_EXPR_AND] = "and",        [SQL_EXPR_OR] = "or",     [SQL_EXPR_NOT] = "not",
        [SQL_EXPR_LIKE] = "like",      [SQL_EXPR_IN] = "in",     [SQL_EXPR_BETWEEN] = "between",
        [SQL_EXPR_IS_NULL] = "isnull", [SQL_EXPR_CASE] = "case", [SQL_EXPR_CAST] = "cast",
        [SQL_EXPR_NEGATE] = "neg",     [SQL_EXPR_BIT_AND] = "&", [SQL_EXPR_BIT_NOT] = "~"};

    switch (expr->kind) {
    case SQL_EXPR_NULL:
        bytebuf_append_cstr(out, "null");
        return;
    case SQL_EXPR_INT:
        bytebuf_printf(out, "%lld", (long long)expr->int_value);
        return;
    case SQL_EXPR_FLOAT:
        bytebuf_printf(out, "%g", expr->float_value);
        return;
    case SQL_EXPR_TEXT:
        bytebuf_printf(out, "'%.*s'", SLICE_FMT(expr->text));
        return;
    case SQL_EXPR_PATH:
        for (uint32_t i = 0; i < expr->part_count; i++)
            bytebuf_printf(out, "%s%.*s", i ? "." : "", SLICE_FMT(expr->parts[i]));
        return;
    case SQL_EXPR_CALL:
        bytebuf_append_cstr(out, expr->function->name);
        break;
    default:
        bytebuf_printf(out, "%s%s", expr->negated ? "!" : "", names[expr->kind]);
        break;
    }
    bytebuf_append_byte(out, '(');
    for (uint32_t i = 0; i < expr->arg_count; i++) {
        if (i > 0)
            bytebuf_append_byte(out, ' ');
        print_expr(expr->args[i], out);
    }
    bytebuf_append_byte(out, ')');
}

static void expect_expr(const char *text, const char *want)
{
    struct arena *arena = arena_create(NULL, "test", 4 << 20);
    struct sql_report report;
    struct bytebuf out;

    sql_report_init(&report, arena, slice_cstr(text));
    struct sql_expr *expr = sql_parse_expression(slice_cstr(text), arena, &report);
    bytebuf_init(&out, 1 << 16);
    if (expr == NULL)
        sql_report_print(&report, "test", &out);
    else
        print_expr(expr, &out);
    bytebuf_append_byte(&out, 0);
    assert_string_equal((char *)out.data, want);
    bytebuf_deinit(&out);
    arena_destroy(arena);
}

static void test_precedence(void **state)
{
    expect_expr("a + b * c", "+(a *(b c))");
    expect_expr("a OR b AND NOT c = 1", "or(a and(b not(=(c 1))))");
    expect_expr("NOT a LIKE 'x'", "not(like(a 'x'))");
    expect_expr("a NOT LIKE 'x' AND b", "and(!like(a 'x') b)");
    expect_expr("a BETWEEN 1 AND 2 AND b", "and(between(a 1 2) b)");
    expect_expr("a !< 1", ">=(a 1)");
}

static void test_forms(void **state)
{
    expect_expr("-a.b.[c d] % 3", "%(neg(a.b.c d) 3)");
    expect_expr("x IN (1, 'two', NULL)", "in(x 1 'two' null)");
    expect_expr("x IS NOT NULL", "!isnull(x)");
    expect_expr("CASE a WHEN 1 THEN 'x' ELSE 'y' END", "case(a 1 'x' 'y')");
    expect_expr("case when a < 1 then .5 end", "case(<(a 1) 0.5)");
    expect_expr("TRY_CAST(a AS nvarchar(max))", "cast(a)");
    expect_expr("LEFT(a, 2) + 'it''s'", "+(LEFT(a 2) 'it's')");
    expect_expr("System.Timestamp", "System.Timestamp()");
    expect_expr("system.timestamp()", "System.Timestamp()");
    expect_expr("\"[my][Field]\"", "my.Field");
    expect_expr("DATEADD(hour, 1, t)", "DATEADD(7 1 t)");
    expect_expr("~a & 7", "&(~(a) 7)");
}

/* The whole report of a script; "" when it parses. */
static void expect_report(const char *script, const char *want)
{
    struct arena *arena = arena_create(NULL, "test", 4 << 20);
    struct sql_report report;
    struct bytebuf out;

    sql_report_init(&report, arena, slice_cstr(script));
    struct sql_script *tree = sql_parse(slice_cstr(script), arena, &report);
    bytebuf_init(&out, 1 << 16);
    sql_report_print(&report, "q", &out);
    bytebuf_append_byte(&out, 0);
    assert_string_equal((char *)out.data, want);
    assert_int_equal(tree == NULL, want[0] != '\0');
    bytebuf_deinit(&out);
    arena_destroy(arena);
}

static void test_scripts(void **state)
{
    expect_report("SELECT * FROM a", "");
    expect_report("WITH s AS (SELECT a FROM b) SELECT s.* INTO o FROM s SELECT 1 AS x FROM s", "");
    expect_report("SELECT a = 1, b AS 'q' FROM i TIMESTAMP BY t PARTITION BY p WHERE a > 1;", "");
    expect_report("CREATE TABLE i (a bigint, b nvarchar(max)) SELECT a FROM i", "");
    expect_report("SELECT a FROM x UNION ALL SELECT b FROM y", "");
    expect_report("-- a comment\nSELECT time, value, count /* all names */ FROM [in put] time", "");
}

static void test_messages(void **state)
{
    expect_report("SELECT UPER(a)\nFROM x", "q:1:8: error: unknown function 'UPER'\n"
                                            "  SELECT UPER(a)\n"
                                            "         ^~~~\n"
                                            "  hint: did you mean UPPER?\n");
    expect_report("SELECT a,\n  FROM x",
                  "q:2:3: error: an expression is expected here, not 'FROM'\n"
                  "    FROM x\n"
                  "    ^~~~\n");
    expect_report("SELECT COUNT(*) FROM x",
                  "q:1:8: error: the aggregate function COUNT is not supported yet\n"
                  "  SELECT COUNT(*) FROM x\n"
                  "         ^~~~~\n");
    expect_report("SELECT a FROM x JOIN y ON 1=1", "q:1:17: error: JOIN is not supported yet\n"
                                                   "  SELECT a FROM x JOIN y ON 1=1\n"
                                                   "                  ^~~~\n");
    expect_report("SELECT 'caf\xc3\xa9', 'b FROM x", "q:1:16: error: this text is not closed\n"
                                                     "  SELECT 'caf\xc3\xa9', 'b FROM x\n"
                                                     "                 ^\n");
    expect_report("SELECT 99999999999999999999 FROM x",
                  "q:1:8: error: the number does not fit into 64 bits\n"
                  "  SELECT 99999999999999999999 FROM x\n"
                  "         ^~~~~~~~~~~~~~~~~~~~\n");
    expect_report("", "q:1:1: error: the script has no SELECT statement\n  \n  ^\n");
}

/* The first message of each wrong script: place, text and hint. */
static void test_message_table(void **state)
{
    static const struct {
        const char *script;
        const char *want;
    } rows[] = {
        {"INSERT INTO x SELECT a FROM b",
         "1:1: INSERT is not part of the language; rows go to an output by SELECT ... INTO ... FROM"},
        {"SELECT a FROM b INTO c", "1:17: INTO stands before FROM; SELECT ... INTO output FROM input"},
        {"SELECT a FROM b WHERE a && b", "1:25: && is not part of the language; write AND"},
        {"SELECT a || b FROM b",
         "1:10: || is not part of the language; write OR, or + or CONCAT for texts"},
        {"SELECT a FROM b WHERE !a", "1:23: ! is not part of the language; write NOT"},
        {"SELECT a FROM b WHERE a => 1", "1:25: => is not part of the language; write >="},
        {"DECLARE @x bigint", "1:9: @ is not part of the language; the language has no variables"},
        {"SELECT `a` FROM b",
         "1:8: ` is not part of the language; names are quoted with [brackets]"},
        {"SELECT foo.bar(a) FROM b",
         "1:8: unknown function 'foo.bar'; the prefixes are System, udf and uda"},
        {"SELECT udf.f(a) FROM b", "1:8: the JavaScript function udf.f is not supported yet"},
        {"SELECT System.Window().Id FROM b", "1:8: System.Window() is not supported yet"},
        {"SELECT GETDATE() FROM b", "1:8: GETDATE is not part of the language; "
                                    "System.Timestamp() is the time of the row"},
        {"SELECT ISNULL(a, 1) FROM b",
         "1:8: ISNULL is not part of the language; use COALESCE, or IS NULL"},
        {"SELECT a FROM b WHERE a IN (SELECT c FROM d)",
         "1:28: subqueries in expressions are not part of the language; "
         "name it as a step in WITH"},
        {"SELECT UPPER(a).b FROM b",
         "1:16: a field can only be read from a name; "
         "name the value in a WITH step, or use GetRecordPropertyValue"},
        {"SELECT CASE END FROM b", "1:13: WHEN is expected here, not 'END'"},
        {"SELECT 1e999 FROM b", "1:8: the number is too large for a float"},
        {"SELECT [] FROM b", "1:8: this name is empty"},
        {"SELECT a AS \"\" FROM b", "1:13: this name is empty"},
        {"CREATE TABLE t (a bigint, b int)",
         "1:29: 'int' is not a type; "
         "the types are bigint, float, nvarchar(max), datetime, bit, record and array"},
        {"CREATE TABLE t (a bigint, A float)", "1:27: the table has a column 'A' already"},
        {"CREATE TABLE t (a bigint)\nCREATE TABLE T (a float)",
         "2:14: there is a table 'T' already, in line 1"},
        {"SELECT a INTO x FROM b\r\nUNION SELECT c INTO y FROM b",
         "2:16: INTO is not allowed in a step, a subquery or behind UNION; "
         "only the first SELECT of a statement has an output"},
        {"SELECT\xc2\xa0" "a,\xe3\x80\x80\r\n\xe8\x8c\xb6 AS AS FROM b",
         "2:6: a column name is expected here, not 'AS'; "
         "this word is reserved: put it in [brackets] to use it as a name"},
        {"SELECT a FROM b /* never", "1:17: this comment does not end; close it with */"},
        {"SELECT [a FROM b", "1:8: this name in brackets is not closed"},
        {"SELECT LEFT(a) FROM b", "1:8: LEFT takes 2 arguments, not 1"},
        {"SELECT CHARINDEX(a, b, c, d) FROM b", "1:8: CHARINDEX takes at most 3 arguments, not 4"},
        {"SELECT COALESCE() FROM b", "1:8: COALESCE takes at least 1 argument, not 0"},
        {"SELECT a FROM b FETCH NEXT 3", "1:17: FETCH is not part of the language"},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arena *arena = arena_create(NULL, "test", 4 << 20);
        struct sql_report report;
        char got[400];

        sql_report_init(&report, arena, slice_cstr(rows[i].script));
        assert_null(sql_parse(report.script, arena, &report));
        assert_non_null(report.first);
        snprintf(got, sizeof(got), "%u:%u: %s%s%s", report.first->span.line,
                 report.first->span.column, report.first->text,
                 report.first->hint != NULL ? "; " : "",
                 report.first->hint != NULL ? report.first->hint : "");
        assert_string_equal(got, rows[i].want);
        arena_destroy(arena);
    }
}

/* Of a long line the part around the place is shown; control characters are not. */
static void test_long_line(void **state)
{
    char script[400];
    char want[400];
    int len = snprintf(script, sizeof(script), "SELECT %0*d\x1b AS c, ", 150, 1);

    snprintf(script + len, sizeof(script) - (size_t)len, "FROM %0*d", 150, 2);
    snprintf(want, sizeof(want),
             "q:1:%d: error: unexpected character 0x1b\n"
             "  ...%0*d  AS c, FROM %0*d...\n"
             "     %*s^\n",
             158, 100, 1, 87, 0, 100, "");
    expect_report(script, want);
}

/* Errors of several statements in one run. */
static void test_recovery(void **state)
{
    expect_report("SELECT a b c FROM x\nSELECT DISTINCT a FROM y",
                  "q:1:12: error: FROM is expected here, not 'c'\n"
                  "  SELECT a b c FROM x\n"
                  "             ^\n"
                  "q:2:8: error: SELECT DISTINCT is not part of the language\n"
                  "  SELECT DISTINCT a FROM y\n"
                  "         ^~~~~~~~\n"
                  "  hint: group by the columns instead\n");
}

static void test_limits(void **state)
{
    struct arena *arena = arena_create(NULL, "test", 64 << 20);
    struct sql_report report;
    char *text = malloc(400000);
    size_t len = (size_t)snprintf(text, 100, "SELECT ");

    memset(text + len, '(', 100000);
    len += 100000;
    sql_report_init(&report, arena, slice_make(text, len));
    assert_null(sql_parse(report.script, arena, &report));
    len = (size_t)snprintf(text, 100, "SELECT 1");
    for (unsigned i = 0; i < 50000; i++)
        len += (size_t)snprintf(text + len, 10, "+1");
    len += (size_t)snprintf(text + len, 10, " FROM x");
    sql_report_init(&report, arena, slice_make(text, len));
    assert_null(sql_parse(report.script, arena, &report));
    assert_int_equal(report.errors, 1);
    free(text);
    arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_precedence), cmocka_unit_test(test_forms),
        cmocka_unit_test(test_scripts),    cmocka_unit_test(test_messages),
        cmocka_unit_test(test_recovery),   cmocka_unit_test(test_limits),
        cmocka_unit_test(test_long_line),  cmocka_unit_test(test_message_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
