/*
 * `weir serve`: wires the parts together and runs them until SIGTERM.
 *
 * Order of start: settings, shards, data folder and recovery (broker), groups, blobs, jobs, doors,
 * then the one line on stdout. Parts close in the reverse order after the shards have stopped; a
 * refused start ends the process at once.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/bytebuf.h"
#include "base/diag.h"
#include "blobstore/blobstore.h"
#include "broker/broker.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "connect/jobs.h"
#include "front/admin/admin.h"
#include "front/blob/blob.h"
#include "front/eventhubs/eventhubs.h"
#include "front/kafka/kafka.h"
#include "group/group.h"
#include "io/fs.h"
#include "io/reactor.h"
#include "io/shard.h"

#define ENTITIES_MAX (1u << 20)

struct node {
    const char *data;
    const struct config *config;
    struct fs *fs;
    struct shards *shards;
    struct broker *broker;
    struct groups *groups;
    struct blobstore *blobs;
    struct front_kafka *kafka;
    struct front_eventhubs *eventhubs;
    struct front_blob *blob;
    struct front_admin *admin;
    struct jobs *jobs;
};

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
           strcmp(host, "localhost") == 0;
}

static enum err read_file(const char *path, struct bytebuf *out, struct err_info *info)
{
    char block[4096];
    size_t len;
    FILE *file = fopen(path, "rb");
    if (!file)
        return err_info_set(info, err_from_errno(errno), "%s", strerror(errno));
    while ((len = fread(block, 1, sizeof(block), file)) > 0)
        bytebuf_append(out, block, len);
    bool good = !ferror(file) && !out->failed;
    fclose(file);
    return good ? ERR_OK
                : err_info_set(info, ERR_INVALID_CONFIG,
                               "cannot be read, or is larger than %u bytes", ENTITIES_MAX);
}

/* Each connection and segment takes a descriptor: as many as the system allows. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static enum err open_core(struct node *node, struct err_info *info)
{
    const struct config *config = node->config;
    node->fs = fs_posix_create();
    if (!node->fs)
        return err_info_set(info, ERR_NO_MEMORY, "out of memory");
    struct shards_config shards = {.count = (unsigned)config->shards, .fs = node->fs};
    enum err err = shards_create(&shards, &node->shards, info);
    if (err != ERR_OK)
        return err;
    struct broker_config broker = {
        .dir = node->data,
        .default_partitions = (int32_t)config->default_partitions,
        .auto_create = config->auto_create,
        .relaxed = config->relaxed,
        .tail_cache_bytes = (uint64_t)config->tail_cache_bytes,
        .retention_check_ms = config->retention_check_ms,
    };
    err = broker_open(node->shards, &broker, &node->broker, info);
    if (err != ERR_OK)
        return err;
    struct groups_config groups = {
        .initial_rebalance_delay_ms = (int32_t)config->initial_rebalance_delay_ms,
    };
    err = groups_open(node->shards, node->broker, &groups, &node->groups, info);
    if (err != ERR_OK)
        return err;
    char dir[FS_PATH_MAX];
    struct shard *first = shards_get(node->shards, 0);
    broker_dir(node->broker, "blob", dir, sizeof(dir));
    err = blobstore_open(node->fs, dir, random_u64(&first->random), reactor_wall_ms(first->reactor),
                         &node->blobs, info);
    for (unsigned i = 0; err == ERR_OK && i < shards_count(node->shards); i++)
        blobstore_shard_start(node->blobs, shards_get(node->shards, i));
    return err;
}

/* Keys and hubs of the Event Hubs door. Without a key of its own it takes the emulator's, on
 * loopback only. */
static enum err configure_eventhubs(const struct config *config, struct eventhubs_config *eventhubs,
                                    struct err_info *info)
{
    enum err err = ERR_OK;
    if (config->amqp_key)
        err = eventhubs_config_key_add(
            eventhubs, slice_cstr(config->amqp_key_name), slice_cstr(config->amqp_key),
            EVENTHUBS_SEND | EVENTHUBS_LISTEN | EVENTHUBS_MANAGE, SLICE_NULL, info);
    else if (!is_loopback(config->host))
        err = err_info_set(info, ERR_INVALID_CONFIG, "amqp.key must be set to listen on %s",
                           config->host);
    if (err != ERR_OK || !config->amqp_entities)
        return err;
    struct bytebuf text;
    bytebuf_init(&text, ENTITIES_MAX);
    err = read_file(config->amqp_entities, &text, info);
    if (err == ERR_OK)
        err = eventhubs_config_json_read(eventhubs, bytebuf_slice(&text), info);
    if (err != ERR_OK)
        err_info_wrap(info, "%s", config->amqp_entities);
    bytebuf_deinit(&text);
    return err;
}

