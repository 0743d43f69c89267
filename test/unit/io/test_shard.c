/* Messages between real shards, accepts spread over them, and the stop by phases. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/fs.h"
#include "io/fs_sim.h"
#include "io/reactor.h"
#include "io/shard.h"
#include "io/sim.h"
#include "io/stream.h"

#define SHARDS 3
#define MESSAGES 5000u

struct flood {
    struct shards *shards;
    struct post start[SHARDS];
    unsigned seen[SHARDS][SHARDS]; /* [to][from]: next number expected */
    _Atomic unsigned arrived;
};

struct flood_msg {
    struct shard_msg msg;
    struct flood *flood;
    unsigned from;
    unsigned number;
};

static void flood_arrive(struct shard *to, struct shard_msg *msg)
{
    struct flood_msg *one = CONTAINER_OF(msg, struct flood_msg, msg);
    struct flood *flood = one->flood;
    if (flood->seen[to->index][one->from] != one->number)
        abort(); /* lost, doubled or out of order */
    flood->seen[to->index][one->from]++;
    free(one);
    if (atomic_fetch_add(&flood->arrived, 1) + 1 == SHARDS * SHARDS * MESSAGES)
        shards_stop(flood->shards);
}

static struct flood *flood_now;

static void flood_send(struct post *post)
{
    unsigned index = (unsigned)(post - flood_now->start);
    struct shard *from = shards_get(flood_now->shards, index);
    for (unsigned to = 0; to < SHARDS; to++) {
        for (unsigned i = 0; i < MESSAGES; i++) {
            struct flood_msg *one = calloc(1, sizeof(*one));
            if (!one)
                abort();
            *one = (struct flood_msg){
                .msg.fn = flood_arrive, .flood = flood_now, .from = index, .number = i};
            shard_send(from, shards_get(flood_now->shards, to), &one->msg);
        }
    }
}

static void test_messages(void **state)
{
    struct fs *fs = fs_posix_create();
    struct flood flood = {0};
    struct err_info info;
    struct shards_config config = {.count = SHARDS, .seed = 1, .fs = fs};
    assert_int_equal(shards_create(&config, &flood.shards, &info), ERR_OK);
    flood_now = &flood;
    for (unsigned i = 0; i < SHARDS; i++)
        reactor_post(shards_get(flood.shards, i)->reactor, &flood.start[i], flood_send);
    assert_int_equal(shards_run(flood.shards, NULL, NULL, &info), ERR_OK);
    assert_int_equal(flood.arrived, SHARDS * SHARDS * MESSAGES);
    shards_destroy(flood.shards);
    fs_destroy(fs);
}

static void test_post_refuses_when_full(void **state)
{
    struct fs *fs = fs_posix_create();
    struct shards *shards;
    struct err_info info;
    struct shards_config config = {.count = 2, .fs = fs};
    assert_int_equal(shards_create(&config, &shards, &info), ERR_OK);
    struct shard_msg msg = {.fn = flood_arrive};
    for (unsigned i = 0; i < SHARD_MAILBOX; i++)
        assert_true(shard_post(shards_get(shards, 0), shards_get(shards, 1), &msg));
    assert_false(shard_post(shards_get(shards, 0), shards_get(shards, 1), &msg));
    shards_destroy(shards);
    fs_destroy(fs);
}

/* ---- accepts ---- */

struct echo {
    struct shards *shards;
    struct post start;
    struct shard_listener *listener;
    _Atomic unsigned served[SHARDS];
    unsigned closed;
    unsigned clients;
    struct shard_stop stop;
    bool stop_seen;
};

static struct echo *echo_now;

static void echo_data(struct stream *stream, void *arg)
{
    stream_write(stream, stream_input(stream));
    stream_consume(stream, stream_input(stream).len);
}

static void echo_close(struct stream *stream, enum err reason, void *arg)
{
}

static const struct stream_ops echo_ops = {.on_data = echo_data, .on_close = echo_close};

static void echo_accept(struct shard *shard, struct conn *conn, void *arg)
{
    struct echo *echo = arg;
    struct stream_config config = {0};
    atomic_fetch_add(&echo->served[shard->index], 1);
    if (!stream_create(shard->reactor, conn, &config, &echo_ops, echo))
        abort();
}

static void client_data(struct stream *stream, void *arg)
{
    if (stream_input(stream).len < 5) {
        if (stream_need(stream, 5) != ERR_OK)
            abort();
        return;
    }
    if (!slice_equal(stream_input(stream), SLICE_LIT("hello")))
        abort();
    stream_consume(stream, 5);
    stream_close(stream);
}

static void client_close(struct stream *stream, enum err reason, void *arg)
{
    struct echo *echo = arg;
    if (reason != ERR_OK)
        abort();
    if (++echo->closed == echo->clients)
        kill(getpid(), SIGTERM);
}

static const struct stream_ops client_ops = {.on_data = client_data, .on_close = client_close};

static void echo_start(struct post *post)
{
    struct echo *echo = echo_now;
    for (unsigned i = 0; i < echo->clients; i++) {
        struct stream_config config = {0};
        struct err_info info;
        struct stream *stream =
            stream_connect(shards_get(echo->shards, 1)->reactor, "127.0.0.1",
                           shard_listener_port(echo->listener), &config, &client_ops, echo, &info);
        if (!stream)
            abort();
        stream_write(stream, SLICE_LIT("hello"));
    }
}

static void echo_stop(struct shard_stop *stop)
{
    echo_now->stop_seen = true;
    shard_stop_done(stop);
}

static void echo_running(void *arg)
{
    struct echo *echo = arg;
    reactor_post(shards_get(echo->shards, 1)->reactor, &echo->start, echo_start);
}

