/* Records of __consumer_offsets: any bytes may stand there; what is read and written again reads the
 * same. */
#include <stdlib.h>

#include "fuzz.h"
#include "group/group_int.h"

static bool inside(struct slice outer, struct slice inner)
{
    return inner.len == 0 ||
           (inner.data >= outer.data && inner.data + inner.len <= outer.data + outer.len);
}

static void check_key(struct slice bytes)
{
    struct record_key key;
    if (!record_key_read(bytes, &key) || key.kind == RECORD_UNKNOWN)
        return;
    FUZZ_CHECK(inside(bytes, key.group) && inside(bytes, key.topic));
    struct bytebuf out;
    struct record_key again;
    bytebuf_init(&out, 1 << 20);
    if (key.kind == RECORD_GROUP)
        record_group_key_write(&out, key.group);
    else
        record_offset_key_write(&out, key.group, key.topic, key.partition);
    FUZZ_CHECK(!out.failed && record_key_read(bytebuf_slice(&out), &again));
    FUZZ_CHECK(again.kind == key.kind && slice_equal(again.group, key.group));
    FUZZ_CHECK(key.kind == RECORD_GROUP ||
               (slice_equal(again.topic, key.topic) && again.partition == key.partition));
    bytebuf_deinit(&out);
}

static void check_offset(struct slice bytes)
{
    struct offset_entry values;
    struct slice metadata = SLICE_NULL;
    if (!record_offset_value_read(bytes, &values, &metadata))
        return;
    FUZZ_CHECK(inside(bytes, metadata));
    struct bytebuf out;
    struct offset_entry again;
    struct slice metadata_again = SLICE_NULL;
    bytebuf_init(&out, 1 << 20);
    record_offset_value_write(&out, &values, metadata);
    FUZZ_CHECK(record_offset_value_read(bytebuf_slice(&out), &again, &metadata_again));
    FUZZ_CHECK(again.offset == values.offset && again.commit_ms == values.commit_ms);
    FUZZ_CHECK(slice_equal(metadata, metadata_again));
    bytebuf_deinit(&out);
}

/* A group without its coordinator: enough for its members. */
static void group_begin(struct group *group, struct groups_shard *gs)
{
    static struct shard shard;
    *group = (struct group){.gs = gs, .state = GROUP_EMPTY};
    gs->shard = &shard;
    list_init(&group->members);
    group->by_id = map_create(1000);
    group->by_instance = map_create(1000);
}

static void group_end(struct group *group)
{
    LIST_FOREACH_SAFE(node, &group->members)
    member_free(CONTAINER_OF(node, struct member, node));
    text_clear(&group->protocol_type);
    text_clear(&group->protocol);
    text_clear(&group->leader);
    map_destroy(group->by_id);
    map_destroy(group->by_instance);
}

static void check_group(struct slice bytes)
{
    struct groups_shard *gs = calloc(1, sizeof(*gs));
    struct group one;
    struct group two;
    struct bytebuf first;
    struct bytebuf second;
    bytebuf_init(&first, 64 << 20);
    bytebuf_init(&second, 64 << 20);
    group_begin(&one, gs);
    group_begin(&two, gs);
    if (record_group_value_read(bytes, &one)) {
        record_group_value_write(&first, &one, NULL, true);
        FUZZ_CHECK(!first.failed && record_group_value_read(bytebuf_slice(&first), &two));
        record_group_value_write(&second, &two, NULL, true);
        FUZZ_CHECK(slice_equal(bytebuf_slice(&first), bytebuf_slice(&second)));
    }
    group_end(&one);
    group_end(&two);
    bytebuf_deinit(&first);
    bytebuf_deinit(&second);
    free(gs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice copy = fuzz_copy(slice_make(data, size));
    check_key(copy);
    check_offset(copy);
    check_group(copy);
    fuzz_free(copy);
    return 0;
}
