/*
 * Syntax tree to plan: sources, steps, statements, outputs.
 *
 * Invariants: (1) a node stands behind the node it reads; (2) one scan for each input and TIMESTAMP
 * BY, shared by all that read it; (3) the branches of a relation have the same names when no branch
 * has a star. Ownership: the plan's arena. Failure: messages in the report, NULL.
 */
#include "base/assert.h"
#include "plan/plan_int.h"
#include "sql/parser.h"

struct plan_node *plan_node_new(struct builder *builder, enum plan_node_kind kind,
                                struct sql_span span)
{
    if (builder->plan->node_count == PLAN_NODES_MAX) {
        sql_report_error(builder->report, span, "steps that read a UNION are run once for each side",
                         "the script needs more than %d operators", PLAN_NODES_MAX);
        builder->failed = true;
        return NULL;
    }
    struct plan_node *node = ARENA_NEW(builder->arena, struct plan_node);
    if (node == NULL) {
        builder_memory(builder);
        return NULL;
    }
    node->kind = kind;
    node->id = builder->plan->node_count++;
    *builder->last_node = node;
    builder->last_node = &node->next;
    return node;
}

static bool build_error(struct builder *builder, struct sql_span span, const char *hint,
                        const char *text, struct slice name)
{
    sql_report_error(builder->report, span, hint, "%s '%.*s'", text, SLICE_FMT(name));
    builder->failed = true;
    return false;
}

/* Index of a name in a list without regard to case, added at need; UINT32_MAX: the list is full. */
static uint32_t name_index(struct slice *names, struct sql_span *spans, uint32_t *count,
                           struct slice name, struct sql_span span)
{
    for (uint32_t i = 0; i < *count; i++) {
        if (slice_equal_nocase(names[i], name))
            return i;
    }
    if (*count == PLAN_NAMES_MAX)
        return UINT32_MAX;
    names[*count] = name;
    spans[*count] = span;
    return (*count)++;
}

static bool expr_equal(const struct plan_expr *a, const struct plan_expr *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    if (a->op != b->op || a->kind != b->kind || a->fn != b->fn || a->type != b->type ||
        a->cast_to != b->cast_to || a->negated != b->negated || a->try_cast != b->try_cast ||
        a->column != b->column || a->int_value != b->int_value || a->arg_count != b->arg_count ||
        !slice_equal(a->name, b->name) || !slice_equal(a->text, b->text) ||
        memcmp(&a->float_value, &b->float_value, 8) != 0)
        return false;
    for (uint32_t i = 0; i < a->arg_count; i++) {
        if (!expr_equal(a->args[i], b->args[i]))
            return false;
    }
    return true;
}

static bool reads_time(const struct plan_expr *expr)
{
    bool reads = expr->op == PLAN_TIME;

    for (uint32_t i = 0; i < expr->arg_count && !reads; i++)
        reads = reads_time(expr->args[i]);
    return reads;
}

/* The event as one branch: everything below the root, and the declared columns, which replace what
 * the event has. */
static struct branch *scan_branch(struct builder *builder, struct plan_node *scan)
{
    struct branch *branch = ARENA_NEW(builder->arena, struct branch);
    struct plan_field *fields =
        ARENA_ARRAY(builder->arena, struct plan_field, scan->declared_count + 1);
    if (branch == NULL || fields == NULL) {
        builder_memory(builder);
        return NULL;
    }
    branch->node = scan;
    branch->fields = fields;
    branch->field_count = scan->declared_count + 1;
    fields[0].spread = true;
    fields[0].column = plan_scan_path(builder, scan, NULL, 0);
    for (uint32_t i = 0; i < scan->declared_count; i++) {
        uint32_t column = scan->declared[i].column;
        ASSERT(scan->paths[column].count == 1);
        fields[i + 1].name = scan->paths[column].parts[0];
        fields[i + 1].column = column;
        fields[i + 1].declared = true;
    }
    return builder->failed ? NULL : branch;
}

static bool scan_declare(struct builder *builder, struct plan_node *scan, struct slice name)
{
    const struct sql_table *table = builder->script->tables;
    uint32_t count = 0;

    while (table != NULL && !slice_equal_nocase(table->name, name))
        table = table->next;
    if (table == NULL)
        return true;
    for (const struct sql_table_column *c = table->columns; c != NULL; c = c->next)
        count++;
    struct plan_declared *declared = ARENA_ARRAY(builder->arena, struct plan_declared, count + 1);
    if (declared == NULL)
        return builder_memory(builder);
    count = 0;
    for (const struct sql_table_column *c = table->columns; c != NULL; c = c->next) {
        declared[count].column = plan_scan_path(builder, scan, &c->name, 1);
        declared[count].type = c->type;
        count++;
    }
    scan->declared = declared;
    scan->declared_count = count;
    return !builder->failed;
}

