/* Arenas: alignment, limits through ancestors, rewinding, and death with the parent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/arena.h"

static void test_alloc(void **state)
{
    struct arena *arena = arena_create(NULL, "test", 1 << 20);
    size_t total = 0;
    for (size_t size = 0; size < 300; size++) {
        uint8_t *data = arena_alloc(arena, size);
        assert_non_null(data);
        assert_int_equal((uintptr_t)data % 16, 0);
        memset(data, (int)size, size);
        total += size;
    }
    assert_true(arena_held(arena) >= total && arena_held(arena) <= 1 << 20);
    uint64_t *zeros = ARENA_ARRAY(arena, uint64_t, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(zeros[i], 0);
    assert_null(arena_zalloc(arena, SIZE_MAX / 4, 8));
    assert_null(arena_alloc(arena, SIZE_MAX));
    arena_destroy(arena);
    arena_destroy(NULL);
}

static void test_limit(void **state)
{
    struct arena *parent = arena_create(NULL, "parent", 64 * 1024);
    struct arena *child = arena_create(parent, "child", 1 << 30);
    assert_non_null(arena_alloc(child, 40 * 1024));
    assert_null(arena_alloc(child, 40 * 1024));
    assert_null(arena_alloc(parent, 40 * 1024));
    assert_non_null(arena_alloc(parent, 20 * 1024)); /* less than a chunk would like, but it fits */
    assert_true(arena_held(parent) <= 64 * 1024);
    arena_reset(child);
    arena_destroy(child);
    assert_true(arena_held(parent) <= 24 * 1024);
    assert_non_null(arena_alloc(parent, 40 * 1024));
    arena_destroy(parent);
}

static void test_children_die(void **state)
{
    struct arena *parent = arena_create(NULL, "parent", 1 << 20);
    for (int i = 0; i < 5; i++) {
        struct arena *child = arena_create(parent, "child", 1 << 20);
        assert_non_null(arena_alloc(arena_create(child, "grandchild", 4096), 100));
        assert_non_null(arena_alloc(child, 5000));
    }
    assert_true(arena_held(parent) >= 5 * 5000);
    arena_reset(parent);
    assert_int_equal(arena_held(parent), 0);
    arena_create(parent, "orphan", 1);
    arena_destroy(parent);
}

static void test_rewind(void **state)
{
    struct arena *arena = arena_create(NULL, "test", 1 << 20);
    struct arena_mark start = arena_mark(arena);
    char *kept = arena_strdup(arena, SLICE_LIT("kept"));
    size_t held = arena_held(arena);
    struct arena_mark mark = arena_mark(arena);
    char *first = arena_alloc(arena, 10);
    for (int i = 0; i < 100; i++)
        assert_non_null(arena_alloc(arena, 3000));
    arena_rewind(arena, mark);
    assert_int_equal(arena_held(arena), held);
    assert_string_equal(kept, "kept");
    assert_ptr_equal(arena_alloc(arena, 10), first);
    arena_rewind(arena, start);
    assert_ptr_equal(arena_alloc(arena, 1), kept);
    arena_reset(arena);
    assert_int_equal(arena_held(arena), held);
    arena_destroy(arena);
}

static void test_text(void **state)
{
    struct arena *arena = arena_create(NULL, "test", 8192);
    assert_string_equal(arena_printf(arena, "%d-%s", 42, "x"), "42-x");
    struct slice copy = arena_copy(arena, SLICE_LIT("ab\0c"));
    assert_int_equal(copy.len, 4);
    assert_memory_equal(copy.data, "ab\0c", 5);
    assert_non_null(arena_copy(arena, SLICE_NULL).data);
    assert_null(arena_printf(arena, "%9000d", 1));
    arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc),        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_children_die), cmocka_unit_test(test_rewind),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
