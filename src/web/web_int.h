/* Shared by the files of the HTTP glue. */
#ifndef WEIR_WEB_WEB_INT_H
#define WEIR_WEB_WEB_INT_H

#include <stdatomic.h>

#include "base/bytebuf.h"
#include "base/list.h"
#include "io/reactor.h"
#include "io/shard.h"
#include "io/stream.h"
#include "web/web.h"

enum {
    WEB_INPUT_LIMIT = 256 * 1024,
    WEB_ARENA_LIMIT = 16 * 1024 * 1024,
    WEB_HEAD_OUT_LIMIT = 64 * 1024,
    WEB_DRAIN_KEEP = 1024 * 1024, /* unread body that is worth keeping a connection for */
    WEB_DRAIN_MAX =
        256 * 1024 * 1024, /* unread body swallowed before a close, so that the answer arrives */
    WEB_CONNECTIONS_MAX = 1000,
    WEB_TURN_AWAY_MAX = 64, /* refusals under way above the limit of connections */
    WEB_IDLE_US = 75 * 1000 * 1000,
    WEB_HEAD_US = 20 * 1000 * 1000,
    WEB_BODY_US = 30 * 1000 * 1000,
    WEB_BODY_MIN = 4096, /* bytes of an awaited body that must come in that time */
    WEB_WATCH_MAX_US = 1000 * 1000,
    WEB_WATCH_MIN_US = 10 * 1000,
    WEB_STOP_US = 4 * 1000 * 1000 /* what requests under way get at a stop before they are cut */
};

struct web_shard {
    struct web_server *server;
    struct shard *shard;
    struct list_node conns;
    struct shard_stop stop;
    struct timer stop_deadline;
    struct timer watch; /* looks at all connections while there are any */
    bool stopping;
};

struct web_server {
    struct web_config config;
    struct shards *shards;
    struct shard_listener *listener;
    unsigned shard_count;
    struct web_shard *per_shard;
    _Atomic uint64_t connections;
    _Atomic uint64_t requests;
    _Atomic uint64_t refused;
    _Atomic uint64_t turned_away;
    _Atomic uint64_t timed_out;
};

/* What a connection is doing. Transitions: HEAD -> BUSY -> (DRAIN ->) HEAD, and from each to
 * CLOSING. */
enum web_conn_state {
    WEB_CONN_HEAD,   /* waits for a head */
    WEB_CONN_BUSY,   /* the request is with the handler */
    WEB_CONN_DRAIN,  /* answered; swallows what is left of the body */
    WEB_CONN_CLOSING /* the stream has been told to close */
};

/* What the peer owes a connection; see web_watch.c. */
enum web_debt { WEB_DEBT_NONE, WEB_DEBT_REQUEST, WEB_DEBT_HEAD, WEB_DEBT_BODY, WEB_DEBT_TAKING };

struct web_watch {
    enum web_debt debt;
    uint64_t since_us;
    uint64_t requests; /* value of web_conn.requests at since_us */
    uint64_t bytes;    /* value of web_conn.body_bytes then */
    size_t pending;    /* output that waited when it was last looked at */
};

struct web_conn {
    struct web_shard *owner;
    struct stream *stream;
    struct list_node node;
    enum web_conn_state state;
    struct web_request *req; /* the one being served; its memory is reused for the next */
    struct web_watch watch;
    size_t scanned;
    uint64_t requests;   /* heads so far */
    uint64_t body_bytes; /* consumed so far, of all bodies */
    uint64_t drained;
    bool close_after; /* no further request */
    bool eof;         /* the peer sends no more; what came before is served */
    bool paused;      /* what the stream was told last */
    bool advancing;   /* web_conn_advance is on the stack */
};

enum web_answer_state { WEB_ANSWER_NONE, WEB_ANSWER_HEAD, WEB_ANSWER_STREAM, WEB_ANSWER_DONE };

struct web_request {
    struct web_conn *conn; /* NULL: the connection is lost */
    struct web_shard *owner;
    struct arena *arena;
    struct http_head head;

    struct http_body body;
    bool body_started;
    bool body_over; /* on_end has been called, or there is none to call */
    size_t window;
    web_data_fn on_data;
    web_end_fn on_end;
    void *body_arg;
    struct bytebuf collected; /* web_body_collect */
    web_collect_fn on_collect;
    void *collect_arg;

    enum web_answer_state answer;
    struct bytebuf out;
    uint64_t stream_left;
    web_end_fn on_room;
    void *room_arg;
};

/* web_conn.c */
void web_conn_accept(struct shard *shard, struct conn *conn, void *arg);
/* Goes on with whatever the connection can do next. */
void web_conn_advance(struct web_conn *conn);
/* The request's answer is complete. */
void web_conn_request_done(struct web_conn *conn);
/* Ends the connection when it is idle, else after its request. */
void web_conn_stop(struct web_conn *conn);
/* Ends the connection now; a request under way is lost. */
void web_conn_cut(struct web_conn *conn);
/* Whether the handler wants body bytes now. */
bool web_conn_reading(const struct web_conn *conn);
/* Answers with the refusal and closes; the connection must be in HEAD. */
void web_conn_refuse(struct web_conn *conn, const struct http_refusal *refusal);
/* Closes when the pending output is out; not in BUSY. */
void web_conn_close(struct web_conn *conn);

/* web_watch.c */
void web_watch_init(struct web_shard *part);
/* A connection was added. */
void web_watch_begin(struct web_shard *part, struct web_conn *conn);

/* The shard's last connection is gone during a stop. */
void web_shard_stopped(struct web_shard *part);

/* web_request.c */
struct web_request *web_request_create(struct web_shard *owner);
void web_request_destroy(struct web_request *req);
/* Clears everything but memory. */
void web_request_reset(struct web_request *req);
/* Feeds input to the body; returns what was consumed. *ret_blocked: nothing more can be done now.
 */
size_t web_request_feed(struct web_request *req, struct slice input, bool *ret_blocked);
/* The body will not be completed. */
void web_request_cut(struct web_request *req, enum err err);
/* The connection is gone. */
void web_request_lost(struct web_request *req);
void web_request_room(struct web_request *req, enum err err);

#endif
