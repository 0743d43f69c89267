/*
 * Committed offsets: commit, fetch, delete, expiry.
 *
 * Picture: group->offsets maps "topic NUL partition" to an entry; the log of the offsets topic has
 * the same as records. A commit goes to the log first and enters the map when it is durable, so a
 * fetch never shows an offset that a crash could take back.
 *
 * Invariants:
 *  (1) An entry is in the map only after its record is durable (or came from the log).
 *  (2) Records of one group enter the map in the order of the log.
 *  (3) No offset expires while its consumer group is stable and subscribes the topic.
 *
 * Ownership: the coordinator's shard.
 *
 * Failures: the store fails: the commit answers ERR_COORDINATOR_NOT_AVAILABLE (clients repeat), the
 * map keeps the old values.
 */
#include <stdlib.h>

#include "base/diag.h"
#include "group/group_int.h"

enum { OFFSET_KEY_MAX = 256 + 5 };

static struct slice offset_key(uint8_t out[OFFSET_KEY_MAX], struct slice topic, int32_t partition)
{
    ASSERT(topic.len <= 256);
    memcpy(out, topic.data ? topic.data : (const uint8_t *)"", topic.len);
    out[topic.len] = 0;
    memcpy(out + topic.len + 1, &partition, sizeof(partition));
    return slice_make(out, topic.len + 1 + sizeof(partition));
}

static struct offset_entry *offset_find(const struct group *group, struct slice topic,
                                        int32_t partition)
{
    uint8_t key[OFFSET_KEY_MAX];
    if (topic.len > TOPIC_NAME_MAX)
        return NULL;
    return map_get(group->offsets, offset_key(key, topic, partition));
}

static void offset_entry_free(struct offset_entry *entry)
{
    text_clear(&entry->topic);
    text_clear(&entry->metadata);
    free(entry);
}

bool group_offset_put(struct group *group, struct slice topic, int32_t partition,
                      const struct offset_entry *values, struct slice metadata)
{
    uint8_t key[OFFSET_KEY_MAX];
    if (topic.len == 0 || topic.len > TOPIC_NAME_MAX)
        return false;
    struct offset_entry *entry = calloc(1, sizeof(*entry));
    if (!entry)
        return false;
    entry->offset = values->offset;
    entry->leader_epoch = values->leader_epoch;
    entry->commit_ms = values->commit_ms;
    entry->expire_ms = values->expire_ms;
    entry->partition = partition;
    struct offset_entry *old = offset_find(group, topic, partition);
    if (!text_set(&entry->topic, topic) ||
        !text_set(&entry->metadata, metadata.data ? metadata : SLICE_LIT("")) ||
        !map_put(group->offsets, offset_key(key, topic, partition), entry)) {
        offset_entry_free(entry);
        return false;
    }
    if (old)
        offset_entry_free(old);
    else
        group_counter_add(&group->gs->counters.offsets, 1);
    return true;
}

void group_offset_drop(struct group *group, struct slice topic, int32_t partition)
{
    uint8_t key[OFFSET_KEY_MAX];
    if (topic.len > TOPIC_NAME_MAX)
        return;
    struct offset_entry *entry = map_remove(group->offsets, offset_key(key, topic, partition));
    if (!entry)
        return;
    ASSERT(entry->partition == partition);
    group_counter_add(&group->gs->counters.offsets, UINT64_MAX);
    offset_entry_free(entry);
}

void group_offsets_free(struct group *group)
{
    size_t cursor = 0;
    struct slice key;
    void *value = NULL;
    if (!group->offsets)
        return;
    while (map_next(group->offsets, &cursor, &key, &value)) {
        ASSERT(value != NULL);
        group_counter_add(&group->gs->counters.offsets, UINT64_MAX);
        offset_entry_free(value);
    }
    map_destroy(group->offsets);
    group->offsets = NULL;
}

/* ---- commit ---- */

struct offsets_write {
    struct store_write write;
    struct groups_shard *gs;
    struct group *group;
    struct group_op *op;
    int64_t now_ms;
    bool drop; /* the offsets go, instead of being set */
};

static struct offset_entry commit_values(const struct group_op *op, const struct group_offset *o,
                                         int64_t now_ms)
{
    int64_t keep = op->commit.retention_ms;
    return (struct offset_entry){
        .offset = o->offset,
        .leader_epoch = o->leader_epoch,
        .commit_ms = now_ms,
        .expire_ms = keep >= 0 && keep < INT64_MAX - now_ms ? now_ms + keep : -1,
    };
}

