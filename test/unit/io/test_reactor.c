/* Timers, hooks, work, posts and sockets: the same body on the epoll and on the simulated reactor.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "rig.h"

struct fired {
    struct timer timer;
    struct reactor *reactor;
    unsigned count;
    uint64_t at_us;
    unsigned order;
};

static unsigned fired_order;

static void fired_run(struct timer *timer)
{
    struct fired *fired = CONTAINER_OF(timer, struct fired, timer);
    fired->count++;
    fired->order = ++fired_order;
    fired->at_us = reactor_now_us(fired->reactor);
}

static void test_timer_order(void **state)
{
    struct rig *rig = *state;
    struct fired fired[4];
    static const uint64_t delays[4] = {3000, 1000, 2000, 1000};
    fired_order = 0;
    uint64_t start = reactor_now_us(rig->reactor);
    for (int i = 0; i < 4; i++) {
        fired[i] = (struct fired){.reactor = rig->reactor};
        timer_init(&fired[i].timer, fired_run);
        timer_arm(rig->reactor, &fired[i].timer, delays[i]);
    }
    RIG_UNTIL(rig, fired[0].count == 1);
    assert_int_equal(fired[1].order, 1);
    assert_int_equal(fired[3].order, 2);
    assert_int_equal(fired[2].order, 3);
    assert_int_equal(fired[0].order, 4);
    for (int i = 0; i < 4; i++) {
        assert_true(fired[i].at_us >= start + delays[i]);
        assert_false(timer_armed(&fired[i].timer));
    }
}

static void test_timer_cancel(void **state)
{
    struct rig *rig = *state;
    struct fired gone = {.reactor = rig->reactor};
    struct fired moved = {.reactor = rig->reactor};
    struct fired last = {.reactor = rig->reactor};
    timer_init(&gone.timer, fired_run);
    timer_init(&moved.timer, fired_run);
    timer_init(&last.timer, fired_run);
    timer_arm(rig->reactor, &gone.timer, 1000);
    timer_arm(rig->reactor, &moved.timer, 1000);
    timer_arm(rig->reactor, &moved.timer, 400000); /* far enough for a slow machine */
    timer_arm(rig->reactor, &last.timer, 3000);
    timer_cancel(rig->reactor, &gone.timer);
    timer_cancel(rig->reactor, &gone.timer);
    RIG_UNTIL(rig, last.count == 1);
    assert_int_equal(gone.count, 0);
    RIG_UNTIL(rig, moved.count == 1);
    assert_true(moved.order > last.order); /* one turn may serve both, when it comes late */
}

/* A model of many timers: arm, move and cancel at random, and compare with what must fire. */
static void test_timer_many(void **state)
{
    enum { COUNT = 500 };
    struct rig *rig = *state;
    struct fired *fired = calloc(COUNT, sizeof(*fired));
    struct random random;
    random_init(&random, 7);
    for (int i = 0; i < COUNT; i++) {
        fired[i].reactor = rig->reactor;
        timer_init(&fired[i].timer, fired_run);
    }
    for (int i = 0; i < 4 * COUNT; i++) {
        struct fired *one = &fired[random_below(&random, COUNT)];
        if (random_one_in(&random, 4))
            timer_cancel(rig->reactor, &one->timer);
        else
            timer_arm(rig->reactor, &one->timer, random_below(&random, 20000));
    }
    unsigned armed = 0;
    for (int i = 0; i < COUNT; i++)
        armed += timer_armed(&fired[i].timer);
    fired_order = 0;
    RIG_UNTIL(rig, fired_order == armed);
    for (int i = 0; i < COUNT; i++) {
        for (int k = 0; k < COUNT; k++) {
            if (fired[i].count && fired[k].count &&
                fired[i].timer.deadline_us < fired[k].timer.deadline_us)
                assert_true(fired[i].order < fired[k].order);
        }
    }
    free(fired);
}

struct hooked {
    struct hook hook;
    struct reactor *reactor;
    unsigned count;
    bool again;
};

