/* A saved state: {"positions":{...},"sinks":[...],"counts":{...}}. */
#ifndef WEIR_STREAM_STATE_INT_H
#define WEIR_STREAM_STATE_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "stream/runner.h"

/* Whether a state can be read at all: an object with positions. */
bool stream_state_valid(struct slice state);
/* Source text of the positions; empty: none. */
struct slice stream_state_positions(struct slice state);
/* Source text of one sink's state; empty: none. */
struct slice stream_state_sink(struct slice state, uint32_t index);
/* What was counted; what is missing is 0. */
void stream_state_counts(struct slice state, struct runner_counts *ret_counts);

#endif
