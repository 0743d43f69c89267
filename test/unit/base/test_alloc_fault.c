/* Every allocation of base and codec fails once: each call refuses, loses nothing and leaks
 * nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "alloc_fault.h"
#include "base/arena.h"
#include "base/bytebuf.h"
#include "base/iobuf.h"
#include "base/map.h"
#include "codec/compress.h"
#include "codec/csv.h"

/* Calls body with the first, second, ... allocation failing until one run needs none. */
static void each_fault(void (*body)(void))
{
    size_t nth = 0;
    bool faulted;
    do {
        alloc_fault_begin(++nth);
        body();
        faulted = alloc_fault_end();
    } while (faulted);
    assert_true(nth > 1);
}

static void use_arena(void)
{
    struct arena *parent = arena_create(NULL, "parent", 1 << 20);
    if (!parent)
        return;
    struct arena *child = arena_create(parent, "child", 1 << 20);
    for (int i = 0; child && i < 20; i++) {
        char *text = arena_printf(child, "%02000d", i);
        if (text)
            assert_int_equal(strlen(text), 2000);
        ARENA_ARRAY(parent, uint64_t, 100);
    }
    arena_destroy(parent);
}

static void use_bytebuf(void)
{
    struct bytebuf buf;
    bytebuf_init(&buf, 1 << 20);
    for (int i = 0; i < 100; i++) {
        bytebuf_printf(&buf, "%090d", i);
        bytebuf_append_cstr(&buf, "0123456789");
    }
    assert_int_equal(buf.len % 10, 0);
    assert_true(buf.failed || buf.len == 10000);
    bytebuf_deinit(&buf);
}

static void use_iobuf(void)
{
    size_t before = iobuf_bytes_alive();
    struct iobuf *buf = iobuf_create(100);
    assert_int_equal(iobuf_bytes_alive() - before, buf ? 100 : 0);
    iobuf_unref(buf);
}

static void use_map(void)
{
    struct map *map = map_create(1000);
    if (!map)
        return;
    size_t put = 0;
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof(key), "key-%d", i);
        bool ok = map_put(map, slice_cstr(key), key);
        put += ok;
        assert_int_equal(map_count(map), put);
        assert_int_equal(map_get(map, slice_cstr(key)) != NULL, ok);
    }
    assert_true(put >= 99);
    map_destroy(map);
}

static void use_codecs(void)
{
    for (int kind = COMPRESS_NONE; kind < COMPRESS_COUNT; kind++) {
        struct bytebuf packed;
        struct bytebuf plain;
        bytebuf_init(&packed, 1 << 20);
        bytebuf_init(&plain, 1 << 20);
        enum err error =
            compress_compress((enum compress_kind)kind, SLICE_LIT("hello hello hello"), 0, &packed);
        if (error == ERR_OK) {
            error =
                compress_decompress((enum compress_kind)kind, bytebuf_slice(&packed), 1000, &plain);
            assert_true(error == ERR_NO_MEMORY ||
                        slice_equal(bytebuf_slice(&plain), SLICE_LIT("hello hello hello")));
        } else {
            assert_int_equal(packed.len, 0);
        }
        bytebuf_deinit(&packed);
        bytebuf_deinit(&plain);
    }
}

static void use_csv(void)
{
    struct csv_reader reader;
    struct slice in = SLICE_LIT("a,\"b\"\n");
    struct slice fields[4];
    size_t count;
    csv_reader_init(&reader, ',', 100);
    enum csv_result result = csv_reader_next(&reader, &in, true, fields, 4, &count);
    assert_true(result == CSV_RECORD ? count == 2 : result == CSV_BAD);
    csv_reader_deinit(&reader);
}

static void test_every_fault(void **state)
{
    each_fault(use_arena);
    each_fault(use_bytebuf);
    each_fault(use_iobuf);
    each_fault(use_map);
    each_fault(use_codecs);
    each_fault(use_csv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_fault)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