static enum err open_eventhubs(struct node *node, struct err_info *info)
{
    const struct config *config = node->config;
    struct eventhubs_config *eventhubs = eventhubs_config_create();
    if (!eventhubs)
        return err_info_set(info, ERR_NO_MEMORY, "out of memory");
    struct eventhubs_options *options = eventhubs_config_options(eventhubs);
    options->token_wait_ms = (uint32_t)config->amqp_token_wait_ms;
    options->connections_max = (uint32_t)config->amqp_connections_max;
    enum err err = configure_eventhubs(config, eventhubs, info);
    if (err != ERR_OK) {
        eventhubs_config_destroy(eventhubs);
        return err;
    }
    return front_eventhubs_start(node->shards, node->broker, eventhubs, config->host,
                                 (uint16_t)config->amqp_port, &node->eventhubs, info);
}

/* ---- jobs, as the admin door asks for them ---- */

static void on_job_done(void *ctx, enum err err, const struct err_info *info, struct slice json)
{
    front_admin_job_done(ctx, err, info, json);
}

static void call_jobs(void *arg, struct shard *shard, enum admin_job_verb verb, struct slice name,
                      struct slice body, struct admin_call *call)
{
    struct jobs *jobs = arg;
    switch (verb) {
    case ADMIN_JOB_LIST:
        jobs_list(jobs, shard, on_job_done, call);
        return;
    case ADMIN_JOB_CREATE:
        jobs_create_job(jobs, shard, body, on_job_done, call);
        return;
    case ADMIN_JOB_SHOW:
        jobs_show(jobs, shard, name, on_job_done, call);
        return;
    case ADMIN_JOB_START:
        jobs_start_job(jobs, shard, name, on_job_done, call);
        return;
    case ADMIN_JOB_STOP:
        jobs_stop_job(jobs, shard, name, on_job_done, call);
        return;
    case ADMIN_JOB_DELETE:
        jobs_delete_job(jobs, shard, name, on_job_done, call);
        return;
    }
    UNREACHABLE();
}

/* ---- figures of the doors for /metrics ---- */

struct metric {
    const char *name;
    const char *type;
    uint64_t value;
};

static void write_metrics(struct bytebuf *out, const struct metric *metrics, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bytebuf_printf(out, "# TYPE %s %s\n%s %" PRIu64 "\n", metrics[i].name, metrics[i].type,
                       metrics[i].name, metrics[i].value);
}

static void write_kafka_metrics(void *arg, struct bytebuf *out)
{
    struct front_kafka_stats stats;
    front_kafka_stats_read(arg, &stats);
    const struct metric metrics[] = {
        {"weir_kafka_connections", "gauge", stats.connections},
        {"weir_kafka_connections_refused_total", "counter", stats.refused},
        {"weir_kafka_connections_waiting", "gauge", stats.waiting},
        {"weir_kafka_requests_total", "counter", stats.requests},
        {"weir_kafka_bad_requests_total", "counter", stats.request_errors},
    };
    write_metrics(out, metrics, sizeof(metrics) / sizeof(metrics[0]));
}

static void write_eventhubs_metrics(void *arg, struct bytebuf *out)
{
    struct eventhubs_stats stats;
    front_eventhubs_stats(arg, &stats);
    const struct metric metrics[] = {
        {"weir_eventhubs_connections", "gauge", stats.connections},
        {"weir_eventhubs_links", "gauge", stats.links},
        {"weir_eventhubs_events_in_total", "counter", stats.events_in},
        {"weir_eventhubs_events_out_total", "counter", stats.events_out},
        {"weir_eventhubs_bytes_in_total", "counter", stats.bytes_in},
        {"weir_eventhubs_bytes_out_total", "counter", stats.bytes_out},
        {"weir_eventhubs_refused_total", "counter", stats.refused},
    };
    write_metrics(out, metrics, sizeof(metrics) / sizeof(metrics[0]));
}

