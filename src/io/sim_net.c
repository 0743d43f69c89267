/*
 * Role: the simulated network: connections whose pieces take their time, arrive in order per
 * direction, and are cut by chance.
 *
 *     link = end[0] (who dialled) <---> end[1] (who accepted)
 *     end:  arrived bytes -> recv        under way (events) -> arrived        ended / lost flags
 *
 * Invariants
 * (1) Pieces of one direction arrive in the order sent; nothing orders different links, nor the
 *     two directions.
 * (2) Per direction, bytes under way plus arrived and unread never pass the window.
 * (3) A link is freed when both ends are closed and no event names it (refs).
 * (4) After `lost` an end moves no bytes; after close it gets no callback.
 *
 * Ownership and shard: one thread. An end's callbacks run in the turns of the reactor that adopted
 * it.
 *
 * Failure modes: cuts (both ends see a reset, at different times), refused connections, silence of
 * a dead host.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/sim_int.h"

#define SIM_PORT_FIRST 20000
#define SIM_ARRIVED_MIN 4096

struct sim_conn {
    struct conn base;
    struct sim_link *link;
    struct list_node node; /* in the reactor's conns, or closed */
    struct sim_host *host; /* where the end lives */
    bool used;             /* handed out; an end nobody holds needs no close */
    bool closed;
    bool linked; /* the connection stands */
    bool lost;
    bool ended; /* the peer's end has arrived */
    bool end_sent;
    uint8_t *arrived;
    size_t arrived_len;
    size_t arrived_cap;
    size_t under_way; /* bytes towards this end */
    uint64_t last_us; /* arrival of the latest piece towards this end */
};

struct sim_link {
    struct list_node node;
    struct sim *sim;
    struct sim_conn end[2];
    unsigned refs;
    uint16_t port;
    bool cut;
};

struct sim_listener {
    struct listener base;
    struct list_node node; /* of the world */
    struct list_node reactor_node;
    struct list_node waiting; /* accepted ends not yet given out: nodes of sim_conn */
};

struct sim_piece {
    struct sim_conn *to;
    bool is_end;
    size_t len;
    uint8_t data[];
};

static const struct conn_impl sim_conn_impl;

static struct sim_conn *sim_conn_of(struct conn *conn)
{
    ASSERT(conn->impl == &sim_conn_impl);
    return (struct sim_conn *)conn;
}

static struct sim_conn *sim_conn_peer(struct sim_conn *conn)
{
    struct sim_link *link = conn->link;
    ASSERT(conn == &link->end[0] || conn == &link->end[1]);
    return conn == &link->end[0] ? &link->end[1] : &link->end[0];
}

/*
 * Ends are part of the link: it lives until both are closed and no event under way names one of
 * them.
 */
static void sim_link_unref(struct sim_link *link)
{
    ASSERT(link->refs > 0);
    if (--link->refs > 0)
        return;
    list_remove(&link->node);
    for (int i = 0; i < 2; i++) {
        list_remove(&link->end[i].node);
        free(link->end[i].arrived);
    }
    free(link);
}

/* Something an end's owner should look at. */
static void sim_conn_stir(struct sim_conn *conn)
{
    if (!conn->base.reactor || conn->closed || !conn->host->alive)
        return;
    struct sim *sim = conn->link->sim;
    sim_reactor_schedule((struct sim_reactor *)conn->base.reactor,
                         sim->now_us + sim_draw(sim, 1, 30));
}

static uint64_t sim_delay(struct sim *sim)
{
    ASSERT(sim->config.delay_min_us <= sim->config.delay_max_us);
    return sim_draw(sim, sim->config.delay_min_us, sim->config.delay_max_us);
}

/* ---- loss ---- */

static void sim_conn_lose(struct sim *sim, void *arg, uint64_t number)
{
    struct sim_conn *conn = arg;
    ASSERT(conn->link->refs > 0);
    conn->lost = true;
    sim_conn_stir(conn);
    sim_link_unref(conn->link);
}

/*
 * The end will see a reset in a while: later than pieces that were under way, or before some of them,
 * as a real network delivers it.
 */
static void sim_conn_reset(struct sim_conn *conn)
{
    struct sim *sim = conn->link->sim;
    if (conn->lost)
        return;
    conn->link->refs++;
    sim_schedule(sim, sim->now_us + sim_delay(sim), sim_conn_lose, conn, 0);
}

