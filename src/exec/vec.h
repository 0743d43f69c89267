/*
 * Columns of up to 2,048 rows: typed where all values of the selected rows agree, variant where
 * they do not.
 *
 * A selection names the rows that count. Selections made from one another form a chain, so that
 * work done for a wider one serves the narrower.
 */
#ifndef WEIR_EXEC_VEC_H
#define WEIR_EXEC_VEC_H

#include "codec/json_scan.h"
#include "exec/regex.h"
#include "exec/value.h"

enum { VEC_ROWS = 2048 };

struct sel {
    const uint16_t *rows; /* ascending */
    uint32_t count;
    const struct sel *parent; /* the selection this one was cut from */
};

struct vec {
    enum sql_type type; /* of all non-NULL values; SQL_ANY: see v; SQL_NULL: all NULL */
    bool constant;      /* element 0 stands for every row */
    bool has_null;
    uint64_t nulls[VEC_ROWS / 64];
    union {
        void *data;
        int64_t *i; /* bit, bigint, datetime */
        double *f;
        struct slice *t; /* text, record, array */
        struct value *v; /* variant */
    };
};

/* A column of a batch: source cells of the scanner, or computed values, or both. */
struct column {
    const struct json_cell *cells; /* NULL: computed */
    struct vec *vec;
    const struct sel *ready; /* rows for which vec holds the values; NULL: none */
};

/* What an evaluation needs besides its input. */
struct exec_ctx {
    struct arena *arena; /* lives as long as the batch */
    struct err_info *info;
    struct bytebuf scratch;
    struct regex_cache *regexes;
    bool bits_as_bigint; /* compatibility levels below 1.2 */
};

static inline bool vec_is_null(const struct vec *vec, uint32_t row)
{
    return vec->has_null && ((vec->nulls[row / 64] >> (row % 64)) & 1);
}

static inline void vec_set_null(struct vec *vec, uint32_t row)
{
    vec->nulls[row / 64] |= 1ULL << (row % 64);
    vec->has_null = true;
}

/* Memory for all rows; false: none. */
MUST_CHECK bool vec_init(struct vec *vec, struct arena *arena);
/* Ready to be filled: no NULLs, not constant. */
void vec_reset(struct vec *vec, enum sql_type type);
/* The value of a row. */
struct value vec_get(const struct vec *vec, uint32_t row);
/* One value for every row. */
void vec_set_constant(struct vec *vec, const struct value *value);
/* After v was filled for the rows of sel: becomes typed if the values agree. */
void vec_settle(struct vec *vec, const struct sel *sel);
/* The scanner's cells as values, typed if they agree. false: memory. */
MUST_CHECK bool vec_decode(struct vec *vec, const struct json_cell *cells, const struct sel *sel,
                           struct exec_ctx *ctx);
/* One cell as a value; false: memory. */
MUST_CHECK bool vec_cell_value(const struct json_cell *cell, struct exec_ctx *ctx,
                               struct value *ret_value);
/* Is wide sel itself or one that sel was cut from? */
bool sel_within(const struct sel *sel, const struct sel *wide);
/* Rows of a that are not in b (a subset of a), into rows; returns their count. */
uint32_t sel_subtract(const struct sel *a, const struct sel *b, uint16_t *rows);
/* Rows 0, 1, 2 ... for a dense selection. */
const uint16_t *sel_ramp(void);

#endif
