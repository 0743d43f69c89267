/*
 * Diagnostics: one line per event on stderr, and a ring of the latest events of any level.
 *
 *     ts=2013-01-01T05:00:00.123Z level=info area=serve listening=...
 *
 * Ring: RING_SLOTS lines, the slot taken by a ticket that only grows. Invariants: (1) a slot is
 * written by the thread that set its busy flag, and only then; a thread that finds it busy drops
 * its event rather than wait; (2) lines end with a newline, cut at the slot's size, and hold no
 * other control character, so that a peer's text can neither begin a line nor speak to a terminal.
 * Any thread, no locks. Failure to write to stderr is ignored.
 */
#include "base/diag.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"

enum {
    RING_SLOTS = 256, /* a power of two */
    LINE_MAX_BYTES = 500
};

struct diag_slot {
    atomic_bool busy;
    unsigned len;
    char line[LINE_MAX_BYTES];
};

static struct diag_slot ring[RING_SLOTS];
static atomic_ulong ring_ticket;
static _Atomic enum diag_level level_max = DIAG_INFO;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void diag_level_set(enum diag_level level)
{
    ASSERT(level >= DIAG_ERROR && level <= DIAG_DEBUG);
    atomic_store_explicit(&level_max, level, memory_order_relaxed);
}

enum diag_level diag_level_get(void)
{
    return atomic_load_explicit(&level_max, memory_order_relaxed);
}

static void write_line(const char *line, unsigned len)
{
    ASSERT(line && len <= LINE_MAX_BYTES);
    ssize_t written = write(STDERR_FILENO, line, len);
    (void)written; /* a closed stderr must not stop the server */
}

static unsigned line_begin(char *line, enum diag_level level, const char *area)
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t len = strftime(line, LINE_MAX_BYTES, "ts=%Y-%m-%dT%H:%M:%S", &utc);
    int more = snprintf(line + len, LINE_MAX_BYTES - len, ".%03dZ level=%s area=%s ",
                        (int)(now.tv_nsec / 1000000), level_names[level], area);
    ASSERT(more > 0 && len + (size_t)more < LINE_MAX_BYTES);
    return (unsigned)len + (unsigned)more;
}

/* Control characters become question marks; bytes beyond ASCII stay, names may be UTF-8. */
static void line_clean(char *line, unsigned len)
{
    ASSERT(len < LINE_MAX_BYTES);
    for (unsigned i = 0; i < len; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    }
}

static void ring_store(const char *line, unsigned len)
{
    unsigned long ticket = atomic_fetch_add_explicit(&ring_ticket, 1, memory_order_relaxed);
    struct diag_slot *slot = &ring[ticket % RING_SLOTS];
    if (atomic_exchange_explicit(&slot->busy, true, memory_order_acquire))
        return;
    ASSERT(len <= sizeof(slot->line));
    memcpy(slot->line, line, len);
    slot->len = len;
    atomic_store_explicit(&slot->busy, false, memory_order_release);
}

/* Formatted on the stack and written with one call, so that lines of different threads do not mix. */
void diag(enum diag_level level, const char *area, const char *format, ...)
{
    ASSERT(level >= DIAG_ERROR && level <= DIAG_DEBUG && strlen(area) < 64);
    char line[LINE_MAX_BYTES];
    unsigned len = line_begin(line, level, area);
    va_list args;
    va_start(args, format);
    int more = vsnprintf(line + len, sizeof(line) - len, format, args);
    va_end(args);
    if (more < 0)
        return;
    len += (unsigned)more;
    if (len > sizeof(line) - 1)
        len = sizeof(line) - 1;
    line_clean(line, len);
    line[len++] = '\n';
    ring_store(line, len);
    if (level <= diag_level_get())
        write_line(line, len);
}

/* Runs while the process dies: slots that somebody was writing are passed over, nothing waits. */
void diag_ring_dump(void)
{
    unsigned long end = atomic_load_explicit(&ring_ticket, memory_order_acquire);
    unsigned long count = end < RING_SLOTS ? end : RING_SLOTS;
    static const char title[] = "diagnostic ring, oldest first:\n";
    write_line(title, sizeof(title) - 1);
    for (unsigned long i = end - count; i != end; i++) {
        struct diag_slot *slot = &ring[i % RING_SLOTS];
        if (atomic_exchange_explicit(&slot->busy, true, memory_order_acquire))
            continue;
        write_line(slot->line, slot->len);
        atomic_store_explicit(&slot->busy, false, memory_order_release);
    }
}
