/*
 * Fetch sessions (KIP-227): the server remembers which partitions a consumer reads, so that a
 * request names only what changed and an answer only what has news. Shard: owner; a session is
 * known on the shard that made it.
 */
#ifndef WEIR_FRONT_KAFKA_FETCH_SESSION_H
#define WEIR_FRONT_KAFKA_FETCH_SESSION_H

#include "base/arena.h"
#include "base/list.h"
#include "base/slice.h"
#include "meta/uuid.h"

struct fetch_session;
struct fetch_sessions;
struct shard;

enum {
    FETCH_SESSIONS_MAX = 1000, /* per shard */
    FETCH_SESSION_PARTITIONS_MAX =
        20000, /* of one session; beyond, the consumer is served without one */
    FETCH_SESSION_IDLE_US = 120000000 /* a session silent for so long may be taken for a newcomer */
};

/* What is remembered of one partition. */
struct fetch_entry {
    struct list_node node; /* order of service */
    struct slice topic;    /* name, when the session goes by names; else the name seen when it was
                              added, or empty */
    struct uuid topic_id;  /* when the session goes by ids */
    int32_t partition;
    int64_t offset;
    int32_t max_bytes;
    int32_t leader_epoch;
    int64_t high_watermark; /* last told */
    int64_t log_start;      /* last told */
    char key[300];          /* of the map */
    size_t key_len;
};

/* NULL: out of memory. */
struct fetch_sessions *fetch_sessions_create(struct shard *shard);
void fetch_sessions_destroy(struct fetch_sessions *sessions);
/* A new session of epoch 1 for the next request; NULL when all slots are in use. */
struct fetch_session *fetch_session_create(struct fetch_sessions *sessions, bool by_id);
/* NULL: unknown, or forgotten. */
struct fetch_session *fetch_session_find(struct fetch_sessions *sessions, int32_t id);
void fetch_session_destroy(struct fetch_sessions *sessions, struct fetch_session *session);

int32_t fetch_session_id(const struct fetch_session *session);
bool fetch_session_by_id(const struct fetch_session *session);
/* True (and the next epoch is awaited) when epoch is the one awaited now. */
bool fetch_session_advance(struct fetch_sessions *sessions, struct fetch_session *session,
                           int32_t epoch);
uint32_t fetch_session_count(const struct fetch_session *session);
struct list_node *fetch_session_entries(struct fetch_session *session);

/* The entry, made at need at the end of the order; NULL: the session is full, or out of memory. */
struct fetch_entry *fetch_session_put(struct fetch_session *session, struct slice topic,
                                      struct uuid topic_id, int32_t partition);
/* NULL when absent. */
struct fetch_entry *fetch_session_get(struct fetch_session *session, struct slice topic,
                                      struct uuid topic_id, int32_t partition);
void fetch_session_forget(struct fetch_session *session, struct slice topic, struct uuid topic_id,
                          int32_t partition);
/* Behind all others: what was served last waits longest. */
void fetch_session_rotate(struct fetch_session *session, struct fetch_entry *entry);

#endif
