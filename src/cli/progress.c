/*
 * Role: one line on stderr that says how far a long command is.
 *
 * Only on a terminal, only after two seconds, and at most five times a second: a log file gets no
 * carriage returns, and a quick command no flicker. Time is the monotonic clock's; a line that was
 * drawn is wiped before other output.
 *
 * Ownership and shard: one thread. Failure modes: none; what cannot be drawn is not drawn.
 */
#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"

uint64_t progress_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void progress_init(struct progress *progress, const char *what, uint64_t total)
{
    ASSERT(what);
    *progress = (struct progress){.what = what,
                                  .total = total,
                                  .started_ms = progress_clock_ms(),
                                  .terminal = isatty(STDERR_FILENO)};
}

void progress_update(struct progress *progress, uint64_t done)
{
    ASSERT(progress->what);
    if (!progress->terminal)
        return;
    uint64_t now = progress_clock_ms();
    if (now - progress->started_ms < 2000 || now - progress->shown_ms < 200)
        return;
    progress->shown_ms = now;
    progress->visible = true;
    uint64_t rate = done * 1000 / (now - progress->started_ms);
    if (progress->total)
        fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " %s, %" PRIu64 "/s \033[K", done,
                progress->total, progress->what, rate);
    else
        fprintf(stderr, "\r%" PRIu64 " %s, %" PRIu64 "/s \033[K", done, progress->what, rate);
}

void progress_end(struct progress *progress)
{
    if (progress->visible)
        fputs("\r\033[K", stderr);
    progress->visible = false;
}
