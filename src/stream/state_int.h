/* Parts of a saved state: {"positions":{...},"sinks":[...]}. */
#ifndef WEIR_STREAM_STATE_INT_H
#define WEIR_STREAM_STATE_INT_H

#include <stdint.h>

#include "base/slice.h"

/* Source text of the positions; empty: none. */
struct slice stream_state_positions(struct slice state);
/* Source text of one sink's state; empty: none. */
struct slice stream_state_sink(struct slice state, uint32_t index);

#endif
