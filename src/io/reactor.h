/*
 * The reactor seam: time, timers, disk work and sockets of one shard, behind one table.
 *
 * Two implementations give the same callbacks: epoll with a worker pool, and the simulator with
 * virtual time. One turn: socket events -> posts -> mailboxes -> work completions -> timers ->
 * end-of-turn hooks. Callbacks run on the shard's thread, one at a time, never inside the call that
 * asked for them.
 *
 * Shard: owner for everything, except reactor_post and reactor_wake (any thread).
 */
#ifndef WEIR_IO_REACTOR_H
#define WEIR_IO_REACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/list.h"
#include "base/slice.h"

struct reactor;
struct conn;
struct listener;

/* ---- time ---- */

/* Monotonic microseconds, taken once per turn: cheap, and the same for all callbacks of a turn. */
uint64_t reactor_now_us(const struct reactor *reactor);
/* Milliseconds since 1970 UTC, taken once per turn. */
int64_t reactor_wall_ms(const struct reactor *reactor);

/* ---- timers: intrusive, one shot ---- */

struct timer {
    void (*fn)(struct timer *timer);
    uint64_t deadline_us;
    uint64_t seq; /* breaks ties: first armed fires first */
    /* Place in the reactor's pairing heap: nothing is allocated, so arming cannot fail. */
    struct timer *child;
    struct timer *next;
    struct timer *prev; /* left sibling, or parent for the first child */
    bool armed;
};

/* Must come before any other use. Embed the timer and find its owner with CONTAINER_OF. */
void timer_init(struct timer *timer, void (*fn)(struct timer *timer));
/* Arms, or moves when armed. Fires once at or after now + delay_us. */
void timer_arm(struct reactor *reactor, struct timer *timer, uint64_t delay_us);
void timer_arm_at(struct reactor *reactor, struct timer *timer, uint64_t deadline_us);
/* Harmless when not armed. After it the callback does not run. */
void timer_cancel(struct reactor *reactor, struct timer *timer);
static inline bool timer_armed(const struct timer *timer)
{
    return timer->armed;
}

/* ---- end of turn ---- */

struct hook {
    struct list_node node;
    void (*fn)(struct hook *hook);
};

void hook_init(struct hook *hook, void (*fn)(struct hook *hook));
/* Runs fn once at the end of this turn (of the next one when called from a hook); asking twice is
 * one run. */
void reactor_at_turn_end(struct reactor *reactor, struct hook *hook);
/* Takes a queued hook back; harmless when not queued. */
void reactor_hook_cancel(struct hook *hook);

/* ---- disk work ---- */

/* A work item is the caller's, and stays untouched between reactor_work and done. Results go beside
 * it. */
struct work {
    struct list_node node;
    void (*fn)(struct work *work);   /* on a worker thread: may block */
    void (*done)(struct work *work); /* on the shard that asked */
    struct reactor *owner;
    unsigned lane;
};

/* WORK_FAST: commits and reads that somebody waits for. WORK_SLOW: recovery, compaction, catalogue;
 * never takes all workers. */
enum work_lane { WORK_FAST, WORK_SLOW };

/*
 * Queues fn for a worker thread. Items start in the order given, and may finish in any. Infallible:
 * the item carries its own queue node; callers bound how many they have out. During a stop all
 * queued work still completes.
 */
void reactor_work(struct reactor *reactor, struct work *work, void (*fn)(struct work *work),
                  void (*done)(struct work *work));
void reactor_work_lane(struct reactor *reactor, struct work *work, enum work_lane lane,
                       void (*fn)(struct work *work), void (*done)(struct work *work));

/* ---- from other threads ---- */

struct post {
    struct list_node node;
    void (*fn)(struct post *post);
};

/* Runs fn on the reactor's shard. Any thread; takes a short lock. For callbacks of libraries, not
 * for shard traffic (shard.h). */
void reactor_post(struct reactor *reactor, struct post *post, void (*fn)(struct post *post));

/* ---- sockets ---- */

enum conn_io {
    CONN_OK,    /* some bytes moved */
    CONN_AGAIN, /* nothing now; a readiness callback will come */
    CONN_EOF,   /* the peer sends no more */
    CONN_LOST   /* reset, timed out, cut */
};

struct conn_ops {
    void (*on_readable)(struct conn *conn, void *arg); /* data, end or error: recv tells */
    void (*on_writable)(struct conn *conn,
                        void *arg); /* room, or a connect that ended: send tells */
};

/*
 * Listens on a numeric address or "localhost" ("" or "*": all). port 0 takes a free one. on_accept
 * gets a conn that belongs to no reactor yet: hand it to conn_adopt on the shard that is to serve
 * it, or close it. ERR_PORT_IN_USE, ERR_INVALID_ARGUMENT.
 */
MUST_CHECK enum err reactor_listen(struct reactor *reactor, const char *host, uint16_t port,
                                   void (*on_accept)(void *arg, struct conn *conn), void *arg,
                                   struct listener **ret_listener, struct err_info *info);
uint16_t listener_port(const struct listener *listener);
/* "127.0.0.1:9092" or "[::1]:9092". Lives as long as the listener. */
const char *listener_address(const struct listener *listener);
void listener_close(struct listener *listener);

/* Starts a connection; it is adopted, and on_writable comes when it stands or failed. Numeric
 * address or "localhost". */
MUST_CHECK enum err reactor_connect(struct reactor *reactor, const char *host, uint16_t port,
                                    const struct conn_ops *ops, void *arg, struct conn **ret_conn,
                                    struct err_info *info);
/* Binds an accepted conn to the reactor of the calling shard; reading is wanted, writing not.
 * False: limit; conn is closed. */
MUST_CHECK bool conn_adopt(struct reactor *reactor, struct conn *conn, const struct conn_ops *ops,
                           void *arg);
/* Which readiness callbacks are wanted. Level-triggered: they repeat each turn while wanted and
 * ready. */
void conn_want(struct conn *conn, bool read, bool write);
enum conn_io conn_recv(struct conn *conn, void *data, size_t cap, size_t *ret_len);
/* Sends some leading bytes of the parts (count <= CONN_PARTS_MAX). */
enum conn_io conn_sendv(struct conn *conn, const struct slice *parts, size_t count,
                        size_t *ret_len);
#define CONN_PARTS_MAX 64
/* No more output; input goes on. */
void conn_shutdown(struct conn *conn);
/* No callback comes after it, even for events of this turn already seen. */
void conn_close(struct conn *conn);
/* Peer address as text, "127.0.0.1:55000". Lives as long as the conn. */
const char *conn_peer(const struct conn *conn);
/* Local address as text: what the client dialled. */
const char *conn_local(const struct conn *conn);
bool conn_is_loopback(const struct conn *conn);

#endif
