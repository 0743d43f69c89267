/*
 * Rules over a bound plan.
 *
 *   merge    a select over a select whose columns are plain: one select, both predicates; the lower
 * one, if nobody else reads it, dies. So a WHERE behind a step ends up on the scan. prune    plain
 * columns that nobody reads are dropped, then the scan's paths that no column needs.
 *
 * Invariants: (1) results do not change; (2) a predicate of an inner step is evaluated before the
 * outer one; (3) what can fail at run time (CAST, functions) is neither dropped nor evaluated
 * twice.
 */
#include "base/assert.h"
#include "plan/plan_int.h"

static bool is_plain(const struct plan_expr *expr)
{
    return expr->op == PLAN_COLUMN || expr->op == PLAN_CONST || expr->op == PLAN_TIME;
}

static bool node_is_plain(const struct plan_node *node)
{
    for (uint32_t i = 0; i < node->column_count; i++) {
        if (!is_plain(node->columns[i]))
            return false;
    }
    return true;
}

/* The expression over the columns of child, written over the columns of what child reads. */
static struct plan_expr *substitute(struct builder *builder, const struct plan_expr *expr,
                                    const struct plan_node *child)
{
    if (expr->op == PLAN_COLUMN)
        return child->columns[expr->column];
    struct plan_expr *copy = plan_expr_new(builder, expr->op, expr->span);
    if (copy == NULL)
        return NULL;
    *copy = *expr;
    if (expr->arg_count == 0)
        return copy;
    copy->args = ARENA_ARRAY(builder->arena, struct plan_expr *, expr->arg_count);
    if (copy->args == NULL) {
        builder_memory(builder);
        return NULL;
    }
    for (uint32_t i = 0; i < expr->arg_count; i++) {
        copy->args[i] = substitute(builder, expr->args[i], child);
        if (copy->args[i] == NULL)
            return NULL;
    }
    return copy;
}

static struct plan_expr *both(struct builder *builder, struct plan_expr *a, struct plan_expr *b)
{
    if (a == NULL || b == NULL)
        return a == NULL ? b : a;
    struct plan_expr *expr = plan_expr_new(builder, PLAN_EXPR, b->span);
    struct plan_expr **args = ARENA_ARRAY(builder->arena, struct plan_expr *, 2);
    if (expr == NULL || args == NULL) {
        builder_memory(builder);
        return NULL;
    }
    args[0] = a;
    args[1] = b;
    expr->kind = SQL_EXPR_AND;
    expr->type = SQL_BIT;
    expr->args = args;
    expr->arg_count = 2;
    return expr;
}

static void merge_selects(struct builder *builder)
{
    for (struct plan_node *node = builder->plan->nodes; node != NULL; node = node->next) {
        if (node->kind != PLAN_SELECT)
            continue;
        struct plan_node *child = node->child;
        while (child->kind == PLAN_SELECT && child->readers == 1 && node_is_plain(child)) {
            for (uint32_t i = 0; i < node->column_count && !builder->failed; i++)
                node->columns[i] = substitute(builder, node->columns[i], child);
            struct plan_expr *where =
                node->where == NULL ? NULL : substitute(builder, node->where, child);
            if (builder->failed)
                return;
            node->where = both(builder, child->where, where);
            node->child = child->child;
            child->readers = 0;
            child->used = false;
            child = node->child;
        }
    }
}

static void count_readers(struct plan *plan)
{
    for (struct plan_node *node = plan->nodes; node != NULL; node = node->next)
        node->readers = 0;
    for (struct plan_route *route = plan->routes; route != NULL; route = route->next) {
        route->node->readers++;
        route->node->used = true;
    }
    for (struct plan_node *node = plan->nodes; node != NULL; node = node->next) {
        if (node->kind != PLAN_SCAN)
            node->child->readers++;
    }
}

static void mark_columns(const struct plan_expr *expr, bool *used)
{
    if (expr->op == PLAN_COLUMN)
        used[expr->column] = true;
    for (uint32_t i = 0; i < expr->arg_count; i++)
        mark_columns(expr->args[i], used);
}

/* Which columns of node somebody reads. */
static void node_demand(const struct plan *plan, const struct plan_node *node, bool *used)
{
    memset(used, 0, PLAN_COLUMNS_MAX * sizeof(bool));
    for (const struct plan_route *route = plan->routes; route != NULL; route = route->next) {
        for (uint32_t i = 0; route->node == node && i < route->field_count; i++)
            used[route->fields[i].column] = true;
    }
    for (const struct plan_node *n = node->next; n != NULL; n = n->next) {
        if (n->kind == PLAN_SCAN || n->child != node || !n->used)
            continue;
        if (n->where != NULL)
            mark_columns(n->where, used);
        if (n->apply != NULL)
            mark_columns(n->apply, used);
        for (uint32_t i = 0; i < n->column_count; i++)
            mark_columns(n->columns[i], used);
    }
    if (node->timestamp != NULL)
        mark_columns(node->timestamp, used);
    for (uint32_t i = 0; i < node->declared_count; i++)
        used[node->declared[i].column] = true;
}

