/* Compiled expressions: evaluated a vector at a time, over the rows of a selection. */
#ifndef WEIR_EXEC_EXPR_H
#define WEIR_EXEC_EXPR_H

#include "exec/vec.h"
#include "plan/plan.h"

struct exec_expr;

/* Rows on their way through the nodes. */
struct exec_batch {
    const struct sel *sel;
    struct column **columns;
    const int64_t *times; /* System.Timestamp() in ticks, by row */
    struct exec_ctx *ctx;
};

/* The expression over the columns of the node that is read. NULL: out of memory. */
struct exec_expr *exec_expr_create(struct arena *arena, const struct plan_expr *plan);
/* Values for the rows of sel (within batch->sel). The vector is the expression's until its next
 * evaluation. */
MUST_CHECK enum err exec_expr_eval(struct exec_expr *expr, const struct exec_batch *batch,
                                   const struct sel *sel, const struct vec **ret_vec);
/* The rows of sel for which the predicate is true; lives as long as a result of exec_expr_eval. */
MUST_CHECK enum err exec_expr_filter(struct exec_expr *expr, const struct exec_batch *batch,
                                     const struct sel *sel, const struct sel **ret_sel);

#endif
