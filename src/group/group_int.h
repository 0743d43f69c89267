/* What the files of the group coordinator share. */
#ifndef WEIR_GROUP_GROUP_INT_H
#define WEIR_GROUP_GROUP_INT_H

#include <stdatomic.h>

#include "base/bytebuf.h"
#include "base/list.h"
#include "base/map.h"
#include "broker/broker.h"
#include "group/group.h"
#include "io/reactor.h"
#include "seglog/batch.h"

enum {
    GROUP_NEW_MEMBER_JOIN_MS = 5 * 60 * 1000, /* patience with a member that never joined fully */
    GROUP_MEMBER_PROTOCOLS_MAX = 64,
    GROUP_OFFSETS_MAX = 200000, /* of one group */
    GROUP_PENDING_MAX = 10000,  /* ids given out and not yet used, of one group */
    GROUP_ANSWER_MAX = 256 << 20,
    STORE_BATCH_MAX = 1 << 20
};

/* A short owned text; data NULL: none. */
struct group_text {
    char *data;
    uint32_t len;
};

struct group_proto {
    struct group_text name;
    struct group_text metadata;
};

/* A member of a group. join and sync: the request that is parked, if any. */
struct member {
    struct list_node node; /* in order of joining */
    struct group *group;
    struct group_text id;
    struct group_text instance;
    struct group_text client_id;
    struct group_text client_host;
    struct group_text assignment;
    struct group_proto *protocols;
    uint32_t protocol_count;
    int32_t session_timeout_ms;
    int32_t rebalance_timeout_ms;
    struct group_op *join;
    struct group_op *sync;
    bool fresh;  /* has not completed a join */
    bool synced; /* has asked for this generation's assignment */
    struct timer session;
};

/* A member id given out with ERR_MEMBER_ID_REQUIRED and not used yet. */
struct pending_member {
    struct group *group;
    struct group_text id;
    struct timer timer;
};

struct offset_entry {
    int64_t offset;
    int32_t leader_epoch;
    int32_t partition;
    int64_t commit_ms;
    int64_t expire_ms; /* of an explicit retention; -1: the broker's */
    struct group_text topic;
    struct group_text metadata;
};

struct group {
    struct groups_shard *gs;
    struct group_text id;
    int32_t store_partition;
    enum group_state state;
    int32_t generation;
    struct group_text protocol_type;
    struct group_text protocol;
    struct group_text leader;
    struct list_node members;
    uint32_t member_count;
    uint32_t join_count; /* members with a parked join */
    struct map *by_id;
    struct map *by_instance;
    struct map *pending;
    struct map *offsets;
    struct timer join_timer; /* PREPARING: the end of the join phase */
    struct timer sync_timer; /* COMPLETING: members that never sync */
    int64_t initial_left_ms; /* of the extended initial delay; -1: not in it */
    bool joined_in_delay;
    int32_t storing;  /* the leader's assignment is on its way to the log */
    int64_t state_ms; /* when the state changed last */
    uint32_t writes;  /* of this group under way: it must not be freed */
};

/* ---- store.c: records in __consumer_offsets ---- */

struct store_write;
typedef void (*store_done_fn)(struct store_write *write, enum err err);

/* Waits for the records added just before it. */
struct store_write {
    struct list_node node;
    store_done_fn done;
    void *ctx;
};

struct store_load;

enum store_state { STORE_LOADING, STORE_READY, STORE_FAILED };

/* One partition of the offsets topic, on its owner. */
struct store {
    struct groups_shard *gs;
    int32_t partition;
    enum store_state state;
    struct batch_builder builder;
    struct store_append *next; /* takes the builder's batch; NULL: the builder is empty */
    struct hook hook;
    uint32_t appends;         /* under way, those of a rewrite included */
    uint64_t append_number;   /* of the next one */
    uint64_t failed_below;    /* appends with smaller numbers count as failed */
    uint64_t bytes_since;     /* written since the last rewrite */
    uint64_t rewrite_bytes;   /* what that one wrote */
    bool rewrite_wanted;      /* flushes are held until nothing is under way */
    bool rewriting;           /* the rewrite is on its way to the log, or the trim behind it */
    bool rewrite_failed;      /* something is missing in it: the log before it must stay */
    uint32_t rewrite_appends; /* of the rewrite, under way */
    int64_t rewrite_first;    /* offset of its first record, -1: not known yet */
    struct broker_trim_op trim;
    struct store_load *load;
    struct list_node deferred; /* operations that came while loading */
};

