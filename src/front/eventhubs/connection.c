/*
 * One AMQP connection: protocol headers, open and close, frames to their sessions, heartbeats.
 *
 *     HEADER -> SASL -> AMQP_HEADER -> OPENING -> OPEN -> CLOSED
 *        '------------- AMQP header without SASL, where access is open ----'
 *
 * Invariants
 *  (1) Clients pipeline: a frame is served in the state that the frames before it left, never
 * waited for. (2) stream is NULL exactly after on_close; nothing is written then. (3) inflight is
 * the sum of the bytes of all appends under way; reading stops above EH_INFLIGHT_HIGH. (4) The
 * connection lives while refs > 0: one for the stream, one per link.
 *
 * Ownership and shard: the shard that accepted it. Freed by its last reference.
 *
 * Failure: what breaks the protocol ends the connection with close and a condition; wrong first
 * bytes are answered with the SASL header and closed, and what came is reported.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "front/eventhubs/eh_int.h"

static const uint8_t header_sasl[8] = {'A', 'M', 'Q', 'P', 3, 1, 0, 0};
static const uint8_t header_amqp[8] = {'A', 'M', 'Q', 'P', 0, 1, 0, 0};

struct eh_conn *eh_conn_ref(struct eh_conn *conn)
{
    ASSERT(conn->refs > 0);
    conn->refs++;
    return conn;
}

void eh_conn_unref(struct eh_conn *conn)
{
    ASSERT(conn->refs > 0);
    if (--conn->refs > 0)
        return;
    ASSERT(!conn->stream && conn->link_count == 0 && conn->held == 0);
    free(conn->sessions);
    free(conn->grants);
    free(conn);
}

struct bytebuf *eh_conn_frame(struct eh_conn *conn, uint16_t channel)
{
    struct bytebuf *frame = &conn->part->frame;
    bytebuf_clear(frame);
    (void)amqp_frame_begin(frame, AMQP_FRAME_TYPE_AMQP, channel);
    return frame;
}

static void conn_write(struct eh_conn *conn, struct slice bytes)
{
    if (!conn->stream)
        return;
    conn->sent_us = reactor_now_us(conn->part->shard->reactor);
    stream_write(conn->stream, bytes);
}

void eh_conn_send(struct eh_conn *conn)
{
    struct bytebuf *frame = &conn->part->frame;
    ASSERT(frame->len >= AMQP_FRAME_HEADER);
    amqp_frame_end(frame, 0);
    if (frame->failed || conn->state == EH_CONN_CLOSED)
        return;
    conn_write(conn, bytebuf_slice(frame));
    if (conn->stranger && conn->stream && stream_pending(conn->stream) > EH_PENDING_STRANGER)
        stream_abort(conn->stream, ERR_LIMIT); /* it asks and does not read */
}

/* Sends close and lets the stream end after it. error NULL: an orderly close. */
static void conn_finish(struct eh_conn *conn, const struct eh_error *error)
{
    if (conn->state == EH_CONN_CLOSED)
        return;
    if (conn->state == EH_CONN_OPENING && error) {
        /* A close must follow an open. */
        struct amqp_open open = {.container_id = slice_cstr(conn->container),
                                 .max_frame_size = EH_FRAME_MAX,
                                 .channel_max = EH_CHANNEL_MAX};
        amqp_open_encode(eh_conn_frame(conn, 0), &open);
        eh_conn_send(conn);
    }
    if (conn->state >= EH_CONN_OPENING) {
        struct amqp_close close = {.error = eh_error_encode(conn->part, error)};
        amqp_close_encode(eh_conn_frame(conn, 0), &close);
        eh_conn_send(conn);
    }
    conn->state = EH_CONN_CLOSED;
    if (conn->stream)
        stream_close(conn->stream);
}

