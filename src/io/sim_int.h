/*
 * The simulator inside: the event heap shared by its clock, disk workers and network.
 */
#ifndef WEIR_IO_SIM_INT_H
#define WEIR_IO_SIM_INT_H

#include "base/random.h"
#include "io/reactor_int.h"
#include "io/sim.h"

#define SIM_WORKERS 3

/* fn runs at its time, once; the event is freed with it. arg is not owned, except a piece's (see
 * sim_net_destroy); number tells apart what arg cannot. */
struct sim_event {
    uint64_t at_us;
    uint64_t seq;
    void (*fn)(struct sim *sim, void *arg, uint64_t number);
    void *arg;
    uint64_t number;
};

struct sim {
    struct sim_config config;
    struct random random;
    uint64_t now_us;
    int64_t wall_ms;
    int64_t wall_offset_ms;
    uint64_t trace;
    struct sim_event *events; /* binary heap by (at_us, seq) */
    size_t event_count;
    size_t event_cap;
    uint64_t event_seq;
    struct list_node hosts;
    struct list_node listeners;
    struct list_node links;
    uint16_t next_port;
    uint16_t next_client_port;
};

struct sim_host {
    struct list_node node;
    struct sim *sim;
    struct fs *fs;
    struct shards *shards;
    struct list_node reactors;
    struct list_node lanes[2]; /* work waiting for a virtual worker */
    unsigned workers_busy;
    unsigned slow_busy;
    bool alive;
    bool stopped;
};

struct sim_reactor {
    struct reactor base;
    struct list_node node;
    struct sim_host *host;
    struct list_node conns;     /* adopted and open */
    struct list_node closed;    /* to release when the turn ends */
    struct list_node listeners; /* its open ones */
    uint64_t turn_at;           /* of the turn that counts; UINT64_MAX: none planned */
};

void sim_schedule(struct sim *sim, uint64_t at_us,
                  void (*fn)(struct sim *sim, void *arg, uint64_t number), void *arg,
                  uint64_t number);
void sim_reactor_schedule(struct sim_reactor *reactor, uint64_t at_us);
/* Mixes a fact into the trace. */
void sim_note(struct sim *sim, uint64_t fact);
uint64_t sim_draw(struct sim *sim, uint64_t low, uint64_t high);

/* ---- network (sim_net.c) ---- */

enum err sim_net_listen(struct reactor *reactor, const char *host, uint16_t port,
                        struct listener **ret_listener, struct err_info *info);
void sim_net_listener_close(struct listener *listener);
enum err sim_net_connect(struct reactor *reactor, const char *host, uint16_t port,
                         struct conn **ret_conn, struct err_info *info);
/* Runs the socket callbacks of a turn. */
void sim_net_turn(struct sim_reactor *reactor);
void sim_net_turn_end(struct sim_reactor *reactor);
/* Whether a socket callback is due. */
bool sim_net_ready(const struct sim_reactor *reactor);
/* The host is gone: peers see a reset or silence. */
void sim_net_host_lost(struct sim_host *host);
void sim_net_host_cut(struct sim_host *host);
/* Frees all links and listeners of the world. */
void sim_net_destroy(struct sim *sim);

#endif
