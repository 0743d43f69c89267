/* A line of progress on stderr for work over two seconds, on a terminal only. */
#ifndef WEIR_CLI_PROGRESS_H
#define WEIR_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what;    /* "records" */
    uint64_t total;      /* 0: not known */
    uint64_t started_ms; /* monotonic */
    uint64_t shown_ms;
    bool terminal;
    bool visible;
};

void progress_init(struct progress *progress, const char *what, uint64_t total);
/* Cheap: looks at the clock and redraws at most five times a second. */
void progress_update(struct progress *progress, uint64_t done);
/* Wipes the line, so that the next output starts clean. */
void progress_end(struct progress *progress);
uint64_t progress_clock_ms(void);

#endif
