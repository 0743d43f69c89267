/*
 * Sessions: windows, transfer numbers, and the links by handle.
 *
 * Our channel and handle numbers are the client's: each side may choose its own, and equal ones
 * need no table.
 *
 * Invariants
 *  (1) The client's transfers are counted but its window is never enforced: one client counts
 * messages, not frames. (2) remote_window is never passed by the first frame of a delivery. (3)
 * Accepted deliveries with consecutive ids leave as one disposition at the end of the turn. (4) A
 * session is in its connection's dirty list or self-linked. (5) One that we have ended has no links
 * and stays until the peer ends it too; what comes for it meanwhile is passed over.
 *
 * Ownership and shard: its connection's.
 *
 * Failure: a frame that does not decode, or a channel or handle out of range, ends the connection; a
 * handle that is in use or was never attached ends the session.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "front/eventhubs/eh_int.h"

static bool sessions_grow(struct eh_conn *conn, uint16_t channel)
{
    if (channel < conn->session_cap)
        return true;
    uint32_t cap = conn->session_cap ? conn->session_cap : 8;
    while (cap <= channel)
        cap *= 2;
    struct eh_session **sessions = realloc(conn->sessions, cap * sizeof(struct eh_session *));
    if (!sessions)
        return false;
    for (uint32_t i = conn->session_cap; i < cap; i++)
        sessions[i] = NULL;
    conn->sessions = sessions;
    conn->session_cap = cap;
    return true;
}

void eh_session_begin(struct eh_conn *conn, uint16_t channel, const struct amqp_value *body)
{
    struct amqp_begin begin;
    if (!amqp_begin_decode(body, &begin)) {
        eh_conn_fail(conn, "amqp:decode-error", "The begin frame is not valid.");
        return;
    }
    if (channel > EH_CHANNEL_MAX) {
        eh_conn_fail(conn, "amqp:connection:framing-error",
                     "Channel %u is above channel-max, which is %d.", channel, EH_CHANNEL_MAX);
        return;
    }
    if (channel < conn->session_cap && conn->sessions[channel]) {
        eh_conn_fail(conn, "amqp:not-allowed", "Channel %u has a session.", channel);
        return;
    }
    struct eh_session *session = NULL;
    bool held = eh_conn_hold(conn, sizeof(*session));
    if (held && sessions_grow(conn, channel))
        session = calloc(1, sizeof(*session));
    if (!session) {
        if (held)
            eh_conn_unhold(conn, sizeof(*session));
        eh_conn_fail(conn, "amqp:resource-limit-exceeded",
                     "The connection holds too much for another session.");
        return;
    }
    session->conn = conn;
    session->channel = channel;
    session->next_incoming_id = begin.next_outgoing_id;
    session->next_outgoing_id = 1;
    session->next_delivery_id = 1;
    session->remote_window = begin.incoming_window;
    list_init(&session->dirty);
    conn->sessions[channel] = session;
    struct amqp_begin answer = {.remote_channel = channel,
                                .has_remote_channel = true,
                                .next_outgoing_id = 1,
                                .incoming_window = EH_WINDOW,
                                .outgoing_window = begin.incoming_window,
                                .handle_max = EH_HANDLE_MAX};
    amqp_begin_encode(eh_conn_frame(conn, channel), &answer);
    eh_conn_send(conn);
}

static void session_links_drop(struct eh_session *session)
{
    for (unsigned i = 0; i <= EH_HANDLE_MAX; i++) {
        if (session->links[i])
            eh_link_drop(session->links[i]);
    }
}

void eh_session_destroy(struct eh_session *session)
{
    struct eh_conn *conn = session->conn;
    ASSERT(conn->sessions[session->channel] == session);
    session_links_drop(session);
    list_remove(&session->dirty);
    conn->sessions[session->channel] = NULL;
    eh_conn_unhold(conn, sizeof(*session));
    free(session);
}

void eh_session_fail(struct eh_session *session, const char *condition, const char *format, ...)
{
    struct eh_conn *conn = session->conn;
    struct eh_error error;
    char text[256];
    va_list args;
    ASSERT(!session->ended);
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    eh_session_settle(session);
    session_links_drop(session);
    session->ended = true;
    eh_error_set(&error, conn->part, condition, "%s", text);
    struct amqp_end end = {.error = eh_error_encode(conn->part, &error)};
    amqp_end_encode(eh_conn_frame(conn, session->channel), &end);
    eh_conn_send(conn);
}

void eh_session_touch(struct eh_session *session)
{
    list_remove(&session->dirty);
    list_push_back(&session->conn->dirty, &session->dirty);
    reactor_at_turn_end(session->conn->part->shard->reactor, &session->conn->flush);
}

static void disposition_send(struct eh_session *session, uint32_t first, uint32_t last,
                             struct slice state)
{
    struct amqp_disposition disposition = {.role = true,
                                           .first = first,
                                           .last = last,
                                           .has_last = true,
                                           .settled = true,
                                           .state = state};
    amqp_disposition_encode(eh_conn_frame(session->conn, session->channel), &disposition);
    eh_conn_send(session->conn);
}

void eh_session_settle(struct eh_session *session)
{
    static const uint8_t accepted[] = {0x00, 0x53, AMQP_CODE_ACCEPTED, 0x45};
    if (!session->accept_pending)
        return;
    session->accept_pending = false;
    disposition_send(session, session->accept_first, session->accept_last,
                     slice_make(accepted, sizeof(accepted)));
}

void eh_session_accept(struct eh_session *session, uint32_t delivery_id)
{
    if (session->accept_pending && delivery_id == session->accept_last + 1) {
        session->accept_last = delivery_id;
        return;
    }
    eh_session_settle(session);
    session->accept_pending = true;
    session->accept_first = session->accept_last = delivery_id;
    eh_session_touch(session);
}

void eh_session_reject(struct eh_session *session, uint32_t delivery_id,
                       const struct eh_error *error)
{
    struct eh_shard *part = session->conn->part;
    struct bytebuf state;
    eh_session_settle(session);
    bytebuf_init(&state, 4096);
    struct amqp_rejected rejected = {.error = eh_error_encode(part, error)};
    amqp_rejected_encode(&state, &rejected);
    if (!state.failed)
        disposition_send(session, delivery_id, delivery_id, bytebuf_slice(&state));
    bytebuf_deinit(&state);
}

void eh_session_flow(struct eh_session *session, const struct eh_link *link)
{
    struct amqp_flow flow = {.next_incoming_id = session->next_incoming_id,
                             .has_next_incoming_id = true,
                             .incoming_window = EH_WINDOW,
                             .next_outgoing_id = session->next_outgoing_id,
                             .outgoing_window = session->remote_window};
    if (link) {
        bool out = link->kind == EH_LINK_REPLIES || link->kind == EH_LINK_RECEIVER;
        flow.handle = link->handle;
        flow.delivery_count = link->delivery_count;
        flow.link_credit = out ? link->out_credit : link->credit;
        flow.has_handle = flow.has_delivery_count = flow.has_link_credit = true;
        flow.drain = out && link->drain;
        flow.available = 0;
        flow.has_available = out;
    }
    session->incoming_since = 0;
    amqp_flow_encode(eh_conn_frame(session->conn, session->channel), &flow);
    eh_conn_send(session->conn);
}

void eh_session_flush(struct eh_session *session)
{
    eh_session_settle(session);
    for (unsigned i = 0; i <= EH_HANDLE_MAX; i++) {
        struct eh_link *link = session->links[i];
        if (link && link->attached)
            eh_link_credit(link);
    }
    if (session->incoming_since >= EH_WINDOW / 2)
        eh_session_flow(session, NULL);
}

void eh_session_pump(struct eh_session *session)
{
    for (unsigned i = 0; i <= EH_HANDLE_MAX; i++) {
        struct eh_link *link = session->links[i];
        if (!link || !link->attached)
            continue;
        if (link->kind == EH_LINK_RECEIVER)
            eh_receiver_pump(link);
        else if (link->kind == EH_LINK_REPLIES)
            eh_out_pump(link);
    }
}

/* Whether a frame for this handle is one for a link, be it one that has gone meanwhile; false when
 * session or connection have been ended over it. */
