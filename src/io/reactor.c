/*
 * Role: what both reactors share: the timer heap, end-of-turn hooks, the inbox from other threads,
 * and the order of a turn.
 *
 *     socket events -> posts -> mail -> completions -> timers -> hooks
 *     (one turn; time is read once at its start)
 *
 * Invariants
 * (1) timers is a pairing heap ordered by (deadline, seq); a timer is in it exactly when armed.
 * (2) A hook runs in the turn that asked for it; one asked for by a hook runs in the next.
 * (3) inbox_filled is set under inbox_lock whenever posts or completions is not empty.
 * (4) works_out counts items between reactor_work and done.
 *
 * Ownership and shard: owner, except reactor_post, reactor_complete and reactor_nudge (any thread).
 * inbox_lock is a leaf lock.
 *
 * Failure modes: none; nothing here allocates.
 */
#include "io/reactor.h"

#include "io/reactor_int.h"

/* ---- timers ---- */

static bool timer_before(const struct timer *a, const struct timer *b)
{
    return a->deadline_us != b->deadline_us ? a->deadline_us < b->deadline_us : a->seq < b->seq;
}

/* Joins two heaps; either may be NULL. Roots have no siblings. */
static struct timer *timer_meld(struct timer *a, struct timer *b)
{
    if (!a || !b)
        return a ? a : b;
    ASSERT(!a->next && !b->next);
    if (timer_before(b, a)) {
        struct timer *swap = a;
        a = b;
        b = swap;
    }
    b->next = a->child;
    if (a->child)
        a->child->prev = b;
    b->prev = a;
    a->child = b;
    a->prev = NULL;
    return a;
}

/* Two passes over the orphaned children: pairs left to right, then folded from the right. */
static struct timer *timer_meld_siblings(struct timer *first)
{
    struct timer *pairs = NULL;
    while (first) {
        struct timer *a = first;
        struct timer *b = a->next;
        first = b ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b)
            b->next = b->prev = NULL;
        struct timer *pair = timer_meld(a, b);
        pair->prev = pairs; /* a stack linked by prev */
        pairs = pair;
    }
    /* Folding from the right keeps the amortised cost of a pairing heap at O(log n): melding the
     * pairs in the order they came would rebuild a list. */
    struct timer *root = NULL;
    while (pairs) {
        struct timer *rest = pairs->prev;
        pairs->prev = NULL;
        root = timer_meld(root, pairs);
        pairs = rest;
    }
    ASSERT(!root || (!root->next && !root->prev));
    return root;
}

/*
 * A node in the middle is cut out with its children, which are melded back: O(log n) on average, and
 * no search, since the node knows its place.
 */
static void timer_unlink(struct reactor *reactor, struct timer *timer)
{
    ASSERT(timer->armed && reactor->timers);
    ASSERT(!timer->child || timer->child->prev == timer);
    struct timer *children = timer_meld_siblings(timer->child);
    if (timer == reactor->timers) {
        reactor->timers = children;
    } else {
        ASSERT(timer->prev);
        if (timer->prev->child == timer)
            timer->prev->child = timer->next;
        else
            timer->prev->next = timer->next;
        if (timer->next)
            timer->next->prev = timer->prev;
        reactor->timers = timer_meld(reactor->timers, children);
    }
    ASSERT(!reactor->timers || !reactor->timers->prev);
    timer->child = timer->next = timer->prev = NULL;
    timer->armed = false;
}

void timer_init(struct timer *timer, void (*fn)(struct timer *timer))
{
    ASSERT(fn);
    *timer = (struct timer){.fn = fn};
}

/*
 * Moving is cancelling and arming again, with a new number: among equal deadlines the one armed last
 * fires last.
 */
void timer_arm_at(struct reactor *reactor, struct timer *timer, uint64_t deadline_us)
{
    ASSERT(timer->fn);
    if (timer->armed)
        timer_unlink(reactor, timer);
    timer->deadline_us = deadline_us;
    timer->seq = reactor->timer_seq++;
    timer->armed = true;
    reactor->timers = timer_meld(reactor->timers, timer);
    ASSERT(reactor->timers && reactor->timers->deadline_us <= deadline_us);
}

