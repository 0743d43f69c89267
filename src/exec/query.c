/*
 * A query at work (see exec/query.h).
 *
 *   feed -> scan (cells of the wanted paths) -> times -> [held and ordered] -> selects -> routes ->
 * callback
 *
 * Invariants: (1) a batch is empty after it was sent; (2) what a node hands on is valid until the
 * batch is sent; (3) held events are run in order of time, and by arrival within one time; (4)
 * memory stays below memory_max. Ownership: everything lives in the query's arena, but the
 * scanners' indexes and the list of held events; one shard. Failure: a runtime error ends the feed;
 * the query can only be destroyed then. Unreadable events are counted.
 */
#include "exec/query.h"

#include <stdlib.h>

#include "base/assert.h"
#include "codec/json_write.h"
#include "exec/datetime.h"
#include "exec/query_int.h"

enum { RESUME_WINDOW = 16 << 10, SCRATCH_MAX = 64 << 20 };

static bool scan_create(struct exec_query *query, struct node_state *node)
{
    const struct plan_node *plan = node->plan;

    node->scan = json_scan_create(query->arena, query->options.level);
    node->cells =
        ARENA_ARRAY(query->arena, struct json_cell, (size_t)plan->column_count * VEC_ROWS + 1);
    node->times = ARENA_ARRAY(query->arena, int64_t, VEC_ROWS);
    node->docs = ARENA_ARRAY(query->arena, struct slice, VEC_ROWS);
    node->kept = ARENA_ARRAY(query->arena, uint16_t, VEC_ROWS + 1);
    if (node->scan == NULL || node->cells == NULL || node->times == NULL || node->docs == NULL ||
        node->kept == NULL)
        return false;
    for (uint32_t i = 0; i < plan->column_count; i++) {
        if (json_scan_want(node->scan, plan->paths[i].parts, plan->paths[i].count) != (int)i)
            return false;
        node->storage[i].vec = ARENA_NEW(query->arena, struct vec);
        if (node->storage[i].vec == NULL || !vec_init(node->storage[i].vec, query->arena))
            return false;
        node->columns[i] = &node->storage[i];
    }
    if (plan->timestamp != NULL) {
        node->timestamp = exec_expr_create(query->arena, plan->timestamp);
        return node->timestamp != NULL;
    }
    return true;
}

static bool select_create(struct exec_query *query, struct node_state *node)
{
    const struct plan_node *plan = node->plan;

    node->exprs = ARENA_ARRAY(query->arena, struct exec_expr *, plan->column_count + 1);
    if (node->exprs == NULL)
        return false;
    if (plan->where != NULL) {
        node->where = exec_expr_create(query->arena, plan->where);
        if (node->where == NULL)
            return false;
    }
    for (uint32_t i = 0; i < plan->column_count; i++) {
        if (plan->columns[i]->op == PLAN_COLUMN)
            continue;
        node->exprs[i] = exec_expr_create(query->arena, plan->columns[i]);
        if (node->exprs[i] == NULL)
            return false;
    }
    return true;
}

static bool node_create(struct exec_query *query, const struct plan_node *plan)
{
    struct node_state *node = &query->nodes[plan->id];

    node->plan = plan;
    node->columns = ARENA_ARRAY(query->arena, struct column *, plan->column_count + 1);
    node->storage = ARENA_ARRAY(query->arena, struct column, plan->column_count + 1);
    if (node->columns == NULL || node->storage == NULL)
        return false;
    if (plan->kind == PLAN_APPLY)
        return exec_apply_create(query, node);
    return plan->kind == PLAN_SCAN ? scan_create(query, node) : select_create(query, node);
}

