/*
 * The null broker: the least that a broker can do with a Produce request, as the yardstick of the
 * benchmarks. One thread, epoll; each request's batch is checked with CRC-32C and written to its
 * partition's file in the page cache, then answered. --sync: one fdatasync per written file before
 * the answers of a loop round, for those that asked for acks=all. Nothing can be read back.
 *
 * usage: null_broker DIR [--sync]      prints "listening PORT"
 *
 * Understands what bench/load.c sends: Produce version 7, one topic and one partition a request.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "bench/frame.h"

#define CONNS_MAX 1024
#define PARTITIONS_MAX 2048
#define INPUT_MAX (8u << 20)
#define OUTPUT_MAX (64u << 10)

struct null_conn {
    int fd;
    uint8_t *in;
    size_t in_len;
    uint8_t out[OUTPUT_MAX];
    size_t out_len;
    bool waits; /* has answers that wait for the sync */
};

struct partition_file {
    int fd;
    off_t size;
    bool dirty;
};

static struct null_conn conns[CONNS_MAX];
static struct partition_file files[PARTITIONS_MAX];
static const char *dir;

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(1);
}

static struct partition_file *open_partition(uint32_t partition)
{
    struct partition_file *file = &files[partition];
    if (file->fd == 0) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/%u.bin", dir, partition);
        file->fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
        if (file->fd < 0)
            fail(path);
    }
    return file;
}

/* One whole request; false: not ours, or damaged. */
static bool serve(struct null_conn *conn, const uint8_t *frame, size_t len, bool sync)
{
    struct bench_produce produce;
    if (!bench_produce_read(frame, len, &produce) || produce.partition >= PARTITIONS_MAX ||
        produce.batch_len < BENCH_BATCH_HEADER)
        return false;
    const uint8_t *batch = produce.batch;
    if (crc32c(0, batch + 21, produce.batch_len - 21) != bench_get_u32(batch + 17))
        return false;
    struct partition_file *file = open_partition(produce.partition);
    if (pwrite(file->fd, batch, produce.batch_len, file->size) != (ssize_t)produce.batch_len)
        fail("pwrite");
    file->size += (off_t)produce.batch_len;
    if (sync && produce.acks == -1)
        file->dirty = conn->waits = true;
    if (produce.acks != 0)
        conn->out_len += bench_answer_write(conn->out + conn->out_len, &produce);
    return true;
}

static void flush_answers(struct null_conn *conn)
{
    for (size_t done = 0; done < conn->out_len;) {
        ssize_t n = send(conn->fd, conn->out + done, conn->out_len - done, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    conn->out_len = 0;
    conn->waits = false;
}

/* False: the connection is over. */
static bool receive(struct null_conn *conn, bool sync)
{
    ssize_t n = recv(conn->fd, conn->in + conn->in_len, INPUT_MAX - conn->in_len, MSG_DONTWAIT);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    conn->in_len += (size_t)n;
    size_t at = 0;
    while (conn->in_len - at >= 4 && conn->out_len < OUTPUT_MAX - 512) {
        uint32_t len = bench_get_u32(conn->in + at);
        if (len > INPUT_MAX - 4)
            return false;
        if (conn->in_len - at - 4 < len)
            break;
        if (!serve(conn, conn->in + at + 4, len, sync))
            return false;
        at += 4 + len;
    }
    memmove(conn->in, conn->in + at, conn->in_len - at);
    conn->in_len -= at;
    return true;
}

static int listen_anywhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 1024) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        fail("listen");
    printf("listening %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void accept_conn(int listener, int epoll)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK), one = 1;
    for (size_t i = 0; fd >= 0 && i < CONNS_MAX; i++) {
        if (conns[i].in)
            continue;
        conns[i] = (struct null_conn){.fd = fd, .in = malloc(INPUT_MAX)};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        struct epoll_event event = {EPOLLIN, {.ptr = &conns[i]}};
        if (conns[i].in && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0)
            return;
    }
    if (fd >= 0)
        close(fd);
}

static void end_conn(struct null_conn *conn)
{
    close(conn->fd);
    free(conn->in);
    conn->in = NULL;
    conn->out_len = 0;
}

static void sync_files(void)
{
    for (size_t i = 0; i < PARTITIONS_MAX; i++) {
        if (files[i].dirty && fdatasync(files[i].fd) != 0)
            fail("fdatasync");
        files[i].dirty = false;
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: null_broker DIR [--sync]\n");
        return 2;
    }
    dir = argv[1];
    bool sync = argc > 2 && strcmp(argv[2], "--sync") == 0;
    int listener = listen_anywhere(), epoll = epoll_create1(0);
    struct epoll_event event = {EPOLLIN, {.ptr = NULL}}, ready[256];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int n = epoll_wait(epoll, ready, 256, -1);
        bool waits = false;
        for (int i = 0; i < n; i++) {
            struct null_conn *conn = ready[i].data.ptr;
            if (!conn)
                accept_conn(listener, epoll);
            else if (!receive(conn, sync))
                end_conn(conn);
            else if (!conn->waits)
                flush_answers(conn);
            else
                waits = true;
        }
        if (waits)
            sync_files();
        for (int i = 0; waits && i < n; i++) {
            struct null_conn *conn = ready[i].data.ptr;
            if (conn && conn->in && conn->waits)
                flush_answers(conn);
        }
    }
}
