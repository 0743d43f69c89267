/* Inside the Kafka front: connections, requests in flight and what the handlers share. */
#ifndef WEIR_FRONT_KAFKA_KAFKA_INT_H
#define WEIR_FRONT_KAFKA_KAFKA_INT_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/bytebuf.h"
#include "base/iobuf.h"
#include "base/list.h"
#include "broker/broker.h"
#include "front/kafka/kafka.h"
#include "group/group.h"
#include "io/shard.h"
#include "io/stream.h"
#include "kafka_apis.h"
#include "wire/cursor.h"

enum {
    KAFKA_FRAME_MAX = 100 * 1024 * 1024,     /* a longer request closes the connection */
    KAFKA_INFLIGHT_MAX = 256,                /* requests of one connection taken but not answered */
    KAFKA_INFLIGHT_BYTES = 16 * 1024 * 1024, /* their bytes; a single larger frame is still taken */
    KAFKA_SHARD_BYTES = 256 * 1024 * 1024,   /* the same over all connections of a shard */
    KAFKA_REQUEST_ARENA = 64 * 1024 * 1024,  /* memory of one request besides its frame */
    KAFKA_RESPONSE_MAX = 64 * 1024 * 1024,   /* bytes of one answer that are not spliced */
    KAFKA_SMALL_FRAME = 256 * 1024,          /* so much every connection may have of a frame */
    KAFKA_LARGE_BYTES = 256 * 1024 * 1024,   /* larger frames not yet whole, of a shard */
    KAFKA_LARGE_IDLE_US = 30000000, /* silence in a larger frame that ends the connection */
    KAFKA_BACKLOG_BYTES = 256 * 1024 * 1024, /* answers that peers are slow to take, of a shard */
    KAFKA_BACKLOG_FETCH = 1024 * 1024,       /* bytes of a fetch beyond that */
    KAFKA_COPY_MAX = 16 * 1024, /* frames up to here are copied, so that they pin no block */
    KAFKA_POOL_MAX = 64,        /* idle requests kept per shard */
    KAFKA_HOST_MAX = 256,
    KAFKA_CLIENT_ID_MAX = 512
};

struct fetch_sessions;
struct kafka_request;

/* One per shard. */
struct kafka_shard {
    struct front_kafka *front;
    struct shard *shard;
    struct broker_shard *bs;
    struct groups_shard *gs;
    struct list_node conns;
    uint32_t conn_count;
    size_t inflight_bytes;    /* frames of all requests taken and not yet let go */
    struct list_node starved; /* connections paused by KAFKA_SHARD_BYTES, longest first */
    size_t large_bytes;       /* reserved by connections for large frames that are coming in */
    struct list_node crowded; /* connections that wait to reserve, longest first */
    size_t backlog_bytes;     /* output of connections above their out_high */
    struct hook resume;
    struct list_node pool; /* idle requests */
    uint32_t pool_count;
    struct fetch_sessions *sessions;
    struct shard_stop stop;
    bool stopping;
    _Atomic uint64_t refused;
    _Atomic uint64_t waiting; /* in starved or crowded */
    _Atomic uint64_t requests;
    _Atomic uint64_t request_errors;
};

struct front_kafka {
    struct shards *shards;
    struct broker *broker;
    struct groups *groups;
    struct front_kafka_config config;
    char advertised_host[KAFKA_HOST_MAX]; /* empty: what the client dialled */
    int32_t node_id;
    uint64_t idle_us;
    uint32_t connections_max;
    _Atomic uint32_t connections; /* open, on all shards */
    struct shard_listener *listener;
    struct kafka_shard *parts; /* one per shard */
    uint32_t part_count;
};

/* ---- connections (conn.c) ---- */

struct kafka_conn {
    struct list_node node;
    struct kafka_shard *ks;
    struct stream *stream;
    struct list_node starved;  /* in a list of the shard, or self-linked */
    uint32_t reserved;         /* for the large frame that is coming in; 0: none */
    uint32_t wanted;           /* to be reserved, while in the list crowded */
    size_t backlog;            /* what counts in the shard's backlog_bytes */
    struct list_node requests; /* in order of arrival; answered from the front */
    uint32_t inflight;
    size_t inflight_bytes;
    uint32_t running;       /* started and not answered by a handler yet */
    bool running_exclusive; /* one of them excludes all others */
    bool running_fetch;     /* one of them is a fetch */
    bool paused;            /* reading stopped by the limits above */
    bool ending;            /* close once what is done has been written */
    bool closed;            /* stream_close was called */
    bool progressing;       /* inside kafka_conn_progress: no second one */
    bool progress_again;
    char host[KAFKA_HOST_MAX]; /* what to tell this client as our address */
    uint16_t port;
    char peer[64]; /* "/127.0.0.1", as group members are shown */
};

/* A request's answer is complete: writes out what is ready in order, starts what waited. */
void kafka_conn_progress(struct kafka_conn *conn);
/* Nothing more is read; what is answered already goes out, then the connection closes. */
void kafka_conn_end(struct kafka_conn *conn);

