/* What the files of the query engine share. */
#ifndef WEIR_EXEC_QUERY_INT_H
#define WEIR_EXEC_QUERY_INT_H

#include "exec/expr.h"
#include "exec/query.h"

struct exec_rows {
    const struct plan_route *route;
    const struct slice *labels; /* of each field: "name": with quotes and escapes */
    const struct sel *sel;
    struct column *const *columns;
    struct exec_ctx *ctx;
    int level;
};

#endif