static void sim_link_cut(struct sim_link *link)
{
    ASSERT(link->refs > 0);
    if (link->cut)
        return;
    link->cut = true;
    sim_note(link->sim, link->port);
    sim_conn_reset(&link->end[0]);
    sim_conn_reset(&link->end[1]);
}

/* ---- moving bytes ---- */

static bool sim_arrived_grow(struct sim_conn *conn, size_t len)
{
    if (conn->arrived_len + len <= conn->arrived_cap)
        return true;
    size_t cap = conn->arrived_cap ? conn->arrived_cap : SIM_ARRIVED_MIN;
    while (cap < conn->arrived_len + len)
        cap *= 2;
    uint8_t *arrived = realloc(conn->arrived, cap);
    if (!arrived)
        return false;
    ASSERT(cap >= conn->arrived_len + len);
    conn->arrived = arrived;
    conn->arrived_cap = cap;
    return true;
}

/*
 * A piece for an end that is closed is answered with a reset, as a host answers data for a socket it
 * no longer has; one for a link that was cut vanishes.
 */
static void sim_piece_arrive(struct sim *sim, void *arg, uint64_t number)
{
    struct sim_piece *piece = arg;
    struct sim_conn *to = piece->to;
    ASSERT(to->under_way >= piece->len);
    to->under_way -= piece->len;
    if (to->closed && !piece->is_end) {
        sim_conn_reset(sim_conn_peer(to));
    } else if (!to->link->cut && !to->lost && !to->closed) {
        bool grown = sim_arrived_grow(to, piece->len);
        ASSERT(grown);
        if (piece->len > 0)
            memcpy(to->arrived + to->arrived_len, piece->data, piece->len);
        to->arrived_len += piece->len;
        to->ended |= piece->is_end;
        sim_note(sim, piece->len);
        sim_conn_stir(to);
    }
    sim_link_unref(to->link);
    free(piece);
}

/* Takes the piece. Its way is never shorter than that of the piece before it. */
static void sim_piece_send(struct sim_piece *piece)
{
    struct sim_conn *to = piece->to;
    ASSERT(piece->len > 0 || piece->is_end);
    struct sim *sim = to->link->sim;
    uint64_t at = sim->now_us + sim_delay(sim);
    at = at > to->last_us ? at : to->last_us;
    to->last_us = at;
    to->under_way += piece->len;
    to->link->refs++;
    sim_schedule(sim, at, sim_piece_arrive, piece, 0);
}

static struct sim_piece *sim_piece_create(struct sim_conn *to, size_t len)
{
    struct sim_piece *piece = malloc(sizeof(*piece) + len);
    ASSERT(piece);
    *piece = (struct sim_piece){.to = to, .len = len};
    return piece;
}

static size_t sim_shorten(struct sim *sim, size_t len)
{
    if (len > 1 && random_one_in(&sim->random, sim->config.partial_odds))
        return 1 + (size_t)random_below(&sim->random, len - 1);
    return len;
}

/*
 * Takes from what has arrived, now and then less than there is: frames must not rely on arriving in
 * one piece.
 */
static enum conn_io sim_conn_recv(struct conn *base, void *data, size_t cap, size_t *ret_len)
{
    struct sim_conn *conn = sim_conn_of(base);
    ASSERT(!conn->closed);
    if (conn->lost)
        return CONN_LOST;
    if (conn->arrived_len == 0)
        return conn->ended ? CONN_EOF : CONN_AGAIN;
    size_t len = sim_shorten(conn->link->sim, conn->arrived_len < cap ? conn->arrived_len : cap);
    ASSERT(len > 0 && len <= conn->arrived_len);
    memcpy(data, conn->arrived, len);
    memmove(conn->arrived, conn->arrived + len, conn->arrived_len - len);
    conn->arrived_len -= len;
    *ret_len = len;
    sim_conn_stir(sim_conn_peer(conn)); /* the window opened */
    return CONN_OK;
}

/* Bytes that may still be sent by this end. */
static size_t sim_conn_window(struct sim_conn *conn)
{
    struct sim_conn *peer = sim_conn_peer(conn);
    size_t used = peer->under_way + peer->arrived_len;
    size_t window = conn->link->sim->config.window;
    ASSERT(window > 0);
    return used < window ? window - used : 0;
}

