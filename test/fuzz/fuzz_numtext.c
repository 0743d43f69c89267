/* Numbers: readers agree with the C library on every text they accept, and every double survives
 * its text. */
#include <math.h>

#include "base/numtext.h"
#include "fuzz.h"

static void check_write(uint64_t bits)
{
    double value;
    double back;
    char text[NUMTEXT_DOUBLE_MAX];
    memcpy(&value, &bits, sizeof(value));
    size_t len = numtext_write_double(text, value);
    FUZZ_CHECK(len > 0 && len <= sizeof(text));
    if (!isfinite(value))
        return;
    FUZZ_CHECK(numtext_read_double(slice_make(text, len), &back));
    FUZZ_CHECK(back == value);
}

static void check_integers(struct slice text)
{
    int64_t i;
    uint64_t u;
    char out[NUMTEXT_INT64_MAX];
    if (numtext_read_int64(text, &i)) {
        int64_t again;
        FUZZ_CHECK(numtext_read_int64(slice_make(out, numtext_write_int64(out, i)), &again) &&
                   again == i);
    }
    if (numtext_read_uint64(text, &u)) {
        uint64_t again;
        FUZZ_CHECK(numtext_read_uint64(slice_make(out, numtext_write_uint64(out, u)), &again) &&
                   again == u);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = slice_make(data, size);
    struct slice head = input;
    check_write(fuzz_take(&head, 8));
    struct slice text = fuzz_copy(input);
    double ours;
    if (numtext_read_double(text, &ours)) {
        char *terminated = malloc(text.len + 1);
        FUZZ_CHECK(terminated);
        memcpy(terminated, text.data, text.len);
        terminated[text.len] = '\0';
        char *end;
        double theirs = strtod(terminated, &end);
        FUZZ_CHECK(end == terminated + text.len);
        FUZZ_CHECK(memcmp(&ours, &theirs, sizeof(ours)) == 0);
        free(terminated);
    }
    check_integers(text);
    fuzz_free(text);
    return 0;
}
