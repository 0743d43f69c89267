/* Job definitions from the control interface. */
#include "connect/job_def.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = fuzz_copy(slice_make(data, size));
    struct arena *arena = arena_create(NULL, "fuzz", 16 << 20);
    struct job_def *def = ARENA_NEW(arena, struct job_def);
    struct err_info info = {0};
    enum err error = job_def_parse(text, arena, def, &info);
    if (error != ERR_OK) {
        FUZZ_CHECK(error == ERR_INVALID_CONFIG || error == ERR_NO_MEMORY || error == ERR_LIMIT);
        FUZZ_CHECK(error == ERR_NO_MEMORY || info.text[0] != '\0');
    } else {
        FUZZ_CHECK(def->input_count <= JOB_ENDS_MAX && def->output_count <= JOB_ENDS_MAX);
        FUZZ_CHECK(def->name.len > 0 && def->name.len <= JOB_NAME_MAX);
        job_def_input(def, SLICE_LIT("other"));
        job_def_output(def, SLICE_LIT("other"));
    }
    arena_destroy(arena);
    fuzz_free(text);
    return 0;
}