/*
 * Accepts what the window allows, now and then less. The cut, when chance wants one, comes after the
 * bytes were accepted: the sender believes them sent.
 */
static enum conn_io sim_conn_sendv(struct conn *base, const struct slice *parts, size_t count,
                                   size_t *ret_len)
{
    struct sim_conn *conn = sim_conn_of(base);
    struct sim *sim = conn->link->sim;
    ASSERT(!conn->closed && !conn->end_sent);
    if (conn->lost)
        return CONN_LOST;
    if (!conn->linked)
        return CONN_AGAIN;
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += parts[i].len;
    size_t room = sim_conn_window(conn);
    if (room == 0)
        return CONN_AGAIN;
    len = sim_shorten(sim, len < room ? len : room);
    ASSERT(len > 0 && len <= room);
    struct sim_piece *piece = sim_piece_create(sim_conn_peer(conn), len);
    size_t put = 0;
    for (size_t i = 0; put < len; i++) {
        size_t part = parts[i].len < len - put ? parts[i].len : len - put;
        memcpy(piece->data + put, parts[i].data, part);
        put += part;
    }
    sim_piece_send(piece);
    if (random_one_in(&sim->random, sim->config.cut_odds))
        sim_link_cut(conn->link);
    *ret_len = len;
    return CONN_OK;
}

static void sim_conn_send_end(struct sim_conn *conn)
{
    if (conn->end_sent || !conn->linked || conn->lost)
        return;
    conn->end_sent = true;
    struct sim_piece *piece = sim_piece_create(sim_conn_peer(conn), 0);
    piece->is_end = true;
    sim_piece_send(piece);
}

static void sim_conn_shutdown(struct conn *base)
{
    sim_conn_send_end(sim_conn_of(base));
}

static void sim_conn_close(struct conn *base)
{
    struct sim_conn *conn = sim_conn_of(base);
    ASSERT(!conn->closed);
    conn->closed = true;
    if (conn->arrived_len > 0)
        sim_conn_reset(sim_conn_peer(conn)); /* unread input: as real stacks do */
    else
        sim_conn_send_end(conn);
    list_remove(&conn->node);
    if (base->reactor)
        list_push_back(&((struct sim_reactor *)base->reactor)->closed, &conn->node);
    else
        sim_link_unref(conn->link);
}

static bool sim_conn_adopt(struct reactor *reactor, struct conn *base)
{
    ASSERT(!sim_conn_of(base)->closed && base->reactor == reactor);
    struct sim_conn *conn = sim_conn_of(base);
    list_remove(&conn->node);
    list_push_back(&((struct sim_reactor *)reactor)->conns, &conn->node);
    conn->host = ((struct sim_reactor *)reactor)->host;
    sim_conn_stir(conn);
    return true;
}

static void sim_conn_want(struct conn *base)
{
    ASSERT(!sim_conn_of(base)->closed);
    sim_conn_stir(sim_conn_of(base));
}

static const struct conn_impl sim_conn_impl = {
    .adopt = sim_conn_adopt,
    .want = sim_conn_want,
    .recv = sim_conn_recv,
    .sendv = sim_conn_sendv,
    .shutdown = sim_conn_shutdown,
    .close = sim_conn_close,
};

/* ---- connecting ---- */

static bool sim_host_name_known(const char *host)
{
    static const char *const names[] = {"", "*", "localhost", "127.0.0.1", "0.0.0.0", "::1", "::"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(host, names[i]) == 0)
            return true;
    }
    return strncmp(host, "10.", 3) == 0;
}

static struct sim_listener *sim_listener_find(struct sim *sim, uint16_t port)
{
    ASSERT(port != 0);
    LIST_FOREACH(node, &sim->listeners)
    {
        struct sim_listener *listener = CONTAINER_OF(node, struct sim_listener, node);
        if (listener->base.port == port)
            return listener;
    }
    return NULL;
}