void eh_conn_fail(struct eh_conn *conn, const char *condition, const char *format, ...)
{
    struct eh_error error;
    char text[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (conn->state == EH_CONN_CLOSED)
        return;
    eh_error_set(&error, conn->part, condition, "%s", text);
    diag(DIAG_WARN, "eventhubs", "peer=%s condition=%s text=\"%s\"",
         conn->stream ? stream_peer(conn->stream) : "-", condition, text);
    conn_finish(conn, &error);
}

int64_t eh_conn_allowed_until(const struct eh_conn *conn, unsigned right, struct slice hub)
{
    int64_t now_s = reactor_wall_ms(conn->part->shard->reactor) / 1000;
    int64_t until_s = INT64_MIN;
    if (conn->part->config->options.open_access)
        return INT64_MAX;
    for (uint32_t i = 0; i < conn->grant_count; i++) {
        const struct eh_grant *grant = &conn->grants[i];
        if (grant->expires_s > until_s && eh_grant_covers(grant, right, hub, now_s))
            until_s = grant->expires_s;
    }
    return until_s;
}

bool eh_conn_allows(const struct eh_conn *conn, unsigned right, struct slice hub)
{
    return eh_conn_allowed_until(conn, right, hub) > INT64_MIN;
}

bool eh_conn_grant(struct eh_conn *conn, const struct eh_grant *grant)
{
    eh_conn_trust(conn);
    for (uint32_t i = 0; i < conn->grant_count; i++) {
        if (strcmp(conn->grants[i].resource, grant->resource) == 0) {
            conn->grants[i] = *grant;
            return true;
        }
    }
    if (conn->grant_count == EH_GRANTS_MAX)
        return false;
    if (conn->grant_count == conn->grant_cap) {
        uint32_t cap = conn->grant_cap ? conn->grant_cap * 2 : 4;
        struct eh_grant *grants = realloc(conn->grants, cap * sizeof(*grants));
        if (!grants)
            return false;
        conn->grants = grants;
        conn->grant_cap = cap;
    }
    conn->grants[conn->grant_count++] = *grant;
    return true;
}

void eh_conn_inflight_add(struct eh_conn *conn, size_t bytes)
{
    conn->inflight += bytes;
    if (conn->inflight > EH_INFLIGHT_HIGH && conn->stream)
        stream_pause(conn->stream);
}

void eh_conn_inflight_sub(struct eh_conn *conn, size_t bytes)
{
    ASSERT(conn->inflight >= bytes);
    bool was_high = conn->inflight > EH_INFLIGHT_LOW;
    conn->inflight -= bytes;
    if (was_high && conn->inflight <= EH_INFLIGHT_LOW && conn->stream &&
        conn->state != EH_CONN_CLOSED)
        stream_resume(conn->stream);
}

/* ---- frames ---- */

static void conn_open(struct eh_conn *conn, const struct amqp_value *body)
{
    struct amqp_open open;
    if (conn->state != EH_CONN_OPENING || !amqp_open_decode(body, &open)) {
        eh_conn_fail(conn, "amqp:decode-error", "The open frame is not valid here.");
        return;
    }
    if (open.max_frame_size < AMQP_FRAME_MIN_MAX) {
        eh_conn_fail(conn, "amqp:invalid-field", "max-frame-size must be at least %d.",
                     AMQP_FRAME_MIN_MAX);
        return;
    }
    if (open.has_idle_time_out && open.idle_time_out > 0 && open.idle_time_out < EH_IDLE_MIN_MS) {
        eh_conn_fail(conn, "amqp:invalid-field", "idle-time-out must be at least %d.",
                     EH_IDLE_MIN_MS);
        return;
    }
    conn->frame_max = open.max_frame_size < EH_FRAME_MAX ? open.max_frame_size : EH_FRAME_MAX;
    conn->peer_idle_ms = open.has_idle_time_out ? open.idle_time_out : 0;
    struct amqp_open answer = {.container_id = slice_cstr(conn->container),
                               .max_frame_size = EH_FRAME_MAX,
                               .channel_max = EH_CHANNEL_MAX,
                               .idle_time_out = conn->part->config->options.idle_ms,
                               .has_idle_time_out = true};
    amqp_open_encode(eh_conn_frame(conn, 0), &answer);
    eh_conn_send(conn);
    conn->state = EH_CONN_OPEN;
}

static struct eh_session *conn_session(const struct eh_conn *conn, uint16_t channel)
{
    return channel < conn->session_cap ? conn->sessions[channel] : NULL;
}

static void conn_amqp_frame(struct eh_conn *conn, const struct amqp_frame *frame)
{
    struct slice payload = frame->body;
    struct amqp_value body;
    if (payload.len == 0)
        return; /* a heartbeat */
    if (!amqp_value_read(&payload, &body) || body.type != AMQP_DESCRIBED) {
        eh_conn_fail(conn, "amqp:decode-error", "A frame's body is not a performative.");
        return;
    }
    if (body.code == AMQP_CODE_OPEN) {
        conn_open(conn, &body);
        return;
    }
    if (conn->state != EH_CONN_OPEN) {
        eh_conn_fail(conn, "amqp:not-allowed", "The first frame must be open.");
        return;
    }
    struct eh_session *session = conn_session(conn, frame->channel);
    if (body.code == AMQP_CODE_CLOSE) {
        conn_finish(conn, NULL);
    } else if (body.code == AMQP_CODE_BEGIN) {
        eh_session_begin(conn, frame->channel, &body);
    } else if (session) {
        eh_session_frame(session, &body, payload);
    } else if (body.code == AMQP_CODE_ATTACH) {
        eh_conn_fail(conn, "amqp:not-allowed", "Channel %u has no session.", frame->channel);
    } else if (body.code < AMQP_CODE_OPEN || body.code > AMQP_CODE_CLOSE) {
        eh_conn_fail(conn, "amqp:not-implemented", "Performative 0x%llx is not known.",
                     (unsigned long long)body.code);
    }
    /* Anything else on an ended channel is late news of a client that ends before it detaches. */
}

static void conn_sasl_frame(struct eh_conn *conn, const struct amqp_frame *frame)
{
    struct slice payload = frame->body;
    struct amqp_value body;
    if (frame->type != AMQP_FRAME_TYPE_SASL || !amqp_value_read(&payload, &body) ||
        payload.len > 0) {
        eh_conn_fail(conn, "amqp:decode-error", "A SASL frame is expected.");
        return;
    }
    eh_sasl_frame(conn, &body);
}

/* One of the two protocol headers in the first eight bytes. */
static void conn_header(struct eh_conn *conn, const uint8_t *at)
{
    if (conn->state == EH_CONN_HEADER && memcmp(at, header_sasl, 8) == 0) {
        conn_write(conn, slice_make(header_sasl, 8));
        eh_sasl_start(conn);
        conn->state = EH_CONN_SASL;
        return;
    }
    bool bare = conn->state == EH_CONN_HEADER && conn->part->config->options.open_access;
    if (memcmp(at, header_amqp, 8) == 0 && (bare || conn->state == EH_CONN_AMQP_HEADER)) {
        conn_write(conn, slice_make(header_amqp, 8));
        conn->state = EH_CONN_OPENING;
        if (conn->refusal)
            eh_conn_fail(conn, conn->refusal, "The server has no room for another connection.");
        return;
    }
    diag(DIAG_WARN, "eventhubs",
         "peer=%s text=\"not an AMQP 1.0 header\" got=%02x%02x%02x%02x%02x%02x%02x%02x",
         stream_peer(conn->stream), at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7]);
    EH_COUNT(conn->part->stat_refused, 1);
    conn_write(conn, slice_make(header_sasl, 8));
    conn->state = EH_CONN_CLOSED;
    stream_close(conn->stream);
}

