/*
 * Predicates as filters: rows in, fewer rows out.
 *
 * Predicates are two-valued: a comparison with NULL is false, and NOT turns that into true. The
 * negated forms NOT IN, NOT LIKE and NOT BETWEEN are false with a NULL operand, otherwise the
 * complement of the plain form.
 *
 * Invariants: (1) a result is an ascending subset of its selection; (2) OR evaluates its right side
 * only for the rows that the left one refused, AND only for those it let pass. Ownership: row lists
 * belong to the expression nodes. Failure: a runtime error.
 */
#include "base/assert.h"
#include "exec/expr_int.h"

static void result_set(struct exec_expr *expr, const struct sel *sel, uint32_t count)
{
    ASSERT(count <= sel->count);
    expr->result.count = count;
    expr->result.parent = sel;
}

static enum err filter_compare(struct exec_expr *expr, const struct exec_batch *batch,
                               const struct sel *sel)
{
    const struct vec *a;
    const struct vec *b;
    enum sql_expr_kind kind = expr->plan->kind;
    enum err err = exec_expr_eval(expr->args[0], batch, sel, &a);

    if (err == ERR_OK)
        err = exec_expr_eval(expr->args[1], batch, sel, &b);
    if (err != ERR_OK)
        return err;
    uint32_t count = exec_kernel_compare(kind, a, b, sel, expr->result_rows);
    if (count == UINT32_MAX) {
        count = 0;
        for (uint32_t k = 0; k < sel->count; k++) {
            struct value va = vec_get(a, sel->rows[k]);
            struct value vb = vec_get(b, sel->rows[k]);
            expr->result_rows[count] = sel->rows[k];
            count += value_compare(kind, &va, &vb);
        }
    }
    result_set(expr, sel, count);
    return ERR_OK;
}

/* Ascending union of two disjoint lists. */
static uint32_t merge_rows(const struct sel *a, const struct sel *b, uint16_t *rows)
{
    uint32_t i = 0;
    uint32_t k = 0;
    uint32_t count = 0;

    while (i < a->count || k < b->count) {
        bool from_a = k >= b->count || (i < a->count && a->rows[i] < b->rows[k]);
        rows[count++] = from_a ? a->rows[i++] : b->rows[k++];
    }
    return count;
}

static enum err filter_or(struct exec_expr *expr, const struct exec_batch *batch,
                          const struct sel *sel)
{
    const struct sel *left;
    const struct sel *right;
    enum err err = exec_expr_filter(expr->args[0], batch, sel, &left);

    if (err != ERR_OK)
        return err;
    expr->rest.count = sel_subtract(sel, left, expr->rest_rows);
    expr->rest.parent = sel;
    err = exec_expr_filter(expr->args[1], batch, &expr->rest, &right);
    if (err == ERR_OK)
        result_set(expr, sel, merge_rows(left, right, expr->result_rows));
    return err;
}

static enum err filter_not(struct exec_expr *expr, const struct exec_batch *batch,
                           const struct sel *sel)
{
    const struct sel *hits;
    enum err err = exec_expr_filter(expr->args[0], batch, sel, &hits);

    if (err == ERR_OK)
        result_set(expr, sel, sel_subtract(sel, hits, expr->result_rows));
    return err;
}

static enum err like_operand(struct exec_ctx *ctx, const struct value *value)
{
    if (value->type == SQL_TEXT || value->type == SQL_NULL)
        return ERR_OK;
    return err_info_set(ctx->info, ERR_SQL_RUNTIME,
                        "LIKE takes values of type 'nvarchar(max)', not '%s'",
                        sql_type_name((enum sql_type)value->type));
}

static enum err like_escape(struct exec_ctx *ctx, const struct value *value, uint32_t *ret_escape)
{
    struct slice text = value_slice(value);
    size_t at = 0;

    if (value->type == SQL_TEXT && text.len > 0) {
        *ret_escape = value_utf8_next(text, &at);
        if (at == text.len)
            return ERR_OK;
    }
    return err_info_set(ctx->info, ERR_SQL_RUNTIME, "ESCAPE takes one character");
}

static enum err filter_like(struct exec_expr *expr, const struct exec_batch *batch,
                            const struct sel *sel)
{
    const struct vec *args[3];
    uint32_t escape = 0;
    uint32_t count = 0;
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < expr->plan->arg_count && err == ERR_OK; i++)
        err = exec_expr_eval(expr->args[i], batch, sel, &args[i]);
    for (uint32_t k = 0; k < sel->count && err == ERR_OK; k++) {
        struct value text = vec_get(args[0], sel->rows[k]);
        struct value pattern = vec_get(args[1], sel->rows[k]);
        err = like_operand(batch->ctx, &text);
        if (err == ERR_OK)
            err = like_operand(batch->ctx, &pattern);
        if (err != ERR_OK || text.type == SQL_NULL || pattern.type == SQL_NULL)
            continue;
        if (expr->plan->arg_count == 3) {
            struct value e = vec_get(args[2], sel->rows[k]);
            err = like_escape(batch->ctx, &e, &escape);
        }
        expr->result_rows[count] = sel->rows[k];
        count +=
            value_like(value_slice(&text), value_slice(&pattern), escape) != expr->plan->negated;
    }
    result_set(expr, sel, count);
    return err;
}

