/*
 * The partition-key hash: vectors of the SDKs' partition resolvers, and the mapping onto
 * partitions.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "event/event_hash.h"

static void test_fold(void **state)
{
    static const struct {
        const char *key;
        int16_t fold;
    } cases[] = {
        {"7", -15263},
        {"131", 30562},
        {"7149583486996073602", 12977},
        {"FWfAT", -22341},
        {"sOdeEAsyQoEuEFPGerWO", -6503},
        {"-4189260826195535198", 453},
        {"!c*_!I@1^c", 15372},
        {"p4*!jioeO/z-!-;w:dh", -3104},
        {"$0cb", 26269},
        {"FAyAIctPeCgmiwLKbJcyswoHglHVjQdvtBowLACDNORsYvOcLddNJYDmhAVkbyLOrHTKLneMNcbgWVlasVywOByAN"
         "js",
         5226},
        {"1XYM6!(7(lF5wq4k4m*e$Nc!1ezLJv*1YK1Y-C^*&B$O)lq^iUkG(TNzXG;Zi#z2Og*Qq0#^*k):vXh$3,C7We7%"
         "W0meJ;b3,rQCg^J;^"
         "twXgs5E$$hWKxqp",
         23950},
        {"E(x;RRIaQcJs*P;D&jTPau-4K04oqr:lF6Z):ERpo&;9040qyV@G1_c9mgOs-8_8/"
         "10Fwa-7b7-yP!T-!IH&968)FWuI;(^g$2fN;)HJ^"
         "^yTn:",
         -29304},
        {"test", -12036},
        {"abcdefghijkl", -2373},
        {"abcdefghijklm", -31855},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(event_hash_fold(slice_cstr(cases[i].key)), cases[i].fold);
}

static void test_words(void **state)
{
    uint32_t c, b;
    event_hash_words(SLICE_LIT("test"), &c, &b);
    assert_int_equal(c, 0xbe0c1952);
    assert_int_equal(b, 0x6da2c9ae);
    event_hash_words(SLICE_LIT("abcdefghijkl"), &c, &b);
    assert_int_equal(c, 0x4012f87b);
    assert_int_equal(b, 0x75b50ec0);
    event_hash_words(SLICE_LIT("7"), &c, &b);
    assert_int_equal(c, 0xf7ca9c57);
    assert_int_equal(b, 0xaf025836);
    event_hash_words(SLICE_NULL, &c, &b);
    assert_int_equal(c, 0xdeadbeef);
}

static void test_partitions(void **state)
{
    assert_int_equal(event_partition_sdk(SLICE_LIT("7"), 4), 3);
    assert_int_equal(event_partition_sdk(SLICE_LIT("7"), 32), 31);
    assert_int_equal(event_partition_sdk(SLICE_LIT("test"), 4), 0);
    assert_int_equal(event_partition_sdk(SLICE_LIT("test"), 32), 4);
    assert_int_equal(event_partition_sdk(SLICE_LIT("131"), 3), 1);
    assert_int_equal(event_partition_sdk(SLICE_LIT("131"), 3), 1);
    assert_int_equal(event_partition_sdk(SLICE_LIT("131"), 3), 1);
    /* Seen of the public service on two partitions. */
    const char *keys = "abcdef";
    for (int i = 0; i < 6; i++) {
        char key[] = "test_partition_x";
        key[15] = keys[i];
        assert_int_equal(event_partition_ranges(slice_cstr(key), 2), i >= 3);
    }
    for (int32_t count = 1; count < 70; count++) {
        int32_t partition = event_partition_ranges(SLICE_LIT("any"), count);
        assert_in_range(partition, 0, count - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fold), cmocka_unit_test(test_words),
                                       cmocka_unit_test(test_partitions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
