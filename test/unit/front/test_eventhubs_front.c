/* Starts of the Event Hubs door that fail: everything it took is given back (the sanitizers look). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/node_rig.h"
#include "base/map.h"
#include "broker/broker.h"
#include "front/eventhubs/eventhubs.h"

enum { SHARDS = 3 };

static unsigned maps_left; /* map_create fails when it reaches zero */

struct map *__real_map_create(size_t limit);
struct map *__wrap_map_create(size_t limit);
struct map *__wrap_map_create(size_t limit)
{
    if (maps_left > 0 && --maps_left == 0)
        return NULL;
    return __real_map_create(limit);
}

/* There is no broker: the start only asks for its shards. */
struct broker_shard *__wrap_broker_shard_of(struct broker *broker, const struct shard *shard);
struct broker_shard *__wrap_broker_shard_of(struct broker *broker, const struct shard *shard)
{
    return NULL;
}

static enum err start(struct node_rig *rig, struct front_eventhubs **ret_front)
{
    struct err_info info;
    struct eventhubs_config *config = eventhubs_config_create();
    assert_non_null(config);
    return front_eventhubs_start(rig->shards, NULL, config, "127.0.0.1", 0, ret_front, &info);
}

static void test_no_memory(void **state)
{
    for (unsigned nth = 1; nth <= SHARDS + 1; nth++) {
        struct node_rig rig;
        struct front_eventhubs *front = NULL;
        memset(&rig, 0, sizeof(rig));
        node_rig_folder(&rig);
        node_rig_shards(&rig, SHARDS);
        maps_left = nth;
        enum err err = start(&rig, &front);
        maps_left = 0;
        assert_int_equal(err, nth <= SHARDS ? ERR_NO_MEMORY : ERR_OK);
        front_eventhubs_destroy(front);
        node_rig_end(&rig);
        node_rig_remove(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
