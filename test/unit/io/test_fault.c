/* Fault points: by count, by odds, from text, and from many threads at once. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/fault.h"

FAULT_DEFINE(fault_a, "test.a")
FAULT_DEFINE(fault_b, "test.b")

static int teardown(void **state)
{
    fault_disarm_all();
    return 0;
}

static void test_count(void **state)
{
    assert_int_equal(fault_check(&fault_a), ERR_OK);
    assert_true(fault_arm("test.a", 2, 3, ERR_DISK_IO));
    for (unsigned pass = 0; pass < 10; pass++) {
        bool due = pass >= 2 && pass < 5;
        assert_int_equal(fault_check(&fault_a), due ? ERR_DISK_IO : ERR_OK);
        assert_int_equal(fault_check(&fault_b), ERR_OK); /* another point knows nothing of it */
    }
    assert_int_equal(fault_fired("test.a"), 3);
    assert_int_equal(fault_passes("test.a"), 10);
    assert_int_equal(fault_fired("test.b"), 0);
    assert_true(fault_arm("test.a", 0, UINT64_MAX, ERR_DISK_FULL)); /* counts begin anew */
    assert_int_equal(fault_fired("test.a"), 0);
    for (unsigned pass = 0; pass < 1000; pass++)
        assert_int_equal(fault_check(&fault_a), ERR_DISK_FULL);
    fault_disarm("test.a");
    assert_int_equal(fault_check(&fault_a), ERR_OK);
    assert_int_equal(fault_passes("test.a"), 1000); /* an idle point counts nothing */
}

static void test_names(void **state)
{
    assert_false(fault_arm("test.none", 0, 1, ERR_DISK_IO));
    assert_false(fault_arm_odds("test.none", 2, 1, ERR_DISK_IO));
    assert_false(fault_arm_odds("test.a", 0, 1, ERR_DISK_IO));
    assert_int_equal(fault_fired("test.none"), 0);
    assert_int_equal(fault_passes("test.none"), 0);
    fault_disarm("test.none");
}

/* One seed, one sequence; one in ten on average. */
static void test_odds(void **state)
{
    unsigned fired[2] = {0, 0};
    uint64_t pattern[2] = {0, 0};
    for (int round = 0; round < 2; round++) {
        assert_true(fault_arm_odds("test.a", 10, 77, ERR_DISK_IO));
        for (unsigned pass = 0; pass < 10000; pass++) {
            bool hit = fault_check(&fault_a) != ERR_OK;
            fired[round] += hit;
            pattern[round] = pattern[round] * 31 + hit;
        }
    }
    assert_true(pattern[0] == pattern[1]);
    assert_true(fired[0] > 800 && fired[0] < 1200);
    assert_int_equal(fault_fired("test.a"), fired[1]);
}

static void test_text(void **state)
{
    static const char *const bad[] = {
        "test.a",
        "test.a:0",
        "test.a:0:1",
        "test.a:0:1:",
        "test.a:0:1:no_such_error",
        "test.a:x:1:disk_io",
        "test.a:0:-1:disk_io",
        "test.a:0:1:disk_io:more",
        "test.none:0:1:disk_io",
        "test.a:0:99999999999999999999:disk_io",
        ":0:1:disk_io",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(fault_arm_spec(bad[i]));
    assert_int_equal(fault_check(&fault_a), ERR_OK);
    assert_true(fault_arm_spec(""));
    assert_true(fault_arm_spec("test.a:1:1:disk_io,test.b:0:2:disk_full"));
    assert_int_equal(fault_check(&fault_a), ERR_OK);
    assert_int_equal(fault_check(&fault_a), ERR_DISK_IO);
    assert_int_equal(fault_check(&fault_a), ERR_OK);
    assert_int_equal(fault_check(&fault_b), ERR_DISK_FULL);
    assert_int_equal(fault_check(&fault_b), ERR_DISK_FULL);
    assert_int_equal(fault_check(&fault_b), ERR_OK);
}

enum { THREADS = 4, PASSES = 5000 };

static void *passer(void *arg)
{
    unsigned *hits = arg;
    for (unsigned i = 0; i < PASSES; i++)
        *hits += fault_check(&fault_a) != ERR_OK;
    return NULL;
}

/* A count of N fails exactly N passes over all threads. */
static void test_threads(void **state)
{
    pthread_t threads[THREADS];
    unsigned hits[THREADS] = {0};
    assert_true(fault_arm("test.a", 100, 1234, ERR_DISK_IO));
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, passer, &hits[i]), 0);
    unsigned sum = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        sum += hits[i];
    }
    assert_int_equal(sum, 1234);
    assert_int_equal(fault_passes("test.a"), THREADS * PASSES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_count, teardown),
        cmocka_unit_test_teardown(test_names, teardown),
        cmocka_unit_test_teardown(test_odds, teardown),
        cmocka_unit_test_teardown(test_text, teardown),
        cmocka_unit_test_teardown(test_threads, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
