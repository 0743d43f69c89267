/*
 * Mathematical functions. Text arguments are parsed; the result keeps the argument's type where the language says so.
 *
 * ROUND works on the shortest decimal of a double, digit by digit, since scaling a double rounds twice.
 * Invariant: a bigint result is exact. Ownership: none. Failure: runtime errors for what is no number and for results
 * that do not fit.
 */
#include <math.h>

#include "base/assert.h"
#include "base/numtext.h"
#include "exec/expr_int.h"

static enum err out_of_range(struct exec_ctx *ctx, const char *function)
{
    return err_info_set(ctx->info, ERR_SQL_RUNTIME, "%s: the result or argument is out of range",
                        function);
}

EXEC_FN(abs)
{
    struct value n;
    enum err err = exec_arg_number(ctx, "abs", 1, &args[0], &n);

    if (err != ERR_OK)
        return err;
    if (n.type == SQL_FLOAT)
        n.f = fabs(n.f);
    else if (n.i == INT64_MIN)
        return out_of_range(ctx, "abs");
    else
        n.i = n.i < 0 ? -n.i : n.i;
    *ret_value = n;
    return ERR_OK;
}

EXEC_FN(ceiling)
{
    enum err err = exec_arg_number(ctx, "ceiling", 1, &args[0], ret_value);
    if (err == ERR_OK && ret_value->type == SQL_FLOAT)
        ret_value->f = ceil(ret_value->f);
    return err;
}

EXEC_FN(floor)
{
    enum err err = exec_arg_number(ctx, "floor", 1, &args[0], ret_value);
    if (err == ERR_OK && ret_value->type == SQL_FLOAT)
        ret_value->f = floor(ret_value->f);
    return err;
}

EXEC_FN(sign)
{
    enum err err = exec_arg_number(ctx, "sign", 1, &args[0], ret_value);
    if (err == ERR_OK && ret_value->type == SQL_FLOAT)
        ret_value->f = (ret_value->f > 0) - (ret_value->f < 0);
    else if (err == ERR_OK)
        ret_value->i = (ret_value->i > 0) - (ret_value->i < 0);
    return err;
}

static enum err arg_double(struct exec_ctx *ctx, const char *function, uint32_t index,
                           const struct value *value, double *ret_double)
{
    struct value n;
    enum err err = exec_arg_number(ctx, function, index, value, &n);

    if (err == ERR_OK)
        *ret_double = n.type == SQL_FLOAT ? n.f : (double)n.i;
    return err;
}

EXEC_FN(square)
{
    double x = 0;
    enum err err = arg_double(ctx, "square", 1, &args[0], &x);
    *ret_value = value_float(x * x);
    return err;
}

EXEC_FN(sqrt)
{
    double x = 0;
    enum err err = arg_double(ctx, "sqrt", 1, &args[0], &x);
    if (err == ERR_OK && x < 0)
        return out_of_range(ctx, "sqrt");
    *ret_value = value_float(sqrt(x));
    return err;
}

EXEC_FN(exp)
{
    double x = 0;
    enum err err = arg_double(ctx, "exp", 1, &args[0], &x);
    *ret_value = value_float(exp(x));
    return err;
}

/* base to a whole power by squaring; false: overflow. */
static bool int_power(int64_t base, int64_t exponent, int64_t *ret_value)
{
    int64_t result = 1;

    while (exponent > 0) {
        if ((exponent & 1) && __builtin_mul_overflow(result, base, &result))
            return false;
        exponent >>= 1;
        if (exponent > 0 && __builtin_mul_overflow(base, base, &base))
            return false;
    }
    *ret_value = result;
    return true;
}

EXEC_FN(power)
{
    struct value x;
    struct value y;
    enum err err = exec_arg_number(ctx, "power", 1, &args[0], &x);

    if (err == ERR_OK)
        err = exec_arg_number(ctx, "power", 2, &args[1], &y);
    if (err != ERR_OK)
        return err;
    if (x.type == SQL_BIGINT && y.type == SQL_BIGINT && y.i >= 0) {
        *ret_value = value_int(0);
        return int_power(x.i, y.i, &ret_value->i) ? ERR_OK : out_of_range(ctx, "power");
    }
    double dx = x.type == SQL_FLOAT ? x.f : (double)x.i;
    double dy = y.type == SQL_FLOAT ? y.f : (double)y.i;
    struct value result = value_float(pow(dx, dy));
    if (x.type == SQL_FLOAT)
        *ret_value = result;
    else if (!value_cast(&result, SQL_BIGINT, ctx->arena, ret_value))
        return out_of_range(ctx, "power");
    return ERR_OK;
}

