/*
 * Statements: recursive descent over the token array (see sql/parser.h).
 *
 * After an error the parser goes on at the next statement, so that one run reports the errors of
 * several.
 *
 * Invariants: (1) every loop moves the token position or ends; (2) a statement with an error leaves
 * nothing in the tree; (3) nesting of queries and brackets is bounded by SQL_NESTING_MAX, their
 * number by SQL_SELECTS_MAX.
 * Ownership: the tree lives in the caller's arena. Failure: reported, NULL.
 */
#include "sql/parser.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "sql/parser_int.h"

static bool token_is(const struct sql_token *token, const char *word)
{
    return token->kind == SQL_TOKEN_WORD && slice_equal_nocase(token->text, slice_cstr(word));
}

bool parser_word(const struct parser *parser, uint32_t ahead, const char *word)
{
    return token_is(parser_peek(parser, ahead), word);
}

bool parser_op(const struct parser *parser, uint32_t ahead, const char *op)
{
    const struct sql_token *token = parser_peek(parser, ahead);
    return token->kind == SQL_TOKEN_OP &&
           token->op == ((uint32_t)(uint8_t)op[0] | (uint32_t)(uint8_t)op[1] << 8);
}

bool parser_take_word(struct parser *parser, const char *word)
{
    if (!parser_word(parser, 0, word))
        return false;
    parser->at++;
    return true;
}

bool parser_take_op(struct parser *parser, const char *op)
{
    if (!parser_op(parser, 0, op))
        return false;
    parser->at++;
    return true;
}

struct slice parser_token_text(const struct parser *parser, const struct sql_token *token)
{
    if (token->kind == SQL_TOKEN_END)
        return SLICE_LIT("end of script");
    return slice_sub(parser->report->script, token->span.offset, token->span.len);
}

bool parser_error(struct parser *parser, const struct sql_token *token, const char *hint,
                  const char *format, ...)
{
    char text[400];
    va_list args;

    if (parser->failed)
        return false;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    sql_report_error(parser->report, token->span, hint, "%s", text);
    parser->failed = true;
    return false;
}

bool parser_not_yet(struct parser *parser, const char *construct)
{
    return parser_error(parser, parser_peek(parser, 0), NULL, "%s is not supported yet", construct);
}

bool parser_expect_word(struct parser *parser, const char *word)
{
    const struct sql_token *token = parser_peek(parser, 0);

    if (parser_take_word(parser, word))
        return true;
    return parser_error(parser, token, NULL, "%s is expected here, not '%.*s'", word,
                        SLICE_FMT(parser_token_text(parser, token)));
}

bool parser_expect_op(struct parser *parser, const char *op, const char *after)
{
    const struct sql_token *token = parser_peek(parser, 0);

    if (parser_take_op(parser, op))
        return true;
    return parser_error(parser, token, NULL, "'%s' is expected after %s, not '%.*s'", op, after,
                        SLICE_FMT(parser_token_text(parser, token)));
}

bool parser_reserved(const struct parser *parser, const struct sql_token *token)
{
    static const char *const words[] = {
        "SELECT", "INTO",  "FROM",    "WHERE",  "GROUP", "BY",   "HAVING",   "WITH",    "AS",
        "CASE",   "WHEN",  "THEN",    "ELSE",   "UNION", "JOIN", "INNER",    "LEFT",    "OUTER",
        "ON",     "CROSS", "APPLY",   "OVER",   "AND",   "OR",   "NOT",      "IN",      "IS",
        "NULL",   "LIKE",  "BETWEEN", "CREATE", "TABLE", "CAST", "TRY_CAST", "DISTINCT"};

    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (token_is(token, words[i]))
            return true;
    }
    return false;
}

bool parser_name(struct parser *parser, const char *what, struct slice *ret_name,
                 struct sql_span *ret_span)
{
    const struct sql_token *token = parser_peek(parser, 0);
    bool name = token->kind == SQL_TOKEN_BRACKET || token->kind == SQL_TOKEN_DOUBLE ||
                token->kind == SQL_TOKEN_TEXT ||
                (token->kind == SQL_TOKEN_WORD && !parser_reserved(parser, token));

