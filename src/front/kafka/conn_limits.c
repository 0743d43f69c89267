/*
 * Role: what one connection, and all connections of a shard together, may hold; who waits at a
 * limit, and who goes on first.
 *
 *     input     a frame that has not come whole     large ones: KAFKA_LARGE_BYTES of the shard
 *     requests  taken, not answered yet             KAFKA_INFLIGHT_* each, KAFKA_SHARD_BYTES of all
 *     output    answered, not taken by the peer     out_high each, then nothing more is started;
 *                                                   KAFKA_BACKLOG_BYTES of all, then fetches are
 *                                                   kept small
 *
 * Invariants: (1) what waits at a limit of the shard stands in the shard's list for it, longest
 * first, and is woken when something is let go; (2) a connection stands in at most one list; (3)
 * the shard's sums are the sums over its connections.
 *
 * Ownership: the shard. Failure modes: none of these refuses a request; they stop reading. A peer
 * that announces a large frame and then falls silent is closed, since others wait for its room.
 */
#include "front/kafka/kafka_int.h"
#include "io/reactor.h"

static_assert(KAFKA_LARGE_BYTES >= KAFKA_FRAME_MAX, "the largest frame must find room");

static bool conn_full(const struct kafka_conn *conn)
{
    return conn->inflight >= KAFKA_INFLIGHT_MAX || conn->inflight_bytes >= KAFKA_INFLIGHT_BYTES;
}

static bool shard_full(const struct kafka_shard *ks)
{
    return ks->inflight_bytes >= KAFKA_SHARD_BYTES;
}

static bool large_fits(const struct kafka_shard *ks, uint32_t len)
{
    return len <= KAFKA_LARGE_BYTES - ks->large_bytes;
}

/* Stops reading; queue is the list of those who wait for the same, NULL: for its own answers. */
static void conn_pause(struct kafka_conn *conn, struct list_node *queue)
{
    if (queue && list_empty(&conn->starved)) {
        list_push_back(queue, &conn->starved); /* (2) */
        atomic_fetch_add_explicit(&conn->ks->waiting, 1, memory_order_relaxed);
    }
    if (!conn->paused)
        stream_pause(conn->stream);
    conn->paused = true;
}

static void conn_unqueue(struct kafka_conn *conn)
{
    if (list_empty(&conn->starved))
        return;
    list_remove(&conn->starved);
    uint64_t before = atomic_fetch_sub_explicit(&conn->ks->waiting, 1, memory_order_relaxed);
    ASSERT(before > 0);
}

bool kafka_conn_may_read(struct kafka_conn *conn)
{
    ASSERT(!conn->ending);
    if (!conn_full(conn) && !shard_full(conn->ks))
        return true;
    conn_pause(conn, shard_full(conn->ks) ? &conn->ks->starved : NULL);
    return false;
}

void kafka_conn_resume(struct kafka_conn *conn)
{
    if (!conn->paused || conn->ending || conn_full(conn))
        return;
    if (shard_full(conn->ks)) {
        conn_pause(conn, &conn->ks->starved);
        return;
    }
    conn_unqueue(conn);
    conn->paused = false;
    stream_resume(conn->stream);
}

bool kafka_conn_reserve(struct kafka_conn *conn, uint32_t len)
{
    struct kafka_shard *ks = conn->ks;
    if (len <= KAFKA_SMALL_FRAME || conn->reserved == len)
        return true;
    ASSERT(conn->reserved == 0);
    if (!large_fits(ks, len)) {
        conn->wanted = len;
        conn_pause(conn, &ks->crowded);
        return false;
    }
    ks->large_bytes += len;
    conn->reserved = len;
    stream_idle_set(conn->stream, KAFKA_LARGE_IDLE_US);
    return true;
}

void kafka_conn_reserved_done(struct kafka_conn *conn)
{
    struct kafka_shard *ks = conn->ks;
    if (conn->reserved == 0)
        return;
    ASSERT(ks->large_bytes >= conn->reserved);
    ks->large_bytes -= conn->reserved;
    conn->reserved = 0;
    stream_idle_set(conn->stream, ks->front->idle_us);
    kafka_shard_wake(ks);
}

void kafka_conn_backlog_note(struct kafka_conn *conn)
{
    struct kafka_shard *ks = conn->ks;
    size_t now = stream_has_room(conn->stream) ? 0 : stream_pending(conn->stream);
    ASSERT(ks->backlog_bytes >= conn->backlog);
    ks->backlog_bytes = ks->backlog_bytes - conn->backlog + now; /* (3) */
    conn->backlog = now;
}

void kafka_conn_limits_leave(struct kafka_conn *conn)
{
    struct kafka_shard *ks = conn->ks;
    conn_unqueue(conn);
    ASSERT(ks->large_bytes >= conn->reserved && ks->backlog_bytes >= conn->backlog);
    ks->large_bytes -= conn->reserved;
    ks->backlog_bytes -= conn->backlog;
    conn->reserved = 0;
    conn->backlog = 0;
    kafka_shard_wake(ks);
}

void kafka_shard_wake(struct kafka_shard *ks)
{
    if (!list_empty(&ks->starved) || !list_empty(&ks->crowded))
        reactor_at_turn_end(ks->shard->reactor, &ks->resume);
}

/* Room was made: those that waited longest go first. */
static void shard_on_resume(struct hook *hook)
{
    struct kafka_shard *ks = CONTAINER_OF(hook, struct kafka_shard, resume);
    struct list_node *node;
    while (!shard_full(ks) && (node = list_front(&ks->starved))) {
        struct kafka_conn *conn = CONTAINER_OF(node, struct kafka_conn, starved);
        conn_unqueue(conn);
        kafka_conn_resume(conn);
    }
    while ((node = list_front(&ks->crowded))) {
        struct kafka_conn *conn = CONTAINER_OF(node, struct kafka_conn, starved);
        if (!large_fits(ks, conn->wanted))
            return;
        conn_unqueue(conn);
        if (kafka_conn_reserve(conn, conn->wanted))
            kafka_conn_resume(conn);
    }
}

void kafka_shard_limits_init(struct kafka_shard *ks)
{
    list_init(&ks->starved);
    list_init(&ks->crowded);
    hook_init(&ks->resume, shard_on_resume);
}