/* The dialling reaches the other side: accepted there, or refused. */
static void sim_link_arrive(struct sim *sim, void *arg, uint64_t number)
{
    struct sim_link *link = arg;
    struct sim_conn *caller = &link->end[0];
    struct sim_conn *callee = &link->end[1];
    struct sim_listener *listener = sim_listener_find(sim, link->port);
    if (!listener || caller->closed || caller->lost) {
        sim_conn_reset(caller);
    } else {
        struct sim_reactor *reactor = (struct sim_reactor *)listener->base.reactor;
        caller->linked = callee->linked = true;
        callee->used = true;
        callee->host = reactor->host;
        link->refs++;
        list_push_back(&listener->waiting, &callee->node);
        sim_reactor_schedule(reactor, sim->now_us + sim_draw(sim, 1, 30));
        sim_conn_stir(caller);
    }
    sim_link_unref(link);
}

static void sim_conn_init(struct sim_link *link, int index, uint16_t local, uint16_t peer)
{
    ASSERT(index == 0 || index == 1);
    struct sim_conn *conn = &link->end[index];
    conn->base.impl = &sim_conn_impl;
    conn->base.loopback = true;
    conn->link = link;
    list_init(&conn->node);
    snprintf(conn->base.local, sizeof(conn->base.local), "127.0.0.1:%u", local);
    snprintf(conn->base.peer, sizeof(conn->base.peer), "127.0.0.1:%u", peer);
}

enum err sim_net_connect(struct reactor *base, const char *host, uint16_t port,
                         struct conn **ret_conn, struct err_info *info)
{
    struct sim_reactor *reactor = (struct sim_reactor *)base;
    struct sim *sim = reactor->host->sim;
    if (!sim_host_name_known(host))
        return err_info_set(info, ERR_INVALID_ARGUMENT, "'%s' is not a numeric address", host);
    struct sim_link *link = calloc(1, sizeof(*link));
    if (!link)
        return err_info_set(info, ERR_NO_MEMORY, "connect %s port %u: out of memory", host, port);
    link->sim = sim;
    link->port = port;
    uint16_t client_port = sim->next_client_port++;
    if (sim->next_client_port < 40000)
        sim->next_client_port = 40000;
    sim_conn_init(link, 0, client_port, port);
    sim_conn_init(link, 1, port, client_port);
    list_push_back(&sim->links, &link->node);
    link->end[0].used = true;
    link->end[0].host = reactor->host;
    ASSERT(link->refs == 0);
    link->refs = 2; /* the caller, and the event */
    sim_schedule(sim, sim->now_us + sim_delay(sim), sim_link_arrive, link, 0);
    *ret_conn = &link->end[0].base;
    return ERR_OK;
}

/* ---- listening ---- */

enum err sim_net_listen(struct reactor *base, const char *host, uint16_t port,
                        struct listener **ret_listener, struct err_info *info)
{
    struct sim_reactor *reactor = (struct sim_reactor *)base;
    struct sim *sim = reactor->host->sim;
    if (!sim_host_name_known(host))
        return err_info_set(info, ERR_INVALID_ARGUMENT, "'%s' is not a numeric address", host);
    while (port == 0) {
        uint16_t next = sim->next_port++;
        if (sim->next_port >= 40000)
            sim->next_port = SIM_PORT_FIRST;
        port = sim_listener_find(sim, next) ? 0 : next;
    }
    if (sim_listener_find(sim, port))
        return err_info_set(info, ERR_PORT_IN_USE, "listen on %s port %u: in use", host, port);
    struct sim_listener *listener = calloc(1, sizeof(*listener));
    if (!listener)
        return err_info_set(info, ERR_NO_MEMORY, "listen on %s port %u: out of memory", host, port);
    listener->base.port = port;
    snprintf(listener->base.address, sizeof(listener->base.address), "127.0.0.1:%u", port);
    list_init(&listener->waiting);
    list_push_back(&sim->listeners, &listener->node);
    list_push_back(&reactor->listeners, &listener->reactor_node);
    *ret_listener = &listener->base;
    return ERR_OK;
}

void sim_net_listener_close(struct listener *base)
{
    struct sim_listener *listener = (struct sim_listener *)base;
    ASSERT(base->port != 0);
    struct list_node *node;
    while ((node = list_pop_front(&listener->waiting)) != NULL)
        sim_conn_close(&CONTAINER_OF(node, struct sim_conn, node)->base);
    list_remove(&listener->node);
    list_remove(&listener->reactor_node);
    free(listener);
}

/* ---- turns ---- */

static bool sim_conn_readable(const struct sim_conn *conn)
{
    ASSERT(!conn->closed);
    return conn->base.want_read && (conn->lost || conn->arrived_len > 0 || conn->ended);
}

