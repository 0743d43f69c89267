/* Text of the Event Hubs door: addresses, start positions, tokens, the emulator's configuration, requests. */
#include "front/eventhubs/address.h"
#include "front/eventhubs/eh_int.h"
#include "front/eventhubs/eventhubs.h"
#include "front/eventhubs/sas.h"
#include "fuzz.h"

static bool inside(struct slice outer, struct slice inner)
{
    return inner.len == 0 ||
           (inner.data >= outer.data && inner.data + inner.len <= outer.data + outer.len);
}

static void check_text(struct slice text)
{
    struct eh_address address = eh_address_parse(text);
    FUZZ_CHECK(inside(text, address.path) && inside(text, address.hub) &&
               inside(text, address.group));
    FUZZ_CHECK(inside(text, address.partition) && inside(text, address.publisher));
    int32_t partition = eh_address_partition(text, 32);
    FUZZ_CHECK(partition >= -1 && partition < 32);
    struct eh_position position;
    if (eh_position_parse(text, &position))
        FUZZ_CHECK(inside(text, position.text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = fuzz_copy(slice_make(data, size));
    struct eventhubs_config *config = eventhubs_config_create();
    FUZZ_CHECK(config);
    struct err_info info = {0};
    struct eh_grant grant;
    check_text(text);
    enum eh_sas_result result = eh_sas_check(config, text, 1384000000, &grant, &info);
    FUZZ_CHECK(result != EH_SAS_OK || slice_find(text, SLICE_LIT("sig="), 0) != SIZE_MAX);
    eh_key_check(config, text, text, &grant);
    struct eh_request request;
    if (eh_request_read(text, &request)) {
        eh_request_text(&request, "operation");
        eh_request_text(&request, "name");
    }
    if (eventhubs_config_json_read(config, text, &info) != ERR_OK)
        FUZZ_CHECK(memchr(info.text, '\0', sizeof(info.text)));
    eventhubs_config_destroy(config);
    fuzz_free(text);
    return 0;
}
