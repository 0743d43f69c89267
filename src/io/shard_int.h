/*
 * Shards inside: how a set of shards is driven, by threads or by the simulator.
 */
#ifndef WEIR_IO_SHARD_INT_H
#define WEIR_IO_SHARD_INT_H

#include "io/reactor.h"
#include "io/shard.h"

/* What differs between the real process and a simulated one. */
struct shards_host {
    enum err (*reactor_create)(void *arg, unsigned index, struct reactor **ret_reactor,
                               struct err_info *info);
    void (*stop_asked)(
        void *arg); /* shards_stop was called: any thread; leads to shards_stop_begin */
    void (*stopped)(
        void *arg); /* all phases ended on all shards; called once, on the shard that was last */
    /* First and last step of shards_destroy: no thread may touch the reactors after halt; free
     * drops arg itself. */
    void (*halt)(void *arg);
    void (*free)(void *arg);
    void *arg;
};

MUST_CHECK enum err shards_create_on(const struct shards_config *config,
                                     const struct shards_host *host, struct shards **ret_shards,
                                     struct err_info *info);
/* Starts the first stop phase. Any thread, once. */
void shards_stop_begin(struct shards *shards);
void *shards_host_arg(const struct shards *shards);
/* After a simulated crash: frees the frame of the shards, and leaves what code above had allocated.
 */
void shards_abandon(struct shards *shards);

#endif