/* Saturates: a delay beyond the end of time is a timer that never fires. */
void timer_arm(struct reactor *reactor, struct timer *timer, uint64_t delay_us)
{
    ASSERT(reactor->now_us > 0); /* the clock has been read */
    uint64_t now = reactor->now_us;
    timer_arm_at(reactor, timer, delay_us > UINT64_MAX - now ? UINT64_MAX : now + delay_us);
}

void timer_cancel(struct reactor *reactor, struct timer *timer)
{
    if (timer->armed)
        timer_unlink(reactor, timer);
    ASSERT(!timer->armed);
}

uint64_t reactor_next_timer(const struct reactor *reactor)
{
    ASSERT(!reactor->timers || reactor->timers->armed);
    return reactor->timers ? reactor->timers->deadline_us : UINT64_MAX;
}

/* The root is not behind any of its children. */
static bool timer_root_holds(const struct timer *root)
{
    for (const struct timer *child = root ? root->child : NULL; child; child = child->next) {
        if (timer_before(child, root) || !child->armed)
            return false;
    }
    return !root || (root->armed && !root->next && !root->prev);
}

/* Fires what was due when the turn began; a timer armed by a callback waits for a later turn. */
static void reactor_run_timers(struct reactor *reactor)
{
    uint64_t limit = reactor->timer_seq;
    DASSERT(timer_root_holds(reactor->timers));
    while (reactor->timers && reactor->timers->deadline_us <= reactor->now_us) {
        struct timer *timer = reactor->timers;
        if (timer->seq >= limit)
            break;
        timer_unlink(reactor, timer);
        timer->fn(timer);
    }
}

/* ---- hooks ---- */

void hook_init(struct hook *hook, void (*fn)(struct hook *hook))
{
    ASSERT(fn);
    list_init(&hook->node);
    hook->fn = fn;
}

void reactor_at_turn_end(struct reactor *reactor, struct hook *hook)
{
    ASSERT(hook->fn && hook->node.next); /* hook_init was called */
    if (list_empty(&hook->node))
        list_push_back(&reactor->hooks, &hook->node);
}

void reactor_hook_cancel(struct hook *hook)
{
    ASSERT(hook->fn);
    list_remove(&hook->node);
}

/* Moves a whole list in constant time: what callbacks add meanwhile waits in `from` for a later turn. */
static void list_take_all(struct list_node *from, struct list_node *to)
{
    ASSERT(from != to && from->next);
    list_init(to);
    if (list_empty(from))
        return;
    *to = *from;
    to->next->prev = to;
    to->prev->next = to;
    list_init(from);
}

/*
 * The list is taken first: a hook that asks again, itself or another, waits for the next turn, so that
 * a turn ends.
 */
static void reactor_run_hooks(struct reactor *reactor)
{
    struct list_node batch;
    list_take_all(&reactor->hooks, &batch);
    struct list_node *node;
    while ((node = list_pop_front(&batch)) != NULL) {
        struct hook *hook = CONTAINER_OF(node, struct hook, node);
        ASSERT(hook->fn);
        hook->fn(hook);
    }
}

/* ---- work and posts ---- */

void reactor_work_lane(struct reactor *reactor, struct work *work, enum work_lane lane,
                       void (*fn)(struct work *work), void (*done)(struct work *work))
{
    ASSERT(fn && done);
    ASSERT(lane == WORK_FAST || lane == WORK_SLOW);
    *work = (struct work){.fn = fn, .done = done, .owner = reactor, .lane = lane};
    list_init(&work->node);
    reactor->works_out++;
    reactor->ops->work(reactor, work);
}

void reactor_work(struct reactor *reactor, struct work *work, void (*fn)(struct work *work),
                  void (*done)(struct work *work))
{
    reactor_work_lane(reactor, work, WORK_FAST, fn, done);
}

static void reactor_inbox_put(struct reactor *reactor, struct list_node *queue,
                              struct list_node *node)
{
    ASSERT(queue == &reactor->posts || queue == &reactor->completions);
    ASSERT(list_empty(node)); /* queued twice it would tear the list apart */
    pthread_mutex_lock(&reactor->inbox_lock);
    list_push_back(queue, node);
    atomic_store(&reactor->inbox_filled, true);
    pthread_mutex_unlock(&reactor->inbox_lock);
    /* Outside the lock, so that the owner does not wake up into it. Reactors outlive the workers. */
    reactor_nudge(reactor);
}

