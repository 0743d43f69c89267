/*
 * Addresses and start positions in every form that clients use.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "front/eventhubs/address.h"

static void assert_text(struct slice got, const char *want)
{
    if (!want) {
        assert_null(got.data);
        return;
    }
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.data, want, got.len);
}

static void test_addresses(void **state)
{
    static const struct {
        const char *text;
        enum eh_node node;
        const char *hub, *group, *partition, *publisher;
    } cases[] = {
        {"hub", EH_NODE_HUB, "hub", NULL, NULL, NULL},
        {"/hub", EH_NODE_HUB, "hub", NULL, NULL, NULL},
        {"hub/", EH_NODE_HUB, "hub", NULL, NULL, NULL},
        {"sb://localhost:5672/hub", EH_NODE_HUB, "hub", NULL, NULL, NULL},
        {"amqps://ns.example.net/hub/Partitions/3", EH_NODE_HUB, "hub", NULL, "3", NULL},
        {"hub/partitions/3", EH_NODE_HUB, "hub", NULL, "3", NULL},
        {"hub/Publishers/p", EH_NODE_HUB, "hub", NULL, NULL, "p"},
        {"hub/ConsumerGroups/$Default/Partitions/0", EH_NODE_GROUP, "hub", "$Default", "0", NULL},
        {"/hub/consumergroups/cg/partitions/12", EH_NODE_GROUP, "hub", "cg", "12", NULL},
        {"amqp://localhost:5672/hub/ConsumerGroups/cg/Partitions/0", EH_NODE_GROUP, "hub", "cg",
         "0", NULL},
        {"$cbs", EH_NODE_CBS, NULL, NULL, NULL, NULL},
        {"$management", EH_NODE_MANAGEMENT, NULL, NULL, NULL, NULL},
        {"hub/$management", EH_NODE_MANAGEMENT, "hub", NULL, NULL, NULL},
        {"", EH_NODE_UNKNOWN, NULL, NULL, NULL, NULL},
        {"sb://localhost", EH_NODE_UNKNOWN, NULL, NULL, NULL, NULL},
        {"$other", EH_NODE_UNKNOWN, NULL, NULL, NULL, NULL},
        {"hub/Nothing/1", EH_NODE_UNKNOWN, "hub", NULL, NULL, NULL},
        {"hub/Partitions", EH_NODE_UNKNOWN, "hub", NULL, NULL, NULL},
        {"hub/Partitions/1/Partitions/2", EH_NODE_UNKNOWN, "hub", NULL, "1", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct eh_address address = eh_address_parse(slice_cstr(cases[i].text));
        if (address.node != cases[i].node)
            fail_msg("%s: node %d", cases[i].text, address.node);
        assert_text(address.hub, cases[i].hub);
        assert_text(address.group, cases[i].group);
        assert_text(address.partition, cases[i].partition);
        assert_text(address.publisher, cases[i].publisher);
    }
}

static void test_partitions(void **state)
{
    assert_int_equal(eh_address_partition(SLICE_LIT("0"), 4), 0);
    assert_int_equal(eh_address_partition(SLICE_LIT("3"), 4), 3);
    assert_int_equal(eh_address_partition(SLICE_LIT("4"), 4), -1);
    assert_int_equal(eh_address_partition(SLICE_LIT("-1"), 4), -1);
    assert_int_equal(eh_address_partition(SLICE_LIT("+1"), 4), -1);
    assert_int_equal(eh_address_partition(SLICE_LIT("x"), 4), -1);
    assert_int_equal(eh_address_partition(SLICE_LIT(""), 4), -1);
    assert_int_equal(eh_address_partition(SLICE_LIT("99999999999999999999"), 4), -1);
}

static void test_positions(void **state)
{
    static const struct {
        const char *filter;
        enum eh_position_kind kind;
        bool inclusive, sequence;
        int64_t value;
    } cases[] = {
        {"amqp.annotation.x-opt-offset > '123'", EH_POSITION_OFFSET, false, false, 123},
        {"amqp.annotation.x-opt-offset >= '123'", EH_POSITION_OFFSET, true, false, 123},
        {"amqp.annotation.x-opt-offset > 123", EH_POSITION_OFFSET, false, false, 123},
        {"amqp.annotation.x-opt-offset >'123'", EH_POSITION_OFFSET, false, false, 123},
        {"amqp.annotation.x-opt-offset > '-1'", EH_POSITION_EARLIEST, false, false, -1},
        {"amqp.annotation.x-opt-offset >= '-1'", EH_POSITION_EARLIEST, true, false, -1},
        {"amqp.annotation.x-opt-offset > '@latest'", EH_POSITION_LATEST, false, false, 0},
        {"amqp.annotation.x-opt-offset >= '@latest'", EH_POSITION_LATEST, true, false, 0},
        {"amqp.annotation.x-opt-sequence-number > '5'", EH_POSITION_OFFSET, false, true, 5},
        {"amqp.annotation.x-opt-sequence-number >= 5", EH_POSITION_OFFSET, true, true, 5},
        {"amqp.annotation.x-opt-enqueued-time > '1700000000000'", EH_POSITION_TIME, false, false,
         1700000000000},
        {"amqp.annotation.x-opt-enqueuedtimeutc >= '1'", EH_POSITION_TIME, true, false, 1},
        {"  amqp.annotation.x-opt-offset>'9223372036854775807' ", EH_POSITION_OFFSET, false, false,
         INT64_MAX},
    };
    static const char *const bad[] = {
        "",
        "x > '1'",
        "amqp.annotation.x-opt-offset",
        "amqp.annotation.x-opt-offset < '1'",
        "amqp.annotation.x-opt-offset >",
        "amqp.annotation.x-opt-offset > ''",
        "amqp.annotation.x-opt-offset > '",
        "amqp.annotation.x-opt-offset > 'abc'",
        "amqp.annotation.x-opt-offset > '-2'",
        "amqp.annotation.x-opt-offset > '99999999999999999999'",
        "amqp.annotation.x-opt-color > '1'",
        "amqp.annotation.x-opt-enqueued-time > 'now'",
    };
    struct eh_position position;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (!eh_position_parse(slice_cstr(cases[i].filter), &position))
            fail_msg("refused: %s", cases[i].filter);
        assert_int_equal(position.kind, cases[i].kind);
        assert_int_equal(position.inclusive, cases[i].inclusive);
        assert_int_equal(position.sequence, cases[i].sequence);
        assert_int_equal(position.value, cases[i].value);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (eh_position_parse(slice_cstr(bad[i]), &position))
            fail_msg("accepted: %s", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_addresses),
                                       cmocka_unit_test(test_partitions),
                                       cmocka_unit_test(test_positions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
