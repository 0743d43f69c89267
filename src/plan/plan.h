/*
 * The plan of a script: what the engine executes.
 *
 * A plan is a graph of nodes. A scan reads one input and yields the values at the paths that the
 * script needs; a select filters the rows of one node and computes columns; an apply makes a row for
 * each element of an array, or property of a record, in each row. Several nodes may read
 * one. A route sends the rows of a node to an output under names. UNION is kept as several routes
 * (or several branches of a step): rows travel in order of time through all of them.
 *
 *   text -> syntax tree -> plan_build: names, types, needed paths -> rules -> this ->
 * exec_query_create
 *
 * Everything lives in the arena given to plan_build and is read-only afterwards.
 */
#ifndef WEIR_PLAN_PLAN_H
#define WEIR_PLAN_PLAN_H

#include "sql/ast.h"

enum plan_op {
    PLAN_CONST,  /* type and value */
    PLAN_COLUMN, /* column of the node that is read */
    PLAN_TIME,   /* System.Timestamp() */
    PLAN_FIELD,  /* args[0] . name */
    PLAN_EXPR,   /* an operator: kind tells which */
    PLAN_CALL,   /* a function */
    /* Columns that an apply makes; they stand in its own list only. */
    PLAN_APPLY_KEY,   /* index of the element, name of the property */
    PLAN_APPLY_VALUE, /* the element, the property's value */
    PLAN_APPLY_RECORD /* both as a record */
};

struct plan_expr {
    enum plan_op op;
    enum sql_expr_kind kind; /* of PLAN_EXPR */
    enum sql_function_id fn; /* of PLAN_CALL */
    enum sql_type type;      /* of the result, where it is known; SQL_ANY otherwise */
    enum sql_type cast_to;
    bool negated;
    bool try_cast;
    bool has_operand;
    bool has_else;
    uint32_t column;
    struct slice name; /* of PLAN_FIELD; of a function, for messages */
    int64_t int_value;
    double float_value;
    struct slice text;
    struct sql_span span;
    struct plan_expr **args;
    uint32_t arg_count;
};

struct plan_path {
    const struct slice *parts; /* none: the whole event */
    uint32_t count;
};

enum plan_node_kind { PLAN_SCAN, PLAN_SELECT, PLAN_APPLY };

/* A column whose type CREATE TABLE declares. */
struct plan_declared {
    uint32_t column;
    enum sql_type type;
};

struct plan_node {
    struct plan_node *next; /* children stand before their readers */
    enum plan_node_kind kind;
    uint32_t id;
    uint32_t readers; /* nodes and routes that read this one */
    bool used;        /* some output depends on it */

    uint32_t input; /* scan: index of the input */
    struct plan_path *paths;
    struct plan_expr *timestamp; /* over the scan's own columns; NULL: time of arrival */
    struct plan_declared *declared;
    uint32_t declared_count;

    struct plan_node *child; /* select, apply */
    struct plan_expr *where; /* select: over the child's columns; NULL: all rows */
    struct plan_expr *apply; /* apply: over the child's columns, the array or record */
    bool apply_record;       /* properties of a record, not elements of an array */
    bool apply_outer;
    struct plan_expr **columns; /* select; apply: plain ones of the child, and the made ones */

    uint32_t column_count; /* scan: paths; select: columns */
    uint32_t column_cap;
};

/* One place of an output row: a named column, or the fields of a record. */
struct plan_field {
    struct slice name;
    uint32_t column;
    bool spread;
    bool applied;  /* the record of an APPLY: no column of the input */
    bool starred;  /* while planning: came by a star, so that an explicit column takes its place */
    bool declared; /* by CREATE TABLE: stands in the event's place and spelling, or not at all */
};

struct plan_route {
    struct plan_route *next;
    struct plan_node *node;
    struct plan_field *fields;
    uint32_t field_count;
    uint32_t output;
};

struct plan {
    struct plan_node *nodes;
    uint32_t node_count;
    struct plan_route *routes;
    struct slice *inputs;          /* names as the script first writes them */
    struct sql_span *input_spans;  /* and where */
    uint32_t input_count;
    struct slice *outputs;
    struct sql_span *output_spans; /* of one without INTO: its SELECT */
    uint32_t output_count;
    int level; /* compatibility level: 10, 11 or 12 */
};

enum { PLAN_NAMES_MAX = 60, PLAN_COLUMNS_MAX = 4096, PLAN_NODES_MAX = 4096 };

struct plan_options {
    int level; /* 10, 11, 12; 0 means 12 */
};

/* NULL: the report says why, or memory ran out. */
struct plan *plan_build(const struct sql_script *script, const struct plan_options *options,
                        struct arena *arena, struct sql_report *report);
/* The same from text. */
struct plan *plan_compile(struct slice script, const struct plan_options *options,
                          struct arena *arena, struct sql_report *report);
/* The plan as indented text, for --explain and tests. */
void plan_print(const struct plan *plan, struct bytebuf *out);

#endif
