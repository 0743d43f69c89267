/*
 * Role: the registry of fault points and the decision whether a pass fails.
 *
 * State: a chain of static points, linked before main runs. A point is armed by count (skip passes,
 * fail `times`) or by odds.
 *
 * Invariants
 * (1) The chain never changes after the constructors ran.
 * (2) A point that is not armed returns ERR_OK without the lock; `armed` is set last and cleared
 *     first.
 * (3) Passes and failures are counted under the lock, so that a count of N fails exactly N passes
 *     over all threads.
 *
 * Ownership and shard: any thread; `fault_lock` is a leaf lock (docs/locks.md).
 *
 * Failure modes: unknown names and unreadable specifications are reported to the caller, nothing is
 * armed half.
 */
#include "io/fault.h"

#include <pthread.h>
#include <string.h>

#include "base/numtext.h"
#include "base/random.h"
#include "base/slice.h"

static pthread_mutex_t fault_lock = PTHREAD_MUTEX_INITIALIZER;
static struct fault *fault_first;
static struct random fault_random;

static struct fault *fault_find(const char *name)
{
    ASSERT(name);
    for (struct fault *fault = fault_first; fault; fault = fault->next) {
        if (strcmp(fault->name, name) == 0)
            return fault;
    }
    return NULL;
}

void fault_register(struct fault *fault)
{
    ASSERT(fault->name && !fault->next && !fault_find(fault->name));
    fault->next = fault_first;
    fault_first = fault;
}

/*
 * The flag is read again under the lock: between the caller's look and here the point may have been
 * disarmed, or armed anew with other counts.
 */
enum err fault_check_armed(struct fault *fault)
{
    enum err err = ERR_OK;
    pthread_mutex_lock(&fault_lock);
    if (atomic_load_explicit(&fault->armed, memory_order_relaxed)) {
        uint64_t pass = fault->passes++;
        bool due = fault->odds ? random_one_in(&fault_random, fault->odds) : pass >= fault->skip;
        if (due && fault->times > 0) {
            if (fault->times != UINT64_MAX)
                fault->times--;
            fault->fired++;
            err = fault->err;
            ASSERT(err != ERR_OK);
        }
    }
    pthread_mutex_unlock(&fault_lock);
    return err;
}

/*
 * armed comes last and with full order, so that whoever sees it set finds the other fields complete
 * once he holds the lock.
 */
static bool fault_set(const char *name, const struct fault *values)
{
    struct fault *fault = fault_find(name);
    if (!fault || values->err == ERR_OK)
        return false;
    pthread_mutex_lock(&fault_lock);
    fault->skip = values->skip;
    fault->times = values->times;
    fault->odds = values->odds;
    fault->err = values->err;
    fault->passes = 0;
    fault->fired = 0;
    atomic_store(&fault->armed, true);
    pthread_mutex_unlock(&fault_lock);
    return true;
}

bool fault_arm(const char *name, uint64_t skip, uint64_t times, enum err err)
{
    ASSERT(err != ERR_OK);
    return fault_set(name, &(struct fault){.skip = skip, .times = times, .err = err});
}

bool fault_arm_odds(const char *name, uint32_t odds, uint64_t seed, enum err err)
{
    if (odds == 0)
        return false;
    pthread_mutex_lock(&fault_lock);
    random_init(&fault_random, seed);
    pthread_mutex_unlock(&fault_lock);
    return fault_set(name, &(struct fault){.odds = odds, .times = UINT64_MAX, .err = err});
}

static bool fault_err_named(struct slice name, enum err *ret_err)
{
    for (int code = 1; code < ERR_COUNT; code++) {
        if (slice_equal(name, slice_cstr(err_row((enum err)code)->name))) {
            *ret_err = (enum err)code;
            return true;
        }
    }
    return false;
}

/* One "name:skip:times:error". */
static bool fault_arm_one(struct slice spec)
{
    struct slice field[4];
    size_t from = 0;
    for (int i = 0; i < 4; i++) {
        size_t end = i < 3 ? slice_find_byte(spec, ':', from) : spec.len;
        if (end == SIZE_MAX || end < from)
            return false;
        field[i] = slice_sub(spec, from, end - from);
        from = end + 1;
    }
    char name[64];
    uint64_t skip;
    uint64_t times;
    enum err err;
    if (field[0].len >= sizeof(name) || !numtext_read_uint64(field[1], &skip) ||
        !numtext_read_uint64(field[2], &times) || !fault_err_named(field[3], &err))
        return false;
    memcpy(name, field[0].data, field[0].len);
    name[field[0].len] = 0;
    return fault_arm(name, skip, times, err);
}

/* Points named before a mistake stay armed: the caller treats a mistake as fatal. */
bool fault_arm_spec(const char *spec)
{
    ASSERT(spec);
    struct slice rest = slice_cstr(spec);
    while (rest.len > 0) {
        size_t comma = slice_find_byte(rest, ',', 0);
        size_t end = comma == SIZE_MAX ? rest.len : comma;
        if (!fault_arm_one(slice_sub(rest, 0, end)))
            return false;
        rest = slice_sub(rest, end + 1, SIZE_MAX - end - 1);
    }
    return true;
}

void fault_disarm(const char *name)
{
    ASSERT(name);
    struct fault *fault = fault_find(name);
    if (fault)
        atomic_store(&fault->armed, false);
}

void fault_disarm_all(void)
{
    for (struct fault *fault = fault_first; fault; fault = fault->next)
        atomic_store(&fault->armed, false);
}

/* Both counts as of one moment; zeros for an unknown name. */
static void fault_counts(const char *name, uint64_t *ret_fired, uint64_t *ret_passes)
{
    const struct fault *fault = fault_find(name);
    pthread_mutex_lock(&fault_lock);
    *ret_fired = fault ? fault->fired : 0;
    *ret_passes = fault ? fault->passes : 0;
    pthread_mutex_unlock(&fault_lock);
}

uint64_t fault_fired(const char *name)
{
    uint64_t fired;
    uint64_t passes;
    fault_counts(name, &fired, &passes);
    return fired;
}

uint64_t fault_passes(const char *name)
{
    uint64_t fired;
    uint64_t passes;
    fault_counts(name, &fired, &passes);
    return passes;
}
