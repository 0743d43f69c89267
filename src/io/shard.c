/*
 * Role: the shards of a process: mailboxes between them, listeners that spread connections, stop by
 * phases.
 *
 *     boxes[from * count + to]    ring of messages
 *     parked[from * count + to]   messages that found the ring full, sent first later
 *
 *     phase 0 FRONT -> all shards done -> phase 1 JOBS -> ... -> phase 3 LOG -> stopped
 *
 * Invariants
 * (1) Only shard `from` pushes to a box and touches its parked list; only shard `to` pops.
 * (2) While parked is not empty nothing is pushed past it: order per pair holds.
 * (3) A message is run from the receiver's loop, never inside shard_post.
 * (4) A stop phase begins on all shards only after `phase_left` of the one before reached 0; each
 *     shard counts down once per phase.
 *
 * Ownership and shard: each shard owns its row of boxes as writer and its column as reader;
 * phase_left is atomic; the rest is fixed after creation.
 *
 * Failure modes: a full ring refuses (shard_post) or parks (shard_send); a stop hook that never
 * ends is given up after 10 s with one line.
 */
#include "io/shard.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/arena.h"
#include "base/diag.h"
#include "io/mailbox.h"
#include "io/reactor_int.h"
#include "io/shard_int.h"

#define SHARD_ARENA_LIMIT ((size_t)1 << 40)
#define SHARD_PARKED_RETRY_US 500
#define SHARD_STOP_LIMIT_US 10000000

/* What a shard needs beyond its public part. */
struct shard_state {
    struct shard shard; /* first: struct shard * converts */
    struct timer parked_timer;
    size_t parked_count;
    struct list_node stops[SHARD_STOP_PHASES];
    struct timer stop_timer;
    struct post stop_post;
    unsigned stops_left;
    bool phase_running;
};

struct shards {
    struct shards_host host;
    unsigned count;
    struct shard_state *states;
    struct mailbox *boxes;
    struct list_node *parked;
    struct list_node listeners; /* shard 0 */
    _Atomic bool stopping;
    _Atomic unsigned phase_left;
    /* Written by the shard that ends a phase, before it posts the next; a part that ends after its
     * phase was given up may look at any moment. */
    _Atomic unsigned phase;
};

struct shard_listener {
    struct list_node node;
    struct shards *shards;
    struct listener *listener;
    shard_accept_fn fn;
    void *arg;
    unsigned next;
};

static struct shard_state *shard_state_of(struct shard *shard)
{
    ASSERT(shard->index < shard->shards->count);
    return (struct shard_state *)shard;
}

static struct mailbox *shard_box(const struct shards *shards, unsigned from, unsigned to)
{
    ASSERT(from < shards->count && to < shards->count);
    return &shards->boxes[from * shards->count + to];
}

static struct list_node *shard_parked(const struct shards *shards, unsigned from, unsigned to)
{
    ASSERT(from < shards->count && to < shards->count);
    return &shards->parked[from * shards->count + to];
}

/* ---- messages ---- */

static bool shard_push(struct shard *from, struct shard *to, struct shard_msg *msg)
{
    ASSERT(msg->fn);
    if (!mailbox_push(shard_box(from->shards, from->index, to->index), msg))
        return false;
    if (from != to)
        reactor_nudge(to->reactor);
    return true;
}

bool shard_post(struct shard *from, struct shard *to, struct shard_msg *msg)
{
    ASSERT(msg->fn && from->shards == to->shards);
    if (!list_empty(shard_parked(from->shards, from->index, to->index)))
        return false;
    return shard_push(from, to, msg);
}

void shard_send(struct shard *from, struct shard *to, struct shard_msg *msg)
{
    ASSERT(msg->fn);
    if (shard_post(from, to, msg))
        return;
    struct shard_state *state = shard_state_of(from);
    ASSERT(state->parked_count < SIZE_MAX);
    list_push_back(shard_parked(from->shards, from->index, to->index), &msg->node);
    state->parked_count++;
    if (!timer_armed(&state->parked_timer))
        timer_arm(from->reactor, &state->parked_timer, SHARD_PARKED_RETRY_US);
}

/*
 * Goes on per receiver until its ring is full again: one slow shard must not hold back what is meant
 * for the others.
 */