/* Serves one header or frame; false when there is none, or no more are wanted now. */
static bool conn_step(struct eh_conn *conn)
{
    struct slice input = stream_input(conn->stream);
    struct amqp_frame frame;
    size_t need = AMQP_FRAME_HEADER;
    if (conn->state == EH_CONN_CLOSED || conn->inflight > EH_INFLIGHT_HIGH || input.len == 0)
        return false;
    bool wants_header = conn->state == EH_CONN_HEADER || conn->state == EH_CONN_AMQP_HEADER;
    enum amqp_frame_result result = AMQP_FRAME_MORE;
    if (wants_header && input.len >= 8) {
        conn_header(conn, input.data);
        stream_consume(conn->stream, 8);
        return true;
    }
    if (!wants_header)
        result = amqp_frame_read(input, EH_FRAME_MAX, &frame, &need);
    switch (result) {
    case AMQP_FRAME_MORE:
        if (stream_need(conn->stream, need) != ERR_OK)
            eh_conn_fail(conn, "amqp:connection:framing-error",
                         "A frame of %zu bytes is too large.", need);
        return false;
    case AMQP_FRAME_OK:
        if (conn->state == EH_CONN_SASL)
            conn_sasl_frame(conn, &frame);
        else if (frame.type == AMQP_FRAME_TYPE_AMQP)
            conn_amqp_frame(conn, &frame);
        else
            eh_conn_fail(conn, "amqp:connection:framing-error", "Frame type %u is not known.",
                         frame.type);
        stream_consume(conn->stream, frame.size);
        return true;
    default:
        eh_conn_fail(conn, "amqp:connection:framing-error",
                     "A frame's size or data offset is not valid.");
        return false;
    }
}