static void offsets_stored(struct store_write *write, enum err err)
{
    struct offsets_write *w = CONTAINER_OF(write, struct offsets_write, write);
    struct group_op *op = w->op;
    struct group *group = w->group;
    for (uint32_t i = 0; i < op->commit.offset_count; i++) {
        struct group_offset *o = &op->commit.offsets[i];
        if (o->err)
            continue;
        if (err) {
            o->err = ERR_COORDINATOR_NOT_AVAILABLE;
            continue;
        }
        struct offset_entry values = commit_values(op, o, w->now_ms);
        if (w->drop)
            group_offset_drop(group, o->topic, o->partition);
        else if (!group_offset_put(group, o->topic, o->partition, &values, o->metadata))
            o->err = ERR_COORDINATOR_NOT_AVAILABLE;
    }
    ASSERT(group->writes > 0);
    group->writes--;
    group_counter_add(&w->gs->counters.commits, 1);
    group_answer(w->gs, op, ERR_OK);
    free(w);
    group_free_if_idle(group);
}

/* Puts the records of the offsets that passed their checks; returns how many. */
static uint32_t offsets_put(struct offsets_write *w)
{
    struct group_op *op = w->op;
    struct store *store = group_store(w->group);
    uint32_t count = 0;
    for (uint32_t i = 0; i < op->commit.offset_count; i++) {
        struct group_offset *o = &op->commit.offsets[i];
        if (o->err)
            continue;
        struct offset_entry values = commit_values(op, o, w->now_ms);
        enum err err = w->drop ? store_put_offset_gone(store, op->group_id, o->topic, o->partition)
                               : store_put_offset(store, op->group_id, o->topic, o->partition,
                                                  &values, o->metadata);
        if (err)
            o->err = ERR_COORDINATOR_NOT_AVAILABLE;
        else
            count++;
    }
    ASSERT(count <= op->commit.offset_count);
    return count;
}

static void offsets_write_start(struct group *group, struct group_op *op, bool drop)
{
    struct groups_shard *gs = group->gs;
    struct offsets_write *w = calloc(1, sizeof(*w));
    if (!w) {
        group_answer(gs, op, ERR_COORDINATOR_NOT_AVAILABLE);
        group_free_if_idle(group);
        return;
    }
    *w = (struct offsets_write){
        .gs = gs, .group = group, .op = op, .now_ms = groups_now_ms(gs), .drop = drop};
    if (offsets_put(w) == 0) {
        free(w);
        group_answer(gs, op, ERR_OK);
        group_free_if_idle(group);
        return;
    }
    group->writes++;
    ASSERT(group->writes > 0);
    store_wait(group_store(group), &w->write, offsets_stored, NULL);
}

static enum err commit_check_member(struct group *group, const struct group_op *op)
{
    struct member *by_instance = group_member_static(group, op->instance_id);
    struct member *member = group_member(group, op->member_id);
    if (op->generation < 0 && group->state == GROUP_EMPTY)
        return ERR_OK; /* a consumer that assigns itself */
    if (op->instance_id.data && !by_instance)
        return ERR_UNKNOWN_MEMBER;
    if (op->instance_id.data && by_instance != member)
        return ERR_FENCED_INSTANCE_ID;
    if (!member)
        return ERR_UNKNOWN_MEMBER;
    if (op->generation != group->generation)
        return ERR_ILLEGAL_GENERATION;
    if (group->state == GROUP_COMPLETING)
        return ERR_REBALANCE_IN_PROGRESS;
    ASSERT(group->state == GROUP_STABLE || group->state == GROUP_PREPARING);
    group_session_arm(member);
    return ERR_OK;
}

static void commit_check_offsets(struct groups_shard *gs, struct group_op *op)
{
    for (uint32_t i = 0; i < op->commit.offset_count; i++) {
        struct group_offset *o = &op->commit.offsets[i];
        if (o->err)
            continue;
        if (o->metadata.len > (size_t)gs->owner->config.offset_metadata_max)
            o->err = ERR_OFFSET_METADATA_TOO_LARGE;
        else if (o->topic.len == 0 || o->topic.len > TOPIC_NAME_MAX || o->partition < 0)
            o->err = ERR_UNKNOWN_TOPIC_OR_PARTITION;
        ASSERT(o->err != ERR_INTERNAL);
    }
}

