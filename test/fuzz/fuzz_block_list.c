/*
 * The BlockList document: whatever comes, it is read within bounds or refused.
 */
#include "base/arena.h"
#include "front/blob/blob_int.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = fuzz_copy(slice_make(data, size));
    struct arena *arena = arena_create(NULL, "fuzz", 16 << 20);
    struct blobstore_block *blocks = NULL;
    uint32_t count = 0;
    bool ok = false;
    FUZZ_CHECK(arena);
    enum blob_code code = xml_block_list(arena, input, &blocks, &count, &ok);
    FUZZ_CHECK(ok || blob_code_name(code));
    for (uint32_t i = 0; ok && i < count; i++)
        FUZZ_CHECK(blocks[i].id.len > 0 && blocks[i].id.len <= BLOBSTORE_BLOCK_ID_MAX);
    arena_destroy(arena);
    fuzz_free(input);
    return 0;
}
