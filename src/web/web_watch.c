/*
 * Deadlines of HTTP connections: what a peer owes, and for how long it may.
 *
 *     debt       who holds it                                  ends by
 *     REQUEST    between requests, nothing has come            a close
 *     HEAD       part of a head has come                       408 and a close
 *     BODY       the handler wants bytes, or they are drained  the handler is told ERR_TIMEOUT
 *     TAKING     output waits for the peer                     an abort
 *     NONE       it is the server's turn
 *
 * One timer per shard looks at all its connections while there are any: nothing is armed or
 * cancelled per request, and a deadline is late by one round at most. HEAD counts from the first
 * byte whatever follows, and BODY asks for WEB_BODY_MIN bytes in each period, so that a peer which
 * drips a byte now and then keeps neither a connection nor a buffer.
 *
 * Invariants:
 * (1) A connection whose debt is NONE is never ended here.
 * (2) A debt is counted anew when another request has begun in between.
 *
 * Shard: owner. Failure modes: none of its own.
 */
#include "web/web_int.h"

static enum web_debt conn_debt(const struct web_conn *conn)
{
    bool pending = stream_pending(conn->stream) > 0;
    switch (conn->state) {
    case WEB_CONN_HEAD:
        if (pending)
            return WEB_DEBT_TAKING;
        return stream_input(conn->stream).len > 0 ? WEB_DEBT_HEAD : WEB_DEBT_REQUEST;
    case WEB_CONN_BUSY:
        if (web_conn_reading(conn))
            return WEB_DEBT_BODY;
        return pending ? WEB_DEBT_TAKING : WEB_DEBT_NONE;
    case WEB_CONN_DRAIN:
        return WEB_DEBT_BODY;
    case WEB_CONN_CLOSING: /* the stream has deadlines of its own for that */
        return WEB_DEBT_NONE;
    }
    UNREACHABLE();
}

static void debt_restart(struct web_conn *conn, enum web_debt debt, uint64_t now)
{
    conn->watch = (struct web_watch){
        .debt = debt,
        .since_us = now,
        .requests = conn->requests,
        .bytes = conn->body_bytes,
        .pending = stream_pending(conn->stream),
    };
}

/* Ends the connection, or its request, in the way that fits the debt. */
static void debt_due(struct web_conn *conn)
{
    ASSERT(conn->watch.debt != WEB_DEBT_NONE);
    atomic_fetch_add_explicit(&conn->owner->server->timed_out, 1, memory_order_relaxed);
    switch (conn->watch.debt) {
    case WEB_DEBT_REQUEST:
        web_conn_close(conn);
        return;
    case WEB_DEBT_HEAD:
        web_conn_refuse(conn, &(struct http_refusal){408, "The head took too long"});
        return;
    case WEB_DEBT_BODY:
        if (conn->state == WEB_CONN_DRAIN) {
            web_conn_close(conn);
            return;
        }
        conn->close_after = true;
        web_request_cut(conn->req, ERR_TIMEOUT);
        return;
    case WEB_DEBT_TAKING:
        stream_abort(conn->stream, ERR_TIMEOUT);
        return;
    case WEB_DEBT_NONE:
        break;
    }
    UNREACHABLE();
}

static void conn_watch(struct web_conn *conn, uint64_t now)
{
    const struct web_config *config = &conn->owner->server->config;
    struct web_watch *watch = &conn->watch;
    enum web_debt debt = conn_debt(conn);
    uint64_t limit = config->idle_us;
    ASSERT(now >= watch->since_us);
    if (debt != watch->debt || conn->requests != watch->requests) {
        debt_restart(conn, debt, now);
        return;
    }
    if (debt == WEB_DEBT_TAKING && stream_pending(conn->stream) != watch->pending) {
        debt_restart(conn, debt, now);
        return;
    }
    if (debt == WEB_DEBT_HEAD)
        limit = config->head_us;
    else if (debt == WEB_DEBT_BODY)
        limit = config->body_us;
    if (debt == WEB_DEBT_NONE || now - watch->since_us < limit)
        return;
    if (debt == WEB_DEBT_BODY && conn->body_bytes - watch->bytes >= WEB_BODY_MIN)
        debt_restart(conn, debt, now);
    else
        debt_due(conn);
}

/* A quarter of the shortest deadline, so that none is late by much. */
static uint64_t watch_period(const struct web_config *config)
{
    uint64_t least = config->idle_us;
    if (config->head_us < least)
        least = config->head_us;
    if (config->body_us < least)
        least = config->body_us;
    least /= 4;
    if (least > WEB_WATCH_MAX_US)
        return WEB_WATCH_MAX_US;
    return least < WEB_WATCH_MIN_US ? WEB_WATCH_MIN_US : least;
}

static void watch_round(struct timer *timer)
{
    struct web_shard *part = CONTAINER_OF(timer, struct web_shard, watch);
    uint64_t now = reactor_now_us(part->shard->reactor);
    /* No connection leaves the list in here: streams tell of their end at the end of the turn. */
    LIST_FOREACH(node, &part->conns)
    conn_watch(CONTAINER_OF(node, struct web_conn, node), now);
    if (!list_empty(&part->conns))
        timer_arm(part->shard->reactor, timer, watch_period(&part->server->config));
}

void web_watch_init(struct web_shard *part)
{
    ASSERT(part->server && part->shard);
    timer_init(&part->watch, watch_round);
}

void web_watch_begin(struct web_shard *part, struct web_conn *conn)
{
    ASSERT(conn->owner == part);
    debt_restart(conn, WEB_DEBT_REQUEST, reactor_now_us(part->shard->reactor));
    if (!timer_armed(&part->watch))
        timer_arm(part->shard->reactor, &part->watch, watch_period(&part->server->config));
}