struct groups_counters {
    _Atomic uint64_t groups;
    _Atomic uint64_t members;
    _Atomic uint64_t offsets;
    _Atomic uint64_t rebalances;
    _Atomic uint64_t commits;
};

struct groups_shard {
    struct groups *owner;
    struct shard *shard;
    struct broker_shard *bs;
    struct random ids; /* for members */
    struct map *groups;
    struct store **stores; /* by partition; NULL: another shard's */
    uint32_t loading;
    bool stopping;
    struct shard_stop stop;
    struct timer expire;
    struct broker_topic_watch topic_watch;
    struct groups_counters counters;
};

struct groups {
    struct groups_config config;
    struct broker *broker;
    struct shards *shards;
    struct uuid topic_id;
    int32_t store_count;
    unsigned shard_count;
    struct groups_shard *parts[SHARD_MAX];
    _Atomic uint32_t loading;
};

static inline void group_counter_add(_Atomic uint64_t *counter, uint64_t more)
{
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + more, memory_order_relaxed);
}

static inline struct slice text_slice(struct group_text text)
{
    return slice_make(text.data, text.len);
}
/* false: out of memory, *text unchanged. A slice with data NULL makes "none". */
MUST_CHECK bool text_set(struct group_text *text, struct slice value);
void text_clear(struct group_text *text);

/* ---- group_object.c ---- */

struct group *group_find(struct groups_shard *gs, struct slice id);
/* Makes an empty group. NULL: limit or memory. */
struct group *group_make(struct groups_shard *gs, struct slice id);
/* Frees a group without members, pending members and writes. */
void group_free(struct group *group);
/* Frees it when nothing is left in it to know: no members, no offsets. */
void group_free_if_idle(struct group *group);
void group_state_set(struct group *group, enum group_state state);
struct member *group_member(const struct group *group, struct slice id);
struct member *group_member_static(const struct group *group, struct slice instance);
/* Makes a member of what a join says. NULL: memory. */
struct member *member_make(struct group *group, struct slice id, struct slice instance,
                           const struct group_join *join);
/* Takes the protocols and timeouts of a join. false: memory. */
MUST_CHECK bool member_update(struct member *member, const struct group_join *join);
/* Same protocols with the same metadata in the same order. */
bool member_protocols_same(const struct member *member, const struct group_join *join);
const struct group_proto *member_protocol(const struct member *member, struct slice name);
/* Changes the id of a static member. false: memory. */
MUST_CHECK bool member_rename(struct member *member, struct slice id);
/* Unlinks and frees; its parked requests must have been answered. */
void member_free(struct member *member);
bool group_pending_has(const struct group *group, struct slice id);
/* Remembers an id given out. false: limit or memory. */
MUST_CHECK bool group_pending_add(struct group *group, struct slice id, int32_t timeout_ms);
void group_pending_drop(struct group *group, struct slice id);
/* DASSERTs what must always hold of a group. */
void group_check(const struct group *group);

/* ---- group_phase.c: transitions and timers ---- */

void group_rebalance(struct group *group);
void group_join_try_complete(struct group *group);
/* Answers the member's parked requests with err, removes it, and lets the group react. */
void group_member_remove(struct member *member, enum err why);
void group_session_arm(struct member *member);
void group_session_stop(struct member *member);
void group_answer_join(struct member *member, struct group_op *op);
void group_phase_sync_arm(struct group *group);
void group_answer_sync(struct member *member, enum err err);
void group_syncs_answer(struct group *group, enum err err);
/* Name that wins the members' votes; none: data NULL. */
struct slice group_protocol_vote(const struct group *group);
void group_init_timers(struct group *group);
void member_init_timers(struct member *member);
void pending_init_timer(struct pending_member *pending, int32_t timeout_ms);

/* ---- requests: one function each, on the coordinator ---- */

void group_do_join(struct groups_shard *gs, struct group_op *op);
void group_do_sync(struct groups_shard *gs, struct group_op *op);
void group_do_heartbeat(struct groups_shard *gs, struct group_op *op);
void group_do_leave(struct groups_shard *gs, struct group_op *op);
void group_do_commit(struct groups_shard *gs, struct group_op *op);
void group_do_fetch_offsets(struct groups_shard *gs, struct group_op *op);
void group_do_describe(struct groups_shard *gs, struct group_op *op);
void group_do_list(struct groups_shard *gs, struct group_op *op);
void group_do_delete(struct groups_shard *gs, struct group_op *op);
void group_do_delete_offsets(struct groups_shard *gs, struct group_op *op);

