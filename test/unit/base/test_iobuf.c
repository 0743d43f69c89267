/* Shared blocks: counting from several threads, and the sum of bytes alive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "base/iobuf.h"

static void *hold_and_drop(void *arg)
{
    for (int i = 0; i < 1000; i++)
        iobuf_unref(iobuf_ref(arg));
    iobuf_unref(arg);
    return NULL;
}

static void test_threads(void **state)
{
    size_t before = iobuf_bytes_alive();
    struct iobuf *buf = iobuf_create(1000);
    assert_int_equal(iobuf_cap(buf), 1000);
    assert_int_equal(iobuf_bytes_alive(), before + 1000);
    memset(iobuf_data(buf), 1, 1000);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, hold_and_drop, iobuf_ref(buf));
    iobuf_unref(buf);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(iobuf_bytes_alive(), before);
}

static void test_edges(void **state)
{
    iobuf_unref(NULL);
    assert_null(iobuf_create(SIZE_MAX));
    struct iobuf *empty = iobuf_create(0);
    assert_non_null(empty);
    assert_int_equal((uintptr_t)iobuf_data(empty) % 16, 0);
    iobuf_unref(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads),
                                       cmocka_unit_test(test_edges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
