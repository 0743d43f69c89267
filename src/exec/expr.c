/*
 * Evaluation of expressions over vectors (see exec/expr.h).
 *
 * Each node of the compiled tree owns one result vector and, if it is a predicate, one list of
 * rows. A batch walks the tree once; within a node all work is a loop over the selected rows.
 * Predicates yield rows, not bits: AND narrows the selection for its right side, OR and CASE hand
 * on the rows that are still undecided, so that nothing is evaluated that the language would not
 * evaluate.
 *
 * Invariants: (1) a result is valid until the node's next evaluation; (2) the selection given lies
 * within the batch's; (3) a constant subtree is evaluated once, into memory of the query; (4)
 * recursion is bounded by the parser's cap. Ownership: nodes in the query's arena, text made on the
 * way in the batch's. Failure: a runtime error with its place.
 */
#include "base/assert.h"
#include "exec/expr_int.h"

static bool expr_is_predicate(const struct plan_expr *plan)
{
    if (plan->op != PLAN_EXPR)
        return false;
    switch (plan->kind) {
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
        return true;
    default:
        return false;
    }
}

static bool create_memory(struct exec_expr *expr, struct arena *arena)
{
    if (!vec_init(&expr->out, arena))
        return false;
    expr->result_rows = ARENA_ARRAY(arena, uint16_t, VEC_ROWS + 1);
    expr->rest_rows = ARENA_ARRAY(arena, uint16_t, VEC_ROWS + 1);
    expr->result.rows = expr->result_rows;
    expr->rest.rows = expr->rest_rows;
    return expr->result_rows != NULL && expr->rest_rows != NULL;
}

static bool constant_create(struct exec_expr *expr, struct arena *arena)
{
    const struct plan_expr *plan = expr->plan;
    struct value value = {.type = (uint8_t)plan->type};

    expr->out.data = arena_alloc(arena, sizeof(struct value));
    if (expr->out.data == NULL)
        return false;
    if (plan->type == SQL_FLOAT)
        value.f = plan->float_value;
    else if (plan->type == SQL_TEXT)
        value = value_text(plan->text);
    else
        value.i = plan->int_value;
    vec_set_constant(&expr->out, &value);
    expr->is_ready = true;
    return true;
}

struct exec_expr *exec_expr_create(struct arena *arena, const struct plan_expr *plan)
{
    struct exec_expr *expr = ARENA_NEW(arena, struct exec_expr);

    if (expr == NULL)
        return NULL;
    expr->plan = plan;
    expr->arena = arena;
    expr->is_predicate = expr_is_predicate(plan);
    expr->is_constant = plan->op != PLAN_COLUMN && plan->op != PLAN_TIME;
    if (plan->op == PLAN_CONST)
        return constant_create(expr, arena) ? expr : NULL;
    expr->args = ARENA_ARRAY(arena, struct exec_expr *, plan->arg_count + 1);
    if (expr->args == NULL)
        return NULL;
    for (uint32_t i = 0; i < plan->arg_count; i++) {
        expr->args[i] = exec_expr_create(arena, plan->args[i]);
        if (expr->args[i] == NULL)
            return NULL;
        expr->is_constant &= expr->args[i]->is_constant;
    }
    return create_memory(expr, arena) ? expr : NULL;
}

enum err exec_memory_error(struct exec_ctx *ctx)
{
    return err_info_set(ctx->info, ERR_SQL_RUNTIME, "out of memory for the rows of one batch");
}

enum err exec_expr_failed(const struct exec_expr *expr, const struct exec_ctx *ctx, enum err err)
{
    ASSERT(err != ERR_OK);
    if (ctx->info != NULL && strncmp(ctx->info->text, "line ", 5) != 0)
        err_info_wrap(ctx->info, "line %u, column %u", expr->plan->span.line,
                      expr->plan->span.column);
    return err;
}

static enum err eval_column(struct exec_expr *expr, const struct exec_batch *batch,
                            const struct sel *sel, const struct vec **ret_vec)
{
    struct column *column = batch->columns[expr->plan->column];

    *ret_vec = column->vec;
    if (column->ready != NULL && sel_within(sel, column->ready))
        return ERR_OK;
    ASSERT(column->cells != NULL);
    if (!vec_decode(column->vec, column->cells, sel, batch->ctx))
        return exec_memory_error(batch->ctx);
    column->ready = sel;
    return ERR_OK;
}

static enum err eval_time(struct exec_expr *expr, const struct exec_batch *batch,
                          const struct sel *sel, const struct vec **ret_vec)
{
    vec_reset(&expr->out, SQL_DATETIME);
    for (uint32_t k = 0; k < sel->count; k++)
        expr->out.i[sel->rows[k]] = batch->times[sel->rows[k]];
    *ret_vec = &expr->out;
    return ERR_OK;
}

