/*
 * HTTP connections for the fronts: the parser of wire/http.h on the streams of io/stream.h.
 *
 * A handler gets one request at a time per connection; pipelined ones wait their turn in the input.
 * It reads the body if it wants to, under a window that it opens itself, and answers once: a whole
 * answer, or a head followed by pieces. A request lives from on_request until its answer is
 * finished, even when the connection is lost meanwhile: then calls on it do nothing, and the
 * handler still has to finish it. So asynchronous work may keep the pointer.
 *
 * Level 3: above io and wire, which it joins; the fronts that use it do not know each other.
 */
#ifndef WEIR_WEB_WEB_H
#define WEIR_WEB_WEB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/iobuf.h"
#include "base/slice.h"
#include "wire/http.h"

struct arena;
struct bytebuf;
struct shard;
struct shards;
struct web_request;
struct web_server;

/* Runs when a head is complete; the request is to be answered now or later. Shard: that of the
 * connection. */
typedef void (*web_request_fn)(struct web_request *req, void *arg);
/* Answers what is no request (a bad head): adds fields to head and returns the body, in the arena.
 */
typedef struct slice (*web_refuse_fn)(struct arena *arena, const struct http_refusal *refusal,
                                      struct bytebuf *head);

struct web_config {
    const char *host;
    uint16_t port;
    const char *server_name; /* value of the Server field */
    /*
     * Connections open at once in the process; 0: 1,000. One more is told 503 and closed, and when
     * many such answers are under way, closed without a word.
     */
    uint32_t connections_max;
    uint64_t idle_us;   /* between requests, and for answers that nobody takes; 0: 75 s */
    uint64_t head_us;   /* from the first byte of a head to its end; 0: 20 s */
    uint64_t body_us;   /* in which some KiB of an awaited body must come; 0: 30 s */
    size_t arena_limit; /* bytes one request may hold; 0: 16 MiB */
    web_request_fn on_request;
    web_refuse_fn on_refuse; /* NULL: a line of plain text */
    void *arg;
};

/* Listens; connections go to the shards in turn. Strings must outlive the server. Shard: init. */
MUST_CHECK enum err web_server_open(struct shards *shards, const struct web_config *config,
                                    struct web_server **ret_server, struct err_info *info);
const char *web_server_address(const struct web_server *server);
/* After the shards have stopped. NULL is allowed. Shard: init. */
void web_server_close(struct web_server *server);

struct web_stats {
    uint64_t connections; /* open now */
    uint64_t requests;
    uint64_t refused;     /* bad heads */
    uint64_t turned_away; /* connections above the limit */
    uint64_t timed_out;   /* connections ended by a deadline */
};
/* Any thread. */
void web_server_stats(const struct web_server *server, struct web_stats *ret_stats);

/* ---- the request; Shard: owner ---- */

const struct http_head *web_head(const struct web_request *req);
/* Lives as long as the request. */
struct arena *web_arena(const struct web_request *req);
struct shard *web_shard(const struct web_request *req);
/* False: nobody will read an answer. */
bool web_alive(const struct web_request *req);

/* ---- its body ---- */

/* Bytes of the body; they do not outlive the call. Never more than the window has left. */
typedef void (*web_data_fn)(struct web_request *req, struct slice bytes, void *arg);
/* The body is complete (ERR_OK), malformed (ERR_INVALID_REQUEST), cut off (ERR_CONNECTION_LOST) or
 * too slow (ERR_TIMEOUT). */
typedef void (*web_end_fn)(struct web_request *req, enum err err, void *arg);

/* Wants the body, at most once; asks the client to go on when it waits for that. Nothing flows
 * before a window. */
void web_body_start(struct web_request *req, web_data_fn on_data, web_end_fn on_end, void *arg);
/* Lets at most that many more bytes come (replaces what was left of the window). 0 holds the sender
 * back. */
void web_body_window(struct web_request *req, size_t bytes);

typedef void (*web_collect_fn)(struct web_request *req, enum err err, struct slice body, void *arg);
/* The whole body in memory of the request. ERR_LIMIT: longer than limit. */
void web_body_collect(struct web_request *req, size_t limit, web_collect_fn fn, void *arg);

/* ---- its answer, once ---- */

/* Starts the head (with Date and Server); add fields with http_response_field. reason NULL: the
 * usual phrase. */
struct bytebuf *web_answer(struct web_request *req, uint16_t status, const char *reason);
/* Ends the head with the length of body, sends both (body is copied, and left out for HEAD),
 * finishes the request. */
void web_send(struct web_request *req, struct slice body);
/* Ends the head without a body; length is what a GET would have sent (HEAD), UINT64_MAX: say none
 * (204, 304). */
void web_send_empty(struct web_request *req, uint64_t length);
/* Ends the head; length bytes will follow through web_stream_write, then web_stream_end. */
void web_stream_begin(struct web_request *req, uint64_t length);
/* Takes the reference of range. */
void web_stream_write(struct web_request *req, struct iobuf_range range);
/* True: write more now. False: fn(req, ERR_OK, arg) will be called once there is room, or with an
 * error when the connection is lost. */
bool web_stream_ready(struct web_request *req, web_end_fn fn, void *arg);
/* All pieces are written: finishes the request. Fewer bytes than announced cut the connection. */
void web_stream_end(struct web_request *req);

#endif
