/*
 * `weir consume`: records of a topic to standard output, by kcat's letters and habits.
 *
 * Reads all partitions (or one) from the offset asked for, without a group. -e ends at the ends
 * that the partitions have when reading begins, -c after so many records; without either it follows the
 * topic until interrupted.
 */
#include <errno.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/numtext.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/endpoint.h"
#include "cli/format.h"
#include "cli/kafka_client.h"
#include "cli/progress.h"

#define WAIT_MS 10000
#define PAUSE_MS 50
#define TAIL_MAX (INT64_MAX / 2)

struct consume {
    rd_kafka_t *client;
    const char *topic;
    int64_t offset;  /* also RD_KAFKA_OFFSET_BEGINNING, _END, _TAIL(n) */
    int64_t time_ms; /* -1: by offset */
    int64_t limit;   /* -1: none */
    bool json, to_end;
    struct slice format;
    rd_kafka_topic_partition_list_t *partitions;
    rd_kafka_topic_partition_list_t *ends; /* of -e: partitions still read, and where they end */
    uint64_t count;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = 1;
}

/* "beginning", "end", N, -N (before the end), s@MS (from that time). */
static bool parse_offset(struct consume *consume, const char *text)
{
    consume->time_ms = -1;
    if (strcmp(text, "beginning") == 0 || strcmp(text, "start") == 0) {
        consume->offset = RD_KAFKA_OFFSET_BEGINNING;
    } else if (strcmp(text, "end") == 0) {
        consume->offset = RD_KAFKA_OFFSET_END;
    } else if (strncmp(text, "s@", 2) == 0) {
        return numtext_read_int64(slice_cstr(text + 2), &consume->time_ms) && consume->time_ms >= 0;
    } else {
        if (!numtext_read_int64(slice_cstr(text), &consume->offset))
            return false;
        /* More than any log has is all of it; nearer to the lowest number the macro overflows. */
        if (consume->offset < -TAIL_MAX)
            consume->offset = -TAIL_MAX;
        if (consume->offset < 0)
            consume->offset = RD_KAFKA_OFFSET_TAIL(-consume->offset);
    }
    return true;
}

/*
 * Whether to ask again: true after a pause, when the error is one of a server that has just started
 * and is still opening its logs, or of one that has just made the topic. tries counts from 0.
 */
static bool ask_again(rd_kafka_resp_err_t code, unsigned *tries)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    if (code != RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION &&
        code != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
        return false;
    if (interrupted || ++*tries > WAIT_MS / PAUSE_MS)
        return false;
    nanosleep(&pause, NULL);
    return true;
}

static rd_kafka_resp_err_t list_partitions(struct consume *consume, int64_t wanted)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(consume->client, consume->topic, NULL);
    rd_kafka_resp_err_t code = rd_kafka_metadata(consume->client, 0, topic, &metadata, WAIT_MS);
    rd_kafka_topic_destroy(topic);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return code;
    code = metadata->topics[0].err;
    for (int i = 0; code == RD_KAFKA_RESP_ERR_NO_ERROR && i < metadata->topics[0].partition_cnt;
         i++) {
        int32_t id = metadata->topics[0].partitions[i].id;
        if (wanted < 0 || wanted == id)
            rd_kafka_topic_partition_list_add(consume->partitions, consume->topic, id)->offset =
                consume->offset;
    }
    rd_kafka_metadata_destroy(metadata);
    return code;
}

/* Fills the list of partitions: the one asked for, or all of the topic. False: reported. */
static bool find_partitions(struct consume *consume, int64_t wanted)
{
    unsigned tries = 0;
    rd_kafka_resp_err_t code;
    do {
        code = list_partitions(consume, wanted);
    } while (ask_again(code, &tries));
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && consume->partitions->cnt == 0)
        code = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        fprintf(stderr, "weir consume: %s: %s\n", consume->topic, rd_kafka_err2str(code));
    return code == RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t query_times(struct consume *consume)
{
    rd_kafka_topic_partition_list_t *partitions = consume->partitions;
    for (int i = 0; i < partitions->cnt; i++)
        partitions->elems[i].offset = consume->time_ms;
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(consume->client, partitions, WAIT_MS);
    for (int i = 0; code == RD_KAFKA_RESP_ERR_NO_ERROR && i < partitions->cnt; i++)
        code = partitions->elems[i].err;
    return code;
}

