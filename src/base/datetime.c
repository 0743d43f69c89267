/*
 * Civil dates <-> ticks, ISO 8601 and HTTP dates.
 *
 * The calendar is computed from years that begin in March, so that the leap day is the last of its
 * year and a month's first day is a linear function of its number; 400 years are one era of 146,097
 * days.
 *
 * Invariants: (1) datetime_from_ticks is the inverse of datetime_to_ticks on all valid ticks; (2)
 * readers accept only text that the grammar spells out to its last byte. No state.
 */
#include "base/datetime.h"

#include "base/assert.h"

enum { ERA_DAYS = 146097, DAYS_TO_1970 = 719468 /* from 0000-03-01 */ };

static const char weekday_names[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static int64_t floor_div(int64_t a, int64_t b)
{
    ASSERT(b > 0);
    return a / b - (a % b < 0);
}

int64_t datetime_days_from_civil(int64_t year, int month, int day)
{
    ASSERT(month >= 1 && month <= 12);
    year -= month <= 2;
    int64_t era = floor_div(year, 400);
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * ERA_DAYS + day_of_era - DAYS_TO_1970;
}

int datetime_month_days(int year, int month)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    ASSERT(month >= 1 && month <= 12);
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

bool datetime_ticks_valid(int64_t ticks)
{
    return ticks >= DATETIME_TICKS_MIN && ticks <= DATETIME_TICKS_MAX;
}

bool datetime_to_ticks(const struct datetime *datetime, int64_t *ret_ticks)
{
    const struct datetime *d = datetime;
    if (d->year < 1 || d->year > 9999 || d->month < 1 || d->month > 12 || d->day < 1 ||
        d->day > datetime_month_days(d->year, d->month))
        return false;
    if (d->hour < 0 || d->hour > 23 || d->minute < 0 || d->minute > 59 || d->second < 0 ||
        d->second > 59 || d->ticks < 0 || d->ticks >= DATETIME_TICKS_PER_SECOND)
        return false;
    int64_t seconds = datetime_days_from_civil(d->year, d->month, d->day) * 86400 + d->hour * 3600 +
                      d->minute * 60 + d->second;
    *ret_ticks = seconds * DATETIME_TICKS_PER_SECOND + d->ticks;
    ASSERT(datetime_ticks_valid(*ret_ticks));
    return true;
}

/* From days to a civil date without a loop or a table: eras of 400 years, years that begin in March. */
void datetime_from_ticks(int64_t ticks, struct datetime *ret_datetime)
{
    ASSERT(datetime_ticks_valid(ticks));
    int64_t days = floor_div(ticks, DATETIME_TICKS_PER_DAY);
    int64_t rest = ticks - days * DATETIME_TICKS_PER_DAY;
    int64_t shifted = days + DAYS_TO_1970;
    int64_t era = floor_div(shifted, ERA_DAYS);
    int64_t day_of_era = shifted - era * ERA_DAYS;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_shifted = (5 * day_of_year + 2) / 153;
    struct datetime *d = ret_datetime;
    d->day = (int)(day_of_year - (153 * month_shifted + 2) / 5 + 1);
    d->month = (int)(month_shifted < 10 ? month_shifted + 3 : month_shifted - 9);
    d->year = (int)(year_of_era + era * 400 + (d->month <= 2));
    d->weekday = (int)(days + 4 - floor_div(days + 4, 7) * 7); /* 1970-01-01 was a Thursday */
    d->yearday = (int)(days - datetime_days_from_civil(d->year, 1, 1) + 1);
    int64_t seconds = rest / DATETIME_TICKS_PER_SECOND;
    d->hour = (int)(seconds / 3600);
    d->minute = (int)(seconds / 60 % 60);
    d->second = (int)(seconds % 60);
    d->ticks = (int)(rest % DATETIME_TICKS_PER_SECOND);
    ASSERT(d->year >= 1 && d->year <= 9999);
    ASSERT(d->month >= 1 && d->month <= 12 && d->weekday >= 0 && d->weekday <= 6);
    ASSERT(d->day >= 1 && d->day <= datetime_month_days(d->year, d->month));
}

/* Reads exactly `count` digits at *at and moves on. */
static bool read_digits(struct slice text, size_t *at, int count, int *ret_value)
{
    ASSERT(*at <= text.len && count >= 1 && count <= 4);
    if (text.len - *at < (size_t)count)
        return false;
    int value = 0;
    for (int i = 0; i < count; i++) {
        uint8_t c = text.data[*at + (size_t)i];
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    *at += (size_t)count;
    *ret_value = value;
    return true;
}

static bool read_char(struct slice text, size_t *at, char c)
{
    ASSERT(*at <= text.len);
    if (*at >= text.len || text.data[*at] != (uint8_t)c)
        return false;
    (*at)++;
    return true;
}

/* Digits behind the decimal point, at least one, cut to seven. */
static bool read_fraction(struct slice text, size_t *at, int *ret_ticks)
{
    int ticks = 0;
    int count = 0;
    for (; *at < text.len && text.data[*at] >= '0' && text.data[*at] <= '9'; (*at)++) {
        if (count < 7)
            ticks = ticks * 10 + (text.data[*at] - '0');
        count++;
    }
    for (int i = count; i < 7; i++)
        ticks *= 10;
    ASSERT(ticks >= 0 && ticks < DATETIME_TICKS_PER_SECOND);
    *ret_ticks = ticks;
    return count > 0;
}

static bool read_time(struct slice text, size_t *at, struct datetime *d)
{
    if (!read_digits(text, at, 2, &d->hour) || !read_char(text, at, ':') ||
        !read_digits(text, at, 2, &d->minute))
        return false;
    if (!read_char(text, at, ':'))
        return true;
    if (!read_digits(text, at, 2, &d->second))
        return false;
    return !read_char(text, at, '.') || read_fraction(text, at, &d->ticks);
}

static bool read_zone(struct slice text, size_t *at, int *ret_minutes)
{
    *ret_minutes = 0;
    if (*at == text.len || read_char(text, at, 'Z') || read_char(text, at, 'z'))
        return true;
    bool east = read_char(text, at, '+');
    if (!east && !read_char(text, at, '-'))
        return false;
    int hours;
    int minutes = 0;
    if (!read_digits(text, at, 2, &hours))
        return false;
    bool colon = read_char(text, at, ':');
    if ((colon || *at < text.len) && !read_digits(text, at, 2, &minutes))
        return false;
    *ret_minutes = (hours * 60 + minutes) * (east ? 1 : -1);
    return hours <= 14 && minutes <= 59; /* the widest zone in use is +14:00 */
}

bool datetime_read_iso(struct slice text, int64_t *ret_ticks)
{
    struct datetime d = {0};
    size_t at = 0;
    int zone = 0;
    if (!read_digits(text, &at, 4, &d.year) || !read_char(text, &at, '-') ||
        !read_digits(text, &at, 2, &d.month) || !read_char(text, &at, '-') ||
        !read_digits(text, &at, 2, &d.day))
        return false;
    if (read_char(text, &at, 'T') || read_char(text, &at, 't') || read_char(text, &at, ' ')) {
        if (!read_time(text, &at, &d))
            return false;
    }
    if (!read_zone(text, &at, &zone) || at != text.len)
        return false;
    int64_t ticks;
    if (!datetime_to_ticks(&d, &ticks))
        return false;
    ticks -= zone * 60 * DATETIME_TICKS_PER_SECOND;
    *ret_ticks = ticks;
    return datetime_ticks_valid(ticks);
}

static char *write_digits(char *out, int value, int count)
{
    ASSERT(value >= 0 && count >= 1);
    for (int i = count - 1; i >= 0; i--) {
        out[i] = (char)('0' + value % 10);
        value /= 10;
    }
    ASSERT(value == 0);
    return out + count;
}

static char *write_clock(char *p, const struct datetime *d)
{
    p = write_digits(p, d->hour, 2);
    *p++ = ':';
    p = write_digits(p, d->minute, 2);
    *p++ = ':';
    return write_digits(p, d->second, 2);
}

size_t datetime_write_iso(char out[DATETIME_ISO_LEN], int64_t ticks)
{
    struct datetime d;
    datetime_from_ticks(ticks, &d);
    char *p = write_digits(out, d.year, 4);
    *p++ = '-';
    p = write_digits(p, d.month, 2);
    *p++ = '-';
    p = write_digits(p, d.day, 2);
    *p++ = 'T';
    p = write_clock(p, &d);
    *p++ = '.';
    p = write_digits(p, d.ticks, 7);
    *p++ = 'Z';
    ASSERT(p == out + DATETIME_ISO_LEN);
    return DATETIME_ISO_LEN;
}

size_t datetime_write_http(char out[DATETIME_HTTP_LEN], int64_t ticks)
{
    struct datetime d;
    datetime_from_ticks(ticks, &d);
    char *p = out;
    memcpy(p, weekday_names[d.weekday], 3);
    memcpy(p + 3, ", ", 2);
    p = write_digits(p + 5, d.day, 2);
    *p++ = ' ';
    memcpy(p, month_names[d.month - 1], 3);
    p += 3;
    *p++ = ' ';
    p = write_digits(p, d.year, 4);
    *p++ = ' ';
    p = write_clock(p, &d);
    memcpy(p, " GMT", 4);
    ASSERT(p + 4 == out + DATETIME_HTTP_LEN);
    return DATETIME_HTTP_LEN;
}

/* The weekday is checked against the date: a date whose parts contradict each other was not meant. */
bool datetime_read_http(struct slice text, int64_t *ret_ticks)
{
    struct datetime d = {0};
    size_t at = 5;
    if (text.len != DATETIME_HTTP_LEN || text.data[3] != ',' || text.data[4] != ' ')
        return false;
    if (!read_digits(text, &at, 2, &d.day) || !read_char(text, &at, ' '))
        return false;
    for (int i = 0; i < 12; i++) {
        if (memcmp(text.data + at, month_names[i], 3) == 0)
            d.month = i + 1;
    }
    at += 3;
    if (!read_char(text, &at, ' ') || !read_digits(text, &at, 4, &d.year) ||
        !read_char(text, &at, ' ') || !read_time(text, &at, &d) ||
        !slice_equal(slice_sub(text, at, SIZE_MAX), SLICE_LIT(" GMT")))
        return false;
    int64_t ticks;
    if (!datetime_to_ticks(&d, &ticks))
        return false;
    struct datetime again;
    datetime_from_ticks(ticks, &again);
    *ret_ticks = ticks;
    return memcmp(text.data, weekday_names[again.weekday], 3) == 0;
}