/* TIMESTAMP BY: over the event's fields; the time that it decides cannot be in it. */
static bool bind_timestamp(struct builder *builder, const struct scope *scope,
                           const struct sql_expr *expr, struct plan_expr **ret_expr)
{
    *ret_expr = NULL;
    if (expr == NULL)
        return true;
    *ret_expr = plan_bind_expr(builder, scope, expr);
    if (*ret_expr == NULL || !reads_time(*ret_expr))
        return *ret_expr != NULL;
    sql_report_error(builder->report, expr->span, "name a field of the event",
                     "TIMESTAMP BY cannot use System.Timestamp()");
    builder->failed = true;
    return false;
}

/* The scan for an input with this time, shared with earlier readers. The new scan is dropped if it
 * is the same. */
static struct branch *build_scan(struct builder *builder, const struct sql_select *select,
                                 struct slice alias)
{
    struct plan *plan = builder->plan;
    uint32_t input = name_index(plan->inputs, plan->input_spans, &plan->input_count,
                                select->source, select->source_span);
    struct plan_expr *timestamp = NULL;

    if (input == UINT32_MAX) {
        build_error(builder, select->source_span, NULL, "more than 60 inputs, at", select->source);
        return NULL;
    }
    for (struct plan_node *node = plan->nodes; node != NULL; node = node->next) {
        if (node->kind != PLAN_SCAN || node->input != input)
            continue;
        struct branch *branch = scan_branch(builder, node);
        struct scope scope = {branch, alias, NULL};
        if (branch == NULL ||
            !bind_timestamp(builder, &scope, select->timestamp_by, &timestamp))
            return NULL;
        if (expr_equal(timestamp, node->timestamp))
            return branch;
    }
    struct plan_node *scan = plan_node_new(builder, PLAN_SCAN, select->source_span);
    if (scan == NULL)
        return NULL;
    scan->input = input;
    if (!scan_declare(builder, scan, select->source))
        return NULL;
    struct branch *branch = scan_branch(builder, scan);
    struct scope scope = {branch, alias, NULL};
    if (branch == NULL ||
        !bind_timestamp(builder, &scope, select->timestamp_by, &scan->timestamp))
        return NULL;
    return branch;
}

static struct branch *build_query(struct builder *builder, const struct sql_select *query,
                                  uint32_t order);

/* Branches of what FROM names. */
static struct branch *build_source(struct builder *builder, const struct sql_select *select,
                                   uint32_t order, struct slice alias)
{
    if (select->derived != NULL)
        return build_query(builder, select->derived, order);
    for (struct bound_step *step = builder->steps; step != NULL; step = step->next) {
        if (!slice_equal_nocase(step->step->name, select->source) || step->step->order > order)
            continue;
        if (select->timestamp_by != NULL) {
            build_error(builder, select->source_span, "put TIMESTAMP BY where the input is read",
                        "TIMESTAMP BY is only allowed on inputs, not on the step", select->source);
            return NULL;
        }
        return step->branches;
    }
    for (const struct sql_step *step = builder->script->steps; step != NULL; step = step->next) {
        if (slice_equal_nocase(step->name, select->source)) {
            build_error(builder, select->source_span, "steps see only the steps above them",
                        "this use comes before the step", select->source);
            return NULL;
        }
    }
    return build_scan(builder, select, alias);
}

static struct slice lower_copy(struct builder *builder, struct slice name)
{
    struct slice copy = arena_copy(builder->arena, name);
    if (copy.data == NULL) {
        builder_memory(builder);
        return name;
    }
    for (size_t i = 0; i < copy.len; i++) {
        uint8_t *byte = (uint8_t *)(uintptr_t)&copy.data[i];
        if (*byte >= 'A' && *byte <= 'Z')
            *byte |= 0x20;
    }
    return copy;
}

/* Name of a column that has no alias. */
static struct slice default_name(struct builder *builder, const struct sql_expr *expr,
                                 uint32_t position)
{
    if (expr->kind == SQL_EXPR_PATH)
        return expr->parts[expr->part_count - 1];
    if (expr->kind == SQL_EXPR_CALL && expr->function->id == SQL_FN_SYSTEM_TIMESTAMP)
        return SLICE_LIT("timestamp");
    if (expr->kind == SQL_EXPR_CALL)
        return lower_copy(builder, slice_cstr(expr->function->name));
    char *name = arena_printf(builder->arena, "column%u", position);
    if (name == NULL) {
        builder_memory(builder);
        return SLICE_LIT("column");
    }
    return slice_cstr(name);
}

/* An explicit column. To the right of a star it replaces the star's column of that name, in its
 * place. */
