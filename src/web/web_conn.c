/*
 * One HTTP connection: heads out of the input, one request at a time, what is left of bodies
 * swallowed.
 *
 *     HEAD --head complete--> BUSY --answered, body read--> HEAD
 *                              |----answered, body left---> DRAIN --body read--> HEAD
 *     any --bad input, close asked, stop--> CLOSING
 *
 * Invariants:
 * (1) The input is looked at only in web_conn_advance, which never runs inside itself.
 * (2) In HEAD the request object is idle; in BUSY it belongs to the handler until
 * web_conn_request_done. (3) An answer is complete before the next head is parsed, so answers leave
 * in the order of the requests. (4) Requests that came complete before the peer's end are answered.
 *
 * Shard: owner. Failure modes: a peer that owes something too long meets the deadlines of
 * web_watch.c; one that sends a bad head gets the refusal's status and a close; one connection too
 * many gets 503; a connection lost in BUSY leaves its request to the handler, which frees it by
 * finishing it.
 */
#include <stdlib.h>

#include "base/arena.h"
#include "web/web_int.h"

void web_conn_close(struct web_conn *conn)
{
    ASSERT(conn->state != WEB_CONN_BUSY);
    conn->state = WEB_CONN_CLOSING;
    stream_close(conn->stream);
}

static void conn_on_data(struct stream *stream, void *arg)
{
    ASSERT(((struct web_conn *)arg)->stream == stream);
    web_conn_advance(arg);
}

static void conn_on_drain(struct stream *stream, void *arg)
{
    struct web_conn *conn = arg;
    ASSERT(conn->stream == stream);
    if (conn->state == WEB_CONN_BUSY)
        web_request_room(conn->req, ERR_OK);
}

/* The peer sends no more. Requests that are complete still get their answers. */
static void conn_on_eof(struct stream *stream, void *arg)
{
    struct web_conn *conn = arg;
    ASSERT(!conn->eof);
    conn->eof = true;
    web_conn_advance(conn);
}

/*
 * A request in the hands of a handler outlives its connection: the handler may wait for a disk and
 * must find what it writes to.
 */
static void conn_on_close(struct stream *stream, enum err reason, void *arg)
{
    struct web_conn *conn = arg;
    struct web_shard *part = conn->owner;
    ASSERT(!conn->advancing && conn->req);
    ASSERT(atomic_load_explicit(&part->server->connections, memory_order_relaxed) > 0);
    if (conn->state == WEB_CONN_BUSY)
        web_request_lost(conn->req); /* the handler frees it */
    else
        web_request_destroy(conn->req);
    list_remove(&conn->node);
    free(conn);
    atomic_fetch_sub_explicit(&part->server->connections, 1, memory_order_relaxed);
    if (part->stopping && list_empty(&part->conns))
        web_shard_stopped(part);
}

static const struct stream_ops conn_ops = {
    .on_data = conn_on_data,
    .on_drain = conn_on_drain,
    .on_close = conn_on_close,
    .on_eof = conn_on_eof,
};

/* A connection on its stream, in HEAD. NULL: out of memory, and raw is closed. */
static struct web_conn *conn_create(struct web_shard *part, struct conn *raw)
{
    struct web_conn *conn = calloc(1, sizeof(*conn));
    struct web_request *req = web_request_create(part);
    if (!conn || !req) {
        free(conn);
        web_request_destroy(req);
        conn_close(raw);
        return NULL;
    }
    struct stream_config config = {
        .in_limit = WEB_INPUT_LIMIT,
        .out_high = 512 * 1024,
        .out_low = 128 * 1024,
        .idle_us = 0, /* web_watch.c knows better whose turn it is */
    };
    conn->owner = part;
    conn->req = req;
    conn->stream = stream_create(part->shard->reactor, raw, &config, &conn_ops, conn);
    if (!conn->stream) {
        web_request_destroy(req);
        free(conn);
        return NULL;
    }
    list_push_back(&part->conns, &conn->node);
    web_watch_begin(part, conn);
    return conn;
}

/*
 * The limit is counted before the connection is made, over all shards: two accepts at once must not
 * both pass the last place.
 */
