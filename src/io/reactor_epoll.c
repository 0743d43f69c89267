/*
 * Role: the reactor on the real machine: one epoll set per shard, blocking work on the process's
 * worker pool.
 *
 *     epoll_wait -> events (eventfd: wake; listener: accept; conn: readable, writable)
 *                -> reactor_turn_rest -> free closed conns
 *
 * Invariants
 * (1) A conn closed during a turn stays in memory until the turn ends, since later events of the
 *     same wait may name it; it gets no callback.
 * (2) `sleeping` is set before the last look for work and cleared after the wait: whoever
 *     publishes work after that look sees it and wakes us.
 * (3) The registered event mask equals what the conn wants; a conn that wants nothing is not in
 *     the set, so a hang-up cannot spin.
 * (4) One spare descriptor is kept, to accept and drop a connection when the process has no
 *     descriptor left. Where even that fails the listener rests: a connection that can be neither
 *     accepted nor dropped must not keep the loop turning.
 * (5) A conn that the set refuses is in `broken` until its owner was told with a readiness
 *     callback: no conn is ever silent for lack of kernel memory.
 *
 * Ownership and shard: owner. wake may be called from any thread: it only writes the eventfd.
 *
 * Failure modes: port in use and bad address are reported with words; a reset shows as CONN_LOST;
 * no descriptors: new connections are dropped, with at most one line a second.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/diag.h"
#include "io/address.h"
#include "io/fault.h"
#include "io/reactor_int.h"
#include "io/workpool.h"

#define EPOLL_EVENTS_MAX 256
#define EPOLL_ACCEPTS_MAX 64
#define EPOLL_BACKLOG 1024
#define EPOLL_WAIT_MAX_US UINT64_C(60000000)
#define EPOLL_REST_US 100000     /* of a listener that could not even drop */
#define EPOLL_REPORT_US 1000000u /* between two lines about dropped connections */

FAULT_DEFINE(fault_watch, "net.watch")

enum source_kind { SOURCE_WAKE, SOURCE_LISTENER, SOURCE_CONN };

/* What an epoll event points at: the first field of everything registered. */
struct source {
    enum source_kind kind;
    int fd;
    struct list_node closed; /* in the reactor's list until the turn ends */
};

struct epoll_reactor {
    struct reactor base;
    struct source wake;
    int epoll_fd;
    int spare_fd;
    bool no_pwait2;
    struct workpool *pool;
    struct list_node closed; /* conns and listeners to free when the turn ends */
    struct list_node broken; /* conns that the set refused and that wait to be told */
    uint64_t report_us;      /* no line about dropped connections before */
    unsigned dropped;        /* since the last line */
};

struct epoll_conn {
    struct conn base;
    struct source source;
    struct list_node broken; /* in the reactor's list, or alone */
    uint32_t mask;           /* registered events; 0: not in the set */
    bool registered;
    bool connecting;
    bool failed;
    bool is_closed;
};

struct epoll_listener {
    struct listener base;
    struct source source;
    struct timer rest; /* armed: not in the set until it fires */
    bool is_closed;
};

static const struct reactor_ops epoll_ops;

static struct epoll_reactor *epoll_of(struct reactor *reactor)
{
    ASSERT(reactor->ops == &epoll_ops);
    return (struct epoll_reactor *)reactor;
}

