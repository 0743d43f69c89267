/* The error table is complete, and descriptions never overflow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/error.h"

static void test_table(void **state)
{
    for (int i = 0; i < ERR_COUNT; i++) {
        const struct err_row *row = err_row((enum err)i);
        assert_true(strlen(row->name) > 0 && strlen(row->text) > 0);
        assert_true(row->http_status >= 200 && row->http_status < 600);
        assert_int_equal(row->class == ERR_CLASS_NONE, i == ERR_OK);
        assert_int_equal(row->kafka_code == 0, i == ERR_OK);
        assert_int_equal(row->amqp_condition[0] == '\0', i == ERR_OK);
    }
    assert_int_equal(err_row(ERR_OFFSET_OUT_OF_RANGE)->kafka_code, 1);
}

static void test_errno(void **state)
{
    assert_int_equal(err_from_errno(0), ERR_OK);
    assert_int_equal(err_from_errno(ENOSPC), ERR_DISK_FULL);
    assert_int_equal(err_from_errno(EIO), ERR_DISK_IO);
    assert_int_equal(err_from_errno(ENOENT), ERR_NOT_FOUND);
    assert_int_equal(err_from_errno(EADDRINUSE), ERR_PORT_IN_USE);
    assert_int_equal(err_from_errno(12345), ERR_INTERNAL);
}

static void test_info(void **state)
{
    struct err_info info;
    assert_int_equal(err_info_set(&info, ERR_TIMEOUT, "after %d ms", 5), ERR_TIMEOUT);
    assert_int_equal(info.code, ERR_TIMEOUT);
    err_info_wrap(&info, "partition %s", "t-0");
    assert_string_equal(info.text, "partition t-0: after 5 ms");
    assert_int_equal(err_info_set(NULL, ERR_BUSY, "x"), ERR_BUSY);
    err_info_wrap(NULL, "x");
}

static void test_info_cut(void **state)
{
    struct err_info info;
    err_info_set(&info, ERR_INTERNAL, "%0300d", 7);
    assert_int_equal(strlen(info.text), sizeof(info.text) - 1);
    err_info_wrap(&info, "ctx");
    assert_int_equal(strlen(info.text), sizeof(info.text) - 1);
    assert_memory_equal(info.text, "ctx: 000", 8);
    err_info_wrap(&info, "%0300d", 1);
    assert_int_equal(strlen(info.text), sizeof(info.text) - 1);
    err_info_set(&info, ERR_INTERNAL, "short");
    err_info_wrap(&info, "%0240d", 1);
    assert_string_equal(info.text + 240, ": short");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_errno),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_info_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
