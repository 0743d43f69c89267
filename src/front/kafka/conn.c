/*
 * Role: one Kafka connection: cuts frames out of the stream, starts requests, writes answers in
 * order.
 *
 * State of a request: WAITING -> RUNNING -> DONE -> (written, destroyed). All of a connection stand
 * in one list in order of arrival:
 *
 *     requests:  [DONE] [RUNNING] [DONE] [WAITING] ...
 *                 written next      waits for its turn to be written
 *
 * Invariants: (1) answers leave in the order of the requests; (2) a request that may not overlap
 * runs alone, so what a client sends without waiting takes effect in the order sent; (3) at most
 * KAFKA_INFLIGHT_MAX requests and, but for a single larger frame, KAFKA_INFLIGHT_BYTES are held:
 * beyond, and beyond the shard's limits (conn_limits.c), nothing is read; (4) nothing is started
 * for a peer that does not take its answers; (5) a connection that ends is closed when the requests
 * at its front that end by themselves have been answered; (6) it is gone only after its requests
 * were cut loose.
 *
 * Ownership: the shard that accepted the connection owns it and its requests. Failure modes: a
 * length that is negative or too large, a request that cannot be read, a key or version not served:
 * the connection is closed, since Kafka has no other answer. A peer that leaves cancels what waits.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "front/kafka/fetch_session.h"
#include "front/kafka/kafka_int.h"
#include "io/reactor.h"

static void conn_cut_loose(struct kafka_conn *conn)
{
    LIST_FOREACH_SAFE(node, &conn->requests)
    {
        struct kafka_request *req = CONTAINER_OF(node, struct kafka_request, node);
        list_remove(node);
        req->conn = NULL;
        if (req->state != KAFKA_RUNNING)
            kafka_request_destroy(req);
        else if (req->cancel)
            req->cancel(req);
    }
}

/* Connections of all shards count together. False: there are as many as there may be. */
static bool conn_count_enter(struct front_kafka *front)
{
    if (atomic_fetch_add_explicit(&front->connections, 1, memory_order_relaxed) <
        front->connections_max)
        return true;
    atomic_fetch_sub_explicit(&front->connections, 1, memory_order_relaxed);
    return false;
}

static void conn_count_leave(struct front_kafka *front)
{
    uint32_t before = atomic_fetch_sub_explicit(&front->connections, 1, memory_order_relaxed);
    ASSERT(before > 0);
}

static void conn_on_close(struct stream *stream, enum err reason, void *arg)
{
    struct kafka_conn *conn = arg;
    struct kafka_shard *ks = conn->ks;
    (void)stream;
    diag(DIAG_DEBUG, "kafka", "event=closed peer=%s reason=%s", conn->peer, err_row(reason)->name);
    conn_cut_loose(conn);
    kafka_conn_limits_leave(conn);
    list_remove(&conn->node);
    ASSERT(ks->conn_count > 0);
    ks->conn_count--;
    conn_count_leave(ks->front);
    free(conn);
    if (ks->stopping && ks->conn_count == 0)
        shard_stop_done(&ks->stop);
}

static bool conn_may_start(const struct kafka_conn *conn, const struct kafka_request *req)
{
    if (!stream_has_room(conn->stream))
        return false; /* (4): on_drain goes on */
    if (conn->running == 0)
        return true;
    if (conn->running_exclusive || req->handler->class == KAFKA_EXCLUSIVE)
        return false;
    return req->handler->class != KAFKA_FETCH_CLASS || !conn->running_fetch;
}

/* Handlers may answer inside the call: the list is walked anew after each. */
static bool conn_start_next(struct kafka_conn *conn)
{
    LIST_FOREACH(node, &conn->requests)
    {
        struct kafka_request *req = CONTAINER_OF(node, struct kafka_request, node);
        if (req->state != KAFKA_WAITING)
            continue;
        if (!conn_may_start(conn, req))
            return false;
        ASSERT(req->conn == conn && req->handler && !conn->ending);
        req->state = KAFKA_RUNNING;
        conn->running++;
        conn->running_exclusive = req->handler->class == KAFKA_EXCLUSIVE;
        conn->running_fetch |= req->handler->class == KAFKA_FETCH_CLASS;
        req->handler->handle(req);
        return true;
    }
    return false;
}

