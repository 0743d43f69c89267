/* Dates: every day of 9,999 years, against the C library; text forms and their limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <time.h>

#include "base/datetime.h"
#include "base/random.h"

static void test_every_day(void **state)
{
    int64_t days = DATETIME_TICKS_MIN / DATETIME_TICKS_PER_DAY;
    for (int year = 1; year <= 9999; year++) {
        int yearday = 1;
        for (int month = 1; month <= 12; month++) {
            for (int day = 1; day <= datetime_month_days(year, month); day++, days++, yearday++) {
                struct datetime d;
                datetime_from_ticks(days * DATETIME_TICKS_PER_DAY, &d);
                if (d.year != year || d.month != month || d.day != day || d.yearday != yearday ||
                    datetime_days_from_civil(year, month, day) != days)
                    fail_msg("%d-%d-%d", year, month, day);
            }
        }
    }
    assert_int_equal(days * DATETIME_TICKS_PER_DAY, DATETIME_TICKS_MAX + 1);
}

static void test_against_libc(void **state)
{
    struct random random;
    random_init(&random, 1);
    for (int i = 0; i < 50000; i++) {
        int64_t ticks =
            DATETIME_TICKS_MIN +
            (int64_t)random_below(&random, (uint64_t)(DATETIME_TICKS_MAX - DATETIME_TICKS_MIN) + 1);
        struct datetime d;
        datetime_from_ticks(ticks, &d);
        time_t seconds = (time_t)((ticks - d.ticks) / DATETIME_TICKS_PER_SECOND);
        struct tm tm;
        gmtime_r(&seconds, &tm);
        assert_true(d.year == tm.tm_year + 1900 && d.month == tm.tm_mon + 1 && d.day == tm.tm_mday);
        assert_true(d.hour == tm.tm_hour && d.minute == tm.tm_min && d.second == tm.tm_sec);
        assert_true(d.weekday == tm.tm_wday && d.yearday == tm.tm_yday + 1);
        int64_t back;
        assert_true(datetime_to_ticks(&d, &back) && back == ticks);
        char text[DATETIME_ISO_LEN];
        assert_true(datetime_read_iso(slice_make(text, datetime_write_iso(text, ticks)), &back) &&
                    back == ticks);
        char http[DATETIME_HTTP_LEN];
        assert_true(datetime_read_http(slice_make(http, datetime_write_http(http, ticks)), &back));
        assert_true(back == ticks - d.ticks);
    }
}

static void expect_iso(const char *text, const char *want)
{
    int64_t ticks;
    char out[DATETIME_ISO_LEN + 1] = {0};
    if (!datetime_read_iso(slice_cstr(text), &ticks))
        fail_msg("refused: %s", text);
    datetime_write_iso(out, ticks);
    assert_string_equal(out, want);
}

static void test_iso(void **state)
{
    expect_iso("2013-01-01", "2013-01-01T00:00:00.0000000Z");
    expect_iso("2013-01-01T05:06", "2013-01-01T05:06:00.0000000Z");
    expect_iso("2013-01-01 05:06:07", "2013-01-01T05:06:07.0000000Z");
    expect_iso("2013-01-01T05:06:07.1Z", "2013-01-01T05:06:07.1000000Z");
    expect_iso("2013-01-01T05:06:07.123456789z", "2013-01-01T05:06:07.1234567Z");
    expect_iso("2013-01-01T05:06:07+02:00", "2013-01-01T03:06:07.0000000Z");
    expect_iso("2013-01-01T05:06:07.5-0530", "2013-01-01T10:36:07.5000000Z");
    expect_iso("2013-01-01T05:06+02", "2013-01-01T03:06:00.0000000Z");
    expect_iso("2012-02-29", "2012-02-29T00:00:00.0000000Z");
    expect_iso("0001-01-01", "0001-01-01T00:00:00.0000000Z");
    expect_iso("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.9999999Z");
    const char *bad[] = {"",
                         "2013",
                         "2013-1-1",
                         "2013-13-01",
                         "2013-02-29",
                         "2013-01-01T",
                         "2013-01-01T24:00",
                         "2013-01-01T05:06:60",
                         "2013-01-01T05:06:07.",
                         "2013-01-01T05:06:07 Z",
                         "2013-01-01Zx",
                         "2013-01-01T05:06:07+2",
                         "2013-01-01T05:06:07+02:",
                         "2013-01-01T05:06:07+15:00",
                         "0000-01-01",
                         "0001-01-01T00:00+01:00",
                         "9999-12-31T23:59-01:00",
                         "2013-01-01T0506"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t ticks;
        if (datetime_read_iso(slice_cstr(bad[i]), &ticks))
            fail_msg("accepted: %s", bad[i]);
    }
}

static void test_http(void **state)
{
    char text[DATETIME_HTTP_LEN + 1] = {0};
    datetime_write_http(text, INT64_C(784111777) * DATETIME_TICKS_PER_SECOND);
    assert_string_equal(text, "Sun, 06 Nov 1994 08:49:37 GMT");
    int64_t ticks;
    assert_true(datetime_read_http(slice_cstr(text), &ticks));
    assert_int_equal(ticks, INT64_C(784111777) * DATETIME_TICKS_PER_SECOND);
    assert_false(datetime_read_http(SLICE_LIT("Mon, 06 Nov 1994 08:49:37 GMT"), &ticks));
    assert_false(datetime_read_http(SLICE_LIT("Sun, 06 Nov 1994 08:49:37 CET"), &ticks));
    assert_false(datetime_read_http(SLICE_LIT("Sun, 06 Xyz 1994 08:49:37 GMT"), &ticks));
    assert_false(datetime_read_http(SLICE_LIT("Sun, 06 Nov 1994 08:49.12 GMT"), &ticks));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_day),
        cmocka_unit_test(test_against_libc),
        cmocka_unit_test(test_iso),
        cmocka_unit_test(test_http),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
