/*
 * The emulator's Config.json, with the forms its samples have, and its mistakes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "front/eventhubs/config.h"

static void test_sample(void **state)
{
    static const char text[] = "\xef\xbb\xbf{\"UserConfig\":{\"NamespaceConfig\":[{\"Type\":"
                               "\"EventHub\",\"Name\":\"emulatorNs1\","
                               "\"Entities\":[{\"Name\":\"eh1\",\"PartitionCount\":\"2\","
                               "\"ConsumerGroups\":[{\"Name\":\"cg1\"}]},"
                               "{\"Name\":\"eh2\",\"PartitionCount\":4,\"Extra\":true}]}],"
                               "\"LoggingConfig\":{\"Type\":\"File\"}}}";
    struct eventhubs_config *config = eventhubs_config_create();
    struct err_info info;
    assert_int_equal(eventhubs_config_json_read(config, slice_cstr(text), &info), ERR_OK);
    assert_int_equal(eventhubs_config_hub_count(config), 2);
    assert_int_equal(eh_config_hub(config, SLICE_LIT("EH1"))->partitions, 2);
    assert_int_equal(eh_config_hub(config, SLICE_LIT("eh2"))->partitions, 4);
    assert_true(eh_config_group_exists(config, SLICE_LIT("eh1"), SLICE_LIT("CG1")));
    assert_true(eh_config_group_exists(config, SLICE_LIT("eh1"), SLICE_LIT("$default")));
    assert_false(eh_config_group_exists(config, SLICE_LIT("eh1"), SLICE_LIT("other")));
    assert_true(eh_config_group_exists(config, SLICE_LIT("eh2"), SLICE_LIT("other")));
    assert_true(eh_config_group_exists(config, SLICE_LIT("unlisted"), SLICE_LIT("other")));
    eventhubs_config_destroy(config);
}

static void test_mistakes(void **state)
{
#define ENTITIES(inner)                                                                            \
    "{\"UserConfig\":{\"NamespaceConfig\":[{\"Type\":\"EventHub\",\"Entities\":[" inner "]}]}}"
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"", "line"},
        {"{\"UserConfig\":", "line"},
        {"[]", "NamespaceConfig"},
        {"{\"UserConfig\":{\"NamespaceConfig\":[{\"Type\":\"ServiceBus\",\"Entities\":[]}]}}",
         "Type"},
        {"{\"UserConfig\":{\"NamespaceConfig\":[{\"Type\":\"EventHub\"}]}}", "Entities"},
        {ENTITIES("{}"), "Entities[0]"},
        {ENTITIES("{\"Name\":\"a\"}"), "PartitionCount"},
        {ENTITIES("{\"Name\":\"a\",\"PartitionCount\":0}"), "PartitionCount"},
        {ENTITIES("{\"Name\":\"a\",\"PartitionCount\":\"x\"}"), "PartitionCount"},
        {ENTITIES("{\"Name\":\"a\",\"PartitionCount\":100000}"), "PartitionCount"},
        {ENTITIES("{\"Name\":\"a\",\"PartitionCount\":1},{\"Name\":\"A\",\"PartitionCount\":1}"),
         "twice"},
        {ENTITIES("{\"Name\":\"a\",\"PartitionCount\":1,\"ConsumerGroups\":[{}]}"),
         "ConsumerGroups[0]"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct eventhubs_config *config = eventhubs_config_create();
        struct err_info info;
        assert_int_not_equal(eventhubs_config_json_read(config, slice_cstr(cases[i].text), &info),
                             ERR_OK);
        if (!strstr(info.text, cases[i].says))
            fail_msg("case %zu says: %s", i, info.text);
        eventhubs_config_destroy(config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sample),
                                       cmocka_unit_test(test_mistakes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
