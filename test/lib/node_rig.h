/* A real process in a temporary folder for unit tests: shards on their threads, calls from the
 * test's thread. */
#ifndef WEIR_TEST_NODE_RIG_H
#define WEIR_TEST_NODE_RIG_H

#include <pthread.h>
#include <stdbool.h>

#include "io/fs.h"
#include "io/reactor.h"
#include "io/shard.h"

struct node_rig {
    char dir[256];
    struct fs *fs;
    struct shards *shards;
    pthread_t thread;
    bool running;
};

/* A fresh folder below /tmp. */
void node_rig_folder(struct node_rig *rig);
void node_rig_remove(struct node_rig *rig);
/* Makes the shards; boot code may run until node_rig_run. */
void node_rig_shards(struct node_rig *rig, unsigned count);
void node_rig_run(struct node_rig *rig);
/* Stops gracefully and joins; the shards stay until node_rig_end. */
void node_rig_stop(struct node_rig *rig);
void node_rig_end(struct node_rig *rig);

/* Something to wait for: set on a shard, awaited on the test's thread, with a deadline. */
struct node_event {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    unsigned count;
};

void node_event_init(struct node_event *event);
void node_event_set(struct node_event *event);
/* Waits until set has been called count times in all since init; aborts the test after 20 s. */
void node_event_wait(struct node_event *event, unsigned count);

/* Runs fn(arg) on the shard's thread and waits for its return. */
void node_rig_call(struct node_rig *rig, unsigned shard, void (*fn)(struct shard *shard, void *arg),
                   void *arg);

#endif
