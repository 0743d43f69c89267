/*
 * Points in time as ticks of 100 ns since 1970-01-01T00:00:00Z, and their text. The proleptic
 * Gregorian calendar, years 1 to 9999, no leap seconds, no locale, no time zone database. Any
 * thread, no allocation.
 */
#ifndef WEIR_BASE_DATETIME_H
#define WEIR_BASE_DATETIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define DATETIME_TICKS_PER_US INT64_C(10)
#define DATETIME_TICKS_PER_MS INT64_C(10000)
#define DATETIME_TICKS_PER_SECOND INT64_C(10000000)
#define DATETIME_TICKS_PER_DAY (INT64_C(86400) * DATETIME_TICKS_PER_SECOND)
/* 0001-01-01T00:00:00 and 9999-12-31T23:59:59.9999999. */
#define DATETIME_TICKS_MIN (-INT64_C(62135596800) * DATETIME_TICKS_PER_SECOND)
#define DATETIME_TICKS_MAX (INT64_C(253402300800) * DATETIME_TICKS_PER_SECOND - 1)

enum {
    DATETIME_ISO_LEN = 28, /* 2013-01-01T05:00:00.0000000Z */
    DATETIME_HTTP_LEN = 29 /* Tue, 01 Jan 2013 05:00:00 GMT */
};

struct datetime {
    int year;    /* 1..9999 */
    int month;   /* 1..12 */
    int day;     /* 1..31 */
    int hour;    /* 0..23 */
    int minute;  /* 0..59 */
    int second;  /* 0..59 */
    int ticks;   /* 0..9999999 */
    int weekday; /* 0 = Sunday; ignored on input */
    int yearday; /* 1..366; ignored on input */
};

/* Days since 1970-01-01 of a civil date; month 1..12, day is not checked against the month. */
int64_t datetime_days_from_civil(int64_t year, int month, int day);
/* Days in the month, 28..31. */
int datetime_month_days(int year, int month);
bool datetime_ticks_valid(int64_t ticks);
/* false: a field is outside its range. */
bool datetime_to_ticks(const struct datetime *datetime, int64_t *ret_ticks);
/* ticks must be valid. */
void datetime_from_ticks(int64_t ticks, struct datetime *ret_datetime);

/*
 * ISO 8601: YYYY-MM-DD, then optionally T (or t or one space) hh:mm[:ss[.digits]], then optionally
 * Z or an offset
 * (+hh, +hhmm, +hh:mm). Without a zone the text means UTC. Digits beyond 100 ns are cut. false: not
 * of this form or out of range.
 */
bool datetime_read_iso(struct slice text, int64_t *ret_ticks);
/* Always seven digits and Z. ticks must be valid. Returns DATETIME_ISO_LEN. */
size_t datetime_write_iso(char out[DATETIME_ISO_LEN], int64_t ticks);
/* The date of HTTP headers, whole seconds. Returns DATETIME_HTTP_LEN. */
size_t datetime_write_http(char out[DATETIME_HTTP_LEN], int64_t ticks);
bool datetime_read_http(struct slice text, int64_t *ret_ticks);

#endif
