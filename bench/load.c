/*
 * Load on a Produce port: replays one prepared request over many connections, from one thread.
 *
 * usage: load HOST PORT TOPIC --partitions P --connections C --inflight N --record BYTES
 *             --batch BYTES --acks -1|0|1 --requests N [--warmup N]
 *
 * Prints one JSON object: requests, bytes, seconds, p50_us, p99_us. The record batch is built once;
 * only correlation id and partition differ between requests, so that the generator stays far below
 * the cost of what it measures. Exit 1 on any error answer.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "bench/frame.h"
#include "cli/args.h"
#include "seglog/batch.h"

#define CONNS_MAX 1024
#define INFLIGHT_MAX 64

struct load_conn {
    int fd;
    uint8_t head[256];
    size_t head_len;
    size_t sent; /* of the request being written, 0: none */
    bool writing;
    uint64_t started_ns[INFLIGHT_MAX]; /* ring by correlation id */
    uint32_t next, oldest;
    uint8_t in[4096];
    size_t in_len;
};

struct load {
    int64_t partitions, connections, inflight, record, batch_bytes, acks, requests, warmup;
    const char *topic;
    struct iobuf_range batch;
    struct load_conn *conns;
    int epoll;
    uint64_t issued, answered, bytes, partition;
    uint64_t *latencies;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "load: %s\n", what);
    exit(1);
}

static void build_batch(struct load *load)
{
    struct batch_builder builder;
    struct random random;
    uint8_t *value = malloc((size_t)load->record);
    random_init(&random, 1);
    batch_builder_init(&builder, (size_t)load->batch_bytes + (size_t)load->record + 1024);
    if (!value)
        fail("out of memory");
    random_fill(&random, value, (uint32_t)load->record);
    do {
        struct batch_build_record record = {.value = slice_make(value, (size_t)load->record), .timestamp_ms = 1};
        if (batch_builder_add(&builder, &record) != ERR_OK)
            fail("cannot build a batch of that size");
    } while (batch_builder_size(&builder) + (size_t)load->record + 16 < (size_t)load->batch_bytes);
    batch_builder_finish(&builder, &load->batch);
    batch_builder_deinit(&builder);
    free(value);
}

static void connect_all(struct load *load, const char *host, const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    int one = 1;
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        fail("the host is not a numeric address");
    for (int64_t i = 0; i < load->connections; i++) {
        struct load_conn *conn = &load->conns[i];
        conn->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (conn->fd < 0 || connect(conn->fd, (struct sockaddr *)&address, sizeof(address)) != 0)
            fail("cannot connect");
        setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLET, {.ptr = conn}};
        epoll_ctl(load->epoll, EPOLL_CTL_ADD, conn->fd, &event);
    }
}

static void begin_request(struct load *load, struct load_conn *conn)
{
    struct bench_produce produce = {
        .correlation = conn->next,
        .acks = (int16_t)load->acks,
        .topic = (const uint8_t *)load->topic,
        .topic_len = (uint16_t)strlen(load->topic),
        .partition = (uint32_t)(load->partition++ % (uint64_t)load->partitions),
        .batch_len = (uint32_t)load->batch.bytes.len,
    };
    conn->head_len = bench_produce_head(produce.topic_len);
    bench_produce_write(conn->head, &produce);
    conn->started_ns[conn->next++ % INFLIGHT_MAX] = now_ns();
    conn->writing = true;
    conn->sent = 0;
    load->issued++;
}

/* Writes until the socket is full or the window is. */
static void push(struct load *load, struct load_conn *conn, uint64_t total)
{
    for (;;) {
        if (!conn->writing) {
            if (load->issued == total || conn->next - conn->oldest >= (uint32_t)load->inflight)
                return;
            begin_request(load, conn);
        }
        size_t all = conn->head_len + load->batch.bytes.len;
        size_t from = conn->sent < conn->head_len ? conn->sent : conn->head_len;
        size_t body = conn->sent - from;
        struct iovec parts[2] = {{conn->head + from, conn->head_len - from},
                                 {(uint8_t *)load->batch.bytes.data + body, load->batch.bytes.len - body}};
        ssize_t n = writev(conn->fd, parts, 2);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            fail("the connection was lost");
        conn->sent += (size_t)n;
        if (conn->sent < all)
            continue;
        conn->writing = false;
        load->bytes += all;
        if (load->acks == 0) {
            conn->oldest = conn->next;
            load->answered++;
        }
    }
}