/* Where the records of that time begin. False: reported. */
static bool seek_time(struct consume *consume)
{
    if (consume->time_ms < 0)
        return true;
    unsigned tries = 0;
    rd_kafka_resp_err_t code;
    do {
        code = query_times(consume);
    } while (ask_again(code, &tries));
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return true;
    fprintf(stderr, "weir consume: offsets by time: %s\n", rd_kafka_err2str(code));
    return false;
}

/* Where each partition ends now; those with nothing to read are left out. False: reported. */
static bool find_ends(struct consume *consume)
{
    for (int i = 0; consume->to_end && i < consume->partitions->cnt; i++) {
        const rd_kafka_topic_partition_t *partition = &consume->partitions->elems[i];
        int64_t low, high;
        unsigned tries = 0;
        rd_kafka_resp_err_t code;
        do {
            code = rd_kafka_query_watermark_offsets(consume->client, consume->topic,
                                                    partition->partition, &low, &high, WAIT_MS);
        } while (ask_again(code, &tries));
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            fprintf(stderr, "weir consume: %s: %s\n", consume->topic, rd_kafka_err2str(code));
            return false;
        }
        if (high > low && partition->offset != RD_KAFKA_OFFSET_END && partition->offset < high)
            rd_kafka_topic_partition_list_add(consume->ends, consume->topic, partition->partition)
                ->offset = high;
    }
    return true;
}

/*
 * Whether a record, or the end that the client tells of (record false), stands before its partition's
 * end. The partition is taken off the list when nothing before its end follows.
 */
static bool before_end(struct consume *consume, const rd_kafka_message_t *message, bool record)
{
    const rd_kafka_topic_partition_t *end =
        rd_kafka_topic_partition_list_find(consume->ends, consume->topic, message->partition);
    bool before = end && record && message->offset < end->offset;
    if (end && (!record || message->offset + 1 >= end->offset))
        rd_kafka_topic_partition_list_del(consume->ends, consume->topic, message->partition);
    return before;
}

/* False: the reading is over. */
static bool take(struct consume *consume, const rd_kafka_message_t *message, int *ret_status)
{
    bool record = message->err == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (!record && message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        fprintf(stderr, "weir consume: %s\n", rd_kafka_message_errstr(message));
        *ret_status = 1;
        return false;
    }
    if (consume->to_end && !before_end(consume, message, record))
        return consume->ends->cnt > 0;
    if (!record)
        return true;
    if (consume->json)
        format_write_json(stdout, message);
    else
        format_write(stdout, consume->format, message);
    consume->count++;
    return !ferror(stdout) && (!consume->to_end || consume->ends->cnt > 0) &&
           (consume->limit < 0 || consume->count < (uint64_t)consume->limit);
}

static int read_all(struct consume *consume)
{
    int status = 0;
    struct progress progress;
    progress_init(&progress, "records", 0);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    rd_kafka_assign(consume->client, consume->partitions);
    bool more = consume->limit != 0 && (!consume->to_end || consume->ends->cnt > 0);
    while (more && !interrupted) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consume->client, 100);
        if (!message) {
            fflush(stdout);
            continue;
        }
        more = take(consume, message, &status);
        rd_kafka_message_destroy(message);
        progress_update(&progress, consume->count);
    }
    progress_end(&progress);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "weir consume: standard output: %s\n", strerror(errno));
        status = 1;
    }
    return status;
}

