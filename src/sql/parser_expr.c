/*
 * Expressions: recursive descent by precedence, low to high
 *
 *   OR · AND · NOT · comparisons and predicates · + - & ^ | · * / % · unary - + ~ · primary
 *
 * Invariants: (1) recursion is bounded by SQL_NESTING_MAX brackets, and the height of a tree by
 * SQL_HEIGHT_MAX, so no later walk can run out of stack; (2) NULL is returned only after an error
 * was reported. Ownership: nodes live in the parse's arena.
 */
#include "sql/parser_int.h"

#include <stdio.h>

#include "base/assert.h"

static struct sql_expr *expr_new(struct parser *parser, enum sql_expr_kind kind,
                                 struct sql_span from)
{
    struct sql_expr *expr = ARENA_NEW(parser->arena, struct sql_expr);
    if (expr == NULL) {
        parser_error(parser, parser_peek(parser, 0), NULL, "out of memory");
        return NULL;
    }
    expr->kind = kind;
    expr->span = parser_span(parser, from);
    expr->height = 1;
    return expr;
}

/* A growing argument list, copied into the node at the end. */
struct arg_list {
    struct sql_expr *args[SQL_ARGS_MAX];
    uint32_t count;
};

static bool args_set(struct parser *parser, struct sql_expr *expr, struct sql_expr *const *args,
                     uint32_t count)
{
    expr->args = ARENA_ARRAY(parser->arena, struct sql_expr *, count + 1);
    if (expr->args == NULL)
        return parser_error(parser, parser_peek(parser, 0), NULL, "out of memory");
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(args[i] != NULL);
        expr->args[i] = args[i];
        if (args[i]->height >= expr->height)
            expr->height = args[i]->height + 1;
    }
    expr->arg_count = count;
    if (expr->height > SQL_HEIGHT_MAX)
        return parser_error(parser, parser_peek(parser, 0), "compute parts of it in a WITH step",
                            "the expression has more than %d levels", SQL_HEIGHT_MAX);
    return true;
}

static struct sql_expr *expr_of(struct parser *parser, enum sql_expr_kind kind,
                                struct sql_span from, struct sql_expr *a, struct sql_expr *b,
                                struct sql_expr *c)
{
    struct sql_expr *args[3] = {a, b, c};
    uint32_t count = c != NULL ? 3 : b != NULL ? 2 : 1;
    struct sql_expr *expr = expr_new(parser, kind, from);

    if (expr == NULL || !args_set(parser, expr, args, count))
        return NULL;
    return expr;
}

static bool arg_list_add(struct parser *parser, struct arg_list *list, struct sql_expr *arg)
{
    if (arg == NULL)
        return false;
    if (list->count == SQL_ARGS_MAX)
        return parser_error(parser, parser_peek(parser, 0), NULL, "more than %d arguments",
                            SQL_ARGS_MAX);
    list->args[list->count++] = arg;
    return true;
}

/* expr {, expr} ) */
static bool arg_list_parse(struct parser *parser, struct arg_list *list, const char *after)
{
    do {
        if (!arg_list_add(parser, list, parser_expression(parser)))
            return false;
    } while (parser_take_op(parser, ","));
    return parser_expect_op(parser, ")", after);
}

static struct sql_expr *parse_cast(struct parser *parser, bool try_cast)
{
    struct sql_span from = parser_peek(parser, 0)->span;
    enum sql_type type;

    parser->at += 2;
    struct sql_expr *value = parser_expression(parser);
    if (value == NULL || !parser_expect_word(parser, "AS"))
        return NULL;
    const struct sql_token *word = parser_peek(parser, 0);
    if (word->kind != SQL_TOKEN_WORD || !sql_type_find(word->text, &type)) {
        parser_error(parser, word, SQL_TYPES_HINT, "'%.*s' is not a type", SLICE_FMT(parser_token_text(parser, word)));
        return NULL;
    }
    parser->at++;
    if (type == SQL_TEXT && parser_take_op(parser, "(")) {
        const struct sql_token *len = parser_peek(parser, 0);
        if (!parser_take_word(parser, "max")) {
            parser_error(parser, len, "write nvarchar(max)", "only the length max is supported");
            return NULL;
        }
        if (!parser_expect_op(parser, ")", "max"))
            return NULL;
    }
    if (!parser_expect_op(parser, ")", "the type"))
        return NULL;
    struct sql_expr *expr = expr_of(parser, SQL_EXPR_CAST, from, value, NULL, NULL);
    if (expr != NULL) {
        expr->type = type;
        expr->try_cast = try_cast;
    }
    return expr;
}

