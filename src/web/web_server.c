/*
 * The listening side of an HTTP port.
 *
 * One listener for the process deals connections to the shards in turn; each shard keeps a list of
 * its own. At a stop idle connections close at once, busy ones after their answer; the shard's part
 * of the stop is done when its list is empty. Figures are relaxed atomics, since they are only
 * shown.
 */
#include <stdlib.h>

#include "web/web_int.h"

static void shard_stop(struct shard_stop *stop)
{
    struct web_shard *part = CONTAINER_OF(stop, struct web_shard, stop);
    ASSERT(!part->stopping);
    part->stopping = true;
    LIST_FOREACH_SAFE(node, &part->conns)
    web_conn_stop(CONTAINER_OF(node, struct web_conn, node));
    timer_arm(part->shard->reactor, &part->stop_deadline, WEB_STOP_US);
    if (list_empty(&part->conns))
        web_shard_stopped(part);
}

/* Peers that do not take their answers must not hold the process. */
static void stop_deadline(struct timer *timer)
{
    struct web_shard *part = CONTAINER_OF(timer, struct web_shard, stop_deadline);
    ASSERT(part->stopping);
    LIST_FOREACH_SAFE(node, &part->conns)
    web_conn_cut(CONTAINER_OF(node, struct web_conn, node));
}

void web_shard_stopped(struct web_shard *part)
{
    ASSERT(part->stopping && list_empty(&part->conns));
    timer_cancel(part->shard->reactor, &part->stop_deadline);
    timer_cancel(part->shard->reactor, &part->watch);
    shard_stop_done(&part->stop);
}

enum err web_server_open(struct shards *shards, const struct web_config *config,
                         struct web_server **ret_server, struct err_info *info)
{
    ASSERT(shards && config && config->on_request && ret_server);
    unsigned count = shards_count(shards);
    struct web_server *server = calloc(1, sizeof(*server));
    struct web_shard *parts = calloc(count, sizeof(*parts));
    if (!server || !parts) {
        free(server);
        free(parts);
        return err_info_set(info, ERR_NO_MEMORY, "no memory for a listener");
    }
    server->config = *config;
    if (!server->config.connections_max)
        server->config.connections_max = WEB_CONNECTIONS_MAX;
    if (!server->config.idle_us)
        server->config.idle_us = WEB_IDLE_US;
    if (!server->config.head_us)
        server->config.head_us = WEB_HEAD_US;
    if (!server->config.body_us)
        server->config.body_us = WEB_BODY_US;
    if (!server->config.arena_limit)
        server->config.arena_limit = WEB_ARENA_LIMIT;
    server->shards = shards;
    server->shard_count = count;
    server->per_shard = parts;
    enum err err = shards_listen(shards, config->host, config->port, web_conn_accept, server,
                                 &server->listener, info);
    if (err) {
        free(parts);
        free(server);
        return err;
    }
    for (unsigned i = 0; i < count; i++) {
        parts[i].server = server;
        parts[i].shard = shards_get(shards, i);
        list_init(&parts[i].conns);
        timer_init(&parts[i].stop_deadline, stop_deadline);
        web_watch_init(&parts[i]);
        shard_at_stop(parts[i].shard, SHARD_STOP_FRONT, &parts[i].stop, shard_stop);
    }
    *ret_server = server;
    return ERR_OK;
}

const char *web_server_address(const struct web_server *server)
{
    ASSERT(server && server->listener);
    return shard_listener_address(server->listener);
}

void web_server_close(struct web_server *server)
{
    if (!server)
        return;
    free(server->per_shard);
    free(server);
}

void web_server_stats(const struct web_server *server, struct web_stats *ret_stats)
{
    ASSERT(server && ret_stats);
    ret_stats->connections = atomic_load_explicit(&server->connections, memory_order_relaxed);
    ret_stats->requests = atomic_load_explicit(&server->requests, memory_order_relaxed);
    ret_stats->refused = atomic_load_explicit(&server->refused, memory_order_relaxed);
    ret_stats->turned_away = atomic_load_explicit(&server->turned_away, memory_order_relaxed);
    ret_stats->timed_out = atomic_load_explicit(&server->timed_out, memory_order_relaxed);
}
