/* The table of built-in functions (see sql/functions.h). */
#include "sql/functions.h"

#include "base/assert.h"

#define NOT_YET(name, construct)                                                                   \
    {                                                                                              \
        name, SQL_FN_NOT_YET, 0, 255, false, SQL_ANY, construct                                    \
    }

static const struct sql_function functions[] = {
    {"ABS", SQL_FN_ABS, 1, 1, false, SQL_ANY, NULL},
    {"CEILING", SQL_FN_CEILING, 1, 1, false, SQL_ANY, NULL},
    {"CHARINDEX", SQL_FN_CHARINDEX, 2, 3, false, SQL_BIGINT, NULL},
    {"COALESCE", SQL_FN_COALESCE, 1, 255, false, SQL_ANY, NULL},
    {"CONCAT", SQL_FN_CONCAT, 2, 255, false, SQL_TEXT, NULL},
    {"CONCAT_WS", SQL_FN_CONCAT_WS, 3, 255, false, SQL_TEXT, NULL},
    {"CreateLineString", SQL_FN_CREATELINESTRING, 2, 255, false, SQL_ANY, NULL},
    {"CreatePoint", SQL_FN_CREATEPOINT, 2, 2, false, SQL_ANY, NULL},
    {"CreatePolygon", SQL_FN_CREATEPOLYGON, 4, 255, false, SQL_ANY, NULL},
    {"DATEADD", SQL_FN_DATEADD, 3, 3, true, SQL_DATETIME, NULL},
    {"DATEDIFF", SQL_FN_DATEDIFF, 3, 3, true, SQL_BIGINT, NULL},
    {"DATENAME", SQL_FN_DATENAME, 2, 2, true, SQL_TEXT, NULL},
    {"DATEPART", SQL_FN_DATEPART, 2, 2, true, SQL_BIGINT, NULL},
    {"DATETIMEFROMPARTS", SQL_FN_DATETIMEFROMPARTS, 7, 7, false, SQL_DATETIME, NULL},
    {"DAY", SQL_FN_DAY, 1, 1, false, SQL_BIGINT, NULL},
    {"EXP", SQL_FN_EXP, 1, 1, false, SQL_FLOAT, NULL},
    {"FLOOR", SQL_FN_FLOOR, 1, 1, false, SQL_ANY, NULL},
    {"GetArrayElement", SQL_FN_GETARRAYELEMENT, 2, 2, false, SQL_ANY, NULL},
    {"GetArrayLength", SQL_FN_GETARRAYLENGTH, 1, 1, false, SQL_BIGINT, NULL},
    {"GetRecordPropertyValue", SQL_FN_GETRECORDPROPERTYVALUE, 2, 2, false, SQL_ANY, NULL},
    {"GetType", SQL_FN_GETTYPE, 1, 1, false, SQL_TEXT, NULL},
    {"JSON_PARSE", SQL_FN_JSON_PARSE, 1, 1, false, SQL_ANY, NULL},
    {"LEFT", SQL_FN_LEFT, 2, 2, false, SQL_TEXT, NULL},
    {"LEN", SQL_FN_LEN, 1, 1, false, SQL_BIGINT, NULL},
    {"LOWER", SQL_FN_LOWER, 1, 1, false, SQL_TEXT, NULL},
    {"LTRIM", SQL_FN_LTRIM, 1, 1, false, SQL_TEXT, NULL},
    {"MONTH", SQL_FN_MONTH, 1, 1, false, SQL_BIGINT, NULL},
    {"NCHAR", SQL_FN_NCHAR, 1, 1, false, SQL_TEXT, NULL},
    {"NULLIF", SQL_FN_NULLIF, 2, 2, false, SQL_ANY, NULL},
    {"PATINDEX", SQL_FN_PATINDEX, 2, 2, false, SQL_BIGINT, NULL},
    {"POWER", SQL_FN_POWER, 2, 2, false, SQL_ANY, NULL},
    {"REGEXMATCH", SQL_FN_REGEXMATCH, 2, 2, false, SQL_BIGINT, NULL},
    {"REPLACE", SQL_FN_REPLACE, 3, 3, false, SQL_TEXT, NULL},
    {"REPLICATE", SQL_FN_REPLICATE, 2, 2, false, SQL_TEXT, NULL},
    {"REVERSE", SQL_FN_REVERSE, 1, 1, false, SQL_TEXT, NULL},
    {"RIGHT", SQL_FN_RIGHT, 2, 2, false, SQL_TEXT, NULL},
    {"ROUND", SQL_FN_ROUND, 2, 2, false, SQL_ANY, NULL},
    {"RTRIM", SQL_FN_RTRIM, 1, 1, false, SQL_TEXT, NULL},
    {"SIGN", SQL_FN_SIGN, 1, 1, false, SQL_ANY, NULL},
    {"SPACE", SQL_FN_SPACE, 1, 1, false, SQL_TEXT, NULL},
    {"SQRT", SQL_FN_SQRT, 1, 1, false, SQL_FLOAT, NULL},
    {"SQUARE", SQL_FN_SQUARE, 1, 1, false, SQL_FLOAT, NULL},
    {"ST_DISTANCE", SQL_FN_ST_DISTANCE, 2, 2, false, SQL_FLOAT, NULL},
    {"ST_INTERSECTS", SQL_FN_ST_INTERSECTS, 2, 2, false, SQL_BIGINT, NULL},
    {"ST_OVERLAPS", SQL_FN_ST_OVERLAPS, 2, 2, false, SQL_BIGINT, NULL},
    {"ST_WITHIN", SQL_FN_ST_WITHIN, 2, 2, false, SQL_BIGINT, NULL},
    {"STUFF", SQL_FN_STUFF, 4, 4, false, SQL_TEXT, NULL},
    {"SUBSTRING", SQL_FN_SUBSTRING, 3, 3, false, SQL_TEXT, NULL},
    {"System.Timestamp", SQL_FN_SYSTEM_TIMESTAMP, 0, 0, false, SQL_DATETIME, NULL},
    {"TRANSLATE", SQL_FN_TRANSLATE, 3, 3, false, SQL_TEXT, NULL},
    {"TRIM", SQL_FN_TRIM, 1, 1, false, SQL_TEXT, NULL},
    {"UNICODE", SQL_FN_UNICODE, 1, 1, false, SQL_BIGINT, NULL},
    {"UPPER", SQL_FN_UPPER, 1, 1, false, SQL_TEXT, NULL},
    {"YEAR", SQL_FN_YEAR, 1, 1, false, SQL_BIGINT, NULL},

    NOT_YET("AVG", "the aggregate function"),
    NOT_YET("COLLECT", "the aggregate function"),
    NOT_YET("COLLECTTOP", "the aggregate function"),
    NOT_YET("COUNT", "the aggregate function"),
    NOT_YET("MAX", "the aggregate function"),
    NOT_YET("MIN", "the aggregate function"),
    NOT_YET("PERCENTILE_CONT", "the aggregate function"),
    NOT_YET("PERCENTILE_DISC", "the aggregate function"),
    NOT_YET("STDEV", "the aggregate function"),
    NOT_YET("STDEVP", "the aggregate function"),
    NOT_YET("SUM", "the aggregate function"),
    NOT_YET("TOPONE", "the aggregate function"),
    NOT_YET("VAR", "the aggregate function"),
    NOT_YET("VARP", "the aggregate function"),
    NOT_YET("ISFIRST", "the analytic function"),
    NOT_YET("LAG", "the analytic function"),
    NOT_YET("LAST", "the analytic function"),
    NOT_YET("AnomalyDetection_ChangePoint", "the function"),
    NOT_YET("AnomalyDetection_SpikeAndDip", "the function"),
    NOT_YET("GetMetadataPropertyValue", "the function"),
    NOT_YET("System.Window", "the function"),
    NOT_YET("Tumbling", "the window"),
    NOT_YET("Hopping", "the window"),
    NOT_YET("Sliding", "the window"),
    NOT_YET("Session", "the window"),
    NOT_YET("Windows", "the function"),
    NOT_YET("TumblingWindow", "the window"),
    NOT_YET("HoppingWindow", "the window"),
    NOT_YET("SlidingWindow", "the window"),
    NOT_YET("SessionWindow", "the window"),
};