static bool case_branches(struct parser *parser, struct arg_list *list, bool *ret_else)
{
    if (!parser_word(parser, 0, "WHEN"))
        return parser_expect_word(parser, "WHEN");
    while (parser_take_word(parser, "WHEN")) {
        if (!arg_list_add(parser, list, parser_expression(parser)) ||
            !parser_expect_word(parser, "THEN") ||
            !arg_list_add(parser, list, parser_expression(parser)))
            return false;
    }
    *ret_else = parser_take_word(parser, "ELSE");
    if (*ret_else && !arg_list_add(parser, list, parser_expression(parser)))
        return false;
    return parser_expect_word(parser, "END");
}

static struct sql_expr *parse_case(struct parser *parser)
{
    struct sql_span from = parser_peek(parser, 0)->span;
    struct arg_list list = {.count = 0};
    bool has_else = false;

    parser->at++;
    bool has_operand = !parser_word(parser, 0, "WHEN") && !parser_word(parser, 0, "END");
    if (has_operand && !arg_list_add(parser, &list, parser_expression(parser)))
        return NULL;
    if (!case_branches(parser, &list, &has_else))
        return NULL;
    struct sql_expr *expr = expr_new(parser, SQL_EXPR_CASE, from);
    if (expr == NULL || !args_set(parser, expr, list.args, list.count))
        return NULL;
    expr->has_operand = has_operand;
    expr->has_else = has_else;
    return expr;
}

static bool unit_argument(struct parser *parser, struct arg_list *list)
{
    const struct sql_token *word = parser_peek(parser, 0);
    enum sql_unit unit;

    if ((word->kind != SQL_TOKEN_WORD && word->kind != SQL_TOKEN_TEXT) ||
        !sql_unit_find(word->text, &unit))
        return parser_error(parser, word,
                            "units are year, quarter, month, dayofyear, day, week, "
                            "weekday, hour, minute, second, millisecond, microsecond",
                            "'%.*s' is not a unit of time",
                            SLICE_FMT(parser_token_text(parser, word)));
    parser->at++;
    struct sql_expr *expr = expr_new(parser, SQL_EXPR_INT, word->span);
    if (expr == NULL)
        return false;
    expr->int_value = unit;
    if (!arg_list_add(parser, list, expr))
        return false;
    return parser_op(parser, 0, ")") || parser_expect_op(parser, ",", "the unit");
}

static bool call_check(struct parser *parser, const struct sql_token *name,
                       const struct sql_function *function, uint32_t count)
{
    if (function->id == SQL_FN_NOT_YET)
        return parser_error(parser, name, NULL, "%s %s is not supported yet", function->construct,
                            function->name);
    if (count >= function->args_min && count <= function->args_max)
        return true;
    if (function->args_min == function->args_max)
        return parser_error(parser, name, NULL, "%s takes %u argument%s, not %u", function->name,
                            function->args_min, function->args_min == 1 ? "" : "s", count);
    if (count > function->args_max)
        return parser_error(parser, name, NULL, "%s takes at most %u arguments, not %u",
                            function->name, function->args_max, count);
    return parser_error(parser, name, NULL, "%s takes at least %u argument%s, not %u",
                        function->name, function->args_min, function->args_min == 1 ? "" : "s",
                        count);
}

/* A name before a bracket that is no function: what it is, or what is near. */
static struct sql_expr *refuse_call(struct parser *parser, const struct sql_token *name)
{
    const char *instead = sql_function_foreign(name->text);
    const char *near = sql_function_nearest(name->text);
    char hint[64];

