/*
 * Six comparison kernels for one element type, included once per type (no include guard on
 * purpose).
 *
 * The includer defines KERNEL_TYPE and KERNEL_SUFFIX. A constant side has step 0. The count grows
 * by the outcome, so there is no branch to mispredict.
 */
#define KERNEL_CAT_(a, b) a##_##b
#define KERNEL_CAT(a, b) KERNEL_CAT_(a, b)
#define KERNEL_COMPARE(name, op)                                                                   \
    static uint32_t KERNEL_CAT(name, KERNEL_SUFFIX)(const KERNEL_TYPE *a, uint32_t step_a,         \
                                                    const KERNEL_TYPE *b, uint32_t step_b,         \
                                                    const struct sel *sel, uint16_t *rows)         \
    {                                                                                              \
        uint32_t count = 0;                                                                        \
        for (uint32_t k = 0; k < sel->count; k++) {                                                \
            uint32_t row = sel->rows[k];                                                           \
            rows[count] = (uint16_t)row;                                                           \
            count += a[row * step_a] op b[row * step_b];                                           \
        }                                                                                          \
        return count;                                                                              \
    }

KERNEL_COMPARE(compare_eq, ==)
KERNEL_COMPARE(compare_ne, !=)
KERNEL_COMPARE(compare_lt, <)
KERNEL_COMPARE(compare_le, <=)
KERNEL_COMPARE(compare_gt, >)
KERNEL_COMPARE(compare_ge, >=)

static uint32_t KERNEL_CAT(compare, KERNEL_SUFFIX)(enum sql_expr_kind kind, const KERNEL_TYPE *a,
                                                   uint32_t step_a, const KERNEL_TYPE *b,
                                                   uint32_t step_b, const struct sel *sel,
                                                   uint16_t *rows)
{
    switch (kind) {
    case SQL_EXPR_EQ:
        return KERNEL_CAT(compare_eq, KERNEL_SUFFIX)(a, step_a, b, step_b, sel, rows);
    case SQL_EXPR_NE:
        return KERNEL_CAT(compare_ne, KERNEL_SUFFIX)(a, step_a, b, step_b, sel, rows);
    case SQL_EXPR_LT:
        return KERNEL_CAT(compare_lt, KERNEL_SUFFIX)(a, step_a, b, step_b, sel, rows);
    case SQL_EXPR_LE:
        return KERNEL_CAT(compare_le, KERNEL_SUFFIX)(a, step_a, b, step_b, sel, rows);
    case SQL_EXPR_GT:
        return KERNEL_CAT(compare_gt, KERNEL_SUFFIX)(a, step_a, b, step_b, sel, rows);
    default:
        ASSERT(kind == SQL_EXPR_GE);
        return KERNEL_CAT(compare_ge, KERNEL_SUFFIX)(a, step_a, b, step_b, sel, rows);
    }
}
#undef KERNEL_COMPARE
#undef KERNEL_CAT
#undef KERNEL_CAT_
#undef KERNEL_TYPE
#undef KERNEL_SUFFIX
