/*
 * Runs one test body on either reactor: turns of a real epoll reactor, or steps of the simulator.
 */
#ifndef WEIR_TEST_IO_RIG_H
#define WEIR_TEST_IO_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/reactor.h"

struct rig {
    struct reactor *reactor;
    void *impl;
    void (*step)(struct rig *rig);
    uint64_t (*now_us)(struct rig *rig);
    void (*destroy)(struct rig *rig);
};

/* A cmocka setup and teardown each: *state is a struct rig. */
int rig_epoll_setup(void **state);
int rig_sim_setup(void **state);
int rig_teardown(void **state);

/* Steps until the condition holds; fails the test after 10 s of the reactor's time. */
#define RIG_UNTIL(rig, condition)                                                                  \
    do {                                                                                           \
        uint64_t rig_deadline = (rig)->now_us(rig) + 10000000;                                     \
        while (!(condition)) {                                                                     \
            assert_true((rig)->now_us(rig) < rig_deadline);                                        \
            (rig)->step(rig);                                                                      \
        }                                                                                          \
    } while (0)

#endif
