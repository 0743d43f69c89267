/* Random numbers: repeatable, in range, evenly spread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"

static void test_repeat(void **state)
{
    struct random a;
    struct random b;
    random_init(&a, 42);
    random_init(&b, 42);
    for (int i = 0; i < 100; i++)
        assert_true(random_u64(&a) == random_u64(&b));
    random_init(&b, 43);
    assert_true(random_u64(&a) != random_u64(&b));
}

static void test_known(void **state)
{
    /* xoshiro256** from the state {1, 2, 3, 4}: the authors' reference sequence. */
    struct random random = {{1, 2, 3, 4}};
    assert_true(random_u64(&random) == 11520u);
    assert_true(random_u64(&random) == 0u);
    assert_true(random_u64(&random) == 1509978240u);
    assert_true(random_u64(&random) == 1215971899390074240u);
}

static void test_spread(void **state)
{
    struct random random;
    random_init(&random, 7);
    int counts[10] = {0};
    int hits = 0;
    for (int i = 0; i < 100000; i++) {
        counts[random_below(&random, 10)]++;
        double unit = random_unit(&random);
        assert_true(unit >= 0 && unit < 1);
        hits += random_one_in(&random, 100);
        assert_false(random_one_in(&random, 0));
        assert_true(random_below(&random, 1) == 0);
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(counts[i], 9600, 10400);
    assert_in_range(hits, 850, 1150);
}

static void test_fill(void **state)
{
    struct random random;
    random_init(&random, 9);
    uint8_t data[20] = {0};
    random_fill(&random, data, 19);
    assert_int_equal(data[19], 0);
    int zeros = 0;
    for (int i = 0; i < 19; i++)
        zeros += data[i] == 0;
    assert_true(zeros < 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repeat),
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_fill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
