/*
 * Date functions: DATEADD, DATEDIFF, DATEPART, DATENAME, the parts by name, DATETIMEFROMPARTS.
 *
 * The parser hands the unit over as a bigint in first place. Datetimes are ticks; text arguments are read as ISO 8601.
 * Invariant: no result lies outside the years 1 to 9999. Ownership: results in the batch's arena. Failure: runtime
 * errors for what is no datetime and for results out of range.
 */
#include "base/numtext.h"
#include "exec/datetime.h"
#include "exec/expr_int.h"

EXEC_FN(dateadd)
{
    enum sql_unit unit = (enum sql_unit)args[0].i;
    int64_t number = 0;
    int64_t ticks = 0;
    enum err err = exec_arg_int(ctx, "dateadd", 2, &args[1], &number);

    if (err == ERR_OK)
        err = exec_arg_time(ctx, "dateadd", 3, &args[2], &ticks);
    if (err != ERR_OK)
        return err;
    if (!datetime_add(unit, number, ticks, &ticks))
        return err_info_set(ctx->info, ERR_SQL_RUNTIME,
                            "DATEADD: the result lies outside the years 1 to 9999");
    *ret_value = value_time(ticks);
    return ERR_OK;
}

EXEC_FN(datediff)
{
    int64_t a = 0;
    int64_t b = 0;
    enum err err = exec_arg_time(ctx, "datediff", 2, &args[1], &a);

    if (err == ERR_OK)
        err = exec_arg_time(ctx, "datediff", 3, &args[2], &b);
    if (err == ERR_OK)
        *ret_value = value_int(datetime_diff((enum sql_unit)args[0].i, a, b));
    return err;
}

EXEC_FN(datepart)
{
    int64_t ticks = 0;
    enum err err = exec_arg_time(ctx, "datepart", 2, &args[1], &ticks);

    if (err == ERR_OK)
        *ret_value = value_int(datetime_part((enum sql_unit)args[0].i, ticks));
    return err;
}

EXEC_FN(datename)
{
    enum sql_unit unit = (enum sql_unit)args[0].i;
    int64_t ticks = 0;
    char digits[NUMTEXT_INT64_MAX];
    enum err err = exec_arg_time(ctx, "datename", 2, &args[1], &ticks);

    if (err != ERR_OK)
        return err;
    int64_t part = datetime_part(unit, ticks);
    struct slice name = slice_make(digits, numtext_write_int64(digits, part));
    if (unit == SQL_UNIT_MONTH)
        name = slice_cstr(datetime_month_name(part));
    else if (unit == SQL_UNIT_WEEKDAY)
        name = slice_cstr(datetime_weekday_name(part));
    name = arena_copy(ctx->arena, name);
    *ret_value = value_text(name);
    return name.data == NULL ? exec_memory_error(ctx) : ERR_OK;
}

static enum err part_of(struct exec_ctx *ctx, const char *function, enum sql_unit unit,
                        const struct value *arg, struct value *ret_value)
{
    int64_t ticks = 0;
    enum err err = exec_arg_time(ctx, function, 1, arg, &ticks);

    if (err == ERR_OK)
        *ret_value = value_int(datetime_part(unit, ticks));
    return err;
}

EXEC_FN(day)
{
    return part_of(ctx, "day", SQL_UNIT_DAY, &args[0], ret_value);
}

EXEC_FN(month)
{
    return part_of(ctx, "month", SQL_UNIT_MONTH, &args[0], ret_value);
}

EXEC_FN(year)
{
    return part_of(ctx, "year", SQL_UNIT_YEAR, &args[0], ret_value);
}

EXEC_FN(datetimefromparts)
{
    int64_t parts[7] = {0};
    int64_t ticks;

    for (uint32_t i = 0; i < 7; i++) {
        enum err err = exec_arg_int(ctx, "datetimefromparts", i + 1, &args[i], &parts[i]);
        if (err != ERR_OK)
            return err;
        if (parts[i] < 0 || parts[i] > 9999)
            parts[i] = 10000;
    }
    struct datetime p = {.year = (int)parts[0],
                         .month = (int)parts[1],
                         .day = (int)parts[2],
                         .hour = (int)parts[3],
                         .minute = (int)parts[4],
                         .second = (int)parts[5],
                         .ticks = (int)(parts[6] * DATETIME_TICKS_PER_MS)};
    if (parts[6] > 999 || !datetime_join(&p, &ticks))
        return err_info_set(ctx->info, ERR_SQL_RUNTIME, "DATETIMEFROMPARTS: there is no such date");
    *ret_value = value_time(ticks);
    return ERR_OK;
}
