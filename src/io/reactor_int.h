/*
 * The common part of a reactor and what an implementation adds to it.
 */
#ifndef WEIR_IO_REACTOR_INT_H
#define WEIR_IO_REACTOR_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "io/reactor.h"

#define CONN_ADDRESS_MAX 64

struct workpool;

struct reactor_ops {
    void (*destroy)(struct reactor *reactor);
    void (*work)(struct reactor *reactor, struct work *work);
    /* Makes a sleeping loop run a turn. Any thread. */
    void (*wake)(struct reactor *reactor);
    enum err (*listen)(struct reactor *reactor, const char *host, uint16_t port,
                       struct listener **ret_listener, struct err_info *info);
    void (*listener_close)(struct listener *listener);
    enum err (*connect)(struct reactor *reactor, const char *host, uint16_t port,
                        struct conn **ret_conn, struct err_info *info);
};

/* Moves traffic between shards inside the loop; set by shard.c. */
struct reactor_mail {
    bool (*pending)(void *arg);
    void (*drain)(void *arg);
    void *arg;
};

struct reactor {
    const struct reactor_ops *ops;
    uint64_t now_us;
    int64_t wall_ms;
    struct timer *timers; /* root of the pairing heap */
    uint64_t timer_seq;
    struct list_node hooks;
    struct reactor_mail mail;
    size_t works_out;          /* handed to workers, done not yet called */
    _Atomic bool sleeping;     /* the loop waits, or is about to */
    _Atomic bool inbox_filled; /* posts or completions wait */
    pthread_mutex_t inbox_lock;
    struct list_node posts;
    struct list_node completions;
};

/* What an implementation adds to a connection. Only called on the shard that owns the conn, never
 * after close; recv and sendv set *ret_len only when they return CONN_OK. */
struct conn_impl {
    bool (*adopt)(struct reactor *reactor, struct conn *conn);
    void (*want)(struct conn *conn);
    enum conn_io (*recv)(struct conn *conn, void *data, size_t cap, size_t *ret_len);
    enum conn_io (*sendv)(struct conn *conn, const struct slice *parts, size_t count,
                          size_t *ret_len);
    void (*shutdown)(struct conn *conn);
    void (*close)(struct conn *conn); /* frees, at once or when the turn has ended */
};

/* First member of an implementation's connection. */
struct conn {
    const struct conn_impl *impl;
    const struct conn_ops *ops;
    void *arg;
    struct reactor *reactor; /* NULL: not adopted */
    bool want_read;
    bool want_write;
    bool loopback;
    char peer[CONN_ADDRESS_MAX];
    char local[CONN_ADDRESS_MAX];
};

/* First member of an implementation's listener. */
struct listener {
    struct reactor *reactor;
    void (*on_accept)(void *arg, struct conn *conn);
    void *arg;
    uint16_t port;
    char address[CONN_ADDRESS_MAX];
};

void reactor_init(struct reactor *reactor, const struct reactor_ops *ops);
void reactor_deinit(struct reactor *reactor);
void reactor_destroy(struct reactor *reactor);
/* The part of a turn behind the socket events: posts, mail, completions, timers, hooks. */
void reactor_turn_rest(struct reactor *reactor);
/* Whether a turn has something to do without sockets or timers. */
bool reactor_busy(const struct reactor *reactor);
/* Deadline of the next timer; UINT64_MAX: none. */
uint64_t reactor_next_timer(const struct reactor *reactor);
/* Gives a finished item to its owner. Worker threads. */
void reactor_complete(struct work *work);
/* Wakes the loop when it sleeps. Any thread; the work it is to find must be published before. */
void reactor_nudge(struct reactor *reactor);
void reactor_mail_set(struct reactor *reactor, const struct reactor_mail *mail);
void conn_ready_read(struct conn *conn);
void conn_ready_write(struct conn *conn);

/* ---- epoll ---- */

MUST_CHECK enum err reactor_epoll_create(struct workpool *pool, struct reactor **ret_reactor,
                                         struct err_info *info);
/* One turn that waits at most max_wait_us for something to do. */
void reactor_epoll_turn(struct reactor *reactor, uint64_t max_wait_us);

#endif