    if (!name)
        return parser_error(parser, token,
                            token->kind == SQL_TOKEN_WORD
                                ? "this word is reserved: put it in [brackets] to use it as a name"
                                : NULL,
                            "%s is expected here, not '%.*s'", what,
                            SLICE_FMT(parser_token_text(parser, token)));
    if (token->text.len == 0)
        return parser_error(parser, token, NULL, "this name is empty");
    parser->at++;
    *ret_name = token->text;
    if (ret_span != NULL)
        *ret_span = token->span;
    return true;
}

struct sql_span parser_span(const struct parser *parser, struct sql_span from)
{
    struct sql_span last = from;
    if (parser->at > 0)
        last = parser->tokens[parser->at - 1].span;
    if (last.offset + last.len > from.offset)
        from.len = last.offset + last.len - from.offset;
    return from;
}

/* A name of an item or source without AS: a word that nothing else claims. */
static bool bare_alias(const struct parser *parser)
{
    static const char *const words[] = {"GO",     "TIMESTAMP", "PARTITION", "MATCH_RECOGNIZE",
                                        "LIMIT",  "ORDER",     "RIGHT",     "FULL",
                                        "EXCEPT", "INTERSECT", "OFFSET",
                                        "FETCH"};
    const struct sql_token *token = parser_peek(parser, 0);

    if (token->kind == SQL_TOKEN_BRACKET || token->kind == SQL_TOKEN_DOUBLE)
        return true;
    if (token->kind != SQL_TOKEN_WORD || parser_reserved(parser, token))
        return false;
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        const struct sql_token *next = parser_peek(parser, 1);
        bool claimed = i == 0 || i == 3 || token_is(next, "BY") || token_is(next, "JOIN") ||
                       token_is(next, "OUTER") || token_is(next, "SELECT") ||
                       token_is(next, "NEXT") || token_is(next, "FIRST") ||
                       next->kind == SQL_TOKEN_INT;
        if (token_is(token, words[i]) && claimed)
            return false;
    }
    return true;
}

static bool parse_item_star(struct parser *parser, struct sql_item *item)
{
    item->star = parser_take_op(parser, "*");
    return item->star;
}

static struct sql_item *parse_item(struct parser *parser)
{
    struct sql_item *item = ARENA_NEW(parser->arena, struct sql_item);
    struct sql_span from = parser_peek(parser, 0)->span;

    if (item == NULL) {
        parser_error(parser, parser_peek(parser, 0), NULL, "out of memory");
        return NULL;
    }
    const struct sql_token *first = parser_peek(parser, 0);
    bool name_first = first->kind == SQL_TOKEN_BRACKET || first->kind == SQL_TOKEN_DOUBLE ||
                      (first->kind == SQL_TOKEN_WORD && !parser_reserved(parser, first));
    if (name_first && parser_op(parser, 1, "=")) {
        if (!parser_name(parser, "a column name", &item->alias, NULL))
            return NULL;
        parser->at++;
    }
    if (!parse_item_star(parser, item)) {
        item->expr = parser_expression(parser);
        if (item->expr == NULL)
            return NULL;
        if (item->expr->kind == SQL_EXPR_PATH && parser_op(parser, 0, ".") &&
            parser_op(parser, 1, "*")) {
            parser->at += 2;
            item->star = true;
        }
    }
    item->span = parser_span(parser, from);
    if (item->star || item->alias.data != NULL)
        return item;
    if (parser_take_word(parser, "AS")) {
        if (!parser_name(parser, "a column name", &item->alias, NULL))
            return NULL;
    } else if (bare_alias(parser) || parser_peek(parser, 0)->kind == SQL_TOKEN_TEXT) {
        if (!parser_name(parser, "a column name", &item->alias, NULL))
            return NULL;
    }
    return item;
}

static bool parse_items(struct parser *parser, struct sql_select *select)
{
    struct sql_item **last = &select->items;
    uint32_t count = 0;

    do {
        struct sql_item *item = parse_item(parser);
        if (item == NULL)
            return false;
        if (++count > SQL_ARGS_MAX)
            return parser_error(parser, parser_peek(parser, 0), NULL,
                                "more than %d columns in one SELECT", SQL_ARGS_MAX);
        *last = item;
        last = &item->next;
    } while (parser_take_op(parser, ","));
    return true;
}

