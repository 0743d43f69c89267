/*
 * Keys and values of __consumer_offsets, in Kafka's own layout, so that tools which read that topic
 * understand ours.
 *
 *     key 1: int16 1, string group, string topic, int32 partition
 *         value 3: int16 3, int64 offset, int32 leader epoch, string metadata, int64 commit time
 *         value 1: int16 1, int64 offset, string metadata, int64 commit time, int64 expiry time
 *     key 2: int16 2, string group
 *         value 3: int16 3, string protocol type, int32 generation, nullable string protocol,
 *                  nullable string leader, int64 state time, array of members:
 *                  string id, nullable string instance, string client id, string client host,
 *                  int32 rebalance timeout, int32 session timeout, bytes subscription, bytes
 *                  assignment
 *
 * strings have an int16 length, bytes and arrays an int32; all big-endian.
 *
 * Invariants: (1) readers take any bytes and never pass their end; (2) what a writer makes, the
 * reader of the same version takes.
 *
 * Ownership: pure functions over buffers of the caller. Failures: malformed bytes read as false; a
 * full buffer is sticky in the bytebuf.
 */
#include "group/group_int.h"

struct cursor {
    struct slice rest;
    bool failed;
};

static struct slice cursor_take(struct cursor *c, size_t len)
{
    if (c->failed || len > c->rest.len) {
        c->failed = true;
        return SLICE_NULL;
    }
    struct slice taken = slice_make(c->rest.data, len);
    c->rest = slice_make(c->rest.data + len, c->rest.len - len);
    return taken;
}

static uint64_t cursor_uint(struct cursor *c, size_t size)
{
    struct slice bytes = cursor_take(c, size);
    uint64_t value = 0;
    ASSERT(size <= 8);
    for (size_t i = 0; i < bytes.len; i++)
        value = (value << 8) | bytes.data[i];
    return value;
}

static int16_t cursor_i16(struct cursor *c)
{
    return (int16_t)cursor_uint(c, 2);
}

static int32_t cursor_i32(struct cursor *c)
{
    return (int32_t)cursor_uint(c, 4);
}

static int64_t cursor_i64(struct cursor *c)
{
    return (int64_t)cursor_uint(c, 8);
}

/* data NULL: the string is null (or the cursor failed). */
static struct slice cursor_string(struct cursor *c)
{
    int16_t len = cursor_i16(c);
    if (len < 0)
        return SLICE_NULL;
    struct slice text = cursor_take(c, (size_t)len);
    return text.data || c->failed ? text : SLICE_LIT("");
}

static struct slice cursor_bytes(struct cursor *c)
{
    int32_t len = cursor_i32(c);
    if (len < 0)
        return SLICE_NULL;
    return cursor_take(c, (size_t)len);
}