static void shard_parked_flush(struct shard_state *state)
{
    struct shards *shards = state->shard.shards;
    for (unsigned to = 0; to < shards->count; to++) {
        struct list_node *parked = shard_parked(shards, state->shard.index, to);
        struct list_node *node;
        while ((node = list_front(parked)) != NULL) {
            struct shard_msg *msg = CONTAINER_OF(node, struct shard_msg, node);
            /* Out of the list first: once pushed, the message is the receiver's. */
            list_remove(node);
            if (!shard_push(&state->shard, &shards->states[to].shard, msg)) {
                list_push_front(parked, node);
                break;
            }
            ASSERT(state->parked_count > 0);
            state->parked_count--;
        }
    }
    if (state->parked_count > 0)
        timer_arm(state->shard.reactor, &state->parked_timer, SHARD_PARKED_RETRY_US);
}

static void shard_parked_due(struct timer *timer)
{
    shard_parked_flush(CONTAINER_OF(timer, struct shard_state, parked_timer));
}

static bool shard_mail_pending(void *arg)
{
    struct shard *shard = arg;
    for (unsigned from = 0; from < shard->shards->count; from++) {
        if (!mailbox_empty(shard_box(shard->shards, from, shard->index)))
            return true;
    }
    return false;
}

/* At most one ring's worth per pair and turn, so that two shards cannot keep one turn going for
 * ever. */
static void shard_mail_drain(void *arg)
{
    struct shard *shard = arg;
    for (unsigned from = 0; from < shard->shards->count; from++) {
        struct mailbox *box = shard_box(shard->shards, from, shard->index);
        for (unsigned i = 0; i < SHARD_MAILBOX; i++) {
            struct shard_msg *msg = mailbox_pop(box);
            if (!msg)
                break;
            ASSERT(msg->fn);
            msg->fn(shard, msg); /* the message is the receiver's: not touched from here on */
        }
    }
}

/* ---- creation ---- */