static void epoll_clock(struct reactor *reactor)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    uint64_t now_us = (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
    ASSERT(now_us >= reactor->now_us); /* timers rely on it */
    reactor->now_us = now_us;
    clock_gettime(CLOCK_REALTIME, &ts);
    reactor->wall_ms = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* A full counter (EAGAIN) is as good as another count: the loop will wake up either way. */
static void epoll_wake(struct reactor *reactor)
{
    uint64_t one = 1;
    ssize_t n = write(epoll_of(reactor)->wake.fd, &one, sizeof(one));
    ASSERT(n == (ssize_t)sizeof(one) || errno == EAGAIN);
}

static void epoll_work(struct reactor *reactor, struct work *work)
{
    ASSERT(work->owner == reactor);
    workpool_push(epoll_of(reactor)->pool, work);
}

/* ---- connections ---- */

/*
 * Brings the set in line with what is wanted, with as few calls as possible: most turns change
 * nothing, and then no call is made.
 */
static bool epoll_conn_register(struct epoll_conn *conn)
{
    ASSERT(conn->base.reactor && conn->source.fd >= 0);
    struct epoll_reactor *reactor = epoll_of(conn->base.reactor);
    uint32_t mask = (conn->base.want_read ? (uint32_t)(EPOLLIN | EPOLLRDHUP) : 0) |
                    (conn->base.want_write ? (uint32_t)EPOLLOUT : 0);
    if (mask == conn->mask && conn->registered == (mask != 0))
        return true;
    struct epoll_event event = {.events = mask, .data.ptr = &conn->source};
    int op = mask == 0 ? EPOLL_CTL_DEL : conn->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (mask != 0 && fault_check(&fault_watch) != ERR_OK)
        return false;
    if (epoll_ctl(reactor->epoll_fd, op, conn->source.fd, &event) != 0)
        return false;
    conn->mask = mask;
    conn->registered = mask != 0;
    return true;
}

static bool epoll_conn_adopt(struct reactor *reactor, struct conn *base)
{
    struct epoll_conn *conn = (struct epoll_conn *)base;
    ASSERT(!conn->registered && !conn->is_closed);
    ASSERT(base->reactor == reactor);
    return epoll_conn_register(conn);
}

static void epoll_conn_want(struct conn *base)
{
    struct epoll_conn *conn = (struct epoll_conn *)base;
    ASSERT(!conn->is_closed && base->reactor);
    /* Adding a descriptor fails for lack of kernel memory: the conn is given up as lost, and its
     * owner hears of it in the next turn. */
    if (!epoll_conn_register(conn))
        conn->failed = true;
    if (conn->failed && (base->want_read || base->want_write) && list_empty(&conn->broken))
        list_push_back(&epoll_of(base->reactor)->broken, &conn->broken);
}

/*
 * What a failed transfer means. An interrupted call counts as 'not now': the set is level-triggered,
 * so readiness is reported again.
 */
static enum conn_io epoll_conn_errno(struct epoll_conn *conn)
{
    ASSERT(errno != 0 && !conn->is_closed);
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return CONN_AGAIN;
    conn->failed = true;
    return CONN_LOST;
}

static enum conn_io epoll_conn_recv(struct conn *base, void *data, size_t cap, size_t *ret_len)
{
    struct epoll_conn *conn = (struct epoll_conn *)base;
    ASSERT(!conn->is_closed);
    if (conn->failed)
        return CONN_LOST;
    if (conn->connecting)
        return CONN_AGAIN;
    ssize_t n = recv(conn->source.fd, data, cap, 0);
    if (n < 0)
        return epoll_conn_errno(conn);
    ASSERT((size_t)n <= cap);
    *ret_len = (size_t)n;
    return n == 0 ? CONN_EOF : CONN_OK;
}

static enum conn_io epoll_conn_sendv(struct conn *base, const struct slice *parts, size_t count,
                                     size_t *ret_len)
{
    struct epoll_conn *conn = (struct epoll_conn *)base;
    ASSERT(!conn->is_closed);
    if (conn->failed)
        return CONN_LOST;
    if (conn->connecting)
        return CONN_AGAIN;
    struct iovec iov[CONN_PARTS_MAX];
    for (size_t i = 0; i < count; i++)
        iov[i] = (struct iovec){(void *)(uintptr_t)parts[i].data, parts[i].len};
    /* sendmsg and not writev: only it can be told not to raise SIGPIPE. */
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};
    ssize_t n = sendmsg(conn->source.fd, &msg, MSG_NOSIGNAL);
    if (n < 0)
        return epoll_conn_errno(conn);
    *ret_len = (size_t)n;
    return CONN_OK;
}

static void epoll_conn_shutdown(struct conn *base)
{
    struct epoll_conn *conn = (struct epoll_conn *)base;
    ASSERT(!conn->is_closed);
    shutdown(conn->source.fd, SHUT_WR);
}

