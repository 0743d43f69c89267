/*
 * `weir produce`: records from standard input or files to a topic, through librdkafka with
 * acks=all.
 *
 * One line is one record; -K splits the key off, -D changes the delimiter of records. The exit
 * status is 0 only when the server acknowledged every record.
 */
#include <errno.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/endpoint.h"
#include "cli/format.h"
#include "cli/kafka_client.h"
#include "cli/progress.h"

struct produce {
    rd_kafka_t *client;
    const char *topic;
    int32_t partition;
    struct slice key_delimiter; /* empty: records have no key */
    uint64_t sent, acknowledged, failed;
    char first_failure[256];
    struct progress progress;
};

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *arg)
{
    struct produce *produce = arg;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        produce->acknowledged++;
        return;
    }
    if (produce->failed++ == 0)
        snprintf(produce->first_failure, sizeof(produce->first_failure), "%s",
                 rd_kafka_err2str(message->err));
}

static bool send_record(struct produce *produce, struct slice record)
{
    struct slice key = SLICE_NULL, value = record;
    if (produce->key_delimiter.len) {
        size_t at = slice_find(record, produce->key_delimiter, 0);
        if (at != SIZE_MAX) {
            key = slice_sub(record, 0, at);
            value = slice_sub(record, at + produce->key_delimiter.len, record.len);
        }
    }
    for (;;) {
        rd_kafka_resp_err_t code = rd_kafka_producev(
            produce->client, RD_KAFKA_V_TOPIC(produce->topic),
            RD_KAFKA_V_PARTITION(produce->partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
            RD_KAFKA_V_KEY((void *)key.data, key.len),
            RD_KAFKA_V_VALUE((void *)value.data, value.len), RD_KAFKA_V_END);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            break;
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            fprintf(stderr, "weir produce: record %" PRIu64 ": %s\n", produce->sent + 1,
                    rd_kafka_err2str(code));
            return false;
        }
        rd_kafka_poll(produce->client, 100);
    }
    produce->sent++;
    if (produce->sent % 1024 == 0) {
        rd_kafka_poll(produce->client, 0);
        progress_update(&produce->progress, produce->sent);
    }
    return true;
}

static bool send_lines(struct produce *produce, FILE *in, const char *name, int delimiter)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    bool good = true;
    while (good && (len = getdelim(&line, &cap, delimiter, in)) >= 0) {
        if (len > 0 && line[len - 1] == (char)delimiter)
            len--;
        if (len > 0)
            good = send_record(produce, slice_make(line, (size_t)len));
    }
    if (ferror(in)) {
        fprintf(stderr, "weir produce: %s: %s\n", name, strerror(errno));
        good = false;
    }
    free(line);
    return good;
}

static bool send_inputs(struct produce *produce, const struct arg_operands *operands, int delimiter)
{
    bool good = true;
    if (operands->count == 1)
        return send_lines(produce, stdin, "standard input", delimiter);
    for (size_t i = 1; i < operands->count && good; i++) {
        FILE *in = fopen(operands->items[i], "r");
        if (!in) {
            fprintf(stderr, "weir produce: %s: %s\n", operands->items[i], strerror(errno));
            return false;
        }
        good = send_lines(produce, in, operands->items[i], delimiter);
        fclose(in);
    }
    return good;
}

static int finish(struct produce *produce, bool good)
{
    while (rd_kafka_outq_len(produce->client) > 0 &&
           rd_kafka_flush(produce->client, 500) == RD_KAFKA_RESP_ERR__TIMED_OUT)
        progress_update(&produce->progress, produce->acknowledged);
    progress_end(&produce->progress);
    if (produce->failed)
        fprintf(stderr,
                "weir produce: %" PRIu64 " of %" PRIu64 " records were not acknowledged: %s\n",
                produce->failed, produce->sent, produce->first_failure);
    return good && !produce->failed && produce->acknowledged == produce->sent ? 0 : 1;
}

int cli_produce(int argc, char **argv)
{
    const char *brokers = NULL, *key_delimiter = "", *delimiter = "\\n";
    int64_t partition = RD_KAFKA_PARTITION_UA;
    struct arg_list properties = {0};
    const struct arg_option options[] = {
        {"brokers", 'b', ARG_TEXT, &brokers, "HOST:PORT",
         "the Kafka door (default 127.0.0.1:9092, WEIR_KAFKA)", NULL, 0, 0},
        {"partition", 'p', ARG_INT, &partition, "N", "partition (default: by key)", NULL, 0,
         INT32_MAX},
        {"key-delimiter", 'K', ARG_TEXT, &key_delimiter, "TEXT",
         "what stands between key and value", NULL, 0, 0},
        {"delimiter", 'D', ARG_TEXT, &delimiter, "CHAR", "what ends a record (default \\n)", NULL,
         0, 0},
        {"property", 'X', ARG_LIST, &properties, "NAME=VALUE", "a property of the client library",
         NULL, 0, 0},
        {0},
    };
    const struct arg_command command = {
        "produce",
        "TOPIC [FILE...]",
        "Writes each line of the input as a record, acknowledged by all.",
        "example:\n  echo 'key:value' | weir produce mytopic -K :",
        1,
        1000,
        options};
    struct arg_operands operands;
    enum args_result result = args_parse(&command, argc, argv, &operands);
    if (result != ARGS_OK)
        return result == ARGS_DONE ? 0 : 2;
    struct bytebuf keys, ends;
    const char *wrong;
    bytebuf_init(&keys, 256);
    bytebuf_init(&ends, 256);
    if (!format_unescape(key_delimiter, &keys, &wrong) ||
        !format_unescape(delimiter, &ends, &wrong) || ends.len != 1) {
        bytebuf_deinit(&keys);
        bytebuf_deinit(&ends);
        return args_wrong(&command, "a delimiter of records is one character, of keys up to 256");
    }
    struct produce produce = {.topic = operands.items[0],
                              .partition = (int32_t)partition,
                              .key_delimiter = bytebuf_slice(&keys)};
    progress_init(&produce.progress, "records", 0);
    rd_kafka_conf_t *conf = kafka_client_conf(ENDPOINT_KAFKA(brokers), &properties);
    int status = 1;
    if (conf) {
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
        rd_kafka_conf_set_opaque(conf, &produce);
        produce.client = kafka_client_create(RD_KAFKA_PRODUCER, conf);
    }
    if (produce.client) {
        status = finish(&produce, send_inputs(&produce, &operands, ends.data[0]));
        rd_kafka_destroy(produce.client);
    }
    bytebuf_deinit(&keys);
    bytebuf_deinit(&ends);
    return status;
}
