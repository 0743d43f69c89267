/*
 * A plan as indented text, one line for each node and each route, for --explain and for tests of the rules.
 *
 * Columns are printed as #number, operators by their number in the syntax tree. Invariant: only nodes that some output
 * depends on are printed. Ownership: the caller's buffer. Failure: none but the buffer's limit.
 */
#include "plan/plan.h"

static void print_expr(const struct plan_expr *expr, struct bytebuf *out)
{
    switch (expr->op) {
    case PLAN_CONST:
        if (expr->type == SQL_TEXT)
            bytebuf_printf(out, "'%.*s'", SLICE_FMT(expr->text));
        else if (expr->type == SQL_FLOAT)
            bytebuf_printf(out, "%g", expr->float_value);
        else if (expr->type == SQL_NULL)
            bytebuf_append_cstr(out, "NULL");
        else
            bytebuf_printf(out, "%lld", (long long)expr->int_value);
        return;
    case PLAN_COLUMN:
        bytebuf_printf(out, "#%u", expr->column);
        return;
    case PLAN_TIME:
        bytebuf_append_cstr(out, "time");
        return;
    case PLAN_APPLY_KEY:
        bytebuf_append_cstr(out, "key");
        return;
    case PLAN_APPLY_VALUE:
        bytebuf_append_cstr(out, "value");
        return;
    case PLAN_APPLY_RECORD:
        bytebuf_append_cstr(out, "record");
        return;
    case PLAN_FIELD:
        print_expr(expr->args[0], out);
        bytebuf_printf(out, ".%.*s", SLICE_FMT(expr->name));
        return;
    case PLAN_EXPR:
        bytebuf_printf(out, "op%d(", (int)expr->kind);
        break;
    case PLAN_CALL:
        bytebuf_printf(out, "%.*s(", SLICE_FMT(expr->name));
        break;
    }
    for (uint32_t i = 0; i < expr->arg_count; i++) {
        if (i > 0)
            bytebuf_append_cstr(out, ", ");
        print_expr(expr->args[i], out);
    }
    bytebuf_append_byte(out, ')');
}

static void print_node(const struct plan *plan, const struct plan_node *node, struct bytebuf *out)
{
    if (node->kind == PLAN_SCAN) {
        bytebuf_printf(out, "%u: scan %.*s", node->id, SLICE_FMT(plan->inputs[node->input]));
        for (uint32_t i = 0; i < node->column_count; i++) {
            bytebuf_printf(out, "%s#%u=", i == 0 ? " [" : ", ", i);
            for (uint32_t k = 0; k < node->paths[i].count; k++)
                bytebuf_printf(out, ".%.*s", SLICE_FMT(node->paths[i].parts[k]));
        }
        bytebuf_append_cstr(out, node->column_count > 0 ? "]\n" : "\n");
        return;
    }
    if (node->kind == PLAN_APPLY) {
        bytebuf_printf(out, "%u: apply%s %s of ", node->id, node->apply_outer ? " outer" : "",
                       node->apply_record ? "properties" : "elements");
        print_expr(node->apply, out);
        bytebuf_printf(out, " from %u", node->child->id);
    } else {
        bytebuf_printf(out, "%u: select from %u", node->id, node->child->id);
    }
    if (node->where != NULL) {
        bytebuf_append_cstr(out, " where ");
        print_expr(node->where, out);
    }
    for (uint32_t i = 0; i < node->column_count; i++) {
        bytebuf_printf(out, "%s#%u=", i == 0 ? " [" : ", ", i);
        print_expr(node->columns[i], out);
    }
    bytebuf_append_cstr(out, node->column_count > 0 ? "]\n" : "\n");
}

void plan_print(const struct plan *plan, struct bytebuf *out)
{
    for (const struct plan_node *node = plan->nodes; node != NULL; node = node->next) {
        if (node->used)
            print_node(plan, node, out);
    }
    for (const struct plan_route *route = plan->routes; route != NULL; route = route->next) {
        bytebuf_printf(out, "output %.*s from %u:", SLICE_FMT(plan->outputs[route->output]),
                       route->node->id);
        for (uint32_t i = 0; i < route->field_count; i++)
            bytebuf_printf(
                out, " %.*s=#%u",
                SLICE_FMT(route->fields[i].spread ? SLICE_LIT("*") : route->fields[i].name),
                route->fields[i].column);
        bytebuf_append_byte(out, '\n');
    }
}
