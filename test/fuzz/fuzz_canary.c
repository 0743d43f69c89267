/* The canary: a decoder with a planted bug. A fuzzing run that does not find it within seconds is
 * itself broken. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = slice_make(data, size);
    if (fuzz_take(&input, 1) == 'W' && fuzz_take(&input, 1) == 'e' && fuzz_take(&input, 1) == 'i' &&
        fuzz_take(&input, 1) == 'r')
        FUZZ_CHECK(input.len == 0);
    return 0;
}
