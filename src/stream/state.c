/*
 * Reading a job's saved state: the text that the runner wrote, taken apart without copying.
 *
 *   {"positions": {...},   the source's own form
 *    "sinks": [ ... ]}     one value for each output, each in the sink's own form
 *
 * Invariant: what is returned lies inside the state. Ownership: views. Failure: an unreadable state reads as empty,
 * which begins the job anew; rows may come twice, none is lost.
 */
#include "codec/json_scan.h"
#include "stream/state_int.h"

struct slice stream_state_positions(struct slice state)
{
    if (state.len == 0 || state.data[0] != '{')
        return SLICE_NULL;
    struct json_cell cell = json_source_get(state, SLICE_LIT("positions"));
    return cell.kind == JSON_KIND_OBJECT ? json_cell_source(&cell) : SLICE_NULL;
}

struct slice stream_state_sink(struct slice state, uint32_t index)
{
    struct json_cell element;
    size_t at = 0;

    if (state.len == 0 || state.data[0] != '{')
        return SLICE_NULL;
    struct json_cell cell = json_source_get(state, SLICE_LIT("sinks"));
    if (cell.kind != JSON_KIND_ARRAY)
        return SLICE_NULL;
    for (uint32_t i = 0; i <= index; i++) {
        if (!json_source_next_element(json_cell_source(&cell), &at, &element))
            return SLICE_NULL;
    }
    return json_cell_source(&element);
}