static bool field_add(struct builder *builder, struct branch *branch, struct plan_field field,
                      struct sql_span span)
{
    if (builder->plan->level == 10 && !field.spread)
        field.name = lower_copy(builder, field.name);
    for (uint32_t i = 0; i < branch->field_count && !field.spread; i++) {
        if (branch->fields[i].spread || !slice_equal_nocase(branch->fields[i].name, field.name))
            continue;
        if (!branch->fields[i].starred)
            return build_error(builder, span, "give one of them another name with AS",
                               "two columns have the name", field.name);
        branch->fields[i] = field;
        return !builder->failed;
    }
    branch->fields[branch->field_count++] = field;
    return !builder->failed;
}

/* All columns of the source, less those that an earlier item of this SELECT produced. */
static bool item_star(struct builder *builder, const struct branch *source, struct branch *result,
                      const struct sql_item *item)
{
    for (uint32_t i = 0; i < source->field_count; i++) {
        struct plan_field field = source->fields[i];
        bool taken = field.applied && item->expr != NULL; /* alias.* is the input alone */
        for (uint32_t k = 0; k < result->field_count && !field.spread; k++)
            taken |=
                !result->fields[k].spread && slice_equal_nocase(result->fields[k].name, field.name);
        if (taken)
            continue;
        struct plan_expr *expr = plan_expr_column(builder, field.column, item->span);
        if (expr == NULL)
            return false;
        field.column = plan_node_column(builder, result->node, expr);
        if (field.column == UINT32_MAX)
            return false;
        field.starred = true;
        result->fields[result->field_count++] = field;
    }
    return true;
}

static bool item_add(struct builder *builder, const struct scope *scope,
                     const struct sql_item *item, uint32_t position, struct branch *result)
{
    if (item->star &&
        (item->expr == NULL ||
         (item->expr->part_count == 1 && slice_equal_nocase(item->expr->parts[0], scope->alias))))
        return item_star(builder, scope->branch, result, item);
    struct plan_field field = {.spread = item->star};
    struct plan_expr *expr = plan_bind_expr(builder, scope, item->expr);
    if (expr == NULL)
        return false;
    if (item->alias.data != NULL)
        field.name = item->alias;
    else if (item->expr->kind == SQL_EXPR_TEXT && expr->op != PLAN_CONST) /* "a" is a column here */
        field.name = item->expr->text;
    else if (!item->star)
        field.name = default_name(builder, item->expr, position);
    field.column = plan_node_column(builder, result->node, expr);
    if (field.column == UINT32_MAX)
        return false;
    return field_add(builder, result, field, item->span);
}

static uint32_t fields_room(const struct sql_select *select, const struct branch *source)
{
    uint32_t room = 1;
    for (const struct sql_item *item = select->items; item != NULL; item = item->next)
        room += item->star ? source->field_count + 1 : 1;
    return room;
}

static struct plan_expr *and_exprs(struct builder *builder, struct plan_expr *a,
                                   struct plan_expr *b)
{
    if (a == NULL || b == NULL)
        return a == NULL ? b : a;
    struct plan_expr *expr = plan_expr_new(builder, PLAN_EXPR, a->span);
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

static struct branch *build_select(struct builder *builder, const struct sql_select *select,
                                   struct branch *source, struct slice alias)
{
    struct branch *result = ARENA_NEW(builder->arena, struct branch);
    struct scope scope = {source, alias, NULL};
    struct scope having = {source, alias, select};
    uint32_t position = 0;

