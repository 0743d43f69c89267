/* Types of the query language and units of its date functions. */
#ifndef WEIR_SQL_TYPES_H
#define WEIR_SQL_TYPES_H

#include <stdbool.h>

#include "base/slice.h"

/* Types belong to values; SQL_ANY is a column whose values may differ from row to row. */
enum sql_type {
    SQL_ANY,
    SQL_NULL, /* the NULL literal */
    SQL_BIT,
    SQL_BIGINT,
    SQL_FLOAT,
    SQL_DATETIME,
    SQL_TEXT,
    SQL_RECORD,
    SQL_ARRAY
};

enum sql_unit {
    SQL_UNIT_YEAR,
    SQL_UNIT_QUARTER,
    SQL_UNIT_MONTH,
    SQL_UNIT_DAYOFYEAR,
    SQL_UNIT_DAY,
    SQL_UNIT_WEEK,
    SQL_UNIT_WEEKDAY,
    SQL_UNIT_HOUR,
    SQL_UNIT_MINUTE,
    SQL_UNIT_SECOND,
    SQL_UNIT_MILLISECOND,
    SQL_UNIT_MICROSECOND
};

#define SQL_TYPES_HINT                                                                             \
    "the types are bigint, float, nvarchar(max), datetime, bit, record and array"

/* "bigint", "nvarchar(max)" ... as GetType and messages print them. */
const char *sql_type_name(enum sql_type type);
/* Type by its word in CAST ("nvarchar" without its length); false: no such type. */
bool sql_type_find(struct slice word, enum sql_type *ret_type);
/* Unit by full name, plural or abbreviation; false: no such unit. */
bool sql_unit_find(struct slice word, enum sql_unit *ret_unit);

#endif
