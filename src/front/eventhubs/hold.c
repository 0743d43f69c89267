/*
 * What is kept on behalf of peers, and which connections are served: the limits that a peer meets
 * before and after it has shown a token.
 *
 *     link copies, unfinished deliveries, answers without credit
 *         -> link->held -> conn->held (a stranger's limit or a known peer's) -> part->held
 *
 *     accept -> served, or refused at its open -> stranger until a good token -> trusted
 *
 * Invariants
 *  (1) part->held is the sum over its connections, conn->held at least the sum over its links.
 *  (2) Only what conn->served says is counted in front->conn_count; a refused connection is counted
 *      in part->refused_count instead.
 *  (3) Where links need no token nobody is a stranger.
 *
 * Ownership and shard: the connection's; front->conn_count is shared and approximate by the number
 * of shards at its limit.
 *
 * Failure: at a limit the caller refuses what asked for the bytes; a connection above the number is
 * let open and closed with a condition, and dropped when even those are too many.
 */
#include "front/eventhubs/eh_int.h"

bool eh_conn_hold(struct eh_conn *conn, size_t bytes)
{
    struct eh_shard *part = conn->part;
    size_t limit = conn->stranger ? EH_HELD_STRANGER : EH_HELD_CONN;
    ASSERT(part->held >= conn->held);
    if (bytes > limit || conn->held > limit - bytes || part->held + bytes > EH_HELD_SHARD)
        return false;
    conn->held += bytes;
    part->held += bytes;
    return true;
}

void eh_conn_unhold(struct eh_conn *conn, size_t bytes)
{
    ASSERT(conn->held >= bytes && conn->part->held >= bytes);
    conn->held -= bytes;
    conn->part->held -= bytes;
}

bool eh_link_hold(struct eh_link *link, size_t bytes)
{
    if (!eh_conn_hold(link->conn, bytes))
        return false;
    link->held += bytes;
    return true;
}

void eh_link_unhold(struct eh_link *link, size_t bytes)
{
    ASSERT(link->held >= bytes);
    link->held -= bytes;
    eh_conn_unhold(link->conn, bytes);
}

void eh_conn_trust(struct eh_conn *conn)
{
    conn->trusted_us = reactor_now_us(conn->part->shard->reactor);
    if (!conn->stranger)
        return;
    conn->stranger = false;
    if (conn->served) {
        ASSERT(conn->part->stranger_count > 0);
        conn->part->stranger_count--;
    }
}

void eh_conn_enter(struct eh_conn *conn)
{
    struct eh_shard *part = conn->part;
    uint32_t limit = part->config->options.connections_max;
    conn->stranger = !part->config->options.open_access;
    if (atomic_fetch_add_explicit(&part->front->conn_count, 1, memory_order_relaxed) >= limit)
        conn->refusal = "amqp:resource-limit-exceeded";
    else if (conn->stranger && part->stranger_count >= EH_STRANGERS_MAX)
        conn->refusal = "com.microsoft:server-busy"; /* clients come back after a while */
    conn->served = !conn->refusal;
    if (conn->served) {
        part->stranger_count += conn->stranger;
        return;
    }
    atomic_fetch_sub_explicit(&part->front->conn_count, 1, memory_order_relaxed);
    part->refused_count++;
    EH_COUNT(part->stat_refused, 1);
}

void eh_conn_leave(struct eh_conn *conn)
{
    struct eh_shard *part = conn->part;
    if (!conn->served) {
        ASSERT(part->refused_count > 0);
        part->refused_count--;
        return;
    }
    ASSERT(!conn->stranger || part->stranger_count > 0);
    part->stranger_count -= conn->stranger;
    atomic_fetch_sub_explicit(&part->front->conn_count, 1, memory_order_relaxed);
}

static bool passed(uint64_t now_us, uint64_t then_us, uint32_t allowed_ms)
{
    return allowed_ms > 0 && now_us > then_us && (now_us - then_us) / 1000 > allowed_ms;
}

bool eh_conn_overdue(struct eh_conn *conn, uint64_t now_us)
{
    const struct eventhubs_options *options = &conn->part->config->options;
    if (conn->refusal) {
        if (!passed(now_us, conn->born_us, EH_REFUSED_MS))
            return false;
        stream_abort(conn->stream, ERR_TIMEOUT);
        return true;
    }
    if (conn->state < EH_CONN_OPEN) {
        if (!passed(now_us, conn->born_us, options->token_wait_ms))
            return false;
        eh_conn_fail(conn, "amqp:connection:forced",
                     "The connection was not opened within %u milliseconds.",
                     options->token_wait_ms);
        return true;
    }
    if (options->open_access)
        return false;
    if (eh_conn_allows(conn, 0, SLICE_NULL))
        eh_conn_trust(conn);
    if (!passed(now_us, conn->trusted_us, options->token_wait_ms))
        return false;
    /* Whoever only let a token run out may come back: clients take the one condition as final. */
    eh_conn_fail(conn, conn->stranger ? "amqp:unauthorized-access" : "amqp:connection:forced",
                 "The connection has had no valid token for %u milliseconds.",
                 options->token_wait_ms);
    return true;
}