    snprintf(hint, sizeof(hint), "did you mean %s?", near != NULL ? near : "");
    if (slice_equal_nocase(name->text, SLICE_LIT("GetArrayElements")) ||
        slice_equal_nocase(name->text, SLICE_LIT("GetRecordProperties")))
        parser_error(parser, name, "FROM input CROSS APPLY function(column) AS e",
                     "%.*s gives rows, not a value", SLICE_FMT(name->text));
    else if (instead != NULL)
        parser_error(parser, name, instead[0] != '\0' ? instead : NULL,
                     "%.*s is not part of the language", SLICE_FMT(name->text));
    else
        parser_error(parser, name, near != NULL ? hint : NULL, "unknown function '%.*s'",
                     SLICE_FMT(name->text));
    return NULL;
}

/* Only names have fields behind a dot. */
static bool refuse_field(struct parser *parser)
{
    if (!parser_op(parser, 0, ".") || parser_op(parser, 1, "*"))
        return true;
    return parser_error(parser, parser_peek(parser, 0),
                        "name the value in a WITH step, or use GetRecordPropertyValue",
                        "a field can only be read from a name");
}

static struct sql_expr *parse_call(struct parser *parser)
{
    const struct sql_token *name = parser_peek(parser, 0);
    const struct sql_function *function = sql_function_find(name->text);
    struct arg_list list = {.count = 0};

    if (function == NULL)
        return refuse_call(parser, name);
    if (function->id == SQL_FN_NOT_YET && !call_check(parser, name, function, 0))
        return NULL;
    parser->at += 2;
    if (function->unit_first && !unit_argument(parser, &list))
        return NULL;
    if (!parser_take_op(parser, ")") && !arg_list_parse(parser, &list, "the arguments"))
        return NULL;
    if (!call_check(parser, name, function, list.count))
        return NULL;
    if (parser_word(parser, 0, "OVER")) {
        parser_not_yet(parser, "OVER");
        return NULL;
    }
    if (function->id == SQL_FN_GETRECORDPROPERTYVALUE && list.args[1]->double_quoted)
        list.args[1]->kind = SQL_EXPR_TEXT; /* "[a][b]" is the text of a path here */
    struct sql_expr *expr = expr_new(parser, SQL_EXPR_CALL, name->span);
    if (expr == NULL || !args_set(parser, expr, list.args, list.count) || !refuse_field(parser))
        return NULL;
    expr->function = function;
    return expr;
}

/* System.Timestamp, with or without brackets; System.Window; udf.name(...). Current token is the
 * prefix. */
static struct sql_expr *parse_prefixed(struct parser *parser)
{
    const struct sql_token *prefix = parser_peek(parser, 0);
    const struct sql_token *name = parser_peek(parser, 2);

    if (slice_equal_nocase(prefix->text, SLICE_LIT("udf")) ||
        slice_equal_nocase(prefix->text, SLICE_LIT("uda"))) {
        parser_error(parser, prefix, NULL, "the JavaScript function %.*s.%.*s is not supported yet",
                     SLICE_FMT(prefix->text), SLICE_FMT(name->text));
        return NULL;
    }
    if (slice_equal_nocase(prefix->text, SLICE_LIT("System")) &&
        slice_equal_nocase(name->text, SLICE_LIT("Window"))) {
        parser_error(parser, prefix, NULL, "System.Window() is not supported yet");
        return NULL;
    }
    if (!slice_equal_nocase(prefix->text, SLICE_LIT("System")) ||
        !slice_equal_nocase(name->text, SLICE_LIT("Timestamp"))) {
        parser_error(parser, prefix, "the prefixes are System, udf and uda",
                     "unknown function '%.*s.%.*s'", SLICE_FMT(prefix->text), SLICE_FMT(name->text));
        return NULL;
    }
    parser->at += 3;
    if (parser_take_op(parser, "(") && !parser_expect_op(parser, ")", "System.Timestamp("))
        return NULL;
    struct sql_expr *expr = expr_new(parser, SQL_EXPR_CALL, prefix->span);
    if (expr == NULL || !refuse_field(parser))
        return NULL;
    expr->function = sql_function_find(SLICE_LIT("System.Timestamp"));
    ASSERT(expr->function != NULL);
    return expr;
}

