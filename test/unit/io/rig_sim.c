#include <stdlib.h>

#include "io/sim.h"
#include "rig.h"

static bool rig_never(void *arg)
{
    return false;
}

static void rig_sim_step(struct rig *rig)
{
    bool ended = sim_run_until(rig->impl, rig_never, NULL, 100);
    assert_false(ended);
}

static uint64_t rig_sim_now_us(struct rig *rig)
{
    return sim_now_us(rig->impl);
}

static void rig_sim_destroy(struct rig *rig)
{
    sim_run_for(rig->impl, 100000);
    sim_destroy(rig->impl);
}

int rig_sim_setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    struct sim_config config;
    sim_config_init(&config, 42);
    struct sim *sim = sim_create(&config);
    if (!rig || !sim)
        return -1;
    rig->impl = sim;
    rig->reactor = sim_host_reactor(sim_host_create(sim, NULL));
    rig->step = rig_sim_step;
    rig->now_us = rig_sim_now_us;
    rig->destroy = rig_sim_destroy;
    *state = rig;
    return rig->reactor ? 0 : -1;
}
