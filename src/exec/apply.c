/*
 * APPLY at work: one row in, a row out for each element of its array or property of its record.
 *
 * Rows out collect in a batch of the node's own: the child's row of each and the cells of the made
 * columns. A full batch, and the last one, gets the child's columns copied for its rows and is sent
 * on; then what was made for it is forgotten.
 *
 * Invariants: (1) the child's columns stay as they are until the apply is done with the batch; (2)
 * made cells view the row's array or record, or text of the batch's arena. Ownership: the query's
 * arena. Failure: a runtime error for what is no array or record; memory.
 */
#include "base/assert.h"
#include "base/numtext.h"
#include "exec/expr_int.h"
#include "exec/query_int.h"

struct applying {
    struct exec_query *query;
    struct node_state *node;
    const struct exec_batch *batch;
    struct err_info *info;
    struct arena_mark mark;
};

bool exec_apply_create(struct exec_query *query, struct node_state *node)
{
    const struct plan_node *plan = node->plan;

    node->cells =
        ARENA_ARRAY(query->arena, struct json_cell, (size_t)plan->column_count * VEC_ROWS + 1);
    node->times = ARENA_ARRAY(query->arena, int64_t, VEC_ROWS);
    node->kept = ARENA_ARRAY(query->arena, uint16_t, VEC_ROWS);
    node->apply = exec_expr_create(query->arena, plan->apply);
    if (node->cells == NULL || node->times == NULL || node->kept == NULL || node->apply == NULL)
        return false;
    for (uint32_t i = 0; i < plan->column_count; i++) {
        node->storage[i].vec = ARENA_NEW(query->arena, struct vec);
        if (node->storage[i].vec == NULL || !vec_init(node->storage[i].vec, query->arena))
            return false;
        node->columns[i] = &node->storage[i];
    }
    return true;
}

/* A column of the child for the collected rows: cells as cells, values as values. */
static void copy_column(struct node_state *node, uint32_t i, const struct column *from)
{
    struct column *to = &node->storage[i];
    struct json_cell *cells = &node->cells[(size_t)i * VEC_ROWS];

    to->ready = NULL;
    to->cells = from->cells == NULL ? NULL : cells;
    for (uint32_t k = 0; k < node->count; k++) {
        if (from->cells != NULL)
            cells[k] = from->cells[node->kept[k]];
        else
            to->vec->v[k] = vec_get(from->vec, node->kept[k]);
    }
    if (from->cells == NULL) {
        vec_settle(to->vec, &node->all);
        to->ready = &node->all;
    }
}

static enum err send_collected(struct applying *a)
{
    struct node_state *node = a->node;
    const struct plan_node *plan = node->plan;
    struct exec_batch rows = {&node->all, node->columns, node->times, a->batch->ctx};

    if (node->count == 0)
        return ERR_OK;
    node->all = (struct sel){sel_ramp(), node->count, NULL};
    for (uint32_t i = 0; i < plan->column_count; i++) {
        if (plan->columns[i]->op == PLAN_COLUMN) {
            copy_column(node, i, a->batch->columns[plan->columns[i]->column]);
        } else {
            node->storage[i].cells = &node->cells[(size_t)i * VEC_ROWS];
            node->storage[i].ready = NULL;
        }
    }
    for (uint32_t k = 0; k < node->count; k++)
        node->times[k] = a->batch->times[node->kept[k]];
    enum err err = exec_query_send(a->query, node, &rows, a->info);
    node->count = 0;
    arena_rewind(a->batch->ctx->arena, a->mark);
    return err;
}

/* An index as the cell of a JSON number. */
static bool index_cell(struct exec_ctx *ctx, int64_t index, struct json_cell *ret_cell)
{
    char digits[NUMTEXT_INT64_MAX];
    struct slice text =
        arena_copy(ctx->arena, slice_make(digits, numtext_write_int64(digits, index)));

    *ret_cell = (struct json_cell){text.data, (uint32_t)text.len, JSON_KIND_INT, 0};
    return text.data != NULL;
}

static void append_cell(struct bytebuf *out, const struct json_cell *cell)
{
    if (cell->kind == JSON_KIND_MISSING)
        bytebuf_append_cstr(out, "null");
    else
        bytebuf_append_slice(out, json_cell_source(cell));
}