static void hooked_run(struct hook *hook)
{
    struct hooked *hooked = CONTAINER_OF(hook, struct hooked, hook);
    hooked->count++;
    if (hooked->again) {
        hooked->again = false;
        reactor_at_turn_end(hooked->reactor, hook);
        assert_int_equal(hooked->count, 1); /* not run inside the call */
    }
}

static void test_hook(void **state)
{
    struct rig *rig = *state;
    struct hooked hooked = {.reactor = rig->reactor, .again = true};
    struct hooked gone = {.reactor = rig->reactor};
    hook_init(&hooked.hook, hooked_run);
    hook_init(&gone.hook, hooked_run);
    reactor_at_turn_end(rig->reactor, &hooked.hook);
    reactor_at_turn_end(rig->reactor, &hooked.hook);
    reactor_at_turn_end(rig->reactor, &gone.hook);
    reactor_hook_cancel(&gone.hook);
    RIG_UNTIL(rig, hooked.count == 2);
    assert_int_equal(gone.count, 0);
}

struct job {
    struct work work;
    unsigned input;
    unsigned result;
    unsigned *done_count;
};

static void job_run(struct work *work)
{
    struct job *job = CONTAINER_OF(work, struct job, work);
    job->result = job->input * 2;
}

static void job_done(struct work *work)
{
    (*CONTAINER_OF(work, struct job, work)->done_count)++;
}

static void test_work(void **state)
{
    enum { COUNT = 200 };
    struct rig *rig = *state;
    struct job *jobs = calloc(COUNT, sizeof(*jobs));
    unsigned done = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        jobs[i].input = i;
        jobs[i].done_count = &done;
        reactor_work_lane(rig->reactor, &jobs[i].work, i % 3 == 0 ? WORK_SLOW : WORK_FAST, job_run,
                          job_done);
    }
    assert_int_equal(done, 0);
    RIG_UNTIL(rig, done == COUNT);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(jobs[i].result, 2 * i);
    free(jobs);
}

struct letter {
    struct post post;
    struct reactor *reactor;
    unsigned count;
};

static void letter_run(struct post *post)
{
    CONTAINER_OF(post, struct letter, post)->count++;
}

static void *letter_thread(void *arg)
{
    struct letter *letter = arg;
    reactor_post(letter->reactor, &letter->post, letter_run);
    return NULL;
}

static void test_post(void **state)
{
    struct rig *rig = *state;
    struct letter letter = {.reactor = rig->reactor};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, letter_thread, &letter), 0);
    pthread_join(thread, NULL);
    RIG_UNTIL(rig, letter.count == 1);
}

/* ---- sockets ---- */

struct end {
    struct conn *conn;
    struct reactor *reactor;
    uint8_t got[256];
    size_t got_len;
    unsigned writable;
    bool ended;
    bool lost;
};

static void end_readable(struct conn *conn, void *arg)
{
    struct end *end = arg;
    size_t len;
    enum conn_io io =
        conn_recv(conn, end->got + end->got_len, sizeof(end->got) - end->got_len, &len);
    end->got_len += len;
    end->ended |= io == CONN_EOF;
    end->lost |= io == CONN_LOST;
    if (io == CONN_EOF || io == CONN_LOST)
        conn_want(conn, false, false);
}

static void end_writable(struct conn *conn, void *arg)
{
    struct end *end = arg;
    end->writable++;
    conn_want(conn, true, false);
}

static const struct conn_ops end_ops = {end_readable, end_writable};

static void end_accept(void *arg, struct conn *conn)
{
    struct end *end = arg;
    if (!conn_adopt(end->reactor, conn, &end_ops, end))
        fail();
    end->conn = conn;
}

static void end_send(struct rig *rig, struct end *end, const char *text)
{
    struct slice parts[2] = {slice_make(text, 1), slice_make(text + 1, strlen(text) - 1)};
    size_t len = strlen(text);
    size_t sent = 0;
    while (sent < len) {
        struct slice rest[2] = {slice_sub(parts[0], sent, 1),
                                slice_sub(parts[1], sent > 1 ? sent - 1 : 0, len)};
        size_t n;
        enum conn_io io =
            sent == 0 ? conn_sendv(end->conn, rest, 2, &n) : conn_sendv(end->conn, rest + 1, 1, &n);
        assert_true(io == CONN_OK || io == CONN_AGAIN);
        sent += n;
        if (io == CONN_AGAIN)
            rig->step(rig);
    }
}