/* ---- groups.c ---- */

/* Sends op back to its shard with err. */
void group_answer(struct groups_shard *gs, struct group_op *op, enum err err);
/* The operation's arena, made at need; NULL: memory. */
struct arena *group_op_arena(struct group_op *op);
/* Copies into the operation's arena; sets *failed when memory is out. NULL stays NULL. */
struct slice group_op_copy(struct group_op *op, struct slice bytes, bool *failed);
int32_t groups_store_of(const struct groups *groups, struct slice group_id);
struct store *group_store(const struct group *group);
int64_t groups_now_ms(const struct groups_shard *gs);
/* The store has been loaded, or cannot be: operations that waited for it go on. */
void groups_store_loaded(struct store *store);

/* ---- group_offsets.c ---- */

/* Puts one offset, as a commit or the load says. false: limit or memory. */
MUST_CHECK bool group_offset_put(struct group *group, struct slice topic, int32_t partition,
                                 const struct offset_entry *values, struct slice metadata);
void group_offset_drop(struct group *group, struct slice topic, int32_t partition);
void group_offsets_free(struct group *group);
/* Expires offsets and idle groups of the shard. */
void group_offsets_expire(struct groups_shard *gs);
/* A topic was deleted: its offsets go. */
void group_offsets_topic_deleted(struct groups_shard *gs, struct slice topic);
/* Whether a consumer-protocol group's members name the topic in their subscriptions. */
bool group_subscribes(const struct group *group, struct slice topic);

/* ---- group_store.c ---- */

struct store *store_create(struct groups_shard *gs, int32_t partition);
void store_destroy(struct store *store);
/* Adds a record to the batch that leaves at the end of the turn. A failure is told to the next
 * store_wait. value NULL: a tombstone. */
MUST_CHECK enum err store_put(struct store *store, struct slice key, struct slice value);
/* done comes when all records put so far are durable, or not. */
void store_wait(struct store *store, struct store_write *write, store_done_fn done, void *ctx);
/* The group's metadata (members; assignments NULL: those that they have), or its tombstone. */
MUST_CHECK enum err store_put_group(struct store *store, const struct group *group,
                                    const struct group_sync *assignments);
MUST_CHECK enum err store_put_group_gone(struct store *store, struct slice group_id);
MUST_CHECK enum err store_put_offset(struct store *store, struct slice group_id, struct slice topic,
                                     int32_t partition, const struct offset_entry *values,
                                     struct slice metadata);
MUST_CHECK enum err store_put_offset_gone(struct store *store, struct slice group_id,
                                          struct slice topic, int32_t partition);
/* Writes all that the partition's groups know anew and gives up what was before, when the log has
 * grown enough. */
void store_rewrite_if_due(struct store *store);

/* ---- group_load.c ---- */

/* Reads the partition from its start; operations wait until it is ready. */
void store_load_start(struct store *store);

/* ---- group_record.c: Kafka's key and value layouts ---- */

enum record_kind { RECORD_OFFSET, RECORD_GROUP, RECORD_UNKNOWN };

struct record_key {
    enum record_kind kind;
    struct slice group;
    struct slice topic;
    int32_t partition;
};

/* Reads a key of the offsets topic; RECORD_UNKNOWN for versions not known. false: malformed. */
MUST_CHECK bool record_key_read(struct slice key, struct record_key *ret_key);
void record_offset_key_write(struct bytebuf *out, struct slice group, struct slice topic,
                             int32_t partition);
void record_group_key_write(struct bytebuf *out, struct slice group);
void record_offset_value_write(struct bytebuf *out, const struct offset_entry *values,
                               struct slice metadata);
MUST_CHECK bool record_offset_value_read(struct slice value, struct offset_entry *ret_values,
                                         struct slice *ret_metadata);
/* assignments NULL: those that the members have. Without members: as an empty group. */
void record_group_value_write(struct bytebuf *out, const struct group *group,
                              const struct group_sync *assignments, bool members);
/* Fills an empty group from a value. false: malformed or memory. */
MUST_CHECK bool record_group_value_read(struct slice value, struct group *group);

#endif
