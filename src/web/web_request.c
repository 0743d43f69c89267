/*
 * A request between its head and its finished answer.
 *
 * Two machines that do not wait for each other: the body (not started -> flowing under a window ->
 * over) and the answer (none -> head being written -> streaming -> done). The request is finished
 * when the answer is done.
 *
 * Invariants:
 * (1) on_end is called exactly once for a started body, unless the answer was finished before.
 * (2) After the connection is lost conn is NULL: writes do nothing, a waiting on_room gets the
 * error, and finishing the request frees it. (3) window never grows except by the handler's word,
 * so a slow consumer stops the sender and memory stays bounded.
 *
 * Shard: owner. Failure modes: a body that breaks its framing or is cut off reaches the handler as
 * on_end with an error; the answer then closes the connection.
 */
#include <stdlib.h>

#include "base/arena.h"
#include "web/web_int.h"

struct web_request *web_request_create(struct web_shard *owner)
{
    ASSERT(owner->server->config.arena_limit > 0);
    struct web_request *req = calloc(1, sizeof(*req));
    if (!req)
        return NULL;
    req->owner = owner;
    req->arena = arena_create(NULL, "web-request", owner->server->config.arena_limit);
    if (!req->arena) {
        free(req);
        return NULL;
    }
    bytebuf_init(&req->out, WEB_HEAD_OUT_LIMIT);
    bytebuf_init(&req->collected, 1);
    return req;
}

void web_request_destroy(struct web_request *req)
{
    if (!req)
        return;
    bytebuf_deinit(&req->out);
    bytebuf_deinit(&req->collected);
    arena_destroy(req->arena);
    free(req);
}

void web_request_reset(struct web_request *req)
{
    ASSERT(req);
    struct web_shard *owner = req->owner;
    struct arena *arena = req->arena;
    struct bytebuf out = req->out;
    bytebuf_deinit(&req->collected);
    arena_reset(arena);
    *req = (struct web_request){.owner = owner, .arena = arena, .out = out};
    bytebuf_clear(&req->out);
    bytebuf_init(&req->collected, 1);
}

const struct http_head *web_head(const struct web_request *req)
{
    ASSERT(req);
    return &req->head;
}

struct arena *web_arena(const struct web_request *req)
{
    ASSERT(req->arena);
    return req->arena;
}

struct shard *web_shard(const struct web_request *req)
{
    ASSERT(req->owner);
    return req->owner->shard;
}

bool web_alive(const struct web_request *req)
{
    return req->conn != NULL;
}

/* ---- body ---- */

static void body_ended(struct web_request *req, enum err err)
{
    ASSERT(req->body_started && !req->body_over);
    req->body_over = true;
    req->on_end(req, err, req->body_arg);
}

void web_body_start(struct web_request *req, web_data_fn on_data, web_end_fn on_end, void *arg)
{
    ASSERT(on_data && on_end && !req->body_started);
    ASSERT(req->answer == WEB_ANSWER_NONE);
    req->on_data = on_data;
    req->on_end = on_end;
    req->body_arg = arg;
    req->body_started = true;
    if (req->body_over || !req->conn) {
        bool empty = req->body_over;
        req->body_over = true;
        on_end(req, empty ? ERR_OK : ERR_CONNECTION_LOST, arg);
        return;
    }
    if (req->head.expect_continue)
        stream_write(req->conn->stream, SLICE_LIT("HTTP/1.1 100 Continue\r\n\r\n"));
}

void web_body_window(struct web_request *req, size_t bytes)
{
    req->window = bytes;
    if (req->conn && req->body_started && !req->body_over)
        web_conn_advance(req->conn);
}

/*
 * Only as much content as the window allows is looked at; framing bytes are never held back, since
 * nobody has to take them.
 */
size_t web_request_feed(struct web_request *req, struct slice input, bool *ret_blocked)
{
    ASSERT(req->body_started && !req->body_over);
    struct http_refusal refusal;
    size_t consumed;
    struct slice data;
    bool content = req->body.state == HTTP_BODY_LENGTH || req->body.state == HTTP_BODY_CHUNK_DATA;
    if (content)
        input = slice_sub(input, 0, req->window);
    if (input.len == 0) {
        *ret_blocked = true;
        return 0;
    }
    enum http_result result = http_body_next(&req->body, input, &consumed, &data, &refusal);
    *ret_blocked = consumed == 0 && result == HTTP_MORE;
    if (data.len > 0) {
        ASSERT(data.len <= req->window);
        req->window -= data.len;
        req->on_data(req, data, req->body_arg);
    }
    /* on_data may have answered: then the request is over, and body_started is false or body_over
     * is set. */
    if (result == HTTP_MORE || !req->body_started || req->body_over ||
        req->answer == WEB_ANSWER_DONE)
        return consumed;
    if (result == HTTP_BAD)
        req->conn->close_after = true;
    body_ended(req, result == HTTP_DONE ? ERR_OK : ERR_INVALID_REQUEST);
    return consumed;
}

static void collect_data(struct web_request *req, struct slice bytes, void *arg)
{
    bytebuf_append_slice(&req->collected, bytes);
    if (!req->collected.failed)
        return;
    req->body_over = true; /* past the limit: the rest is drained behind the refusal */
    req->on_collect(req, ERR_LIMIT, SLICE_NULL, req->collect_arg);
}

static void collect_end(struct web_request *req, enum err err, void *arg)
{
    ASSERT(req->on_collect);
    req->on_collect(req, err, bytebuf_slice(&req->collected), req->collect_arg);
}

