/*
 * Vectors (see exec/vec.h).
 *
 *   nulls   32 words, bit r: row r is NULL
 *   data    2,048 elements of 8 bytes (i, f) or 16 (t, v), one allocation
 *
 * Invariants: (1) a typed vector's elements at selected rows that are not NULL hold values of its
 * type; (2) elements at NULL rows are zero for numbers, so that kernels may read them; (3) settling
 * goes forward in place: element r of the narrow form never reaches element r + 1 of the wide one.
 * Ownership: the query's arena; one shard. Failure: memory.
 */
#include "exec/vec.h"

#include "base/assert.h"
#include "base/numtext.h"

bool vec_init(struct vec *vec, struct arena *arena)
{
    memset(vec, 0, sizeof(*vec));
    vec->data = arena_alloc(arena, VEC_ROWS * sizeof(struct value));
    return vec->data != NULL;
}

void vec_reset(struct vec *vec, enum sql_type type)
{
    vec->type = type;
    vec->constant = false;
    if (vec->has_null)
        memset(vec->nulls, 0, sizeof(vec->nulls));
    vec->has_null = false;
}

struct value vec_get(const struct vec *vec, uint32_t row)
{
    struct value value = {.type = (uint8_t)vec->type};

    if (vec->constant)
        row = 0;
    ASSERT(row < VEC_ROWS);
    if (vec->type == SQL_NULL || vec_is_null(vec, row))
        return value_null();
    switch (vec->type) {
    case SQL_ANY:
        return vec->v[row];
    case SQL_FLOAT:
        value.f = vec->f[row];
        return value;
    case SQL_TEXT:
    case SQL_RECORD:
    case SQL_ARRAY:
        value.p = vec->t[row].data;
        value.len = (uint32_t)vec->t[row].len;
        return value;
    default:
        value.i = vec->i[row];
        return value;
    }
}

void vec_set_constant(struct vec *vec, const struct value *value)
{
    vec_reset(vec, (enum sql_type)value->type);
    vec->constant = true;
    switch (value->type) {
    case SQL_NULL:
        vec_set_null(vec, 0);
        break;
    case SQL_FLOAT:
        vec->f[0] = value->f;
        break;
    case SQL_TEXT:
    case SQL_RECORD:
    case SQL_ARRAY:
        vec->t[0] = value_slice(value);
        break;
    default:
        vec->i[0] = value->i;
        break;
    }
}

/* Rewrites variant elements as elements of their common type. */
static void settle_as(struct vec *vec, const struct sel *sel, enum sql_type type)
{
    bool wide = type == SQL_TEXT || type == SQL_RECORD || type == SQL_ARRAY;

    for (uint32_t k = 0; k < sel->count; k++) {
        uint32_t row = sel->rows[k];
        struct value value = vec->v[row];
        if (value.type == SQL_NULL) {
            vec_set_null(vec, row);
            if (!wide)
                vec->i[row] = 0;
        } else if (wide) {
            vec->t[row] = value_slice(&value);
        } else {
            vec->i[row] = value.i; /* bits of a float too */
        }
    }
    vec->type = type;
}

void vec_settle(struct vec *vec, const struct sel *sel)
{
    enum sql_type type = SQL_NULL;

    vec_reset(vec, SQL_ANY);
    for (uint32_t k = 0; k < sel->count && type != SQL_ANY; k++) {
        enum sql_type next = (enum sql_type)vec->v[sel->rows[k]].type;
        if (next == SQL_NULL || next == type)
            continue;
        type = type == SQL_NULL ? next : SQL_ANY;
    }
    if (type != SQL_ANY) {
        settle_as(vec, sel, type);
        return;
    }
    for (uint32_t k = 0; k < sel->count; k++) {
        if (vec->v[sel->rows[k]].type == SQL_NULL)
            vec_set_null(vec, sel->rows[k]);
    }
}

