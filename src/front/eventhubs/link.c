/*
 * Links: attach to the node that the address names, credit, and deliveries out of transfers.
 *
 *     attach -> (node's own checks) -> attach reply -> flow and transfers -> detach
 *                      '-> attach reply without terminus, detach with the error
 *
 * Invariants
 *  (1) session is NULL exactly when the link is out of its session's table; nothing is sent for it
 * then. (2) Deliveries of one in link are handed over in the order of their last frame. (3) credit
 * + appending never exceeds what the kind of link grants. (4) What the client's attach said is
 * copied: it outlives the frame.
 *
 * Ownership and shard: its connection's. One reference by the session, one by each operation under
 * way.
 *
 * Failure: a refused or broken link is detached with a condition; the connection and its other
 * links go on. What a link keeps for its peer counts towards the connection's limit (hold.c); at the
 * limit the link is detached.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "front/eventhubs/eh_int.h"

static bool link_is_out(const struct eh_link *link)
{
    return link->kind == EH_LINK_REPLIES || link->kind == EH_LINK_RECEIVER;
}

struct eh_link *eh_link_ref(struct eh_link *link)
{
    ASSERT(link->refs > 0);
    link->refs++;
    return link;
}

void eh_link_unref(struct eh_link *link)
{
    ASSERT(link->refs > 0);
    if (--link->refs > 0)
        return;
    ASSERT(!link->session);
    eh_out_clear(link);
    bytebuf_deinit(&link->assembly);
    eh_link_unhold(link, link->held);
    if (link->receiver)
        eh_receiver_free(link->receiver);
    if (link->topic)
        topic_unref(link->topic);
    eh_conn_unref(link->conn);
    arena_destroy(link->arena);
    free(link);
}

/* Frees the bytes of an unfinished delivery: an idle link keeps no buffer. */
static void assembly_drop(struct eh_link *link)
{
    size_t limit = link->assembly.limit;
    link->assembling = false;
    eh_link_unhold(link, link->assembly.cap);
    bytebuf_deinit(&link->assembly);
    bytebuf_init(&link->assembly, limit);
}

/* Adds one frame's payload to the delivery; false when there is no room left for it. */
static bool assembly_append(struct eh_link *link, struct slice payload)
{
    size_t before = link->assembly.cap;
    bytebuf_append_slice(&link->assembly, payload);
    size_t grown = link->assembly.cap - before;
    if (eh_link_hold(link, grown))
        return !link->assembly.failed;
    bytebuf_deinit(&link->assembly);
    bytebuf_init(&link->assembly, link->message_max + EH_FRAME_MAX);
    eh_link_unhold(link, before);
    return false;
}

void eh_link_drop(struct eh_link *link)
{
    ASSERT(link->session && link->session->links[link->handle] == link);
    link->session->links[link->handle] = NULL;
    link->session = NULL;
    if (link->receiver)
        eh_receiver_stop(link);
    eh_out_clear(link);
    assembly_drop(link);
    link->conn->link_count--;
    link->conn->links_gone_us = reactor_now_us(link->part->shard->reactor);
    atomic_fetch_sub_explicit(&link->part->stat_links, 1, memory_order_relaxed);
    eh_link_unref(link);
}

/* How deliveries of the link are settled. Events go out settled, whatever was asked for; else the
 * client's own word stands: some clients give the link up when the answer says another. */
static uint8_t settle_mode(const struct eh_link *link)
{
    enum { UNSETTLED, SETTLED, MIXED };
    if (link->kind == EH_LINK_RECEIVER)
        return SETTLED;
    if (link->kind == EH_LINK_REPLIES)
        return link->attach.snd_settle_mode == SETTLED ? SETTLED : UNSETTLED;
    return link->attach.snd_settle_mode <= MIXED ? link->attach.snd_settle_mode : UNSETTLED;
}

