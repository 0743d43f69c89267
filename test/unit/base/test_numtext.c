/* Numbers and text: layout, grammar, limits, and round trips. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/numtext.h"
#include "base/random.h"

static void expect_text(double value, const char *want)
{
    char text[NUMTEXT_DOUBLE_MAX + 1];
    size_t len = numtext_write_double(text, value);
    text[len] = '\0';
    assert_string_equal(text, want);
}

static void test_layout(void **state)
{
    expect_text(0, "0");
    expect_text(-0.0, "0");
    expect_text(1, "1");
    expect_text(-1.5, "-1.5");
    expect_text(0.1, "0.1");
    expect_text(0.1 + 0.2, "0.30000000000000004");
    expect_text(123456789012345680000.0, "123456789012345680000");
    expect_text(1e21, "1e+21");
    expect_text(1.25e-7, "1.25e-7");
    expect_text(1e-6, "0.000001");
    expect_text(1.7976931348623157e308, "1.7976931348623157e+308");
    expect_text(5e-324, "5e-324");
    expect_text(2.2250738585072014e-308, "2.2250738585072014e-308");
    expect_text(9007199254740993.0, "9007199254740992");
    expect_text(NAN, "NaN");
    expect_text(INFINITY, "Infinity");
    expect_text(-INFINITY, "-Infinity");
}

static double read_ok(const char *text)
{
    double value;
    assert_true(numtext_read_double(slice_cstr(text), &value));
    return value;
}

static void test_read(void **state)
{
    assert_true(read_ok("0") == 0 && !signbit(read_ok("0")));
    assert_true(signbit(read_ok("-0")));
    assert_true(read_ok("+1.50") == 1.5);
    assert_true(read_ok(".5") == 0.5);
    assert_true(read_ok("5.") == 5);
    assert_true(read_ok("1e5") == 1e5);
    assert_true(read_ok("1E-5") == 1e-5);
    assert_true(isinf(read_ok("1e999")));
    assert_true(read_ok("1e-999") == 0);
    assert_true(read_ok("0.000000000000000000000000000000000000000001e42") == 1);
    assert_true(read_ok("9007199254740993") == 9007199254740992.0);
    assert_true(read_ok("9007199254740993.00000000000000000000000000000000001") ==
                9007199254740994.0);
    const char *bad[] = {"",   "-",    "+",   ".",   "e5",    "1e",  "1e+", "1 ",
                         " 1", "0x10", "inf", "nan", "1.2.3", "--1", "1,5"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        double value;
        assert_false(numtext_read_double(slice_cstr(bad[i]), &value));
    }
}

static void test_round_trip(void **state)
{
    struct random random;
    random_init(&random, 11);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = random_u64(&random);
        double value;
        memcpy(&value, &bits, sizeof(value));
        if (!isfinite(value))
            continue;
        char text[NUMTEXT_DOUBLE_MAX];
        double back;
        assert_true(
            numtext_read_double(slice_make(text, numtext_write_double(text, value)), &back));
        assert_memory_equal(&back, &value, sizeof(value));
    }
}

static void expect_int(int64_t value, const char *want)
{
    char text[NUMTEXT_INT64_MAX + 1];
    text[numtext_write_int64(text, value)] = '\0';
    assert_string_equal(text, want);
    int64_t back;
    assert_true(numtext_read_int64(slice_cstr(want), &back));
    assert_true(back == value);
}

static void test_integers(void **state)
{
    expect_int(0, "0");
    expect_int(-1, "-1");
    expect_int(INT64_MAX, "9223372036854775807");
    expect_int(INT64_MIN, "-9223372036854775808");
    uint64_t u;
    int64_t i;
    char text[NUMTEXT_INT64_MAX];
    assert_int_equal(numtext_write_uint64(text, UINT64_MAX), 20);
    assert_memory_equal(text, "18446744073709551615", 20);
    assert_true(numtext_read_uint64(SLICE_LIT("18446744073709551615"), &u) && u == UINT64_MAX);
    assert_false(numtext_read_uint64(SLICE_LIT("18446744073709551616"), &u));
    assert_true(numtext_read_uint64(SLICE_LIT("+000000000000000000000000000007"), &u) && u == 7);
    assert_false(numtext_read_int64(SLICE_LIT("9223372036854775808"), &i));
    assert_false(numtext_read_int64(SLICE_LIT("-9223372036854775809"), &i));
    const char *bad[] = {"", "-", "+", "-+1", "+-1", "1a", " 1", "1.0"};
    for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
        assert_false(numtext_read_int64(slice_cstr(bad[k]), &i));
    assert_false(numtext_read_uint64(SLICE_LIT("-1"), &u));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
