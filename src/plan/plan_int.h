/* What the files of the planner share. */
#ifndef WEIR_PLAN_PLAN_INT_H
#define WEIR_PLAN_PLAN_INT_H

#include "plan/plan.h"

/* Rows of one node under names; a relation is one or more of them (the branches of a UNION). */
struct branch {
    struct branch *next;
    struct plan_node *node;
    struct plan_field *fields;
    uint32_t field_count;
    struct sql_span span; /* of the SELECT that made it */
};

struct bound_step {
    struct bound_step *next;
    const struct sql_step *step;
    struct branch *branches;
};

struct builder {
    const struct sql_script *script;
    struct plan *plan;
    struct plan_node **last_node;
    struct plan_route **last_route;
    struct bound_step *steps;
    struct arena *arena;
    struct sql_report *report;
    bool failed; /* memory or an error: unwind */
};

/* The source that names are looked up in. */
struct scope {
    struct branch *branch;
    struct slice alias;              /* the name that may stand before a dot */
    const struct sql_select *select; /* in HAVING: its aliases are names too; NULL elsewhere */
};

bool builder_memory(struct builder *builder);
struct plan_expr *plan_expr_new(struct builder *builder, enum plan_op op, struct sql_span span);
struct plan_expr *plan_expr_column(struct builder *builder, uint32_t column, struct sql_span span);
/* Adds a column to a select node, or finds the same plain column; UINT32_MAX on failure. */
uint32_t plan_node_column(struct builder *builder, struct plan_node *node, struct plan_expr *expr);
/* The scan's column for a path, added at need. */
uint32_t plan_scan_path(struct builder *builder, struct plan_node *scan, const struct slice *parts,
                        uint32_t count);
/* Column of node that holds what lies below its column; UINT32_MAX: cannot be read from the source.
 */
uint32_t plan_path_below(struct builder *builder, struct plan_node *node, uint32_t column,
                         const struct slice *parts, uint32_t count);
/* A node at the end of the plan. NULL: failed. */
struct plan_node *plan_node_new(struct builder *builder, enum plan_node_kind kind,
                                struct sql_span span);
/* The rows of source with one more column, the element's or property's record under its alias. */
struct branch *plan_build_apply(struct builder *builder, const struct sql_apply *apply,
                                struct branch *source, struct slice alias);
/* Names and types: the expression over the columns of scope's node. NULL: failed. */
struct plan_expr *plan_bind_expr(struct builder *builder, const struct scope *scope,
                                 const struct sql_expr *expr);
/* The same where a predicate is expected: what is known to be none is an error. */
struct plan_expr *plan_bind_predicate(struct builder *builder, const struct scope *scope,
                                      const struct sql_expr *expr);
struct plan_expr *plan_bind_path(struct builder *builder, const struct scope *scope,
                                 const struct slice *parts, uint32_t count, struct sql_span span);
/* Optimiser: merges projections, moves predicates to the scan, drops unused columns and paths. */
void plan_apply_rules(struct builder *builder);

#endif