static void conn_on_data(struct stream *stream, void *arg)
{
    struct eh_conn *conn = arg;
    ASSERT(conn->stream == stream);
    conn->heard_us = reactor_now_us(conn->part->shard->reactor);
    if (atomic_load_explicit(&conn->part->front->hubs_pending, memory_order_acquire) > 0) {
        stream_pause(stream); /* until eh_conn_start */
        return;
    }
    while (!stream_closing(stream) && conn_step(conn))
        ;
}

static void conn_pump(struct eh_conn *conn)
{
    for (uint32_t i = 0; i < conn->session_cap && conn->state == EH_CONN_OPEN; i++) {
        if (conn->sessions[i])
            eh_session_pump(conn->sessions[i]);
    }
}

static void conn_on_drain(struct stream *stream, void *arg)
{
    conn_pump(arg);
}

static void conn_on_close(struct stream *stream, enum err reason, void *arg)
{
    struct eh_conn *conn = arg;
    ASSERT(conn->stream == stream);
    conn->stream = NULL;
    conn->state = EH_CONN_CLOSED;
    reactor_hook_cancel(&conn->flush);
    for (uint32_t i = 0; i < conn->session_cap; i++) {
        if (conn->sessions[i])
            eh_session_destroy(conn->sessions[i]);
    }
    list_remove(&conn->node);
    eh_conn_leave(conn);
    conn->part->conn_count--;
    atomic_fetch_sub_explicit(&conn->part->stat_connections, 1, memory_order_relaxed);
    struct eh_shard *part = conn->part;
    eh_conn_unref(conn);
    if (part->stopping && part->conn_count == 0)
        shard_stop_done(&part->stop);
}

static void conn_flush(struct hook *hook)
{
    struct eh_conn *conn = CONTAINER_OF(hook, struct eh_conn, flush);
    struct list_node *node;
    while ((node = list_pop_front(&conn->dirty)) != NULL)
        eh_session_flush(CONTAINER_OF(node, struct eh_session, dirty));
}

static const struct stream_ops conn_ops = {
    .on_data = conn_on_data, .on_drain = conn_on_drain, .on_close = conn_on_close};

void eh_conn_accept(struct shard *shard, struct conn *socket, void *arg)
{
    struct front_eventhubs *front = arg;
    struct eh_shard *part = &front->parts[shard->index];
    struct eh_conn *conn = NULL;
    if (!part->stopping && part->refused_count < EH_REFUSED_MAX)
        conn = calloc(1, sizeof(*conn));
    if (!conn) {
        EH_COUNT(part->stat_refused, 1);
        conn_close(socket);
        return;
    }
    static const struct stream_config config = {.in_limit = 256 << 10};
    conn->part = part;
    conn->refs = 1;
    conn->frame_max = AMQP_FRAME_MIN_MAX;
    hook_init(&conn->flush, conn_flush);
    list_init(&conn->dirty);
    conn->born_us = conn->trusted_us = reactor_now_us(shard->reactor);
    conn->heard_us = conn->sent_us = conn->links_gone_us = conn->born_us;
    (void)snprintf(conn->container, sizeof(conn->container), "%016llx%016llx_G%u",
                   (unsigned long long)random_u64(&shard->random),
                   (unsigned long long)random_u64(&shard->random), shard->index);
    conn->stream = stream_create(shard->reactor, socket, &config, &conn_ops, conn);
    if (!conn->stream) {
        free(conn);
        return;
    }
    eh_conn_enter(conn);
    list_push_back(&part->conns, &conn->node);
    part->conn_count++;
    EH_COUNT(part->stat_connections, 1);
}