/* Skips keys of PARTITION BY: without windows it changes no result. */
static bool parse_partition_by(struct parser *parser)
{
    do {
        if (parser_expression(parser) == NULL)
            return false;
    } while (parser_take_op(parser, ","));
    if (parser_take_word(parser, "INTO")) {
        const struct sql_token *token = parser_peek(parser, 0);
        if (token->kind != SQL_TOKEN_INT)
            return parser_error(parser, token, NULL, "a number of partitions is expected here");
        parser->at++;
    }
    return true;
}

static bool parse_source_clauses(struct parser *parser, struct sql_select *select)
{
    for (;;) {
        if (parser_word(parser, 0, "TIMESTAMP") && parser_word(parser, 1, "BY")) {
            if (select->source.data == NULL)
                return parser_error(parser, parser_peek(parser, 0),
                                    "only inputs have a time of their own",
                                    "TIMESTAMP BY cannot follow a subquery");
            parser->at += 2;
            select->timestamp_by = parser_expression(parser);
            if (select->timestamp_by == NULL)
                return false;
            if (parser_word(parser, 0, "OVER"))
                return parser_not_yet(parser, "TIMESTAMP BY ... OVER");
        } else if (parser_word(parser, 0, "PARTITION") && parser_word(parser, 1, "BY")) {
            parser->at += 2;
            if (!parse_partition_by(parser))
                return false;
        } else if (select->alias.data == NULL && parser_take_word(parser, "AS")) {
            if (!parser_name(parser, "an alias", &select->alias, NULL))
                return false;
        } else if (select->alias.data == NULL && bare_alias(parser)) {
            if (!parser_name(parser, "an alias", &select->alias, NULL))
                return false;
        } else {
            return true;
        }
    }
}

static bool parse_source(struct parser *parser, struct sql_select *select)
{
    if (parser_take_op(parser, "(")) {
        select->derived = parser_query(parser, false);
        if (select->derived == NULL || !parser_expect_op(parser, ")", "the subquery"))
            return false;
    } else if (!parser_name(parser, "an input or step", &select->source, &select->source_span)) {
        return false;
    }
    return parse_source_clauses(parser, select);
}

/* The table function behind APPLY, up to its alias. */
static bool parse_apply(struct parser *parser, struct sql_apply *apply)
{
    const struct sql_token *name = parser_peek(parser, 0);

    apply->record = parser_word(parser, 0, "GetRecordProperties");
    if (!apply->record && !parser_word(parser, 0, "GetArrayElements"))
        return parser_error(parser, name, NULL,
                            "APPLY takes GetArrayElements or GetRecordProperties, not '%.*s'",
                            SLICE_FMT(parser_token_text(parser, name)));
    parser->at++;
    if (!parser_expect_op(parser, "(", "the function"))
        return false;
    apply->arg = parser_expression(parser);
    if (apply->arg == NULL || !parser_expect_op(parser, ")", "the argument"))
        return false;
    apply->span = parser_span(parser, name->span);
    (void)parser_take_word(parser, "AS");
    return parser_name(parser, "an alias", &apply->alias, NULL);
}

static bool parse_applies(struct parser *parser, struct sql_select *select)
{
    struct sql_apply **last = &select->applies;

    while ((parser_word(parser, 0, "CROSS") || parser_word(parser, 0, "OUTER")) &&
           parser_word(parser, 1, "APPLY")) {
        struct sql_apply *apply = ARENA_NEW(parser->arena, struct sql_apply);
        if (apply == NULL)
            return parser_error(parser, parser_peek(parser, 0), NULL, "out of memory");
        if (++parser->selects > SQL_SELECTS_MAX)
            return parser_error(parser, parser_peek(parser, 0), NULL,
                                "the script has more than %d SELECTs and APPLYs", SQL_SELECTS_MAX);
        apply->outer = parser_word(parser, 0, "OUTER");
        parser->at += 2;
        if (!parse_apply(parser, apply))
            return false;
        *last = apply;
        last = &apply->next;
    }
    return true;
}

/* Constructs behind FROM that are known and not executed, or known not to belong to the language.
 */