void reactor_complete(struct work *work)
{
    ASSERT(work->owner && work->done);
    reactor_inbox_put(work->owner, &work->owner->completions, &work->node);
}

void reactor_post(struct reactor *reactor, struct post *post, void (*fn)(struct post *post))
{
    ASSERT(fn);
    post->fn = fn;
    list_init(&post->node);
    reactor_inbox_put(reactor, &reactor->posts, &post->node);
}

/*
 * The exchange lets one of many nudgers pay for the system call; the others see that the loop is
 * woken already. Sequentially consistent: see invariant (2) of reactor_epoll.c.
 */
void reactor_nudge(struct reactor *reactor)
{
    ASSERT(reactor->ops->wake);
    if (atomic_load(&reactor->sleeping) && atomic_exchange(&reactor->sleeping, false))
        reactor->ops->wake(reactor);
}

void reactor_mail_set(struct reactor *reactor, const struct reactor_mail *mail)
{
    ASSERT(mail->pending && mail->drain);
    ASSERT(!reactor->mail.drain); /* once, at boot */
    reactor->mail = *mail;
}

static void reactor_run_posts(struct list_node *posts)
{
    struct list_node *node;
    while ((node = list_pop_front(posts)) != NULL) {
        struct post *post = CONTAINER_OF(node, struct post, node);
        ASSERT(post->fn);
        post->fn(post);
    }
}

static void reactor_run_completions(struct reactor *reactor, struct list_node *completions)
{
    struct list_node *node;
    while ((node = list_pop_front(completions)) != NULL) {
        struct work *work = CONTAINER_OF(node, struct work, node);
        ASSERT(reactor->works_out > 0 && work->owner == reactor);
        reactor->works_out--;
        work->done(work);
    }
}

/* ---- turn ---- */

bool reactor_busy(const struct reactor *reactor)
{
    ASSERT(!reactor->mail.pending == !reactor->mail.drain);
    return !list_empty(&reactor->hooks) || atomic_load(&reactor->inbox_filled) ||
           (reactor->mail.pending && reactor->mail.pending(reactor->mail.arg));
}

/*
 * The order is a promise of reactor.h: what another shard or a worker finished is seen before the
 * timers that would give it up, and hooks run last so that they see everything of the turn.
 */
void reactor_turn_rest(struct reactor *reactor)
{
    struct list_node posts;
    struct list_node completions;
    ASSERT(!atomic_load(&reactor->sleeping)); /* somebody would be told to wake us in vain */
    list_init(&posts);
    list_init(&completions);
    if (atomic_load(&reactor->inbox_filled)) {
        pthread_mutex_lock(&reactor->inbox_lock);
        list_take_all(&reactor->posts, &posts);
        list_take_all(&reactor->completions, &completions);
        atomic_store(&reactor->inbox_filled, false);
        pthread_mutex_unlock(&reactor->inbox_lock);
    }
    reactor_run_posts(&posts);
    if (reactor->mail.drain)
        reactor->mail.drain(reactor->mail.arg);
    reactor_run_completions(reactor, &completions);
    reactor_run_timers(reactor);
    reactor_run_hooks(reactor);
}

void reactor_init(struct reactor *reactor, const struct reactor_ops *ops)
{
    ASSERT(ops && ops->work); /* a reactor of tests may have no sockets */
    *reactor = (struct reactor){.ops = ops};
    pthread_mutex_init(&reactor->inbox_lock, NULL);
    list_init(&reactor->hooks);
    list_init(&reactor->posts);
    list_init(&reactor->completions);
}

void reactor_deinit(struct reactor *reactor)
{
    ASSERT(reactor->ops);
    pthread_mutex_destroy(&reactor->inbox_lock);
}

void reactor_destroy(struct reactor *reactor)
{
    if (reactor)
        reactor->ops->destroy(reactor);
}

uint64_t reactor_now_us(const struct reactor *reactor)
{
    return reactor->now_us;
}

int64_t reactor_wall_ms(const struct reactor *reactor)
{
    return reactor->wall_ms;
}

/* ---- sockets ---- */

