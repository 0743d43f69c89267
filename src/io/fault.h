/*
 * Fault points: named places in the code that fail on command, in tests and in the simulator.
 *
 * A point that is not armed costs one relaxed load. Arming by count repeats exactly; arming by odds
 * draws from a seeded generator. The file seam has the points fs.open, fs.read, fs.write, fs.sync,
 * fs.truncate, fs.zero, fs.rename, fs.unlink, fs.mkdir, fs.sync_dir, fs.list, fs.stat; the real
 * reactor has net.watch.
 *
 *     FAULT_DEFINE(fault_roll, "seglog.roll");
 *     enum err err = fault_check(&fault_roll);   // ERR_OK unless armed and due
 */
#ifndef WEIR_IO_FAULT_H
#define WEIR_IO_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/error.h"

struct fault {
    const char *name;
    struct fault *next;
    _Atomic bool armed;
    uint64_t skip;  /* passes before the first failure */
    uint64_t times; /* failures left; UINT64_MAX: for ever */
    uint32_t odds;  /* 0: by count; else one pass in odds fails */
    enum err err;
    uint64_t passes; /* since armed */
    uint64_t fired;
};

void fault_register(struct fault *fault);
#define FAULT_DEFINE(ident, text)                                                                  \
    static struct fault ident = {.name = (text)};                                                  \
    __attribute__((constructor)) static void ident##_register(void)                                \
    {                                                                                              \
        fault_register(&ident);                                                                    \
    }

enum err fault_check_armed(struct fault *fault);
/* ERR_OK, or the armed error when it is this pass's turn. Any thread. */
static inline enum err fault_check(struct fault *fault)
{
    if (!atomic_load_explicit(&fault->armed, memory_order_relaxed))
        return ERR_OK;
    return fault_check_armed(fault);
}

/* Fails passes skip+1 .. skip+times. False: no such point. Any thread. */
bool fault_arm(const char *name, uint64_t skip, uint64_t times, enum err err);
/* Fails one pass in odds on average, drawn from the seed. */
bool fault_arm_odds(const char *name, uint32_t odds, uint64_t seed, enum err err);
/* "name:skip:times:error,..." with error names of defs/errors.json; for the WEIR_FAULTS variable of
 * tests. False: not understood. */
bool fault_arm_spec(const char *spec);
void fault_disarm(const char *name);
void fault_disarm_all(void);
/* Failures given since it was armed; 0 for an unknown name. */
uint64_t fault_fired(const char *name);
/* Passes since it was armed, to know when a fault loop is through. */
uint64_t fault_passes(const char *name);

#endif
