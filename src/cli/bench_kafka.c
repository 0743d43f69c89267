/*
 * `weir bench produce` and `weir bench consume`: how fast a server takes and gives records through
 * librdkafka, whose own limit is part of the figure; the programs in bench/ measure the server
 * alone.
 */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/random.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/endpoint.h"
#include "cli/kafka_client.h"
#include "cli/output.h"
#include "cli/progress.h"

#define LATENCIES_MAX (1u << 22)
#define OPTION_OUTPUT(target)                                                                      \
    {                                                                                              \
        "output", 'o', ARG_CHOICE, target, NULL, "form of the output", OUTPUT_FORMATS, 0, 0        \
    }
#define OPTION_BROKERS(target)                                                                     \
    {                                                                                              \
        "brokers", 'b', ARG_TEXT, target, "HOST:PORT",                                             \
            "the Kafka door (default 127.0.0.1:9092, WEIR_KAFKA)", NULL, 0, 0                      \
    }

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The figures that every bench prints. */
static json_t *figures(uint64_t events, uint64_t bytes, double seconds)
{
    json_t *object = json_object();
    json_object_set_new(object, "events", json_integer((json_int_t)events));
    json_object_set_new(object, "bytes", json_integer((json_int_t)bytes));
    json_object_set_new(object, "seconds", json_real(seconds));
    json_object_set_new(object, "events_per_second",
                        json_integer((json_int_t)((double)events / seconds)));
    json_object_set_new(object, "megabytes_per_second",
                        json_integer((json_int_t)((double)bytes / seconds / 1e6)));
    return object;
}

/* ---- produce ---- */

struct bench_produce_run {
    rd_kafka_t *client;
    uint64_t acknowledged, failed;
    uint32_t latency_count;
    double *latencies;
    char failure[128];
};

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *arg)
{
    struct bench_produce_run *run = arg;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (run->failed++ == 0)
            snprintf(run->failure, sizeof(run->failure), "%s", rd_kafka_err2str(message->err));
        return;
    }
    run->acknowledged++;
    if (run->latency_count < LATENCIES_MAX)
        run->latencies[run->latency_count++] = (double)rd_kafka_message_latency(message) / 1e3;
}

static bool send_all(struct bench_produce_run *run, const char *topic, const uint8_t *value,
                     size_t size, uint64_t count)
{
    struct progress progress;
    progress_init(&progress, "records", count);
    for (uint64_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t code;
        while ((code = rd_kafka_producev(run->client, RD_KAFKA_V_TOPIC(topic),
                                         RD_KAFKA_V_VALUE((void *)value, size), RD_KAFKA_V_END)) ==
               RD_KAFKA_RESP_ERR__QUEUE_FULL)
            rd_kafka_poll(run->client, 10);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            fprintf(stderr, "weir bench: %s\n", rd_kafka_err2str(code));
            return false;
        }
        if (i % 1024 == 0) {
            rd_kafka_poll(run->client, 0);
            progress_update(&progress, i);
        }
    }
    rd_kafka_flush(run->client, 60000);
    progress_end(&progress);
    if (run->acknowledged != count)
        fprintf(stderr,
                "weir bench: %" PRIu64 " of %" PRIu64 " records were not acknowledged: %s\n",
                count - run->acknowledged, count, run->failure);
    return run->acknowledged == count;
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int run_produce(struct bench_produce_run *run, const char *topic, size_t size,
                       uint64_t count, const char *format)
{
    struct random random;
    uint8_t *value = malloc(size);
    run->latencies = malloc(LATENCIES_MAX * sizeof(*run->latencies));
    int status = 1;
    if (value && run->latencies) {
        random_init(&random, 1);
        random_fill(&random, value, (uint32_t)size);
        double started = seconds_of(CLOCK_MONOTONIC);
        if (send_all(run, topic, value, size, count)) {
            json_t *object = figures(count, count * size, seconds_of(CLOCK_MONOTONIC) - started);
            qsort(run->latencies, run->latency_count, sizeof(*run->latencies), compare_double);
            json_object_set_new(object, "latency_p50_ms",
                                json_real(run->latencies[run->latency_count / 2]));
            json_object_set_new(object, "latency_p99_ms",
                                json_real(run->latencies[(size_t)run->latency_count * 99 / 100]));
            status = output_object(format, object);
            json_decref(object);
        }
    }
    free(value);
    free(run->latencies);
    return status;
}