static bool is_prefixed(const struct parser *parser)
{
    const struct sql_token *word = parser_peek(parser, 0);
    const struct sql_token *name = parser_peek(parser, 2);

    if (!parser_op(parser, 1, ".") || name->kind != SQL_TOKEN_WORD)
        return false;
    if (slice_equal_nocase(word->text, SLICE_LIT("System")))
        return slice_equal_nocase(name->text, SLICE_LIT("Timestamp")) || parser_op(parser, 3, "(");
    return parser_op(parser, 3, "(");
}

/* Splits the parts of "[a][b]" written inside double quotes; count 0: not of that form. */
static uint32_t bracket_path(struct slice text, struct slice parts[], uint32_t max)
{
    uint32_t count = 0;
    size_t at = 0;

    while (at < text.len) {
        size_t end = slice_find_byte(text, ']', at);
        if (text.data[at] != '[' || end == SIZE_MAX || count == max)
            return 0;
        parts[count++] = slice_sub(text, at + 1, end - at - 1);
        at = end + 1;
        if (at < text.len && text.data[at] == '.')
            at++;
    }
    return count;
}

/* name {. name}: stops before ".*", which the select list takes. */
static struct sql_expr *parse_path(struct parser *parser)
{
    struct sql_span from = parser_peek(parser, 0)->span;
    struct slice parts[64];
    uint32_t count = 0;

    for (;;) {
        const struct sql_token *token = parser_peek(parser, 0);
        uint32_t split = 0;
        if (token->kind != SQL_TOKEN_WORD && token->kind != SQL_TOKEN_BRACKET &&
            token->kind != SQL_TOKEN_DOUBLE) {
            parser_error(parser, token, NULL, "a name is expected after the dot, not '%.*s'",
                         SLICE_FMT(parser_token_text(parser, token)));
            return NULL;
        }
        if (count >= 32) {
            parser_error(parser, token, NULL, "a path has at most 32 parts");
            return NULL;
        }
        if (token->kind == SQL_TOKEN_DOUBLE)
            split = bracket_path(token->text, parts + count, 32 - count);
        if (split == 0)
            parts[count] = token->text;
        count += split == 0 ? 1 : split;
        parser->at++;
        if (!parser_op(parser, 0, ".") || parser_op(parser, 1, "*"))
            break;
        parser->at++;
    }
    struct sql_expr *expr = expr_new(parser, SQL_EXPR_PATH, from);
    if (expr == NULL)
        return NULL;
    expr->parts = ARENA_ARRAY(parser->arena, struct slice, count);
    if (expr->parts == NULL) {
        parser_error(parser, parser_peek(parser, 0), NULL, "out of memory");
        return NULL;
    }
    memcpy(expr->parts, parts, count * sizeof(parts[0]));
    expr->part_count = count;
    return expr;
}

static struct sql_expr *parse_literal(struct parser *parser)
{
    const struct sql_token *token = parser_peek(parser, 0);
    enum sql_expr_kind kind = token->kind == SQL_TOKEN_INT     ? SQL_EXPR_INT
                              : token->kind == SQL_TOKEN_FLOAT ? SQL_EXPR_FLOAT
                                                               : SQL_EXPR_TEXT;
    parser->at++;
    struct sql_expr *expr = expr_new(parser, kind, token->span);
    if (expr != NULL) {
        expr->int_value = token->int_value;
        expr->float_value = token->float_value;
        expr->text = token->text;
        expr->double_quoted = token->kind == SQL_TOKEN_DOUBLE;
    }
    return expr;
}

/* (SELECT ... where an expression should be. The current token is the bracket. */
static bool refuse_subquery(struct parser *parser)
{
    if (!parser_op(parser, 0, "(") || !parser_word(parser, 1, "SELECT"))
        return true;
    return parser_error(parser, parser_peek(parser, 0), "name it as a step in WITH",
                        "subqueries in expressions are not part of the language");
}