static bool refuse_after_source(struct parser *parser)
{
    static const struct {
        const char *first;
        const char *second;
        const char *text; /* NULL: not yet */
        const char *hint;
    } rows[] = {
        {"JOIN", NULL, NULL, NULL},
        {"INNER", NULL, NULL, NULL},
        {"LEFT", NULL, NULL, NULL},
        {"MATCH_RECOGNIZE", NULL, NULL, NULL},
        {"GROUP", NULL, NULL, NULL},
        {"CROSS", NULL, "CROSS JOIN is not part of the language", "JOIN needs a time bound in ON"},
        {"RIGHT", NULL, "RIGHT JOIN is not part of the language", "swap the sides of a LEFT JOIN"},
        {"FULL", NULL, "FULL JOIN is not part of the language", NULL},
        {"ORDER", "BY", "ORDER BY is not part of the language", "rows come in order of time"},
        {"LIMIT", NULL, "LIMIT is not part of the language", NULL},
        {"OFFSET", NULL, "OFFSET is not part of the language", NULL},
        {"EXCEPT", NULL, "EXCEPT is not part of the language", NULL},
        {"INTERSECT", NULL, "INTERSECT is not part of the language", NULL},
        {"FETCH", NULL, "FETCH is not part of the language", NULL},
        {"INTO", NULL, "INTO stands before FROM", "SELECT ... INTO output FROM input"},
    };
    static const char *const names[] = {
        "JOIN", "JOIN", "LEFT JOIN", "MATCH_RECOGNIZE", "GROUP BY"};

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!parser_word(parser, 0, rows[i].first) ||
            (rows[i].second != NULL && !parser_word(parser, 1, rows[i].second)))
            continue;
        if (rows[i].text == NULL)
            return parser_not_yet(parser, names[i]);
        return parser_error(parser, parser_peek(parser, 0), rows[i].hint, "%s", rows[i].text);
    }
    if (parser_op(parser, 0, ","))
        return parser_error(parser, parser_peek(parser, 0), "join inputs with JOIN ... ON",
                            "FROM takes one source");
    return true;
}

static bool parse_select_head(struct parser *parser, struct sql_select *select, bool allow_into)
{
    if (!parser_expect_word(parser, "SELECT"))
        return false;
    if (parser_word(parser, 0, "DISTINCT"))
        return parser_error(parser, parser_peek(parser, 0), "group by the columns instead",
                            "SELECT DISTINCT is not part of the language");
    if (parser_word(parser, 0, "TOP") &&
        (parser_peek(parser, 1)->kind == SQL_TOKEN_INT || parser_op(parser, 1, "(")))
        return parser_error(parser, parser_peek(parser, 0), NULL,
                            "TOP is not part of the language");
    if (!parse_items(parser, select))
        return false;
    const struct sql_token *into = parser_peek(parser, 0);
    if (parser_take_word(parser, "INTO")) {
        if (!allow_into)
            return parser_error(parser, into, "only the first SELECT of a statement has an output",
                                "INTO is not allowed in a step, a subquery or behind UNION");
        if (!parser_name(parser, "an output name", &select->into, &select->into_span))
            return false;
    }
    return true;
}

static struct sql_select *parse_core(struct parser *parser, bool allow_into)
{
    struct sql_select *select = ARENA_NEW(parser->arena, struct sql_select);
    struct sql_span from = parser_peek(parser, 0)->span;

    if (select == NULL) {
        parser_error(parser, parser_peek(parser, 0), NULL, "out of memory");
        return NULL;
    }
    if (++parser->selects > SQL_SELECTS_MAX) {
        parser_error(parser, parser_peek(parser, 0), NULL, "the script has more than %d SELECTs",
                     SQL_SELECTS_MAX);
        return NULL;
    }
    if (!parse_select_head(parser, select, allow_into))
        return NULL;
    if (!parser_expect_word(parser, "FROM") || !parse_source(parser, select) ||
        !parse_applies(parser, select) || !refuse_after_source(parser))
        return NULL;
    if (parser_take_word(parser, "WHERE")) {
        select->where = parser_expression(parser);
        if (select->where == NULL || !refuse_after_source(parser))
            return NULL;
    }
    if (parser_take_word(parser, "HAVING")) {
        select->having = parser_expression(parser);
        if (select->having == NULL || !refuse_after_source(parser))
            return NULL;
    }
    select->span = parser_span(parser, from);
    return select;
}

static struct sql_select *parse_branch(struct parser *parser, bool allow_into)
{
    struct sql_select *select;

    if (!parser_take_op(parser, "("))
        return parse_core(parser, allow_into);
    select = parser_query(parser, allow_into);
    if (select == NULL || !parser_expect_op(parser, ")", "the query"))
        return NULL;
    return select;
}

