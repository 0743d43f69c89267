/*
 * The simulated world's own promises: one seed is one run, time only goes forward, bytes keep their
 * order on a connection, cuts reach both ends, and a dead host stays dead.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "io/reactor.h"
#include "io/sim.h"

enum { CONNS = 4, BYTES = 20000 };

/* One end of a conversation: sends a counting pattern and checks what comes. */
struct talker {
    struct reactor *reactor;
    struct conn *conn;
    size_t sent;
    size_t got;
    size_t goal; /* bytes to send */
    bool ended;
    bool lost;
    uint64_t order; /* of the first byte, over all conversations */
};

struct scene {
    struct sim *sim;
    struct sim_host *host[2];
    struct reactor *reactor[2];
    struct listener *listener;
    struct talker server[CONNS];
    struct talker client[CONNS];
    unsigned accepted;
};

static uint64_t first_bytes;

static void talker_send(struct talker *t)
{
    while (t->sent < t->goal) {
        uint8_t data[700];
        size_t len = t->goal - t->sent < sizeof(data) ? t->goal - t->sent : sizeof(data);
        for (size_t i = 0; i < len; i++)
            data[i] = (uint8_t)((t->sent + i) * 7);
        struct slice part = slice_make(data, len);
        size_t put;
        enum conn_io io = conn_sendv(t->conn, &part, 1, &put);
        if (io != CONN_OK) {
            t->lost |= io == CONN_LOST;
            conn_want(t->conn, !t->lost, !t->lost);
            return;
        }
        t->sent += put;
    }
    conn_want(t->conn, true, false);
}

static void talker_readable(struct conn *conn, void *arg)
{
    struct talker *t = arg;
    uint8_t data[512];
    size_t len;
    enum conn_io io;
    while ((io = conn_recv(conn, data, sizeof(data), &len)) == CONN_OK) {
        if (t->got == 0)
            t->order = ++first_bytes;
        for (size_t i = 0; i < len; i++)
            assert_int_equal(data[i], (uint8_t)((t->got + i) * 7)); /* in order, none missing */
        t->got += len;
    }
    t->lost |= io == CONN_LOST;
    t->ended |= io == CONN_EOF;
    if (t->lost || t->ended)
        conn_want(conn, false, false);
}

static void talker_writable(struct conn *conn, void *arg)
{
    talker_send(arg);
}

static const struct conn_ops talker_ops = {talker_readable, talker_writable};

static void scene_accept(void *arg, struct conn *conn)
{
    struct scene *scene = arg;
    struct talker *t = &scene->server[scene->accepted++];
    *t = (struct talker){.reactor = scene->reactor[0], .conn = conn, .goal = BYTES};
    assert_true(conn_adopt(scene->reactor[0], conn, &talker_ops, t));
    talker_send(t);
}

static void scene_begin(struct scene *scene, const struct sim_config *config)
{
    struct err_info info;
    memset(scene, 0, sizeof(*scene));
    first_bytes = 0;
    scene->sim = sim_create(config);
    for (int i = 0; i < 2; i++) {
        scene->host[i] = sim_host_create(scene->sim, NULL);
        scene->reactor[i] = sim_host_reactor(scene->host[i]);
    }
    assert_int_equal(
        reactor_listen(scene->reactor[0], "", 0, scene_accept, scene, &scene->listener, &info),
        ERR_OK);
    uint16_t port = listener_port(scene->listener);
    for (int i = 0; i < CONNS; i++) {
        struct talker *t = &scene->client[i];
        *t = (struct talker){.reactor = scene->reactor[1], .goal = BYTES};
        assert_int_equal(
            reactor_connect(scene->reactor[1], "127.0.0.1", port, &talker_ops, t, &t->conn, &info),
            ERR_OK);
    }
}

static bool scene_all_through(void *arg)
{
    struct scene *scene = arg;
    for (int i = 0; i < CONNS; i++) {
        if (scene->client[i].got < BYTES || scene->server[i].got < BYTES)
            return false;
    }
    return true;
}

static void scene_end(struct scene *scene)
{
    for (int i = 0; i < CONNS; i++) {
        if (sim_host_alive(scene->host[1]))
            conn_close(scene->client[i].conn);
        if (i < (int)scene->accepted && sim_host_alive(scene->host[0]))
            conn_close(scene->server[i].conn);
    }
    if (sim_host_alive(scene->host[0]))
        listener_close(scene->listener);
    sim_destroy(scene->sim);
}

static uint64_t scene_run(uint64_t seed, uint64_t *ret_us, uint64_t *ret_order)
{
    struct scene scene;
    struct sim_config config;
    sim_config_init(&config, seed);
    config.window = 3000; /* small, so that both sides wait for room */
    scene_begin(&scene, &config);
    assert_true(sim_run_until(scene.sim, scene_all_through, &scene, 100000000));
    *ret_us = sim_now_us(scene.sim);
    *ret_order = 0;
    for (int i = 0; i < CONNS; i++)
        *ret_order = *ret_order * 16 + scene.client[i].order;
    uint64_t trace = sim_trace(scene.sim);
    scene_end(&scene);
    return trace;
}

/* Equal seeds, equal runs; other seeds run otherwise, and bring the links to life in other orders. */
static void test_seeds(void **state)
{
    uint64_t orders[12];
    unsigned different = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        uint64_t us[2];
        uint64_t order[2];
        uint64_t trace = scene_run(seed, &us[0], &order[0]);
        assert_true(trace == scene_run(seed, &us[1], &order[1]));
        assert_true(us[0] == us[1] && order[0] == order[1]);
        uint64_t next = scene_run(seed + 100, &us[1], &order[1]);
        assert_true(trace != next);
        orders[seed - 1] = order[0];
        different += seed > 1 && orders[seed - 1] != orders[0];
    }
    assert_true(different > 0);
}