/* "name": of each field of each route. */
static bool labels_create(struct exec_query *query)
{
    uint32_t count = 0;
    uint32_t at = 0;

    for (const struct plan_route *route = query->plan->routes; route != NULL; route = route->next)
        count++;
    query->labels = ARENA_ARRAY(query->arena, struct slice *, count + 1);
    if (query->labels == NULL)
        return false;
    for (const struct plan_route *route = query->plan->routes; route != NULL;
         route = route->next, at++) {
        query->labels[at] = ARENA_ARRAY(query->arena, struct slice, route->field_count + 1);
        if (query->labels[at] == NULL)
            return false;
        for (uint32_t i = 0; i < route->field_count; i++) {
            bytebuf_clear(&query->ctx.scratch);
            json_write_text(&query->ctx.scratch, route->fields[i].name);
            bytebuf_append_byte(&query->ctx.scratch, ':');
            query->labels[at][i] = arena_copy(query->arena, bytebuf_slice(&query->ctx.scratch));
            if (query->labels[at][i].data == NULL)
                return false;
        }
    }
    return true;
}

static bool query_create(struct exec_query *query)
{
    query->nodes = ARENA_ARRAY(query->arena, struct node_state, query->plan->node_count + 1);
    if (query->nodes == NULL || !labels_create(query))
        return false;
    for (const struct plan_node *plan = query->plan->nodes; plan != NULL; plan = plan->next) {
        if (plan->used && !node_create(query, plan))
            return false;
    }
    return true;
}

struct exec_query *exec_query_create(const struct plan *plan, const struct exec_options *options,
                                     struct err_info *info)
{
    struct exec_query *query = calloc(1, sizeof(*query));
    size_t limit = options->memory_max != 0 ? options->memory_max : (size_t)1 << 30;

    if (query == NULL) {
        err_info_set(info, ERR_NO_MEMORY, "out of memory for the query");
        return NULL;
    }
    query->plan = plan;
    query->options = *options;
    bytebuf_init(&query->ctx.scratch, SCRATCH_MAX);
    query->arena = arena_create(NULL, "query", limit);
    query->batch_arena = query->arena == NULL ? NULL : arena_create(query->arena, "batch", limit);
    query->ctx.arena = query->batch_arena;
    query->ctx.bits_as_bigint = plan->level < 12;
    query->ctx.regexes = regex_cache_create();
    if (query->batch_arena == NULL || query->ctx.regexes == NULL || !query_create(query)) {
        exec_query_destroy(query);
        err_info_set(info, ERR_NO_MEMORY, "the query needs more than %zu bytes", limit);
        return NULL;
    }
    return query;
}

void exec_query_destroy(struct exec_query *query)
{
    if (query == NULL)
        return;
    for (uint32_t i = 0; query->nodes != NULL && i < query->plan->node_count; i++)
        json_scan_destroy(query->nodes[i].scan);
    bytebuf_deinit(&query->ctx.scratch);
    regex_cache_destroy(query->ctx.regexes);
    arena_destroy(query->arena);
    free(query->held);
    free(query);
}

const struct exec_counts *exec_query_counts(const struct exec_query *query)
{
    return &query->counts;
}

static enum err route_rows(struct exec_query *query, const struct node_state *node,
                           const struct sel *sel, struct err_info *info)
{
    uint32_t at = 0;
    enum err err = ERR_OK;

    for (const struct plan_route *route = query->plan->routes; route != NULL && err == ERR_OK;
         route = route->next, at++) {
        if (route->node != node->plan)
            continue;
        struct exec_rows rows = {route,         query->labels[at], sel,
                                 node->columns, &query->ctx,       query->plan->level};
        query->counts.rows += sel->count;
        err = query->options.rows(query->options.rows_ctx, &rows, info);
    }
    return err;
}

/* The columns of a select for the rows that passed. */
static enum err select_columns(struct node_state *node, const struct exec_batch *batch)
{
    for (uint32_t i = 0; i < node->plan->column_count; i++) {
        const struct vec *vec;
        if (node->exprs[i] == NULL) {
            node->columns[i] = batch->columns[node->plan->columns[i]->column];
            continue;
        }
        enum err err = exec_expr_eval(node->exprs[i], batch, batch->sel, &vec);
        if (err != ERR_OK)
            return err;
        node->storage[i] = (struct column){NULL, (struct vec *)(uintptr_t)vec, batch->sel};
        node->columns[i] = &node->storage[i];
    }
    return ERR_OK;
}