/* The attach that answers the client's; without the terminus that a refused client looks at. */
static void attach_send(struct eh_link *link, bool refused)
{
    struct amqp_attach answer = link->attach;
    bool out = link_is_out(link);
    bool events = link->kind == EH_LINK_SENDER || link->kind == EH_LINK_RECEIVER;
    answer.role = !out;
    answer.unsettled = answer.desired_capabilities = answer.offered_capabilities = SLICE_NULL;
    answer.incomplete_unsettled = false;
    answer.snd_settle_mode = settle_mode(link);
    answer.rcv_settle_mode = link->kind == EH_LINK_RECEIVER ? link->attach.rcv_settle_mode : 0;
    answer.has_initial_delivery_count = out;
    answer.initial_delivery_count = 0;
    if (!out)
        answer.max_message_size = link->message_max;
    else if (!events)
        answer.max_message_size = UINT64_MAX;
    if (!events)
        answer.properties = SLICE_NULL;
    answer.has_max_message_size =
        link->kind != EH_LINK_RECEIVER || link->attach.has_max_message_size;
    static const uint8_t metric[] = "\xa3\x2c"
                                    "com.microsoft:enable-receiver-runtime-metric";
    struct slice metric_raw = slice_make(metric, sizeof(metric) - 1);
    if (link->kind == EH_LINK_RECEIVER &&
        amqp_symbols_contain(link->attach.desired_capabilities, slice_sub(metric_raw, 2, SIZE_MAX)))
        answer.offered_capabilities = metric_raw;
    if (refused)
        *(out ? &answer.source : &answer.target) = SLICE_NULL;
    amqp_attach_encode(eh_conn_frame(link->conn, link->session->channel), &answer);
    eh_conn_send(link->conn);
    link->attached = true;
}

void eh_link_attach_reply(struct eh_link *link)
{
    ASSERT(link->session && !link->attached);
    attach_send(link, false);
    link->used_us = reactor_now_us(link->part->shard->reactor);
    if (!link_is_out(link))
        eh_link_credit(link);
}

void eh_link_fail(struct eh_link *link, const struct eh_error *error)
{
    if (!link->session)
        return;
    struct eh_session *session = link->session;
    if (!link->attached)
        attach_send(link, true);
    eh_session_settle(session);
    if (link->session) {
        struct amqp_detach detach = {
            .handle = link->handle, .closed = true, .error = eh_error_encode(link->part, error)};
        eh_link_drop(eh_link_ref(link));
        amqp_detach_encode(eh_conn_frame(link->conn, session->channel), &detach);
        eh_conn_send(link->conn);
        eh_link_unref(link);
    }
}

void eh_link_fail_text(struct eh_link *link, const char *condition, const char *format, ...)
{
    struct eh_error error;
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    eh_error_set(&error, link->part, condition, "%s", text);
    eh_link_fail(link, &error);
}

/* ---- attach ---- */

/* Copies one slice of the attach into the link's arena; a failure leaves NULL and is seen as
 * absent. */
static void keep(struct eh_link *link, struct slice *bytes)
{
    if (bytes->data)
        *bytes = arena_copy(link->arena, *bytes);
}

static struct eh_link *link_create(struct eh_session *session, const struct amqp_attach *attach)
{
    struct eh_link *link = calloc(1, sizeof(*link));
    if (!link)
        return NULL;
    link->arena = arena_create(NULL, "amqp-link", 4 * EH_FRAME_MAX);
    if (!link->arena) {
        free(link);
        return NULL;
    }
    link->attach = *attach;
    keep(link, &link->attach.name);
    keep(link, &link->attach.source);
    keep(link, &link->attach.target);
    keep(link, &link->attach.properties);
    keep(link, &link->attach.desired_capabilities);
    link->session = session;
    link->conn = eh_conn_ref(session->conn);
    link->part = session->conn->part;
    link->refs = 1;
    link->handle = attach->handle;
    link->partition = -1;
    list_init(&link->outbox);
    link->message_max = link->part->config->options.message_max;
    session->links[link->handle] = link;
    session->handles_seen[link->handle / 64] |= (uint64_t)1 << link->handle % 64;
    link->conn->link_count++;
    link->conn->had_link = true;
    EH_COUNT(link->part->stat_links, 1);
    return link;
}

/* Text of a terminus address; SLICE_NULL when there is none. */
static struct slice terminus_address(struct slice raw, bool is_source)
{
    struct amqp_value value, address;
    struct amqp_source source;
    struct amqp_target target;
    struct slice text = SLICE_NULL;
    if (!raw.data || !amqp_value_parse(raw, &value))
        return SLICE_NULL;
    if (is_source ? amqp_source_decode(&value, &source) : amqp_target_decode(&value, &target))
        text = is_source ? source.address : target.address;
    if (!text.data || !amqp_value_parse(text, &address))
        return SLICE_NULL;
    return amqp_value_text(&address);
}

/* Finds out what the link is for; false when the address names nothing that can be attached this
 * way. */