static void test_accept_spread(void **state)
{
    struct fs *fs = fs_posix_create();
    struct echo echo = {.clients = 3 * SHARDS};
    struct err_info info;
    struct shards_config config = {.count = SHARDS, .fs = fs};
    echo_now = &echo;
    assert_int_equal(shards_create(&config, &echo.shards, &info), ERR_OK);
    assert_int_equal(
        shards_listen(echo.shards, "127.0.0.1", 0, echo_accept, &echo, &echo.listener, &info),
        ERR_OK);
    shard_at_stop(shards_get(echo.shards, 2), SHARD_STOP_BROKER, &echo.stop, echo_stop);
    assert_int_equal(shards_run(echo.shards, echo_running, &echo, &info), ERR_OK);
    for (unsigned i = 0; i < SHARDS; i++)
        assert_int_equal(echo.served[i], 3);
    assert_true(echo.stop_seen);
    shards_destroy(echo.shards);
    fs_destroy(fs);
}

/* ---- phases ---- */

struct phase {
    struct shard_stop stop;
    struct timer timer;
    unsigned order;
};

static _Atomic unsigned phase_order;

static void phase_late(struct timer *timer)
{
    struct phase *phase = CONTAINER_OF(timer, struct phase, timer);
    phase->order = atomic_fetch_add(&phase_order, 1);
    shard_stop_done(&phase->stop);
}

static void phase_stop(struct shard_stop *stop)
{
    struct phase *phase = CONTAINER_OF(stop, struct phase, stop);
    timer_init(&phase->timer, phase_late);
    timer_arm(stop->shard->reactor, &phase->timer, 2000);
}

static void phase_running(void *arg)
{
    shards_stop(arg);
}

static void test_stop_phases(void **state)
{
    struct fs *fs = fs_posix_create();
    struct shards *shards;
    struct err_info info;
    struct shards_config config = {.count = 2, .fs = fs};
    assert_int_equal(shards_create(&config, &shards, &info), ERR_OK);
    struct phase phases[2][SHARD_STOP_PHASES];
    phase_order = 0;
    for (unsigned s = 0; s < 2; s++) {
        for (unsigned p = 0; p < SHARD_STOP_PHASES; p++)
            shard_at_stop(shards_get(shards, s), p, &phases[s][p].stop, phase_stop);
    }
    assert_int_equal(shards_run(shards, phase_running, shards, &info), ERR_OK);
    for (unsigned s = 0; s < 2; s++) {
        for (unsigned p = 0; p < SHARD_STOP_PHASES; p++)
            assert_int_equal(phases[s][p].order / 2, p);
    }
    shards_destroy(shards);
    fs_destroy(fs);
}

/* ---- a part that does not end ---- */

struct laggard {
    struct shard_stop stop;
    struct timer timer;
    uint64_t delay_us; /* 0: never */
    uint64_t asked_us;
};

static void laggard_late(struct timer *timer)
{
    struct laggard *laggard = CONTAINER_OF(timer, struct laggard, timer);
    shard_stop_done(&laggard->stop);
}

static void laggard_stop(struct shard_stop *stop)
{
    struct laggard *laggard = CONTAINER_OF(stop, struct laggard, stop);
    struct reactor *reactor = stop->shard->reactor;
    laggard->asked_us = reactor_now_us(reactor);
    timer_init(&laggard->timer, laggard_late);
    if (laggard->delay_us > 0)
        timer_arm(reactor, &laggard->timer, laggard->delay_us);
}

static bool host_has_stopped(void *arg)
{
    return sim_host_stopped(arg);
}

/* A phase is given up after ten seconds; what ends later, in another phase, upsets nothing. */
static void test_stop_late(void **state)
{
    struct sim_config config;
    struct fs_sim_config disk = {.seed = 1};
    struct err_info info;
    sim_config_init(&config, 11);
    struct sim *sim = sim_create(&config);
    struct fs *fs = fs_sim_create(&disk);
    struct sim_host *host = sim_host_create(sim, fs);
    struct shards *shards;
    struct shards_config two = {.count = 2, .fs = fs};
    assert_int_equal(sim_shards_create(host, &two, &shards, &info), ERR_OK);
    struct laggard never = {.delay_us = 0};
    struct laggard late = {.delay_us = 12000000};
    struct laggard quick = {.delay_us = 1};
    struct laggard next = {.delay_us = 5000000};
    shard_at_stop(shards_get(shards, 0), SHARD_STOP_FRONT, &never.stop, laggard_stop);
    shard_at_stop(shards_get(shards, 1), SHARD_STOP_FRONT, &late.stop, laggard_stop);
    shard_at_stop(shards_get(shards, 1), SHARD_STOP_FRONT, &quick.stop, laggard_stop);
    shard_at_stop(shards_get(shards, 1), SHARD_STOP_JOBS, &next.stop, laggard_stop);
    uint64_t start = sim_now_us(sim);
    shards_stop(shards);
    shards_stop(shards); /* twice is once */
    assert_true(shards_stopping(shards));
    assert_true(sim_run_until(sim, host_has_stopped, host, 60000000));
    assert_true(next.asked_us >= start + 10000000);
    assert_true(next.asked_us < start + 11000000);
    assert_true(late.stop.done && quick.stop.done && next.stop.done && !never.stop.done);
    assert_true(sim_now_us(sim) >= next.asked_us + 5000000);
    shards_destroy(shards);
    sim_destroy(sim);
    fs_destroy(fs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),      cmocka_unit_test(test_post_refuses_when_full),
        cmocka_unit_test(test_accept_spread), cmocka_unit_test(test_stop_phases),
        cmocka_unit_test(test_stop_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
