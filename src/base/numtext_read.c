/*
 * Correctly rounded double for a decimal.
 *
 * Three ways, cheapest first. (a) Both the digits and the power of ten are exact doubles: one
 * multiplication or division rounds right. (b) The product of the digits with the 128-bit power is
 * a lower bound of the value, and a second product an upper bound; rounding is monotonic, so when
 * both round to the same double that is the answer (the idea of Eisel and Lemire). (c) Otherwise
 * the two doubles are neighbours and the value lies next to the midpoint between them: big integers
 * compare it exactly.
 *
 * Invariants: (1) value in [lower, upper], with equality of all three when nothing was cut; (2)
 * midpoints between doubles have at most 768 significant digits, so that digits behind DIGITS_MAX
 * matter only by being non-zero; (3) the integers compared have fewer than BIG_LIMBS * 64 bits.
 *
 * No state, any thread, no allocation; the text may be of any length.
 */
#include "base/numtext_int.h"

enum {
    DIGITS_MAX = 800,
    BIG_LIMBS = 64,
    EXPONENT_ZERO = -343,    /* 19 digits times this power are below half of the least double */
    EXPONENT_INFINITE = 309, /* one digit times this power is above the greatest */
    POW5_STEP = 27           /* 5^27 is the highest power of five in 64 bits */
};

#define INFINITY_BITS (UINT64_C(0x7ff) << DOUBLE_FRACTION_BITS)

/* 192 bits, highest first. */
struct product {
    uint64_t high;
    uint64_t middle;
    uint64_t low;
};

static struct product product_make(uint64_t factor, const struct numtext_pow10 *pow10)
{
    unsigned __int128 small = (unsigned __int128)factor * pow10->low;
    unsigned __int128 large = (unsigned __int128)factor * pow10->high + (uint64_t)(small >> 64);
    return (struct product){(uint64_t)(large >> 64), (uint64_t)large, (uint64_t)small};
}

static void product_add(struct product *product, uint64_t middle, uint64_t low)
{
    unsigned __int128 tail = (unsigned __int128)product->middle << 64 | product->low;
    unsigned __int128 more = (unsigned __int128)middle << 64 | low;
    tail += more;
    product->high += tail < more;
    product->middle = (uint64_t)(tail >> 64);
    product->low = (uint64_t)tail;
}

/* Rounds product * 2^exponent to a double's bits; the product has at most one leading zero bit. */
static uint64_t product_round(struct product p, int exponent)
{
    ASSERT(p.high >> 62 != 0);
    uint64_t high = p.high;
    uint64_t sticky = p.middle | p.low;
    if (high >> 63 == 0) {
        high = high << 1 | p.middle >> 63;
        sticky = p.middle << 1 | p.low;
        exponent--;
    }
    /* Now the value is high * 2^(exponent + 128) and a bit; as a double it is a 53-bit integer
     * times a power of two. */
    int drop = 64 - (DOUBLE_FRACTION_BITS + 1);
    int biased = exponent + 128 + drop + DOUBLE_EXPONENT_BIAS;
    if (biased < 1) { /* subnormal: fewer bits */
        drop += 1 - biased;
        biased = 1;
        if (drop > 64)
            return 0;
    }
    if (biased >= 0x7ff)
        return INFINITY_BITS;
    ASSERT(drop > 0 && drop <= 64);
    uint64_t kept = drop < 64 ? high >> drop : 0;
    uint64_t half = UINT64_C(1) << (drop - 1);
    uint64_t rest = high & (half | (half - 1));
    bool up = rest > half || (rest == half && (sticky != 0 || (kept & 1)));
    /* The hidden bit raises the exponent field by one, and so does a carry out of the rounding. */
    uint64_t bits = ((uint64_t)(biased - 1) << DOUBLE_FRACTION_BITS) + kept + up;
    ASSERT(bits <= INFINITY_BITS);
    return bits;
}

struct big {
    size_t len;
    uint64_t limbs[BIG_LIMBS]; /* lowest first; no leading zero limb */
};

static void big_multiply_add(struct big *big, uint64_t factor, uint64_t add)
{
    uint64_t carry = add;
    for (size_t i = 0; i < big->len; i++) {
        unsigned __int128 product = (unsigned __int128)big->limbs[i] * factor + carry;
        big->limbs[i] = (uint64_t)product;
        carry = (uint64_t)(product >> 64);
    }
    if (carry == 0)
        return;
    ASSERT(big->len < BIG_LIMBS);
    big->limbs[big->len++] = carry;
}

static void big_multiply_pow5(struct big *big, int64_t n)
{
    for (; n >= POW5_STEP; n -= POW5_STEP)
        big_multiply_add(big, UINT64_C(7450580596923828125), 0);
    uint64_t rest = 1;
    for (; n > 0; n--)
        rest *= 5;
    big_multiply_add(big, rest, 0);
}

