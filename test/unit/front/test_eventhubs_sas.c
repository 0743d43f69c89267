/*
 * Shared access signatures: tokens made by another implementation of the scheme, and ones that must
 * be refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "front/eventhubs/config.h"
#include "front/eventhubs/sas.h"

#define EMULATOR_TOKEN                                                                             \
    "SharedAccessSignature "                                                                       \
    "sr=sb%3A%2F%2Flocalhost%2FHub1&sig=85IW8zhOkPpYHPXYhS6yDOWBRKjUaIbKx%2FX8kEKkkfU%3D"          \
    "&se=2000000000&skn=RootManageSharedAccessKey"
#define OWN_TOKEN                                                                                  \
    "SharedAccessSignature sr=amqp%3a%2f%2flocalhost%3a5672%2fhub1%2fConsumerGroups%2fcg"          \
    "&sig=tpbqTyG0BafjKH%2F%2F9XU8HuVzTKoKVgrt24HUXGg9VTw%3D&se=2000000000&skn=a%26b"
#define NAMESPACE_TOKEN                                                                            \
    "SharedAccessSignature "                                                                       \
    "sr=sb%3A%2F%2Fns.example.net%2F&sig=tfxlMPFD9NVdEWPuadctYrmB4WsptwIxhOtLPiQsirQ%3D"           \
    "&se=2000000000&skn=hub-key"
#define HUB_TOKEN                                                                                  \
    "SharedAccessSignature "                                                                       \
    "sr=http%3A%2F%2Fns.example.net%2Fhub2&sig=Bx1jY%2Bz%2FtbySRl2klS5UM7dUMwbQk8HH%2FV%2BIO1RsJ"  \
    "eI%3D&se=2000000000&skn=hub-key"

enum { NOW_S = 1900000000 };

static enum eh_sas_result check(const struct eventhubs_config *config, const char *token,
                                struct eh_grant *grant)
{
    struct err_info info;
    return eh_sas_check(config, slice_cstr(token), NOW_S, grant, &info);
}

static void test_emulator_key(void **state)
{
    struct eventhubs_config *config = eventhubs_config_create();
    struct eh_grant grant;
    struct err_info info;
    assert_int_equal(check(config, EMULATOR_TOKEN, &grant), EH_SAS_OK);
    assert_string_equal(grant.resource, "hub1");
    assert_true(eh_grant_covers(&grant, EVENTHUBS_SEND, SLICE_LIT("HUB1"), NOW_S));
    assert_true(eh_grant_covers(&grant, EVENTHUBS_LISTEN, SLICE_LIT("hub1"), NOW_S));
    assert_false(eh_grant_covers(&grant, EVENTHUBS_SEND, SLICE_LIT("hub10"), NOW_S));
    assert_true(eh_grant_covers(&grant, EVENTHUBS_SEND, SLICE_LIT("hub1"), 2000000059)); /* grace */
    assert_false(eh_grant_covers(&grant, EVENTHUBS_SEND, SLICE_LIT("hub1"), 2000000060));
    assert_int_equal(eh_sas_check(config, SLICE_LIT(EMULATOR_TOKEN), 2000000000, &grant, &info),
                     EH_SAS_REFUSED);
    assert_int_equal(check(config, OWN_TOKEN, &grant), EH_SAS_REFUSED);
    eventhubs_config_destroy(config);
}

static void test_own_keys(void **state)
{
    struct eventhubs_config *config = eventhubs_config_create();
    struct eh_grant grant;
    struct err_info info;
    assert_int_equal(eventhubs_config_key_add(config, SLICE_LIT("a&b"), SLICE_LIT("secret="),
                                              EVENTHUBS_LISTEN, SLICE_NULL, &info),
                     ERR_OK);
    assert_int_equal(eventhubs_config_key_add(config, SLICE_LIT("hub-key"), SLICE_LIT("hubkey"),
                                              EVENTHUBS_MANAGE, SLICE_LIT("Hub2"), &info),
                     ERR_OK);
    assert_false(eventhubs_config_options(config)->open_access);
    assert_int_equal(check(config, EMULATOR_TOKEN, &grant), EH_SAS_REFUSED);
    assert_int_equal(check(config, OWN_TOKEN, &grant), EH_SAS_OK);
    assert_true(eh_grant_covers(&grant, EVENTHUBS_LISTEN, SLICE_LIT("hub1"), NOW_S));
    assert_false(eh_grant_covers(&grant, EVENTHUBS_SEND, SLICE_LIT("hub1"), NOW_S));
    assert_true(eh_grant_covers(&grant, 0, SLICE_LIT("hub1"), NOW_S));
    /* A hub's key is good for its hub, not for the namespace. */
    assert_int_equal(check(config, NAMESPACE_TOKEN, &grant), EH_SAS_REFUSED);
    assert_int_equal(check(config, HUB_TOKEN, &grant), EH_SAS_OK);
    assert_true(eh_grant_covers(&grant, EVENTHUBS_SEND, SLICE_LIT("hub2"), NOW_S));
    /* Plain keys. */
    assert_true(eh_key_check(config, SLICE_LIT("hub-key"), SLICE_LIT("hubkey"), &grant));
    assert_string_equal(grant.resource, "hub2");
    assert_false(eh_key_check(config, SLICE_LIT("hub-key"), SLICE_LIT("hubkex"), &grant));
    assert_false(eh_key_check(config, SLICE_LIT("other"), SLICE_LIT("hubkey"), &grant));
    eventhubs_config_destroy(config);
}

static void test_bad_tokens(void **state)
{
    static const struct {
        const char *token;
        enum eh_sas_result result;
    } cases[] = {
        {"", EH_SAS_MALFORMED},
        {"SharedAccessSignature ", EH_SAS_MALFORMED},
        {"SharedAccessSignature sr=a&sig=b", EH_SAS_MALFORMED},
        {"SharedAccessSignature sr=%&sig=b&se=2000000000", EH_SAS_MALFORMED},
        {"SharedAccessSignature sr=%4&sig=b&se=2000000000", EH_SAS_MALFORMED},
        {"SharedAccessSignature sr=%zz&sig=b&se=2000000000", EH_SAS_MALFORMED},
        {"SharedAccessSignature sr=a&sig=b&se=soon", EH_SAS_MALFORMED},
        {"SharedAccessSignature sr=a&sig=b&se=2000000000", EH_SAS_REFUSED},
        {"SharedAccessSignature sr=a&sig=%00&se=2000000000&skn=x", EH_SAS_REFUSED},
        {"SharedAccessSignature "
         "sr=a&sig=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D&se=2000000000&skn=x",
         EH_SAS_REFUSED},
    };
    struct eventhubs_config *config = eventhubs_config_create();
    struct eh_grant grant;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(check(config, cases[i].token, &grant), cases[i].result);
    char changed[] = EMULATOR_TOKEN;
    /* Every byte of resource and signature counts, but for the last letter's bits that base64 does
     * not use. */
    size_t end = (size_t)(strstr(changed, "%3D&se") - changed) - 1;
    for (size_t i = sizeof("SharedAccessSignature sr="); i < end; i++) {
        changed[i]++;
        assert_int_not_equal(check(config, changed, &grant), EH_SAS_OK);
        changed[i]--;
    }
    eventhubs_config_destroy(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_emulator_key),
                                       cmocka_unit_test(test_own_keys),
                                       cmocka_unit_test(test_bad_tokens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
