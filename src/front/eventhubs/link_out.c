/*
 * Deliveries to clients: cutting messages into frames, and the answers of $cbs and $management.
 *
 *     transfer{id, tag, format, more} part | transfer{more} part | ... | transfer part
 *
 * Invariants
 *  (1) No frame is larger than the client said it takes.
 *  (2) Credit is looked at before a delivery, the session's window before each of its frames: what
 * the window does not take waits in link->rest, and nothing else is sent on the link before it.
 *  (3) Answers wait in order when the client has given no credit, at most EH_OUTBOX_MAX of them and
 * EH_OUTBOX_BYTES_MAX bytes.
 *  (4) Delivery ids of a session have no gaps, however many frames a delivery takes.
 *
 * Ownership and shard: the connection's. Large bodies go out as pinned ranges of the block they
 * came in.
 *
 * Failure: a full outbox refuses the answer; the caller detaches the requester. No memory for the
 * rest of a delivery detaches the link, since a half delivery cannot be taken back.
 */
#include <stdlib.h>

#include "front/eventhubs/eh_int.h"

enum { PIN_MIN = 4096 /* bodies from this size on are not copied */ };

/* One part of a message and how much of it is sent. */
struct piece {
    struct slice bytes;
    struct iobuf *pin;
};

/* Writes up to room bytes off the front of the pieces. */
static void pieces_write(struct stream *stream, struct piece pieces[3], size_t room)
{
    for (unsigned i = 0; i < 3 && room > 0; i++) {
        struct piece *piece = &pieces[i];
        size_t n = piece->bytes.len < room ? piece->bytes.len : room;
        if (n == 0)
            continue;
        if (piece->pin && n >= PIN_MIN)
            stream_write_range(stream,
                               (struct iobuf_range){iobuf_ref(piece->pin), {piece->bytes.data, n}});
        else
            stream_write(stream, slice_make(piece->bytes.data, n));
        piece->bytes = slice_sub(piece->bytes, n, SIZE_MAX);
        room -= n;
    }
}

static struct amqp_transfer transfer_first(const struct eh_link *link, bool settled,
                                           const uint8_t tag[4])
{
    return (struct amqp_transfer){.handle = link->handle,
                                  .delivery_id = link->session->next_delivery_id,
                                  .has_delivery_id = true,
                                  .delivery_tag = settled ? SLICE_LIT("") : slice_make(tag, 4),
                                  .has_message_format = true,
                                  .settled = settled,
                                  .has_settled = true,
                                  .batchable = settled};
}

/* What is left of a delivery whose frames the peer's window has stopped. */
struct eh_rest {
    size_t len;
    size_t at; /* sent so far */
    uint8_t bytes[];
};

static size_t pieces_left(const struct piece pieces[3])
{
    return pieces[0].bytes.len + pieces[1].bytes.len + pieces[2].bytes.len;
}

/* Writes one frame; *transfer becomes that of the next. */
static void frame_send(struct eh_link *link, struct amqp_transfer *transfer, struct piece pieces[3])
{
    struct eh_conn *conn = link->conn;
    struct eh_session *session = link->session;
    size_t left = pieces_left(pieces);
    ASSERT(session->remote_window > 0);
    transfer->more = left > conn->frame_max; /* more is one byte either way */
    struct bytebuf *frame = eh_conn_frame(conn, session->channel);
    amqp_transfer_encode(frame, transfer);
    size_t room = conn->frame_max > frame->len ? conn->frame_max - frame->len : 1;
    if (transfer->more != (left > room)) {
        transfer->more = left > room;
        frame = eh_conn_frame(conn, session->channel);
        amqp_transfer_encode(frame, transfer);
    }
    size_t now = left < room ? left : room;
    amqp_frame_end_with(frame, 0, now);
    stream_write(conn->stream, bytebuf_slice(frame));
    pieces_write(conn->stream, pieces, now);
    session->next_outgoing_id++;
    session->remote_window--;
    *transfer = (struct amqp_transfer){.handle = link->handle};
}

/* Copies what the window has stopped; the link is gone when there is no memory for it. */
static void rest_keep(struct eh_link *link, const struct piece pieces[3])
{
    size_t len = pieces_left(pieces);
    bool counted = eh_link_hold(link, sizeof(struct eh_rest) + len);
    struct eh_rest *rest = counted ? malloc(sizeof(*rest) + len) : NULL;
    if (!rest) {
        if (counted)
            eh_link_unhold(link, sizeof(struct eh_rest) + len);
        eh_link_fail_text(link, "com.microsoft:server-busy",
                          "No memory for a delivery that waits for the session's window.");
        return;
    }
    rest->len = len;
    rest->at = 0;
    size_t at = 0;
    for (unsigned i = 0; i < 3; i++) {
        if (pieces[i].bytes.len > 0)
            memcpy(rest->bytes + at, pieces[i].bytes.data, pieces[i].bytes.len);
        at += pieces[i].bytes.len;
    }
    link->rest = rest;
}

