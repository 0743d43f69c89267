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

void datetime_split(int64_t ticks, struct datetime *ret_parts)
{
    ASSERT(ticks >= 0 && ticks <= DATETIME_MAX);
    datetime_from_ticks(ticks + DATETIME_TICKS_MIN, ret_parts);
}

bool datetime_join(const struct datetime *parts, int64_t *ret_ticks)
{
    if (!datetime_to_ticks(parts, ret_ticks))
        return false;
    *ret_ticks -= DATETIME_TICKS_MIN;
    return true;
}

void datetime_format(int64_t ticks, char out[DATETIME_TEXT_LEN])
{
    ASSERT(ticks >= 0 && ticks <= DATETIME_MAX);
    (void)datetime_write_iso(out, ticks + DATETIME_TICKS_MIN);
}

/* One to max digits at *at; false: none. */
static bool take_digits(struct slice text, size_t *at, unsigned max, int *ret_value)
{
    size_t start = *at;
    int value = 0;

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
static bool take_fraction(struct slice text, size_t *at, int *ret_ticks)
{
    int scale = (int)DATETIME_TICKS_PER_SECOND / 10;
    size_t start = *at;

    *ret_ticks = 0;
    while (*at < text.len && text.data[*at] >= '0' && text.data[*at] <= '9') {
        *ret_ticks += (text.data[(*at)++] - '0') * scale;
        scale /= 10;
    }
    return *at > start;
}

/* Z, +hh:mm, +hhmm, +hh or nothing; offset in minutes. */
static bool take_zone(struct slice text, size_t *at, int *ret_minutes)
{
    int hours = 0;
    int minutes = 0;

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
    bool colon = take_byte(text, at, ':');
    if (!take_digits(text, at, 2, &minutes) && colon)
        return false;
    if (*at != text.len || minutes > 59 || hours * 60 + minutes > 14 * 60)
        return false;
    *ret_minutes = (hours * 60 + minutes) * (negative ? -1 : 1);
    return true;
}

static bool take_time(struct slice text, size_t *at, struct datetime *p)
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
    struct datetime p = {0};
    struct slice text = slice_trim(source);
    int zone = 0;
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
    struct datetime p;
    datetime_split(ticks, &p);
    if (__builtin_mul_overflow(months, count, &months) || months > 120000 || months < -120000)
        return false;
    int64_t total = (int64_t)p.year * 12 + p.month - 1 + months;
    if (total < 12 || total / 12 > 9999)
        return false;
    p.year = (int)(total / 12);
    p.month = (int)(total % 12) + 1;
    int last = datetime_month_days(p.year, p.month);
    p.day = p.day > last ? last : p.day;
    return datetime_join(&p, ret_ticks);
}

int64_t datetime_diff(enum sql_unit unit, int64_t a, int64_t b)
{
    struct datetime pa;
    struct datetime pb;
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
    struct datetime p;

    datetime_split(ticks, &p);
    switch (unit) {
    case SQL_UNIT_YEAR:
        return p.year;
    case SQL_UNIT_QUARTER:
        return (p.month + 2) / 3;
    case SQL_UNIT_MONTH:
        return p.month;
    case SQL_UNIT_DAYOFYEAR:
        return p.yearday;
    case SQL_UNIT_DAY:
        return p.day;
    case SQL_UNIT_WEEK:
        return (p.yearday - 1 + (p.weekday - (p.yearday - 1) % 7 + 7) % 7) / 7 + 1;
    case SQL_UNIT_WEEKDAY:
        return p.weekday + 1;
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
