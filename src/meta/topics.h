/*
 * Topics as every shard sees them: immutable objects in an immutable, reference-counted set.
 *
 * A change (create, delete, new configuration) makes a new set that shares the unchanged topics;
 * each shard swaps its pointer when the message arrives. A pointer got from a set is good until the
 * caller returns to its reactor; take a reference to keep it longer. Counts are atomic: sets and
 * topics travel between shards.
 */
#ifndef WEIR_META_TOPICS_H
#define WEIR_META_TOPICS_H

#include <stdbool.h>
#include <stdint.h>

#include "meta/topic_config.h"
#include "meta/uuid.h"

enum {
    TOPIC_NAME_MAX = 249,
    TOPIC_PARTITIONS_MAX = 10000, /* of one topic */
    TOPICS_MAX = 100000
};

struct topic {
    struct uuid id;
    struct slice name; /* NUL-terminated behind its length */
    int32_t partition_count;
    bool internal; /* starts with "__" and made by the broker: clients may read, not write */
    int64_t created_ms;
    struct topic_values values;
    const struct topic_override *overrides; /* what was set, sorted by key */
    uint32_t override_count;
    /* private */
    uint32_t refs;
};

struct topic_set;

/* Copies everything. Overrides must have been checked. NULL: out of memory. One reference. */
struct topic *topic_make(struct uuid id, struct slice name, int32_t partition_count, bool internal,
                         int64_t created_ms, const struct topic_override *overrides,
                         uint32_t override_count);
struct topic *topic_ref(const struct topic *topic);
void topic_unref(const struct topic *topic);

/* ERR_INVALID_TOPIC unless 1-249 of [a-zA-Z0-9._-], not "." or "..". */
MUST_CHECK enum err topic_name_check(struct slice name, struct err_info *info);

struct topic_set *topic_set_make(void);
/* A set of many topics, whose references pass to it. Names and ids must be unique. NULL: out of
 * memory, the references stay with the caller. */
struct topic_set *topic_set_from(struct topic **topics, uint32_t count);
struct topic_set *topic_set_ref(struct topic_set *set);
void topic_set_unref(struct topic_set *set);
/* A copy with topic put (replacing one of the same name) or with the name removed. NULL: out of
 * memory. */
struct topic_set *topic_set_with(const struct topic_set *set, const struct topic *topic);
struct topic_set *topic_set_without(const struct topic_set *set, struct slice name);

uint32_t topic_set_count(const struct topic_set *set);
/* In order of name; index < count. */
const struct topic *topic_set_at(const struct topic_set *set, uint32_t index);
/* NULL when absent. */
const struct topic *topic_set_find(const struct topic_set *set, struct slice name);
const struct topic *topic_set_find_id(const struct topic_set *set, struct uuid id);
/* A topic whose name differs but equals this one after mapping '.' to '_'; NULL when there is none.
 */
const struct topic *topic_set_find_collision(const struct topic_set *set, struct slice name);

#endif
