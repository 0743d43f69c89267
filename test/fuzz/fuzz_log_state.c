/* The small files beside a log, and journal frames: what decodes encodes to the same state. Input: kind, then bytes. */
#include "fuzz.h"
#include "seglog/commit_int.h"
#include "seglog/seglog_int.h"

static void check_producers(struct slice bytes)
{
    struct producers producers;
    struct producers again;
    struct bytebuf first;
    struct bytebuf second;
    FUZZ_CHECK(producers_init(&producers) && producers_init(&again));
    bytebuf_init(&first, 1 << 20);
    bytebuf_init(&second, 1 << 20);
    if (producers_decode(&producers, bytes, NULL) == ERR_OK) {
        producers_encode(&producers, record_offset(INT64_MAX), NULL, 0, &first);
        FUZZ_CHECK(producers_decode(&again, bytebuf_slice(&first), NULL) == ERR_OK);
        producers_encode(&again, record_offset(INT64_MAX), NULL, 0, &second);
        FUZZ_CHECK(slice_equal(bytebuf_slice(&first), bytebuf_slice(&second)));
    }
    producers_deinit(&producers);
    producers_deinit(&again);
    bytebuf_deinit(&first);
    bytebuf_deinit(&second);
}

static void check_epochs(struct slice text)
{
    struct epochs epochs = {0};
    struct epochs again = {0};
    struct bytebuf out;
    bytebuf_init(&out, 1 << 20);
    if (epochs_decode(&epochs, text, NULL) == ERR_OK) {
        for (uint32_t i = 1; i < epochs.count; i++) {
            FUZZ_CHECK(epochs.rows[i - 1].epoch.value < epochs.rows[i].epoch.value);
            FUZZ_CHECK(epochs.rows[i - 1].start.value < epochs.rows[i].start.value);
        }
        epochs_encode(&epochs, &out);
        FUZZ_CHECK(epochs_decode(&again, bytebuf_slice(&out), NULL) == ERR_OK &&
                   again.count == epochs.count);
    }
    epochs_deinit(&epochs);
    epochs_deinit(&again);
    bytebuf_deinit(&out);
}

static void check_checkpoint(struct slice text)
{
    struct checkpoint point;
    struct checkpoint again;
    struct bytebuf out;
    bytebuf_init(&out, 1 << 16);
    if (checkpoint_decode(text, &point, NULL) == ERR_OK) {
        checkpoint_encode(&point, &out);
        FUZZ_CHECK(checkpoint_decode(bytebuf_slice(&out), &again, NULL) == ERR_OK);
        FUZZ_CHECK(again.offset.value == point.offset.value && again.pos.value == point.pos.value);
    }
    bytebuf_deinit(&out);
}

static void check_frame(struct slice bytes)
{
    struct journal_frame frame;
    if (bytes.len < JOURNAL_FRAME_SIZE || !journal_frame_decode(bytes.data, &frame))
        return;
    struct slice payload = slice_sub(bytes, JOURNAL_FRAME_SIZE, frame.len);
    if (payload.len == frame.len)
        journal_frame_holds(bytes.data, payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const checks[])(struct slice) = {check_producers, check_epochs, check_checkpoint,
                                                   check_frame};
    struct slice input = slice_make(data, size);
    uint64_t kind = fuzz_take(&input, 1);
    struct slice bytes = fuzz_copy(input);
    checks[kind % 4](bytes);
    fuzz_free(bytes);
    return 0;
}
