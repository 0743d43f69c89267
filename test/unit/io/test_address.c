/* Socket addresses from and to text. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "io/address.h"

static void test_round_trip(void **state)
{
    static const struct {
        const char *host;
        uint16_t port;
        const char *text; /* NULL: refused */
        bool loopback;
    } rows[] = {
        {"127.0.0.1", 9092, "127.0.0.1:9092", true},
        {"127.9.9.9", 1, "127.9.9.9:1", true},
        {"128.0.0.1", 65535, "128.0.0.1:65535", false},
        {"localhost", 80, "127.0.0.1:80", true},
        {"", 80, "0.0.0.0:80", false},
        {"*", 80, "0.0.0.0:80", false},
        {"::1", 80, "[::1]:80", true},
        {"::", 80, "[::]:80", false},
        {"fe80::1", 80, "[fe80::1]:80", false},
        /* What a listener on "::" sees of IPv4 peers. */
        {"::ffff:127.0.0.1", 80, "[::ffff:127.0.0.1]:80", true},
        {"::ffff:10.0.0.1", 80, "[::ffff:10.0.0.1]:80", false},
        {"no.such.name", 80, NULL, false},
        {"127.0.0.1 ", 80, NULL, false},
        {"127.0.0", 80, NULL, false},
        {"127.0.0.256", 80, NULL, false},
        {"[::1]", 80, NULL, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sockaddr_storage address;
        socklen_t len;
        struct err_info info;
        enum err err = address_parse(rows[i].host, rows[i].port, &address, &len, &info);
        assert_int_equal(err, rows[i].text ? ERR_OK : ERR_INVALID_ARGUMENT);
        if (err != ERR_OK) {
            assert_non_null(strstr(info.text, rows[i].host));
            continue;
        }
        char text[64];
        address_format(&address, text, sizeof(text));
        assert_string_equal(text, rows[i].text);
        assert_int_equal(address_port(&address), rows[i].port);
        assert_int_equal(address_is_loopback(&address), rows[i].loopback);
    }
}

static void test_unknown_family(void **state)
{
    struct sockaddr_storage address = {.ss_family = AF_UNIX};
    char text[64];
    address_format(&address, text, sizeof(text));
    assert_string_equal(text, "?");
    assert_int_equal(address_port(&address), 0);
    assert_false(address_is_loopback(&address));
    address.ss_family = AF_INET;
    address_format(&address, text, 6); /* cut, never overrun */
    assert_string_equal(text, "0.0.0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_unknown_family),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