static void take_answers(struct load *load, struct load_conn *conn)
{
    for (;;) {
        ssize_t n = recv(conn->fd, conn->in + conn->in_len, sizeof(conn->in) - conn->in_len, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            fail("the server closed a connection");
        conn->in_len += (size_t)n;
        size_t at = 0;
        while (conn->in_len - at >= 4) {
            uint32_t len = bench_get_u32(conn->in + at), correlation = 0;
            if (len > sizeof(conn->in) - 4)
                fail("an answer is too long");
            if (conn->in_len - at - 4 < len)
                break;
            int16_t code = bench_answer_read(conn->in + at + 4, len, &correlation);
            if (code != 0 || correlation != conn->oldest) {
                fprintf(stderr, "load: answer %u has error code %d\n", correlation, code);
                exit(1);
            }
            load->latencies[load->answered++] = now_ns() - conn->started_ns[conn->oldest++ % INFLIGHT_MAX];
            at += 4 + len;
        }
        memmove(conn->in, conn->in + at, conn->in_len - at);
        conn->in_len -= at;
    }
}

/* Issues requests until `total` in all were answered; returns the seconds it took. */
static double run(struct load *load, uint64_t total)
{
    struct epoll_event ready[256];
    uint64_t started = now_ns();
    for (int64_t i = 0; i < load->connections; i++)
        push(load, &load->conns[i], total);
    while (load->answered < total) {
        int n = epoll_wait(load->epoll, ready, 256, 10000);
        if (n == 0)
            fail("no answer for ten seconds");
        for (int i = 0; i < n; i++) {
            take_answers(load, ready[i].data.ptr);
            push(load, ready[i].data.ptr, total);
        }
    }
    return (double)(now_ns() - started) / 1e9;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void report(struct load *load, double seconds, uint64_t bytes)
{
    uint64_t *sorted = load->latencies + load->warmup, count = (uint64_t)load->requests;
    if (load->acks == 0)
        memset(load->latencies, 0, (size_t)(load->warmup + load->requests) * sizeof(*load->latencies));
    qsort(sorted, count, sizeof(*sorted), compare_u64);
    printf("{\"requests\": %llu, \"bytes\": %llu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
           (unsigned long long)count, (unsigned long long)bytes, seconds, (double)sorted[count / 2] / 1e3,
           (double)sorted[count * 99 / 100] / 1e3);
}

int main(int argc, char **argv)
{
    struct load load = {.partitions = 1, .connections = 1, .inflight = 1, .record = 1024, .batch_bytes = 1 << 20,
                        .acks = 1, .requests = 1000, .warmup = 100};
    const struct arg_option options[] = {
        {"partitions", 0, ARG_INT, &load.partitions, "N", "", NULL, 1, 100000},
        {"connections", 0, ARG_INT, &load.connections, "N", "", NULL, 1, CONNS_MAX},
        {"inflight", 0, ARG_INT, &load.inflight, "N", "requests in flight a connection", NULL, 1, INFLIGHT_MAX},
        {"record", 0, ARG_INT, &load.record, "BYTES", "", NULL, 1, 1 << 20},
        {"batch", 0, ARG_INT, &load.batch_bytes, "BYTES", "", NULL, 1, 8 << 20},
        {"acks", 0, ARG_INT, &load.acks, "N", "", NULL, -1, 1},
        {"requests", 0, ARG_INT, &load.requests, "N", "", NULL, 1, 100000000},
        {"warmup", 0, ARG_INT, &load.warmup, "N", "", NULL, 0, 100000000},
        {0},
    };
    const struct arg_command command = {"load", "HOST PORT TOPIC", "Loads a Produce port.", NULL, 3, 3, options};
    struct arg_operands operands;
    enum args_result result = args_parse(&command, argc - 1, argv + 1, &operands);
    if (result != ARGS_OK)
        return result == ARGS_DONE ? 0 : 2;
    load.topic = operands.items[2];
    load.conns = calloc((size_t)load.connections, sizeof(*load.conns));
    load.latencies = malloc((size_t)(load.requests + load.warmup) * sizeof(*load.latencies));
    load.epoll = epoll_create1(0);
    if (!load.conns || !load.latencies || load.epoll < 0 || strlen(load.topic) > BENCH_TOPIC_MAX)
        fail("out of memory, or the topic's name is too long");
    memset(load.latencies, 1, (size_t)(load.requests + load.warmup) * sizeof(*load.latencies));
    build_batch(&load);
    connect_all(&load, operands.items[0], operands.items[1]);
    run(&load, (uint64_t)load.warmup);
    uint64_t before = load.bytes;
    double seconds = run(&load, (uint64_t)(load.warmup + load.requests));
    report(&load, seconds, load.bytes - before);
    return 0;
}
