/* Dates: what is read prints as text that reads the same. */
#include "base/datetime.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = fuzz_copy(slice_make(data, size));
    int64_t ticks;
    int64_t again;
    char iso[DATETIME_ISO_LEN];
    char http[DATETIME_HTTP_LEN];
    if (datetime_read_iso(text, &ticks)) {
        FUZZ_CHECK(datetime_ticks_valid(ticks));
        FUZZ_CHECK(datetime_read_iso(slice_make(iso, datetime_write_iso(iso, ticks)), &again) &&
                   again == ticks);
    }
    if (datetime_read_http(text, &ticks)) {
        datetime_write_http(http, ticks);
        FUZZ_CHECK(slice_equal(slice_make(http, sizeof(http)), text));
    }
    fuzz_free(text);
    return 0;
}
