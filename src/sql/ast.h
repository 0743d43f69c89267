/* The syntax tree of a script. All nodes live in the arena of the parse; nothing is freed alone. */
#ifndef WEIR_SQL_AST_H
#define WEIR_SQL_AST_H

#include "sql/functions.h"
#include "sql/report.h"
#include "sql/types.h"

enum sql_expr_kind {
    SQL_EXPR_NULL,
    SQL_EXPR_INT,
    SQL_EXPR_FLOAT,
    SQL_EXPR_TEXT,
    SQL_EXPR_PATH, /* parts: a.b.c */
    SQL_EXPR_CALL, /* function, args */
    SQL_EXPR_NEGATE,
    SQL_EXPR_BIT_NOT,
    SQL_EXPR_ADD,
    SQL_EXPR_SUB,
    SQL_EXPR_MUL,
    SQL_EXPR_DIV,
    SQL_EXPR_MOD,
    SQL_EXPR_BIT_AND,
    SQL_EXPR_BIT_OR,
    SQL_EXPR_BIT_XOR,
    SQL_EXPR_EQ,
    SQL_EXPR_NE,
    SQL_EXPR_LT,
    SQL_EXPR_LE,
    SQL_EXPR_GT,
    SQL_EXPR_GE,
    SQL_EXPR_AND,
    SQL_EXPR_OR,
    SQL_EXPR_NOT,
    SQL_EXPR_LIKE,    /* value, pattern [, escape] */
    SQL_EXPR_IN,      /* value, item ... */
    SQL_EXPR_BETWEEN, /* value, low, high */
    SQL_EXPR_IS_NULL, /* value */
    SQL_EXPR_CASE,    /* [operand] {when, then} [else] */
    SQL_EXPR_CAST     /* value; type */
};

struct sql_expr {
    enum sql_expr_kind kind;
    struct sql_span span;
    bool negated;       /* NOT LIKE, NOT IN, NOT BETWEEN, IS NOT NULL */
    bool try_cast;      /* TRY_CAST */
    bool double_quoted; /* SQL_EXPR_TEXT in double quotes: may be a column after all */
    bool has_operand;   /* CASE x WHEN */
    bool has_else;
    enum sql_type type; /* of CAST */
    uint32_t height;    /* of the tree below, for the depth cap */
    int64_t int_value;
    double float_value;
    struct slice text;
    const struct sql_function *function;
    struct slice *parts;
    uint32_t part_count;
    struct sql_expr **args;
    uint32_t arg_count;
};

struct sql_item {
    struct sql_item *next;
    struct sql_span span;
    bool star;             /* * or path.* : parts may be none */
    struct sql_expr *expr; /* when not a star; for path.* the path, NULL for * */
    struct slice alias;    /* data NULL: none */
};

/* CROSS or OUTER APPLY of a table function: a row for each element or property. */
struct sql_apply {
    struct sql_apply *next;
    struct sql_span span;
    bool outer;  /* a row with NULLs where there is none */
    bool record; /* GetRecordProperties; else GetArrayElements */
    struct sql_expr *arg;
    struct slice alias;
};

struct sql_select {
    struct sql_select *next; /* the next branch of a UNION */
    struct sql_span span;
    struct sql_item *items;
    struct slice into; /* data NULL: none */
    struct sql_span into_span;
    struct slice source; /* input or step; data NULL: a derived table */
    struct sql_span source_span;
    struct sql_select *derived;
    struct slice alias;
    struct sql_expr *timestamp_by;
    struct sql_apply *applies;
    struct sql_expr *where;
    struct sql_expr *having;
};

struct sql_step {
    struct sql_step *next;
    struct slice name;
    struct sql_span span;
    struct sql_select *query;
    uint32_t order; /* position among steps and statements: a step is seen by what follows it */
};

struct sql_statement {
    struct sql_statement *next;
    struct sql_select *query;
    uint32_t order;
};

struct sql_table_column {
    struct sql_table_column *next;
    struct slice name;
    enum sql_type type;
};

/* CREATE TABLE: declared types of an input. */
struct sql_table {
    struct sql_table *next;
    struct slice name;
    struct sql_span span;
    struct sql_table_column *columns;
};

struct sql_script {
    struct sql_step *steps;
    struct sql_statement *statements;
    struct sql_table *tables;
};

#endif