static bool cell_text(const struct json_cell *cell, struct exec_ctx *ctx, struct slice *ret_text)
{
    *ret_text = slice_make(cell->data, cell->len);
    if (cell->kind == JSON_KIND_TEXT)
        return true;
    bytebuf_clear(&ctx->scratch);
    if (!json_unescape(*ret_text, &ctx->scratch) || ctx->scratch.failed)
        return false;
    *ret_text = arena_copy(ctx->arena, bytebuf_slice(&ctx->scratch));
    return ret_text->data != NULL;
}

bool vec_cell_value(const struct json_cell *cell, struct exec_ctx *ctx, struct value *ret_value)
{
    struct slice text = {cell->data, cell->len};

    *ret_value = value_null();
    switch (cell->kind) {
    case JSON_KIND_TRUE:
    case JSON_KIND_FALSE:
        *ret_value = value_bit(cell->kind == JSON_KIND_TRUE);
        if (ctx->bits_as_bigint)
            ret_value->type = SQL_BIGINT;
        return true;
    case JSON_KIND_INT:
        ret_value->type = SQL_BIGINT;
        return numtext_read_int64(text, &ret_value->i);
    case JSON_KIND_FLOAT:
        ret_value->type = SQL_FLOAT;
        return numtext_read_double(text, &ret_value->f);
    case JSON_KIND_TEXT:
    case JSON_KIND_TEXT_ESCAPED:
        if (!cell_text(cell, ctx, &text))
            return false;
        *ret_value = value_text(text);
        return true;
    case JSON_KIND_OBJECT:
    case JSON_KIND_ARRAY:
        *ret_value = value_text(text);
        ret_value->type = cell->kind == JSON_KIND_OBJECT ? SQL_RECORD : SQL_ARRAY;
        return true;
    default:
        return true;
    }
}

/* Classes of cells that one typed vector can hold. */
enum cell_class { CELL_NULL, CELL_BIT, CELL_INT, CELL_FLOAT, CELL_TEXT, CELL_OTHER };

static const uint8_t class_of_kind[] = {
    [JSON_KIND_MISSING] = CELL_NULL, [JSON_KIND_NULL] = CELL_NULL,
    [JSON_KIND_FALSE] = CELL_OTHER,  [JSON_KIND_TRUE] = CELL_OTHER,
    [JSON_KIND_INT] = CELL_INT,      [JSON_KIND_FLOAT] = CELL_FLOAT,
    [JSON_KIND_TEXT] = CELL_TEXT,    [JSON_KIND_TEXT_ESCAPED] = CELL_TEXT,
    [JSON_KIND_OBJECT] = CELL_OTHER, [JSON_KIND_ARRAY] = CELL_OTHER,
};

static enum cell_class cells_class(const struct json_cell *cells, const struct sel *sel)
{
    enum cell_class class = CELL_NULL;

    for (uint32_t k = 0; k < sel->count; k++) {
        enum cell_class next = (enum cell_class)class_of_kind[cells[sel->rows[k]].kind];
        if (next == CELL_NULL || next == class)
            continue;
        if (class != CELL_NULL || next == CELL_OTHER)
            return CELL_OTHER;
        class = next;
    }
    return class;
}

/* Short integers without a call. */
static inline bool read_int(const struct json_cell *cell, int64_t *ret_value)
{
    const uint8_t *p = cell->data;
    uint32_t len = cell->len;
    bool negative = len > 0 && *p == '-';
    int64_t value = 0;

    if (len > 18)
        return numtext_read_int64(slice_make(p, len), ret_value);
    for (uint32_t i = negative; i < len; i++)
        value = value * 10 + (p[i] - '0');
    *ret_value = negative ? -value : value;
    return true;
}

/* Decimals of up to 15 digits and a small fraction are one exact division; the rest goes the long
 * way. */
