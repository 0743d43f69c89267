/*
 * APPLY: a node that makes a row for each element of an array or property of a record.
 *
 * It hands on the columns of the rows it reads, as plain columns, and makes three more at need: key,
 * value and both as a record. The record is the column that a query sees under the alias; its fields
 * resolve to the other two, so that it is hardly ever made.
 *
 * Invariants: (1) its columns are plain or made ones; (2) the argument is an expression over the
 * columns of its child. Ownership: the plan's arena. Failure: messages in the report, NULL.
 */
#include "base/assert.h"
#include "plan/plan_int.h"

/* The fields of source, over the columns of the apply. */
static bool fields_copy(struct builder *builder, const struct branch *source,
                        struct branch *result, struct sql_span span)
{
    for (uint32_t i = 0; i < source->field_count; i++) {
        struct plan_expr *expr = plan_expr_column(builder, source->fields[i].column, span);
        if (expr == NULL)
            return false;
        result->fields[i] = source->fields[i];
        result->fields[i].column = plan_node_column(builder, result->node, expr);
        if (result->fields[i].column == UINT32_MAX)
            return false;
    }
    return true;
}

struct branch *plan_build_apply(struct builder *builder, const struct sql_apply *apply,
                                struct branch *source, struct slice alias)
{
    struct branch *result = ARENA_NEW(builder->arena, struct branch);
    struct scope scope = {source, alias, NULL};
    uint32_t count = source->field_count;

    if (result == NULL) {
        builder_memory(builder);
        return NULL;
    }
    result->span = apply->span;
    result->fields = ARENA_ARRAY(builder->arena, struct plan_field, count + 1);
    result->node = plan_node_new(builder, PLAN_APPLY, apply->span);
    struct plan_expr *record = plan_expr_new(builder, PLAN_APPLY_RECORD, apply->span);
    if (result->fields == NULL || result->node == NULL || record == NULL) {
        builder_memory(builder);
        return NULL;
    }
    result->node->child = source->node;
    result->node->apply_record = apply->record;
    result->node->apply_outer = apply->outer;
    result->node->apply = plan_bind_expr(builder, &scope, apply->arg);
    if (result->node->apply == NULL || !fields_copy(builder, source, result, apply->span))
        return NULL;
    record->type = SQL_RECORD;
    struct plan_field *field = &result->fields[count];
    field->name = apply->alias;
    field->applied = true;
    field->column = plan_node_column(builder, result->node, record);
    result->field_count = count + 1;
    ASSERT(builder->failed || field->column != UINT32_MAX);
    return builder->failed ? NULL : result;
}