/*
 * The memory waits for the end of the turn (invariant 1). A conn that was never adopted is in no set
 * and no later event names it.
 */
static void epoll_conn_close(struct conn *base)
{
    struct epoll_conn *conn = (struct epoll_conn *)base;
    ASSERT(!conn->is_closed);
    conn->is_closed = true;
    list_remove(&conn->broken);
    close(conn->source.fd); /* leaves the epoll set with it */
    if (base->reactor)
        list_push_back(&epoll_of(base->reactor)->closed, &conn->source.closed);
    else
        free(conn);
}

static const struct conn_impl epoll_conn_impl = {
    .adopt = epoll_conn_adopt,
    .want = epoll_conn_want,
    .recv = epoll_conn_recv,
    .sendv = epoll_conn_sendv,
    .shutdown = epoll_conn_shutdown,
    .close = epoll_conn_close,
};

/* The socket's own address as text; returns its port. */
static uint16_t epoll_local_address(int fd, char text[CONN_ADDRESS_MAX])
{
    struct sockaddr_storage local = {0};
    socklen_t len = sizeof(local);
    getsockname(fd, (struct sockaddr *)&local, &len);
    address_format(&local, text, CONN_ADDRESS_MAX);
    return address_port(&local);
}

/* Wraps a connected or connecting socket. NULL: out of memory; the descriptor is closed. */
static struct epoll_conn *epoll_conn_create(int fd, const struct sockaddr_storage *peer)
{
    struct epoll_conn *conn = calloc(1, sizeof(*conn));
    if (!conn) {
        close(fd);
        return NULL;
    }
    ASSERT(fd >= 0);
    int on = 1;
    /* Answers leave in one write per turn; waiting for more would only add a round trip. Keep-alive
     * finds peers that vanished while nothing was to be sent. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    conn->base.impl = &epoll_conn_impl;
    conn->base.loopback = address_is_loopback(peer);
    conn->source = (struct source){.kind = SOURCE_CONN, .fd = fd};
    list_init(&conn->broken);
    address_format(peer, conn->base.peer, sizeof(conn->base.peer));
    epoll_local_address(fd, conn->base.local);
    return conn;
}

/* An immediate failure is reported here; one that comes later shows as readiness, and send tells. */
static enum err epoll_connect(struct reactor *reactor, const char *host, uint16_t port,
                              struct conn **ret_conn, struct err_info *info)
{
    struct sockaddr_storage address;
    socklen_t len;
    enum err err = address_parse(host, port, &address, &len, info);
    if (err != ERR_OK)
        return err;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_info_set(info, ERR_LIMIT, "connect %s port %u: %s", host, port, strerror(errno));
    int rc = connect(fd, (struct sockaddr *)&address, len);
    if (rc != 0 && errno != EINPROGRESS) {
        err = err_info_set(info, ERR_CONNECTION_LOST, "connect %s port %u: %s", host, port,
                           strerror(errno));
        close(fd);
        return err;
    }
    struct epoll_conn *conn = epoll_conn_create(fd, &address);
    if (!conn)
        return err_info_set(info, ERR_NO_MEMORY, "connect %s port %u: out of memory", host, port);
    conn->connecting = rc != 0;
    *ret_conn = &conn->base;
    return ERR_OK;
}

/* ---- listeners ---- */

static void epoll_listener_close(struct listener *base)
{
    struct epoll_listener *listener = (struct epoll_listener *)base;
    ASSERT(!listener->is_closed && base->reactor);
    listener->is_closed = true;
    timer_cancel(base->reactor, &listener->rest);
    close(listener->source.fd);
    list_push_back(&epoll_of(base->reactor)->closed, &listener->source.closed);
}

/* A bound, listening socket in ret_fd. */
static enum err epoll_bind(const char *host, uint16_t port, int *ret_fd, struct err_info *info)
{
    struct sockaddr_storage address;
    socklen_t len;
    enum err err = address_parse(host, port, &address, &len, info);
    if (err != ERR_OK)
        return err;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_info_set(info, ERR_LIMIT, "listen on %s port %u: %s", host, port,
                            strerror(errno));
    int on = 1;
    /* A restart must not wait for connections of the last run that linger in TIME_WAIT. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, EPOLL_BACKLOG) != 0) {
        enum err code = errno == EADDRINUSE ? ERR_PORT_IN_USE : ERR_INVALID_ARGUMENT;
        err = err_info_set(info, code, "listen on %s port %u: %s", host[0] ? host : "*", port,
                           strerror(errno));
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return ERR_OK;
}

/* As soon as there are descriptors again: the next shortage may come at once. */
static void epoll_spare_take(struct epoll_reactor *reactor)
{
    if (reactor->spare_fd < 0)
        reactor->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Takes the spare descriptor again and puts the listener back into the set; rests once more when
 * that fails. */
static void epoll_listener_rested(struct timer *timer)
{
    struct epoll_listener *listener = CONTAINER_OF(timer, struct epoll_listener, rest);
    ASSERT(!listener->is_closed);
    struct epoll_reactor *reactor = epoll_of(listener->base.reactor);
    epoll_spare_take(reactor);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener->source};
    if (epoll_ctl(reactor->epoll_fd, EPOLL_CTL_ADD, listener->source.fd, &event) != 0)
        timer_arm(&reactor->base, &listener->rest, EPOLL_REST_US);
}

/* The set is level-triggered: a connection that stays in the backlog would be reported at once and
 * for ever. */
static void epoll_listener_rest(struct epoll_reactor *reactor, struct epoll_listener *listener)
{
    ASSERT(!timer_armed(&listener->rest));
    if (epoll_ctl(reactor->epoll_fd, EPOLL_CTL_DEL, listener->source.fd, NULL) == 0)
        timer_arm(&reactor->base, &listener->rest, EPOLL_REST_US);
}

static enum err epoll_listen(struct reactor *reactor, const char *host, uint16_t port,
                             struct listener **ret_listener, struct err_info *info)
{
    int fd = -1;
    enum err err = epoll_bind(host, port, &fd, info);
    if (err != ERR_OK)
        return err;
    struct epoll_listener *listener = calloc(1, sizeof(*listener));
    if (!listener) {
        close(fd);
        return err_info_set(info, ERR_NO_MEMORY, "listen on %s port %u: out of memory", host, port);
    }
    listener->source = (struct source){.kind = SOURCE_LISTENER, .fd = fd};
    timer_init(&listener->rest, epoll_listener_rested);
    listener->base.port = epoll_local_address(fd, listener->base.address);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener->source};
    if (epoll_ctl(epoll_of(reactor)->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        err =
            err_info_set(info, ERR_LIMIT, "listen on %s port %u: %s", host, port, strerror(errno));
        close(fd);
        free(listener);
        return err;
    }
    *ret_listener = &listener->base;
    return ERR_OK;
}

/* One line a second says how many connections were dropped or left waiting. */
static void epoll_drop_report(struct epoll_reactor *reactor)
{
    ASSERT(reactor->dropped < UINT32_MAX);
    reactor->dropped++;
    if (reactor->base.now_us < reactor->report_us)
        return;
    diag(DIAG_WARN, "io", "event=accept_dropped reason=no_descriptors count=%u", reactor->dropped);
    reactor->report_us = reactor->base.now_us + EPOLL_REPORT_US;
    reactor->dropped = 0;
}

/*
 * No descriptor left: gives up the spare one to take the connection off the queue and drop it.
 * False: that failed too, since another thread was faster to take the descriptor, or the spare was
 * lost before.
 */
static bool epoll_accept_drop(struct epoll_reactor *reactor, int listen_fd)
{
    epoll_drop_report(reactor);
    if (reactor->spare_fd >= 0)
        close(reactor->spare_fd);
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    reactor->spare_fd = -1;
    epoll_spare_take(reactor);
    return fd >= 0;
}

/*
 * Takes a bounded number of connections per turn: a flood of them must not starve those that
 * stand.
 */
static void epoll_accept(struct epoll_reactor *reactor, struct epoll_listener *listener)
{
    ASSERT(listener->base.on_accept && listener->base.reactor == &reactor->base);
    for (int i = 0; i < EPOLL_ACCEPTS_MAX && !listener->is_closed; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t len = sizeof(peer);
        int fd = accept4(listener->source.fd, (struct sockaddr *)&peer, &len,
                         SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            int rc = errno;
            if (rc == ECONNABORTED || rc == EINTR)
                continue;
            bool dry = rc == EMFILE || rc == ENFILE;
            if ((dry && !epoll_accept_drop(reactor, listener->source.fd)) || rc == ENOBUFS ||
                rc == ENOMEM)
                epoll_listener_rest(reactor, listener);
            return;
        }
        epoll_spare_take(reactor);
        struct epoll_conn *conn = epoll_conn_create(fd, &peer);
        if (conn)
            listener->base.on_accept(listener->base.arg, &conn->base);
    }
}

/* ---- loop ---- */

/*
 * Errors and hang-ups are told as readiness to whatever is wanted: recv or send then say which it was.
 * The callback for input may close the conn, so that is looked at before the one for room.
 */
static void epoll_conn_event(struct epoll_conn *conn, uint32_t events)
{
    ASSERT(!conn->is_closed && conn->base.reactor);
    if (conn->connecting) {
        int error = 0;
        socklen_t len = sizeof(error);
        getsockopt(conn->source.fd, SOL_SOCKET, SO_ERROR, &error, &len);
        conn->connecting = false;
        conn->failed = error != 0;
    }
    uint32_t broken = EPOLLERR | EPOLLHUP;
    if ((events & (EPOLLIN | EPOLLRDHUP | broken)) && conn->base.want_read)
        conn_ready_read(&conn->base);
    if (!conn->is_closed && (events & (EPOLLOUT | broken)) && conn->base.want_write)
        conn_ready_write(&conn->base);
}

static void epoll_event_run(struct epoll_reactor *reactor, const struct epoll_event *event)
{
    ASSERT(event->data.ptr);
    struct source *source = event->data.ptr;
    if (source->kind == SOURCE_WAKE) {
        uint64_t count;
        ssize_t n = read(source->fd, &count, sizeof(count));
        ASSERT(n > 0 || errno == EAGAIN);
    } else if (source->kind == SOURCE_LISTENER) {
        struct epoll_listener *listener = CONTAINER_OF(source, struct epoll_listener, source);
        if (!listener->is_closed)
            epoll_accept(reactor, listener);
    } else {
        struct epoll_conn *conn = CONTAINER_OF(source, struct epoll_conn, source);
        if (!conn->is_closed)
            epoll_conn_event(conn, event->events);
    }
}

/* Tells the owners of conns that the set refused: their next receive or send shows the loss. */
static void epoll_run_broken(struct epoll_reactor *reactor)
{
    struct list_node *node;
    while ((node = list_pop_front(&reactor->broken)) != NULL) {
        struct epoll_conn *conn = CONTAINER_OF(node, struct epoll_conn, broken);
        ASSERT(conn->failed && !conn->is_closed);
        if (conn->base.want_read)
            conn_ready_read(&conn->base);
        else if (conn->base.want_write)
            conn_ready_write(&conn->base);
    }
}

/* Only after the last event of the wait was looked at: until then any of them may point here. */
static void epoll_free_closed(struct epoll_reactor *reactor)
{
    struct list_node *node;
    while ((node = list_pop_front(&reactor->closed)) != NULL) {
        struct source *source = CONTAINER_OF(node, struct source, closed);
        if (source->kind == SOURCE_LISTENER)
            free(CONTAINER_OF(source, struct epoll_listener, source));
        else
            free(CONTAINER_OF(source, struct epoll_conn, source));
    }
}

static int epoll_sleep(struct epoll_reactor *reactor, struct epoll_event *events, uint64_t wait_us)
{
    ASSERT(wait_us <= EPOLL_WAIT_MAX_US);
    if (!reactor->no_pwait2) {
        struct timespec ts = {(time_t)(wait_us / 1000000), (long)(wait_us % 1000000) * 1000};
        int n = epoll_pwait2(reactor->epoll_fd, events, EPOLL_EVENTS_MAX, &ts, NULL);
        /* Older kernels do not know the call, and older containers' filters answer EPERM to what
         * they do not know. */
        if (n >= 0 || (errno != ENOSYS && errno != EPERM))
            return n;
        reactor->no_pwait2 = true;
    }
    uint64_t ms = (wait_us + 999) / 1000; /* up: waking up too early would be a turn for nothing */
    return epoll_wait(reactor->epoll_fd, events, EPOLL_EVENTS_MAX, (int)ms);
}

/*
 * The order of store and look is invariant (2): said to sleep first, then looked for work. The other
 * way round a post between the two would be slept over.
 */
void reactor_epoll_turn(struct reactor *base, uint64_t max_wait_us)
{
    struct epoll_reactor *reactor = epoll_of(base);
    struct epoll_event events[EPOLL_EVENTS_MAX];
    uint64_t wait_us = max_wait_us > EPOLL_WAIT_MAX_US ? EPOLL_WAIT_MAX_US : max_wait_us;
    uint64_t next = reactor_next_timer(base);
    if (next != UINT64_MAX) {
        epoll_clock(base);
        uint64_t left = next > base->now_us ? next - base->now_us : 0;
        wait_us = left < wait_us ? left : wait_us;
    }
    atomic_store(&base->sleeping, true);
    if (reactor_busy(base) || !list_empty(&reactor->broken))
        wait_us = 0;
    int n = epoll_sleep(reactor, events, wait_us);
    atomic_store(&base->sleeping, false);
    ASSERT(n >= 0 || errno == EINTR);
    epoll_clock(base);
    for (int i = 0; i < n; i++)
        epoll_event_run(reactor, &events[i]);
    epoll_run_broken(reactor);
    reactor_turn_rest(base);
    epoll_free_closed(reactor);
}

static void epoll_destroy(struct reactor *base)
{
    struct epoll_reactor *reactor = epoll_of(base);
    ASSERT(!atomic_load(&base->sleeping));
    epoll_free_closed(reactor);
    if (reactor->spare_fd >= 0)
        close(reactor->spare_fd);
    if (reactor->epoll_fd >= 0)
        close(reactor->epoll_fd);
    if (reactor->wake.fd >= 0)
        close(reactor->wake.fd);
    reactor_deinit(base);
    free(reactor);
}

static const struct reactor_ops epoll_ops = {
    .destroy = epoll_destroy,
    .work = epoll_work,
    .wake = epoll_wake,
    .listen = epoll_listen,
    .listener_close = epoll_listener_close,
    .connect = epoll_connect,
};

enum err reactor_epoll_create(struct workpool *pool, struct reactor **ret_reactor,
                              struct err_info *info)
{
    ASSERT(pool);
    *ret_reactor = NULL;
    struct epoll_reactor *reactor = calloc(1, sizeof(*reactor));
    if (!reactor)
        return err_info_set(info, ERR_NO_MEMORY, "out of memory for a reactor");
    reactor_init(&reactor->base, &epoll_ops);
    list_init(&reactor->closed);
    list_init(&reactor->broken);
    reactor->pool = pool;
    reactor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    reactor->wake =
        (struct source){.kind = SOURCE_WAKE, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    reactor->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &reactor->wake};
    if (reactor->epoll_fd < 0 || reactor->wake.fd < 0 ||
        epoll_ctl(reactor->epoll_fd, EPOLL_CTL_ADD, reactor->wake.fd, &event) != 0) {
        enum err err =
            err_info_set(info, ERR_LIMIT, "cannot create a reactor: %s", strerror(errno));
        epoll_destroy(&reactor->base);
        return err;
    }
    epoll_clock(&reactor->base);
    *ret_reactor = &reactor->base;
    return ERR_OK;
}