/* ---- time ---- */

void eh_conn_start(struct eh_conn *conn)
{
    if (conn->stream && conn->state != EH_CONN_CLOSED)
        stream_resume(conn->stream);
}

void eh_conn_stop(struct eh_conn *conn)
{
    struct eh_error error;
    if (conn->state == EH_CONN_CLOSED)
        return;
    eh_error_set(&error, conn->part, "amqp:connection:forced", "The server is shutting down.");
    conn_finish(conn, &error);
    conn->state = EH_CONN_CLOSED;
}

static uint64_t since_ms(uint64_t now_us, uint64_t then_us)
{
    return now_us > then_us ? (now_us - then_us) / 1000 : 0;
}

/* Whether a token covers the link now; grants are walked only when the best one known has expired.
 */
static bool link_allowed(struct eh_link *link, int64_t now_s)
{
    unsigned right = link->kind == EH_LINK_SENDER ? EVENTHUBS_SEND : EVENTHUBS_LISTEN;
    if (link->allowed_s > now_s)
        return true;
    link->allowed_s = eh_conn_allowed_until(link->conn, right, link->address.hub);
    return link->allowed_s > INT64_MIN;
}

/* Detaches links whose token has expired, and senders that were idle for too long. */
static void conn_check_links(struct eh_conn *conn, uint64_t now_us)
{
    int64_t now_s = reactor_wall_ms(conn->part->shard->reactor) / 1000;
    uint32_t idle_ms = conn->part->config->options.link_idle_ms;
    for (uint32_t i = 0; i < conn->session_cap && conn->state == EH_CONN_OPEN; i++) {
        for (unsigned handle = 0; conn->sessions[i] && handle <= EH_HANDLE_MAX; handle++) {
            struct eh_link *link = conn->sessions[i]->links[handle];
            if (!link || !link->attached || !link->topic)
                continue;
            if (!link_allowed(link, now_s))
                eh_link_fail_text(link, "amqp:unauthorized-access",
                                  "ExpiredToken: The token that the link was attached with has "
                                  "expired and was not renewed.");
            else if (idle_ms && link->kind == EH_LINK_SENDER && link->appending == 0 &&
                     since_ms(now_us, link->used_us) > idle_ms)
                eh_link_fail_text(link, "amqp:link:detach-forced",
                                  "The link was idle for more than the allowed %u milliseconds.",
                                  idle_ms);
        }
    }
}

void eh_conn_tick(struct eh_conn *conn)
{
    const struct eventhubs_options *options = &conn->part->config->options;
    uint64_t now_us = reactor_now_us(conn->part->shard->reactor);
    if (conn->state == EH_CONN_CLOSED || eh_conn_overdue(conn, now_us))
        return;
    if (conn->inflight > EH_INFLIGHT_HIGH)
        conn->heard_us = now_us; /* it is us who do not listen */
    if (options->idle_ms && since_ms(now_us, conn->heard_us) > options->idle_ms) {
        eh_conn_fail(conn, "amqp:connection:forced", "The peer was silent for %u milliseconds.",
                     options->idle_ms);
        return;
    }
    if (conn->state != EH_CONN_OPEN)
        return;
    if (!options->open_access || options->link_idle_ms)
        conn_check_links(conn, now_us);
    uint64_t linkless_ms = since_ms(now_us, conn->links_gone_us);
    uint32_t allowed_ms = conn->had_link ? options->linkless_ms : options->unused_ms;
    if (conn->link_count == 0 && allowed_ms && linkless_ms > allowed_ms) {
        eh_conn_fail(conn, "amqp:connection:forced",
                     "The connection was inactive for more than the allowed %u milliseconds and is "
                     "closed by container "
                     "'LinkTracker'.",
                     allowed_ms);
        return;
    }
    if (conn->peer_idle_ms && since_ms(now_us, conn->sent_us) * 2 + 2000 > conn->peer_idle_ms) {
        (void)eh_conn_frame(conn, 0);
        eh_conn_send(conn);
    }
}
