/* The built-in functions: names, argument counts, result types. */
#ifndef WEIR_SQL_FUNCTIONS_H
#define WEIR_SQL_FUNCTIONS_H

#include <stdint.h>

#include "sql/types.h"

enum sql_function_id {
    SQL_FN_ABS,
    SQL_FN_CEILING,
    SQL_FN_CHARINDEX,
    SQL_FN_COALESCE,
    SQL_FN_CONCAT,
    SQL_FN_CONCAT_WS,
    SQL_FN_CREATELINESTRING,
    SQL_FN_CREATEPOINT,
    SQL_FN_CREATEPOLYGON,
    SQL_FN_DATEADD,
    SQL_FN_DATEDIFF,
    SQL_FN_DATENAME,
    SQL_FN_DATEPART,
    SQL_FN_DATETIMEFROMPARTS,
    SQL_FN_DAY,
    SQL_FN_EXP,
    SQL_FN_FLOOR,
    SQL_FN_GETARRAYELEMENT,
    SQL_FN_GETARRAYLENGTH,
    SQL_FN_GETRECORDPROPERTYVALUE,
    SQL_FN_GETTYPE,
    SQL_FN_JSON_PARSE,
    SQL_FN_LEFT,
    SQL_FN_LEN,
    SQL_FN_LOWER,
    SQL_FN_LTRIM,
    SQL_FN_MONTH,
    SQL_FN_NCHAR,
    SQL_FN_NULLIF,
    SQL_FN_PATINDEX,
    SQL_FN_POWER,
    SQL_FN_REGEXMATCH,
    SQL_FN_REPLACE,
    SQL_FN_REPLICATE,
    SQL_FN_REVERSE,
    SQL_FN_RIGHT,
    SQL_FN_ROUND,
    SQL_FN_RTRIM,
    SQL_FN_SIGN,
    SQL_FN_SPACE,
    SQL_FN_SQRT,
    SQL_FN_SQUARE,
    SQL_FN_ST_DISTANCE,
    SQL_FN_ST_INTERSECTS,
    SQL_FN_ST_OVERLAPS,
    SQL_FN_ST_WITHIN,
    SQL_FN_STUFF,
    SQL_FN_SUBSTRING,
    SQL_FN_SYSTEM_TIMESTAMP,
    SQL_FN_TRANSLATE,
    SQL_FN_TRIM,
    SQL_FN_UNICODE,
    SQL_FN_UPPER,
    SQL_FN_YEAR,
    SQL_FN_NOT_YET /* known to the language, not executed by this version */
};

struct sql_function {
    const char *name;
    enum sql_function_id id;
    uint8_t args_min;
    uint8_t args_max; /* 255: any number */
    bool unit_first;  /* the first argument is a date unit */
    enum sql_type result;
    const char *construct; /* for SQL_FN_NOT_YET: what to call it in the message */
};

/* NULL: the language has no such function. */
const struct sql_function *sql_function_find(struct slice name);
/* A function of SQL at large that this language has not got: what to write instead ("": nothing);
 * NULL: no such. */
const char *sql_function_foreign(struct slice name);
/* The name that differs least from a wrong one, NULL when none is near. */
const char *sql_function_nearest(struct slice name);

#endif