/* ---- their limits (conn_limits.c) ---- */

void kafka_shard_limits_init(struct kafka_shard *ks);
/* Something was let go: whoever waits for room goes on at the end of the turn. */
void kafka_shard_wake(struct kafka_shard *ks);
/* Whether another request may be taken; if not, reading stops until kafka_conn_resume. */
bool kafka_conn_may_read(struct kafka_conn *conn);
/* Reads on unless a limit is still reached. */
void kafka_conn_resume(struct kafka_conn *conn);
/* Room for a frame of len bytes that has not come whole; false: reading stops until there is. */
bool kafka_conn_reserve(struct kafka_conn *conn, uint32_t len);
/* The frame has come whole: what it holds is counted as a request's from now on. */
void kafka_conn_reserved_done(struct kafka_conn *conn);
/* Output was queued, or has drained. */
void kafka_conn_backlog_note(struct kafka_conn *conn);
/* The connection is gone. */
void kafka_conn_limits_leave(struct kafka_conn *conn);

/* ---- requests (request.c) ---- */

enum kafka_request_state { KAFKA_WAITING, KAFKA_RUNNING, KAFKA_DONE };

struct kafka_request {
    struct list_node node;
    struct kafka_shard *ks;
    struct kafka_conn *conn; /* NULL once the peer is gone: the answer is dropped */
    struct arena *arena;
    struct iobuf_range pin; /* the frame, when it was not copied */
    size_t frame_size;
    enum kafka_request_state state;
    const struct kafka_handler *handler;
    int16_t key;
    int16_t version;
    int32_t correlation;
    struct slice client_id; /* data NULL: none */
    struct wire_reader body;
    bool silent; /* acks=0: no answer is written */
    struct bytebuf out;
    struct wire_writer writer;
    void (*cancel)(
        struct kafka_request *req); /* the peer is gone; may hasten the end. May be NULL */
    void (*cleanup)(struct kafka_request *req); /* before the memory goes. May be NULL */
    void *state_of_api;                         /* the handler's, in the arena */
};

/* NULL: out of memory. */
struct kafka_request *kafka_request_create(struct kafka_shard *ks);
void kafka_request_destroy(struct kafka_request *req);
void kafka_request_pool_drain(struct kafka_shard *ks);
/* Reads the request header from the body cursor. False: malformed. */
MUST_CHECK bool kafka_request_header(struct kafka_request *req);
/* Finds the handler; answers an unknown ApiVersions version itself. False: close the connection. */
MUST_CHECK bool kafka_request_route(struct kafka_request *req);

/* Starts the answer: length, correlation id and, in flexible versions, empty tags. */
struct wire_writer *kafka_reply_begin(struct kafka_request *req);
/* Completes it. The request may be gone when this returns. */
void kafka_reply_end(struct kafka_request *req);
/* Ends a request that is not answered (acks=0). */
void kafka_reply_none(struct kafka_request *req);
/* The request cannot be answered: the connection is closed with a diagnostic. The request may be
 * gone after. */
void kafka_request_reject(struct kafka_request *req, const char *why);

/* Decodes the body into *msg of the API, or rejects the request and returns from the handler. */
#define KAFKA_DECODE(req, api, msg)                                                                \
    kafka_##api##_request_decode(&(req)->body, (req)->version, (req)->arena, (msg))

/* ---- handlers: one file per API ---- */

enum kafka_handler_class {
    KAFKA_OVERLAP,     /* may run beside others of this class of the same connection */
    KAFKA_FETCH_CLASS, /* the same, but one fetch at a time */
    KAFKA_EXCLUSIVE    /* waits for all before it, and those behind wait for it */
};

struct kafka_handler {
    int16_t key;
    int16_t version_min;
    int16_t version_max;
    enum kafka_handler_class class;
    void (*handle)(struct kafka_request *req);
};

const struct kafka_handler *kafka_handlers(uint32_t *ret_count);

void kafka_handle_api_versions(struct kafka_request *req);
/* The answer to a version of ApiVersions that we do not know: version 0 with error 35. */
void kafka_reply_api_versions_unsupported(struct kafka_request *req);
void kafka_handle_create_topics(struct kafka_request *req);
void kafka_handle_delete_groups(struct kafka_request *req);
void kafka_handle_delete_topics(struct kafka_request *req);
void kafka_handle_describe_cluster(struct kafka_request *req);
void kafka_handle_describe_configs(struct kafka_request *req);
void kafka_handle_describe_groups(struct kafka_request *req);
void kafka_handle_fetch(struct kafka_request *req);
void kafka_handle_find_coordinator(struct kafka_request *req);
void kafka_handle_heartbeat(struct kafka_request *req);
void kafka_handle_init_producer_id(struct kafka_request *req);
void kafka_handle_join_group(struct kafka_request *req);
void kafka_handle_leave_group(struct kafka_request *req);
void kafka_handle_list_groups(struct kafka_request *req);
void kafka_handle_list_offsets(struct kafka_request *req);
void kafka_handle_metadata(struct kafka_request *req);
void kafka_handle_offset_commit(struct kafka_request *req);
void kafka_handle_offset_fetch(struct kafka_request *req);
void kafka_handle_offset_for_leader_epoch(struct kafka_request *req);
void kafka_handle_produce(struct kafka_request *req);
void kafka_handle_sync_group(struct kafka_request *req);

