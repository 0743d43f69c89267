/*
 * Shards: one thread, one reactor, one random generator, one arena each; bounded mailboxes between
 * them.
 *
 * A process has one `struct shards`. Boot code runs single-threaded between shards_create and
 * shards_run and may act for every shard. In the simulator all shards run on one thread under
 * virtual time; code above cannot tell.
 */
#ifndef WEIR_IO_SHARD_H
#define WEIR_IO_SHARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/list.h"
#include "base/random.h"

struct arena;
struct conn;
struct fs;
struct mailbox;
struct reactor;
struct shards;

#define SHARD_MAX 64

struct shard {
    unsigned index;
    struct shards *shards;
    struct reactor *reactor;
    struct random random;
    struct arena *arena; /* lives as long as the shard; not for per-request memory */
    struct fs *fs;       /* of the process; for work functions and boot */
};

struct shards_config {
    unsigned count;   /* 0: one per usable core, at most SHARD_MAX */
    unsigned workers; /* disk threads of the process; 0: count + 1, between 2 and 4 */
    uint64_t seed;    /* of the shards' generators; 0: from the system */
    struct fs *fs;    /* must outlive the shards */
};

MUST_CHECK enum err shards_create(const struct shards_config *config, struct shards **ret_shards,
                                  struct err_info *info);
void shards_destroy(struct shards *shards);
unsigned shards_count(const struct shards *shards);
struct shard *shards_get(struct shards *shards, unsigned index);
/*
 * Starts all shards, waits for SIGTERM, SIGINT or shards_stop, then stops phase by phase and joins.
 * A second signal ends the process at once. on_running (may be NULL) is called on the waiting
 * thread when every shard's loop runs.
 */
MUST_CHECK enum err shards_run(struct shards *shards, void (*on_running)(void *arg), void *arg,
                               struct err_info *info);
/* Asks for a graceful stop. Any thread; also a signal handler. */
void shards_stop(struct shards *shards);
bool shards_stopping(const struct shards *shards);

/* ---- messages: the only traffic between shards ---- */

struct shard_msg {
    struct list_node node;
    void (*fn)(struct shard *to,
               struct shard_msg *msg); /* on `to`; the message is the receiver's from then on */
};

/* Ring of SHARD_MAILBOX slots per pair. False: full, nothing happened; retry on a later turn. from
 * == to is allowed and never re-enters. */
#define SHARD_MAILBOX 1024
MUST_CHECK bool shard_post(struct shard *from, struct shard *to, struct shard_msg *msg);
/*
 * The same, never refused: a message that finds the ring full waits in a list of the sender and
 * goes first later; order per pair holds. For replies and for requests whose number the caller
 * bounds itself.
 */
void shard_send(struct shard *from, struct shard *to, struct shard_msg *msg);

/* ---- listening ---- */

struct shard_listener;
/*
 * One listener for the process, on shard 0; accepted connections go to the shards in turn, where fn
 * runs: it gives the conn to stream_create or conn_close. Call at boot or on shard 0. New
 * connections stop being accepted when a stop begins.
 */
typedef void (*shard_accept_fn)(struct shard *shard, struct conn *conn, void *arg);
MUST_CHECK enum err shards_listen(struct shards *shards, const char *host, uint16_t port,
                                  shard_accept_fn fn, void *arg,
                                  struct shard_listener **ret_listener, struct err_info *info);
uint16_t shard_listener_port(const struct shard_listener *listener);
const char *shard_listener_address(const struct shard_listener *listener);

/* ---- graceful stop ---- */

/* A phase begins on all shards only after the one before has ended on all. */
enum shard_stop_phase {
    SHARD_STOP_FRONT,
    SHARD_STOP_JOBS,
    SHARD_STOP_BROKER,
    SHARD_STOP_LOG,
    SHARD_STOP_PHASES
};

/* fn starts the stop of a part and calls shard_stop_done (at once or later) exactly once. After 10
 * s a phase ends regardless. */
struct shard_stop {
    struct list_node node;
    void (*fn)(struct shard_stop *stop);
    struct shard *shard;
    enum shard_stop_phase phase;
    bool done;
};
void shard_at_stop(struct shard *shard, enum shard_stop_phase phase, struct shard_stop *stop,
                   void (*fn)(struct shard_stop *stop));
void shard_stop_done(struct shard_stop *stop);

#endif
