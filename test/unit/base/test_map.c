/* The map against a plain array as a model, its limit, and its walk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/random.h"

enum { MODEL_KEYS = 500 };

static void test_model(void **state)
{
    struct map *map = map_create(SIZE_MAX);
    void *model[MODEL_KEYS] = {NULL};
    size_t count = 0;
    struct random random;
    random_init(&random, 1);
    for (int step = 0; step < 50000; step++) {
        size_t k = random_below(&random, MODEL_KEYS);
        char key[16];
        struct slice s = slice_make(key, (size_t)snprintf(key, sizeof(key), "key-%zu", k));
        assert_ptr_equal(map_get(map, s), model[k]);
        if (random_one_in(&random, 2)) {
            void *value = &model[random_below(&random, MODEL_KEYS)];
            assert_true(map_put(map, s, value));
            count += model[k] == NULL;
            model[k] = value;
        } else {
            assert_ptr_equal(map_remove(map, s), model[k]);
            count -= model[k] != NULL;
            model[k] = NULL;
        }
        assert_int_equal(map_count(map), count);
    }
    map_destroy(map);
}

static void test_limit(void **state)
{
    int value;
    struct map *map = map_create(2);
    assert_null(map_get(map, SLICE_LIT("a")));
    assert_true(map_put(map, SLICE_LIT("a"), &value));
    assert_true(map_put(map, SLICE_LIT(""), &value));
    assert_false(map_put(map, SLICE_LIT("c"), &value));
    assert_true(map_put(map, SLICE_LIT("a"), map)); /* replacing needs no room */
    assert_ptr_equal(map_get(map, SLICE_LIT("a")), map);
    assert_ptr_equal(map_remove(map, SLICE_NULL), &value);
    assert_true(map_put(map, SLICE_LIT("c"), &value));
    map_destroy(map);
    map_destroy(NULL);
}

static void test_walk(void **state)
{
    struct map *map = map_create(1000);
    static int values[300];
    for (int i = 0; i < 300; i++) {
        uint32_t key = (uint32_t)i;
        assert_true(map_put(map, slice_make(&key, sizeof(key)), &values[i]));
    }
    size_t cursor = 0;
    struct slice key;
    void *value;
    int seen = 0;
    while (map_next(map, &cursor, &key, &value)) { /* in order of insertion, removing as it goes */
        assert_ptr_equal(value, &values[seen]);
        assert_ptr_equal(map_remove(map, key), value);
        seen++;
    }
    assert_int_equal(seen, 300);
    assert_int_equal(map_count(map), 0);
    cursor = 0;
    assert_false(map_next(map, &cursor, &key, &value));
    map_destroy(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