static void conn_write(struct kafka_conn *conn, struct kafka_request *req)
{
    const struct bytebuf *out = &req->out;
    size_t at = 0;
    ASSERT(req->state == KAFKA_DONE && !req->silent && out->len >= 8);
    for (uint32_t i = 0; i < req->writer.splice_count; i++) {
        struct wire_splice *splice = &req->writer.splices[i];
        ASSERT(splice->at >= at && splice->at <= out->len);
        stream_write(conn->stream, slice_make(out->data + at, splice->at - at));
        at = splice->at;
        if (splice->range.buf)
            iobuf_ref(splice->range.buf);
        stream_write_range(conn->stream, splice->range);
    }
    stream_write(conn->stream, slice_make(out->data + at, out->len - at));
    kafka_conn_backlog_note(conn);
}

static void conn_flush(struct kafka_conn *conn)
{
    for (;;) {
        struct list_node *node = list_front(&conn->requests);
        if (!node)
            break;
        struct kafka_request *req = CONTAINER_OF(node, struct kafka_request, node);
        if (req->state != KAFKA_DONE)
            break;
        if (!req->silent)
            conn_write(conn, req);
        list_remove(node);
        ASSERT(conn->inflight > 0 && conn->inflight_bytes >= req->frame_size);
        conn->inflight--;
        conn->inflight_bytes -= req->frame_size;
        kafka_request_destroy(req);
    }
}

/* (5): joins, syncs and fetches wait for others, and what stands behind them cannot be told. */
static bool conn_ends_later(const struct kafka_conn *conn)
{
    const struct list_node *node = list_front(&conn->requests);
    if (!node)
        return false;
    const struct kafka_request *req = CONTAINER_OF(node, struct kafka_request, node);
    return req->state == KAFKA_RUNNING && req->key != KAFKA_FETCH && req->key != KAFKA_JOIN_GROUP &&
           req->key != KAFKA_SYNC_GROUP;
}

void kafka_conn_progress(struct kafka_conn *conn)
{
    if (conn->progressing) {
        conn->progress_again = true;
        return;
    }
    conn->progressing = true;
    do {
        conn->progress_again = false;
        conn_flush(conn);
        while (!conn->ending && conn_start_next(conn))
            conn_flush(conn);
    } while (conn->progress_again);
    conn->progressing = false;
    if (!conn->ending) {
        kafka_conn_resume(conn);
    } else if (!conn->closed && !conn_ends_later(conn)) {
        conn->closed = true;
        stream_close(conn->stream);
    }
}

void kafka_conn_end(struct kafka_conn *conn)
{
    ASSERT(!conn->closed);
    conn->ending = true;
    if (!conn->paused)
        stream_pause(conn->stream);
    conn->paused = true;
    if (!conn->progressing)
        kafka_conn_progress(conn);
}

/* Takes one whole frame (without its length) as a request. False: the connection must end. */
static bool conn_take_frame(struct kafka_conn *conn, struct slice frame)
{
    struct kafka_shard *ks = conn->ks;
    struct kafka_request *req = kafka_request_create(ks);
    if (!req)
        return false;
    req->conn = conn;
    req->frame_size = frame.len;
    ks->inflight_bytes += frame.len;
    struct slice bytes;
    bool is_produce = frame.len >= 2 && be16_load(frame.data) == KAFKA_PRODUCE;
    if (frame.len <= KAFKA_COPY_MAX && !is_produce) {
        bytes = arena_copy(req->arena, frame);
    } else {
        req->pin = stream_pin(conn->stream, frame);
        bytes = req->pin.bytes;
    }
    req->body = wire_reader_make(bytes);
    if (!bytes.data || !kafka_request_header(req) || !kafka_request_route(req)) {
        diag(DIAG_WARN, "kafka", "event=bad_request peer=%s key=%d version=%d correlation=%d",
             conn->peer, req->key, req->version, req->correlation);
        atomic_fetch_add_explicit(&ks->request_errors, 1, memory_order_relaxed);
        kafka_request_destroy(req);
        return false;
    }
    atomic_fetch_add_explicit(&ks->requests, 1, memory_order_relaxed);
    conn->inflight++;
    conn->inflight_bytes += req->frame_size;
    list_push_back(&conn->requests, &req->node);
    return true;
}

