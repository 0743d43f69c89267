/*
 * Names and types of expressions.
 *
 * A name becomes a column of the node that is read. Where the rows come straight from an event,
 * asking for a path adds it to the scan, through any number of steps: that is how the scanner
 * learns the union of the projected paths.
 *
 * Invariants: (1) an expression refers only to columns that its node's child has; (2) binding never
 * removes or moves a column, so earlier references stay valid; (3) recursion follows the syntax
 * tree, whose height the parser bounds. Ownership: the plan's arena. Failure: builder->failed,
 * after a message.
 */
#include "base/assert.h"
#include "plan/plan_int.h"

bool builder_memory(struct builder *builder)
{
    if (!builder->failed)
        sql_report_error(builder->report, (struct sql_span){0, 1, 1, 1}, NULL,
                         "out of memory for the plan");
    builder->failed = true;
    return false;
}

struct plan_expr *plan_expr_new(struct builder *builder, enum plan_op op, struct sql_span span)
{
    struct plan_expr *expr = ARENA_NEW(builder->arena, struct plan_expr);
    if (expr == NULL) {
        builder_memory(builder);
        return NULL;
    }
    expr->op = op;
    expr->span = span;
    return expr;
}

struct plan_expr *plan_expr_column(struct builder *builder, uint32_t column, struct sql_span span)
{
    struct plan_expr *expr = plan_expr_new(builder, PLAN_COLUMN, span);
    if (expr != NULL)
        expr->column = column;
    return expr;
}

static struct plan_expr *null_const(struct builder *builder, struct sql_span span)
{
    struct plan_expr *expr = plan_expr_new(builder, PLAN_CONST, span);
    if (expr != NULL)
        expr->type = SQL_NULL;
    return expr;
}

uint32_t plan_node_column(struct builder *builder, struct plan_node *node, struct plan_expr *expr)
{
    ASSERT(node->kind != PLAN_SCAN);
    bool shared = expr->op == PLAN_COLUMN || expr->op >= PLAN_APPLY_KEY;
    for (uint32_t i = 0; i < node->column_count && shared; i++) {
        if (node->columns[i]->op == expr->op && node->columns[i]->column == expr->column)
            return i;
    }
    if (node->column_count == PLAN_COLUMNS_MAX) {
        builder_memory(builder);
        return UINT32_MAX;
    }
    if (node->column_count == node->column_cap) {
        uint32_t cap = node->column_cap * 2 + 8;
        struct plan_expr **columns = ARENA_ARRAY(builder->arena, struct plan_expr *, cap);
        if (columns == NULL) {
            builder_memory(builder);
            return UINT32_MAX;
        }
        if (node->column_count > 0)
            memcpy(columns, node->columns, node->column_count * sizeof(*columns));
        node->columns = columns;
        node->column_cap = cap;
    }
    node->columns[node->column_count] = expr;
    return node->column_count++;
}

static bool path_equal(const struct plan_path *path, const struct slice *parts, uint32_t count)
{
    if (path->count != count)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!slice_equal(path->parts[i], parts[i]))
            return false;
    }
    return true;
}

uint32_t plan_scan_path(struct builder *builder, struct plan_node *scan, const struct slice *parts,
                        uint32_t count)
{
    ASSERT(scan->kind == PLAN_SCAN);
    for (uint32_t i = 0; i < scan->column_count; i++) {
        if (path_equal(&scan->paths[i], parts, count))
            return i;
    }
    if (scan->column_count == scan->column_cap) {
        uint32_t cap = scan->column_cap * 2 + 8;
        struct plan_path *paths = ARENA_ARRAY(builder->arena, struct plan_path, cap);
        if (paths == NULL || scan->column_count >= PLAN_COLUMNS_MAX) {
            builder_memory(builder);
            return UINT32_MAX;
        }
        if (scan->column_count > 0)
            memcpy(paths, scan->paths, scan->column_count * sizeof(*paths));
        scan->paths = paths;
        scan->column_cap = cap;
    }
    struct slice *copy = ARENA_ARRAY(builder->arena, struct slice, count + 1);
    if (copy == NULL) {
        builder_memory(builder);
        return UINT32_MAX;
    }
    if (count > 0)
        memcpy(copy, parts, count * sizeof(*copy));
    scan->paths[scan->column_count] = (struct plan_path){copy, count};
    return scan->column_count++;
}

