/*
 * Typed kernels: comparison and arithmetic over whole vectors.
 *
 * They cover the pairs that real queries are made of (bigint, float and datetime with their like or
 * with a constant, text for equality); everything else goes through the rules of value.c, a row at
 * a time.
 *
 * Invariants: (1) a kernel gives what value.c would; (2) NULL rows never pass a comparison; (3) a
 * sum that overflows makes the kernel step back, so that only value.c raises errors. Ownership:
 * none. Failure: "no kernel".
 */
#include "base/assert.h"
#include "exec/expr_int.h"

#define KERNEL_TYPE int64_t
#define KERNEL_SUFFIX i64
#include "exec/kernel_compare.h"

#define KERNEL_TYPE double
#define KERNEL_SUFFIX f64
#include "exec/kernel_compare.h"

/* Drops the rows at which a vector is NULL. */
static uint32_t drop_nulls(const struct vec *vec, uint16_t *rows, uint32_t count)
{
    uint32_t kept = 0;

    if (!vec->has_null || vec->constant)
        return count;
    for (uint32_t k = 0; k < count; k++) {
        uint32_t row = rows[k];
        rows[kept] = (uint16_t)row;
        kept += !((vec->nulls[row / 64] >> (row % 64)) & 1);
    }
    return kept;
}

static bool is_ascii(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] >= 0x80)
            return false;
    }
    return true;
}

/* Text equal to an ASCII constant: its length decides nearly always. */
static uint32_t text_equal_constant(const struct vec *a, struct slice b, bool want,
                                    const struct sel *sel, uint16_t *rows)
{
    bool ascii = is_ascii(b);
    uint32_t count = 0;

    for (uint32_t k = 0; k < sel->count; k++) {
        uint32_t row = sel->rows[k];
        struct slice t = a->t[row];
        bool equal;
        if (t.len == b.len &&
            (t.len == 0 || (t.data[0] == b.data[0] && memcmp(t.data, b.data, b.len) == 0)))
            equal = true;
        else if (ascii && t.len == b.len)
            equal = slice_equal_nocase(t, b) || (!is_ascii(t) && value_text_equal(t, b));
        else if (ascii && is_ascii(t))
            equal = false;
        else
            equal = value_text_equal(t, b);
        rows[count] = (uint16_t)row;
        count += equal == want;
    }
    return count;
}

static bool constant_as_double(const struct vec *vec, double *ret_value)
{
    if (!vec->constant || vec->type != SQL_BIGINT || vec->i[0] > (1LL << 53) ||
        vec->i[0] < -(1LL << 53))
        return false;
    *ret_value = (double)vec->i[0];
    return true;
}

/* Float against bigint constant and the reverse: exact as doubles while the constant is. */
static uint32_t compare_mixed(enum sql_expr_kind kind, const struct vec *a, const struct vec *b,
                              const struct sel *sel, uint16_t *rows)
{
    double constant;

    if (a->type == SQL_FLOAT && constant_as_double(b, &constant))
        return compare_f64(kind, a->f, a->constant ? 0 : 1, &constant, 0, sel, rows);
    if (b->type == SQL_FLOAT && constant_as_double(a, &constant))
        return compare_f64(kind, &constant, 0, b->f, b->constant ? 0 : 1, sel, rows);
    return UINT32_MAX;
}

uint32_t exec_kernel_compare(enum sql_expr_kind kind, const struct vec *a, const struct vec *b,
                             const struct sel *sel, uint16_t *rows)
{
    uint32_t count;

    if (a->type == SQL_NULL || b->type == SQL_NULL)
        return 0;
    if (a->type == b->type && (a->type == SQL_BIGINT || a->type == SQL_DATETIME))
        count = compare_i64(kind, a->i, a->constant ? 0 : 1, b->i, b->constant ? 0 : 1, sel, rows);
    else if (a->type == SQL_FLOAT && b->type == SQL_FLOAT)
        count = compare_f64(kind, a->f, a->constant ? 0 : 1, b->f, b->constant ? 0 : 1, sel, rows);
    else if (a->type == SQL_TEXT && b->type == SQL_TEXT && b->constant && !a->constant &&
             (kind == SQL_EXPR_EQ || kind == SQL_EXPR_NE))
        count = text_equal_constant(a, b->t[0], kind == SQL_EXPR_EQ, sel, rows);
    else
        count = compare_mixed(kind, a, b, sel, rows);
    if (count == UINT32_MAX)
        return count;
    ASSERT(count <= sel->count);
    count = drop_nulls(a, rows, count);
    return drop_nulls(b, rows, count);
}

#define KERNEL_ARITHMETIC(name, statement)                                                         \
    static bool name(const struct vec *a, const struct vec *b, const struct sel *sel,              \
                     struct vec *out)                                                              \
    {                                                                                              \
        uint32_t step_a = a->constant ? 0 : 1;                                                     \
        uint32_t step_b = b->constant ? 0 : 1;                                                     \
        bool failed = false;                                                                       \
        for (uint32_t k = 0; k < sel->count; k++) {                                                \
            uint32_t row = sel->rows[k];                                                           \
            uint32_t ra = row * step_a;                                                            \
            uint32_t rb = row * step_b;                                                            \
            statement;                                                                             \
        }                                                                                          \
        return !failed;                                                                            \
    }

KERNEL_ARITHMETIC(add_i64, failed |= __builtin_add_overflow(a->i[ra], b->i[rb], &out->i[row]))
KERNEL_ARITHMETIC(sub_i64, failed |= __builtin_sub_overflow(a->i[ra], b->i[rb], &out->i[row]))
KERNEL_ARITHMETIC(mul_i64, failed |= __builtin_mul_overflow(a->i[ra], b->i[rb], &out->i[row]))
KERNEL_ARITHMETIC(add_f64, out->f[row] = a->f[ra] + b->f[rb])
KERNEL_ARITHMETIC(sub_f64, out->f[row] = a->f[ra] - b->f[rb])
KERNEL_ARITHMETIC(mul_f64, out->f[row] = a->f[ra] * b->f[rb])
KERNEL_ARITHMETIC(div_f64, out->f[row] = a->f[ra] / b->f[rb])

static void merge_nulls(const struct vec *from, struct vec *out)
{
    if (!from->has_null || from->constant)
        return;
    for (unsigned i = 0; i < VEC_ROWS / 64; i++)
        out->nulls[i] |= from->nulls[i];
    out->has_null = true;
}

bool exec_kernel_arithmetic(enum sql_expr_kind kind, const struct vec *a, const struct vec *b,
                            const struct sel *sel, struct vec *out)
{
    bool ints = a->type == SQL_BIGINT && b->type == SQL_BIGINT;
    bool floats = a->type == SQL_FLOAT && b->type == SQL_FLOAT;
    bool done = false;

    if (!ints && !floats)
        return false;
    vec_reset(out, ints ? SQL_BIGINT : SQL_FLOAT);
    if (kind == SQL_EXPR_ADD)
        done = ints ? add_i64(a, b, sel, out) : add_f64(a, b, sel, out);
    else if (kind == SQL_EXPR_SUB)
        done = ints ? sub_i64(a, b, sel, out) : sub_f64(a, b, sel, out);
    else if (kind == SQL_EXPR_MUL)
        done = ints ? mul_i64(a, b, sel, out) : mul_f64(a, b, sel, out);
    else if (kind == SQL_EXPR_DIV && floats)
        done = div_f64(a, b, sel, out);
    if (!done)
        return false;
    merge_nulls(a, out);
    merge_nulls(b, out);
    return true;
}
