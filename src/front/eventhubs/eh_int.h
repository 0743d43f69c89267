/*
 * Inside of the Event Hubs door: what its files share. Nothing here is for other folders.
 *
 * front -> shard part -> connection -> session -> link. A link of a client that sends is "in", of
 * one that receives "out". Work under way (appends, offset questions, fetches, claims) holds a
 * reference on its link, a link holds one on its connection: both can outlive the socket until the
 * last answer has come back, and then nobody talks to them.
 */
#ifndef WEIR_FRONT_EVENTHUBS_EH_INT_H
#define WEIR_FRONT_EVENTHUBS_EH_INT_H

#include <stdatomic.h>

#include "amqp_types.h"
#include "base/arena.h"
#include "base/bytebuf.h"
#include "base/list.h"
#include "base/map.h"
#include "broker/broker.h"
#include "event/event_map.h"
#include "front/eventhubs/address.h"
#include "front/eventhubs/config.h"
#include "front/eventhubs/sas.h"
#include "io/reactor.h"
#include "io/shard.h"
#include "io/stream.h"
#include "wire/amqp_frame.h"

enum {
    EH_FRAME_MAX = 65536,
    EH_CHANNEL_MAX = 4999,
    EH_HANDLE_MAX = 255,
    EH_LINKS_MAX = 5000,  /* of one connection */
    EH_GRANTS_MAX = 1000, /* tokens of one connection */
    EH_WINDOW = 5000,     /* transfers a peer may have on its way per session */
    EH_CREDIT_EVENTS = 300,
    EH_CREDIT_REQUESTS = 100,
    EH_REQUEST_MAX = 64 << 10,       /* bytes of one request to $cbs or $management */
    EH_ID_MAX = 256,                 /* bytes of a request's message-id */
    EH_OUTBOX_MAX = 200,             /* answers that wait for credit on one reply link */
    EH_OUTBOX_BYTES_MAX = 256 << 10, /* of them together */
    EH_HELD_STRANGER = 1 << 20,      /* bytes held for a connection without a token */
    EH_HELD_CONN = 64 << 20,         /* for one with a token, or where none is needed */
    EH_HELD_SHARD = 512 << 20,       /* for all connections of a shard */
    EH_PENDING_STRANGER = 256 << 10, /* answers that a stranger leaves unread */
    EH_STRANGERS_MAX = 1000,         /* connections without a token on one shard */
    EH_REFUSED_MAX = 100,  /* connections of one shard that are being told of their refusal */
    EH_REFUSED_MS = 5000,  /* how long that may take */
    EH_IDLE_MIN_MS = 1000, /* a peer may not ask for heartbeats that are closer than ours get */
    EH_INFLIGHT_HIGH =
        8 << 20, /* bytes being appended for one connection: reading stops above it */
    EH_INFLIGHT_LOW = 4 << 20,
    EH_FETCH_BYTES = 256 << 10, /* of one receiver */
    EH_FETCH_WAIT_MS = 30000,
    EH_RECEIVERS_MAX = 5,    /* without epoch, per partition and consumer group */
    EH_ENTITY_NAME_MAX = 64, /* of a receiver, in error texts */
    EH_TEXT_MAX = 600        /* of an error, before the tracking facts */
};

struct eh_link;
struct eh_receiver;

struct front_eventhubs {
    struct shards *shards;
    struct broker *broker;
    struct eventhubs_config *config;
    struct shard_listener *listener;
    struct eh_shard *parts;        /* one per shard */
    _Atomic uint32_t hubs_pending; /* configured hubs not yet there: connections wait for them */
    _Atomic uint32_t conn_count;   /* served ones of all shards; refused ones do not count */
    unsigned part_count;
};

/* The door on one shard. */
struct eh_shard {
    struct front_eventhubs *front;
    struct shard *shard;
    struct broker_shard *bs;
    const struct eventhubs_config *config;
    struct list_node conns;
    uint32_t conn_count;
    uint32_t stranger_count; /* served, without a token although one is needed */
    uint32_t refused_count;  /* being told that there is no room for them */
    size_t held;             /* sum over the connections */
    struct bytebuf frame;    /* the frame being written */
    struct bytebuf error;    /* an encoded error or terminus inside it */
    struct bytebuf event;    /* the event or answer being written */
    struct arena *arena;     /* of the message being taken apart */
    struct map
        *claims; /* hub/group/partition -> struct eh_seat, for those that this shard arbitrates */
    uint32_t rotation; /* round robin of deliveries without partition and key */
    struct timer start;
    struct timer tick;
    struct shard_stop stop;
    bool stopping;
    bool started;
    uint32_t next_container;
    _Atomic uint64_t stat_connections, stat_links, stat_events_in, stat_events_out, stat_bytes_in,
        stat_bytes_out, stat_refused;
};

