/* Words for types and units (see sql/types.h). */
#include "sql/types.h"

#include "base/assert.h"

const char *sql_type_name(enum sql_type type)
{
    static const char *const names[] = {"any",      "null",          "bit",    "bigint", "float",
                                        "datetime", "nvarchar(max)", "record", "array"};
    ASSERT((unsigned)type < sizeof(names) / sizeof(names[0]));
    return names[type];
}

bool sql_type_find(struct slice word, enum sql_type *ret_type)
{
    static const struct {
        const char *word;
        enum sql_type type;
    } rows[] = {{"bigint", SQL_BIGINT},     {"float", SQL_FLOAT}, {"nvarchar", SQL_TEXT},
                {"datetime", SQL_DATETIME}, {"bit", SQL_BIT},     {"record", SQL_RECORD},
                {"array", SQL_ARRAY}};

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (slice_equal_nocase(word, slice_cstr(rows[i].word))) {
            *ret_type = rows[i].type;
            return true;
        }
    }
    return false;
}

bool sql_unit_find(struct slice word, enum sql_unit *ret_unit)
{
    static const char *const names[][5] = {
        [SQL_UNIT_YEAR] = {"year", "years", "yy", "yyyy"},
        [SQL_UNIT_QUARTER] = {"quarter", "quarters", "qq", "q"},
        [SQL_UNIT_MONTH] = {"month", "months", "mm", "m"},
        [SQL_UNIT_DAYOFYEAR] = {"dayofyear", "dy", "y"},
        [SQL_UNIT_DAY] = {"day", "days", "dd", "d"},
        [SQL_UNIT_WEEK] = {"week", "weeks", "wk", "ww"},
        [SQL_UNIT_WEEKDAY] = {"weekday", "weekdays", "dw", "w"},
        [SQL_UNIT_HOUR] = {"hour", "hours", "hh"},
        [SQL_UNIT_MINUTE] = {"minute", "minutes", "mi", "n"},
        [SQL_UNIT_SECOND] = {"second", "seconds", "ss", "s"},
        [SQL_UNIT_MILLISECOND] = {"millisecond", "milliseconds", "ms"},
        [SQL_UNIT_MICROSECOND] = {"microsecond", "microseconds", "mcs"},
    };

    for (unsigned unit = 0; unit < sizeof(names) / sizeof(names[0]); unit++) {
        for (unsigned i = 0; i < 5 && names[unit][i] != NULL; i++) {
            if (slice_equal_nocase(word, slice_cstr(names[unit][i]))) {
                *ret_unit = (enum sql_unit)unit;
                return true;
            }
        }
    }
    return false;
}