void web_conn_accept(struct shard *shard, struct conn *raw, void *arg)
{
    struct web_server *server = arg;
    ASSERT(shard->index < server->shard_count);
    struct web_shard *part = &server->per_shard[shard->index];
    uint64_t max = server->config.connections_max;
    uint64_t open = atomic_fetch_add_explicit(&server->connections, 1, memory_order_relaxed);
    bool full = open >= max;
    struct web_conn *conn = NULL;
    if (full)
        atomic_fetch_add_explicit(&server->turned_away, 1, memory_order_relaxed);
    if (part->stopping || open >= max + WEB_TURN_AWAY_MAX)
        conn_close(raw);
    else
        conn = conn_create(part, raw);
    if (!conn)
        atomic_fetch_sub_explicit(&server->connections, 1, memory_order_relaxed);
    else if (full)
        web_conn_refuse(conn, &(struct http_refusal){503, "There are too many connections"});
}

/* Answers a head that is no request, and closes. */
void web_conn_refuse(struct web_conn *conn, const struct http_refusal *refusal)
{
    const struct web_config *config = &conn->owner->server->config;
    struct web_request *req = conn->req;
    ASSERT(refusal->status >= 400 && conn->state == WEB_CONN_HEAD);
    if (refusal->status != 503)
        atomic_fetch_add_explicit(&conn->owner->server->refused, 1, memory_order_relaxed);
    conn->close_after = true;
    conn->state = WEB_CONN_BUSY;
    req->conn = conn;
    req->body_over = true;
    req->body.state = HTTP_BODY_BAD; /* where the next request would begin is not known */
    req->head.method = HTTP_METHOD_OTHER;
    struct bytebuf *head = web_answer(req, refusal->status, NULL);
    struct slice body;
    if (config->on_refuse) {
        body = config->on_refuse(req->arena, refusal, head);
    } else {
        char *text = arena_printf(req->arena, "%s.\n", refusal->reason);
        http_response_field(head, "Content-Type", SLICE_LIT("text/plain"));
        body = text ? slice_cstr(text) : SLICE_NULL;
    }
    web_send(req, body);
}

/* A complete head is at the front of the input: makes it a request. */
static void conn_begin_request(struct web_conn *conn, struct slice bytes)
{
    ASSERT(conn->state == WEB_CONN_HEAD && bytes.len > 0);
    struct web_request *req = conn->req;
    const struct web_config *config = &conn->owner->server->config;
    struct http_refusal refusal;
    struct slice copy = arena_copy(req->arena, bytes);
    req->head.fields = ARENA_ARRAY(req->arena, struct http_field, HTTP_FIELDS_MAX);
    req->head.field_cap = HTTP_FIELDS_MAX;
    stream_consume(conn->stream, bytes.len);
    conn->scanned = 0;
    if (!copy.data || !req->head.fields) {
        web_conn_refuse(conn, &(struct http_refusal){503, "Memory is exhausted"});
        return;
    }
    if (http_head_parse(copy, &req->head, &refusal) != HTTP_DONE) {
        web_conn_refuse(conn, &refusal);
        return;
    }
    atomic_fetch_add_explicit(&conn->owner->server->requests, 1, memory_order_relaxed);
    conn->requests++;
    conn->state = WEB_CONN_BUSY;
    req->conn = conn;
    http_body_init(&req->body, &req->head);
    req->body_over = req->body.state == HTTP_BODY_NONE;
    if (!req->head.keep_alive)
        conn->close_after = true;
    config->on_request(req, config->arg);
}

/* Looks for a head; false: no more to do now. */
static bool conn_advance_head(struct web_conn *conn)
{
    ASSERT(conn->req->answer == WEB_ANSWER_NONE && !conn->req->conn);
    if (conn->close_after) {
        web_conn_close(conn);
        return false;
    }
    struct slice input = stream_input(conn->stream);
    struct http_refusal refusal;
    size_t len = 0;
    switch (http_head_find(input, HTTP_HEAD_LIMIT, &conn->scanned, &len, &refusal)) {
    case HTTP_MORE:
        if (conn->eof)
            web_conn_close(conn);
        return false;
    case HTTP_BAD:
        web_conn_refuse(conn, &refusal);
        return true;
    case HTTP_DONE:
        conn_begin_request(conn, slice_sub(input, 0, len));
        return true;
    }
    UNREACHABLE();
}

