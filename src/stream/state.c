/*
 * Reading a job's saved state: the text that the runner wrote, taken apart without copying.
 *
 *   {"positions": {...},   the source's own form
 *    "sinks": [ ... ],     one value for each output, each in the sink's own form
 *    "counts": {...}}      numbers: events, malformed, dropped, rows, epochs
 *
 * Invariant: what is returned lies inside the state. Ownership: views. Failure: a state without positions is not valid,
 * and the job must not begin anew with it, since one that starts at the ends of its inputs would skip events; counts
 * that are missing are 0.
 */
#include "base/numtext.h"
#include "codec/json_scan.h"
#include "stream/state_int.h"

bool stream_state_valid(struct slice state)
{
    return stream_state_positions(state).len > 0;
}

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

static uint64_t count_read(struct slice counts, struct slice name)
{
    struct json_cell cell = json_source_get(counts, name);
    uint64_t count = 0;

    if (cell.kind == JSON_KIND_MISSING || !numtext_read_uint64(json_cell_source(&cell), &count))
        return 0;
    return count;
}

void stream_state_counts(struct slice state, struct runner_counts *ret_counts)
{
    *ret_counts = (struct runner_counts){.events = 0};
    if (state.len == 0 || state.data[0] != '{')
        return;
    struct json_cell cell = json_source_get(state, SLICE_LIT("counts"));
    if (cell.kind != JSON_KIND_OBJECT)
        return;
    struct slice counts = json_cell_source(&cell);
    ret_counts->events = count_read(counts, SLICE_LIT("events"));
    ret_counts->malformed = count_read(counts, SLICE_LIT("malformed"));
    ret_counts->dropped = count_read(counts, SLICE_LIT("dropped"));
    ret_counts->rows = count_read(counts, SLICE_LIT("rows"));
    ret_counts->epochs = count_read(counts, SLICE_LIT("epochs"));
}