/* Both as the source of a record. */
static bool record_cell(const struct plan_node *plan, struct exec_ctx *ctx,
                        const struct json_cell *key, const struct json_cell *value,
                        struct json_cell *ret_cell)
{
    struct bytebuf *out = &ctx->scratch;

    bytebuf_clear(out);
    bytebuf_append_cstr(out, plan->apply_record ? "{\"PropertyName\":" : "{\"ArrayIndex\":");
    append_cell(out, key);
    bytebuf_append_cstr(out, plan->apply_record ? ",\"PropertyValue\":" : ",\"ArrayValue\":");
    append_cell(out, value);
    bytebuf_append_byte(out, '}');
    struct slice text = arena_copy(ctx->arena, bytebuf_slice(out));
    *ret_cell = (struct json_cell){text.data, (uint32_t)text.len, JSON_KIND_OBJECT, 0};
    return text.data != NULL && !out->failed;
}

/* One row more. */
static enum err collect(struct applying *a, uint32_t row, const struct json_cell *key,
                        const struct json_cell *value)
{
    struct node_state *node = a->node;
    const struct plan_node *plan = node->plan;

    ASSERT(node->count < VEC_ROWS);
    for (uint32_t i = 0; i < plan->column_count; i++) {
        struct json_cell *cell = &node->cells[(size_t)i * VEC_ROWS + node->count];
        if (plan->columns[i]->op == PLAN_APPLY_KEY)
            *cell = *key;
        else if (plan->columns[i]->op == PLAN_APPLY_VALUE)
            *cell = *value;
        else if (plan->columns[i]->op == PLAN_APPLY_RECORD &&
                 !record_cell(plan, a->batch->ctx, key, value, cell))
            return exec_memory_error(a->batch->ctx);
    }
    node->kept[node->count++] = (uint16_t)row;
    return node->count == VEC_ROWS ? send_collected(a) : ERR_OK;
}

/* The elements or properties of one row. */
static enum err expand(struct applying *a, uint32_t row, struct slice source)
{
    const struct json_cell missing = {.kind = JSON_KIND_MISSING};
    bool record = a->node->plan->apply_record;
    struct json_cell key;
    struct json_cell value;
    struct slice name;
    size_t at = 0;
    int64_t index = 0;
    enum err err = ERR_OK;

    while (err == ERR_OK && (record ? json_source_next_field(source, &at, &name, &value)
                                    : json_source_next_element(source, &at, &value))) {
        if (record)
            (void)json_cell_from_source(slice_make(name.data - 1, name.len + 2), &key);
        else if (!index_cell(a->batch->ctx, index, &key))
            return exec_memory_error(a->batch->ctx);
        err = collect(a, row, &key, &value);
        index++;
    }
    if (err == ERR_OK && index == 0 && a->node->plan->apply_outer)
        err = collect(a, row, &missing, &missing);
    return err;
}

enum err exec_apply_rows(struct exec_query *query, struct node_state *node,
                         const struct exec_batch *batch, struct err_info *info)
{
    struct applying a = {query, node, batch, info, {NULL, 0}};
    const struct plan_node *plan = node->plan;
    enum sql_type type = plan->apply_record ? SQL_RECORD : SQL_ARRAY;
    const struct vec *vec;
    enum err err = exec_expr_eval(node->apply, batch, batch->sel, &vec);

    if (err != ERR_OK)
        return err;
    ASSERT(node->count == 0);
    a.mark = arena_mark(batch->ctx->arena);
    for (uint32_t k = 0; k < batch->sel->count && err == ERR_OK; k++) {
        struct value value = vec_get(vec, batch->sel->rows[k]);
        if (value.type != SQL_NULL && value.type != (uint8_t)type)
            return exec_expr_failed(
                node->apply, batch->ctx,
                exec_argument_error(batch->ctx,
                                    plan->apply_record ? "getrecordproperties" : "getarrayelements",
                                    1, &value, plan->apply_record ? "'{record}'" : "'{array}'"));
        err = expand(&a, batch->sel->rows[k],
                     value.type == SQL_NULL ? SLICE_NULL : value_slice(&value));
    }
    return err == ERR_OK ? send_collected(&a) : err;
}
