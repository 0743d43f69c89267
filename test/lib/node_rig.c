/* See node_rig.h. */
#include "node_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void node_rig_folder(struct node_rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    snprintf(rig->dir, sizeof(rig->dir), "/tmp/weir-test-XXXXXX");
    if (!mkdtemp(rig->dir))
        abort();
    rig->fs = fs_posix_create();
    if (!rig->fs)
        abort();
}

void node_rig_remove(struct node_rig *rig)
{
    if (fs_remove_tree(rig->fs, rig->dir, NULL))
        abort();
    fs_destroy(rig->fs);
}

void node_rig_shards(struct node_rig *rig, unsigned count)
{
    struct err_info info;
    struct shards_config config = {.count = count, .seed = 7, .fs = rig->fs};
    if (shards_create(&config, &rig->shards, &info))
        abort();
}

struct node_rig_start {
    struct node_rig *rig;
    struct node_event ready;
};

static void node_rig_running(void *arg)
{
    struct node_rig_start *start = arg;
    node_event_set(&start->ready);
}

static void *node_rig_main(void *arg)
{
    struct node_rig_start *start = arg;
    struct err_info info;
    if (shards_run(start->rig->shards, node_rig_running, start, &info)) {
        fprintf(stderr, "shards_run: %s\n", info.text);
        abort();
    }
    return NULL;
}

void node_rig_run(struct node_rig *rig)
{
    static struct node_rig_start start;
    start.rig = rig;
    node_event_init(&start.ready);
    if (pthread_create(&rig->thread, NULL, node_rig_main, &start))
        abort();
    node_event_wait(&start.ready, 1);
    rig->running = true;
}

void node_rig_stop(struct node_rig *rig)
{
    shards_stop(rig->shards);
    pthread_join(rig->thread, NULL);
    rig->running = false;
}

void node_rig_end(struct node_rig *rig)
{
    shards_destroy(rig->shards);
    rig->shards = NULL;
}

void node_event_init(struct node_event *event)
{
    pthread_mutex_init(&event->mutex, NULL);
    pthread_cond_init(&event->cond, NULL);
    event->count = 0;
}

void node_event_set(struct node_event *event)
{
    pthread_mutex_lock(&event->mutex);
    event->count++;
    pthread_cond_broadcast(&event->cond);
    pthread_mutex_unlock(&event->mutex);
}

void node_event_wait(struct node_event *event, unsigned count)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&event->mutex);
    while (event->count < count) {
        if (pthread_cond_timedwait(&event->cond, &event->mutex, &until)) {
            fprintf(stderr, "node_event_wait: nothing after 20 s (%u of %u)\n", event->count,
                    count);
            abort();
        }
    }
    pthread_mutex_unlock(&event->mutex);
}

struct node_call {
    struct post post;
    struct shard *shard;
    void (*fn)(struct shard *shard, void *arg);
    void *arg;
    struct node_event done;
};

static void node_call_run(struct post *post)
{
    struct node_call *call = CONTAINER_OF(post, struct node_call, post);
    call->fn(call->shard, call->arg);
    node_event_set(&call->done);
}

void node_rig_call(struct node_rig *rig, unsigned index, void (*fn)(struct shard *shard, void *arg),
                   void *arg)
{
    struct node_call call = {.shard = shards_get(rig->shards, index), .fn = fn, .arg = arg};
    node_event_init(&call.done);
    reactor_post(call.shard->reactor, &call.post, node_call_run);
    node_event_wait(&call.done, 1);
    pthread_mutex_lock(&call.done.mutex); /* the setter may still hold it */
    pthread_mutex_unlock(&call.done.mutex);
}
