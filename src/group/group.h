/*
 * Consumer groups, classic protocol: the coordinator's state machine and the committed offsets. No
 * wire format: a front hands over decoded requests and encodes the answers.
 *
 * A group belongs to the shard that owns its partition of __consumer_offsets. Calls may be made on
 * any shard; they are forwarded, and `done` runs on the calling shard, later, never inside the
 * call. Operations are embedded in the caller's request; everything they point to must live until
 * done. Pointers in answers are good until group_op_release, which must be called once after done.
 */
#ifndef WEIR_GROUP_GROUP_H
#define WEIR_GROUP_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/slice.h"
#include "io/shard.h"

struct broker;
struct groups;
struct groups_shard;

struct groups_config {
    int32_t session_timeout_min_ms;     /* 0: 6 s */
    int32_t session_timeout_max_ms;     /* 0: 30 min */
    int32_t initial_rebalance_delay_ms; /* default 0: at once */
    int32_t size_max;                   /* members of one group; 0: 10,000 */
    int64_t offsets_retention_ms;       /* 0: 7 days */
    int32_t offset_metadata_max;        /* 0: 4096 bytes */
    int64_t rewrite_bytes;              /* of records, before they are written anew; 0: 32 MiB */
    int32_t check_ms;                   /* between checks for expiry and rewriting; 0: 1 min */
};

enum {
    GROUP_ID_MAX = 4096,
    GROUPS_PER_SHARD_MAX = 100000,
    GROUP_MEMBER_METADATA_MAX = 1 << 20,
    GROUP_ASSIGNMENT_MAX = 1 << 20
};

/*
 * Makes the shards' parts and starts loading what the offsets topic holds; until then groups answer
 * ERR_COORDINATOR_LOADING. After broker_open. Shard: init.
 */
MUST_CHECK enum err groups_open(struct shards *shards, struct broker *broker,
                                const struct groups_config *config, struct groups **ret_groups,
                                struct err_info *info);
/* After the shards have stopped. */
void groups_close(struct groups *groups);
struct groups_shard *groups_shard_of(struct groups *groups, const struct shard *shard);
/* True when every coordinator has loaded. */
bool groups_ready(struct groups *groups);

enum group_state { GROUP_EMPTY, GROUP_PREPARING, GROUP_COMPLETING, GROUP_STABLE, GROUP_DEAD };
/* "Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead". */
const char *group_state_name(enum group_state state);

struct group_op;
typedef void (*group_done_fn)(struct group_op *op);

enum group_action {
    GROUP_JOIN,
    GROUP_SYNC,
    GROUP_HEARTBEAT,
    GROUP_LEAVE,
    GROUP_COMMIT,
    GROUP_FETCH_OFFSETS,
    GROUP_DESCRIBE,
    GROUP_LIST,
    GROUP_DELETE,
    GROUP_DELETE_OFFSETS
};

/* ---- join ---- */

struct group_protocol {
    struct slice name;
    struct slice metadata;
};

struct group_join_member {
    struct slice member_id;
    struct slice instance_id; /* data NULL: dynamic */
    struct slice metadata;
};

struct group_join {
    struct slice protocol_type;
    const struct group_protocol *protocols; /* in the member's order of preference */
    uint32_t protocol_count;
    int32_t session_timeout_ms;
    int32_t rebalance_timeout_ms; /* version 0: the session timeout */
    bool member_id_required;  /* version >= 4: an unknown dynamic member gets ERR_MEMBER_ID_REQUIRED
                                 and an id */
    bool may_skip_assignment; /* version >= 9 */
    struct slice client_id;
    struct slice client_host;
    /* answers (ERR_OK; member_id also with ERR_MEMBER_ID_REQUIRED) */
    int32_t generation;
    struct slice ret_protocol_type; /* data NULL when there is none */
    struct slice ret_protocol;
    struct slice leader_id;
    struct slice ret_member_id;
    bool skip_assignment;
    struct group_join_member *members; /* the leader's answer only */
    uint32_t member_count;
};

