/* The four codecs: no input crosses the cap, and what decodes survives another round trip. */
#include "codec/compress.h"
#include "fuzz.h"

enum { LIMIT = 256 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = slice_make(data, size);
    enum compress_kind kind = (enum compress_kind)(fuzz_take(&input, 1) % COMPRESS_COUNT);
    struct slice bytes = fuzz_copy(input);
    struct bytebuf plain;
    struct bytebuf packed;
    struct bytebuf again;
    bytebuf_init(&plain, 2 * LIMIT);
    bytebuf_init(&packed, 4 * LIMIT);
    bytebuf_init(&again, 2 * LIMIT);
    enum err error = compress_decompress(kind, bytes, LIMIT, &plain);
    FUZZ_CHECK(plain.len <= LIMIT && plain.cap <= 2 * LIMIT);
    if (error != ERR_OK) {
        FUZZ_CHECK(plain.len == 0);
        FUZZ_CHECK(error == ERR_CORRUPT_MESSAGE || error == ERR_MESSAGE_TOO_LARGE ||
                   error == ERR_NO_MEMORY);
    } else {
        FUZZ_CHECK(compress_compress(kind, bytebuf_slice(&plain), 1, &packed) == ERR_OK);
        FUZZ_CHECK(compress_decompress(kind, bytebuf_slice(&packed), plain.len, &again) == ERR_OK);
        FUZZ_CHECK(slice_equal(bytebuf_slice(&plain), bytebuf_slice(&again)));
    }
    bytebuf_deinit(&plain);
    bytebuf_deinit(&packed);
    bytebuf_deinit(&again);
    fuzz_free(bytes);
    return 0;
}