static void rest_drop(struct eh_link *link)
{
    if (!link->rest)
        return;
    eh_link_unhold(link, sizeof(*link->rest) + link->rest->len);
    free(link->rest);
    link->rest = NULL;
}

void eh_out_transfer(struct eh_link *link, const struct event_parts *parts, struct iobuf *pin,
                     bool settled)
{
    struct eh_conn *conn = link->conn;
    struct piece pieces[3] = {{parts->head, NULL}, {parts->body, pin}, {parts->tail, NULL}};
    uint32_t n = link->delivery_count;
    const uint8_t tag[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    struct amqp_transfer transfer = transfer_first(link, settled, tag);
    ASSERT(link->session && link->out_credit > 0 && !link->rest);
    if (!conn->stream || conn->state == EH_CONN_CLOSED)
        return;
    link->delivery_count++;
    link->out_credit--;
    link->session->next_delivery_id++;
    conn->sent_us = reactor_now_us(link->part->shard->reactor);
    do {
        frame_send(link, &transfer, pieces);
    } while (pieces_left(pieces) > 0 && link->session->remote_window > 0);
    if (pieces_left(pieces) > 0)
        rest_keep(link, pieces);
}

bool eh_out_resume(struct eh_link *link)
{
    struct eh_conn *conn = link->conn;
    struct eh_rest *rest = link->rest;
    struct amqp_transfer transfer = {.handle = link->handle};
    ASSERT(link->session);
    if (!rest)
        return true;
    if (!conn->stream || conn->state == EH_CONN_CLOSED)
        return false;
    while (rest->at < rest->len && link->session->remote_window > 0) {
        struct piece pieces[3] = {{slice_make(rest->bytes + rest->at, rest->len - rest->at), NULL}};
        frame_send(link, &transfer, pieces);
        rest->at = rest->len - pieces_left(pieces);
        conn->sent_us = reactor_now_us(link->part->shard->reactor);
    }
    if (rest->at < rest->len)
        return false;
    rest_drop(link);
    return true;
}

/* ---- answers ---- */

struct reply {
    struct list_node node;
    size_t len;
    uint8_t bytes[];
};

/* The oldest answer, no longer counted; NULL: none. */
static struct reply *reply_take(struct eh_link *link)
{
    struct list_node *node = list_pop_front(&link->outbox);
    if (!node)
        return NULL;
    struct reply *reply = CONTAINER_OF(node, struct reply, node);
    ASSERT(link->outbox_count > 0 && link->outbox_bytes >= reply->len);
    link->outbox_count--;
    link->outbox_bytes -= reply->len;
    eh_link_unhold(link, sizeof(*reply) + reply->len);
    return reply;
}

void eh_out_clear(struct eh_link *link)
{
    struct reply *reply;
    while ((reply = reply_take(link)) != NULL)
        free(reply);
    ASSERT(link->outbox_count == 0 && link->outbox_bytes == 0);
    rest_drop(link);
}

void eh_out_drained(struct eh_link *link)
{
    ASSERT(link->session && link->drain);
    link->delivery_count += link->out_credit;
    link->out_credit = 0;
    eh_session_flow(link->session, link);
    link->drain = false;
}

void eh_out_pump(struct eh_link *link)
{
    if (!link->session || !link->attached || !eh_out_resume(link))
        return;
    (void)eh_link_ref(link); /* it may be detached over the rest of an answer */
    while (link->session && !link->rest && link->out_credit > 0 &&
           link->session->remote_window > 0) {
        struct reply *reply = reply_take(link);
        if (!reply)
            break;
        struct event_parts parts = {.head = slice_make(reply->bytes, reply->len)};
        eh_out_transfer(link, &parts, NULL, link->attach.snd_settle_mode == 1);
        free(reply);
    }
    bool spent = link->out_credit == 0 || list_empty(&link->outbox);
    if (link->session && !link->rest && link->drain && spent)
        eh_out_drained(link);
    eh_link_unref(link);
}

bool eh_out_reply(struct eh_link *link, struct slice message)
{
    ASSERT(link->kind == EH_LINK_REPLIES);
    bool fits = link->outbox_count < EH_OUTBOX_MAX &&
                message.len <= EH_OUTBOX_BYTES_MAX - link->outbox_bytes &&
                eh_link_hold(link, sizeof(struct reply) + message.len);
    struct reply *reply = fits ? malloc(sizeof(*reply) + message.len) : NULL;
    if (!reply) {
        if (fits)
            eh_link_unhold(link, sizeof(struct reply) + message.len);
        return false;
    }
    reply->len = message.len;
    memcpy(reply->bytes, message.data, message.len);
    list_push_back(&link->outbox, &reply->node);
    link->outbox_count++;
    link->outbox_bytes += reply->len;
    eh_out_pump(link);
    return true;
}