/* Sends a node's rows to the selects that read it, and theirs on. Depth: the number of steps. */
enum err exec_query_send(struct exec_query *query, const struct node_state *from,
                         const struct exec_batch *batch, struct err_info *info)
{
    enum err err = ERR_OK;

    for (const struct plan_node *plan = from->plan->next; plan != NULL && err == ERR_OK;
         plan = plan->next) {
        if (plan->kind == PLAN_SCAN || plan->child != from->plan || !plan->used)
            continue;
        struct node_state *node = &query->nodes[plan->id];
        struct exec_batch rows = *batch;
        if (plan->kind == PLAN_APPLY) {
            err = exec_apply_rows(query, node, batch, info);
            continue;
        }
        if (node->where != NULL)
            err = exec_expr_filter(node->where, batch, batch->sel, &rows.sel);
        if (err != ERR_OK || rows.sel->count == 0)
            continue;
        err = select_columns(node, &rows);
        rows.columns = node->columns;
        if (err == ERR_OK)
            err = route_rows(query, node, rows.sel, info);
        if (err == ERR_OK)
            err = exec_query_send(query, node, &rows, info);
    }
    return err;
}

/* CREATE TABLE: may the value stand in a column of that type? Converts it to what the engine keeps.
 */
static bool declared_fits(const struct plan_declared *declared, struct value *value,
                          struct exec_ctx *ctx)
{
    if (value->type == SQL_NULL || value->type == (uint8_t)declared->type)
        return true;
    switch (declared->type) {
    case SQL_FLOAT:
        return value->type == SQL_BIGINT && value_cast(value, SQL_FLOAT, ctx->arena, value);
    case SQL_DATETIME:
        return value->type == SQL_TEXT && value_cast(value, SQL_DATETIME, ctx->arena, value);
    case SQL_BIT:
        return value->type == SQL_BIGINT && (value->i == 0 || value->i == 1) &&
               value_cast(value, SQL_BIT, ctx->arena, value);
    default:
        return false;
    }
}

/* Converts the declared columns; rows that do not fit leave the selection. */
static enum err apply_declared(struct exec_query *query, struct node_state *node, struct sel *sel)
{
    for (uint32_t i = 0; i < node->plan->declared_count; i++) {
        const struct plan_declared *declared = &node->plan->declared[i];
        struct column *column = &node->storage[declared->column];
        uint32_t count = 0;
        for (uint32_t k = 0; k < sel->count; k++) {
            uint32_t row = sel->rows[k];
            struct value *value = &column->vec->v[row];
            if (!vec_cell_value(&column->cells[row], &query->ctx, value))
                return err_info_set(query->ctx.info, ERR_SQL_RUNTIME, "out of memory");
            node->kept[count] = (uint16_t)row;
            count += declared_fits(declared, value, &query->ctx);
        }
        query->counts.undeclared += sel->count - count;
        sel->rows = node->kept;
        sel->count = count;
        vec_settle(column->vec, sel);
        column->ready = sel;
        if (declared->type == SQL_DATETIME || declared->type == SQL_FLOAT ||
            declared->type == SQL_BIT) /* these print as what they have become */
            column->cells = NULL;
    }
    return ERR_OK;
}

/* TIMESTAMP BY: the rows' own times; rows without one leave the selection. */
static enum err apply_timestamp(struct exec_query *query, struct node_state *node,
                                const struct exec_batch *batch, struct sel *ret_sel)
{
    const struct vec *vec;
    uint32_t count = 0;
    enum err err = exec_expr_eval(node->timestamp, batch, batch->sel, &vec);

    if (err != ERR_OK)
        return err;
    for (uint32_t k = 0; k < batch->sel->count; k++) {
        uint32_t row = batch->sel->rows[k];
        struct value value = vec_get(vec, row);
        node->kept[count] = (uint16_t)row;
        count += value_to_time(&value, &node->times[row]);
    }
    query->counts.untimed += batch->sel->count - count;
    *ret_sel = (struct sel){node->kept, count, batch->sel};
    return ERR_OK;
}