void group_do_commit(struct groups_shard *gs, struct group_op *op)
{
    struct group *group = group_find(gs, op->group_id);
    enum err err = ERR_OK;
    if (op->group_id.len > GROUP_ID_MAX)
        err = ERR_INVALID_GROUP_ID;
    else if (group)
        err = commit_check_member(group, op);
    else if (op->generation >= 0)
        err =
            op->commit.unknown_group_as_not_found ? ERR_GROUP_ID_NOT_FOUND : ERR_ILLEGAL_GENERATION;
    else if (map_count(gs->groups) >= GROUPS_PER_SHARD_MAX ||
             !(group = group_make(gs, op->group_id)))
        err = ERR_COORDINATOR_NOT_AVAILABLE;
    if (err) {
        group_answer(gs, op, err);
        return;
    }
    ASSERT(group != NULL);
    commit_check_offsets(gs, op);
    offsets_write_start(group, op, false);
}

/* ---- fetch ---- */

static void fetch_fill(struct group_op *op, struct group_offset *o,
                       const struct offset_entry *entry, bool *failed)
{
    o->offset = entry ? entry->offset : -1;
    o->leader_epoch = entry ? entry->leader_epoch : -1;
    o->metadata = entry ? group_op_copy(op, text_slice(entry->metadata), failed) : SLICE_LIT("");
    ASSERT(o->offset >= -1);
}

static int fetch_order(const void *a, const void *b)
{
    const struct group_offset *x = a;
    const struct group_offset *y = b;
    int order = slice_compare(x->topic, y->topic);
    return order ? order : (x->partition > y->partition) - (x->partition < y->partition);
}

static bool fetch_all(struct group *group, struct group_op *op)
{
    struct arena *arena = group_op_arena(op);
    size_t cursor = 0;
    struct slice key;
    void *value = NULL;
    bool failed = false;
    uint32_t count = (uint32_t)map_count(group->offsets);
    op->fetch.offset_count = 0;
    op->fetch.offsets = arena ? ARENA_ARRAY(arena, struct group_offset, count) : NULL;
    if (!op->fetch.offsets)
        return false;
    while (map_next(group->offsets, &cursor, &key, &value)) {
        const struct offset_entry *entry = value;
        struct group_offset *o = &op->fetch.offsets[op->fetch.offset_count++];
        o->topic = group_op_copy(op, text_slice(entry->topic), &failed);
        o->partition = entry->partition;
        fetch_fill(op, o, entry, &failed);
    }
    ASSERT(op->fetch.offset_count == count);
    qsort(op->fetch.offsets, count, sizeof(*op->fetch.offsets), fetch_order);
    return !failed;
}

void group_do_fetch_offsets(struct groups_shard *gs, struct group_op *op)
{
    struct group *group = group_find(gs, op->group_id);
    bool failed = false;
    if (op->fetch.all) {
        op->fetch.offsets = NULL;
        op->fetch.offset_count = 0;
        failed = group && !fetch_all(group, op);
    } else {
        for (uint32_t i = 0; i < op->fetch.offset_count; i++) {
            struct group_offset *o = &op->fetch.offsets[i];
            const struct offset_entry *entry =
                group ? offset_find(group, o->topic, o->partition) : NULL;
            fetch_fill(op, o, entry, &failed);
        }
    }
    ASSERT(op->fetch.offsets || op->fetch.offset_count == 0);
    group_answer(gs, op, failed ? ERR_NO_MEMORY : ERR_OK);
}

/* ---- deletion ---- */

static uint32_t read_u16(const uint8_t *p)
{
    return ((uint32_t)p[0] << 8) | p[1];
}

/* Whether a subscription of the embedded consumer protocol names the topic: int16 version, array
 * of int16-length strings. Malformed bytes name nothing. */
static bool subscription_names(struct slice metadata, struct slice topic)
{
    size_t at = 6;
    if (metadata.len < at)
        return false;
    uint32_t count = (read_u16(metadata.data + 2) << 16) | read_u16(metadata.data + 4);
    for (uint32_t i = 0; i < count; i++) {
        if (metadata.len - at < 2)
            return false;
        uint32_t len = read_u16(metadata.data + at);
        at += 2;
        if (len > metadata.len - at)
            return false;
        if (slice_equal(slice_make(metadata.data + at, len), topic))
            return true;
        at += len;
        ASSERT(at <= metadata.len);
    }
    return false;
}

