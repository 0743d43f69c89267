/* Regular expressions: a pattern and a text, divided by a NUL byte. Any pair ends, a match begins at a character of the
 * text, and once more asked the answer is the same. */
#include "base/utf8.h"
#include "exec/regex.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = slice_make(data, size > 400 ? 400 : size); /* back references take their time */
    size_t cut = slice_find_byte(input, 0, 0);
    struct slice pattern = fuzz_copy(slice_sub(input, 0, cut == SIZE_MAX ? input.len : cut));
    struct slice text =
        fuzz_copy(cut == SIZE_MAX ? SLICE_LIT("") : slice_sub(input, cut + 1, SIZE_MAX));
    struct regex_cache *cache = regex_cache_create();
    size_t at = 0;
    size_t again = 0;

    FUZZ_CHECK(cache);
    if (utf8_valid(pattern) && utf8_valid(text)) {
        enum regex_result result = regex_search(cache, pattern, text, &at);
        FUZZ_CHECK(regex_search(cache, pattern, text, &again) == result);
        if (result == REGEX_MATCH)
            FUZZ_CHECK(at == again && at <= text.len && utf8_valid(slice_sub(text, at, SIZE_MAX)));
    }
    regex_cache_destroy(cache);
    fuzz_free(pattern);
    fuzz_free(text);
    return 0;
}