/* ---- errors (codes.c) ---- */

/* Kafka's codes that our handlers decide themselves. */
enum kafka_code {
    KAFKA_NONE = 0,
    KAFKA_UNKNOWN_TOPIC_OR_PARTITION = 3,
    KAFKA_NOT_LEADER = 6,
    KAFKA_REQUEST_TIMED_OUT = 7,
    KAFKA_COORDINATOR_NOT_AVAILABLE = 15,
    KAFKA_INVALID_TOPIC = 17,
    KAFKA_INVALID_REQUIRED_ACKS = 21,
    KAFKA_INCONSISTENT_GROUP_PROTOCOL = 23,
    KAFKA_UNSUPPORTED_VERSION = 35,
    KAFKA_INVALID_CONFIG = 40,
    KAFKA_INVALID_REPLICA_ASSIGNMENT = 39,
    KAFKA_INVALID_REPLICATION_FACTOR = 38,
    KAFKA_INVALID_REQUEST = 42,
    KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53,
    KAFKA_STORAGE_ERROR = 56,
    KAFKA_FETCH_SESSION_ID_NOT_FOUND = 70,
    KAFKA_INVALID_FETCH_SESSION_EPOCH = 71,
    KAFKA_FENCED_LEADER_EPOCH = 74,
    KAFKA_UNSUPPORTED_COMPRESSION_TYPE = 76,
    KAFKA_INVALID_RECORD = 87,
    KAFKA_UNKNOWN_TOPIC_ID = 100,
    KAFKA_INCONSISTENT_TOPIC_ID = 103,
    KAFKA_FETCH_SESSION_TOPIC_ID_ERROR = 106,
    KAFKA_MISMATCHED_ENDPOINT_TYPE = 114,
    KAFKA_UNSUPPORTED_ENDPOINT_TYPE = 115
};

/* For calls that touch partitions: whatever may pass by itself becomes a code that clients retry.
 */
int16_t kafka_code_of(enum err err);
/* For calls to a group coordinator. */
int16_t kafka_code_of_group(enum err err);

/* ---- shared by several handlers (topics.c) ---- */

static inline struct wire_uuid kafka_uuid_out(struct uuid id)
{
    struct wire_uuid out;
    memcpy(out.bytes, id.bytes, sizeof(out.bytes));
    return out;
}

static inline struct uuid kafka_uuid_in(struct wire_uuid id)
{
    struct uuid out;
    memcpy(out.bytes, id.bytes, sizeof(out.bytes));
    return out;
}

/*
 * The topic by name, or by id when by_id. NULL: *ret_code says why (3 or 100).
 */
const struct topic *kafka_topic_find(struct kafka_request *req, bool by_id, struct slice name,
                                     struct wire_uuid id, int16_t *ret_code);
/* Something that a request may name once: a text, or a text and a number. */
struct kafka_name {
    struct slice text;
    int32_t number;
    uint32_t index; /* in the request; each once, below the count */
};

/* By index, whether the request names it more than once. Sorts names. NULL: the arena is full. */
bool *kafka_repeats(struct arena *arena, struct kafka_name *names, size_t count);
/* 22 characters of the cluster id, in the request's arena. */
struct slice kafka_cluster_id(struct kafka_request *req);
/* Bit fields of operations that everybody may do while there is no authorizer. */
enum {
    KAFKA_TOPIC_OPERATIONS = 3576,
    KAFKA_CLUSTER_OPERATIONS = 8096,
    KAFKA_GROUP_OPERATIONS = 328
};

/* One configuration of a topic or of the broker as clients see it. */
struct kafka_config_view {
    struct slice name;
    struct slice value;
    struct slice broker_name; /* synonym; data NULL: none */
    struct slice default_value;
    struct slice text;
    int8_t type;
    int8_t source; /* 1 topic, 4 static broker, 5 default */
    bool read_only;
};

enum { KAFKA_SOURCE_TOPIC = 1, KAFKA_SOURCE_STATIC_BROKER = 4, KAFKA_SOURCE_DEFAULT = 5 };

/* All TOPIC_CONFIG_COUNT configurations. NULL: out of memory. */
struct kafka_config_view *kafka_topic_configs(struct arena *arena, const struct topic *topic);
/* The broker's. NULL: out of memory. */
struct kafka_config_view *kafka_broker_configs(struct kafka_request *req, uint32_t *ret_count);

#endif