static struct sql_expr *parse_brackets(struct parser *parser)
{
    if (!refuse_subquery(parser))
        return NULL;
    parser->at++;
    struct sql_expr *expr = parser_expression(parser);
    if (expr == NULL || !parser_expect_op(parser, ")", "the expression in brackets") ||
        !refuse_field(parser))
        return NULL;
    return expr;
}

/* The text decides: "[a][b]" is a path of escaped parts, and what a dot follows is a name. */
static struct sql_expr *parse_double(struct parser *parser)
{
    const struct sql_token *token = parser_peek(parser, 0);
    struct slice parts[32];
    bool alone = !parser_op(parser, 1, ".");

    if (bracket_path(token->text, parts, 32) == 0 && alone)
        return parse_literal(parser);
    struct sql_expr *expr = parse_path(parser);
    if (expr != NULL && alone) {
        expr->double_quoted = true;
        expr->text = token->text;
    }
    return expr;
}

static struct sql_expr *parse_primary(struct parser *parser)
{
    const struct sql_token *token = parser_peek(parser, 0);

    switch (token->kind) {
    case SQL_TOKEN_INT:
    case SQL_TOKEN_FLOAT:
    case SQL_TOKEN_TEXT:
        return parse_literal(parser);
    case SQL_TOKEN_BIG:
        parser_error(parser, token, NULL, "the number does not fit into 64 bits");
        return NULL;
    case SQL_TOKEN_DOUBLE:
        return parse_double(parser);
    case SQL_TOKEN_BRACKET:
        return parse_path(parser);
    case SQL_TOKEN_OP:
        if (token->op == '(')
            return parse_brackets(parser);
        break;
    case SQL_TOKEN_WORD:
        if (parser_op(parser, 1, "(") &&
            (parser_word(parser, 0, "CAST") || parser_word(parser, 0, "TRY_CAST")))
            return parse_cast(parser, parser_word(parser, 0, "TRY_CAST"));
        if (parser_word(parser, 0, "CASE"))
            return parse_case(parser);
        if (parser_take_word(parser, "NULL"))
            return expr_new(parser, SQL_EXPR_NULL, token->span);
        if (parser_op(parser, 1, "("))
            return parse_call(parser);
        if (is_prefixed(parser))
            return parse_prefixed(parser);
        if (!parser_reserved(parser, token))
            return parse_path(parser);
        break;
    default:
        break;
    }
    parser_error(parser, token, NULL, "an expression is expected here, not '%.*s'",
                 SLICE_FMT(parser_token_text(parser, token)));
    return NULL;
}

/* expr COLLATE name: the name says nothing here. */
static struct sql_expr *parse_collated(struct parser *parser)
{
    struct sql_expr *expr = parse_primary(parser);
    const struct sql_token *word = parser_peek(parser, 0);

    if (expr != NULL && parser_word(parser, 0, "COLLATE") &&
        parser_peek(parser, 1)->kind == SQL_TOKEN_WORD &&
        !parser_reserved(parser, parser_peek(parser, 1))) {
        sql_report_warning(parser->report, word->span, NULL,
                           "COLLATE is ignored: comparisons do not regard case");
        parser->at += 2;
    }
    return expr;
}

static struct sql_expr *parse_unary(struct parser *parser)
{
    struct sql_span from = parser_peek(parser, 0)->span;
    enum sql_expr_kind kind;
    struct sql_expr *operand = NULL;

    if (parser_take_op(parser, "-"))
        kind = SQL_EXPR_NEGATE;
    else if (parser_take_op(parser, "~"))
        kind = SQL_EXPR_BIT_NOT;
    else if (parser_take_op(parser, "+"))
        kind = SQL_EXPR_NULL;
    else
        return parse_collated(parser);
    if (++parser->nesting > SQL_NESTING_MAX)
        parser_error(parser, parser_peek(parser, 0), NULL, "more than %d levels of nesting",
                     SQL_NESTING_MAX);
    else
        operand = parse_unary(parser);
    parser->nesting--;
    if (operand == NULL || kind == SQL_EXPR_NULL)
        return operand;
    return expr_of(parser, kind, from, operand, NULL, NULL);
}