int cli_bench_produce(int argc, char **argv)
{
    const char *brokers = NULL, *format = "table", *acks = "all", *linger = "5";
    int64_t count = 1000000, size = 1024;
    struct arg_list properties = {0};
    const struct arg_option options[] = {
        OPTION_BROKERS(&brokers),
        OPTION_OUTPUT(&format),
        {"count", 'n', ARG_INT, &count, "N", "records (default 1,000,000)", NULL, 1,
         INT64_C(1) << 40},
        {"size", 's', ARG_INT, &size, "BYTES", "of a record (default 1024)", NULL, 1, 1 << 20},
        {"acks", 0, ARG_CHOICE, &acks, NULL, "default all, idempotent", "0|1|all", 0, 0},
        {"linger", 0, ARG_TEXT, &linger, "MS", "how long a batch waits (default 5)", NULL, 0, 0},
        {"property", 'X', ARG_LIST, &properties, "NAME=VALUE", "a property of the client library",
         NULL, 0, 0},
        {0},
    };
    const struct arg_command command = {
        "bench produce", "TOPIC", "Writes records as fast as they are taken.", NULL, 1, 1, options};
    struct arg_operands operands;
    enum args_result result = args_parse(&command, argc, argv, &operands);
    if (result != ARGS_OK)
        return result == ARGS_DONE ? 0 : 2;
    struct bench_produce_run run = {0};
    rd_kafka_conf_t *conf = kafka_client_conf(ENDPOINT_KAFKA(brokers), &properties);
    if (!conf)
        return 1;
    rd_kafka_conf_set(conf, "enable.idempotence", strcmp(acks, "all") == 0 ? "true" : "false", NULL,
                      0);
    rd_kafka_conf_set(conf, "acks", acks, NULL, 0);
    rd_kafka_conf_set(conf, "linger.ms", linger, NULL, 0);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_opaque(conf, &run);
    run.client = kafka_client_create(RD_KAFKA_PRODUCER, conf);
    if (!run.client)
        return 1;
    int status = run_produce(&run, operands.items[0], (size_t)size, (uint64_t)count, format);
    rd_kafka_destroy(run.client);
    return status;
}

/* ---- consume ---- */

/* Assigns all partitions from their beginning and returns them; NULL: reported. */
static rd_kafka_topic_partition_list_t *assign_all(rd_kafka_t *client, const char *topic)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topic, NULL);
    rd_kafka_resp_err_t code = rd_kafka_metadata(client, 0, handle, &metadata, 10000);
    rd_kafka_topic_destroy(handle);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        fprintf(stderr, "weir bench: %s: %s\n", topic, rd_kafka_err2str(code));
        return NULL;
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (int i = 0; i < metadata->topics[0].partition_cnt; i++)
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(client, list);
    rd_kafka_metadata_destroy(metadata);
    return list;
}

static int run_consume(rd_kafka_t *client, const char *topic, const char *format)
{
    uint64_t events = 0, bytes = 0;
    rd_kafka_topic_partition_list_t *open = assign_all(client, topic);
    if (!open)
        return 1;
    double started = seconds_of(CLOCK_MONOTONIC);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(client);
    static rd_kafka_message_t *messages[10000];
    while (open->cnt > 0) {
        ssize_t n = rd_kafka_consume_batch_queue(queue, 1000, messages, 10000);
        for (ssize_t i = 0; i < n; i++) {
            if (messages[i]->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
                rd_kafka_topic_partition_list_del(open, topic, messages[i]->partition);
            events += messages[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR;
            bytes += messages[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR ? messages[i]->len : 0;
            rd_kafka_message_destroy(messages[i]);
        }
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_partition_list_destroy(open);
    json_t *object = figures(events, bytes, seconds_of(CLOCK_MONOTONIC) - started);
    int status = output_object(format, object);
    json_decref(object);
    return status;
}

int cli_bench_consume(int argc, char **argv)
{
    const char *brokers = NULL, *format = "table";
    struct arg_list properties = {0};
    const struct arg_option options[] = {
        OPTION_BROKERS(&brokers),
        OPTION_OUTPUT(&format),
        {"property", 'X', ARG_LIST, &properties, "NAME=VALUE", "a property of the client library",
         NULL, 0, 0},
        {0},
    };
    const struct arg_command command = {
        "bench consume", "TOPIC", "Reads all records of a topic.", NULL, 1, 1, options};
    struct arg_operands operands;
    enum args_result result = args_parse(&command, argc, argv, &operands);
    if (result != ARGS_OK)
        return result == ARGS_DONE ? 0 : 2;
    rd_kafka_conf_t *conf = kafka_client_conf(ENDPOINT_KAFKA(brokers), &properties);
    if (!conf)
        return 1;
    rd_kafka_conf_set(conf, "enable.partition.eof", "true", NULL, 0);
    rd_kafka_conf_set(conf, "group.id", "weir-bench", NULL, 0);
    rd_kafka_conf_set(conf, "enable.auto.commit", "false", NULL, 0);
    rd_kafka_conf_set(conf, "queued.min.messages", "5000000", NULL, 0);
    rd_kafka_conf_set(conf, "queued.max.messages.kbytes", "1048576", NULL, 0);
    rd_kafka_t *client = kafka_client_create(RD_KAFKA_CONSUMER, conf);
    if (!client)
        return 1;
    rd_kafka_poll_set_consumer(client);
    int status = run_consume(client, operands.items[0], format);
    rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
    return status;
}