static bool sim_conn_writable(struct sim_conn *conn)
{
    ASSERT(!conn->closed);
    return conn->base.want_write && (conn->lost || (conn->linked && sim_conn_window(conn) > 0));
}

bool sim_net_ready(const struct sim_reactor *reactor)
{
    LIST_FOREACH(node, &reactor->conns)
    {
        struct sim_conn *conn = CONTAINER_OF(node, struct sim_conn, node);
        if (sim_conn_readable(conn) || sim_conn_writable(conn))
            return true;
    }
    LIST_FOREACH(node, &reactor->listeners)
    {
        if (!list_empty(&CONTAINER_OF(node, struct sim_listener, reactor_node)->waiting))
            return true;
    }
    return false;
}

/* Gives out what waits at the first listener that has something. False: none has. */
static bool sim_net_accept(struct sim_reactor *reactor)
{
    LIST_FOREACH(node, &reactor->listeners)
    {
        struct sim_listener *listener = CONTAINER_OF(node, struct sim_listener, reactor_node);
        struct list_node *first = list_pop_front(&listener->waiting);
        if (!first)
            continue;
        listener->base.on_accept(listener->base.arg,
                                 &CONTAINER_OF(first, struct sim_conn, node)->base);
        return true; /* the callback may have closed any listener */
    }
    return false;
}

/* Callbacks may close any conn and adopt new ones: the list is moved aside and each conn goes back
 * before its callbacks run. */
void sim_net_turn(struct sim_reactor *reactor)
{
    while (sim_net_accept(reactor))
        ;
    struct list_node pending;
    list_init(&pending);
    struct list_node *node;
    while ((node = list_pop_front(&reactor->conns)) != NULL)
        list_push_back(&pending, node);
    while ((node = list_pop_front(&pending)) != NULL) {
        struct sim_conn *conn = CONTAINER_OF(node, struct sim_conn, node);
        list_push_back(&reactor->conns, node);
        if (sim_conn_readable(conn))
            conn_ready_read(&conn->base);
        if (!conn->closed && sim_conn_writable(conn))
            conn_ready_write(&conn->base);
    }
}

void sim_net_turn_end(struct sim_reactor *reactor)
{
    struct list_node *node;
    while ((node = list_pop_front(&reactor->closed)) != NULL)
        sim_link_unref(CONTAINER_OF(node, struct sim_conn, node)->link);
}

/* ---- hosts ---- */

/*
 * Listeners go, so that new connections are refused; peers of standing ones see a reset, at different
 * times.
 */
void sim_net_host_lost(struct sim_host *host)
{
    struct sim *sim = host->sim;
    LIST_FOREACH_SAFE(node, &sim->listeners)
    {
        struct sim_listener *listener = CONTAINER_OF(node, struct sim_listener, node);
        if (((struct sim_reactor *)listener->base.reactor)->host == host)
            sim_net_listener_close(&listener->base);
    }
    LIST_FOREACH(node, &sim->links)
    {
        struct sim_link *link = CONTAINER_OF(node, struct sim_link, node);
        for (int i = 0; i < 2; i++) {
            struct sim_conn *end = &link->end[i];
            if (end->host == host && end->used && !end->closed && !sim_conn_peer(end)->lost)
                sim_conn_reset(sim_conn_peer(end));
        }
    }
}

void sim_net_host_cut(struct sim_host *host)
{
    LIST_FOREACH(node, &host->sim->links)
    {
        struct sim_link *link = CONTAINER_OF(node, struct sim_link, node);
        if (link->end[0].host == host || link->end[1].host == host)
            sim_link_cut(link);
    }
}

void sim_net_destroy(struct sim *sim)
{
    /* Pieces under way are the only memory that events own. */
    for (size_t i = 0; i < sim->event_count; i++) {
        if (sim->events[i].fn == sim_piece_arrive)
            free(sim->events[i].arg);
    }
    struct list_node *node;
    while ((node = list_front(&sim->links)) != NULL) {
        struct sim_link *link = CONTAINER_OF(node, struct sim_link, node);
        link->refs = 1;
        sim_link_unref(link);
    }
    while ((node = list_front(&sim->listeners)) != NULL)
        sim_net_listener_close(&CONTAINER_OF(node, struct sim_listener, node)->base);
}
