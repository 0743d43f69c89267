/*
 * Instants of the query language: ticks of 100 ns since 0001-01-01T00:00:00Z, years 1 to 9999,
 * always UTC.
 */
#ifndef WEIR_EXEC_DATETIME_H
#define WEIR_EXEC_DATETIME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/datetime.h"
#include "base/slice.h"
#include "sql/types.h"

/* 1970-01-01, and the last instant of the year 9999. */
#define DATETIME_UNIX_EPOCH (-DATETIME_TICKS_MIN)
#define DATETIME_MAX (DATETIME_TICKS_MAX - DATETIME_TICKS_MIN)

enum { DATETIME_TEXT_LEN = DATETIME_ISO_LEN };

/* ISO 8601: date, or date and time with T or blank, fraction cut at seven digits, Z or offset or
 * nothing (UTC). */
bool datetime_parse(struct slice text, int64_t *ret_ticks);
/* yyyy-MM-ddTHH:mm:ss.fffffffZ, not terminated. */
void datetime_format(int64_t ticks, char out[DATETIME_TEXT_LEN]);
void datetime_split(int64_t ticks, struct datetime *ret_parts);
/* false: no such date. */
bool datetime_join(const struct datetime *parts, int64_t *ret_ticks);
/* false: the result leaves the years 1 to 9999. Months clamp to the month's end. */
bool datetime_add(enum sql_unit unit, int64_t count, int64_t ticks, int64_t *ret_ticks);
/* Boundaries of the unit crossed from a to b. */
int64_t datetime_diff(enum sql_unit unit, int64_t a, int64_t b);
int64_t datetime_part(enum sql_unit unit, int64_t ticks);
/* English name of month (1..12) or weekday (1..7, 1 is Sunday). */
const char *datetime_month_name(int64_t month);
const char *datetime_weekday_name(int64_t weekday);

#endif
