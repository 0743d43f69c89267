/*
 * Role: the memory behind incremental fetches.
 *
 *     sessions: id -> session (epoch awaited, order of entries, map key -> entry), in order of last
 * use key of an entry: topic name or 16 bytes of id, then the partition as 4 bytes
 *
 * Invariants: (1) an id names at most one session, is positive, and is not used again soon; (2) the
 * epoch awaited runs 1, 2, ... 2147483647, 1; (3) an entry is in the map exactly when it is in the
 * order; (4) sessions <= FETCH_SESSIONS_MAX, entries <= FETCH_SESSION_PARTITIONS_MAX.
 *
 * Ownership: one shard. Nothing outside keeps a pointer across a turn: requests look sessions up
 * again. Failure modes: no slot or no memory means that the consumer is served without a session,
 * which is legal.
 */
#include "front/kafka/fetch_session.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/map.h"
#include "io/reactor.h"
#include "io/shard.h"

struct fetch_session {
    struct list_node node; /* least recently used first */
    int32_t id;
    int32_t epoch; /* awaited */
    bool by_id;
    uint64_t used_us;
    struct list_node entries;
    struct map *map;
};

struct fetch_sessions {
    struct shard *shard;
    struct map *by_id;
    struct list_node order;
};

static struct slice id_key(const int32_t *id)
{
    return slice_make(id, sizeof(*id));
}

struct fetch_sessions *fetch_sessions_create(struct shard *shard)
{
    struct fetch_sessions *sessions = calloc(1, sizeof(*sessions));
    if (!sessions)
        return NULL;
    sessions->shard = shard;
    sessions->by_id = map_create(FETCH_SESSIONS_MAX);
    if (!sessions->by_id) {
        free(sessions);
        return NULL;
    }
    list_init(&sessions->order);
    return sessions;
}

void fetch_session_destroy(struct fetch_sessions *sessions, struct fetch_session *session)
{
    void *removed = map_remove(sessions->by_id, id_key(&session->id));
    ASSERT(removed == session);
    list_remove(&session->node);
    struct list_node *node;
    while ((node = list_pop_front(&session->entries)))
        free(CONTAINER_OF(node, struct fetch_entry, node));
    map_destroy(session->map);
    free(session);
}

void fetch_sessions_destroy(struct fetch_sessions *sessions)
{
    if (!sessions)
        return;
    while (!list_empty(&sessions->order))
        fetch_session_destroy(
            sessions, CONTAINER_OF(list_front(&sessions->order), struct fetch_session, node));
    ASSERT(map_count(sessions->by_id) == 0);
    map_destroy(sessions->by_id);
    free(sessions);
}

struct fetch_session *fetch_session_create(struct fetch_sessions *sessions, bool by_id)
{
    uint64_t now_us = reactor_now_us(sessions->shard->reactor);
    if (map_count(sessions->by_id) >= FETCH_SESSIONS_MAX) {
        struct fetch_session *oldest =
            CONTAINER_OF(list_front(&sessions->order), struct fetch_session, node);
        if (now_us - oldest->used_us < FETCH_SESSION_IDLE_US)
            return NULL;
        fetch_session_destroy(sessions, oldest);
    }
    struct fetch_session *session = calloc(1, sizeof(*session));
    if (!session)
        return NULL;
    session->map = map_create(FETCH_SESSION_PARTITIONS_MAX);
    do
        session->id = (int32_t)(1 + random_below(&sessions->shard->random, INT32_MAX));
    while (map_get(sessions->by_id, id_key(&session->id)));
    if (!session->map || !map_put(sessions->by_id, id_key(&session->id), session)) {
        map_destroy(session->map);
        free(session);
        return NULL;
    }
    ASSERT(session->id > 0 && map_count(sessions->by_id) <= FETCH_SESSIONS_MAX);
    session->epoch = 1;
    session->by_id = by_id;
    session->used_us = now_us;
    list_init(&session->entries);
    list_push_back(&sessions->order, &session->node);
    return session;
}

struct fetch_session *fetch_session_find(struct fetch_sessions *sessions, int32_t id)
{
    return map_get(sessions->by_id, id_key(&id));
}

int32_t fetch_session_id(const struct fetch_session *session)
{
    return session->id;
}

bool fetch_session_by_id(const struct fetch_session *session)
{
    return session->by_id;
}

bool fetch_session_advance(struct fetch_sessions *sessions, struct fetch_session *session,
                           int32_t epoch)
{
    ASSERT(session->epoch > 0);
    if (epoch != session->epoch)
        return false;
    session->epoch = epoch == INT32_MAX ? 1 : epoch + 1;
    session->used_us = reactor_now_us(sessions->shard->reactor);
    list_remove(&session->node);
    list_push_back(&sessions->order, &session->node);
    return true;
}

uint32_t fetch_session_count(const struct fetch_session *session)
{
    return (uint32_t)map_count(session->map);
}

struct list_node *fetch_session_entries(struct fetch_session *session)
{
    return &session->entries;
}

/* False: the name is longer than any topic's. */
static bool entry_key(const struct fetch_session *session, struct slice topic, struct uuid topic_id,
                      int32_t partition, char out[300], size_t *ret_len)
{
    struct slice head = session->by_id ? slice_make(topic_id.bytes, sizeof(topic_id.bytes)) : topic;
    if (head.len > 300 - sizeof(partition))
        return false;
    if (head.len)
        memcpy(out, head.data, head.len);
    memcpy(out + head.len, &partition, sizeof(partition));
    *ret_len = head.len + sizeof(partition);
    ASSERT(*ret_len <= 300);
    return true;
}

struct fetch_entry *fetch_session_get(struct fetch_session *session, struct slice topic,
                                      struct uuid topic_id, int32_t partition)
{
    char key[300];
    size_t len;
    if (!entry_key(session, topic, topic_id, partition, key, &len))
        return NULL;
    return map_get(session->map, slice_make(key, len));
}

struct fetch_entry *fetch_session_put(struct fetch_session *session, struct slice topic,
                                      struct uuid topic_id, int32_t partition)
{
    struct fetch_entry *entry = fetch_session_get(session, topic, topic_id, partition);
    if (entry)
        return entry;
    entry = calloc(1, sizeof(*entry) + topic.len);
    if (!entry)
        return NULL;
    uint8_t *name = (uint8_t *)(entry + 1);
    if (!entry_key(session, topic, topic_id, partition, entry->key, &entry->key_len) ||
        !map_put(session->map, slice_make(entry->key, entry->key_len), entry)) {
        free(entry);
        return NULL;
    }
    if (topic.len)
        memcpy(name, topic.data, topic.len);
    entry->topic = slice_make(name, topic.len);
    entry->topic_id = topic_id;
    entry->partition = partition;
    entry->high_watermark = entry->log_start = INT64_MIN;
    list_push_back(&session->entries, &entry->node);
    return entry;
}

void fetch_session_forget(struct fetch_session *session, struct slice topic, struct uuid topic_id,
                          int32_t partition)
{
    struct fetch_entry *entry = fetch_session_get(session, topic, topic_id, partition);
    if (!entry)
        return;
    void *removed = map_remove(session->map, slice_make(entry->key, entry->key_len));
    ASSERT(removed == entry);
    list_remove(&entry->node);
    free(entry);
}

void fetch_session_rotate(struct fetch_session *session, struct fetch_entry *entry)
{
    list_remove(&entry->node);
    list_push_back(&session->entries, &entry->node);
}