static void conn_on_data(struct stream *stream, void *arg)
{
    struct kafka_conn *conn = arg;
    while (!conn->ending) {
        if (!kafka_conn_may_read(conn))
            return;
        struct slice input = stream_input(stream);
        if (input.len < 4) {
            if (stream_need(stream, 4) != ERR_OK)
                kafka_conn_end(conn);
            return;
        }
        uint32_t len = be32_load(input.data);
        if (len > KAFKA_FRAME_MAX) {
            diag(DIAG_WARN, "kafka", "event=bad_frame peer=%s length=%d", conn->peer, (int)len);
            atomic_fetch_add_explicit(&conn->ks->request_errors, 1, memory_order_relaxed);
            kafka_conn_end(conn);
            return;
        }
        if (input.len - 4 < len) {
            if (!kafka_conn_reserve(conn, len))
                return;
            if (stream_need(stream, 4 + (size_t)len) != ERR_OK)
                kafka_conn_end(conn);
            return;
        }
        kafka_conn_reserved_done(conn);
        bool taken = conn_take_frame(conn, slice_make(input.data + 4, len));
        stream_consume(stream, 4 + (size_t)len);
        if (!taken)
            kafka_conn_end(conn);
        else
            kafka_conn_progress(conn);
    }
}

static void conn_on_drain(struct stream *stream, void *arg)
{
    struct kafka_conn *conn = arg;
    ASSERT(stream == conn->stream);
    kafka_conn_backlog_note(conn);
    kafka_conn_progress(conn);
}

static const struct stream_ops conn_ops = {
    .on_data = conn_on_data, .on_drain = conn_on_drain, .on_close = conn_on_close};

/* "127.0.0.1:9092" or "[::1]:9092" into host and port. A socket of both families shows IPv4 peers as
 * "::ffff:127.0.0.1": clients are told the address they know. */
static void address_split(const char *text, char *host, size_t cap, uint16_t *ret_port)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : strlen(text);
    unsigned port = 0;
    for (const char *p = colon ? colon + 1 : ""; *p >= '0' && *p <= '9'; p++)
        port = port * 10 + (unsigned)(*p - '0');
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    const size_t mapped = sizeof("::ffff:") - 1;
    if (len > mapped && memcmp(text, "::ffff:", mapped) == 0 &&
        memchr(text + mapped, '.', len - mapped)) {
        text += mapped;
        len -= mapped;
    }
    ASSERT(len < cap);
    snprintf(host, cap, "%.*s", (int)len, text);
    *ret_port = (uint16_t)port;
}

static void conn_addresses(struct kafka_conn *conn, struct conn *raw)
{
    const struct front_kafka *front = conn->ks->front;
    char peer_host[60];
    uint16_t peer_port;
    address_split(conn_peer(raw), peer_host, sizeof(peer_host), &peer_port);
    snprintf(conn->peer, sizeof(conn->peer), "/%s", peer_host);
    address_split(conn_local(raw), conn->host, sizeof(conn->host), &conn->port);
    if (front->advertised_host[0])
        snprintf(conn->host, sizeof(conn->host), "%s", front->advertised_host);
    if (front->config.advertised_port)
        conn->port = front->config.advertised_port;
}

/* Runs on the shard that is to serve the connection. */
static void front_on_accept(struct shard *shard, struct conn *raw, void *arg)
{
    struct front_kafka *front = arg;
    ASSERT(shard->index < front->part_count);
    struct kafka_shard *ks = &front->parts[shard->index];
    if (!conn_count_enter(front)) {
        atomic_fetch_add_explicit(&ks->refused, 1, memory_order_relaxed);
        conn_close(raw);
        return;
    }
    struct kafka_conn *conn = ks->stopping ? NULL : calloc(1, sizeof(*conn));
    if (!conn) {
        conn_count_leave(front);
        conn_close(raw);
        return;
    }
    conn->ks = ks;
    list_init(&conn->requests);
    list_init(&conn->starved);
    conn_addresses(conn, raw);
    const struct stream_config config = {
        .in_limit = KAFKA_FRAME_MAX + 4,
        .out_limit = (size_t)512 * 1024 * 1024,
        .idle_us = front->idle_us,
    };
    conn->stream = stream_create(shard->reactor, raw, &config, &conn_ops, conn);
    if (!conn->stream) {
        conn_count_leave(front);
        free(conn);
        return;
    }
    list_push_back(&ks->conns, &conn->node);
    ks->conn_count++;
}