static uint64_t shards_seed(uint64_t wanted)
{
    uint64_t seed = wanted;
    if (seed == 0 && getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        seed = 0x9e3779b97f4a7c15u;
    return seed;
}

static enum err shard_state_init(struct shards *shards, unsigned index, uint64_t seed,
                                 struct fs *fs, struct err_info *info)
{
    struct shard_state *state = &shards->states[index];
    state->shard = (struct shard){.index = index, .shards = shards, .fs = fs};
    random_init(&state->shard.random, seed + index);
    timer_init(&state->parked_timer, shard_parked_due);
    for (int phase = 0; phase < SHARD_STOP_PHASES; phase++)
        list_init(&state->stops[phase]);
    state->shard.arena = arena_create(NULL, "shard", SHARD_ARENA_LIMIT);
    if (!state->shard.arena)
        return err_info_set(info, ERR_NO_MEMORY, "out of memory for shard %u", index);
    enum err err =
        shards->host.reactor_create(shards->host.arg, index, &state->shard.reactor, info);
    if (err != ERR_OK)
        return err;
    struct reactor_mail mail = {shard_mail_pending, shard_mail_drain, &state->shard};
    reactor_mail_set(state->shard.reactor, &mail);
    return ERR_OK;
}

enum err shards_create_on(const struct shards_config *config, const struct shards_host *host,
                          struct shards **ret_shards, struct err_info *info)
{
    ASSERT(config->count >= 1 && config->count <= SHARD_MAX);
    ASSERT(config->fs);
    *ret_shards = NULL;
    size_t pairs = (size_t)config->count * config->count;
    struct shards *shards = calloc(1, sizeof(*shards));
    if (!shards)
        return err_info_set(info, ERR_NO_MEMORY, "out of memory for the shards");
    shards->host = *host;
    list_init(&shards->listeners);
    shards->states = calloc(config->count, sizeof(*shards->states));
    shards->boxes = aligned_alloc(MAILBOX_LINE, pairs * sizeof(*shards->boxes));
    shards->parked = calloc(pairs, sizeof(*shards->parked));
    bool whole = shards->states && shards->boxes && shards->parked;
    enum err err =
        whole ? ERR_OK : err_info_set(info, ERR_NO_MEMORY, "out of memory for the shards");
    for (size_t i = 0; whole && i < pairs; i++) {
        atomic_init(&shards->boxes[i].head, 0);
        atomic_init(&shards->boxes[i].tail, 0);
        shards->boxes[i].head_seen = shards->boxes[i].tail_seen = 0;
        list_init(&shards->parked[i]);
    }
    uint64_t seed = shards_seed(config->seed);
    while (err == ERR_OK && shards->count < config->count) {
        /* Counted before its initialisation, so that destroy sees a half-made shard. */
        unsigned index = shards->count++;
        err = shard_state_init(shards, index, seed, config->fs, info);
    }
    if (err != ERR_OK) {
        shards_destroy(shards);
        return err;
    }
    *ret_shards = shards;
    return ERR_OK;
}

static void shards_listeners_close(struct shards *shards)
{
    struct list_node *node;
    while ((node = list_pop_front(&shards->listeners)) != NULL) {
        struct shard_listener *listener = CONTAINER_OF(node, struct shard_listener, node);
        listener_close(listener->listener);
        free(listener);
    }
}

void shards_abandon(struct shards *shards)
{
    ASSERT(shards->count >= 1);
    for (unsigned i = 0; i < shards->count; i++)
        arena_destroy(shards->states[i].shard.arena);
    free(shards->states);
    free(shards->boxes);
    free(shards->parked);
    free(shards);
}

void *shards_host_arg(const struct shards *shards)
{
    ASSERT(shards->host.arg);
    return shards->host.arg;
}

unsigned shards_count(const struct shards *shards)
{
    ASSERT(shards->count >= 1 && shards->count <= SHARD_MAX);
    return shards->count;
}

struct shard *shards_get(struct shards *shards, unsigned index)
{
    ASSERT(index < shards->count);
    return &shards->states[index].shard;
}

/* ---- listening ---- */

struct shard_accept_msg {
    struct shard_msg msg;
    struct shard_listener *listener;
    shard_accept_fn fn;
    void *arg;
    struct conn *conn;
};

/*
 * The connection may have waited in the mailbox while a stop began: parts that would serve it may be
 * gone already.
 */
static void shard_accept_run(struct shard *to, struct shard_msg *msg)
{
    struct shard_accept_msg *accept = CONTAINER_OF(msg, struct shard_accept_msg, msg);
    struct conn *conn = accept->conn;
    shard_accept_fn fn = accept->fn;
    void *arg = accept->arg;
    free(accept);
    if (shards_stopping(to->shards))
        conn_close(conn);
    else
        fn(to, conn, arg);
}

/*
 * In turn and not by load: connections are many and alike, and a counter cannot be wrong about which
 * shard is busy.
 */
static void shard_accept(void *arg, struct conn *conn)
{
    struct shard_listener *listener = arg;
    struct shards *shards = listener->shards;
    ASSERT(listener->fn && listener->next < shards->count);
    struct shard *to = shards_get(shards, listener->next);
    listener->next = (listener->next + 1) % shards->count;
    struct shard_accept_msg *accept = malloc(sizeof(*accept));
    if (!accept) {
        conn_close(conn);
        return;
    }
    *accept = (struct shard_accept_msg){.fn = listener->fn, .arg = listener->arg, .conn = conn};
    accept->msg.fn = shard_accept_run;
    if (!shard_post(shards_get(shards, 0), to, &accept->msg)) {
        /* A shard a thousand messages behind takes no more connections. */
        conn_close(conn);
        free(accept);
    }
}

enum err shards_listen(struct shards *shards, const char *host, uint16_t port, shard_accept_fn fn,
                       void *arg, struct shard_listener **ret_listener, struct err_info *info)
{
    ASSERT(fn);
    *ret_listener = NULL;
    struct shard_listener *listener = calloc(1, sizeof(*listener));
    if (!listener)
        return err_info_set(info, ERR_NO_MEMORY, "listen on %s port %u: out of memory", host, port);
    *listener = (struct shard_listener){.shards = shards, .fn = fn, .arg = arg};
    struct reactor *reactor = shards_get(shards, 0)->reactor;
    enum err err =
        reactor_listen(reactor, host, port, shard_accept, listener, &listener->listener, info);
    if (err != ERR_OK) {
        free(listener);
        return err;
    }
    list_push_back(&shards->listeners, &listener->node);
    *ret_listener = listener;
    return ERR_OK;
}

uint16_t shard_listener_port(const struct shard_listener *listener)
{
    ASSERT(listener->listener);
    return listener_port(listener->listener);
}

const char *shard_listener_address(const struct shard_listener *listener)
{
    ASSERT(listener->listener);
    return listener_address(listener->listener);
}

/* ---- stop ---- */

static void shards_phase_post(struct shards *shards);

/*
 * The last shard of a phase starts the next one on all; nobody waits for anybody, and shard threads
 * go on serving what is still in flight.
 */
static void shard_phase_end(struct shard_state *state)
{
    struct shards *shards = state->shard.shards;
    ASSERT(state->phase_running);
    state->phase_running = false;
    timer_cancel(state->shard.reactor, &state->stop_timer);
    if (atomic_fetch_sub(&shards->phase_left, 1) != 1)
        return;
    ASSERT(shards->phase < SHARD_STOP_PHASES);
    if (shards->phase + 1 < SHARD_STOP_PHASES) {
        shards->phase++;
        shards_phase_post(shards);
    } else {
        shards->host.stopped(shards->host.arg);
    }
}

static void shard_stop_late(struct timer *timer)
{
    struct shard_state *state = CONTAINER_OF(timer, struct shard_state, stop_timer);
    diag(DIAG_WARN, "io", "event=stop_late shard=%u phase=%u parts_left=%u", state->shard.index,
         atomic_load(&state->shard.shards->phase), state->stops_left);
    shard_phase_end(state);
}

/*
 * The count begins at one, held by this function: parts that end at once would otherwise end the
 * phase while others have not been asked yet.
 */
static void shard_phase_run(struct post *post)
{
    struct shard_state *state = CONTAINER_OF(post, struct shard_state, stop_post);
    struct shards *shards = state->shard.shards;
    if (state->shard.index == 0 && shards->phase == SHARD_STOP_FRONT)
        shards_listeners_close(shards);
    ASSERT(shards->phase < SHARD_STOP_PHASES && !state->phase_running);
    struct list_node *stops = &state->stops[shards->phase];
    state->phase_running = true;
    state->stops_left = 1; /* held here until all have been asked */
    timer_init(&state->stop_timer, shard_stop_late);
    timer_arm(state->shard.reactor, &state->stop_timer, SHARD_STOP_LIMIT_US);
    LIST_FOREACH_SAFE(node, stops)
    {
        struct shard_stop *stop = CONTAINER_OF(node, struct shard_stop, node);
        list_remove(node);
        state->stops_left++;
        stop->fn(stop);
    }
    if (--state->stops_left == 0)
        shard_phase_end(state);
}

static void shards_phase_post(struct shards *shards)
{
    ASSERT(atomic_load(&shards->phase_left) == 0);
    atomic_store(&shards->phase_left, shards->count);
    for (unsigned i = 0; i < shards->count; i++)
        reactor_post(shards->states[i].shard.reactor, &shards->states[i].stop_post,
                     shard_phase_run);
}

void shard_at_stop(struct shard *shard, enum shard_stop_phase phase, struct shard_stop *stop,
                   void (*fn)(struct shard_stop *stop))
{
    ASSERT(fn && phase < SHARD_STOP_PHASES);
    *stop = (struct shard_stop){.fn = fn, .shard = shard, .phase = phase};
    list_push_back(&shard_state_of(shard)->stops[phase], &stop->node);
}

void shard_stop_done(struct shard_stop *stop)
{
    struct shard_state *state = shard_state_of(stop->shard);
    ASSERT(!stop->done);
    stop->done = true;
    if (stop->phase != state->shard.shards->phase || !state->phase_running)
        return; /* its phase was given up */
    ASSERT(state->stops_left > 0);
    if (--state->stops_left == 0)
        shard_phase_end(state);
}

void shards_stop_begin(struct shards *shards)
{
    ASSERT(shards->phase == SHARD_STOP_FRONT && !atomic_load(&shards->stopping));
    atomic_store(&shards->stopping, true);
    shards_phase_post(shards);
}

void shards_stop(struct shards *shards)
{
    ASSERT(shards->host.stop_asked);
    shards->host.stop_asked(shards->host.arg);
}

bool shards_stopping(const struct shards *shards)
{
    return atomic_load(&shards->stopping);
}

/* ---- end ---- */

/*
 * Workers first, since they complete into reactors; then listeners and reactors; arenas last, since
 * anything above may lie in them. Works on a half-made set too.
 */
void shards_destroy(struct shards *shards)
{
    if (!shards)
        return;
    shards->host.halt(shards->host.arg);
    if (shards->count > 0 && shards->states[0].shard.reactor)
        shards_listeners_close(shards);
    for (unsigned i = 0; i < shards->count; i++)
        reactor_destroy(shards->states[i].shard.reactor);
    for (unsigned i = 0; i < shards->count; i++)
        arena_destroy(shards->states[i].shard.arena);
    shards->host.free(shards->host.arg);
    free(shards->states);
    free(shards->boxes);
    free(shards->parked);
    free(shards);
}
