/*
 * Instants (see exec/datetime.h).
 *
 * Days are counted by the proleptic Gregorian calendar, with March as the first month of the
 * reckoning, so that the leap day is the last of its year.
 *
 * Invariants: (1) ticks lie in 0..DATETIME_MAX; (2) parse(format(t)) is t. Pure functions, any
 * thread, no failure but the stated false.
 */
#include "exec/datetime.h"

#include "base/assert.h"

/* Days from 0001-01-01 to a date. */
static int64_t days_from_date(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month > 2 ? year : year - 1;
    int64_t m = month > 2 ? month - 3 : month + 9;
    int64_t days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    return days - 306;
}

static void date_from_days(int64_t days, int32_t *ret_year, int32_t *ret_month, int32_t *ret_day)
{
    int64_t z = days + 306;
    int64_t era = z / 146097;
    int64_t in_era = z % 146097;
    int64_t y = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int64_t in_year = in_era - (365 * y + y / 4 - y / 100);
    int64_t m = (5 * in_year + 2) / 153;

    *ret_day = (int32_t)(in_year - (153 * m + 2) / 5 + 1);
    *ret_month = (int32_t)(m < 10 ? m + 3 : m - 9);
    *ret_year = (int32_t)(y + era * 400 + (*ret_month <= 2));
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int32_t month_days(int64_t year, int64_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    ASSERT(month >= 1 && month <= 12);
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

void datetime_split(int64_t ticks, struct datetime_parts *ret_parts)
{
    ASSERT(ticks >= 0 && ticks <= DATETIME_MAX);
    int64_t days = ticks / DATETIME_TICKS_PER_DAY;
    int64_t rest = ticks % DATETIME_TICKS_PER_DAY;
    int64_t seconds = rest / DATETIME_TICKS_PER_SECOND;

    date_from_days(days, &ret_parts->year, &ret_parts->month, &ret_parts->day);
    ret_parts->hour = (int32_t)(seconds / 3600);
    ret_parts->minute = (int32_t)(seconds / 60 % 60);
    ret_parts->second = (int32_t)(seconds % 60);
    ret_parts->ticks = (int32_t)(rest % DATETIME_TICKS_PER_SECOND);
}

bool datetime_join(const struct datetime_parts *parts, int64_t *ret_ticks)
{
    if (parts->year < 1 || parts->year > 9999 || parts->month < 1 || parts->month > 12 ||
        parts->day < 1 || parts->day > month_days(parts->year, parts->month) || parts->hour < 0 ||
        parts->hour > 23 || parts->minute < 0 || parts->minute > 59 || parts->second < 0 ||
        parts->second > 59 || parts->ticks < 0 || parts->ticks >= DATETIME_TICKS_PER_SECOND)
        return false;
    int64_t seconds = parts->hour * 3600 + parts->minute * 60 + parts->second;
    *ret_ticks = days_from_date(parts->year, parts->month, parts->day) * DATETIME_TICKS_PER_DAY +
                 seconds * DATETIME_TICKS_PER_SECOND + parts->ticks;
    return true;
}

static void put_digits(char *out, int32_t value, unsigned count)
{
    while (count-- > 0) {
        out[count] = (char)('0' + value % 10);
        value /= 10;
    }
}

void datetime_format(int64_t ticks, char out[DATETIME_TEXT_LEN])
{
    struct datetime_parts p;

    datetime_split(ticks, &p);
    memcpy(out, "0000-00-00T00:00:00.0000000Z", DATETIME_TEXT_LEN);
    put_digits(out, p.year, 4);
    put_digits(out + 5, p.month, 2);
    put_digits(out + 8, p.day, 2);
    put_digits(out + 11, p.hour, 2);
    put_digits(out + 14, p.minute, 2);
    put_digits(out + 17, p.second, 2);
    put_digits(out + 20, p.ticks, 7);
}

/* One to max digits at *at; false: none. */
static bool take_digits(struct slice text, size_t *at, unsigned max, int32_t *ret_value)
{
    size_t start = *at;
    int32_t value = 0;

    while (*at < text.len && *at - start < max && text.data[*at] >= '0' && text.data[*at] <= '9')
        value = value * 10 + (text.data[(*at)++] - '0');
    *ret_value = value;
    return *at > start;
}

static bool take_byte(struct slice text, size_t *at, uint8_t byte)
{
    if (*at >= text.len || text.data[*at] != byte)
        return false;
    (*at)++;
    return true;
}

/* Digits behind the seconds' point: seven count, the rest is cut. */
static bool take_fraction(struct slice text, size_t *at, int32_t *ret_ticks)
{
    int32_t scale = (int32_t)DATETIME_TICKS_PER_SECOND / 10;
    size_t start = *at;

    *ret_ticks = 0;
    while (*at < text.len && text.data[*at] >= '0' && text.data[*at] <= '9') {
        *ret_ticks += (text.data[(*at)++] - '0') * scale;
        scale /= 10;
    }
    return *at > start;
}

/* Z, +hh:mm, +hhmm, +hh or nothing; offset in minutes. */
static bool take_zone(struct slice text, size_t *at, int32_t *ret_minutes)
{
    int32_t hours = 0;
    int32_t minutes = 0;

    *ret_minutes = 0;
    if (*at == text.len)
        return true;
    if (take_byte(text, at, 'Z') || take_byte(text, at, 'z'))
        return *at == text.len;
    bool negative = take_byte(text, at, '-');
    if (!negative && !take_byte(text, at, '+'))
        return false;
    if (!take_digits(text, at, 2, &hours))
        return false;
    (void)take_byte(text, at, ':');
    (void)take_digits(text, at, 2, &minutes);
    if (*at != text.len || minutes > 59 || hours * 60 + minutes > 14 * 60)
        return false;
    *ret_minutes = (hours * 60 + minutes) * (negative ? -1 : 1);
    return true;
}

static bool take_time(struct slice text, size_t *at, struct datetime_parts *p)
{
    if (!take_digits(text, at, 2, &p->hour) || !take_byte(text, at, ':') ||
        !take_digits(text, at, 2, &p->minute))
        return false;
    if (!take_byte(text, at, ':'))
        return true;
    if (!take_digits(text, at, 2, &p->second))
        return false;
    if (take_byte(text, at, '.') || take_byte(text, at, ','))
        return take_fraction(text, at, &p->ticks);
    return true;
}

bool datetime_parse(struct slice source, int64_t *ret_ticks)
{
    struct datetime_parts p = {0};
    struct slice text = slice_trim(source);
    int32_t zone = 0;
    size_t at = 0;

    if (!take_digits(text, &at, 4, &p.year) || at != 4 || !take_byte(text, &at, '-') ||
        !take_digits(text, &at, 2, &p.month) || !take_byte(text, &at, '-') ||
        !take_digits(text, &at, 2, &p.day))
        return false;
    if (at < text.len) {
        if (!take_byte(text, &at, 'T') && !take_byte(text, &at, 't') && !take_byte(text, &at, ' '))
            return false;
        if (!take_time(text, &at, &p))
            return false;
        if (at < text.len && text.data[at] == ' ')
            at++;
        if (!take_zone(text, &at, &zone))
            return false;
    }
    int64_t ticks;
    if (!datetime_join(&p, &ticks))
        return false;
    ticks -= zone * 60 * DATETIME_TICKS_PER_SECOND;
    if (ticks < 0 || ticks > DATETIME_MAX)
        return false;
    *ret_ticks = ticks;
    return true;
}

/* Ticks of one unit; 0 for units of varying length. */
static int64_t unit_ticks(enum sql_unit unit)
{
    switch (unit) {
    case SQL_UNIT_DAYOFYEAR:
    case SQL_UNIT_DAY:
    case SQL_UNIT_WEEKDAY:
        return DATETIME_TICKS_PER_DAY;
    case SQL_UNIT_WEEK:
        return 7 * DATETIME_TICKS_PER_DAY;
    case SQL_UNIT_HOUR:
        return 3600 * DATETIME_TICKS_PER_SECOND;
    case SQL_UNIT_MINUTE:
        return 60 * DATETIME_TICKS_PER_SECOND;
    case SQL_UNIT_SECOND:
        return DATETIME_TICKS_PER_SECOND;
    case SQL_UNIT_MILLISECOND:
        return DATETIME_TICKS_PER_MS;
    case SQL_UNIT_MICROSECOND:
        return 10;
    default:
        return 0;
    }
}

bool datetime_add(enum sql_unit unit, int64_t count, int64_t ticks, int64_t *ret_ticks)
{
    int64_t step = unit_ticks(unit);
    int64_t result;

    if (step != 0) {
        int64_t distance;
        if (__builtin_mul_overflow(step, count, &distance) ||
            __builtin_add_overflow(ticks, distance, &result) || result < 0 || result > DATETIME_MAX)
            return false;
        *ret_ticks = result;
        return true;
    }
    int64_t months = unit == SQL_UNIT_YEAR ? 12 : unit == SQL_UNIT_QUARTER ? 3 : 1;
    struct datetime_parts p;
    datetime_split(ticks, &p);
    if (__builtin_mul_overflow(months, count, &months) || months > 120000 || months < -120000)
        return false;
    int64_t total = (int64_t)p.year * 12 + p.month - 1 + months;
    if (total < 12 || total / 12 > 9999)
        return false;
    p.year = (int32_t)(total / 12);
    p.month = (int32_t)(total % 12) + 1;
    int32_t last = month_days(p.year, p.month);
    p.day = p.day > last ? last : p.day;
    return datetime_join(&p, ret_ticks);
}

int64_t datetime_diff(enum sql_unit unit, int64_t a, int64_t b)
{
    struct datetime_parts pa;
    struct datetime_parts pb;
    int64_t step = unit_ticks(unit);

    if (unit == SQL_UNIT_WEEK) { /* 0001-01-01 was a Monday: weeks begin at Sunday */
        int64_t shift = DATETIME_TICKS_PER_DAY;
        return (b + shift) / step - (a + shift) / step;
    }
    if (step != 0)
        return b / step - a / step;
    datetime_split(a, &pa);
    datetime_split(b, &pb);
    int64_t months = (pb.year - pa.year) * 12 + pb.month - pa.month;
    if (unit == SQL_UNIT_MONTH)
        return months;
    if (unit == SQL_UNIT_YEAR)
        return pb.year - pa.year;
    return (pb.year * 4 + (pb.month - 1) / 3) - (pa.year * 4 + (pa.month - 1) / 3);
}

int64_t datetime_part(enum sql_unit unit, int64_t ticks)
{
    struct datetime_parts p;
    int64_t day = ticks / DATETIME_TICKS_PER_DAY;

    datetime_split(ticks, &p);
    int64_t first = days_from_date(p.year, 1, 1);
    switch (unit) {
    case SQL_UNIT_YEAR:
        return p.year;
    case SQL_UNIT_QUARTER:
        return (p.month + 2) / 3;
    case SQL_UNIT_MONTH:
        return p.month;
    case SQL_UNIT_DAYOFYEAR:
        return day - first + 1;
    case SQL_UNIT_DAY:
        return p.day;
    case SQL_UNIT_WEEK:
        return (day - first + (first + 1) % 7) / 7 + 1;
    case SQL_UNIT_WEEKDAY:
        return (day + 1) % 7 + 1;
    case SQL_UNIT_HOUR:
        return p.hour;
    case SQL_UNIT_MINUTE:
        return p.minute;
    case SQL_UNIT_SECOND:
        return p.second;
    case SQL_UNIT_MILLISECOND:
        return p.ticks / DATETIME_TICKS_PER_MS;
    case SQL_UNIT_MICROSECOND:
        return p.ticks / 10;
    }
    UNREACHABLE();
}

const char *datetime_month_name(int64_t month)
{
    static const char *const names[] = {"January",   "February", "March",    "April",
                                        "May",       "June",     "July",     "August",
                                        "September", "October",  "November", "December"};
    ASSERT(month >= 1 && month <= 12);
    return names[month - 1];
}

const char *datetime_weekday_name(int64_t weekday)
{
    static const char *const names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};
    ASSERT(weekday >= 1 && weekday <= 7);
    return names[weekday - 1];
}
