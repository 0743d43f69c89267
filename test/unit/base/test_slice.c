/* Views: comparison, search and cutting at the edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/slice.h"

static void test_compare(void **state)
{
    assert_true(slice_equal(SLICE_NULL, SLICE_LIT("")));
    assert_true(slice_equal(SLICE_LIT("ab"), slice_cstr("ab")));
    assert_false(slice_equal(SLICE_LIT("ab"), SLICE_LIT("abc")));
    assert_true(slice_compare(SLICE_LIT("ab"), SLICE_LIT("abc")) < 0);
    assert_true(slice_compare(SLICE_LIT("b"), SLICE_LIT("abc")) > 0);
    assert_int_equal(slice_compare(SLICE_NULL, SLICE_NULL), 0);
    assert_true(slice_equal_nocase(SLICE_LIT("SeLect[\xc4"), SLICE_LIT("sElECT[\xc4")));
    assert_false(slice_equal_nocase(SLICE_LIT("@"), SLICE_LIT("`")));
    assert_false(slice_equal_nocase(SLICE_LIT("a"), SLICE_LIT("ab")));
}

static void test_find(void **state)
{
    struct slice text = SLICE_LIT("one two two");
    assert_int_equal(slice_find(text, SLICE_LIT("two"), 0), 4);
    assert_int_equal(slice_find(text, SLICE_LIT("two"), 5), 8);
    assert_true(slice_find(text, SLICE_LIT("two"), 9) == SIZE_MAX);
    assert_true(slice_find(text, SLICE_LIT("two"), 99) == SIZE_MAX);
    assert_int_equal(slice_find(text, SLICE_LIT(""), 11), 11);
    assert_true(slice_find(SLICE_NULL, SLICE_LIT("x"), 0) == SIZE_MAX);
    assert_int_equal(slice_find_byte(text, 't', 5), 8);
    assert_true(slice_find_byte(text, 'z', 0) == SIZE_MAX);
    assert_true(slice_find_byte(text, 'o', 11) == SIZE_MAX);
    assert_true(slice_starts_with(text, SLICE_LIT("one")));
    assert_true(slice_starts_with(text, SLICE_NULL));
    assert_false(slice_starts_with(SLICE_LIT("on"), SLICE_LIT("one")));
}

static void test_cut(void **state)
{
    struct slice text = SLICE_LIT("hello");
    assert_true(slice_equal(slice_sub(text, 1, 3), SLICE_LIT("ell")));
    assert_true(slice_equal(slice_sub(text, 3, SIZE_MAX), SLICE_LIT("lo")));
    assert_int_equal(slice_sub(text, 9, 1).len, 0);
    assert_null(slice_sub(SLICE_NULL, 2, 2).data);
    assert_true(slice_equal(slice_trim(SLICE_LIT(" \t\r\n a b \v\f")), SLICE_LIT("a b")));
    assert_int_equal(slice_trim(SLICE_LIT("  ")).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