static bool scene_all_lost(void *arg)
{
    struct scene *scene = arg;
    for (int i = 0; i < CONNS; i++) {
        if (!scene->client[i].lost || (i < (int)scene->accepted && !scene->server[i].lost))
            return false;
    }
    return true;
}

static bool scene_all_stand(void *arg)
{
    struct scene *scene = arg;
    if (scene->accepted < CONNS)
        return false;
    for (int i = 0; i < CONNS; i++) {
        if (scene->client[i].got == 0 || scene->server[i].got == 0)
            return false;
    }
    return true;
}

/* A cut is seen at both ends; what was received before it was whole and in order. */
static void test_cut(void **state)
{
    struct scene scene;
    struct sim_config config;
    sim_config_init(&config, 5);
    config.window = 100; /* nobody is through before the cut */
    scene_begin(&scene, &config);
    assert_true(sim_run_until(scene.sim, scene_all_stand, &scene, 10000000));
    sim_host_cut(scene.host[1]);
    assert_true(sim_run_until(scene.sim, scene_all_lost, &scene, 10000000));
    scene_end(&scene);
    /* By odds: every conversation long enough meets its cut. */
    config.cut_odds = 20;
    scene_begin(&scene, &config);
    assert_true(sim_run_until(scene.sim, scene_all_lost, &scene, 1000000000));
    scene_end(&scene);
}

/* Nothing of a dead host runs; its peers see their connections break. */
static void test_kill(void **state)
{
    struct scene scene;
    struct sim_config config;
    sim_config_init(&config, 6);
    config.window = 100;
    scene_begin(&scene, &config);
    assert_true(sim_run_until(scene.sim, scene_all_stand, &scene, 10000000));
    sim_host_kill(scene.host[0]);
    sim_host_kill(scene.host[0]); /* twice is once */
    assert_false(sim_host_alive(scene.host[0]));
    size_t got[CONNS];
    for (int i = 0; i < CONNS; i++)
        got[i] = scene.server[i].got;
    sim_run_for(scene.sim, 1000000);
    for (int i = 0; i < CONNS; i++) {
        assert_true(scene.client[i].lost);
        assert_true(scene.server[i].got == got[i]);
    }
    scene_end(&scene);
}

static void clock_due(struct timer *timer)
{
}

/* Virtual time: a timer of an hour takes no time, the wall clock may be moved, the other not. */
static void test_clocks(void **state)
{
    struct sim_config config;
    sim_config_init(&config, 7);
    struct sim *sim = sim_create(&config);
    struct reactor *reactor = sim_host_reactor(sim_host_create(sim, NULL));
    assert_int_equal(*sim_wall_ms(sim), config.wall_ms);
    uint64_t start = sim_now_us(sim);
    struct timer timer;
    timer_init(&timer, clock_due);
    timer_arm(reactor, &timer, UINT64_C(3600000000));
    sim_run_for(sim, UINT64_C(3600000000) - 1);
    assert_true(timer_armed(&timer));
    sim_run_for(sim, 1);
    assert_false(timer_armed(&timer));
    assert_true(sim_now_us(sim) == start + UINT64_C(3600000000));
    assert_int_equal(*sim_wall_ms(sim), config.wall_ms + 3600000);
    sim_wall_shift(sim, -7200000);
    assert_int_equal(*sim_wall_ms(sim), config.wall_ms - 3600000);
    assert_true(sim_now_us(sim) == start + UINT64_C(3600000000));
    sim_run_for(sim, 5000);
    assert_int_equal(*sim_wall_ms(sim), config.wall_ms - 3600000 + 5);
    assert_false(sim_step(sim)); /* nothing will ever happen */
    sim_destroy(sim);
}

struct item {
    struct work work;
    struct sim *sim;
    uint64_t ran_us;
    unsigned order;
    unsigned *count;
};

static void item_run(struct work *work)
{
    struct item *item = CONTAINER_OF(work, struct item, work);
    item->ran_us = sim_now_us(item->sim);
}

static void item_done(struct work *work)
{
    struct item *item = CONTAINER_OF(work, struct item, work);
    item->order = ++*item->count;
}

static bool items_done(void *arg)
{
    return *(unsigned *)arg == 40;
}

/* Disk work takes the time that the configuration allows, and items overtake one another. */
static void test_work(void **state)
{
    struct item items[40];
    struct sim_config config;
    sim_config_init(&config, 8);
    config.work_min_us = 100;
    config.work_max_us = 400;
    config.slow_odds = 0;
    struct sim *sim = sim_create(&config);
    struct reactor *reactor = sim_host_reactor(sim_host_create(sim, NULL));
    unsigned count = 0;
    uint64_t start = sim_now_us(sim);
    for (unsigned i = 0; i < 40; i++) {
        items[i] = (struct item){.sim = sim, .count = &count};
        reactor_work_lane(reactor, &items[i].work, i % 4 == 0 ? WORK_SLOW : WORK_FAST, item_run,
                          item_done);
    }
    assert_true(sim_run_until(sim, items_done, &count, 1000000));
    bool overtook = false;
    uint64_t last = 0;
    for (unsigned i = 0; i < 40; i++) {
        assert_true(items[i].ran_us >= start + 100);
        last = items[i].ran_us > last ? items[i].ran_us : last;
        overtook |= i > 0 && items[i].order < items[i - 1].order;
    }
    assert_true(overtook);
    assert_true(last >= start + 40 * 100 / 3); /* three at a time */
    sim_destroy(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeds),  cmocka_unit_test(test_cut),  cmocka_unit_test(test_kill),
        cmocka_unit_test(test_clocks), cmocka_unit_test(test_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