static bool link_classify(struct eh_link *link)
{
    bool receives = link->attach.role;
    switch (link->address.node) {
    case EH_NODE_CBS:
    case EH_NODE_MANAGEMENT:
        if (receives)
            link->kind = EH_LINK_REPLIES;
        else
            link->kind = link->address.node == EH_NODE_CBS ? EH_LINK_REQUESTS_CBS
                                                           : EH_LINK_REQUESTS_MANAGEMENT;
        if (link->message_max > EH_REQUEST_MAX)
            link->message_max = EH_REQUEST_MAX;
        link->reply_address = receives ? terminus_address(link->attach.target, false) : SLICE_NULL;
        return true;
    case EH_NODE_HUB:
        link->kind = receives ? EH_LINK_RECEIVER : EH_LINK_SENDER;
        return !receives;
    case EH_NODE_GROUP:
        link->kind = receives ? EH_LINK_RECEIVER : EH_LINK_SENDER;
        return receives;
    default:
        link->kind = receives ? EH_LINK_RECEIVER : EH_LINK_SENDER;
        return false;
    }
}

/* One name and direction is one link: a second attach takes it away from the first. */
static void link_steal(struct eh_session *session, const struct amqp_attach *attach)
{
    for (unsigned i = 0; i <= EH_HANDLE_MAX; i++) {
        struct eh_link *link = session->links[i];
        if (link && link->attach.role == attach->role &&
            slice_equal(link->attach.name, attach->name))
            eh_link_fail_text(link, "amqp:link:stolen",
                              "The link was attached again by its name with handle %u.",
                              attach->handle);
    }
}

/* Whether the handle can be attached; false when session or connection have been ended over it. */
static bool handle_check(struct eh_session *session, const struct amqp_attach *attach)
{
    if (attach->handle > EH_HANDLE_MAX) {
        eh_conn_fail(session->conn, "amqp:connection:framing-error",
                     "Handle %u is above handle-max, which is %d.", attach->handle, EH_HANDLE_MAX);
        return false;
    }
    if (session->links[attach->handle]) {
        eh_session_fail(session, "amqp:session:handle-in-use", "Handle %u is in use.",
                        attach->handle);
        return false;
    }
    return true;
}

/* What is wrong with an attach that names no node. */
static void address_refuse(struct eh_link *link, struct slice text)
{
    struct amqp_value target;
    enum { COORDINATOR = 0x30 };
    struct slice raw = link->attach.target;
    if (!text.data && !link->attach.role && raw.data && amqp_value_parse(raw, &target) &&
        target.type == AMQP_DESCRIBED && target.code == COORDINATOR)
        eh_link_fail_text(link, "amqp:not-implemented", "There are no transactions.");
    else if (!text.data)
        eh_link_fail_text(link, "amqp:invalid-field", "The link has no address.");
    else
        eh_link_fail_text(link, "amqp:not-found", "The messaging entity '%.*s' could not be found.",
                          (int)(text.len < 256 ? text.len : 256), (const char *)text.data);
}

/* The node's own checks, or what is wrong with the address. */
static void link_connect(struct eh_link *link, bool classified, struct slice text)
{
    if (link->conn->link_count > EH_LINKS_MAX ||
        !eh_link_hold(link, sizeof(*link) + arena_held(link->arena)))
        eh_link_fail_text(link, "amqp:resource-limit-exceeded",
                          "The connection holds too much for another link.");
    else if (!classified)
        address_refuse(link, text);
    else if (link->kind == EH_LINK_SENDER)
        eh_sender_attach(link);
    else if (link->kind == EH_LINK_RECEIVER)
        eh_receiver_attach(link);
    else
        eh_link_attach_reply(link);
}

void eh_link_attach(struct eh_session *session, const struct amqp_value *body)
{
    struct amqp_attach attach;
    if (!amqp_attach_decode(body, &attach)) {
        eh_conn_fail(session->conn, "amqp:decode-error", "The attach frame is not valid.");
        return;
    }
    if (!handle_check(session, &attach))
        return;
    link_steal(session, &attach);
    struct eh_link *link = link_create(session, &attach);
    if (!link) {
        eh_conn_fail(session->conn, "amqp:resource-limit-exceeded", "No memory for another link.");
        return;
    }
    struct slice text =
        terminus_address(attach.role ? link->attach.source : link->attach.target, attach.role);
    link->address = eh_address_parse(text);
    bool classified = link_classify(link);
    bytebuf_init(&link->assembly, link->message_max + EH_FRAME_MAX);
    link_connect(link, classified, text);
}

/* ---- credit and deliveries of clients that send ---- */

void eh_link_credit(struct eh_link *link)
{
    uint32_t grant = link->kind == EH_LINK_SENDER ? EH_CREDIT_EVENTS : EH_CREDIT_REQUESTS;
    if (!link->session || link_is_out(link) || link->credit + link->appending > grant)
        return;
    if (link->credit + link->appending > grant / 2 && link->credit > 0)
        return;
    if (link->appending > grant / 2)
        return;
    link->credit = grant - link->appending;
    eh_session_flow(link->session, link);
}

