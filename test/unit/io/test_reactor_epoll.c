/* What only the real reactor meets: a process out of descriptors, and a kernel that refuses its set. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "io/fault.h"
#include "rig.h"

static uint64_t clock_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* A blocking client socket, connected to the listener's backlog. */
static int dial(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static bool hung_up(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN);
}

static void count_accept(void *arg, struct conn *conn)
{
    (*(unsigned *)arg)++;
    conn_close(conn);
}

/*
 * Not even the spare descriptor helps: the listener rests instead of reporting the same connection
 * for ever, and serves it when there are descriptors again.
 */
static void test_no_descriptors(void **state)
{
    enum { TURNS = 8, WAIT_US = 10000 };
    struct rig *rig = *state;
    struct listener *listener;
    struct err_info info;
    unsigned accepted = 0;
    assert_int_equal(
        reactor_listen(rig->reactor, "127.0.0.1", 0, count_accept, &accepted, &listener, &info),
        ERR_OK);
    int client = dial(listener_port(listener));
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    uint64_t start = clock_us();
    for (int i = 0; i < TURNS; i++)
        rig->step(rig); /* waits WAIT_US when there is nothing to do */
    uint64_t took = clock_us() - start;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(accepted, 0);
    assert_true(took >= (TURNS - 2) * WAIT_US); /* a turn for the failure, one for a timer */
    RIG_UNTIL(rig, accepted == 1);
    /* The spare is back as well: descriptors run out again, and the connection is dropped. */
    int second = dial(listener_port(listener));
    struct rlimit full = {.rlim_cur = 64, .rlim_max = before.rlim_max}; /* above all that is open */
    int filler[64];
    unsigned fillers = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &full), 0);
    while (fillers < 64 && (filler[fillers] = dup(0)) >= 0)
        fillers++;
    assert_true(fillers < 64);
    RIG_UNTIL(rig, hung_up(second)); /* an end or a reset, not silence */
    assert_int_equal(accepted, 1);
    while (fillers > 0)
        close(filler[--fillers]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    close(second);
    close(client);
    listener_close(listener);
}

struct lost_end {
    struct conn *conn;
    bool lost;
};

static void lost_readable(struct conn *conn, void *arg)
{
    struct lost_end *end = arg;
    char byte;
    size_t len;
    enum conn_io io = conn_recv(conn, &byte, 1, &len);
    end->lost |= io == CONN_LOST;
    if (io != CONN_AGAIN)
        conn_want(conn, false, false);
}

static void lost_writable(struct conn *conn, void *arg)
{
    conn_want(conn, true, false);
}

static const struct conn_ops lost_ops = {lost_readable, lost_writable};

static void lost_accept(void *arg, struct conn *conn)
{
    struct lost_end *end = arg;
    end->conn = conn;
}

/* The kernel takes no more descriptors into the set: the owner of the connection hears of it. */
static void test_watch_refused(void **state)
{
    struct rig *rig = *state;
    struct listener *listener;
    struct err_info info;
    struct lost_end end = {0};
    assert_int_equal(
        reactor_listen(rig->reactor, "127.0.0.1", 0, lost_accept, &end, &listener, &info), ERR_OK);
    int client = dial(listener_port(listener));
    RIG_UNTIL(rig, end.conn != NULL);
    assert_true(conn_adopt(rig->reactor, end.conn, &lost_ops, &end));
    conn_want(end.conn, false, false);
    assert_true(fault_arm("net.watch", 0, 1, ERR_LIMIT));
    conn_want(end.conn, true, false);
    assert_int_equal(fault_fired("net.watch"), 1);
    fault_disarm_all();
    RIG_UNTIL(rig, end.lost);
    conn_want(end.conn, true, false); /* asks once more, is told once more */
    end.lost = false;
    RIG_UNTIL(rig, end.lost);
    conn_want(end.conn, true, false);
    conn_close(end.conn); /* no callback after it */
    end.lost = false;
    rig->step(rig);
    assert_false(end.lost);
    close(client);
    listener_close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"no descriptors", test_no_descriptors, rig_epoll_setup, rig_teardown, NULL},
        {"watch refused", test_watch_refused, rig_epoll_setup, rig_teardown, NULL},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