static inline bool read_float(const struct json_cell *cell, double *ret_value)
{
    static const double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    const uint8_t *p = cell->data;
    uint32_t len = cell->len;
    uint32_t at = len > 0 && *p == '-';
    uint32_t point = 0;
    int64_t digits = 0;

    if (len > 16)
        return numtext_read_double(slice_make(p, len), ret_value);
    for (; at < len; at++) {
        if (p[at] == '.')
            point = at + 1;
        else if (p[at] >= '0' && p[at] <= '9')
            digits = digits * 10 + (p[at] - '0');
        else
            return numtext_read_double(slice_make(p, len), ret_value);
    }
    double value = (double)digits / powers[point == 0 ? 0 : len - point];
    *ret_value = *p == '-' ? -value : value;
    return true;
}

static bool decode_numbers(struct vec *vec, const struct json_cell *cells, const struct sel *sel,
                           bool ints)
{
    vec_reset(vec, ints ? SQL_BIGINT : SQL_FLOAT);
    for (uint32_t k = 0; k < sel->count; k++) {
        uint32_t row = sel->rows[k];
        const struct json_cell *cell = &cells[row];
        if (cell->kind <= JSON_KIND_NULL) {
            vec_set_null(vec, row);
            vec->i[row] = 0;
        } else if (ints ? !read_int(cell, &vec->i[row]) : !read_float(cell, &vec->f[row])) {
            return false;
        }
    }
    return true;
}

static bool decode_texts(struct vec *vec, const struct json_cell *cells, const struct sel *sel,
                         struct exec_ctx *ctx)
{
    vec_reset(vec, SQL_TEXT);
    for (uint32_t k = 0; k < sel->count; k++) {
        uint32_t row = sel->rows[k];
        const struct json_cell *cell = &cells[row];
        if (cell->kind <= JSON_KIND_NULL) {
            vec_set_null(vec, row);
            vec->t[row] = SLICE_NULL;
        } else if (cell->kind == JSON_KIND_TEXT) {
            vec->t[row] = slice_make(cell->data, cell->len);
        } else if (!cell_text(cell, ctx, &vec->t[row])) {
            return false;
        }
    }
    return true;
}

bool vec_decode(struct vec *vec, const struct json_cell *cells, const struct sel *sel,
                struct exec_ctx *ctx)
{
    enum cell_class class = cells_class(cells, sel);

    if (class == CELL_INT || class == CELL_FLOAT)
        return decode_numbers(vec, cells, sel, class == CELL_INT);
    if (class == CELL_TEXT)
        return decode_texts(vec, cells, sel, ctx);
    for (uint32_t k = 0; k < sel->count; k++) {
        uint32_t row = sel->rows[k];
        if (!vec_cell_value(&cells[row], ctx, &vec->v[row]))
            return false;
    }
    vec_settle(vec, sel);
    return true;
}

bool sel_within(const struct sel *sel, const struct sel *wide)
{
    for (; sel != NULL; sel = sel->parent) {
        if (sel == wide)
            return true;
    }
    return false;
}

uint32_t sel_subtract(const struct sel *a, const struct sel *b, uint16_t *rows)
{
    uint32_t count = 0;
    uint32_t k = 0;

    ASSERT(b->count <= a->count);
    for (uint32_t i = 0; i < a->count; i++) {
        if (k < b->count && b->rows[k] == a->rows[i])
            k++;
        else
            rows[count++] = a->rows[i];
    }
    ASSERT(count == a->count - b->count);
    return count;
}

#define RAMP_4(n) n, n + 1, n + 2, n + 3
#define RAMP_16(n) RAMP_4(n), RAMP_4(n + 4), RAMP_4(n + 8), RAMP_4(n + 12)
#define RAMP_64(n) RAMP_16(n), RAMP_16(n + 16), RAMP_16(n + 32), RAMP_16(n + 48)
#define RAMP_256(n) RAMP_64(n), RAMP_64(n + 64), RAMP_64(n + 128), RAMP_64(n + 192)

const uint16_t *sel_ramp(void)
{
    static const uint16_t ramp[VEC_ROWS] = {RAMP_256(0),    RAMP_256(256),  RAMP_256(512),
                                            RAMP_256(768),  RAMP_256(1024), RAMP_256(1280),
                                            RAMP_256(1536), RAMP_256(1792)};
    return ramp;
}
