/* CRC-32C: published vectors, kernels against each other and against ISA-L. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <isa-l/crc.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/random.h"

/* ISA-L takes and gives the sum inverted. */
static uint32_t crc32c_isal(uint32_t crc, const uint8_t *data, size_t len)
{
    return ~crc32_iscsi((unsigned char *)(uintptr_t)data, (int)len, ~crc);
}

static void test_vectors(void **state)
{
    uint8_t data[32];
    assert_int_equal(crc32c(0, NULL, 0), 0);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    memset(data, 0, sizeof(data)); /* RFC 3720, B.4 */
    assert_int_equal(crc32c(0, data, 32), 0x8a9136aa);
    memset(data, 0xff, sizeof(data));
    assert_int_equal(crc32c(0, data, 32), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++)
        data[i] = i;
    assert_int_equal(crc32c(0, data, 32), 0x46dd794e);
}

static void test_against_isal(void **state)
{
    enum { CAP = 64 * 1024 };
    uint8_t *data = malloc(CAP);
    struct random random;
    random_init(&random, 3);
    random_fill(&random, data, CAP);
    for (size_t len = 0; len < 2000; len++) {
        uint32_t want = crc32c_isal((uint32_t)len, data + len % 9, len);
        assert_int_equal(crc32c((uint32_t)len, data + len % 9, len), want);
        assert_int_equal(crc32c_portable((uint32_t)len, data + len % 9, len), want);
    }
    for (int i = 0; i < 2000; i++) {
        size_t from = random_below(&random, CAP);
        size_t len = random_below(&random, CAP - from + 1);
        uint32_t crc = (uint32_t)random_u64(&random);
        uint32_t want = crc32c_isal(crc, data + from, len);
        assert_int_equal(crc32c(crc, data + from, len), want);
        assert_int_equal(crc32c_portable(crc, data + from, len), want);
        size_t cut = random_below(&random, len + 1);
        assert_int_equal(crc32c(crc32c(crc, data + from, cut), data + from + cut, len - cut), want);
    }
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_against_isal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