static void big_shift_left(struct big *big, int64_t bits)
{
    if (big->len == 0 || bits <= 0)
        return;
    size_t limbs = (size_t)bits / 64;
    big_multiply_add(big, UINT64_C(1) << (bits % 64), 0);
    ASSERT(big->len + limbs <= BIG_LIMBS);
    memmove(big->limbs + limbs, big->limbs, big->len * sizeof(big->limbs[0]));
    memset(big->limbs, 0, limbs * sizeof(big->limbs[0]));
    big->len += limbs;
}

static int big_compare(const struct big *a, const struct big *b)
{
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    for (size_t i = a->len; i-- > 0;) {
        if (a->limbs[i] != b->limbs[i])
            return a->limbs[i] < b->limbs[i] ? -1 : 1;
    }
    return 0;
}

/* All digits of the text as an integer, from the first significant one; returns how many were
 * taken. */
static int64_t big_from_digits(struct big *big, struct slice text, size_t at)
{
    int64_t count = 0;
    bool more = false;
    big->len = 0;
    for (; at < text.len && !more; at++) {
        uint8_t c = text.data[at];
        if (c == '.')
            continue;
        if (c < '0' || c > '9')
            break;
        if (count < DIGITS_MAX) {
            big_multiply_add(big, 10, c - '0');
            count++;
        } else if (c != '0') {
            more = true;
        }
    }
    if (more) { /* anything that is not zero stands for all that was cut */
        big_multiply_add(big, 10, 1);
        count++;
    }
    return count;
}

/* Decides exactly between the double of lower_bits and the one above it. */
static uint64_t round_exactly(struct slice text, const struct numtext_decimal *decimal,
                              uint64_t lower_bits)
{
    int biased = (int)(lower_bits >> DOUBLE_FRACTION_BITS);
    uint64_t c = lower_bits & ((UINT64_C(1) << DOUBLE_FRACTION_BITS) - 1);
    if (biased > 0)
        c |= UINT64_C(1) << DOUBLE_FRACTION_BITS;
    int64_t mid_exponent = (biased ? biased : 1) - DOUBLE_EXPONENT_BIAS - 1;
    struct big value;
    struct big middle = {.len = 1, .limbs = {2 * c + 1}};
    int64_t count = big_from_digits(&value, text, decimal->first_digit);
    int64_t exponent = decimal->exponent + decimal->digits - count;
    /* value * 10^exponent against middle * 2^mid_exponent: all factors moved to where they are
     * integers */
    if (exponent >= 0)
        big_multiply_pow5(&value, exponent);
    else
        big_multiply_pow5(&middle, -exponent);
    big_shift_left(&value, exponent - mid_exponent);
    big_shift_left(&middle, mid_exponent - exponent);
    int order = big_compare(&value, &middle);
    return lower_bits + (order > 0 || (order == 0 && (c & 1)));
}

/* Way (a): digits and power are both exact. */
static bool round_small(const struct numtext_decimal *decimal, uint64_t *ret_bits)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (decimal->cut || decimal->significand >> 53 != 0 || decimal->exponent < -22 ||
        decimal->exponent > 22)
        return false;
    double value = (double)decimal->significand;
    if (decimal->exponent < 0)
        value /= powers[-decimal->exponent];
    else
        value *= powers[decimal->exponent];
    memcpy(ret_bits, &value, sizeof(value));
    return true;
}

uint64_t numtext_decimal_round(struct slice text, const struct numtext_decimal *decimal)
{
    ASSERT(decimal->digits <= 19);
    uint64_t bits;
    if (decimal->significand == 0 || decimal->exponent <= EXPONENT_ZERO)
        return 0;
    if (decimal->exponent >= EXPONENT_INFINITE)
        return INFINITY_BITS;
    if (round_small(decimal, &bits))
        return bits;
    int k = (int)decimal->exponent;
    int zeros = __builtin_clzll(decimal->significand);
    uint64_t factor = decimal->significand << zeros;
    const struct numtext_pow10 *pow10 = numtext_pow10_get(k);
    struct product bound = product_make(factor, pow10);
    int exponent = numtext_log2_pow10(k) - 127 - zeros;
    uint64_t lower = product_round(bound, exponent);
    if (decimal->cut) { /* (significand + 1) * (power + 1), the one shifted along */
        struct product more = product_make(UINT64_C(1) << zeros, pow10);
        ASSERT(more.high < UINT64_C(1) << 63);
        bound.high += more.high;
        product_add(&bound, more.middle, more.low);
        product_add(&bound, 0, UINT64_C(1) << zeros);
    }
    if (!numtext_pow10_exact(k))
        product_add(&bound, 0, factor);
    uint64_t upper = product_round(bound, exponent);
    if (lower == upper)
        return lower;
    ASSERT(upper == lower + 1);
    return round_exactly(text, decimal, lower);
}
