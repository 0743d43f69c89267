/* UTF-8: the fast validator agrees with decoding one code point after the other, and encoding gives
 * the bytes back. */
#include "base/utf8.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = fuzz_copy(slice_make(data, size));
    size_t at = 0;
    size_t count = 0;
    size_t units = 0;
    while (at < text.len) {
        uint32_t code_point;
        char bytes[UTF8_MAX];
        size_t len = utf8_decode(text, at, &code_point);
        if (len == 0)
            break;
        FUZZ_CHECK(utf8_encode(bytes, code_point) == len &&
                   memcmp(bytes, text.data + at, len) == 0);
        at += len;
        count++;
        units += code_point > 0xffff ? 2 : 1;
    }
    FUZZ_CHECK(utf8_valid_prefix(text) == at);
    FUZZ_CHECK(utf8_valid(text) == (at == text.len));
    FUZZ_CHECK(utf8_count(slice_sub(text, 0, at)) == count);
    FUZZ_CHECK(utf8_count_utf16(slice_sub(text, 0, at)) == units);
    fuzz_free(text);
    return 0;
}
