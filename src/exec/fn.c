/*
 * The table of functions, and what the files of functions share: arguments by type with the language's own messages.
 *
 * Invariants: (1) the table has a row for every function that the parser lets through; (2) a function is called with a
 * NULL argument only if its row says so. Ownership: none; any shard. Failure: runtime errors in the caller's err_info.
 */
#include "base/assert.h"
#include "exec/datetime.h"
#include "exec/expr_int.h"

const struct exec_function *exec_function_row(enum sql_function_id id)
{
    static const struct exec_function rows[] = {
        [SQL_FN_ABS] = {exec_fn_abs, false},
        [SQL_FN_CEILING] = {exec_fn_ceiling, false},
        [SQL_FN_CHARINDEX] = {exec_fn_charindex, false},
        [SQL_FN_COALESCE] = {exec_fn_coalesce, true},
        [SQL_FN_CONCAT] = {exec_fn_concat, true},
        [SQL_FN_CONCAT_WS] = {exec_fn_concat_ws, true},
        [SQL_FN_CREATELINESTRING] = {exec_fn_createlinestring, false},
        [SQL_FN_CREATEPOINT] = {exec_fn_createpoint, false},
        [SQL_FN_CREATEPOLYGON] = {exec_fn_createpolygon, false},
        [SQL_FN_DATEADD] = {exec_fn_dateadd, false},
        [SQL_FN_DATEDIFF] = {exec_fn_datediff, false},
        [SQL_FN_DATENAME] = {exec_fn_datename, false},
        [SQL_FN_DATEPART] = {exec_fn_datepart, false},
        [SQL_FN_DATETIMEFROMPARTS] = {exec_fn_datetimefromparts, false},
        [SQL_FN_DAY] = {exec_fn_day, false},
        [SQL_FN_EXP] = {exec_fn_exp, false},
        [SQL_FN_FLOOR] = {exec_fn_floor, false},
        [SQL_FN_GETARRAYELEMENT] = {exec_fn_getarrayelement, false},
        [SQL_FN_GETARRAYLENGTH] = {exec_fn_getarraylength, false},
        [SQL_FN_GETRECORDPROPERTYVALUE] = {exec_fn_getrecordpropertyvalue, false},
        [SQL_FN_GETTYPE] = {exec_fn_gettype, false},
        [SQL_FN_JSON_PARSE] = {exec_fn_json_parse, false},
        [SQL_FN_LEFT] = {exec_fn_left, false},
        [SQL_FN_LEN] = {exec_fn_len, false},
        [SQL_FN_LOWER] = {exec_fn_lower, false},
        [SQL_FN_LTRIM] = {exec_fn_ltrim, false},
        [SQL_FN_MONTH] = {exec_fn_month, false},
        [SQL_FN_NCHAR] = {exec_fn_nchar, false},
        [SQL_FN_NULLIF] = {exec_fn_nullif, true},
        [SQL_FN_PATINDEX] = {exec_fn_patindex, false},
        [SQL_FN_POWER] = {exec_fn_power, false},
        [SQL_FN_REGEXMATCH] = {exec_fn_regexmatch, false},
        [SQL_FN_REPLACE] = {exec_fn_replace, false},
        [SQL_FN_REPLICATE] = {exec_fn_replicate, false},
        [SQL_FN_REVERSE] = {exec_fn_reverse, false},
        [SQL_FN_RIGHT] = {exec_fn_right, false},
        [SQL_FN_ROUND] = {exec_fn_round, false},
        [SQL_FN_RTRIM] = {exec_fn_rtrim, false},
        [SQL_FN_SIGN] = {exec_fn_sign, false},
        [SQL_FN_SPACE] = {exec_fn_space, false},
        [SQL_FN_SQRT] = {exec_fn_sqrt, false},
        [SQL_FN_SQUARE] = {exec_fn_square, false},
        [SQL_FN_ST_DISTANCE] = {exec_fn_st_distance, false},
        [SQL_FN_ST_INTERSECTS] = {exec_fn_st_intersects, false},
        [SQL_FN_ST_OVERLAPS] = {exec_fn_st_overlaps, false},
        [SQL_FN_ST_WITHIN] = {exec_fn_st_within, false},
        [SQL_FN_STUFF] = {exec_fn_stuff, false},
        [SQL_FN_SUBSTRING] = {exec_fn_substring, false},
        [SQL_FN_TRANSLATE] = {exec_fn_translate, false},
        [SQL_FN_TRIM] = {exec_fn_trim, false},
        [SQL_FN_UNICODE] = {exec_fn_unicode, false},
        [SQL_FN_UPPER] = {exec_fn_upper, false},
        [SQL_FN_YEAR] = {exec_fn_year, false},
    };

    ASSERT((unsigned)id < sizeof(rows) / sizeof(rows[0]));
    ASSERT(rows[id].call != NULL);
    return &rows[id];
}

enum err exec_argument_error(struct exec_ctx *ctx, const char *function, uint32_t index,
                             const struct value *value, const char *allowed)
{
    const char *suffix = index == 1 ? "st" : index == 2 ? "nd" : index == 3 ? "rd" : "th";

    return err_info_set(ctx->info, ERR_SQL_RUNTIME,
                        "The %u%s argument of function {%s} has invalid type '{%s}'. Only %s is "
                        "allowed.",
                        index, suffix, function, sql_type_name((enum sql_type)value->type),
                        allowed);
}

enum err exec_arg_text(struct exec_ctx *ctx, const char *function, uint32_t index,
                       const struct value *value, struct slice *ret_text)
{
    if (value->type != SQL_TEXT)
        return exec_argument_error(ctx, function, index, value, "'{nvarchar(max)}'");
    *ret_text = value_slice(value);
    return ERR_OK;
}

enum err exec_arg_number(struct exec_ctx *ctx, const char *function, uint32_t index,
                         const struct value *value, struct value *ret_number)
{
    if (!value_to_number(value, ret_number))
        return exec_argument_error(ctx, function, index, value, "'{bigint}', '{float}'");
    return ERR_OK;
}

enum err exec_arg_int(struct exec_ctx *ctx, const char *function, uint32_t index,
                      const struct value *value, int64_t *ret_int)
{
    struct value number;
    struct value whole;
    enum err err = exec_arg_number(ctx, function, index, value, &number);

    if (err != ERR_OK)
        return err;
    if (!value_cast(&number, SQL_BIGINT, ctx->arena, &whole))
        return exec_argument_error(ctx, function, index, value, "'{bigint}'");
    *ret_int = whole.i;
    return ERR_OK;
}

enum err exec_arg_time(struct exec_ctx *ctx, const char *function, uint32_t index,
                       const struct value *value, int64_t *ret_ticks)
{
    if (!value_to_time(value, ret_ticks))
        return exec_argument_error(ctx, function, index, value, "'{datetime}'");
    return ERR_OK;
}

EXEC_FN(coalesce)
{
    for (uint32_t i = 0; i < count; i++) {
        if (args[i].type != SQL_NULL) {
            *ret_value = args[i];
            break;
        }
    }
    return ERR_OK;
}

EXEC_FN(nullif)
{
    if (!value_compare(SQL_EXPR_EQ, &args[0], &args[1]))
        *ret_value = args[0];
    return ERR_OK;
}

EXEC_FN(gettype)
{
    *ret_value = value_text(slice_cstr(sql_type_name((enum sql_type)args[0].type)));
    return ERR_OK;
}