struct sql_select *parser_query(struct parser *parser, bool allow_into)
{
    struct sql_select *first = NULL;

    if (++parser->nesting > SQL_NESTING_MAX)
        parser_error(parser, parser_peek(parser, 0), NULL, "more than %d levels of nesting",
                     SQL_NESTING_MAX);
    else
        first = parse_branch(parser, allow_into);
    while (first != NULL && parser_take_word(parser, "UNION")) {
        struct sql_select *last = first;
        (void)parser_take_word(parser, "ALL");
        while (last->next != NULL)
            last = last->next;
        last->next = parse_branch(parser, false);
        if (last->next == NULL)
            first = NULL;
    }
    parser->nesting--;
    return first;
}

static bool parse_step(struct parser *parser, struct sql_script *script, uint32_t order)
{
    struct sql_step *step = ARENA_NEW(parser->arena, struct sql_step);
    struct sql_step **last = &script->steps;

    if (step == NULL)
        return parser_error(parser, parser_peek(parser, 0), NULL, "out of memory");
    if (!parser_name(parser, "a step name", &step->name, &step->span) ||
        !parser_expect_word(parser, "AS") || !parser_expect_op(parser, "(", "AS"))
        return false;
    step->query = parser_query(parser, false);
    if (step->query == NULL || !parser_expect_op(parser, ")", "the step"))
        return false;
    for (; *last != NULL; last = &(*last)->next) {
        if (slice_equal_nocase((*last)->name, step->name)) {
            sql_report_error(parser->report, step->span, NULL,
                             "there is a step '%.*s' already, in line %u", SLICE_FMT(step->name),
                             (*last)->span.line);
            parser->failed = true;
            return false;
        }
    }
    step->order = order;
    *last = step;
    return true;
}

static bool parse_table_column(struct parser *parser, struct sql_table *table,
                               struct sql_table_column ***last)
{
    struct sql_table_column *column = ARENA_NEW(parser->arena, struct sql_table_column);
    const struct sql_token *name = parser_peek(parser, 0);

    if (column == NULL)
        return parser_error(parser, name, NULL, "out of memory");
    if (!parser_name(parser, "a column name", &column->name, NULL))
        return false;
    for (const struct sql_table_column *c = table->columns; c != NULL; c = c->next) {
        if (slice_equal_nocase(c->name, column->name))
            return parser_error(parser, name, NULL, "the table has a column '%.*s' already",
                                SLICE_FMT(column->name));
    }
    const struct sql_token *word = parser_peek(parser, 0);
    if (word->kind != SQL_TOKEN_WORD || !sql_type_find(word->text, &column->type))
        return parser_error(parser, word, SQL_TYPES_HINT, "'%.*s' is not a type",
                            SLICE_FMT(parser_token_text(parser, word)));
    parser->at++;
    if (parser_take_op(parser, "(") &&
        (!parser_expect_word(parser, "max") || !parser_expect_op(parser, ")", "max")))
        return false;
    **last = column;
    *last = &column->next;
    return true;
}

static bool parse_create_table(struct parser *parser, struct sql_script *script)
{
    struct sql_table *table = ARENA_NEW(parser->arena, struct sql_table);
    struct sql_table_column **last = NULL;
    uint32_t count = 0;

    if (table == NULL)
        return parser_error(parser, parser_peek(parser, 0), NULL, "out of memory");
    parser->at++;
    if (!parser_expect_word(parser, "TABLE") ||
        !parser_name(parser, "a table name", &table->name, &table->span) ||
        !parser_expect_op(parser, "(", "the table name"))
        return false;
    for (const struct sql_table *t = script->tables; t != NULL; t = t->next) {
        if (slice_equal_nocase(t->name, table->name)) {
            parser->failed = true;
            sql_report_error(parser->report, table->span, NULL,
                             "there is a table '%.*s' already, in line %u", SLICE_FMT(table->name),
                             t->span.line);
            return false;
        }
    }
    last = &table->columns;
    do {
        if (++count > SQL_ARGS_MAX)
            return parser_error(parser, parser_peek(parser, 0), NULL,
                                "more than %d columns in one table", SQL_ARGS_MAX);
        if (!parse_table_column(parser, table, &last))
            return false;
    } while (parser_take_op(parser, ","));
    table->next = script->tables;
    script->tables = table;
    return parser_expect_op(parser, ")", "the columns");
}

