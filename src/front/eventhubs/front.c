/*
 * Start and stop of the Event Hubs door on every shard.
 *
 * Invariants
 *  (1) Each shard has one part; connections stay on the shard that accepted them.
 *  (2) The stop of a shard is done when its last connection has gone.
 *
 * Ownership and shard: the front is made at boot and freed after the shards; parts are touched by
 * their shard only.
 *
 * Failure: a port that is taken fails the start; a hub that cannot be created is reported and the
 * rest goes on.
 */
#include <stdlib.h>

#include "base/diag.h"
#include "front/eventhubs/eh_int.h"

enum {
    TICK_US = 1000000,
    START_US = 2000,
    EVENT_BUFFER_MAX = 64 << 20,
    MESSAGE_ARENA = 16 << 20,
    CLAIMS_MAX = 1000000
};

/* ---- hubs of the configuration ---- */

struct hub_create {
    struct broker_topic_op op;
    struct front_eventhubs *front;
};

static void hub_settled(struct front_eventhubs *front)
{
    uint32_t before = atomic_fetch_sub_explicit(&front->hubs_pending, 1, memory_order_release);
    ASSERT(before > 0);
}

static void hub_created(struct broker_topic_op *op)
{
    struct hub_create *create = CONTAINER_OF(op, struct hub_create, op);
    if (op->err != ERR_OK && op->err != ERR_TOPIC_EXISTS)
        diag(DIAG_ERROR, "eventhubs", "hub=%.*s text=\"cannot be created: %s\"",
             SLICE_FMT(op->name), op->info.text[0] ? op->info.text : err_row(op->err)->text);
    hub_settled(create->front);
    free(create);
}

static void hub_create(struct eh_shard *part, const struct eh_hub *hub)
{
    struct hub_create *create = NULL;
    if (!broker_topic_find(part->bs, hub->name))
        create = calloc(1, sizeof(*create));
    if (!create) {
        hub_settled(part->front);
        return;
    }
    create->front = part->front;
    create->op = (struct broker_topic_op){.action = BROKER_TOPIC_CREATE,
                                          .name = hub->name,
                                          .partition_count = hub->partitions,
                                          .done = hub_created};
    broker_topic_submit(part->bs, &create->op);
}

/* Shard 0 creates the hubs; every shard then lets its connections go on. */
static void part_start(struct timer *timer)
{
    struct eh_shard *part = CONTAINER_OF(timer, struct eh_shard, start);
    for (uint32_t i = 0; !part->started && part->shard->index == 0 && i < part->config->hub_count;
         i++)
        hub_create(part, &part->config->hubs[i]);
    part->started = true;
    if (atomic_load_explicit(&part->front->hubs_pending, memory_order_acquire) > 0) {
        timer_arm(part->shard->reactor, &part->start, START_US);
        return;
    }
    LIST_FOREACH_SAFE(node, &part->conns)
    eh_conn_start(CONTAINER_OF(node, struct eh_conn, node));
}

/* ---- one shard ---- */

static void part_tick(struct timer *timer)
{
    struct eh_shard *part = CONTAINER_OF(timer, struct eh_shard, tick);
    LIST_FOREACH_SAFE(node, &part->conns)
    eh_conn_tick(CONTAINER_OF(node, struct eh_conn, node));
    timer_arm(part->shard->reactor, &part->tick, TICK_US);
}

static void part_stop(struct shard_stop *stop)
{
    struct eh_shard *part = CONTAINER_OF(stop, struct eh_shard, stop);
    part->stopping = true;
    timer_cancel(part->shard->reactor, &part->tick);
    timer_cancel(part->shard->reactor, &part->start);
    if (part->conn_count == 0) {
        shard_stop_done(stop);
        return;
    }
    LIST_FOREACH_SAFE(node, &part->conns)
    eh_conn_stop(CONTAINER_OF(node, struct eh_conn, node));
}