static int run(struct consume *consume, const char *brokers, const struct arg_list *properties,
               int64_t partition)
{
    int status = 1;
    rd_kafka_conf_t *conf = kafka_client_conf(ENDPOINT_KAFKA(brokers), properties);
    if (!conf)
        return 1;
    rd_kafka_conf_set(conf, "enable.partition.eof", "true", NULL, 0);
    rd_kafka_conf_set(conf, "group.id", "weir-consume", NULL, 0);
    rd_kafka_conf_set(conf, "enable.auto.commit", "false", NULL, 0);
    /* With its default of 100,000 records the client pauses a full queue for a second. */
    rd_kafka_conf_set(conf, "queued.min.messages", "1000000", NULL, 0);
    rd_kafka_conf_set(conf, "queued.max.messages.kbytes", "131072", NULL, 0);
    consume->client = kafka_client_create(RD_KAFKA_CONSUMER, conf);
    if (!consume->client)
        return 1;
    consume->partitions = rd_kafka_topic_partition_list_new(16);
    consume->ends = rd_kafka_topic_partition_list_new(16);
    if (find_partitions(consume, partition) && seek_time(consume) && find_ends(consume))
        status = read_all(consume);
    rd_kafka_consumer_close(consume->client);
    rd_kafka_topic_partition_list_destroy(consume->partitions);
    rd_kafka_topic_partition_list_destroy(consume->ends);
    rd_kafka_destroy(consume->client);
    return status;
}

int cli_consume(int argc, char **argv)
{
    const char *brokers = NULL, *offset = "beginning", *format = "%s\\n", *wrong, *output = "text";
    int64_t partition = -1;
    struct consume consume = {.limit = -1};
    struct arg_list properties = {0};
    const struct arg_option options[] = {
        {"brokers", 'b', ARG_TEXT, &brokers, "HOST:PORT",
         "the Kafka door (default 127.0.0.1:9092, WEIR_KAFKA)", NULL, 0, 0},
        {"offset", 'o', ARG_TEXT, &offset, "WHERE",
         "beginning, end, N, -N before the end, s@MS (default beginning)", NULL, 0, 0},
        {"partition", 'p', ARG_INT, &partition, "N", "one partition (default: all)", NULL, 0,
         INT32_MAX},
        {"count", 'c', ARG_INT, &consume.limit, "N", "end after so many records", NULL, 0,
         INT64_MAX},
        {"exit", 'e', ARG_FLAG, &consume.to_end, "",
         "end at the ends that stand when reading begins", NULL, 0, 0},
        {"format", 'f', ARG_TEXT, &format, "FORMAT", "%t %p %o %k %K %s %S %T %h (default %s\\n)",
         NULL, 0, 0},
        {"json", 'J', ARG_FLAG, &consume.json, "",
         "one JSON object a record, with the keys of kcat -J", NULL, 0, 0},
        {"output", 0, ARG_CHOICE, &output, NULL, "jsonl is the same as -J", "text|jsonl", 0, 0},
        {"property", 'X', ARG_LIST, &properties, "NAME=VALUE", "a property of the client library",
         NULL, 0, 0},
        {0},
    };
    const struct arg_command command = {"consume",
                                        "TOPIC",
                                        "Reads records of a topic.",
                                        "example:\n  weir consume mytopic -e -f '%p:%o %k=%s\\n'",
                                        1,
                                        1,
                                        options};
    struct arg_operands operands;
    enum args_result result = args_parse(&command, argc, argv, &operands);
    if (result != ARGS_OK)
        return result == ARGS_DONE ? 0 : 2;
    struct bytebuf plain;
    bytebuf_init(&plain, 4096);
    int status;
    if (!format_unescape(format, &plain, &wrong))
        status = args_wrong(&command, "the format does not know '%.4s'", wrong ? wrong : format);
    else if (format_check(bytebuf_slice(&plain)))
        status = args_wrong(&command, "the format does not know '%.2s'",
                            format_check(bytebuf_slice(&plain)));
    else if (!parse_offset(&consume, offset))
        status =
            args_wrong(&command, "--offset takes beginning, end, N, -N or s@MS, not '%s'", offset);
    else {
        consume.topic = operands.items[0];
        consume.format = bytebuf_slice(&plain);
        consume.json |= strcmp(output, "jsonl") == 0;
        status = run(&consume, brokers, &properties, partition);
    }
    bytebuf_deinit(&plain);
    return status;
}