static bool handle_known(struct eh_session *session, uint32_t handle)
{
    if (handle > EH_HANDLE_MAX) {
        eh_conn_fail(session->conn, "amqp:connection:framing-error",
                     "Handle %u is above handle-max, which is %d.", handle, EH_HANDLE_MAX);
        return false;
    }
    if (session->handles_seen[handle / 64] >> handle % 64 & 1)
        return true;
    eh_session_fail(session, "amqp:session:unattached-handle", "Handle %u is not attached.",
                    handle);
    return false;
}

static void session_flow(struct eh_session *session, const struct amqp_value *body)
{
    struct amqp_flow flow;
    if (!amqp_flow_decode(body, &flow)) {
        eh_conn_fail(session->conn, "amqp:decode-error", "The flow frame is not valid.");
        return;
    }
    /* Transfers that the peer had not seen when it said this have used up some of its window. */
    uint32_t seen = flow.has_next_incoming_id ? flow.next_incoming_id : 1;
    uint32_t unseen = session->next_outgoing_id - seen;
    if (unseen > INT32_MAX)
        unseen = 0; /* it counts more than there were */
    session->remote_window = flow.incoming_window > unseen ? flow.incoming_window - unseen : 0;
    if (flow.has_handle && !handle_known(session, flow.handle))
        return;
    struct eh_link *link = flow.has_handle ? session->links[flow.handle] : NULL;
    if (link)
        eh_link_flow(link, &flow);
    else if (flow.echo && !flow.has_handle)
        eh_session_flow(session, NULL);
    eh_session_pump(session);
}