static bool hold_rows(struct exec_query *query, const struct node_state *node,
                      const struct sel *sel)
{
    if (query->held_count + sel->count > query->held_cap) {
        size_t cap = query->held_cap * 2 + VEC_ROWS;
        struct held *held = realloc(query->held, cap * sizeof(*held));
        if (held == NULL)
            return false;
        query->held = held;
        query->held_cap = cap;
    }
    for (uint32_t k = 0; k < sel->count; k++) {
        uint32_t row = sel->rows[k];
        query->held[query->held_count] =
            (struct held){node->times[row], query->held_count, node->docs[row], node->plan->id};
        query->held_count++;
    }
    return true;
}

/* Runs a scan's batch through the plan. */
static enum err scan_send(struct exec_query *query, struct node_state *node, struct err_info *info)
{
    struct sel all = {sel_ramp(), node->count, NULL};
    struct sel timed = all;
    struct exec_batch batch = {&all, node->columns, node->times, &query->ctx};
    enum err err = ERR_OK;

    if (node->count == 0)
        return ERR_OK;
    query->ctx.info = info;
    for (uint32_t i = 0; i < node->plan->column_count; i++) {
        node->storage[i].cells = &node->cells[(size_t)i * VEC_ROWS];
        node->storage[i].ready = NULL;
    }
    if (node->plan->declared_count > 0)
        err = apply_declared(query, node, &all);
    if (err == ERR_OK && node->timestamp != NULL && !query->replaying) {
        err = apply_timestamp(query, node, &batch, &timed);
        batch.sel = &timed;
    }
    if (err == ERR_OK && query->options.sorted && !query->replaying) {
        if (!hold_rows(query, node, batch.sel))
            err = err_info_set(info, ERR_NO_MEMORY, "out of memory for the held events");
    } else if (err == ERR_OK && batch.sel->count > 0) {
        err = exec_query_send(query, node, &batch, info);
    }
    node->count = 0;
    arena_reset(query->batch_arena);
    query->failed |= err != ERR_OK;
    return err;
}

static void count_bad(struct exec_query *query, const char *error)
{
    size_t len = strlen(error);

    query->counts.bad++;
    if (len >= sizeof(query->counts.bad_text))
        len = sizeof(query->counts.bad_text) - 1;
    memcpy(query->counts.bad_text, error, len);
    query->counts.bad_text[len] = '\0';
}

/* A window of text for the scanner: a small one after a bad event that needs a new index. */
struct feed {
    struct slice text;
    size_t at;
    size_t window;
};

static bool feed_begin(struct feed *feed, struct node_state *node)
{
    return json_scan_begin(node->scan, slice_sub(feed->text, feed->at, feed->window));
}

static bool feed_whole(const struct feed *feed)
{
    return feed->at + feed->window >= feed->text.len;
}

/* What follows a step that is no row; *ret_done ends the feed. */
static enum err feed_step(struct exec_query *query, struct node_state *node, struct feed *feed,
                          enum json_step step, const char *error, bool last, bool *ret_done,
                          struct err_info *info)
{
    bool whole = feed_whole(feed);

    if (step == JSON_STEP_BAD && json_scan_resume(node->scan)) {
        count_bad(query, error);
        return ERR_OK;
    }
    feed->at += json_scan_at(node->scan);
    if (step == JSON_STEP_BAD) {
        count_bad(query, error);
        feed->window = RESUME_WINDOW;
    } else if (step == JSON_STEP_MORE && !whole) {
        feed->window *= 2;
    } else if (step == JSON_STEP_END && !whole) {
        feed->window = feed->text.len;
    } else {
        if (step == JSON_STEP_MORE && last) {
            count_bad(query, "the event does not end");
            feed->at = feed->text.len;
        } else if (last && json_scan_in_array(node->scan)) {
            count_bad(query, "the array of events does not end");
        }
        if (last)
            json_scan_reset(node->scan);
        *ret_done = true;
        return ERR_OK;
    }
    if (!feed_begin(feed, node))
        return err_info_set(info, ERR_NO_MEMORY, "out of memory for the index of a text");
    return ERR_OK;
}

