/*
 * Whose requests the admin port obeys: values of Host and Origin.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "front/admin/admin_int.h"

static void test_hosts(void **state)
{
    static const char *const good[] = {"127.0.0.1",   "127.0.0.1:5300", "[::1]",       "[::1]:5300",
                                       "192.168.1.7", "localhost",      "localhost.",  "LocalHost:5300",
                                       "weir",        "weir:5300",      "a.localhost", "8.8.8.8:1"};
    static const char *const bad[] = {
        "",       ":5300",     "evil.example",     "evil.example:5300", "127.0.0.1.evil.example",
        "1.2.3",  "[evil]",    "[::1",             "[]",                "a.localhost.example",
        "1.2.3.4.5", "evil.example.", "256.1.1.1", "127.0.0.1x.y"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(admin_host_trusted(slice_cstr(good[i]), NULL));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(admin_host_trusted(slice_cstr(bad[i]), NULL));
        assert_false(admin_host_trusted(slice_cstr(bad[i]), "weir.example"));
    }
    assert_true(admin_host_trusted(SLICE_LIT("Weir.Example:80"), " a.b , weir.example"));
    assert_false(admin_host_trusted(SLICE_LIT("x.weir.example"), "weir.example"));
    assert_true(admin_host_trusted(SLICE_LIT("any.where"), "a.b, *"));
    assert_false(admin_host_trusted(SLICE_NULL, NULL));
}

static void test_origins(void **state)
{
    struct slice host = SLICE_LIT("127.0.0.1:5300");
    assert_true(admin_origin_same(SLICE_LIT("http://127.0.0.1:5300"), host));
    assert_true(admin_origin_same(SLICE_LIT("HTTP://127.0.0.1:5300"), host));
    assert_false(admin_origin_same(SLICE_LIT("http://127.0.0.1"), host));
    assert_false(admin_origin_same(SLICE_LIT("https://127.0.0.1:5300"), host));
    assert_false(admin_origin_same(SLICE_LIT("null"), host));
    assert_false(admin_origin_same(SLICE_LIT(""), host));
    assert_false(admin_origin_same(SLICE_LIT("http://"), SLICE_NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_origins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