enum { FUNCTION_COUNT = sizeof(functions) / sizeof(functions[0]) };

const struct sql_function *sql_function_find(struct slice name)
{
    for (unsigned i = 0; i < FUNCTION_COUNT; i++) {
        if (slice_equal_nocase(name, slice_cstr(functions[i].name)))
            return &functions[i];
    }
    return NULL;
}

const char *sql_function_foreign(struct slice name)
{
    static const struct {
        const char *name;
        const char *instead;
    } rows[] = {
        {"CHOOSE", "use CASE"},
        {"CONVERT", "use CAST"},
        {"CURRENT_TIMESTAMP", "System.Timestamp() is the time of the row"},
        {"DENSE_RANK", ""},
        {"EXISTS", "use a JOIN"},
        {"FIRST_VALUE", "LAST and TopOne find single rows"},
        {"FORMAT", "use CAST and the text functions"},
        {"GETDATE", "System.Timestamp() is the time of the row"},
        {"GETUTCDATE", "System.Timestamp() is the time of the row"},
        {"IFNULL", "use COALESCE"},
        {"IIF", "use CASE WHEN ... THEN ... ELSE ... END"},
        {"ISNULL", "use COALESCE, or IS NULL"},
        {"LAST_VALUE", "LAST finds the last row"},
        {"LEAD", "the next row is not known yet: use LAG"},
        {"LENGTH", "use LEN"},
        {"MOD", "use the operator %"},
        {"NOW", "System.Timestamp() is the time of the row"},
        {"NTILE", ""},
        {"NVL", "use COALESCE"},
        {"PARSE", "use CAST"},
        {"RANK", ""},
        {"ROW_NUMBER", "CollectTop ranks rows"},
        {"STRING_AGG", "use Collect"},
        {"SUBSTR", "use SUBSTRING"},
        {"SYSDATETIME", "System.Timestamp() is the time of the row"},
        {"SYSUTCDATETIME", "System.Timestamp() is the time of the row"},
        {"TRY_CONVERT", "use TRY_CAST"},
        {"TRY_PARSE", "use TRY_CAST"},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (slice_equal_nocase(name, slice_cstr(rows[i].name)))
            return rows[i].instead;
    }
    return NULL;
}

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

/* Edits (insert, drop, change a letter) from a to b; both at most 32 bytes. */
static unsigned edit_distance(struct slice a, struct slice b)
{
    unsigned row[33];

    ASSERT(b.len <= 32);
    for (unsigned j = 0; j <= b.len; j++)
        row[j] = j;
    for (unsigned i = 0; i < a.len; i++) {
        unsigned diagonal = row[0];
        row[0] = i + 1;
        for (unsigned j = 0; j < b.len; j++) {
            unsigned change = diagonal + (lower(a.data[i]) != lower(b.data[j]));
            unsigned best = row[j] + 1 < row[j + 1] + 1 ? row[j] + 1 : row[j + 1] + 1;
            diagonal = row[j + 1];
            row[j + 1] = change < best ? change : best;
        }
    }
    return row[b.len];
}

const char *sql_function_nearest(struct slice name)
{
    const char *nearest = NULL;
    unsigned least = 3;

    if (name.len > 32 || name.len < 3)
        return NULL;
    for (unsigned i = 0; i < FUNCTION_COUNT; i++) {
        unsigned edits = edit_distance(name, slice_cstr(functions[i].name));
        if (edits < least) {
            least = edits;
            nearest = functions[i].name;
        }
    }
    return nearest;
}