static enum err feed_scan(struct exec_query *query, struct node_state *node, struct slice text,
                          int64_t time, bool last, size_t *ret_used, struct err_info *info)
{
    struct feed feed = {text, 0, text.len};
    bool done = false;
    enum err err = ERR_OK;

    if (!feed_begin(&feed, node))
        return err_info_set(info, ERR_NO_MEMORY, "out of memory for the index of a text");
    while (!done && err == ERR_OK) {
        const char *error = NULL;
        enum json_step step =
            json_scan_next(node->scan, node->cells + node->count, VEC_ROWS, &error);
        if (step != JSON_STEP_ROW) {
            err = feed_step(query, node, &feed, step, error, last, &done, info);
            continue;
        }
        query->counts.events += !query->replaying;
        node->times[node->count] = time;
        node->docs[node->count] = json_scan_row(node->scan);
        if (++node->count == VEC_ROWS)
            err = scan_send(query, node, info);
    }
    *ret_used = feed.at;
    return err;
}

enum err exec_query_feed(struct exec_query *query, uint32_t input, struct slice text, int64_t time,
                         bool last, size_t *ret_used, struct err_info *info)
{
    enum err err = ERR_OK;

    ASSERT(input < query->plan->input_count);
    *ret_used = text.len;
    if (query->failed)
        return err_info_set(info, ERR_SQL_RUNTIME, "the query has failed already");
    for (const struct plan_node *plan = query->plan->nodes; plan != NULL && err == ERR_OK;
         plan = plan->next) {
        if (plan->used && plan->kind == PLAN_SCAN && plan->input == input)
            err = feed_scan(query, &query->nodes[plan->id], text, time, last, ret_used, info);
    }
    query->failed |= err != ERR_OK;
    return err;
}

enum err exec_query_flush(struct exec_query *query, struct err_info *info)
{
    enum err err = ERR_OK;

    for (const struct plan_node *plan = query->plan->nodes; plan != NULL && err == ERR_OK;
         plan = plan->next) {
        if (plan->used && plan->kind == PLAN_SCAN)
            err = scan_send(query, &query->nodes[plan->id], info);
    }
    return err;
}

static int held_order(const void *a, const void *b)
{
    const struct held *x = a;
    const struct held *y = b;

    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

/* Does an output get its rows from several routes? A batch sends one after the other. */
static bool has_union(const struct plan *plan)
{
    for (const struct plan_route *a = plan->routes; a != NULL; a = a->next) {
        for (const struct plan_route *b = a->next; b != NULL; b = b->next) {
            if (a->output == b->output)
                return true;
        }
    }
    return false;
}

/* Rows of a UNION leave in order of time: then a batch ends where the time changes. */
static enum err replay(struct exec_query *query, struct err_info *info)
{
    bool in_order = has_union(query->plan);
    enum err err = ERR_OK;
    size_t used;

    qsort(query->held, query->held_count, sizeof(*query->held), held_order);
    query->replaying = true;
    for (size_t i = 0; i < query->held_count && err == ERR_OK; i++) {
        struct held *held = &query->held[i];
        struct node_state *node = &query->nodes[held->node];
        if (i > 0 && (query->held[i - 1].node != held->node ||
                      (in_order && query->held[i - 1].time != held->time)))
            err = exec_query_flush(query, info);
        if (err == ERR_OK)
            err = feed_scan(query, node, held->doc, held->time, true, &used, info);
    }
    if (err == ERR_OK)
        err = exec_query_flush(query, info);
    query->replaying = false;
    return err;
}

enum err exec_query_finish(struct exec_query *query, struct err_info *info)
{
    enum err err = exec_query_flush(query, info);

    if (err == ERR_OK && query->held_count > 0)
        err = replay(query, info);
    query->held_count = 0;
    return err;
}