/* A predicate as a value: bit. */
static enum err eval_bits(struct exec_expr *expr, const struct exec_batch *batch,
                          const struct sel *sel, const struct vec **ret_vec)
{
    const struct sel *hits = NULL;
    enum err err = exec_expr_filter(expr, batch, sel, &hits);

    if (err != ERR_OK)
        return err;
    ASSERT(hits);
    vec_reset(&expr->out, SQL_BIT);
    for (uint32_t k = 0; k < sel->count; k++)
        expr->out.i[sel->rows[k]] = 0;
    for (uint32_t k = 0; k < hits->count; k++)
        expr->out.i[hits->rows[k]] = 1;
    *ret_vec = &expr->out;
    return ERR_OK;
}

static enum err eval_field(struct exec_expr *expr, const struct exec_batch *batch,
                           const struct sel *sel, const struct vec **ret_vec)
{
    const struct vec *record;
    enum err err = exec_expr_eval(expr->args[0], batch, sel, &record);

    if (err != ERR_OK)
        return err;
    for (uint32_t k = 0; k < sel->count; k++) {
        uint32_t row = sel->rows[k];
        struct value value = vec_get(record, row);
        struct json_cell cell = {.kind = JSON_KIND_MISSING};
        if (value.type == SQL_RECORD)
            cell = json_source_get(value_slice(&value), expr->plan->name);
        if (!vec_cell_value(&cell, batch->ctx, &expr->out.v[row]))
            return exec_memory_error(batch->ctx);
    }
    vec_settle(&expr->out, sel);
    *ret_vec = &expr->out;
    return ERR_OK;
}

static enum err eval_arithmetic(struct exec_expr *expr, const struct exec_batch *batch,
                                const struct sel *sel)
{
    const struct vec *a;
    const struct vec *b;
    enum err err = exec_expr_eval(expr->args[0], batch, sel, &a);

    if (err == ERR_OK)
        err = exec_expr_eval(expr->args[1], batch, sel, &b);
    if (err != ERR_OK)
        return err;
    if (exec_kernel_arithmetic(expr->plan->kind, a, b, sel, &expr->out))
        return ERR_OK;
    for (uint32_t k = 0; k < sel->count && err == ERR_OK; k++) {
        uint32_t row = sel->rows[k];
        struct value va = vec_get(a, row);
        struct value vb = vec_get(b, row);
        err = value_arithmetic(expr->plan->kind, &va, &vb, batch->ctx->arena, &expr->out.v[row],
                               batch->ctx->info);
    }
    if (err == ERR_OK)
        vec_settle(&expr->out, sel);
    return err;
}

static enum err unary_value(const struct exec_expr *expr, struct exec_ctx *ctx,
                            const struct value *arg, struct value *ret_value)
{
    const struct plan_expr *plan = expr->plan;
    struct value zero = value_int(0);

    *ret_value = value_null();
    if (arg->type == SQL_NULL)
        return ERR_OK;
    if (plan->kind == SQL_EXPR_CAST) {
        if (value_cast(arg, plan->cast_to, ctx->arena, ret_value))
            return ERR_OK;
        *ret_value = value_null();
        if (plan->try_cast)
            return ERR_OK;
        return err_info_set(ctx->info, ERR_SQL_RUNTIME,
                            "cannot cast a value of type '%s' to type '%s'; TRY_CAST gives NULL "
                            "instead",
                            sql_type_name((enum sql_type)arg->type), sql_type_name(plan->cast_to));
    }
    if (plan->kind == SQL_EXPR_NEGATE) {
        if (arg->type == SQL_FLOAT) {
            *ret_value = value_float(-arg->f);
            return ERR_OK;
        }
        return value_arithmetic(SQL_EXPR_SUB, &zero, arg, ctx->arena, ret_value, ctx->info);
    }
    ASSERT(plan->kind == SQL_EXPR_BIT_NOT);
    if (arg->type == SQL_BIT)
        *ret_value = value_bit(!arg->i);
    else if (arg->type == SQL_BIGINT)
        *ret_value = value_int(~arg->i);
    else
        return err_info_set(ctx->info, ERR_SQL_RUNTIME, "~ takes bit and bigint, not '%s'",
                            sql_type_name((enum sql_type)arg->type));
    return ERR_OK;
}

static enum err eval_unary(struct exec_expr *expr, const struct exec_batch *batch,
                           const struct sel *sel)
{
    const struct vec *arg;
    enum err err = exec_expr_eval(expr->args[0], batch, sel, &arg);

    for (uint32_t k = 0; k < sel->count && err == ERR_OK; k++) {
        struct value value = vec_get(arg, sel->rows[k]);
        err = unary_value(expr, batch->ctx, &value, &expr->out.v[sel->rows[k]]);
    }
    if (err == ERR_OK)
        vec_settle(&expr->out, sel);
    return err;
}

