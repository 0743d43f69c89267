/*
 * Topics and topic sets: immutable, shared by reference count.
 *
 * Picture: a topic is one block of memory (struct, name, overrides and their values behind one
 * another); a set is an array of topics sorted by name and one of the same sorted by id.
 *
 * Invariants:
 *  (1) Names in a set are unique and ascending, ids are unique.
 *  (2) A set holds one reference on each of its topics.
 *  (3) Nothing but the count changes after a topic or a set was made.
 *
 * Ownership: any shard, by reference. Failures: memory only; the source set is never harmed.
 */
#include "meta/topics.h"

#include <stdlib.h>

#include "base/assert.h"

struct topic_set {
    uint32_t refs;
    uint32_t count;
    const struct topic **by_name;
    const struct topic **by_id;
};

/* ---- topics ---- */

static int topic_override_order(const void *a, const void *b)
{
    const struct topic_override *x = a;
    const struct topic_override *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

struct topic *topic_make(struct uuid id, struct slice name, int32_t partition_count, bool internal,
                         int64_t created_ms, const struct topic_override *overrides,
                         uint32_t override_count)
{
    ASSERT(name.len > 0 && name.len <= TOPIC_NAME_MAX);
    ASSERT(partition_count > 0 && override_count <= TOPIC_CONFIG_COUNT);
    size_t size = sizeof(struct topic) + sizeof(struct topic_override) * override_count;
    size_t texts = name.len + 1;
    for (uint32_t i = 0; i < override_count; i++)
        texts += strlen(overrides[i].value) + 1;
    struct topic *topic = calloc(1, size + texts);
    if (!topic)
        return NULL;
    struct topic_override *copy = (struct topic_override *)(topic + 1);
    char *text = (char *)topic + size;
    memcpy(text, name.data, name.len);
    topic->id = id;
    topic->name = slice_make(text, name.len);
    topic->partition_count = partition_count;
    topic->internal = internal;
    topic->created_ms = created_ms;
    topic->overrides = copy;
    topic->override_count = override_count;
    topic->refs = 1;
    text += name.len + 1;
    for (uint32_t i = 0; i < override_count; i++) {
        size_t len = strlen(overrides[i].value) + 1;
        copy[i].key = overrides[i].key;
        copy[i].value = memcpy(text, overrides[i].value, len);
        text += len;
    }
    qsort(copy, override_count, sizeof(*copy), topic_override_order);
    topic_config_values(copy, override_count, &topic->values);
    ASSERT(text == (char *)topic + size + texts);
    return topic;
}

struct topic *topic_ref(const struct topic *topic)
{
    struct topic *t = (struct topic *)topic;
    uint32_t before = __atomic_fetch_add(&t->refs, 1, __ATOMIC_RELAXED);
    ASSERT(before > 0);
    return t;
}

void topic_unref(const struct topic *topic)
{
    struct topic *t = (struct topic *)topic;
    if (!t)
        return;
    uint32_t before = __atomic_fetch_sub(&t->refs, 1, __ATOMIC_ACQ_REL);
    ASSERT(before > 0);
    if (before == 1)
        free(t);
}

enum err topic_name_check(struct slice name, struct err_info *info)
{
    if (name.len == 0 || name.len > TOPIC_NAME_MAX)
        return err_info_set(info, ERR_INVALID_TOPIC, "a topic name has 1 to %d characters",
                            TOPIC_NAME_MAX);
    if (slice_equal(name, SLICE_LIT(".")) || slice_equal(name, SLICE_LIT("..")))
        return err_info_set(info, ERR_INVALID_TOPIC, "a topic cannot be named . or ..");
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
        if (!ok)
            return err_info_set(info, ERR_INVALID_TOPIC,
                                "a topic name may have letters, digits, '.', '_' and '-' only");
    }
    return ERR_OK;
}

/* ---- sets ---- */

static struct topic_set *topic_set_alloc(uint32_t count)
{
    struct topic_set *set = calloc(1, sizeof(*set));
    if (!set)
        return NULL;
    set->refs = 1;
    set->by_name = calloc(count ? count : 1, sizeof(void *));
    set->by_id = calloc(count ? count : 1, sizeof(void *));
    if (!set->by_name || !set->by_id) {
        free(set->by_name);
        free(set->by_id);
        free(set);
        return NULL;
    }
    return set;
}

struct topic_set *topic_set_make(void)
{
    return topic_set_alloc(0);
}

struct topic_set *topic_set_ref(struct topic_set *set)
{
    uint32_t before = __atomic_fetch_add(&set->refs, 1, __ATOMIC_RELAXED);
    ASSERT(before > 0);
    return set;
}

void topic_set_unref(struct topic_set *set)
{
    if (!set)
        return;
    uint32_t before = __atomic_fetch_sub(&set->refs, 1, __ATOMIC_ACQ_REL);
    ASSERT(before > 0);
    if (before > 1)
        return;
    for (uint32_t i = 0; i < set->count; i++)
        topic_unref(set->by_name[i]);
    free(set->by_name);
    free(set->by_id);
    free(set);
}