/* A statement of SQL at large that this language has not got. */
static bool refuse_statement(struct parser *parser)
{
    static const char *const words[] = {
        "INSERT", "UPDATE", "DELETE", "MERGE", "DECLARE", "SET",   "EXEC",  "EXECUTE",
        "DROP",   "ALTER",  "USE",    "PRINT", "IF",      "BEGIN", "GRANT", "TRUNCATE"};
    const struct sql_token *token = parser_peek(parser, 0);

    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (token_is(token, words[i]))
            return parser_error(parser, token, "rows go to an output by SELECT ... INTO ... FROM",
                                "%s is not part of the language", words[i]);
    }
    return parser_error(parser, token, NULL,
                        "SELECT, WITH or CREATE TABLE is expected here, not '%.*s'",
                        SLICE_FMT(parser_token_text(parser, token)));
}

static bool parse_statement(struct parser *parser, struct sql_script *script, uint32_t order)
{
    struct sql_statement **last = &script->statements;
    struct sql_statement *statement;

    if (parser_word(parser, 0, "CREATE"))
        return parse_create_table(parser, script);
    if (parser_take_word(parser, "WITH")) {
        do {
            if (!parse_step(parser, script, order))
                return false;
        } while (parser_take_op(parser, ","));
        return true;
    }
    if (!parser_word(parser, 0, "SELECT") && !parser_op(parser, 0, "("))
        return refuse_statement(parser);
    statement = ARENA_NEW(parser->arena, struct sql_statement);
    if (statement == NULL)
        return parser_error(parser, parser_peek(parser, 0), NULL, "out of memory");
    statement->query = parser_query(parser, true);
    statement->order = order;
    if (statement->query == NULL)
        return false;
    while (*last != NULL)
        last = &(*last)->next;
    *last = statement;
    return true;
}

/* To the next token that begins a statement, so that its errors can be reported too. */
static void synchronize(struct parser *parser)
{
    while (parser_peek(parser, 0)->kind != SQL_TOKEN_END) {
        const struct sql_token *before = &parser->tokens[parser->at];
        parser->at++;
        if (before->kind == SQL_TOKEN_OP && before->op == ';')
            return;
        bool line_start = parser_peek(parser, 0)->span.line > before->span.line &&
                          parser_peek(parser, 0)->span.column == 1;
        if (line_start && (parser_word(parser, 0, "SELECT") || parser_word(parser, 0, "WITH") ||
                           parser_word(parser, 0, "CREATE")))
            return;
    }
}

static bool parser_open(struct parser *parser, struct slice text, struct arena *arena,
                        struct sql_report *report)
{
    *parser = (struct parser){.arena = arena, .report = report};
    parser->tokens = sql_lex(text, arena, report, &parser->count);
    ASSERT(parser->tokens == NULL || parser->count > 0);
    return parser->tokens != NULL;
}

struct sql_script *sql_parse(struct slice text, struct arena *arena, struct sql_report *report)
{
    struct sql_script *script = ARENA_NEW(arena, struct sql_script);
    struct parser parser;
    uint32_t order = 0;

    if (script == NULL || !parser_open(&parser, text, arena, report))
        return NULL;
    while (parser_peek(&parser, 0)->kind != SQL_TOKEN_END) {
        if (parser_take_op(&parser, ";") || parser_take_word(&parser, "GO"))
            continue;
        parser.nesting = 0;
        if (!parse_statement(&parser, script, order++)) {
            ASSERT(report->errors > 0);
            if (parser.selects > SQL_SELECTS_MAX)
                return NULL;
            parser.failed = false;
            synchronize(&parser);
        }
    }
    if (report->errors == 0 && script->statements == NULL)
        sql_report_error(report, parser_peek(&parser, 0)->span, NULL,
                         "the script has no SELECT statement");
    return report->errors == 0 ? script : NULL;
}

struct sql_expr *sql_parse_expression(struct slice text, struct arena *arena,
                                      struct sql_report *report)
{
    struct parser parser;
    struct sql_expr *expr;

    if (!parser_open(&parser, text, arena, report))
        return NULL;
    expr = parser_expression(&parser);
    if (expr != NULL && parser_peek(&parser, 0)->kind != SQL_TOKEN_END)
        parser_error(&parser, parser_peek(&parser, 0), NULL, "nothing is expected here");
    return report->errors == 0 ? expr : NULL;
}