static enum err open_doors(struct node *node, struct err_info *info)
{
    const struct config *config = node->config;
    struct front_kafka_config kafka = {
        .host = config->host,
        .port = (uint16_t)config->kafka_port,
        .advertised_host = config->kafka_advertised_host,
        .advertised_port = (uint16_t)config->kafka_advertised_port,
        .connections_max = (uint32_t)config->kafka_connections_max,
    };
    enum err err =
        front_kafka_open(node->shards, node->broker, node->groups, &kafka, &node->kafka, info);
    if (err != ERR_OK)
        return err;
    err = open_eventhubs(node, info);
    if (err != ERR_OK)
        return err;
    struct front_blob_config blob = {
        .host = config->host,
        .port = (uint16_t)config->blob_port,
        .connections_max = (uint32_t)config->blob_connections_max,
        .any_date = !config->blob_clock_check,
    };
    if (config->blob_key2 && !config->blob_key)
        return err_info_set(info, ERR_INVALID_CONFIG, "blob.key2 needs blob.key");
    if (config->blob_key) {
        blob.accounts[0] =
            (struct front_blob_account){config->blob_account, config->blob_key, config->blob_key2};
        blob.account_count = 1;
    }
    err = front_blob_open(node->shards, &blob, node->blobs, &node->blob, info);
    if (err != ERR_OK)
        return err;
    struct front_admin_config admin = {
        .host = config->admin_host,
        .port = (uint16_t)config->admin_port,
        .connections_max = (uint32_t)config->admin_connections_max,
        .hosts = config->admin_hosts,
        .version = WEIR_VERSION,
        .jobs = {node->jobs, call_jobs},
        .metrics = {{node->blob, front_blob_metrics},
                    {node->kafka, write_kafka_metrics},
                    {node->eventhubs, write_eventhubs_metrics}},
    };
    err = front_admin_open(node->shards, &admin, node->broker, &node->admin, info);
    if (err != ERR_OK)
        return err;
    front_admin_listener_add(node->admin, "kafka", front_kafka_address(node->kafka));
    front_admin_listener_add(node->admin, "amqp", front_eventhubs_address(node->eventhubs));
    front_admin_listener_add(node->admin, "blob", front_blob_address(node->blob));
    front_admin_listener_add(node->admin, "admin", front_admin_address(node->admin));
    return ERR_OK;
}

/* ---- life ---- */

static void close_node(struct node *node)
{
    front_admin_close(node->admin);
    front_blob_close(node->blob);
    if (node->eventhubs)
        front_eventhubs_destroy(node->eventhubs);
    front_kafka_close(node->kafka);
    jobs_close(node->jobs);
    blobstore_close(node->blobs);
    if (node->groups)
        groups_close(node->groups);
    if (node->broker)
        broker_close(node->broker);
    if (node->shards)
        shards_destroy(node->shards);
    if (node->fs)
        fs_destroy(node->fs);
}

/*
 * The Kafka door and the admin port know no credentials, and no door speaks TLS yet. Whoever opens
 * them to a network hears it at every start.
 */
static void warn_of_open_doors(const struct config *config)
{
    if (!is_loopback(config->host)) {
        fprintf(stderr,
                "weir serve: warning: the Kafka door listens on %s and asks for no credentials: "
                "whoever reaches it reads, writes and deletes every topic and hub\n",
                config->host);
        fprintf(stderr,
                "weir serve: warning: the Event Hubs and Blob doors on %s ask for their keys, but "
                "nothing is encrypted\n",
                config->host);
    }
    if (!is_loopback(config->admin_host))
        fprintf(stderr,
                "weir serve: warning: the admin port listens on %s and asks for no credentials: "
                "whoever reaches it creates and deletes topics and jobs\n",
                config->admin_host);
}

static void on_running(void *arg)
{
    const struct node *node = arg;
    warn_of_open_doors(node->config);
    printf("listening kafka=%s amqp=%s blob=%s admin=%s\n", front_kafka_address(node->kafka),
           front_eventhubs_address(node->eventhubs), front_blob_address(node->blob),
           front_admin_address(node->admin));
    fflush(stdout);
}

static int run(const char *data, const struct config *config)
{
    struct node node = {.data = data, .config = config};
    struct err_info info = {0};
    raise_descriptor_limit();
    enum err err = open_core(&node, &info);
    if (err == ERR_OK)
        err = jobs_open(node.shards, node.broker, node.blobs, &node.jobs, &info);
    if (err == ERR_OK)
        err = open_doors(&node, &info);
    if (err == ERR_OK)
        err = shards_run(node.shards, on_running, &node, &info);
    if (err == ERR_OK) {
        close_node(&node);
        return 0;
    }
    fprintf(stderr, "weir serve: %s\n", info.text[0] ? info.text : err_row(err)->text);
    /* Workers may be recovering logs, and only running shards can end them in order. Nothing was
     * acknowledged yet and the store outlives kill -9, so the process ends here as it stands. */
    fflush(NULL);
    _exit(1);
}