    if (result == NULL) {
        builder_memory(builder);
        return NULL;
    }
    result->fields = ARENA_ARRAY(builder->arena, struct plan_field, fields_room(select, source));
    result->node = plan_node_new(builder, PLAN_SELECT, select->span);
    if (result->fields == NULL || result->node == NULL) {
        builder_memory(builder);
        return NULL;
    }
    result->span = select->span;
    result->node->child = source->node;
    if (select->where != NULL)
        result->node->where = plan_bind_predicate(builder, &scope, select->where);
    if (select->having != NULL && !builder->failed) /* a column of the row, else a select alias */
        result->node->where = and_exprs(builder, result->node->where,
                                        plan_bind_predicate(builder, &having, select->having));
    for (const struct sql_item *item = select->items; item != NULL && !builder->failed;
         item = item->next) {
        if (!item_add(builder, &scope, item, ++position, result))
            return NULL;
    }
    return builder->failed ? NULL : result;
}

static bool has_spread(const struct branch *branch)
{
    for (uint32_t i = 0; i < branch->field_count; i++) {
        if (branch->fields[i].spread)
            return true;
    }
    return false;
}

/* The branches of a UNION: as many columns, named by the first one when no branch has a star. */
static bool check_union(struct builder *builder, struct branch *first)
{
    bool star = false;

    for (struct branch *branch = first; branch != NULL; branch = branch->next)
        star |= has_spread(branch);
    for (struct branch *branch = first->next; branch != NULL && !star; branch = branch->next) {
        if (branch->field_count != first->field_count) {
            sql_report_error(builder->report, branch->span, NULL,
                             "the sides of UNION have different numbers of columns: %u and %u",
                             first->field_count, branch->field_count);
            builder->failed = true;
            return false;
        }
        for (uint32_t i = 0; i < first->field_count; i++)
            branch->fields[i].name = first->fields[i].name;
    }
    return true;
}

static struct branch *build_query(struct builder *builder, const struct sql_select *query,
                                  uint32_t order)
{
    struct branch *first = NULL;
    struct branch **last = &first;

    for (const struct sql_select *select = query; select != NULL; select = select->next) {
        struct slice alias = select->alias.data != NULL ? select->alias : select->source;
        struct branch *source = build_source(builder, select, order, alias);
        for (; source != NULL; source = source->next) {
            struct branch *rows = source;
            for (const struct sql_apply *a = select->applies; a != NULL && rows != NULL; a = a->next)
                rows = plan_build_apply(builder, a, rows, alias);
            *last = rows == NULL ? NULL : build_select(builder, select, rows, alias);
            if (*last == NULL)
                return NULL;
            last = &(*last)->next;
        }
        if (builder->failed)
            return NULL;
    }
    ASSERT(first != NULL);
    return check_union(builder, first) ? first : NULL;
}

static bool build_step(struct builder *builder, const struct sql_step *step)
{
    struct bound_step *bound = ARENA_NEW(builder->arena, struct bound_step);
    if (bound == NULL)
        return builder_memory(builder);
    bound->step = step;
    bound->branches = build_query(builder, step->query, step->order);
    bound->next = builder->steps;
    if (bound->branches == NULL)
        return false;
    builder->steps = bound;
    return true;
}

static bool build_statement(struct builder *builder, const struct sql_statement *statement)
{
    struct plan *plan = builder->plan;
    const struct sql_select *query = statement->query;
    struct slice name = query->into.data != NULL ? query->into : SLICE_LIT("output");
    uint32_t output =
        name_index(plan->outputs, plan->output_spans, &plan->output_count, name,
                   query->into.data != NULL ? query->into_span : query->span);

    if (output == UINT32_MAX)
        return build_error(builder, query->span, NULL, "more than 60 outputs, at", name);
    for (struct branch *branch = build_query(builder, query, statement->order); branch != NULL;
         branch = branch->next) {
        struct plan_route *route = ARENA_NEW(builder->arena, struct plan_route);
        if (route == NULL)
            return builder_memory(builder);
        route->node = branch->node;
        route->fields = branch->fields;
        route->field_count = branch->field_count;
        route->output = output;
        *builder->last_route = route;
        builder->last_route = &route->next;
    }
    return !builder->failed;
}

struct plan *plan_build(const struct sql_script *script, const struct plan_options *options,
                        struct arena *arena, struct sql_report *report)
{
    struct builder builder = {.script = script, .arena = arena, .report = report};
    struct plan *plan = ARENA_NEW(arena, struct plan);

    builder.plan = plan;
    if (plan == NULL)
        return NULL;
    plan->level = options != NULL && options->level != 0 ? options->level : 12;
    plan->inputs = ARENA_ARRAY(arena, struct slice, PLAN_NAMES_MAX);
    plan->outputs = ARENA_ARRAY(arena, struct slice, PLAN_NAMES_MAX);
    plan->input_spans = ARENA_ARRAY(arena, struct sql_span, PLAN_NAMES_MAX);
    plan->output_spans = ARENA_ARRAY(arena, struct sql_span, PLAN_NAMES_MAX);
    if (plan->inputs == NULL || plan->outputs == NULL || plan->input_spans == NULL ||
        plan->output_spans == NULL)
        return NULL;
    builder.last_node = &plan->nodes;
    builder.last_route = &plan->routes;
    for (const struct sql_step *step = script->steps; step != NULL; step = step->next) {
        if (!build_step(&builder, step))
            return NULL;
    }
    for (const struct sql_statement *s = script->statements; s != NULL; s = s->next) {
        if (!build_statement(&builder, s))
            return NULL;
    }
    plan_apply_rules(&builder);
    return builder.failed ? NULL : plan;
}

struct plan *plan_compile(struct slice script, const struct plan_options *options,
                          struct arena *arena, struct sql_report *report)
{
    struct sql_script *tree = sql_parse(script, arena, report);
    return tree == NULL ? NULL : plan_build(tree, options, arena, report);
}