/* A double's shortest decimal: digits without leading zeros, value = 0.DIGITS * 10^exponent. */
struct decimal {
    char digits[NUMTEXT_DOUBLE_MAX];
    int count;
    int exponent;
};

static void decimal_from_double(double magnitude, struct decimal *d)
{
    char text[NUMTEXT_DOUBLE_MAX];
    size_t len = numtext_write_double(text, magnitude);
    bool seen_point = false;
    size_t i = 0;

    d->count = 0;
    d->exponent = 0;
    for (; i < len && text[i] != 'e'; i++) {
        if (text[i] == '.') {
            seen_point = true;
        } else if (text[i] == '0' && d->count == 0) {
            d->exponent -= seen_point;
        } else {
            d->digits[d->count++] = text[i];
            d->exponent += !seen_point;
        }
    }
    if (i < len) {
        int64_t shift = 0;
        bool ok = numtext_read_int64(slice_make(text + i + 1, len - i - 1), &shift);
        ASSERT(ok);
        d->exponent += (int)shift;
    }
}

/* Rounds to places decimals, halves away from zero. */
static double decimal_round(struct decimal *d, int64_t places)
{
    int64_t keep = d->exponent + places;
    char text[NUMTEXT_DOUBLE_MAX + 16];
    size_t len = 0;
    double value = 0;

    if (keep < 0)
        return 0;
    if (keep < d->count) {
        bool up = d->digits[keep] >= '5';
        d->count = (int)keep;
        for (int64_t i = keep; up && i > 0; i--) {
            if (d->digits[i - 1] != '9') {
                d->digits[i - 1]++;
                up = false;
            } else {
                d->digits[i - 1] = '0';
            }
        }
        if (up) {
            memmove(d->digits + 1, d->digits, (size_t)d->count);
            d->digits[0] = '1';
            d->count++;
            d->exponent++;
        }
    }
    if (d->count == 0)
        return 0;
    text[len++] = '.';
    memcpy(text + len, d->digits, (size_t)d->count);
    len += (size_t)d->count;
    text[len++] = 'e';
    len += numtext_write_int64(text + len, d->exponent);
    bool ok = numtext_read_double(slice_make(text, len), &value);
    ASSERT(ok);
    return value;
}

static enum err round_int(struct exec_ctx *ctx, int64_t value, int64_t places,
                          struct value *ret_value)
{
    *ret_value = value_int(value);
    if (places >= 0)
        return ERR_OK;
    if (places < -19) {
        ret_value->i = 0;
        return ERR_OK;
    }
    __int128 wide = 1;
    for (int64_t i = 0; i > places; i--)
        wide *= 10;
    __int128 half = wide / 2;
    __int128 v = value;
    v = (v < 0 ? v - half : v + half) / wide * wide;
    if (v > INT64_MAX || v < INT64_MIN)
        return out_of_range(ctx, "round");
    ret_value->i = (int64_t)v;
    return ERR_OK;
}

EXEC_FN(round)
{
    struct decimal d;
    struct value n;
    int64_t places = 0;
    enum err err = exec_arg_number(ctx, "round", 1, &args[0], &n);

    if (err == ERR_OK)
        err = exec_arg_int(ctx, "round", 2, &args[1], &places);
    if (err != ERR_OK)
        return err;
    places = places > 400 ? 400 : places < -400 ? -400 : places;
    if (n.type == SQL_BIGINT)
        return round_int(ctx, n.i, places, ret_value);
    *ret_value = n;
    if (!isfinite(n.f) || n.f == 0)
        return ERR_OK;
    decimal_from_double(fabs(n.f), &d);
    ret_value->f = copysign(decimal_round(&d, places), n.f);
    if (ret_value->f == 0)
        ret_value->f = 0;
    return ERR_OK;
}