static void put_uint(struct bytebuf *out, uint64_t value, unsigned size)
{
    uint8_t bytes[8];
    ASSERT(size <= sizeof(bytes));
    for (unsigned i = 0; i < size; i++)
        bytes[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
    bytebuf_append(out, bytes, size);
}

static void put_string(struct bytebuf *out, struct slice text)
{
    if (!text.data || text.len > INT16_MAX) {
        put_uint(out, UINT16_MAX, 2); /* null; nothing longer is let in */
        return;
    }
    put_uint(out, text.len, 2);
    bytebuf_append_slice(out, text);
}

static void put_bytes(struct bytebuf *out, struct slice bytes)
{
    ASSERT(bytes.len <= INT32_MAX);
    put_uint(out, bytes.len, 4);
    bytebuf_append_slice(out, bytes);
}

/* ---- keys ---- */

bool record_key_read(struct slice key, struct record_key *ret_key)
{
    struct cursor c = {.rest = key};
    int16_t version = cursor_i16(&c);
    *ret_key = (struct record_key){.kind = RECORD_UNKNOWN, .partition = -1};
    if (version > 2 || version < 0)
        return !c.failed;
    ret_key->group = cursor_string(&c);
    if (version < 2) {
        ret_key->kind = RECORD_OFFSET;
        ret_key->topic = cursor_string(&c);
        ret_key->partition = cursor_i32(&c);
    } else {
        ret_key->kind = RECORD_GROUP;
    }
    return !c.failed && ret_key->group.data && (version == 2 || ret_key->topic.data);
}

void record_offset_key_write(struct bytebuf *out, struct slice group, struct slice topic,
                             int32_t partition)
{
    ASSERT(topic.data != NULL);
    put_uint(out, 1, 2);
    put_string(out, group.data ? group : SLICE_LIT(""));
    put_string(out, topic);
    put_uint(out, (uint32_t)partition, 4);
}

void record_group_key_write(struct bytebuf *out, struct slice group)
{
    ASSERT(group.data != NULL);
    put_uint(out, 2, 2);
    put_string(out, group);
}

/* ---- offsets ---- */

void record_offset_value_write(struct bytebuf *out, const struct offset_entry *values,
                               struct slice metadata)
{
    bool expires = values->expire_ms >= 0;
    if (!metadata.data)
        metadata = SLICE_LIT("");
    put_uint(out, expires ? 1 : 3, 2);
    put_uint(out, (uint64_t)values->offset, 8);
    if (!expires)
        put_uint(out, (uint32_t)values->leader_epoch, 4);
    put_string(out, metadata);
    put_uint(out, (uint64_t)values->commit_ms, 8);
    if (expires)
        put_uint(out, (uint64_t)values->expire_ms, 8);
    ASSERT(out->failed || out->len > 0);
}

bool record_offset_value_read(struct slice value, struct offset_entry *ret, struct slice *ret_meta)
{
    struct cursor c = {.rest = value};
    int16_t version = cursor_i16(&c);
    if (version < 0 || version > 3)
        return false;
    *ret = (struct offset_entry){.leader_epoch = -1, .expire_ms = -1};
    ret->offset = cursor_i64(&c);
    if (version >= 3)
        ret->leader_epoch = cursor_i32(&c);
    *ret_meta = cursor_string(&c);
    ret->commit_ms = cursor_i64(&c);
    if (version == 1)
        ret->expire_ms = cursor_i64(&c);
    ASSERT(c.failed || c.rest.len <= value.len);
    return !c.failed;
}

/* ---- groups ---- */

static struct slice assignment_of(const struct member *member, const struct group_sync *sync)
{
    if (!sync)
        return text_slice(member->assignment);
    for (uint32_t i = 0; i < sync->assignment_count; i++) {
        if (slice_equal(sync->assignments[i].member_id, text_slice(member->id)))
            return sync->assignments[i].assignment;
    }
    return SLICE_LIT("");
}

void record_group_value_write(struct bytebuf *out, const struct group *group,
                              const struct group_sync *sync, bool members)
{
    put_uint(out, 3, 2);
    put_string(out, group->protocol_type.data ? text_slice(group->protocol_type) : SLICE_LIT(""));
    put_uint(out, (uint32_t)group->generation, 4);
    put_string(out, members ? text_slice(group->protocol) : SLICE_NULL);
    put_string(out, members ? text_slice(group->leader) : SLICE_NULL);
    put_uint(out, (uint64_t)group->state_ms, 8);
    put_uint(out, members ? group->member_count : 0, 4);
    if (!members)
        return;
    LIST_FOREACH(node, &group->members)
    {
        struct member *member = CONTAINER_OF(node, struct member, node);
        const struct group_proto *proto = member_protocol(member, text_slice(group->protocol));
        ASSERT(member->id.data != NULL);
        put_string(out, text_slice(member->id));
        put_string(out, text_slice(member->instance));
        put_string(out, member->client_id.data ? text_slice(member->client_id) : SLICE_LIT(""));
        put_string(out, member->client_host.data ? text_slice(member->client_host) : SLICE_LIT(""));
        put_uint(out, (uint32_t)member->rebalance_timeout_ms, 4);
        put_uint(out, (uint32_t)member->session_timeout_ms, 4);
        put_bytes(out, proto ? text_slice(proto->metadata) : SLICE_LIT(""));
        put_bytes(out, assignment_of(member, sync));
    }
}

/* One member of a stored group; its only known protocol is the chosen one. */
static bool record_member_read(struct cursor *c, struct group *group, int16_t version)
{
    struct group_protocol proto = {.name = text_slice(group->protocol)};
    struct group_join join = {.protocols = &proto, .protocol_count = proto.name.data ? 1 : 0};
    struct slice id = cursor_string(c);
    struct slice instance = version >= 3 ? cursor_string(c) : SLICE_NULL;
    join.client_id = cursor_string(c);
    join.client_host = cursor_string(c);
    int32_t rebalance = version >= 1 ? cursor_i32(c) : -1;
    join.session_timeout_ms = cursor_i32(c);
    join.rebalance_timeout_ms = version >= 1 ? rebalance : join.session_timeout_ms;
    proto.metadata = cursor_bytes(c);
    struct slice assignment = cursor_bytes(c);
    if (c->failed || !id.data || join.session_timeout_ms < 0 || join.rebalance_timeout_ms < 0)
        return false;
    if (group_member(group, id) || group_member_static(group, instance))
        return false;
    struct member *member = member_make(group, id, instance, &join);
    if (!member)
        return false;
    member->fresh = false;
    ASSERT(member->group == group);
    return text_set(&member->assignment, assignment.data ? assignment : SLICE_LIT(""));
}

bool record_group_value_read(struct slice value, struct group *group)
{
    struct cursor c = {.rest = value};
    int16_t version = cursor_i16(&c);
    ASSERT(group->member_count == 0);
    if (version < 0 || version > 3)
        return false;
    struct slice protocol_type = cursor_string(&c);
    group->generation = cursor_i32(&c);
    struct slice protocol = cursor_string(&c);
    struct slice leader = cursor_string(&c);
    if (version >= 2)
        group->state_ms = cursor_i64(&c);
    int32_t count = cursor_i32(&c);
    if (c.failed || count < 0 || group->generation < 0 || group->generation == INT32_MAX)
        return false; /* the last: there must be a next one */
    if (!protocol_type.len)
        protocol_type = SLICE_NULL; /* a group of offsets alone */
    if (count > 0 && !protocol_type.data)
        return false;
    if (!text_set(&group->protocol_type, protocol_type) || !text_set(&group->protocol, protocol) ||
        !text_set(&group->leader, leader))
        return false;
    for (int32_t i = 0; i < count; i++) {
        if (!record_member_read(&c, group, version))
            return false;
    }
    return true;
}
