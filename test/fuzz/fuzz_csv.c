/* Delimited text: the records do not depend on how the bytes arrive, and written again they read
 * the same. */
#include "codec/csv.h"
#include "fuzz.h"

enum { FIELDS_MAX = 16, RECORD_MAX = 4096 };

/* Rewrites all records of text that arrive in pieces of `step` bytes; the result of the last read.
 */
static enum csv_result rewrite(struct slice text, size_t step, struct bytebuf *out)
{
    struct csv_reader reader;
    struct slice fields[FIELDS_MAX];
    size_t count;
    size_t begin = 0;
    size_t end = step < text.len ? step : text.len;
    enum csv_result result = CSV_MORE;
    csv_reader_init(&reader, ',', RECORD_MAX);
    while (result == CSV_MORE || result == CSV_RECORD) {
        struct slice window = slice_sub(text, begin, end - begin);
        size_t before = window.len;
        result = csv_reader_next(&reader, &window, end == text.len, fields, FIELDS_MAX, &count);
        begin += before - window.len;
        if (result == CSV_RECORD)
            csv_write_record(out, fields, count, ',');
        if (result == CSV_MORE)
            end = text.len - end < step ? text.len : end + step;
    }
    csv_reader_deinit(&reader);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = fuzz_copy(slice_make(data, size));
    struct bytebuf whole;
    struct bytebuf pieces;
    struct bytebuf again;
    bytebuf_init(&whole, 4 * size + 64);
    bytebuf_init(&pieces, 4 * size + 64);
    bytebuf_init(&again, 4 * size + 64);
    enum csv_result a = rewrite(text, SIZE_MAX, &whole);
    enum csv_result b = size < RECORD_MAX ? rewrite(text, 1, &pieces) : a;
    FUZZ_CHECK(a == b && !whole.failed && !pieces.failed);
    FUZZ_CHECK(size >= RECORD_MAX || slice_equal(bytebuf_slice(&whole), bytebuf_slice(&pieces)));
    if (size < RECORD_MAX / 4) { /* quoting may lengthen a record */
        FUZZ_CHECK(rewrite(bytebuf_slice(&whole), SIZE_MAX, &again) == CSV_END);
        FUZZ_CHECK(slice_equal(bytebuf_slice(&whole), bytebuf_slice(&again)));
    }
    bytebuf_deinit(&whole);
    bytebuf_deinit(&pieces);
    bytebuf_deinit(&again);
    fuzz_free(text);
    return 0;
}