/* The column of an apply behind a field of its record. */
static uint32_t apply_field(struct builder *builder, struct plan_node *node,
                            const struct slice *parts, uint32_t count, struct sql_span span)
{
    const char *key = node->apply_record ? "PropertyName" : "ArrayIndex";
    const char *value = node->apply_record ? "PropertyValue" : "ArrayValue";
    enum plan_op op = PLAN_APPLY_VALUE;

    ASSERT(node->kind == PLAN_APPLY);
    if (count != 1)
        return UINT32_MAX;
    if (slice_equal_nocase(parts[0], slice_cstr(key)))
        op = PLAN_APPLY_KEY;
    else if (!slice_equal_nocase(parts[0], slice_cstr(value)))
        return UINT32_MAX;
    struct plan_expr *expr = plan_expr_new(builder, op, span);
    return expr == NULL ? UINT32_MAX : plan_node_column(builder, node, expr);
}

uint32_t plan_path_below(struct builder *builder, struct plan_node *node, uint32_t column,
                         const struct slice *parts, uint32_t count)
{
    struct slice whole[32];

    ASSERT(column < node->column_count);
    if (node->kind != PLAN_SCAN) {
        if (node->columns[column]->op == PLAN_APPLY_RECORD)
            return apply_field(builder, node, parts, count, node->columns[column]->span);
        if (node->columns[column]->op != PLAN_COLUMN)
            return UINT32_MAX;
        uint32_t below =
            plan_path_below(builder, node->child, node->columns[column]->column, parts, count);
        if (below == UINT32_MAX)
            return UINT32_MAX;
        struct plan_expr *expr = plan_expr_column(builder, below, node->columns[column]->span);
        return expr == NULL ? UINT32_MAX : plan_node_column(builder, node, expr);
    }
    const struct plan_path *path = &node->paths[column];
    if (path->count + count > 32)
        return UINT32_MAX;
    for (uint32_t i = 0; i < node->declared_count; i++) {
        if (node->declared[i].column == column)
            return UINT32_MAX;
    }
    if (path->count > 0)
        memcpy(whole, path->parts, path->count * sizeof(whole[0]));
    memcpy(whole + path->count, parts, count * sizeof(whole[0]));
    return plan_scan_path(builder, node, whole, path->count + count);
}

/* What lies below a column: read from the source if possible, else field by field at run time. */
static struct plan_expr *bind_below(struct builder *builder, const struct branch *branch,
                                    uint32_t column, const struct slice *parts, uint32_t count,
                                    struct sql_span span)
{
    if (count == 0)
        return plan_expr_column(builder, column, span);
    uint32_t below = plan_path_below(builder, branch->node, column, parts, count);
    if (below != UINT32_MAX)
        return plan_expr_column(builder, below, span);
    uint32_t first = plan_path_below(builder, branch->node, column, parts, 1);
    struct plan_expr *value =
        plan_expr_column(builder, first != UINT32_MAX ? first : column, span);
    for (uint32_t i = first != UINT32_MAX; i < count && value != NULL; i++) {
        struct plan_expr *field = plan_expr_new(builder, PLAN_FIELD, span);
        struct plan_expr **args = ARENA_ARRAY(builder->arena, struct plan_expr *, 1);
        if (field == NULL || args == NULL) {
            builder_memory(builder);
            return NULL;
        }
        args[0] = value;
        field->args = args;
        field->arg_count = 1;
        field->name = parts[i];
        value = field;
    }
    return value;
}

/* Two readings of one name, the first that is not NULL. */
static struct plan_expr *bind_first_of(struct builder *builder, struct plan_expr *first,
                                       struct plan_expr *second)
{
    if (first == NULL || second == NULL)
        return second;
    struct plan_expr *expr = plan_expr_new(builder, PLAN_CALL, first->span);
    struct plan_expr **args = ARENA_ARRAY(builder->arena, struct plan_expr *, 2);
    if (expr == NULL || args == NULL) {
        builder_memory(builder);
        return NULL;
    }
    args[0] = first;
    args[1] = second;
    expr->fn = SQL_FN_COALESCE;
    expr->name = SLICE_LIT("COALESCE");
    expr->args = args;
    expr->arg_count = 2;
    return expr;
}