/* ---- sync ---- */

struct group_assignment {
    struct slice member_id;
    struct slice assignment;
};

struct group_sync {
    struct slice protocol_type; /* data NULL: not said */
    struct slice protocol;      /* data NULL: not said */
    const struct group_assignment *assignments;
    uint32_t assignment_count;
    /* answers */
    struct slice assignment;
    struct slice ret_protocol_type;
    struct slice ret_protocol;
};

/* ---- leave ---- */

struct group_leave_member {
    struct slice member_id;
    struct slice instance_id; /* data NULL: dynamic */
    enum err err;             /* answer */
};

struct group_leave {
    struct group_leave_member *members;
    uint32_t member_count;
};

/* ---- offsets ---- */

struct group_offset {
    struct slice topic;
    int32_t partition;
    int64_t offset;       /* fetch: -1 when there is none */
    int32_t leader_epoch; /* -1: not said */
    struct slice metadata;
    enum err err; /* answer */
};

struct group_commit {
    struct group_offset
        *offsets; /* answers go to err of each; entries with err set already are left alone */
    uint32_t offset_count;
    bool unknown_group_as_not_found; /* version >= 9: ERR_GROUP_ID_NOT_FOUND, else
                                        ERR_ILLEGAL_GENERATION */
    int64_t retention_ms;            /* versions 2-4; -1: the broker's */
};

struct group_fetch_offsets {
    /* asked for: answers are put in place; NULL with all set: the answer lists all that the group
     * has */
    struct group_offset *offsets;
    uint32_t offset_count;
    bool all;
};

/* ---- describe, list, delete ---- */

struct group_member_view {
    struct slice member_id;
    struct slice instance_id; /* data NULL: dynamic */
    struct slice client_id;
    struct slice client_host;
    struct slice metadata;
    struct slice assignment;
};

struct group_describe {
    enum group_state state; /* GROUP_DEAD: no such group (not an error) */
    struct slice protocol_type;
    struct slice protocol;
    struct group_member_view *members;
    uint32_t member_count;
    bool found;
};

struct group_view {
    struct slice group_id;
    struct slice protocol_type;
    enum group_state state;
};

struct group_list {
    uint32_t states; /* bits 1 << enum group_state; 0: all */
    struct group_view *groups;
    uint32_t group_count;
};

/* One request to one group (LIST: to all). */
struct group_op {
    enum group_action action;
    struct slice group_id;
    struct slice member_id;   /* empty: none */
    struct slice instance_id; /* data NULL: dynamic */
    int32_t generation;       /* sync, heartbeat, commit; -1: none */
    union {
        struct group_join join;
        struct group_sync sync;
        struct group_leave leave;
        struct group_commit commit;
        struct group_fetch_offsets fetch;
        struct group_describe describe;
        struct group_list list;
    };
    group_done_fn done;
    /* answers */
    enum err err;        /* of the whole request */
    struct arena *arena; /* holds the answers; private */
    /* private */
    struct shard_msg msg;
    struct groups *groups;
    struct shard *from;
    struct list_node node;
    void *ref;
    uint32_t waiting;
    int64_t retained[2];
};

/* Starts op. Join and sync may wait long; they end at the latest with the group's timers. */
void group_submit(struct groups_shard *gs, struct group_op *op);
/* Frees what the answers point to. Once, after done, on the calling shard. */
void group_op_release(struct group_op *op);
/* Memory that the answers hold until then. */
size_t group_op_bytes(const struct group_op *op);

/* ---- statistics ---- */

struct groups_stats {
    uint64_t groups;
    uint64_t members;
    uint64_t offsets;
    uint64_t rebalances;
    uint64_t commits;
};

/* Figures of one shard: relaxed atomic reads, any thread. */
void groups_stats_read(const struct groups_shard *gs, struct groups_stats *ret_stats);

#endif