/* ---- the front ---- */

static void front_on_stop(struct shard_stop *stop)
{
    struct kafka_shard *ks = CONTAINER_OF(stop, struct kafka_shard, stop);
    ks->stopping = true;
    if (ks->conn_count == 0) {
        shard_stop_done(stop);
        return;
    }
    LIST_FOREACH_SAFE(node, &ks->conns)
    {
        struct kafka_conn *conn = CONTAINER_OF(node, struct kafka_conn, node);
        if (!conn->ending)
            kafka_conn_end(conn);
    }
}

static enum err front_parts_init(struct front_kafka *front, struct err_info *info)
{
    for (uint32_t i = 0; i < front->part_count; i++) {
        struct kafka_shard *ks = &front->parts[i];
        ks->front = front;
        ks->shard = shards_get(front->shards, i);
        ks->bs = broker_shard_of(front->broker, ks->shard);
        ks->gs = groups_shard_of(front->groups, ks->shard);
        list_init(&ks->conns);
        list_init(&ks->pool);
        kafka_shard_limits_init(ks);
        ks->sessions = fetch_sessions_create(ks->shard);
        if (!ks->sessions)
            return err_info_set(info, ERR_NO_MEMORY, "no memory for fetch sessions");
        shard_at_stop(ks->shard, SHARD_STOP_FRONT, &ks->stop, front_on_stop);
    }
    return ERR_OK;
}

enum err front_kafka_open(struct shards *shards, struct broker *broker, struct groups *groups,
                          const struct front_kafka_config *config, struct front_kafka **ret_front,
                          struct err_info *info)
{
    struct front_kafka *front = calloc(1, sizeof(*front));
    if (!front)
        return err_info_set(info, ERR_NO_MEMORY, "no memory for the Kafka front");
    front->shards = shards;
    front->broker = broker;
    front->groups = groups;
    front->config = *config;
    snprintf(front->advertised_host, sizeof(front->advertised_host), "%s",
             config->advertised_host ? config->advertised_host : "");
    front->node_id = broker_config_get(broker)->node_id ? broker_config_get(broker)->node_id : 1;
    front->idle_us = (config->idle_ms ? config->idle_ms : 600000) * 1000;
    front->connections_max = config->connections_max ? config->connections_max : 10000;
    front->part_count = shards_count(shards);
    ASSERT(front->part_count > 0);
    front->parts = calloc(front->part_count, sizeof(*front->parts));
    enum err err = ERR_NO_MEMORY;
    if (front->parts)
        err = front_parts_init(front, info);
    if (err == ERR_OK)
        err = shards_listen(shards, config->host ? config->host : "127.0.0.1", config->port,
                            front_on_accept, front, &front->listener, info);
    if (err != ERR_OK) {
        front_kafka_close(front);
        return err;
    }
    *ret_front = front;
    return ERR_OK;
}

void front_kafka_close(struct front_kafka *front)
{
    if (!front)
        return;
    for (uint32_t i = 0; front->parts && i < front->part_count; i++) {
        struct kafka_shard *ks = &front->parts[i];
        if (!ks->front)
            continue;
        kafka_request_pool_drain(ks);
        fetch_sessions_destroy(ks->sessions);
    }
    free(front->parts);
    free(front);
}

const char *front_kafka_address(const struct front_kafka *front)
{
    return shard_listener_address(front->listener);
}

void front_kafka_stats_read(const struct front_kafka *front, struct front_kafka_stats *ret_stats)
{
    *ret_stats = (struct front_kafka_stats){
        .connections = atomic_load_explicit(&front->connections, memory_order_relaxed)};
    for (uint32_t i = 0; i < front->part_count; i++) {
        struct kafka_shard *ks = &front->parts[i];
        ret_stats->refused += atomic_load_explicit(&ks->refused, memory_order_relaxed);
        ret_stats->waiting += atomic_load_explicit(&ks->waiting, memory_order_relaxed);
        ret_stats->requests += atomic_load_explicit(&ks->requests, memory_order_relaxed);
        ret_stats->request_errors +=
            atomic_load_explicit(&ks->request_errors, memory_order_relaxed);
    }
}