static void session_transfer(struct eh_session *session, const struct amqp_value *body,
                             struct slice payload)
{
    struct amqp_transfer transfer;
    if (!amqp_transfer_decode(body, &transfer)) {
        eh_conn_fail(session->conn, "amqp:decode-error", "The transfer frame is not valid.");
        return;
    }
    if (!handle_known(session, transfer.handle))
        return;
    session->next_incoming_id++;
    if (++session->incoming_since >= EH_WINDOW / 2)
        eh_session_touch(session);
    struct eh_link *link = session->links[transfer.handle];
    if (link)
        eh_link_transfer(link, &transfer, payload);
}

static void session_detach(struct eh_session *session, const struct amqp_value *body)
{
    struct amqp_detach detach;
    if (!amqp_detach_decode(body, &detach)) {
        eh_conn_fail(session->conn, "amqp:decode-error", "The detach frame is not valid.");
        return;
    }
    if (!handle_known(session, detach.handle))
        return;
    struct eh_link *link = session->links[detach.handle];
    if (!link)
        return;
    bool attached = link->attached;
    eh_session_settle(session);
    if (!attached)
        eh_link_attach_reply(link);
    eh_link_drop(link);
    struct amqp_detach answer = {.handle = detach.handle, .closed = detach.closed};
    amqp_detach_encode(eh_conn_frame(session->conn, session->channel), &answer);
    eh_conn_send(session->conn);
}

void eh_session_frame(struct eh_session *session, const struct amqp_value *body,
                      struct slice payload)
{
    struct eh_conn *conn = session->conn;
    uint16_t channel = session->channel;
    if (session->ended) {
        if (body->code == AMQP_CODE_END)
            eh_session_destroy(session);
        return;
    }
    switch (body->code) {
    case AMQP_CODE_ATTACH:
        eh_link_attach(session, body);
        break;
    case AMQP_CODE_FLOW:
        session_flow(session, body);
        break;
    case AMQP_CODE_TRANSFER:
        session_transfer(session, body, payload);
        break;
    case AMQP_CODE_DISPOSITION:
        break; /* what we send is settled, or needs no answer */
    case AMQP_CODE_DETACH:
        session_detach(session, body);
        break;
    case AMQP_CODE_END:
        eh_session_settle(session);
        eh_session_destroy(session);
        amqp_end_encode(eh_conn_frame(conn, channel), &(struct amqp_end){.error = SLICE_NULL});
        eh_conn_send(conn);
        break;
    default:
        eh_conn_fail(conn, "amqp:not-implemented", "Performative 0x%llx is not known.",
                     (unsigned long long)body->code);
    }
}
