/*
 * Role: virtual time: the event heap, the simulated reactor's turns, and disk work that takes a
 * while.
 *
 *     sim_step: earliest event -> turn of a reactor | end of a disk work item
 *                              | something on the network (sim_net.c)
 *
 * Invariants
 * (1) now_us never goes back; events at one time run in the order they were planned.
 * (2) A reactor outside a turn is `sleeping`, so that a nudge plans its next turn; at most one
 *     planned turn counts (turn_at).
 * (3) At most SIM_WORKERS items of a host are under way, at most SIM_WORKERS - 1 of them slow, and
 *     lanes start in order: as workpool.c.
 * (4) Nothing of a host runs after it died: every event checks `alive`.
 * (5) All chance comes from the seed; no pointer value decides anything.
 *
 * Ownership and shard: one thread for everything.
 *
 * Failure modes: the world itself does not fail; out of memory in the heap ends the process, as
 * only tests run it.
 */
#include "io/sim.h"

#include <stdlib.h>
#include <string.h>

#include "io/fs_sim.h"
#include "io/shard.h"
#include "io/shard_int.h"
#include "io/sim_int.h"

#define SIM_TURN_MIN_US 1
#define SIM_TURN_MAX_US 30

/* ---- events ---- */

static bool sim_event_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

void sim_schedule(struct sim *sim, uint64_t at_us,
                  void (*fn)(struct sim *sim, void *arg, uint64_t number), void *arg,
                  uint64_t number)
{
    ASSERT(fn && at_us >= sim->now_us);
    if (sim->event_count == sim->event_cap) {
        sim->event_cap = sim->event_cap ? sim->event_cap * 2 : 256;
        sim->events = realloc(sim->events, sim->event_cap * sizeof(*sim->events));
        ASSERT(sim->events);
    }
    size_t at = sim->event_count++;
    struct sim_event event = {at_us, sim->event_seq++, fn, arg, number};
    while (at > 0 && sim_event_before(&event, &sim->events[(at - 1) / 2])) {
        sim->events[at] = sim->events[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sim->events[at] = event;
}

static struct sim_event sim_event_take(struct sim *sim)
{
    ASSERT(sim->event_count > 0);
    struct sim_event first = sim->events[0];
    struct sim_event last = sim->events[--sim->event_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= sim->event_count)
            break;
        if (child + 1 < sim->event_count &&
            sim_event_before(&sim->events[child + 1], &sim->events[child]))
            child++;
        if (!sim_event_before(&sim->events[child], &last))
            break;
        sim->events[at] = sim->events[child];
        at = child;
    }
    if (sim->event_count > 0)
        sim->events[at] = last;
    ASSERT(sim->event_count == 0 || !sim_event_before(&sim->events[0], &first));
    return first;
}

void sim_note(struct sim *sim, uint64_t fact)
{
    uint64_t mixed = (sim->trace ^ fact) * 0x9e3779b97f4a7c15u;
    sim->trace = mixed ^ (mixed >> 29);
}

uint64_t sim_draw(struct sim *sim, uint64_t low, uint64_t high)
{
    ASSERT(low <= high);
    return low + random_below(&sim->random, high - low + 1);
}

/* ---- turns ---- */

/*
 * A turn comes at the next timer, or soon where there is something to do: a drawn while later, so that
 * the turns of different shards interleave in ever new ways.
 */
static void sim_reactor_plan(struct sim_reactor *reactor)
{
    struct sim *sim = reactor->host->sim;
    uint64_t at = reactor_next_timer(&reactor->base);
    if (reactor_busy(&reactor->base) || sim_net_ready(reactor))
        at = sim->now_us + sim_draw(sim, SIM_TURN_MIN_US, SIM_TURN_MAX_US);
    if (at != UINT64_MAX)
        sim_reactor_schedule(reactor, at > sim->now_us ? at : sim->now_us + 1);
}

static void sim_reactor_clock(struct sim_reactor *reactor)
{
    ASSERT(reactor->base.now_us <= reactor->host->sim->now_us);
    reactor->base.now_us = reactor->host->sim->now_us;
    reactor->base.wall_ms = reactor->host->sim->wall_ms;
}

/* Only the turn that counts runs: an earlier plan was overtaken when something made a turn sooner. */
static void sim_reactor_turn(struct sim *sim, void *arg, uint64_t number)
{
    struct sim_reactor *reactor = arg;
    if (!reactor->host->alive || reactor->turn_at != sim->now_us)
        return;
    ASSERT(atomic_load(&reactor->base.sleeping) || reactor->base.now_us <= sim->now_us);
    reactor->turn_at = UINT64_MAX;
    atomic_store(&reactor->base.sleeping, false);
    sim_reactor_clock(reactor);
    sim_net_turn(reactor);
    reactor_turn_rest(&reactor->base);
    sim_net_turn_end(reactor);
    atomic_store(&reactor->base.sleeping, true);
    sim_reactor_plan(reactor);
}

void sim_reactor_schedule(struct sim_reactor *reactor, uint64_t at_us)
{
    if (at_us >= reactor->turn_at || !reactor->host->alive)
        return;
    reactor->turn_at = at_us;
    sim_schedule(reactor->host->sim, at_us, sim_reactor_turn, reactor, 0);
}

static const struct reactor_ops sim_reactor_ops;

static void sim_reactor_wake(struct reactor *base)
{
    ASSERT(base->ops == &sim_reactor_ops);
    struct sim_reactor *reactor = (struct sim_reactor *)base;
    struct sim *sim = reactor->host->sim;
    /* Said to be awake until its next turn: the planned turn will see whatever comes meanwhile. */
    sim_reactor_schedule(reactor, sim->now_us + sim_draw(sim, SIM_TURN_MIN_US, SIM_TURN_MAX_US));
}

/* ---- disk work ---- */

static void sim_work_start(struct sim_host *host);

/*
 * The whole of a work item happens at the moment it ends: between its calls no other code of the host
 * runs, but between two items anything may, and a crash may take any of those still under way.
 */
static void sim_work_end(struct sim *sim, void *arg, uint64_t number)
{
    struct work *work = arg;
    struct sim_host *host = ((struct sim_reactor *)work->owner)->host;
    if (!host->alive)
        return;
    bool slow = work->lane == WORK_SLOW;
    ASSERT(host->workers_busy > 0 && (!slow || host->slow_busy > 0));
    work->fn(work);
    host->workers_busy--;
    host->slow_busy -= slow;
    if (host->fs && fs_sim_frozen(host->fs)) {
        sim_host_kill(host);
        return;
    }
    reactor_complete(work);
    sim_work_start(host);
}

static struct list_node *sim_work_next(struct sim_host *host)
{
    ASSERT(host->workers_busy <= SIM_WORKERS && host->slow_busy < SIM_WORKERS);
    if (host->workers_busy == SIM_WORKERS)
        return NULL;
    struct list_node *node = list_pop_front(&host->lanes[WORK_FAST]);
    if (!node && host->slow_busy + 1 < SIM_WORKERS) {
        node = list_pop_front(&host->lanes[WORK_SLOW]);
        host->slow_busy += node != NULL;
    }
    return node;
}

/* Each item gets its time when it starts, not when it was queued, as behind real workers. */
static void sim_work_start(struct sim_host *host)
{
    struct sim *sim = host->sim;
    struct list_node *node;
    while ((node = sim_work_next(host)) != NULL) {
        ASSERT(host->workers_busy < SIM_WORKERS);
        host->workers_busy++;
        uint64_t time = sim_draw(sim, sim->config.work_min_us, sim->config.work_max_us);
        if (random_one_in(&sim->random, sim->config.slow_odds))
            time *= 100;
        sim_schedule(sim, sim->now_us + time, sim_work_end, CONTAINER_OF(node, struct work, node),
                     0);
    }
}

static void sim_reactor_work(struct reactor *base, struct work *work)
{
    struct sim_host *host = ((struct sim_reactor *)base)->host;
    ASSERT(work->owner == base && work->lane <= WORK_SLOW);
    list_push_back(&host->lanes[work->lane], &work->node);
    sim_work_start(host);
}

/* ---- reactors ---- */

/* Memory stays with the host until the world ends: events may still name it. */
static void sim_reactor_destroy(struct reactor *base)
{
    struct sim_reactor *reactor = (struct sim_reactor *)base;
    ASSERT(base->ops == &sim_reactor_ops);
    sim_net_turn_end(reactor);
    atomic_store(&base->sleeping, false);
    reactor->turn_at = 0; /* no planned turn counts, none is planned */
}

static const struct reactor_ops sim_reactor_ops = {
    .destroy = sim_reactor_destroy,
    .work = sim_reactor_work,
    .wake = sim_reactor_wake,
    .listen = sim_net_listen,
    .listener_close = sim_net_listener_close,
    .connect = sim_net_connect,
};

struct reactor *sim_host_reactor(struct sim_host *host)
{
    ASSERT(host->alive);
    struct sim_reactor *reactor = calloc(1, sizeof(*reactor));
    if (!reactor)
        return NULL;
    reactor_init(&reactor->base, &sim_reactor_ops);
    list_init(&reactor->conns);
    list_init(&reactor->closed);
    list_init(&reactor->listeners);
    reactor->host = host;
    reactor->turn_at = UINT64_MAX;
    list_push_back(&host->reactors, &reactor->node);
    sim_reactor_clock(reactor);
    atomic_store(&reactor->base.sleeping, true);
    return &reactor->base;
}

/* ---- hosts ---- */

struct sim_host *sim_host_create(struct sim *sim, struct fs *fs)
{
    struct sim_host *host = calloc(1, sizeof(*host));
    ASSERT(host);
    host->sim = sim;
    host->fs = fs;
    host->alive = true;
    list_init(&host->reactors);
    list_init(&host->lanes[WORK_FAST]);
    list_init(&host->lanes[WORK_SLOW]);
    list_push_back(&sim->hosts, &host->node);
    return host;
}

static enum err sim_shard_reactor(void *arg, unsigned index, struct reactor **ret_reactor,
                                  struct err_info *info)
{
    ASSERT(index < SHARD_MAX);
    *ret_reactor = sim_host_reactor(arg);
    return *ret_reactor ? ERR_OK : err_info_set(info, ERR_NO_MEMORY, "out of memory for a reactor");
}

static void sim_shards_stop_asked(void *arg)
{
    struct sim_host *host = arg;
    if (host->alive && !shards_stopping(host->shards))
        shards_stop_begin(host->shards);
}

static void sim_shards_stopped(void *arg)
{
    ASSERT(!((struct sim_host *)arg)->stopped);
    ((struct sim_host *)arg)->stopped = true;
}

static void sim_shards_halt(void *arg)
{
    struct sim_host *host = arg;
    ASSERT(host->alive);
}

/* After shards_destroy nothing of the host runs any more. */
static void sim_shards_free(void *arg)
{
    struct sim_host *host = arg;
    host->alive = false;
    host->shards = NULL;
    sim_net_host_lost(host);
}

enum err sim_shards_create(struct sim_host *host, const struct shards_config *config,
                           struct shards **ret_shards, struct err_info *info)
{
    ASSERT(host->alive && !host->shards);
    struct shards_config real = *config;
    if (real.count == 0)
        real.count = 1;
    if (real.seed == 0)
        real.seed = random_u64(&host->sim->random);
    struct shards_host seam = {sim_shard_reactor, sim_shards_stop_asked, sim_shards_stopped,
                               sim_shards_halt,   sim_shards_free,       host};
    enum err err = shards_create_on(&real, &seam, &host->shards, info);
    ASSERT((err == ERR_OK) == (host->shards != NULL));
    *ret_shards = host->shards;
    return err;
}

bool sim_host_stopped(const struct sim_host *host)
{
    ASSERT(host->sim);
    return host->stopped;
}

/*
 * Nothing is unwound: the machine lost its power. Node memory stays allocated, since freeing it would
 * run code of the dead.
 */
void sim_host_kill(struct sim_host *host)
{
    if (!host->alive)
        return;
    ASSERT(host->sim);
    host->alive = false;
    sim_note(host->sim, 0xdead); /* a run that loses a host is another run */
    sim_net_host_lost(host);
    if (host->shards)
        shards_abandon(host->shards);
    host->shards = NULL;
}

bool sim_host_alive(const struct sim_host *host)
{
    ASSERT(host->sim);
    return host->alive;
}

void sim_host_cut(struct sim_host *host)
{
    sim_net_host_cut(host);
}

/* ---- the world ---- */

void sim_config_init(struct sim_config *config, uint64_t seed)
{
    *config = (struct sim_config){
        .seed = seed,
        .wall_ms = 1700000000000,
        .delay_min_us = 20,
        .delay_max_us = 500,
        .partial_odds = 8,
        .work_min_us = 50,
        .work_max_us = 2000,
        .slow_odds = 100,
    };
}

struct sim *sim_create(const struct sim_config *config)
{
    struct sim *sim = calloc(1, sizeof(*sim));
    if (!sim)
        return NULL;
    random_init(&sim->random, config->seed);
    sim->now_us = 1000000;
    sim->wall_offset_ms = config->wall_ms - 1000;
    sim->wall_ms = config->wall_ms;
    sim->next_port = 20000;
    sim->next_client_port = 40000;
    list_init(&sim->hosts);
    list_init(&sim->listeners);
    list_init(&sim->links);
    sim_config_set(sim, config);
    return sim;
}

void sim_config_set(struct sim *sim, const struct sim_config *config)
{
    ASSERT(config->delay_min_us <= config->delay_max_us &&
           config->work_min_us <= config->work_max_us);
    sim->config = *config;
    if (sim->config.window == 0)
        sim->config.window = 64u * 1024;
}

static void sim_host_free(struct sim_host *host)
{
    ASSERT(!host->alive);
    struct list_node *node;
    while ((node = list_pop_front(&host->reactors)) != NULL) {
        struct sim_reactor *reactor = CONTAINER_OF(node, struct sim_reactor, node);
        reactor_deinit(&reactor->base);
        free(reactor);
    }
    free(host);
}

void sim_destroy(struct sim *sim)
{
    if (!sim)
        return;
    LIST_FOREACH(node, &sim->hosts)
    {
        struct sim_host *host = CONTAINER_OF(node, struct sim_host, node);
        sim_host_kill(host);
    }
    sim_net_destroy(sim);
    struct list_node *node;
    while ((node = list_pop_front(&sim->hosts)) != NULL)
        sim_host_free(CONTAINER_OF(node, struct sim_host, node));
    free(sim->events);
    free(sim);
}

uint64_t sim_now_us(const struct sim *sim)
{
    return sim->now_us;
}

const int64_t *sim_wall_ms(const struct sim *sim)
{
    return &sim->wall_ms;
}

void sim_wall_shift(struct sim *sim, int64_t ms)
{
    sim->wall_offset_ms += ms;
    sim->wall_ms += ms;
}

uint64_t sim_trace(const struct sim *sim)
{
    return sim->trace;
}

static void sim_advance(struct sim *sim, uint64_t now_us)
{
    ASSERT(now_us >= sim->now_us);
    sim->now_us = now_us;
    sim->wall_ms = sim->wall_offset_ms + (int64_t)(now_us / 1000);
}

bool sim_step(struct sim *sim)
{
    if (sim->event_count == 0)
        return false;
    struct sim_event event = sim_event_take(sim);
    ASSERT(event.fn);
    sim_advance(sim, event.at_us);
    sim_note(sim, event.at_us);
    event.fn(sim, event.arg, event.number);
    return true;
}

/* Calls made from outside of turns may have armed timers or hooks: plan for them. */
static void sim_plan_all(struct sim *sim)
{
    LIST_FOREACH(node, &sim->hosts)
    {
        struct sim_host *host = CONTAINER_OF(node, struct sim_host, node);
        LIST_FOREACH(reactor_node, &host->reactors)
        {
            struct sim_reactor *reactor = CONTAINER_OF(reactor_node, struct sim_reactor, node);
            if (host->alive)
                sim_reactor_plan(reactor);
        }
    }
}

/*
 * The time is advanced to the limit also when nothing happens on the way: the caller waited that
 * long.
 */
bool sim_run_until(struct sim *sim, bool (*condition)(void *arg), void *arg, uint64_t limit_us)
{
    uint64_t end = limit_us > UINT64_MAX - sim->now_us ? UINT64_MAX : sim->now_us + limit_us;
    ASSERT(condition);
    sim_plan_all(sim);
    while (!condition(arg)) {
        if (sim->event_count == 0 || sim->events[0].at_us > end) {
            sim_advance(sim, end);
            return condition(arg);
        }
        sim_step(sim);
    }
    return true;
}

static bool sim_never(void *arg)
{
    return false;
}

void sim_run_for(struct sim *sim, uint64_t us)
{
    bool ended = sim_run_until(sim, sim_never, NULL, us);
    ASSERT(!ended);
}
