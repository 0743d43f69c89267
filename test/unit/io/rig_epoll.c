#include <stdlib.h>

#include "io/reactor_int.h"
#include "io/workpool.h"
#include "rig.h"

static void rig_epoll_step(struct rig *rig)
{
    reactor_epoll_turn(rig->reactor, 10000);
}

static uint64_t rig_epoll_now_us(struct rig *rig)
{
    return reactor_now_us(rig->reactor);
}

static void rig_epoll_destroy(struct rig *rig)
{
    reactor_epoll_turn(rig->reactor, 0);
    workpool_destroy(rig->impl);
    reactor_destroy(rig->reactor);
}

int rig_epoll_setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    struct workpool *pool;
    struct err_info info;
    if (!rig || workpool_create(2, &pool, &info) != ERR_OK ||
        reactor_epoll_create(pool, &rig->reactor, &info) != ERR_OK)
        return -1;
    rig->impl = pool;
    rig->step = rig_epoll_step;
    rig->now_us = rig_epoll_now_us;
    rig->destroy = rig_epoll_destroy;
    *state = rig;
    return 0;
}

int rig_teardown(void **state)
{
    struct rig *rig = *state;
    rig->destroy(rig);
    free(rig);
    return 0;
}
