/*
 * Deliveries to clients: cutting messages into frames, and the answers of $cbs and $management.
 *
 *     transfer{id, tag, format, more} part | transfer{more} part | ... | transfer part
 *
 * Invariants
 *  (1) No frame is larger than the client said it takes.
 *  (2) A delivery is written whole once its first frame is; window and credit are looked at before
 * it. (3) Answers wait in order when the client has given no credit, at most EH_OUTBOX_MAX of them.
 *
 * Ownership and shard: the connection's. Large bodies go out as pinned ranges of the block they
 * came in.
 *
 * Failure: a full outbox refuses the answer; the caller detaches the requester.
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
                                  .delivery_id = link->session->next_outgoing_id,
                                  .has_delivery_id = true,
                                  .delivery_tag = settled ? SLICE_LIT("") : slice_make(tag, 4),
                                  .has_message_format = true,
                                  .settled = settled,
                                  .has_settled = true,
                                  .batchable = settled};
}

void eh_out_transfer(struct eh_link *link, const struct event_parts *parts, struct iobuf *pin,
                     bool settled)
{
    struct eh_session *session = link->session;
    struct eh_conn *conn = link->conn;
    struct piece pieces[3] = {{parts->head, NULL}, {parts->body, pin}, {parts->tail, NULL}};
    size_t left = parts->head.len + parts->body.len + parts->tail.len;
    uint32_t n = link->delivery_count;
    const uint8_t tag[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    struct amqp_transfer transfer = transfer_first(link, settled, tag);
    ASSERT(session && link->out_credit > 0);
    if (!conn->stream || conn->state == EH_CONN_CLOSED)
        return;
    do {
        transfer.more =
            left >
            conn->frame_max; /* for the size of the performative: more is one byte either way */
        struct bytebuf *frame = eh_conn_frame(conn, session->channel);
        amqp_transfer_encode(frame, &transfer);
        size_t room = conn->frame_max > frame->len ? conn->frame_max - frame->len : 1;
        bool more = left > room;
        if (more != transfer.more) {
            transfer.more = more;
            frame = eh_conn_frame(conn, session->channel);
            amqp_transfer_encode(frame, &transfer);
        }
        size_t now = left < room ? left : room;
        amqp_frame_end_with(frame, 0, now);
        stream_write(conn->stream, bytebuf_slice(frame));
        pieces_write(conn->stream, pieces, now);
        left -= now;
        session->next_outgoing_id++;
        if (session->remote_window > 0)
            session->remote_window--;
        transfer = (struct amqp_transfer){.handle = link->handle};
    } while (left > 0);
    conn->sent_us = reactor_now_us(link->part->shard->reactor);
    link->delivery_count++;
    link->out_credit--;
}

/* ---- answers ---- */

struct reply {
    struct list_node node;
    size_t len;
    uint8_t bytes[];
};

void eh_out_clear(struct eh_link *link)
{
    struct list_node *node;
    while ((node = list_pop_front(&link->outbox)) != NULL)
        free(CONTAINER_OF(node, struct reply, node));
    link->outbox_count = 0;
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
    if (!link->session || !link->attached)
        return;
    while (link->out_credit > 0 && link->session->remote_window > 0) {
        struct list_node *node = list_pop_front(&link->outbox);
        if (!node)
            break;
        struct reply *reply = CONTAINER_OF(node, struct reply, node);
        struct event_parts parts = {.head = slice_make(reply->bytes, reply->len)};
        link->outbox_count--;
        eh_out_transfer(link, &parts, NULL, false);
        free(reply);
    }
    if (link->drain && list_empty(&link->outbox))
        eh_out_drained(link);
}

bool eh_out_reply(struct eh_link *link, struct slice message)
{
    ASSERT(link->kind == EH_LINK_REPLIES);
    struct reply *reply =
        link->outbox_count < EH_OUTBOX_MAX ? malloc(sizeof(*reply) + message.len) : NULL;
    if (!reply)
        return false;
    reply->len = message.len;
    memcpy(reply->bytes, message.data, message.len);
    list_push_back(&link->outbox, &reply->node);
    link->outbox_count++;
    eh_out_pump(link);
    return true;
}