/* Rows of sel whose WHEN holds: a predicate, or equality with the operand. */
static enum err case_when(const struct exec_batch *batch, struct exec_expr *when,
                          const struct vec *operand, const struct sel *sel,
                          const struct sel **ret_hits)
{
    const struct vec *value;

    if (operand == NULL)
        return exec_expr_filter(when, batch, sel, ret_hits);
    enum err err = exec_expr_eval(when, batch, sel, &value);
    if (err != ERR_OK)
        return err;
    /* A list of its own for each branch: columns remember the selection they were decoded for. */
    struct sel *hits = ARENA_NEW(batch->ctx->arena, struct sel);
    uint16_t *rows = ARENA_ARRAY(batch->ctx->arena, uint16_t, sel->count + 1);
    if (hits == NULL || rows == NULL)
        return exec_memory_error(batch->ctx);
    hits->rows = rows;
    hits->parent = sel;
    for (uint32_t k = 0; k < sel->count; k++) {
        struct value a = vec_get(operand, sel->rows[k]);
        struct value b = vec_get(value, sel->rows[k]);
        if (value_compare(SQL_EXPR_EQ, &a, &b))
            rows[hits->count++] = sel->rows[k];
    }
    *ret_hits = hits;
    return ERR_OK;
}

/* Puts the branch's values at the rows that chose it. A statically float CASE widens bigint. */
static enum err case_take(struct exec_expr *expr, const struct exec_batch *batch,
                          struct exec_expr *branch, const struct sel *hits)
{
    const struct vec *value;
    enum err err;

    if (hits->count == 0)
        return ERR_OK;
    err = exec_expr_eval(branch, batch, hits, &value);
    for (uint32_t k = 0; k < hits->count && err == ERR_OK; k++) {
        struct value v = vec_get(value, hits->rows[k]);
        if (expr->plan->type == SQL_FLOAT && (v.type == SQL_BIGINT || v.type == SQL_BIT))
            v = value_float((double)v.i);
        expr->out.v[hits->rows[k]] = v;
    }
    return err;
}

static enum err eval_case(struct exec_expr *expr, const struct exec_batch *batch,
                          const struct sel *sel)
{
    const struct plan_expr *plan = expr->plan;
    const struct vec *operand = NULL;
    uint32_t at = plan->has_operand ? 1 : 0;
    const struct sel *hits;
    enum err err = ERR_OK;

    memcpy(expr->rest_rows, sel->rows, sel->count * sizeof(uint16_t));
    expr->rest.count = sel->count;
    expr->rest.parent = sel;
    if (plan->has_operand)
        err = exec_expr_eval(expr->args[0], batch, sel, &operand);
    for (; at + 1 < plan->arg_count && err == ERR_OK && expr->rest.count > 0; at += 2) {
        err = case_when(batch, expr->args[at], operand, &expr->rest, &hits);
        if (err == ERR_OK)
            err = case_take(expr, batch, expr->args[at + 1], hits);
        if (err == ERR_OK) { /* what was decoded for the wider rest serves the narrower one */
            struct sel rest = expr->rest;
            expr->rest.count = sel_subtract(&rest, hits, expr->rest_rows);
        }
    }
    if (err == ERR_OK && plan->has_else)
        err = case_take(expr, batch, expr->args[plan->arg_count - 1], &expr->rest);
    for (uint32_t k = 0; k < expr->rest.count && !plan->has_else; k++)
        expr->out.v[expr->rest.rows[k]] = value_null();
    if (err == ERR_OK)
        vec_settle(&expr->out, sel);
    return err;
}

enum { CALL_ARGS_MAX = 255 };

static enum err call_row(struct exec_expr *expr, struct exec_ctx *ctx,
                         const struct exec_function *function, const struct vec *const *args,
                         uint32_t row)
{
    struct value values[CALL_ARGS_MAX];
    uint32_t count = expr->plan->arg_count;

    for (uint32_t i = 0; i < count; i++) {
        values[i] = vec_get(args[i], row);
        if (values[i].type == SQL_NULL && !function->takes_null) {
            expr->out.v[row] = value_null();
            return ERR_OK;
        }
    }
    expr->out.v[row] = value_null();
    return function->call(ctx, values, count, &expr->out.v[row]);
}

static enum err eval_call(struct exec_expr *expr, const struct exec_batch *batch,
                          const struct sel *sel)
{
    const struct exec_function *function = exec_function_row(expr->plan->fn);
    const struct vec *args[CALL_ARGS_MAX];
    enum err err = ERR_OK;

    if (expr->plan->arg_count > CALL_ARGS_MAX)
        return err_info_set(batch->ctx->info, ERR_SQL_RUNTIME, "more than %d arguments",
                            CALL_ARGS_MAX);
    for (uint32_t i = 0; i < expr->plan->arg_count && err == ERR_OK; i++)
        err = exec_expr_eval(expr->args[i], batch, sel, &args[i]);
    for (uint32_t k = 0; k < sel->count && err == ERR_OK; k++)
        err = call_row(expr, batch->ctx, function, args, sel->rows[k]);
    if (err == ERR_OK)
        vec_settle(&expr->out, sel);
    return err;
}