static void test_conn(void **state)
{
    struct rig *rig = *state;
    struct end server = {.reactor = rig->reactor};
    struct end client = {.reactor = rig->reactor};
    struct listener *listener;
    struct err_info info;
    assert_int_equal(
        reactor_listen(rig->reactor, "127.0.0.1", 0, end_accept, &server, &listener, &info),
        ERR_OK);
    uint16_t port = listener_port(listener);
    assert_int_not_equal(port, 0);
    char expected[32];
    snprintf(expected, sizeof(expected), "127.0.0.1:%u", port);
    assert_string_equal(listener_address(listener), expected);
    assert_int_equal(
        reactor_connect(rig->reactor, "localhost", port, &end_ops, &client, &client.conn, &info),
        ERR_OK);
    RIG_UNTIL(rig, server.conn && client.writable > 0);
    assert_true(conn_is_loopback(server.conn));
    assert_string_equal(conn_local(server.conn), expected);
    assert_string_equal(conn_peer(client.conn), expected);
    end_send(rig, &client, "question");
    RIG_UNTIL(rig, server.got_len == 8);
    assert_memory_equal(server.got, "question", 8);
    end_send(rig, &server, "answer");
    RIG_UNTIL(rig, client.got_len == 6);
    assert_memory_equal(client.got, "answer", 6);
    conn_shutdown(client.conn);
    RIG_UNTIL(rig, server.ended);
    end_send(rig, &server, "bye");
    RIG_UNTIL(rig, client.got_len == 9);
    conn_close(server.conn);
    RIG_UNTIL(rig, client.ended || client.lost);
    conn_close(client.conn);
    listener_close(listener);
    rig->step(rig);
}

static void test_conn_refused(void **state)
{
    struct rig *rig = *state;
    struct end client = {.reactor = rig->reactor};
    struct listener *listener;
    struct err_info info;
    assert_int_equal(
        reactor_listen(rig->reactor, "127.0.0.1", 0, end_accept, &client, &listener, &info),
        ERR_OK);
    uint16_t port = listener_port(listener);
    listener_close(listener);
    rig->step(rig);
    enum err err =
        reactor_connect(rig->reactor, "127.0.0.1", port, &end_ops, &client, &client.conn, &info);
    if (err != ERR_OK) {
        assert_int_equal(err, ERR_CONNECTION_LOST);
        return;
    }
    RIG_UNTIL(rig, client.lost);
    conn_close(client.conn);
}

static void test_listen_errors(void **state)
{
    struct rig *rig = *state;
    struct end end = {.reactor = rig->reactor};
    struct listener *first;
    struct listener *second;
    struct err_info info;
    assert_int_equal(reactor_listen(rig->reactor, "127.0.0.1", 0, end_accept, &end, &first, &info),
                     ERR_OK);
    uint16_t port = listener_port(first);
    assert_int_equal(
        reactor_listen(rig->reactor, "127.0.0.1", port, end_accept, &end, &second, &info),
        ERR_PORT_IN_USE);
    assert_non_null(strstr(info.text, "127.0.0.1 port"));
    assert_null(second);
    assert_int_equal(
        reactor_listen(rig->reactor, "no.such.name", 0, end_accept, &end, &second, &info),
        ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(info.text, "no.such.name"));
    listener_close(first);
    rig->step(rig);
}

#define BOTH(test)                                                                                 \
    {#test " on epoll", test, rig_epoll_setup, rig_teardown, NULL},                                \
    {                                                                                              \
#test " in the simulator", test, rig_sim_setup, rig_teardown, NULL                         \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_timer_order), BOTH(test_timer_cancel), BOTH(test_timer_many),
        BOTH(test_hook),        BOTH(test_work),         BOTH(test_post),
        BOTH(test_conn),        BOTH(test_conn_refused), BOTH(test_listen_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