struct binary_op {
    const char *op;
    enum sql_expr_kind kind;
};

static bool take_binary(struct parser *parser, const struct binary_op *ops, unsigned count,
                        enum sql_expr_kind *ret_kind)
{
    for (unsigned i = 0; i < count; i++) {
        if (parser_take_op(parser, ops[i].op)) {
            *ret_kind = ops[i].kind;
            return true;
        }
    }
    return false;
}

static struct sql_expr *parse_factor(struct parser *parser)
{
    static const struct binary_op ops[] = {
        {"*", SQL_EXPR_MUL}, {"/", SQL_EXPR_DIV}, {"%", SQL_EXPR_MOD}};
    struct sql_span from = parser_peek(parser, 0)->span;
    struct sql_expr *left = parse_unary(parser);
    enum sql_expr_kind kind;

    while (left != NULL && take_binary(parser, ops, 3, &kind)) {
        struct sql_expr *right = parse_unary(parser);
        left = right == NULL ? NULL : expr_of(parser, kind, from, left, right, NULL);
    }
    return left;
}

static struct sql_expr *parse_term(struct parser *parser)
{
    static const struct binary_op ops[] = {{"+", SQL_EXPR_ADD},
                                           {"-", SQL_EXPR_SUB},
                                           {"&", SQL_EXPR_BIT_AND},
                                           {"|", SQL_EXPR_BIT_OR},
                                           {"^", SQL_EXPR_BIT_XOR}};
    struct sql_span from = parser_peek(parser, 0)->span;
    struct sql_expr *left = parse_factor(parser);
    enum sql_expr_kind kind;

    while (left != NULL && take_binary(parser, ops, 5, &kind)) {
        struct sql_expr *right = parse_factor(parser);
        left = right == NULL ? NULL : expr_of(parser, kind, from, left, right, NULL);
    }
    return left;
}

static struct sql_expr *parse_in(struct parser *parser, struct sql_span from,
                                 struct sql_expr *value)
{
    struct arg_list list = {.count = 0};

    arg_list_add(parser, &list, value);
    if (!refuse_subquery(parser))
        return NULL;
    if (!parser_expect_op(parser, "(", "IN") || !arg_list_parse(parser, &list, "the list"))
        return NULL;
    struct sql_expr *expr = expr_new(parser, SQL_EXPR_IN, from);
    if (expr == NULL || !args_set(parser, expr, list.args, list.count))
        return NULL;
    return expr;
}

static struct sql_expr *parse_between(struct parser *parser, struct sql_span from,
                                      struct sql_expr *value)
{
    struct sql_expr *low = parse_term(parser);
    if (low == NULL || !parser_expect_word(parser, "AND"))
        return NULL;
    struct sql_expr *high = parse_term(parser);
    if (high == NULL)
        return NULL;
    return expr_of(parser, SQL_EXPR_BETWEEN, from, value, low, high);
}

static struct sql_expr *parse_like(struct parser *parser, struct sql_span from,
                                   struct sql_expr *value)
{
    struct sql_expr *pattern = parse_term(parser);
    struct sql_expr *escape = NULL;

    if (pattern == NULL)
        return NULL;
    if (parser_take_word(parser, "ESCAPE")) {
        escape = parse_primary(parser);
        if (escape == NULL)
            return NULL;
    }
    return expr_of(parser, SQL_EXPR_LIKE, from, value, pattern, escape);
}

static struct sql_expr *parse_is_null(struct parser *parser, struct sql_span from,
                                      struct sql_expr *value)
{
    bool negated = parser_take_word(parser, "NOT");
    if (!parser_expect_word(parser, "NULL"))
        return NULL;
    struct sql_expr *expr = expr_of(parser, SQL_EXPR_IS_NULL, from, value, NULL, NULL);
    if (expr != NULL)
        expr->negated = negated;
    return expr;
}