/* In HAVING a name may be that of a select item: bound as that item was. NULL: none, or failed. */
static struct plan_expr *bind_select_alias(struct builder *builder, const struct scope *scope,
                                           struct slice name)
{
    struct scope rows = {scope->branch, scope->alias, NULL};

    for (const struct sql_item *item = scope->select->items; item != NULL; item = item->next) {
        if (!item->star && item->alias.data != NULL && slice_equal_nocase(item->alias, name))
            return plan_bind_expr(builder, &rows, item->expr);
    }
    return NULL;
}

struct plan_expr *plan_bind_path(struct builder *builder, const struct scope *scope,
                                 const struct slice *parts, uint32_t count, struct sql_span span)
{
    const struct branch *branch = scope->branch;
    struct plan_expr *found = NULL;

    ASSERT(count > 0);
    if (count > 1 && slice_equal_nocase(parts[0], scope->alias)) {
        parts++;
        count--;
    }
    for (uint32_t i = 0; i < branch->field_count; i++) {
        const struct plan_field *field = &branch->fields[i];
        if (!field->spread && slice_equal_nocase(field->name, parts[0]))
            return bind_below(builder, branch, field->column, parts + 1, count - 1, span);
    }
    for (uint32_t i = 0; i < branch->field_count && !builder->failed; i++) {
        const struct plan_field *field = &branch->fields[i];
        if (field->spread)
            found = bind_first_of(builder, found,
                                  bind_below(builder, branch, field->column, parts, count, span));
    }
    if (count == 1 && scope->select != NULL && !builder->failed) {
        struct plan_expr *aliased = bind_select_alias(builder, scope, parts[0]);
        found = aliased == NULL ? found : bind_first_of(builder, found, aliased);
    }
    return found != NULL || builder->failed ? found : null_const(builder, span);
}

/* "text" that names a column which the compiler knows is that column. */
static bool is_known_column(const struct scope *scope, struct slice name)
{
    for (uint32_t i = 0; i < scope->branch->field_count; i++) {
        if (!scope->branch->fields[i].spread &&
            slice_equal_nocase(scope->branch->fields[i].name, name))
            return true;
    }
    return false;
}

static struct plan_expr *bind_literal(struct builder *builder, const struct sql_expr *expr)
{
    struct plan_expr *bound = plan_expr_new(builder, PLAN_CONST, expr->span);
    if (bound == NULL)
        return NULL;
    switch (expr->kind) {
    case SQL_EXPR_INT:
        bound->type = SQL_BIGINT;
        break;
    case SQL_EXPR_FLOAT:
        bound->type = SQL_FLOAT;
        break;
    case SQL_EXPR_TEXT:
        bound->type = SQL_TEXT;
        break;
    default:
        bound->type = SQL_NULL;
        break;
    }
    bound->int_value = expr->int_value;
    bound->float_value = expr->float_value;
    bound->text = expr->text;
    return bound;
}

static bool is_number(enum sql_type type)
{
    return type == SQL_BIT || type == SQL_BIGINT || type == SQL_FLOAT;
}

/* Static type of an operator's result; SQL_ANY where only the row tells. */
static enum sql_type operator_type(const struct plan_expr *expr)
{
    enum sql_type a = expr->arg_count > 0 ? expr->args[0]->type : SQL_ANY;
    enum sql_type b = expr->arg_count > 1 ? expr->args[1]->type : SQL_ANY;

    switch (expr->kind) {
    case SQL_EXPR_ADD:
    case SQL_EXPR_SUB:
    case SQL_EXPR_MUL:
    case SQL_EXPR_DIV:
    case SQL_EXPR_MOD:
        if (a == SQL_FLOAT || b == SQL_FLOAT)
            return SQL_FLOAT;
        return is_number(a) && is_number(b) ? SQL_BIGINT : SQL_ANY;
    case SQL_EXPR_CAST:
        return expr->cast_to;
    case SQL_EXPR_CASE: {
        enum sql_type type = SQL_NULL;
        for (uint32_t i = expr->has_operand ? 2 : 1; i < expr->arg_count; i += 2) {
            if (expr->args[i]->type == SQL_FLOAT)
                return SQL_FLOAT;
            type = expr->args[i]->type;
        }
        if (expr->has_else && expr->args[expr->arg_count - 1]->type == SQL_FLOAT)
            return SQL_FLOAT;
        return type == SQL_NULL ? SQL_NULL : SQL_ANY;
    }
    case SQL_EXPR_EQ:
    case SQL_EXPR_NE:
    case SQL_EXPR_LT:
    case SQL_EXPR_LE:
    case SQL_EXPR_GT:
    case SQL_EXPR_GE:
    case SQL_EXPR_AND:
    case SQL_EXPR_OR:
    case SQL_EXPR_NOT:
    case SQL_EXPR_LIKE:
    case SQL_EXPR_IN:
    case SQL_EXPR_BETWEEN:
    case SQL_EXPR_IS_NULL:
        return SQL_BIT;
    default:
        return SQL_ANY;
    }
}

