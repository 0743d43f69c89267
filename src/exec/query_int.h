/* What the files of the query engine share. */
#ifndef WEIR_EXEC_QUERY_INT_H
#define WEIR_EXEC_QUERY_INT_H

#include "exec/expr.h"
#include "exec/query.h"

struct node_state {
    const struct plan_node *plan;
    struct exec_expr *where;
    struct exec_expr **exprs;
    struct column **columns; /* what readers see */
    struct column *storage;

    /* scans and applies: rows that are being collected */
    struct json_cell *cells;
    int64_t *times;
    uint16_t *kept; /* scan: rows that declared types and times leave; apply: the child's row of each */
    uint32_t count;

    /* scans only */
    struct json_scan *scan;
    struct exec_expr *timestamp;
    struct slice *docs;

    /* applies only */
    struct exec_expr *apply;
    struct sel all;
};

/* An event waiting for its turn. */
struct held {
    int64_t time;
    uint64_t order;
    struct slice doc;
    uint32_t node;
};

struct exec_query {
    const struct plan *plan;
    struct exec_options options;
    struct exec_counts counts;
    struct arena *arena;
    struct arena *batch_arena;
    struct exec_ctx ctx;
    struct node_state *nodes; /* by plan_node.id */
    struct slice **labels;    /* by position of the route */
    struct held *held;
    size_t held_count;
    size_t held_cap;
    bool replaying;
    bool failed;
};

/* Sends a node's rows to the nodes that read it, and theirs on. Depth: the number of steps. */
enum err exec_query_send(struct exec_query *query, const struct node_state *from,
                         const struct exec_batch *batch, struct err_info *info);

/* apply.c: the memory of an apply; false: none. */
bool exec_apply_create(struct exec_query *query, struct node_state *node);
/* The rows that come of a batch's rows, sent on in batches of their own. */
enum err exec_apply_rows(struct exec_query *query, struct node_state *node,
                         const struct exec_batch *batch, struct err_info *info);

struct exec_rows {
    const struct plan_route *route;
    const struct slice *labels; /* of each field: "name": with quotes and escapes */
    const struct sel *sel;
    struct column *const *columns;
    struct exec_ctx *ctx;
    int level;
};

#endif
