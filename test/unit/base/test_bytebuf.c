/* Growing buffers: content, limit, sticky failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/bytebuf.h"

static void test_append(void **state)
{
    struct bytebuf buf;
    bytebuf_init(&buf, 1 << 20);
    for (int i = 0; i < 1000; i++) {
        bytebuf_append_byte(&buf, 'a');
        bytebuf_append_cstr(&buf, "bc");
        bytebuf_append_slice(&buf, SLICE_LIT("d"));
        bytebuf_append(&buf, NULL, 0);
        bytebuf_printf(&buf, "%04d", i);
    }
    assert_false(buf.failed);
    assert_int_equal(buf.len, 8000);
    assert_memory_equal(buf.data + 8 * 731, "abcd0731", 8);
    bytebuf_clear(&buf);
    assert_int_equal(bytebuf_slice(&buf).len, 0);
    bytebuf_deinit(&buf);
}

static void test_limit(void **state)
{
    struct bytebuf buf;
    bytebuf_init(&buf, 10);
    bytebuf_printf(&buf, "%s", "0123456789"); /* exactly the limit */
    assert_false(buf.failed);
    assert_memory_equal(buf.data, "0123456789", 10);
    bytebuf_append_byte(&buf, 'x');
    assert_true(buf.failed);
    assert_int_equal(buf.len, 10);
    bytebuf_clear(&buf);
    bytebuf_append(&buf, "01234567890", 11);
    assert_true(buf.failed);
    bytebuf_append(&buf, "a", 1); /* sticky: never a hole in the middle */
    assert_int_equal(buf.len, 0);
    assert_null(bytebuf_reserve(&buf, 1));
    bytebuf_printf(&buf, "x");
    assert_int_equal(buf.len, 0);
    bytebuf_deinit(&buf);
}

static void test_reserve(void **state)
{
    struct bytebuf buf;
    bytebuf_init(&buf, 100);
    assert_non_null(bytebuf_reserve(&buf, 0));
    uint8_t *to = bytebuf_reserve(&buf, 100);
    memset(to, 7, 100);
    buf.len += 100;
    assert_non_null(bytebuf_reserve(&buf, 0));
    assert_null(bytebuf_reserve(&buf, 1));
    bytebuf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_reserve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