struct plan_expr *plan_bind_predicate(struct builder *builder, const struct scope *scope,
                                      const struct sql_expr *expr)
{
    struct plan_expr *bound = plan_bind_expr(builder, scope, expr);

    if (bound == NULL || bound->type == SQL_ANY || bound->type == SQL_NULL || is_number(bound->type))
        return bound;
    sql_report_error(builder->report, expr->span, "compare it with something",
                     "a predicate is expected here, not a value of type '%s'",
                     sql_type_name(bound->type));
    builder->failed = true;
    return NULL;
}

/* Does argument i of the operator decide something? */
static bool is_condition(const struct sql_expr *expr, uint32_t i)
{
    switch (expr->kind) {
    case SQL_EXPR_AND:
    case SQL_EXPR_OR:
    case SQL_EXPR_NOT:
        return true;
    case SQL_EXPR_CASE: /* WHEN stands at even places, a last odd one is ELSE */
        return !expr->has_operand && i % 2 == 0 && i + 1 < expr->arg_count;
    default:
        return false;
    }
}

static bool bind_args(struct builder *builder, const struct scope *scope,
                      const struct sql_expr *expr, struct plan_expr *bound)
{
    bound->args = ARENA_ARRAY(builder->arena, struct plan_expr *, expr->arg_count + 1);
    if (bound->args == NULL)
        return builder_memory(builder);
    bound->arg_count = expr->arg_count;
    for (uint32_t i = 0; i < expr->arg_count; i++) {
        bound->args[i] = is_condition(expr, i)
                             ? plan_bind_predicate(builder, scope, expr->args[i])
                             : plan_bind_expr(builder, scope, expr->args[i]);
        if (bound->args[i] == NULL)
            return false;
    }
    return true;
}

static struct plan_expr *bind_call(struct builder *builder, const struct scope *scope,
                                   const struct sql_expr *expr)
{
    if (expr->function->id == SQL_FN_SYSTEM_TIMESTAMP) {
        struct plan_expr *time = plan_expr_new(builder, PLAN_TIME, expr->span);
        if (time != NULL)
            time->type = SQL_DATETIME;
        return time;
    }
    struct plan_expr *bound = plan_expr_new(builder, PLAN_CALL, expr->span);
    if (bound == NULL || !bind_args(builder, scope, expr, bound))
        return NULL;
    bound->fn = expr->function->id;
    bound->name = slice_cstr(expr->function->name);
    bound->type = expr->function->result;
    return bound;
}

struct plan_expr *plan_bind_expr(struct builder *builder, const struct scope *scope,
                                 const struct sql_expr *expr)
{
    switch (expr->kind) {
    case SQL_EXPR_TEXT:
        if (expr->double_quoted && is_known_column(scope, expr->text))
            return plan_bind_path(builder, scope, &expr->text, 1, expr->span);
        return bind_literal(builder, expr);
    case SQL_EXPR_NULL:
    case SQL_EXPR_INT:
    case SQL_EXPR_FLOAT:
        return bind_literal(builder, expr);
    case SQL_EXPR_PATH:
        return plan_bind_path(builder, scope, expr->parts, expr->part_count, expr->span);
    case SQL_EXPR_CALL:
        return bind_call(builder, scope, expr);
    default:
        break;
    }
    struct plan_expr *bound = plan_expr_new(builder, PLAN_EXPR, expr->span);
    if (bound == NULL || !bind_args(builder, scope, expr, bound))
        return NULL;
    bound->kind = expr->kind;
    bound->negated = expr->negated;
    bound->try_cast = expr->try_cast;
    bound->has_operand = expr->has_operand;
    bound->has_else = expr->has_else;
    bound->cast_to = expr->type;
    bound->type = operator_type(bound);
    return bound;
}