static int topic_id_order(struct uuid a, struct uuid b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes));
}

static int topic_order_by_name(const void *a, const void *b)
{
    const struct topic *const *x = a;
    const struct topic *const *y = b;
    return slice_compare((*x)->name, (*y)->name);
}

static int topic_order_by_id(const void *a, const void *b)
{
    const struct topic *const *x = a;
    const struct topic *const *y = b;
    return topic_id_order((*x)->id, (*y)->id);
}

struct topic_set *topic_set_from(struct topic **topics, uint32_t count)
{
    struct topic_set *set = topic_set_alloc(count);
    if (!set)
        return NULL;
    for (uint32_t i = 0; i < count; i++)
        set->by_name[i] = set->by_id[i] = topics[i];
    set->count = count;
    qsort(set->by_name, count, sizeof(void *), topic_order_by_name);
    qsort(set->by_id, count, sizeof(void *), topic_order_by_id);
    for (uint32_t i = 1; i < count; i++)
        ASSERT(slice_compare(set->by_name[i - 1]->name, set->by_name[i]->name) < 0); /* (1) */
    return set;
}

/* First position whose name is not below; *ret_found tells whether it is equal. */
static uint32_t topic_set_place(const struct topic_set *set, struct slice name, bool *ret_found)
{
    uint32_t low = 0;
    uint32_t high = set->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (slice_compare(set->by_name[mid]->name, name) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *ret_found = low < set->count && slice_equal(set->by_name[low]->name, name);
    return low;
}

static uint32_t topic_set_place_id(const struct topic_set *set, struct uuid id)
{
    uint32_t low = 0;
    uint32_t high = set->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (topic_id_order(set->by_id[mid]->id, id) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Copies from without the topic `gone` (may be NULL); references are taken. */
static struct topic_set *topic_set_copy(const struct topic_set *from, const struct topic *gone,
                                        uint32_t extra)
{
    struct topic_set *set = topic_set_alloc(from->count + extra);
    if (!set)
        return NULL;
    uint32_t ids = 0;
    for (uint32_t i = 0; i < from->count; i++) {
        if (from->by_name[i] != gone)
            set->by_name[set->count++] = topic_ref(from->by_name[i]);
        if (from->by_id[i] != gone)
            set->by_id[ids++] = from->by_id[i];
    }
    ASSERT(ids == set->count);
    return set;
}

struct topic_set *topic_set_with(const struct topic_set *from, const struct topic *topic)
{
    struct topic_set *set = topic_set_copy(from, topic_set_find(from, topic->name), 1);
    if (!set)
        return NULL;
    bool found = false;
    uint32_t at = topic_set_place(set, topic->name, &found);
    uint32_t at_id = topic_set_place_id(set, topic->id);
    ASSERT(!found); /* (1) */
    memmove(&set->by_name[at + 1], &set->by_name[at], sizeof(void *) * (set->count - at));
    memmove(&set->by_id[at_id + 1], &set->by_id[at_id], sizeof(void *) * (set->count - at_id));
    set->by_name[at] = topic_ref(topic);
    set->by_id[at_id] = topic;
    set->count++;
    return set;
}

struct topic_set *topic_set_without(const struct topic_set *from, struct slice name)
{
    return topic_set_copy(from, topic_set_find(from, name), 0);
}

uint32_t topic_set_count(const struct topic_set *set)
{
    ASSERT(set != NULL);
    return set->count;
}

const struct topic *topic_set_at(const struct topic_set *set, uint32_t index)
{
    ASSERT(index < set->count);
    return set->by_name[index];
}

const struct topic *topic_set_find(const struct topic_set *set, struct slice name)
{
    bool found = false;
    uint32_t at = topic_set_place(set, name, &found);
    ASSERT(at <= set->count);
    return found ? set->by_name[at] : NULL;
}

const struct topic *topic_set_find_id(const struct topic_set *set, struct uuid id)
{
    uint32_t at = topic_set_place_id(set, id);
    ASSERT(at <= set->count);
    return at < set->count && uuid_equal(set->by_id[at]->id, id) ? set->by_id[at] : NULL;
}

static bool topic_names_collide(struct slice a, struct slice b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        uint8_t x = a.data[i] == '.' ? '_' : a.data[i];
        uint8_t y = b.data[i] == '.' ? '_' : b.data[i];
        if (x != y)
            return false;
    }
    return true;
}

const struct topic *topic_set_find_collision(const struct topic_set *set, struct slice name)
{
    ASSERT(name.len > 0);
    for (uint32_t i = 0; i < set->count; i++) {
        const struct topic *topic = set->by_name[i];
        if (topic_names_collide(topic->name, name) && !slice_equal(topic->name, name))
            return topic;
    }
    return NULL;
}