bool group_subscribes(const struct group *group, struct slice topic)
{
    if (!slice_equal(text_slice(group->protocol_type), SLICE_LIT("consumer")))
        return false;
    LIST_FOREACH(node, &group->members)
    {
        struct member *member = CONTAINER_OF(node, struct member, node);
        ASSERT(member->group == group);
        for (uint32_t i = 0; i < member->protocol_count; i++) {
            if (subscription_names(text_slice(member->protocols[i].metadata), topic))
                return true;
        }
    }
    return false;
}

void group_do_delete_offsets(struct groups_shard *gs, struct group_op *op)
{
    struct group *group = group_find(gs, op->group_id);
    if (!group) {
        group_answer(gs, op, ERR_GROUP_ID_NOT_FOUND);
        return;
    }
    if (group->member_count &&
        !slice_equal(text_slice(group->protocol_type), SLICE_LIT("consumer"))) {
        group_answer(gs, op, ERR_NON_EMPTY_GROUP);
        return;
    }
    for (uint32_t i = 0; i < op->commit.offset_count; i++) {
        struct group_offset *o = &op->commit.offsets[i];
        if (!o->err && group->member_count && group_subscribes(group, o->topic))
            o->err = ERR_GROUP_SUBSCRIBED;
    }
    ASSERT(op->action == GROUP_DELETE_OFFSETS);
    commit_check_offsets(gs, op);
    offsets_write_start(group, op, true);
}

/* Drops an entry with its tombstone; nobody waits for it. */
static void offset_retire(struct group *group, struct offset_entry *entry)
{
    ASSERT(entry->topic.data != NULL);
    if (store_put_offset_gone(group_store(group), text_slice(group->id), text_slice(entry->topic),
                              entry->partition))
        return; /* the log refuses: keep it, the next check tries again */
    group_offset_drop(group, text_slice(entry->topic), entry->partition);
}

static bool offset_expired(const struct group *group, const struct offset_entry *entry,
                           int64_t now_ms)
{
    int64_t keep = group->gs->owner->config.offsets_retention_ms;
    bool consumer = group->protocol_type.data != NULL;
    if (entry->expire_ms >= 0)
        return now_ms >= entry->expire_ms;
    if (!consumer)
        return now_ms - entry->commit_ms >= keep;
    if (group->state == GROUP_EMPTY) {
        int64_t since = group->state_ms > entry->commit_ms ? group->state_ms : entry->commit_ms;
        return now_ms - since >= keep;
    }
    /* A rebalance may be without members for a while: those that were given an id have yet to come. */
    ASSERT(group->member_count > 0 || group->state == GROUP_PREPARING);
    return group->state == GROUP_STABLE && now_ms - entry->commit_ms >= keep &&
           !group_subscribes(group, text_slice(entry->topic)); /* (3) */
}

static void group_expire(struct group *group, int64_t now_ms)
{
    size_t cursor = 0;
    struct slice key;
    void *value = NULL;
    if (group->writes > 0)
        return; /* a commit on its way would be older in the log than the tombstone made now */
    while (map_next(group->offsets, &cursor, &key, &value)) {
        if (offset_expired(group, value, now_ms))
            offset_retire(group, value);
    }
    bool idle = group->state == GROUP_EMPTY && map_count(group->offsets) == 0 &&
                map_count(group->pending) == 0;
    if (!idle)
        return;
    if (store_put_group_gone(group_store(group), text_slice(group->id)) == ERR_OK)
        group_free(group);
}

void group_offsets_expire(struct groups_shard *gs)
{
    size_t cursor = 0;
    struct slice key;
    void *value = NULL;
    int64_t now_ms = groups_now_ms(gs);
    while (map_next(gs->groups, &cursor, &key, &value)) {
        struct group *group = value;
        ASSERT(group->gs == gs);
        if (group_store(group)->state == STORE_READY)
            group_expire(group, now_ms);
    }
}

void group_offsets_topic_deleted(struct groups_shard *gs, struct slice topic)
{
    size_t group_cursor = 0;
    struct slice key;
    void *value = NULL;
    while (map_next(gs->groups, &group_cursor, &key, &value)) {
        struct group *group = value;
        size_t cursor = 0;
        void *entry = NULL;
        ASSERT(group->gs == gs);
        while (map_next(group->offsets, &cursor, &key, &entry)) {
            if (slice_equal(text_slice(((struct offset_entry *)entry)->topic), topic))
                offset_retire(group, entry);
        }
    }
}