void web_body_collect(struct web_request *req, size_t limit, web_collect_fn fn, void *arg)
{
    ASSERT(fn && !req->body_started);
    if (req->head.content_length > limit) {
        fn(req, ERR_LIMIT, SLICE_NULL, arg);
        return;
    }
    bytebuf_init(&req->collected, limit);
    req->on_collect = fn;
    req->collect_arg = arg;
    bool empty = req->body_over || !req->conn;
    web_body_start(req, collect_data, collect_end, NULL);
    if (!empty) /* else it has been answered, and may be gone */
        web_body_window(req, SIZE_MAX);
}

/* ---- answer ---- */

struct bytebuf *web_answer(struct web_request *req, uint16_t status, const char *reason)
{
    ASSERT(req->answer == WEB_ANSWER_NONE);
    char date[HTTP_DATE_SIZE];
    req->answer = WEB_ANSWER_HEAD;
    bytebuf_clear(&req->out);
    http_response_begin(&req->out, status, reason);
    http_date_write(date, reactor_wall_ms(req->owner->shard->reactor) / 1000);
    http_response_field(&req->out, "Date", slice_make(date, HTTP_DATE_LEN));
    if (req->owner->server->config.server_name)
        http_response_field(&req->out, "Server",
                            slice_cstr(req->owner->server->config.server_name));
    return &req->out;
}

static void request_finish(struct web_request *req)
{
    ASSERT(req->answer != WEB_ANSWER_DONE);
    req->answer = WEB_ANSWER_DONE;
    if (req->conn)
        web_conn_request_done(req->conn);
    else
        web_request_destroy(req);
}

/* Whether the connection can go on after this answer; decided before the head leaves. */
static void decide_close(struct web_request *req)
{
    struct web_conn *conn = req->conn;
    ASSERT(conn);
    const struct http_body *body = &req->body;
    bool unread = body->state != HTTP_BODY_NONE && body->state != HTTP_BODY_END;
    if (unread && req->head.expect_continue && !req->body_started)
        conn->close_after = true; /* it may send the body or not */
    if (unread && (body->state != HTTP_BODY_LENGTH || body->remaining > WEB_DRAIN_KEEP))
        conn->close_after = true;
    if (conn->owner->stopping)
        conn->close_after = true;
}

/* Ends the head and sends it. */
static void send_head(struct web_request *req, uint64_t length)
{
    ASSERT(req->answer == WEB_ANSWER_HEAD);
    if (!req->conn)
        return;
    decide_close(req);
    if (length != UINT64_MAX)
        http_response_field_u64(&req->out, "Content-Length", length);
    if (req->conn->close_after)
        http_response_field(&req->out, "Connection", SLICE_LIT("close"));
    else if (req->head.minor == 0)
        http_response_field(&req->out, "Connection", SLICE_LIT("keep-alive"));
    http_response_end(&req->out);
    if (req->out.failed)
        stream_abort(req->conn->stream, ERR_NO_MEMORY);
    else
        stream_write(req->conn->stream, bytebuf_slice(&req->out));
}

void web_send(struct web_request *req, struct slice body)
{
    ASSERT(body.data || body.len == 0);
    send_head(req, body.len);
    if (req->conn && req->head.method != HTTP_METHOD_HEAD && body.len > 0)
        stream_write(req->conn->stream, body);
    request_finish(req);
}

void web_send_empty(struct web_request *req, uint64_t length)
{
    send_head(req, length);
    request_finish(req);
}

void web_stream_begin(struct web_request *req, uint64_t length)
{
    ASSERT(length != UINT64_MAX);
    send_head(req, length);
    req->answer = WEB_ANSWER_STREAM;
    req->stream_left = length;
}

void web_stream_write(struct web_request *req, struct iobuf_range range)
{
    ASSERT(req->answer == WEB_ANSWER_STREAM && range.bytes.len <= req->stream_left);
    req->stream_left -= range.bytes.len;
    if (req->conn)
        stream_write_range(req->conn->stream, range);
    else
        iobuf_unref(range.buf);
}

bool web_stream_ready(struct web_request *req, web_end_fn fn, void *arg)
{
    ASSERT(req->answer == WEB_ANSWER_STREAM && fn);
    if (!req->conn || stream_has_room(req->conn->stream))
        return true;
    req->on_room = fn;
    req->room_arg = arg;
    return false;
}

void web_request_room(struct web_request *req, enum err err)
{
    ASSERT(req->answer == WEB_ANSWER_STREAM || !req->on_room);
    web_end_fn fn = req->on_room;
    if (!fn)
        return;
    req->on_room = NULL;
    fn(req, err, req->room_arg);
}

/* An answer shorter than its Content-Length can only be told by ending the connection. */
void web_stream_end(struct web_request *req)
{
    ASSERT(req->answer == WEB_ANSWER_STREAM);
    if (req->stream_left > 0 && req->conn)
        stream_abort(req->conn->stream, ERR_INTERNAL);
    request_finish(req);
}

void web_request_cut(struct web_request *req, enum err err)
{
    ASSERT(err != ERR_OK);
    if (req->body_started && !req->body_over) {
        req->body.state = HTTP_BODY_BAD; /* no further request can follow */
        body_ended(req, err);
    }
}

void web_request_lost(struct web_request *req)
{
    ASSERT(req->answer != WEB_ANSWER_DONE);
    req->conn = NULL;
    if (req->on_room)
        web_request_room(req, ERR_CONNECTION_LOST);
    else
        web_request_cut(
            req, ERR_CONNECTION_LOST); /* any other handler finishes when its own work is done */
}