static bool set_diagnostics(const char *level)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(names[i], level) == 0) {
            diag_level_set((enum diag_level)i);
            return true;
        }
    }
    return false;
}

/* What the command line gives; -1 and NULL: not given. */
struct overrides {
    const char *data, *file, *host, *diagnostics;
    int64_t kafka, amqp, blob, admin, shards;
    bool print_settings;
};

static void apply(struct config *config, const struct overrides *overrides)
{
    const struct {
        int64_t given;
        int64_t *target;
    } numbers[] = {
        {overrides->kafka, &config->kafka_port}, {overrides->amqp, &config->amqp_port},
        {overrides->blob, &config->blob_port},   {overrides->admin, &config->admin_port},
        {overrides->shards, &config->shards},
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (numbers[i].given >= 0)
            *numbers[i].target = numbers[i].given;
    }
    if (overrides->host)
        config->host = overrides->host;
    if (overrides->diagnostics)
        config->diagnostics = overrides->diagnostics;
}

static int configure_and_run(const struct arg_command *command, const struct overrides *overrides)
{
    struct config config;
    struct err_info info = {0};
    config_defaults(&config);
    if (overrides->print_settings) {
        config_print_settings(stdout);
        return 0;
    }
    if (!overrides->data)
        return args_wrong(command, "--data names the folder that keeps everything");
    struct arena *arena = arena_create(NULL, "settings", 8u << 20);
    int status = 2;
    if (arena && overrides->file && config_load(&config, arena, overrides->file, &info) != ERR_OK) {
        fprintf(stderr, "weir serve: %s\n", info.text);
    } else {
        apply(&config, overrides);
        if (!set_diagnostics(config.diagnostics))
            args_wrong(command, "diagnostics is error, warn, info or debug, not '%s'",
                       config.diagnostics);
        else
            status = run(overrides->data, &config);
    }
    arena_destroy(arena);
    return status;
}

int cli_serve(int argc, char **argv)
{
    struct overrides o = {.kafka = -1, .amqp = -1, .blob = -1, .admin = -1, .shards = -1};
    const struct arg_option options[] = {
        {"data", 0, ARG_TEXT, &o.data, "DIR", "folder that keeps everything; made at need", NULL, 0,
         0},
        {"config", 0, ARG_TEXT, &o.file, "FILE",
         "settings as YAML; --settings tells which there are", NULL, 0, 0},
        {"host", 0, ARG_TEXT, &o.host, "ADDRESS",
         "address of the doors but admin (default 127.0.0.1); off loopback the Kafka door is open "
         "to "
         "all who reach it",
         NULL, 0, 0},
        {"kafka-port", 0, ARG_INT, &o.kafka, "PORT", "default 9092; 0: a free one", NULL, 0, 65535},
        {"amqp-port", 0, ARG_INT, &o.amqp, "PORT", "default 5672; 0: a free one", NULL, 0, 65535},
        {"blob-port", 0, ARG_INT, &o.blob, "PORT", "default 10000; 0: a free one", NULL, 0, 65535},
        {"admin-port", 0, ARG_INT, &o.admin, "PORT", "default 5300; 0: a free one", NULL, 0, 65535},
        {"shards", 0, ARG_INT, &o.shards, "N", "threads; default one per core", NULL, 0, SHARD_MAX},
        {"diagnostics", 0, ARG_TEXT, &o.diagnostics, "LEVEL",
         "error, warn, info (default) or debug", NULL, 0, 0},
        {"settings", 0, ARG_FLAG, &o.print_settings, "",
         "print the table of all settings of the file and end", NULL, 0, 0},
        {0},
    };
    const struct arg_command command = {
        "serve",
        "",
        "Runs the server until SIGTERM.",
        "When it serves it prints one line on standard output:\n"
        "  listening kafka=HOST:PORT amqp=HOST:PORT blob=HOST:PORT admin=HOST:PORT",
        0,
        0,
        options};
    struct arg_operands operands;
    enum args_result result = args_parse(&command, argc, argv, &operands);
    if (result != ARGS_OK)
        return result == ARGS_DONE ? 0 : 2;
    return configure_and_run(&command, &o);
}
