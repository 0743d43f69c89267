/* Base64: decoding accepts only what encoding would give. */
#include "fuzz.h"
#include "wire/base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = fuzz_copy(slice_make(data, size));
    uint8_t *decoded = malloc(size + 3);
    char *encoded = malloc(BASE64_LEN(size) + 4);
    FUZZ_CHECK(decoded && encoded);
    size_t len;
    if (base64_decode(text, decoded, &len))
        FUZZ_CHECK(slice_equal(
            slice_make(encoded, base64_encode(slice_make(decoded, len), encoded)), text));
    if (base64url_decode(text, decoded, &len))
        FUZZ_CHECK(slice_equal(
            slice_make(encoded, base64url_encode(slice_make(decoded, len), encoded)), text));
    size_t encoded_len = base64_encode(text, encoded);
    FUZZ_CHECK(encoded_len == BASE64_LEN(size));
    FUZZ_CHECK(base64_decode(slice_make(encoded, encoded_len), decoded, &len));
    FUZZ_CHECK(slice_equal(slice_make(decoded, len), text));
    free(decoded);
    free(encoded);
    fuzz_free(text);
    return 0;
}