static bool part_init(struct front_eventhubs *front, struct eh_shard *part, struct shard *shard)
{
    part->front = front;
    part->shard = shard;
    part->bs = broker_shard_of(front->broker, shard);
    part->config = front->config;
    list_init(&part->conns);
    bytebuf_init(&part->frame, 2 * EH_FRAME_MAX);
    bytebuf_init(&part->error, 4096);
    bytebuf_init(&part->event, EVENT_BUFFER_MAX);
    part->arena = arena_create(NULL, "amqp-message", MESSAGE_ARENA);
    part->claims = map_create(CLAIMS_MAX);
    if (!part->arena || !part->claims)
        return false; /* part_deinit frees the rest */
    timer_init(&part->tick, part_tick);
    timer_init(&part->start, part_start);
    timer_arm(shard->reactor, &part->tick, TICK_US);
    if (front->config->hub_count > 0)
        timer_arm(shard->reactor, &part->start, 0);
    shard_at_stop(shard, SHARD_STOP_FRONT, &part->stop, part_stop);
    return true;
}

static void part_deinit(struct eh_shard *part)
{
    bytebuf_deinit(&part->frame);
    bytebuf_deinit(&part->error);
    bytebuf_deinit(&part->event);
    arena_destroy(part->arena);
    if (part->claims)
        map_destroy(part->claims);
}

/* ---- the front ---- */

void front_eventhubs_destroy(struct front_eventhubs *front)
{
    if (!front)
        return;
    for (unsigned i = 0; i < front->part_count; i++)
        part_deinit(&front->parts[i]);
    free(front->parts);
    eventhubs_config_destroy(front->config);
    free(front);
}

enum err front_eventhubs_start(struct shards *shards, struct broker *broker,
                               struct eventhubs_config *config, const char *host, uint16_t port,
                               struct front_eventhubs **ret_front, struct err_info *info)
{
    unsigned count = shards_count(shards);
    struct front_eventhubs *front = calloc(1, sizeof(*front));
    struct eh_shard *parts = calloc(count, sizeof(*parts));
    *ret_front = NULL;
    ASSERT(config && count > 0);
    if (!front || !parts) {
        free(front);
        free(parts);
        eventhubs_config_destroy(config);
        return err_info_set(info, ERR_NO_MEMORY, "the Event Hubs door does not fit in memory");
    }
    *front = (struct front_eventhubs){.shards = shards,
                                      .broker = broker,
                                      .config = config,
                                      .parts = parts,
                                      .part_count = count,
                                      .hubs_pending = config->hub_count};
    *ret_front = front; /* from here on the caller's, whatever fails */
    for (unsigned i = 0; i < count; i++) {
        if (!part_init(front, &parts[i], shards_get(shards, i)))
            return err_info_set(info, ERR_NO_MEMORY, "the Event Hubs door does not fit in memory");
    }
    return shards_listen(shards, host, port, eh_conn_accept, front, &front->listener, info);
}

const char *front_eventhubs_address(const struct front_eventhubs *front)
{
    return shard_listener_address(front->listener);
}

void front_eventhubs_stats(const struct front_eventhubs *front, struct eventhubs_stats *ret_stats)
{
    *ret_stats = (struct eventhubs_stats){0};
    for (unsigned i = 0; i < front->part_count; i++) {
        struct eh_shard *part = &front->parts[i];
        ret_stats->connections +=
            atomic_load_explicit(&part->stat_connections, memory_order_relaxed);
        ret_stats->links += atomic_load_explicit(&part->stat_links, memory_order_relaxed);
        ret_stats->events_in += atomic_load_explicit(&part->stat_events_in, memory_order_relaxed);
        ret_stats->events_out += atomic_load_explicit(&part->stat_events_out, memory_order_relaxed);
        ret_stats->bytes_in += atomic_load_explicit(&part->stat_bytes_in, memory_order_relaxed);
        ret_stats->bytes_out += atomic_load_explicit(&part->stat_bytes_out, memory_order_relaxed);
        ret_stats->refused += atomic_load_explicit(&part->stat_refused, memory_order_relaxed);
    }
}