/* One row of [NOT] IN: 1 passes, 0 not. */
static bool in_row(const struct exec_expr *expr, const struct vec *const *args, uint32_t row)
{
    struct value value = vec_get(args[0], row);
    bool found = false;
    bool null = value.type == SQL_NULL;

    for (uint32_t i = 1; i < expr->plan->arg_count && !found; i++) {
        struct value item = vec_get(args[i], row);
        null |= item.type == SQL_NULL;
        found = value_compare(SQL_EXPR_EQ, &value, &item);
    }
    return expr->plan->negated ? !found && !null : found;
}

static enum err filter_in(struct exec_expr *expr, const struct exec_batch *batch,
                          const struct sel *sel)
{
    const struct vec **args =
        ARENA_ARRAY(batch->ctx->arena, const struct vec *, expr->plan->arg_count);
    uint32_t count = 0;
    enum err err = ERR_OK;

    if (args == NULL)
        return exec_memory_error(batch->ctx);
    for (uint32_t i = 0; i < expr->plan->arg_count && err == ERR_OK; i++)
        err = exec_expr_eval(expr->args[i], batch, sel, &args[i]);
    for (uint32_t k = 0; k < sel->count && err == ERR_OK; k++) {
        expr->result_rows[count] = sel->rows[k];
        count += in_row(expr, args, sel->rows[k]);
    }
    result_set(expr, sel, count);
    return err;
}

static enum err filter_between(struct exec_expr *expr, const struct exec_batch *batch,
                               const struct sel *sel)
{
    const struct vec *args[3];
    uint32_t count = 0;
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < 3 && err == ERR_OK; i++)
        err = exec_expr_eval(expr->args[i], batch, sel, &args[i]);
    for (uint32_t k = 0; k < sel->count && err == ERR_OK; k++) {
        struct value v = vec_get(args[0], sel->rows[k]);
        struct value low = vec_get(args[1], sel->rows[k]);
        struct value high = vec_get(args[2], sel->rows[k]);
        if (v.type == SQL_NULL || low.type == SQL_NULL || high.type == SQL_NULL)
            continue;
        bool inside = value_compare(SQL_EXPR_GE, &v, &low) && value_compare(SQL_EXPR_LE, &v, &high);
        expr->result_rows[count] = sel->rows[k];
        count += inside != expr->plan->negated;
    }
    result_set(expr, sel, count);
    return err;
}

static enum err filter_is_null(struct exec_expr *expr, const struct exec_batch *batch,
                               const struct sel *sel)
{
    const struct vec *vec;
    uint32_t count = 0;
    enum err err = exec_expr_eval(expr->args[0], batch, sel, &vec);

    for (uint32_t k = 0; k < sel->count && err == ERR_OK; k++) {
        uint32_t row = vec->constant ? 0 : sel->rows[k];
        bool null = vec->type == SQL_NULL || vec_is_null(vec, row);
        expr->result_rows[count] = sel->rows[k];
        count += null != expr->plan->negated;
    }
    result_set(expr, sel, count);
    return err;
}

enum err exec_predicate_filter(struct exec_expr *expr, const struct exec_batch *batch,
                               const struct sel *sel, const struct sel **ret_sel)
{
    const struct sel *left;
    enum err err;

    *ret_sel = &expr->result;
    switch (expr->plan->kind) {
    case SQL_EXPR_AND:
        err = exec_expr_filter(expr->args[0], batch, sel, &left);
        return err == ERR_OK ? exec_expr_filter(expr->args[1], batch, left, ret_sel) : err;
    case SQL_EXPR_OR:
        return filter_or(expr, batch, sel);
    case SQL_EXPR_NOT:
        return filter_not(expr, batch, sel);
    case SQL_EXPR_LIKE:
        return filter_like(expr, batch, sel);
    case SQL_EXPR_IN:
        return filter_in(expr, batch, sel);
    case SQL_EXPR_BETWEEN:
        return filter_between(expr, batch, sel);
    case SQL_EXPR_IS_NULL:
        return filter_is_null(expr, batch, sel);
    default:
        return filter_compare(expr, batch, sel);
    }
}
