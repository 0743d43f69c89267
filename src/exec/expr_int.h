/* What the files of the expression engine share. */
#ifndef WEIR_EXEC_EXPR_INT_H
#define WEIR_EXEC_EXPR_INT_H

#include "exec/expr.h"

struct exec_expr {
    const struct plan_expr *plan;
    struct exec_expr **args;
    struct vec out;
    bool is_constant; /* depends on nothing: evaluated once */
    bool is_ready;    /* and it has been */
    bool is_predicate;
    struct arena *arena; /* of the query, for constants */

    struct sel result; /* of a filter */
    struct sel rest;   /* rows still undecided in OR, NOT, CASE */
    uint16_t *result_rows;
    uint16_t *rest_rows;
};

/* args have no NULL unless the function's row says that it takes them. */
typedef enum err (*exec_fn)(struct exec_ctx *ctx, const struct value *args, uint32_t count,
                            struct value *ret_value);

struct exec_function {
    exec_fn call;
    bool takes_null; /* otherwise a NULL argument gives NULL without a call */
};

/* The row of a function; call is NULL for those that expr.c evaluates itself. */
const struct exec_function *exec_function_row(enum sql_function_id id);

/* A runtime error: "function takes X, not Y". index counts from 1. */
enum err exec_argument_error(struct exec_ctx *ctx, const char *function, uint32_t index,
                             const struct value *value, const char *allowed);
enum err exec_memory_error(struct exec_ctx *ctx);
/* Arguments by type; on failure the runtime error is set. */
MUST_CHECK enum err exec_arg_text(struct exec_ctx *ctx, const char *function, uint32_t index,
                                  const struct value *value, struct slice *ret_text);
MUST_CHECK enum err exec_arg_int(struct exec_ctx *ctx, const char *function, uint32_t index,
                                 const struct value *value, int64_t *ret_int);
MUST_CHECK enum err exec_arg_number(struct exec_ctx *ctx, const char *function, uint32_t index,
                                    const struct value *value, struct value *ret_number);
MUST_CHECK enum err exec_arg_time(struct exec_ctx *ctx, const char *function, uint32_t index,
                                  const struct value *value, int64_t *ret_ticks);

/* Puts the place of the expression before a runtime error. */
enum err exec_expr_failed(const struct exec_expr *expr, const struct exec_ctx *ctx, enum err err);

/* predicate.c: filter of operators, comparison by typed kernels. */
enum err exec_predicate_filter(struct exec_expr *expr, const struct exec_batch *batch,
                               const struct sel *sel, const struct sel **ret_sel);
/* kernels.c: rows of sel where "a kind b" holds, into rows; UINT32_MAX: no kernel for these types.
 */
uint32_t exec_kernel_compare(enum sql_expr_kind kind, const struct vec *a, const struct vec *b,
                             const struct sel *sel, uint16_t *rows);
/* kernels.c: out = a kind b; false: no kernel, or an element needs the general rules. */
bool exec_kernel_arithmetic(enum sql_expr_kind kind, const struct vec *a, const struct vec *b,
                            const struct sel *sel, struct vec *out);

/* The functions, by file. */
#define EXEC_FN(name)                                                                              \
    enum err exec_fn_##name(struct exec_ctx *ctx, const struct value *args, uint32_t count,        \
                            struct value *ret_value)
EXEC_FN(abs);
EXEC_FN(ceiling);
EXEC_FN(exp);
EXEC_FN(floor);
EXEC_FN(power);
EXEC_FN(round);
EXEC_FN(sign);
EXEC_FN(sqrt);
EXEC_FN(square);
EXEC_FN(charindex);
EXEC_FN(concat);
EXEC_FN(concat_ws);
EXEC_FN(left);
EXEC_FN(len);
EXEC_FN(lower);
EXEC_FN(ltrim);
EXEC_FN(nchar);
EXEC_FN(patindex);
EXEC_FN(regexmatch);
EXEC_FN(replace);
EXEC_FN(replicate);
EXEC_FN(reverse);
EXEC_FN(right);
EXEC_FN(rtrim);
EXEC_FN(space);
EXEC_FN(stuff);
EXEC_FN(substring);
EXEC_FN(translate);
EXEC_FN(trim);
EXEC_FN(unicode);
EXEC_FN(upper);
EXEC_FN(dateadd);
EXEC_FN(datediff);
EXEC_FN(datename);
EXEC_FN(datepart);
EXEC_FN(datetimefromparts);
EXEC_FN(day);
EXEC_FN(month);
EXEC_FN(year);
EXEC_FN(getarrayelement);
EXEC_FN(getarraylength);
EXEC_FN(getrecordpropertyvalue);
EXEC_FN(gettype);
EXEC_FN(createlinestring);
EXEC_FN(createpoint);
EXEC_FN(createpolygon);
EXEC_FN(st_distance);
EXEC_FN(st_intersects);
EXEC_FN(st_overlaps);
EXEC_FN(st_within);
EXEC_FN(json_parse);
EXEC_FN(nullif);
EXEC_FN(coalesce);

#endif