/* Swallows what is left of an answered request's body; false: no more to do now. */
static bool conn_advance_drain(struct web_conn *conn)
{
    struct web_request *req = conn->req;
    struct http_refusal refusal;
    size_t consumed;
    struct slice data;
    ASSERT(req->answer == WEB_ANSWER_DONE);
    enum http_result result =
        http_body_next(&req->body, stream_input(conn->stream), &consumed, &data, &refusal);
    if (consumed > 0)
        stream_consume(conn->stream, consumed);
    conn->drained += consumed;
    conn->body_bytes += consumed;
    bool cut = result == HTTP_MORE && consumed == 0 && conn->eof;
    if (result == HTTP_BAD || cut || conn->drained > WEB_DRAIN_MAX) {
        web_conn_close(conn);
        return false;
    }
    if (result == HTTP_MORE)
        return consumed > 0;
    web_request_reset(req);
    conn->state = WEB_CONN_HEAD;
    return true;
}

/* Gives body bytes to the handler; false: no more to do now. */
static bool conn_advance_body(struct web_conn *conn)
{
    struct web_request *req = conn->req;
    ASSERT(req->conn == conn);
    if (!req->body_started || req->body_over)
        return false;
    bool blocked = false;
    size_t consumed = web_request_feed(req, stream_input(conn->stream), &blocked);
    if (consumed > 0)
        stream_consume(conn->stream, consumed);
    conn->body_bytes += consumed;
    if (blocked && conn->eof && web_conn_reading(conn))
        web_request_cut(req, ERR_CONNECTION_LOST);
    return !blocked;
}

bool web_conn_reading(const struct web_conn *conn)
{
    ASSERT(conn->req);
    const struct web_request *req = conn->req;
    return conn->state == WEB_CONN_BUSY && req->body_started && !req->body_over && req->window > 0;
}

/* Holds the sender back while nobody wants the input, by leaving it in the kernel. */
static void conn_set_flow(struct web_conn *conn)
{
    ASSERT(conn->state != WEB_CONN_CLOSING);
    bool pause = conn->state == WEB_CONN_BUSY && !web_conn_reading(conn);
    if (pause == conn->paused)
        return;
    conn->paused = pause;
    if (pause)
        stream_pause(conn->stream);
    else
        stream_resume(conn->stream);
}

void web_conn_advance(struct web_conn *conn)
{
    if (conn->advancing)
        return;
    ASSERT(conn->req);
    conn->advancing = true;
    bool more = true;
    while (more) {
        switch (conn->state) {
        case WEB_CONN_HEAD:
            more = conn_advance_head(conn);
            break;
        case WEB_CONN_BUSY:
            more = conn_advance_body(conn);
            break;
        case WEB_CONN_DRAIN:
            more = conn_advance_drain(conn);
            break;
        case WEB_CONN_CLOSING:
            more = false;
            break;
        }
    }
    conn->advancing = false;
    if (conn->state != WEB_CONN_CLOSING)
        conn_set_flow(conn);
}

/*
 * The next head is behind what is left of this body. After Expect: 100-continue without a start the
 * client may send the body or leave it, so that nothing behind it can be told apart: the connection
 * closes.
 */
void web_conn_request_done(struct web_conn *conn)
{
    ASSERT(conn->state == WEB_CONN_BUSY);
    struct web_request *req = conn->req;
    enum http_body_state body = req->body.state;
    if (body == HTTP_BODY_NONE || body == HTTP_BODY_END) {
        web_request_reset(req);
        conn->state = WEB_CONN_HEAD;
    } else {
        conn->state = WEB_CONN_DRAIN;
        conn->drained = 0;
        if (body == HTTP_BODY_BAD || (req->head.expect_continue && !req->body_started))
            web_conn_close(conn);
    }
    web_conn_advance(conn);
}

void web_conn_stop(struct web_conn *conn)
{
    ASSERT(conn->owner->stopping);
    conn->close_after = true;
    if (conn->state == WEB_CONN_HEAD || conn->state == WEB_CONN_DRAIN)
        web_conn_close(conn);
}

void web_conn_cut(struct web_conn *conn)
{
    ASSERT(conn->owner->stopping);
    stream_abort(conn->stream, ERR_CLOSING);
}