static void renumber(struct plan_expr *expr, const uint32_t *map)
{
    if (expr->op == PLAN_COLUMN) {
        ASSERT(map[expr->column] != UINT32_MAX);
        expr->column = map[expr->column];
    }
    for (uint32_t i = 0; i < expr->arg_count; i++)
        renumber(expr->args[i], map);
}

/* Drops the unread columns of a node and renumbers its readers. */
static void prune_node(struct plan *plan, struct plan_node *node, const bool *used)
{
    static const uint32_t gone = UINT32_MAX;
    uint32_t map[PLAN_COLUMNS_MAX];
    uint32_t kept = 0;

    ASSERT(node->column_count <= PLAN_COLUMNS_MAX);
    for (uint32_t i = 0; i < node->column_count; i++) {
        bool keep = used[i] || (node->kind == PLAN_SELECT && !is_plain(node->columns[i]));
        map[i] = keep ? kept : gone;
        if (!keep)
            continue;
        if (node->kind == PLAN_SCAN)
            node->paths[kept] = node->paths[i];
        else
            node->columns[kept] = node->columns[i];
        kept++;
    }
    node->column_count = kept;
    for (struct plan_route *route = plan->routes; route != NULL; route = route->next) {
        for (uint32_t i = 0; route->node == node && i < route->field_count; i++)
            route->fields[i].column = map[route->fields[i].column];
    }
    for (struct plan_node *n = node->next; n != NULL; n = n->next) {
        if (n->kind == PLAN_SCAN || n->child != node || !n->used)
            continue;
        if (n->where != NULL)
            renumber(n->where, map);
        if (n->apply != NULL)
            renumber(n->apply, map);
        for (uint32_t i = 0; i < n->column_count; i++)
            renumber(n->columns[i], map);
    }
    if (node->timestamp != NULL)
        renumber(node->timestamp, map);
    for (uint32_t i = 0; i < node->declared_count; i++)
        node->declared[i].column = map[node->declared[i].column];
}

/* Every select gets expressions of its own, so that renumbering one leaves the others alone. */
static struct plan_expr *unshare(struct builder *builder, const struct plan_expr *expr)
{
    struct plan_expr *copy = plan_expr_new(builder, expr->op, expr->span);
    if (copy == NULL)
        return NULL;
    *copy = *expr;
    if (expr->arg_count == 0)
        return copy;
    copy->args = ARENA_ARRAY(builder->arena, struct plan_expr *, expr->arg_count);
    if (copy->args == NULL) {
        builder_memory(builder);
        return NULL;
    }
    for (uint32_t i = 0; i < expr->arg_count; i++) {
        copy->args[i] = unshare(builder, expr->args[i]);
        if (copy->args[i] == NULL)
            return NULL;
    }
    return copy;
}

static void unshare_all(struct builder *builder)
{
    for (struct plan_node *node = builder->plan->nodes; node != NULL; node = node->next) {
        if (node->where != NULL && !builder->failed)
            node->where = unshare(builder, node->where);
        if (node->timestamp != NULL && !builder->failed)
            node->timestamp = unshare(builder, node->timestamp);
        if (node->apply != NULL && !builder->failed)
            node->apply = unshare(builder, node->apply);
        for (uint32_t i = 0; node->kind != PLAN_SCAN && i < node->column_count; i++) {
            if (!builder->failed)
                node->columns[i] = unshare(builder, node->columns[i]);
        }
    }
}

/* Marks what outputs depend on, readers first: the list is walked from its end. */
static void mark_used(const struct plan_node *node)
{
    for (; node != NULL && node->kind != PLAN_SCAN; node = node->child)
        node->child->used = true;
}

static void prune(struct builder *builder)
{
    struct plan *plan = builder->plan;
    struct plan_node **order =
        ARENA_ARRAY(builder->arena, struct plan_node *, plan->node_count + 1);
    bool *used = ARENA_ARRAY(builder->arena, bool, PLAN_COLUMNS_MAX);
    uint32_t count = 0;

    if (order == NULL || used == NULL) {
        builder_memory(builder);
        return;
    }
    for (struct plan_node *node = plan->nodes; node != NULL; node = node->next)
        order[count++] = node;
    for (uint32_t i = 0; i < count; i++) {
        if (order[i]->used)
            mark_used(order[i]);
    }
    while (count-- > 0) {
        if (!order[count]->used)
            continue;
        node_demand(plan, order[count], used);
        prune_node(plan, order[count], used);
    }
}

void plan_apply_rules(struct builder *builder)
{
    if (builder->failed)
        return;
    count_readers(builder->plan);
    merge_selects(builder);
    if (!builder->failed)
        unshare_all(builder);
    if (!builder->failed)
        prune(builder);
}