#define EH_COUNT(field, n) atomic_fetch_add_explicit(&(field), (n), memory_order_relaxed)

/* ---- errors.c ---- */

/* An AMQP error on its way to the peer. */
struct eh_error {
    const char *condition; /* literal */
    char text[EH_TEXT_MAX + 160];
};

/* Fills both and appends tracking id, system and time as clients are used to. conn may be NULL. */
void eh_error_set(struct eh_error *error, struct eh_shard *part, const char *condition,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The condition for an error of the core. */
const char *eh_error_condition(enum err err);
/* Encodes into part->error; the slice is good until the next call. NULL: a null slice. */
struct slice eh_error_encode(struct eh_shard *part, const struct eh_error *error);

/* ---- connection.c ---- */

enum eh_conn_state {
    EH_CONN_HEADER,      /* waits for the first protocol header */
    EH_CONN_SASL,        /* waits for sasl-init */
    EH_CONN_AMQP_HEADER, /* waits for the second header */
    EH_CONN_OPENING,     /* waits for open */
    EH_CONN_OPEN,
    EH_CONN_CLOSED /* close sent, or the stream is gone */
};

struct eh_conn {
    struct list_node node;
    struct eh_shard *part;
    struct stream *stream; /* NULL: gone */
    enum eh_conn_state state;
    uint32_t refs;
    uint32_t frame_max; /* of frames that we send */
    uint32_t peer_idle_ms;
    uint64_t heard_us;
    uint64_t sent_us;
    uint64_t links_gone_us; /* since when there is no link */
    bool had_link;
    struct eh_session **sessions; /* by channel */
    uint32_t session_cap;
    uint32_t link_count;
    struct eh_grant *grants;
    uint32_t grant_count;
    uint32_t grant_cap;
    size_t inflight; /* bytes being appended */
    size_t held;     /* kept for the peer: links, unfinished deliveries, answers without credit */
    bool stranger;   /* needs a token and never had a good one */
    bool served;     /* counts towards the limit of connections */
    const char *refusal; /* why it is not served: a condition, told at its open */
    uint64_t born_us;
    uint64_t trusted_us; /* when a good token was last seen */
    struct hook flush;
    struct list_node dirty; /* sessions with dispositions or credit to send */
    char container[65];
};

void eh_conn_accept(struct shard *shard, struct conn *conn, void *arg);
struct eh_conn *eh_conn_ref(struct eh_conn *conn);
void eh_conn_unref(struct eh_conn *conn);
/* Opens a frame in part->frame; encode the performative, then send. */
struct bytebuf *eh_conn_frame(struct eh_conn *conn, uint16_t channel);
void eh_conn_send(struct eh_conn *conn);
/* Sends close with an error and ends the connection. */
void eh_conn_fail(struct eh_conn *conn, const char *condition, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Every second: heartbeats, silent peers, expired tokens, unused connections. */
void eh_conn_tick(struct eh_conn *conn);
/* The configured hubs are there: serves what has come meanwhile. */
void eh_conn_start(struct eh_conn *conn);
/* The server stops: close with amqp:connection:forced. */
void eh_conn_stop(struct eh_conn *conn);
/* Appends under way changed by these bytes: stops or resumes reading. */
void eh_conn_inflight_add(struct eh_conn *conn, size_t bytes);
void eh_conn_inflight_sub(struct eh_conn *conn, size_t bytes);
/* ---- hold.c: what is kept on behalf of peers ---- */

/* Counts bytes towards the connection's and the shard's limits; false: they do not fit, and nothing
 * is counted. */
MUST_CHECK bool eh_conn_hold(struct eh_conn *conn, size_t bytes);
void eh_conn_unhold(struct eh_conn *conn, size_t bytes);
/* The same for something that belongs to a link: what is left ends with it. */
MUST_CHECK bool eh_link_hold(struct eh_link *link, size_t bytes);
void eh_link_unhold(struct eh_link *link, size_t bytes);
/* The connection has shown a good token. */
void eh_conn_trust(struct eh_conn *conn);
/* Takes its place among the served, or is to be refused: conn->refusal. */
void eh_conn_enter(struct eh_conn *conn);
void eh_conn_leave(struct eh_conn *conn);
/* Ends a connection that has had its time without open or token; true: it has ended. */
bool eh_conn_overdue(struct eh_conn *conn, uint64_t now_us);

/* Rights. hub empty: any hub. */
bool eh_conn_allows(const struct eh_conn *conn, unsigned right, struct slice hub);
/* The latest expiry (Unix seconds) of the grants that allow it now; INT64_MIN: none does. Links
 * need no token: INT64_MAX. */
int64_t eh_conn_allowed_until(const struct eh_conn *conn, unsigned right, struct slice hub);
/* Adds or renews; false at the limit. */
bool eh_conn_grant(struct eh_conn *conn, const struct eh_grant *grant);

/* ---- sasl.c ---- */

void eh_sasl_start(struct eh_conn *conn);
void eh_sasl_frame(struct eh_conn *conn, const struct amqp_value *body);

/* ---- session.c ---- */

struct eh_session {
    struct eh_conn *conn;
    uint16_t channel;
    uint32_t next_incoming_id; /* transfer id expected next */
    uint32_t incoming_since;   /* transfers since the window was last told */
    uint32_t next_outgoing_id; /* counts frames */
    uint32_t next_delivery_id; /* counts deliveries */
    uint32_t remote_window;    /* transfers the peer takes */
    struct eh_link *links[EH_HANDLE_MAX + 1];
    uint64_t handles_seen[(EH_HANDLE_MAX + 1) / 64]; /* that a link was ever attached with */
    bool ended; /* by us: everything is passed over until the peer ends it too */
    struct list_node dirty;
    bool accept_pending; /* [first, last] wait to be accepted */
    uint32_t accept_first;
    uint32_t accept_last;
};

void eh_session_begin(struct eh_conn *conn, uint16_t channel, const struct amqp_value *body);
/* A performative on a channel with a session. */
void eh_session_frame(struct eh_session *session, const struct amqp_value *body,
                      struct slice payload);
/* Ends the session with an error; the connection goes on. */
void eh_session_fail(struct eh_session *session, const char *condition, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Drops the session and its links without a word to the peer. */
void eh_session_destroy(struct eh_session *session);
/* Accepts a delivery at the end of the turn. */
void eh_session_accept(struct eh_session *session, uint32_t delivery_id);
/* Rejects it now. */
void eh_session_reject(struct eh_session *session, uint32_t delivery_id,
                       const struct eh_error *error);
/* Sends the accepts that have gathered. */
void eh_session_settle(struct eh_session *session);
/* Sends those and credit. */
void eh_session_flush(struct eh_session *session);
/* Queues the flush. */
void eh_session_touch(struct eh_session *session);
/* A flow of the session alone or of one link. */
void eh_session_flow(struct eh_session *session, const struct eh_link *link);
/* The peer's window opened or output drained: receivers go on. */
void eh_session_pump(struct eh_session *session);

/* ---- link.c ---- */

enum eh_link_kind {
    EH_LINK_REQUESTS_CBS,
    EH_LINK_REQUESTS_MANAGEMENT,
    EH_LINK_REPLIES,
    EH_LINK_SENDER,
    EH_LINK_RECEIVER
};

/* An assembled or single-frame delivery. */
struct eh_delivery {
    uint32_t id;
    uint32_t format;
    bool settled;
    struct slice bytes;
};

struct eh_link {
    struct eh_session *session; /* NULL: detached */
    struct eh_conn *conn;       /* one reference */
    struct eh_shard *part;
    struct arena *arena;
    enum eh_link_kind kind;
    uint32_t refs;
    uint32_t handle;
    bool attached; /* our attach is out */
    size_t held;   /* its part of the connection's */
    /* the client's attach, copied */
    struct amqp_attach attach;
    struct eh_address address;
    struct slice reply_address; /* target of a reply link */
    /* in: the client sends */
    uint32_t credit;         /* left to the client */
    uint32_t delivery_count; /* in and out */
    uint32_t message_max;    /* bytes of one delivery */
    uint32_t appending;      /* deliveries without an answer yet */
    bool assembling;
    struct eh_delivery partial;
    struct bytebuf assembly;
    uint64_t used_us;
    int64_t allowed_s; /* until then a token is known to cover it: no need to look again */
    /* out: the client receives */
    uint32_t out_credit;
    bool drain;
    bool echo;
    struct eh_rest *rest;    /* of a delivery that the peer's window has cut */
    struct list_node outbox; /* answers of reply links */
    uint32_t outbox_count;
    size_t outbox_bytes;
    /* hub */
    const struct topic *topic; /* one reference */
    int32_t partition;         /* -1: none */
    struct eh_receiver *receiver;
};

void eh_link_attach(struct eh_session *session, const struct amqp_value *body);
struct eh_link *eh_link_ref(struct eh_link *link);
void eh_link_unref(struct eh_link *link);
/* Our attach, an echo of the client's; receivers send it when their position is known. */
void eh_link_attach_reply(struct eh_link *link);
/* Attach reply without a terminus when none is out yet, then detach with the error; the link is
 * gone. */
void eh_link_fail(struct eh_link *link, const struct eh_error *error);
void eh_link_fail_text(struct eh_link *link, const char *condition, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Takes the link out of its session, ending what it has under way. */
void eh_link_drop(struct eh_link *link);
void eh_link_flow(struct eh_link *link, const struct amqp_flow *flow);
void eh_link_transfer(struct eh_link *link, const struct amqp_transfer *transfer,
                      struct slice payload);
/* Tops the client's credit up when it is low. */
void eh_link_credit(struct eh_link *link);
/* An answer on a delivery of an in link, now settled. */
void eh_link_accept(struct eh_link *link, const struct eh_delivery *delivery);
void eh_link_reject(struct eh_link *link, const struct eh_delivery *delivery,
                    const struct eh_error *error);

/* ---- link_out.c ---- */

/* Sends one delivery as one or more transfers; what the window does not take is kept and sent by
 * eh_out_resume. pin: block that body lies in, NULL: body is copied. The link may be gone afterwards:
 * no memory for what must be kept. */
void eh_out_transfer(struct eh_link *link, const struct event_parts *parts, struct iobuf *pin,
                     bool settled);
/* Goes on with a delivery that was cut; true when none is open any more. */
bool eh_out_resume(struct eh_link *link);
/* Queues an answer on a reply link (copied), sends what credit allows. false: the outbox is full.
 */
bool eh_out_reply(struct eh_link *link, struct slice message);
/* Sends waiting answers, and answers drain. */
void eh_out_pump(struct eh_link *link);
void eh_out_clear(struct eh_link *link);
/* Credit is used up by decree: tells the peer. */
void eh_out_drained(struct eh_link *link);

/* ---- request.c: what $cbs and $management share ---- */

struct eh_request {
    struct amqp_properties properties;
    struct slice application_properties; /* map */
    struct slice body;                   /* body sections */
};

/* false: not a message, or without application properties. */
bool eh_request_read(struct slice bytes, struct eh_request *ret_request);
/* Reads a request and finds the link that its answer goes to. NULL: there is none, or the request is
 * not one; the delivery has been rejected. */
struct eh_link *eh_request_begin(struct eh_link *requests, const struct eh_delivery *delivery,
                                 struct eh_request *ret_request);
/* Text of an application property; SLICE_NULL when absent or not text. */
struct slice eh_request_text(const struct eh_request *request, const char *name);
/* Starts an answer in part->event: properties and status; body follows by the caller. extra: more
 * pairs of names and texts, NULL-terminated. */
void eh_request_answer(struct eh_shard *part, struct slice correlation_id, int32_t status,
                       const char *description, const char *condition);

/* ---- cbs.c, management.c, sender.c, receiver.c ---- */

void eh_cbs_request(struct eh_link *link, const struct eh_delivery *delivery);
void eh_management_request(struct eh_link *link, const struct eh_delivery *delivery);
/* Looks the hub up, exact name first, then without case; internal topics are not hubs. */
const struct topic *eh_hub_find(struct eh_shard *part, struct slice name);
void eh_sender_attach(struct eh_link *link);
void eh_sender_delivery(struct eh_link *link, const struct eh_delivery *delivery);
void eh_receiver_attach(struct eh_link *link);
void eh_receiver_pump(struct eh_link *link);
/* Ends what a receiver has under way; its link is about to go. */
void eh_receiver_stop(struct eh_link *link);
void eh_receiver_free(struct eh_receiver *receiver);

/* ---- seats.c: who may receive from a partition in a consumer group ---- */

enum eh_seat_answer { EH_SEAT_GRANTED, EH_SEAT_EPOCH_HIGHER, EH_SEAT_TOO_MANY, EH_SEAT_NO_MEMORY };

/*
 * A receiver's claim. It belongs to the receiver until eh_seat_claim, then to the seats until it
 * comes back through `answered` with anything but GRANTED, or through `freed` after
 * eh_seat_release. All callbacks run on the home shard.
 */
struct eh_seat {
    struct shard_msg msg;
    struct shard_msg stolen_msg;
    struct eh_shard *home;
    struct eh_shard *judge;
    struct list_node node;
    char key[EH_NAME_MAX * 2 + 64]; /* hub id, group, partition */
    uint32_t key_len;
    bool has_epoch;
    int64_t epoch;
    char name[EH_ENTITY_NAME_MAX + 1];
    enum eh_seat_answer answer;
    char other_name[EH_ENTITY_NAME_MAX + 1]; /* who won */
    int64_t other_epoch;
    bool seated; /* in a list of the judge */
    void (*answered)(struct eh_seat *seat);
    void (*stolen)(struct eh_seat *seat);
    void (*freed)(struct eh_seat *seat);
};

void eh_seat_claim(struct eh_seat *seat);
/* Once, after GRANTED; also after stolen. */
void eh_seat_release(struct eh_seat *seat);

#endif
