/*
 * Figures: the cluster document and the Prometheus text.
 */
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/iobuf.h"
#include "front/admin/admin_int.h"

static uint64_t uptime_us(const struct admin_call *call)
{
    uint64_t now = reactor_now_us(call->shard->reactor);
    return now > call->admin->start_us ? now - call->admin->start_us : 0;
}

static void stats_sum(const struct admin_call *call, struct broker_stats *ret_sum)
{
    *ret_sum = (struct broker_stats){0};
    for (unsigned i = 0; i < shards_count(call->admin->shards); i++) {
        struct broker_stats one;
        struct broker_shard *bs =
            broker_shard_of(call->admin->broker, shards_get(call->admin->shards, i));
        broker_stats_read(bs, &one);
        ret_sum->partitions += one.partitions;
        ret_sum->partitions_offline += one.partitions_offline;
        ret_sum->appends += one.appends;
        ret_sum->append_bytes += one.append_bytes;
        ret_sum->append_records += one.append_records;
        ret_sum->append_errors += one.append_errors;
        ret_sum->fetches += one.fetches;
        ret_sum->fetch_bytes += one.fetch_bytes;
        ret_sum->fetches_waiting += one.fetches_waiting;
        ret_sum->commits += one.commits;
    }
    ret_sum->topics = topic_set_count(broker_topics(call->bs));
}

void admin_cluster(struct admin_call *call)
{
    const struct front_admin *admin = call->admin;
    char id[UUID_TEXT_LEN + 1];
    struct broker_stats stats;
    json_t *listeners = json_object();
    uuid_write_text(broker_cluster_id(admin->broker), id);
    stats_sum(call, &stats);
    for (uint32_t i = 0; i < admin->listener_count; i++)
        json_object_set_new(listeners, admin->listeners[i].name,
                            json_string(admin->listeners[i].address));
    int node_id = broker_config_get(admin->broker)->node_id;
    admin_send_json(
        call, 200,
        json_pack("{s:s, s:s, s:i, s:b, s:i, s:I, s:I, s:I, s:o}", "version",
                  admin->config.version ? admin->config.version : "", "cluster_id", id, "node_id",
                  node_id ? node_id : 1, "ready", (int)broker_ready(admin->broker), "shards",
                  (int)shards_count(admin->shards), "uptime_ms",
                  (json_int_t)(uptime_us(call) / 1000), "topics", (json_int_t)stats.topics,
                  "partitions", (json_int_t)stats.partitions, "listeners", listeners));
}

static void metric(struct bytebuf *out, const char *name, const char *type, const char *help,
                   double value)
{
    bytebuf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help, name, type, name,
                   value);
}

/* Resident pages from /proc, which answers from memory. */
static double resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    if (fscanf(file, "%*u %lu", &pages) != 1)
        pages = 0;
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static void process_metrics(struct admin_call *call, struct bytebuf *out)
{
    struct rusage usage;
    double cpu = 0;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
              (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    metric(out, "process_cpu_seconds_total", "counter", "User and system time.", cpu);
    metric(out, "process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes());
    metric(out, "weir_uptime_seconds", "gauge", "Since the admin service opened.",
           (double)uptime_us(call) / 1e6);
    metric(out, "weir_ready", "gauge", "1 when every partition is recovered or set aside.",
           broker_ready(call->admin->broker));
    metric(out, "weir_buffer_bytes", "gauge", "Blocks of data in memory.",
           (double)iobuf_bytes_alive());
}

static void broker_metrics(struct admin_call *call, struct bytebuf *out)
{
    struct broker_stats s;
    stats_sum(call, &s);
    metric(out, "weir_topics", "gauge", "Topics, internal ones too.", (double)s.topics);
    metric(out, "weir_partitions", "gauge", "Partitions.", (double)s.partitions);
    metric(out, "weir_partitions_offline", "gauge", "Partitions set aside after a failure.",
           (double)s.partitions_offline);
    metric(out, "weir_append_batches_total", "counter", "Batches appended.", (double)s.appends);
    metric(out, "weir_append_records_total", "counter", "Records appended.",
           (double)s.append_records);
    metric(out, "weir_append_bytes_total", "counter", "Bytes appended.", (double)s.append_bytes);
    metric(out, "weir_append_errors_total", "counter", "Appends refused or failed.",
           (double)s.append_errors);
    metric(out, "weir_fetches_total", "counter", "Fetches answered.", (double)s.fetches);
    metric(out, "weir_fetch_bytes_total", "counter", "Bytes fetched.", (double)s.fetch_bytes);
    metric(out, "weir_fetches_waiting", "gauge", "Fetches that wait for data.",
           (double)s.fetches_waiting);
    metric(out, "weir_commits_total", "counter", "Group commits of the logs.", (double)s.commits);
}

void admin_metrics(struct admin_call *call)
{
    struct bytebuf out;
    struct web_stats web;
    bytebuf_init(&out, 1024 * 1024);
    process_metrics(call, &out);
    broker_metrics(call, &out);
    web_server_stats(call->admin->web, &web);
    metric(&out, "weir_admin_requests_total", "counter", "Requests to the admin port.",
           (double)web.requests);
    metric(&out, "weir_admin_connections", "gauge", "Connections to the admin port.",
           (double)web.connections);
    metric(&out, "weir_admin_connections_refused_total", "counter",
           "Connections above the limit of the admin port.", (double)web.turned_away);
    metric(&out, "weir_admin_connections_timed_out_total", "counter",
           "Connections to the admin port that a deadline ended.", (double)web.timed_out);
    for (int i = 0; i < ADMIN_METRICS_MAX; i++) {
        const struct admin_metrics *more = &call->admin->config.metrics[i];
        if (more->write)
            more->write(more->arg, &out);
    }
    if (out.failed)
        admin_fail(call, ERR_NO_MEMORY, NULL);
    else
        admin_send_text(call, 200, "text/plain; version=0.0.4; charset=utf-8", bytebuf_slice(&out));
    bytebuf_deinit(&out);
}
