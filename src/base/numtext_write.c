/*
 * Shortest decimal for a double, by the Schubfach method (Raffaello Giulietti, 2020).
 *
 * A double v = c * 2^q owns the interval of reals that round to it, bounded by the midpoints to its
 * neighbours. With k = floor(log10(2^q)) the multiples of 10^k are dense enough that at least one
 * lies inside the interval, and the multiples of 10^(k+1) so sparse that at most one does. So four
 * candidates suffice: the two multiples of 10^(k+1) and the two of 10^k around v. Midpoints and v
 * are scaled by 10^-k with the 128-bit table, rounded to odd: one sticky bit keeps all comparisons
 * with multiples of four exact.
 *
 *     lower midpoint      v       upper midpoint
 *     ----+---------------+---------------+----      4c-2 (4c-1 above a power of two), 4c, 4c+2, in
 * units of 2^(q-2)
 *
 * Invariants: (1) the result reads back to the same bits; (2) no shorter decimal does; (3) of the
 * shortest ones it is the closest to v. No state, any thread, cannot fail.
 */
#include "base/numtext_int.h"

/* floor(factor * pow10 / 2^128), its lowest bit set when anything was cut off. */
static uint64_t scale_round_to_odd(uint64_t high, uint64_t low, uint64_t factor)
{
    unsigned __int128 small = (unsigned __int128)low * factor;
    unsigned __int128 sum = (unsigned __int128)high * factor + (uint64_t)(small >> 64);
    return (uint64_t)(sum >> 64) | ((uint64_t)sum > 1);
}

/* The interval of v and v itself, times 4 * 10^-k; the bounds are inclusive. */
struct scaled {
    uint64_t lower;
    uint64_t middle;
    uint64_t upper;
};

static struct scaled scale_interval(uint64_t c, int q, bool closer_below, int k)
{
    const struct numtext_pow10 *pow10 = numtext_pow10_get(-k);
    uint64_t high = pow10->high;
    uint64_t low = pow10->low;
    if (!numtext_pow10_exact(-k)) { /* the method wants the power rounded up */
        low++;
        high += low == 0;
    }
    int shift = q + numtext_log2_pow10(-k) + 1;
    ASSERT(shift >= 1 && shift <= 4);
    uint64_t odd = c & 1; /* the reader rounds ties to even: an odd c does not own its midpoints */
    return (struct scaled){
        .lower = scale_round_to_odd(high, low, (4 * c - 2 + closer_below) << shift) + odd,
        .middle = scale_round_to_odd(high, low, (4 * c) << shift),
        .upper = scale_round_to_odd(high, low, (4 * c + 2) << shift) - odd,
    };
}

static uint64_t pick_candidate(struct scaled v, int k, int *ret_exponent)
{
    uint64_t s = v.middle / 4;
    if (s >= 10) {
        uint64_t tens = s / 10;
        bool below_inside = v.lower <= 40 * tens;
        bool above_inside = 40 * tens + 40 <= v.upper;
        if (below_inside != above_inside) {
            *ret_exponent = k + 1;
            return tens + above_inside;
        }
    }
    *ret_exponent = k;
    bool below_inside = v.lower <= 4 * s;
    bool above_inside = 4 * s + 4 <= v.upper;
    if (below_inside != above_inside)
        return s + above_inside;
    uint64_t half = 4 * s + 2;
    return s + (v.middle > half || (v.middle == half && (s & 1)));
}

uint64_t numtext_shortest(uint64_t double_bits, int *ret_exponent)
{
    uint64_t fraction = double_bits & ((UINT64_C(1) << DOUBLE_FRACTION_BITS) - 1);
    int biased = (int)(double_bits >> DOUBLE_FRACTION_BITS & 0x7ff);
    ASSERT(biased != 0x7ff && (biased | fraction) != 0);
    uint64_t c = biased ? fraction | UINT64_C(1) << DOUBLE_FRACTION_BITS : fraction;
    int q = (biased ? biased : 1) - DOUBLE_EXPONENT_BIAS;
    bool closer_below = fraction == 0 && biased > 1;
    /* floor(log10(2^q)), or of 3/4 * 2^q where the interval is narrower; right for all q of doubles
     */
    int k = (q * 1262611 - (closer_below ? 524031 : 0)) >> 22;
    uint64_t digits = pick_candidate(scale_interval(c, q, closer_below, k), k, ret_exponent);
    ASSERT(digits > 0);
    while (digits % 10 == 0) {
        digits /= 10;
        (*ret_exponent)++;
    }
    return digits;
}