enum err reactor_listen(struct reactor *reactor, const char *host, uint16_t port,
                        void (*on_accept)(void *arg, struct conn *conn), void *arg,
                        struct listener **ret_listener, struct err_info *info)
{
    ASSERT(on_accept && host);
    *ret_listener = NULL;
    struct listener *listener;
    enum err err = reactor->ops->listen(reactor, host, port, &listener, info);
    if (err != ERR_OK)
        return err;
    ASSERT(listener && listener->port != 0 && listener->address[0]);
    listener->reactor = reactor;
    listener->on_accept = on_accept;
    listener->arg = arg;
    *ret_listener = listener;
    return ERR_OK;
}

uint16_t listener_port(const struct listener *listener)
{
    ASSERT(listener->port != 0);
    return listener->port;
}

const char *listener_address(const struct listener *listener)
{
    ASSERT(listener->address[0]);
    return listener->address;
}

void listener_close(struct listener *listener)
{
    ASSERT(!listener || listener->reactor);
    if (listener)
        listener->reactor->ops->listener_close(listener);
}

enum err reactor_connect(struct reactor *reactor, const char *host, uint16_t port,
                         const struct conn_ops *ops, void *arg, struct conn **ret_conn,
                         struct err_info *info)
{
    ASSERT(host && ops->on_readable && ops->on_writable);
    *ret_conn = NULL;
    struct conn *conn;
    enum err err = reactor->ops->connect(reactor, host, port, &conn, info);
    if (err != ERR_OK)
        return err;
    ASSERT(conn->impl && !conn->reactor);
    conn->ops = ops;
    conn->arg = arg;
    conn->reactor = reactor;
    conn->want_read = conn->want_write = true;
    if (!conn->impl->adopt(reactor, conn)) {
        conn_close(conn);
        return err_info_set(info, ERR_LIMIT, "connect %s port %u: too many connections", host,
                            port);
    }
    *ret_conn = conn;
    return ERR_OK;
}

bool conn_adopt(struct reactor *reactor, struct conn *conn, const struct conn_ops *ops, void *arg)
{
    ASSERT(conn->impl && !conn->reactor);
    ASSERT(!conn->want_read && !conn->want_write);
    ASSERT(ops->on_readable && ops->on_writable);
    conn->ops = ops;
    conn->arg = arg;
    conn->reactor = reactor;
    conn->want_read = true;
    if (conn->impl->adopt(reactor, conn))
        return true;
    conn_close(conn);
    return false;
}

void conn_want(struct conn *conn, bool read, bool write)
{
    ASSERT(conn->reactor && conn->ops);
    if (conn->want_read == read && conn->want_write == write)
        return;
    conn->want_read = read;
    conn->want_write = write;
    conn->impl->want(conn);
}

enum conn_io conn_recv(struct conn *conn, void *data, size_t cap, size_t *ret_len)
{
    ASSERT(data && cap > 0);
    ASSERT(conn->reactor);
    *ret_len = 0;
    enum conn_io io = conn->impl->recv(conn, data, cap, ret_len);
    ASSERT(*ret_len <= cap);
    ASSERT((io == CONN_OK) == (*ret_len > 0)); /* callers loop while bytes move */
    return io;
}

enum conn_io conn_sendv(struct conn *conn, const struct slice *parts, size_t count, size_t *ret_len)
{
    ASSERT(count > 0 && count <= CONN_PARTS_MAX);
    ASSERT(conn->reactor);
    *ret_len = 0;
    enum conn_io io = conn->impl->sendv(conn, parts, count, ret_len);
    ASSERT((io == CONN_OK) == (*ret_len > 0)); /* callers loop while bytes move */
    return io;
}

void conn_shutdown(struct conn *conn)
{
    ASSERT(conn->reactor);
    conn->impl->shutdown(conn);
}

void conn_close(struct conn *conn)
{
    ASSERT(!conn || conn->impl);
    if (conn)
        conn->impl->close(conn);
}

const char *conn_peer(const struct conn *conn)
{
    ASSERT(conn->peer[0]);
    return conn->peer;
}

const char *conn_local(const struct conn *conn)
{
    ASSERT(conn->local[0]);
    return conn->local;
}

bool conn_is_loopback(const struct conn *conn)
{
    return conn->loopback;
}

void conn_ready_read(struct conn *conn)
{
    ASSERT(conn->reactor && conn->ops && conn->want_read);
    conn->ops->on_readable(conn, conn->arg);
}

void conn_ready_write(struct conn *conn)
{
    ASSERT(conn->reactor && conn->ops && conn->want_write);
    conn->ops->on_writable(conn, conn->arg);
}