void eh_link_accept(struct eh_link *link, const struct eh_delivery *delivery)
{
    if (!link->session)
        return;
    if (delivery->settled)
        eh_session_touch(link->session);
    else
        eh_session_accept(link->session, delivery->id);
}

void eh_link_reject(struct eh_link *link, const struct eh_delivery *delivery,
                    const struct eh_error *error)
{
    if (!link->session)
        return;
    if (!delivery->settled)
        eh_session_reject(link->session, delivery->id, error);
    eh_session_touch(link->session);
}

static void delivery_too_large(struct eh_link *link, const struct eh_delivery *delivery,
                               size_t size)
{
    struct eh_error error;
    eh_error_set(&error, link->part, "amqp:link:message-size-exceeded",
                 "The received message (delivery-id:%u, size:%zu bytes) exceeds the limit (%u "
                 "bytes) currently allowed on "
                 "the link.",
                 delivery->id, size, link->message_max);
    eh_link_reject(link, delivery, &error);
    eh_link_fail(link, &error);
}

static void delivery_dispatch(struct eh_link *link, const struct eh_delivery *delivery)
{
    ASSERT(delivery->bytes.len <= link->message_max);
    link->used_us = reactor_now_us(link->part->shard->reactor);
    if (link->kind == EH_LINK_REQUESTS_CBS)
        eh_cbs_request(link, delivery);
    else if (link->kind == EH_LINK_REQUESTS_MANAGEMENT)
        eh_management_request(link, delivery);
    else
        eh_sender_delivery(link, delivery);
}

/* First frame of a delivery: credit and identity. false: the link is gone. */
static bool delivery_begin(struct eh_link *link, const struct amqp_transfer *transfer)
{
    if (!transfer->has_delivery_id) {
        eh_link_fail_text(link, "amqp:invalid-field",
                          "The first transfer of a delivery needs a delivery-id.");
        return false;
    }
    if (link->credit == 0) {
        eh_link_fail_text(link, "amqp:link:transfer-limit-exceeded",
                          "A transfer came without credit.");
        return false;
    }
    link->credit--;
    link->delivery_count++;
    link->assembling = true;
    link->partial =
        (struct eh_delivery){.id = transfer->delivery_id,
                             .format = transfer->has_message_format ? transfer->message_format : 0};
    ASSERT(link->assembly.len == 0);
    return true;
}

void eh_link_transfer(struct eh_link *link, const struct amqp_transfer *transfer,
                      struct slice payload)
{
    if (link_is_out(link) || !link->attached) {
        eh_link_fail_text(link, "amqp:not-allowed", "The link does not take transfers.");
        return;
    }
    if (!link->assembling && !delivery_begin(link, transfer))
        return;
    link->partial.settled = link->partial.settled || (transfer->has_settled && transfer->settled);
    if (transfer->aborted) {
        assembly_drop(link);
        eh_session_touch(link->session);
        return;
    }
    bool single = link->assembly.len == 0 && !transfer->more;
    size_t size = link->assembly.len + payload.len;
    if (size > link->message_max) {
        delivery_too_large(link, &link->partial, size);
        return;
    }
    if (!single && !assembly_append(link, payload)) {
        eh_link_fail_text(link, "amqp:resource-limit-exceeded",
                          "The connection has too many unfinished deliveries.");
        return;
    }
    if (transfer->more)
        return;
    struct eh_delivery delivery = link->partial;
    delivery.bytes = single ? payload : bytebuf_slice(&link->assembly);
    (void)eh_link_ref(link);
    delivery_dispatch(link, &delivery);
    if (link->session && link->credit == 0)
        eh_link_credit(link);
    if (link->session)
        assembly_drop(link);
    eh_link_unref(link);
}

/* ---- flow ---- */

void eh_link_flow(struct eh_link *link, const struct amqp_flow *flow)
{
    if (!link_is_out(link)) {
        if (flow->echo && link->attached)
            eh_session_flow(link->session, link);
        return; /* credit from a sending peer means nothing */
    }
    if (flow->has_link_credit) {
        /* Deliveries that the peer had not seen when it said this have used up some of it. */
        uint32_t count = flow->has_delivery_count ? flow->delivery_count : 0;
        uint32_t unseen = link->delivery_count - count;
        if (unseen > INT32_MAX)
            unseen = 0; /* it has seen more than there was */
        link->out_credit = flow->link_credit > unseen ? flow->link_credit - unseen : 0;
    }
    link->drain = flow->drain;
    link->echo = flow->echo;
    if (!link->attached)
        return;
    if (link->kind == EH_LINK_RECEIVER)
        eh_receiver_pump(link);
    else
        eh_out_pump(link);
    if (link->session && link->echo) {
        link->echo = false;
        eh_session_flow(link->session, link);
    }
}