static enum err eval_computed(struct exec_expr *expr, const struct exec_batch *batch,
                              const struct sel *sel)
{
    if (expr->plan->op == PLAN_CALL)
        return eval_call(expr, batch, sel);
    switch (expr->plan->kind) {
    case SQL_EXPR_NEGATE:
    case SQL_EXPR_BIT_NOT:
    case SQL_EXPR_CAST:
        return eval_unary(expr, batch, sel);
    case SQL_EXPR_CASE:
        return eval_case(expr, batch, sel);
    default:
        return eval_arithmetic(expr, batch, sel);
    }
}

/* A subtree that depends on nothing: one evaluation for row 0, kept for good. */
static enum err eval_constant(struct exec_expr *expr, const struct exec_batch *batch,
                              const struct vec **ret_vec)
{
    static const uint16_t first_row = 0;
    struct sel one = {&first_row, 1, NULL};
    struct arena *arena = batch->ctx->arena;
    const struct vec *vec;
    enum err err;

    batch->ctx->arena = expr->arena;
    expr->is_constant = false;
    err = exec_expr_eval(expr, batch, &one, &vec);
    expr->is_constant = true;
    batch->ctx->arena = arena;
    if (err != ERR_OK)
        return err;
    struct value value = vec_get(vec, 0);
    vec_set_constant(&expr->out, &value);
    expr->is_ready = true;
    *ret_vec = &expr->out;
    return ERR_OK;
}

enum err exec_expr_eval(struct exec_expr *expr, const struct exec_batch *batch,
                        const struct sel *sel, const struct vec **ret_vec)
{
    enum err err;

    *ret_vec = &expr->out;
    if (expr->is_ready || sel->count == 0)
        return ERR_OK;
    if (expr->is_constant)
        return eval_constant(expr, batch, ret_vec);
    if (expr->plan->op == PLAN_COLUMN)
        return eval_column(expr, batch, sel, ret_vec);
    if (expr->plan->op == PLAN_TIME)
        return eval_time(expr, batch, sel, ret_vec);
    if (expr->plan->op == PLAN_FIELD)
        return eval_field(expr, batch, sel, ret_vec);
    if (expr->is_predicate)
        return eval_bits(expr, batch, sel, ret_vec);
    err = eval_computed(expr, batch, sel);
    return err == ERR_OK ? ERR_OK : exec_expr_failed(expr, batch->ctx, err);
}

/* A number where a predicate is expected: not zero is true. */
static enum err filter_values(struct exec_expr *expr, const struct exec_batch *batch,
                              const struct sel *sel, const struct sel **ret_sel)
{
    const struct vec *vec;
    enum err err = exec_expr_eval(expr, batch, sel, &vec);

    if (err != ERR_OK)
        return err;
    expr->result.count = 0;
    expr->result.parent = sel;
    if (expr->result_rows == NULL) { /* a literal */
        expr->result_rows = ARENA_ARRAY(expr->arena, uint16_t, VEC_ROWS + 1);
        expr->result.rows = expr->result_rows;
        if (expr->result_rows == NULL)
            return exec_memory_error(batch->ctx);
    }
    for (uint32_t k = 0; k < sel->count; k++) {
        struct value value = vec_get(vec, sel->rows[k]);
        if (value.type != SQL_NULL && !value_is_number(&value))
            return exec_expr_failed(
                expr, batch->ctx,
                err_info_set(batch->ctx->info, ERR_SQL_RUNTIME,
                             "a predicate is expected, not a value of type '%s'",
                             sql_type_name((enum sql_type)value.type)));
        if (value.type == SQL_FLOAT ? value.f != 0 : value.type != SQL_NULL && value.i != 0)
            expr->result_rows[expr->result.count++] = sel->rows[k];
    }
    *ret_sel = &expr->result;
    return ERR_OK;
}

enum err exec_expr_filter(struct exec_expr *expr, const struct exec_batch *batch,
                          const struct sel *sel, const struct sel **ret_sel)
{
    if (sel->count == 0) {
        *ret_sel = sel;
        return ERR_OK;
    }
    if (!expr->is_predicate)
        return filter_values(expr, batch, sel, ret_sel);
    enum err err = exec_predicate_filter(expr, batch, sel, ret_sel);
    return err == ERR_OK ? ERR_OK : exec_expr_failed(expr, batch->ctx, err);
}
