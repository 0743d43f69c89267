/* Hashes depend on every byte and on the seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"

static void test_hash(void **state)
{
    assert_true(hash_bytes(SLICE_NULL, 0) == hash_bytes(SLICE_LIT(""), 0));
    assert_true(hash_bytes(SLICE_LIT("a"), 0) != hash_bytes(SLICE_LIT("b"), 0));
    assert_true(hash_bytes(SLICE_LIT("a"), 0) != hash_bytes(SLICE_LIT("a"), 1));
    assert_true(hash_bytes(SLICE_LIT("a"), 7) == hash_bytes(slice_cstr("a"), 7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hash)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