/* IS NULL, [NOT] IN / LIKE / BETWEEN behind a value; *ret_found false: none of them is there. */
static struct sql_expr *parse_predicate(struct parser *parser, struct sql_span from,
                                        struct sql_expr *value, bool *ret_found)
{
    struct sql_expr *expr = NULL;
    bool negated = parser_word(parser, 0, "NOT");
    uint32_t ahead = negated ? 1 : 0;

    *ret_found = true;
    if (!negated && parser_take_word(parser, "IS"))
        return parse_is_null(parser, from, value);
    bool in = parser_word(parser, ahead, "IN");
    bool like = parser_word(parser, ahead, "LIKE");
    if (!in && !like && !parser_word(parser, ahead, "BETWEEN")) {
        *ret_found = false;
        return value;
    }
    parser->at += ahead + 1;
    if (in)
        expr = parse_in(parser, from, value);
    else if (like)
        expr = parse_like(parser, from, value);
    else
        expr = parse_between(parser, from, value);
    if (expr != NULL)
        expr->negated = negated;
    return expr;
}

static struct sql_expr *parse_comparison(struct parser *parser)
{
    static const struct binary_op ops[] = {
        {"=", SQL_EXPR_EQ},  {"<>", SQL_EXPR_NE}, {"!=", SQL_EXPR_NE},
        {"<", SQL_EXPR_LT},  {"<=", SQL_EXPR_LE}, {">", SQL_EXPR_GT},
        {">=", SQL_EXPR_GE}, {"!<", SQL_EXPR_GE}, {"!>", SQL_EXPR_LE}};
    struct sql_span from = parser_peek(parser, 0)->span;
    struct sql_expr *left = parse_term(parser);
    enum sql_expr_kind kind;
    bool found = true;

    while (left != NULL && found) {
        if (parser_op(parser, 0, "==")) {
            parser_error(parser, parser_peek(parser, 0),
                         "equality is written =", "== is not an operator");
            return NULL;
        }
        if (take_binary(parser, ops, sizeof(ops) / sizeof(ops[0]), &kind)) {
            struct sql_expr *right = parse_term(parser);
            left = right == NULL ? NULL : expr_of(parser, kind, from, left, right, NULL);
        } else {
            left = parse_predicate(parser, from, left, &found);
        }
    }
    return left;
}

static struct sql_expr *parse_not(struct parser *parser)
{
    struct sql_span from = parser_peek(parser, 0)->span;
    struct sql_expr *operand = NULL;

    if (!parser_take_word(parser, "NOT"))
        return parse_comparison(parser);
    if (++parser->nesting > SQL_NESTING_MAX)
        parser_error(parser, parser_peek(parser, 0), NULL, "more than %d levels of nesting",
                     SQL_NESTING_MAX);
    else
        operand = parse_not(parser);
    parser->nesting--;
    return operand == NULL ? NULL : expr_of(parser, SQL_EXPR_NOT, from, operand, NULL, NULL);
}

static struct sql_expr *parse_and(struct parser *parser)
{
    struct sql_span from = parser_peek(parser, 0)->span;
    struct sql_expr *left = parse_not(parser);

    while (left != NULL && parser_take_word(parser, "AND")) {
        struct sql_expr *right = parse_not(parser);
        left = right == NULL ? NULL : expr_of(parser, SQL_EXPR_AND, from, left, right, NULL);
    }
    return left;
}

struct sql_expr *parser_expression(struct parser *parser)
{
    struct sql_span from = parser_peek(parser, 0)->span;
    struct sql_expr *left = NULL;

    if (++parser->nesting > SQL_NESTING_MAX)
        parser_error(parser, parser_peek(parser, 0), NULL, "more than %d levels of nesting",
                     SQL_NESTING_MAX);
    else
        left = parse_and(parser);
    while (left != NULL && parser_take_word(parser, "OR")) {
        struct sql_expr *right = parse_and(parser);
        left = right == NULL ? NULL : expr_of(parser, SQL_EXPR_OR, from, left, right, NULL);
    }
    parser->nesting--;
    return left;
}
