/*
 * The blob store on real shards in a temporary folder: operations, content small and large, conditions, sweeping, what
 * is there after a reopen, failing disks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../lib/node_rig.h"
#include "base/arena.h"
#include "base/bytebuf.h"
#include "blobstore/blobstore_int.h"
#include "blobstore/crc64.h"
#include "io/fault.h"

struct fixture {
    struct node_rig rig;
    struct blobstore *store;
    struct arena *arena;
    struct node_event event;
    struct blobstore_op op;
    /* content brought in before the op */
    const uint8_t *content;
    size_t content_len;
    enum err upload_err;
    /* content read after it */
    uint8_t *read;
    size_t read_len;
    enum err read_err;
    enum err write_err;
};

static void start(struct fixture *f)
{
    struct err_info info = {0};
    node_rig_shards(&f->rig, 2);
    enum err err =
        blobstore_open(f->rig.fs, f->rig.dir, 1, (int64_t)time(NULL) * 1000, &f->store, &info);
    if (err)
        fail_msg("%s", info.text);
    for (unsigned i = 0; i < 2; i++)
        blobstore_shard_start(f->store, shards_get(f->rig.shards, i));
    node_rig_run(&f->rig);
    f->arena = arena_create(NULL, "test", 64 << 20);
    assert_non_null(f->arena);
}

static void stop(struct fixture *f)
{
    node_rig_stop(&f->rig);
    blobstore_close(f->store);
    node_rig_end(&f->rig);
    arena_destroy(f->arena);
}

static void op_done(struct blobstore_op *op)
{
    struct fixture *f = op->arg;
    node_event_set(&f->event);
}

static void submit(struct shard *shard, struct fixture *f)
{
    blobstore_submit(f->store, shard, &f->op);
}

static void upload_finished(struct blobstore_upload *upload, void *arg)
{
    struct fixture *f = arg;
    f->upload_err = blobstore_upload_error(upload);
    if (f->upload_err) {
        blobstore_upload_discard(upload);
        f->op.err = f->upload_err;
        node_event_set(&f->event);
        return;
    }
    f->op.upload = upload;
    /* the uploads here begin on shard 1 */
    submit(shards_get(f->rig.shards, 1), f);
}

static void upload_written(struct blobstore_upload *upload, void *arg)
{
    blobstore_upload_finish(upload, upload_finished, arg);
}

static void run_op(struct shard *shard, void *arg)
{
    struct fixture *f = arg;
    if (!f->content) {
        submit(shard, f);
        return;
    }
    struct blobstore_upload *upload = blobstore_upload_create(f->store, shard);
    assert_non_null(upload);
    struct iobuf *buf = iobuf_create(f->content_len ? f->content_len : 1);
    memcpy(iobuf_data(buf), f->content, f->content_len);
    blobstore_upload_write(upload,
                           (struct iobuf_range){buf, slice_make(iobuf_data(buf), f->content_len)},
                           upload_written, f);
}

static struct blobstore_op *prepare(struct fixture *f, enum blobstore_verb verb, const char *blob)
{
    arena_reset(f->arena);
    f->content = NULL;
    blobstore_op_init(&f->op, verb, f->arena);
    f->op.container = SLICE_LIT("box");
    f->op.blob = blob ? slice_cstr(blob) : SLICE_NULL;
    f->op.done = op_done;
    f->op.arg = f;
    return &f->op;
}

static enum err finish(struct fixture *f)
{
    node_event_init(&f->event);
    node_rig_call(&f->rig, 1, run_op, f);
    node_event_wait(&f->event, 1);
    return f->op.err;
}

static enum err with_content(struct fixture *f, const void *content, size_t len)
{
    f->content = content;
    f->content_len = len;
    return finish(f);
}

static enum err simple(struct fixture *f, enum blobstore_verb verb, const char *blob)
{
    prepare(f, verb, blob);
    return finish(f);
}

/* ---- reading ---- */

static void read_more(struct blobstore_reader *reader, enum err err, size_t len, void *arg)
{
    struct fixture *f = arg;
    f->read_len += len;
    f->read_err = err;
    if (err || f->read_len == f->op.info.length) {
        blobstore_reader_close(reader);
        node_event_set(&f->event);
        return;
    }
    blobstore_reader_read(reader, f->read_len, f->read + f->read_len, 100000, read_more, f);
}

static void read_begin(struct shard *shard, void *arg)
{
    struct fixture *f = arg;
    blobstore_reader_read(f->op.reader, 0, f->read, 100000, read_more, f);
}

/* The blob's content must be exactly this. */
static void expect_content(struct fixture *f, const char *blob, const void *content, size_t len)
{
    assert_int_equal(simple(f, BLOBSTORE_READ, blob), ERR_OK);
    assert_int_equal(f->op.info.length, len);
    f->read = malloc(len + 100000);
    f->read_len = 0;
    f->read_err = ERR_OK;
    node_event_init(&f->event);
    if (len > 0) {
        node_rig_call(&f->rig, 1, read_begin, f);
        node_event_wait(&f->event, 1);
    } else {
        blobstore_reader_close(f->op.reader);
    }
    assert_int_equal(f->read_err, ERR_OK);
    assert_int_equal(f->read_len, len);
    assert_memory_equal(f->read, content, len);
    free(f->read);
}

static uint8_t *make_content(size_t len, uint64_t seed)
{
    struct random random;
    uint8_t *content = malloc(len + 1);
    random_init(&random, seed);
    random_fill(&random, content, (uint32_t)len);
    return content;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    node_rig_folder(&f->rig);
    start(f);
    assert_int_equal(simple(f, BLOBSTORE_CONTAINER_CREATE, NULL), ERR_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    fault_disarm_all();
    stop(f);
    node_rig_remove(&f->rig);
    free(f);
    return 0;
}

/* ---- tests ---- */

static void test_crc64(void **state)
{
    assert_int_equal(crc64(0, "", 0), 0);
    assert_true(crc64(0, "123456789", 9) == UINT64_C(0xae8b14860a799888));
    assert_true(crc64(0, "AAABBBCCC", 9) == UINT64_C(0x052d6fbb1ee0390d));
    assert_true(crc64(crc64(0, "hello", 5), " world", 6) == UINT64_C(0x8d29d5c3f6ea8ebe));
}

static void test_pairs(void **state)
{
    uint8_t packed[64];
    size_t len = 0;
    struct slice name;
    struct slice value;
    assert_true(
        blobstore_pair_append(packed, sizeof(packed), &len, SLICE_LIT("owner"), SLICE_LIT("x")));
    assert_true(
        blobstore_pair_append(packed, sizeof(packed), &len, SLICE_LIT("empty"), SLICE_NULL));
    assert_false(blobstore_pair_append(packed, sizeof(packed), &len, SLICE_LIT("long"),
                                       slice_make(packed, 60)));
    size_t cursor = 0;
    assert_true(blobstore_pair_next(slice_make(packed, len), &cursor, &name, &value));
    assert_true(slice_equal(name, SLICE_LIT("owner")) && slice_equal(value, SLICE_LIT("x")));
    assert_true(blobstore_pair_next(slice_make(packed, len), &cursor, &name, &value));
    assert_true(slice_equal(name, SLICE_LIT("empty")) && value.len == 0);
    assert_false(blobstore_pair_next(slice_make(packed, len), &cursor, &name, &value));
    for (size_t cut = 0; cut < 12; cut++) { /* damaged bytes end the walk */
        cursor = 0;
        assert_false(blobstore_pair_next(slice_make(packed, cut), &cursor, &name, &value));
    }
    assert_int_equal(blobstore_ticks_unix(blobstore_ticks(1558000000123)), 1558000000);
}

/* Headers come back as they were packed; damaged bytes are told, not believed. */
static void test_headers(void **state)
{
    struct arena *arena = arena_create(NULL, "test", 1 << 20);
    struct blobstore_headers in = {
        .content_type = SLICE_LIT("a/b"), .cache_control = SLICE_LIT("no"), .md5 = SLICE_LIT("x")};
    struct blobstore_headers out;
    struct slice packed;
    struct err_info info;
    assert_int_equal(headers_pack(&in, arena, &packed, &info), ERR_OK);
    assert_true(headers_unpack(packed, &out));
    assert_true(slice_equal(out.content_type, in.content_type));
    assert_true(slice_equal(out.cache_control, in.cache_control));
    assert_true(slice_equal(out.md5, in.md5));
    assert_int_equal(out.content_encoding.len, 0);
    for (size_t cut = 0; cut < packed.len; cut++)
        assert_false(headers_unpack(slice_sub(packed, 0, cut), &out));
    uint8_t *more = arena_alloc(arena, packed.len + 1);
    memcpy(more, packed.data, packed.len);
    more[packed.len] = 0;
    assert_false(headers_unpack(slice_make(more, packed.len + 1), &out));
    uint8_t sum[BLOBSTORE_MD5_MAX + 1] = {0};
    in.md5 = slice_make(sum, sizeof(sum));
    assert_int_equal(headers_pack(&in, arena, &packed, &info), ERR_OK);
    assert_false(headers_unpack(packed, &out));
    arena_destroy(arena);
}

/* What each kind of request does under each condition, on a blob changed in second 100 with ETag 5
 * or on none. */
static void test_condition_table(void **state)
{
    const struct blobstore_etags any = {.present = true, .any = true};
    const struct blobstore_etags same = {.present = true, .count = 2, .tags = {7, 0}};
    const uint64_t etag = blobstore_ticks(100000);
    struct blobstore_etags hit = same;
    hit.tags[1] = etag;
    const struct {
        struct blobstore_conditions c;
        enum err there[4]; /* READ, WRITE, CREATE, DELETE */
        enum err missing[4];
    } rows[] = {
#define GONE ERR_BLOB_NOT_FOUND
#define UNMET ERR_CONDITION_NOT_MET
        {{.has_modified_since = false}, {0, 0, 0, 0}, {GONE, GONE, 0, GONE}},
        {{.match = any}, {0, 0, 0, 0}, {GONE, UNMET, UNMET, GONE}},
        {{.match = hit}, {0, 0, 0, 0}, {GONE, UNMET, UNMET, GONE}},
        {{.match = same}, {UNMET, UNMET, UNMET, UNMET}, {GONE, UNMET, UNMET, GONE}},
        {{.none_match = any}, {ERR_NOT_MODIFIED, UNMET, ERR_BLOB_EXISTS, 0}, {GONE, GONE, 0, GONE}},
        {{.none_match = hit}, {ERR_NOT_MODIFIED, UNMET, UNMET, UNMET}, {GONE, GONE, 0, GONE}},
        {{.none_match = same}, {0, 0, 0, 0}, {GONE, GONE, 0, GONE}},
        {{.has_modified_since = true, .modified_since = 100},
         {ERR_NOT_MODIFIED, UNMET, UNMET, UNMET},
         {GONE, GONE, 0, GONE}},
        {{.has_modified_since = true, .modified_since = 99}, {0, 0, 0, 0}, {GONE, GONE, 0, GONE}},
        {{.has_unmodified_since = true, .unmodified_since = 100},
         {0, 0, 0, 0},
         {GONE, GONE, 0, GONE}},
        {{.has_unmodified_since = true, .unmodified_since = 99},
         {UNMET, UNMET, UNMET, UNMET},
         {GONE, GONE, 0, GONE}},
        /* the ETag wins over the date in writes; reads want both, or one of the second kind */
        {{.match = hit, .has_unmodified_since = true, .unmodified_since = 99},
         {UNMET, 0, 0, 0},
         {GONE, UNMET, UNMET, GONE}},
        {{.none_match = hit, .has_modified_since = true, .modified_since = 99},
         {0, UNMET, UNMET, UNMET},
         {GONE, GONE, 0, GONE}},
#undef GONE
#undef UNMET
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int mode = CONDITION_READ; mode <= CONDITION_DELETE; mode++) {
            enum condition_mode m = (enum condition_mode)mode;
            assert_int_equal(conditions_check(&rows[i].c, m, true, etag), rows[i].there[mode]);
            assert_int_equal(conditions_check(&rows[i].c, m, false, 0), rows[i].missing[mode]);
        }
    }
}

static void test_containers(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(simple(f, BLOBSTORE_CONTAINER_CREATE, NULL), ERR_CONTAINER_EXISTS);
    prepare(f, BLOBSTORE_CONTAINER_SET_METADATA, NULL)->metadata = SLICE_LIT("anything");
    assert_int_equal(finish(f), ERR_OK);
    uint64_t etag = f->op.container_info.etag;
    assert_int_equal(simple(f, BLOBSTORE_CONTAINER_GET, NULL), ERR_OK);
    assert_true(slice_equal(f->op.container_info.metadata, SLICE_LIT("anything")));
    assert_true(f->op.container_info.etag == etag);
    assert_int_equal(simple(f, BLOBSTORE_CONTAINER_DELETE, NULL), ERR_OK);
    assert_int_equal(simple(f, BLOBSTORE_CONTAINER_DELETE, NULL), ERR_CONTAINER_NOT_FOUND);
    assert_int_equal(simple(f, BLOBSTORE_GET, "x"), ERR_CONTAINER_NOT_FOUND);
    assert_int_equal(simple(f, BLOBSTORE_CONTAINER_CREATE, NULL), ERR_OK);
    assert_int_equal(simple(f, BLOBSTORE_GET, "x"), ERR_BLOB_NOT_FOUND);
}

static void test_put_sizes(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {0,      1,      BLOBSTORE_INLINE_MAX, BLOBSTORE_INLINE_MAX + 1,
                                   300000, 5 << 20};
    uint64_t last = 0;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t *content = make_content(sizes[i], i);
        prepare(f, BLOBSTORE_PUT, "blob");
        assert_int_equal(with_content(f, content, sizes[i]), ERR_OK);
        assert_true(f->op.info.etag > last);
        last = f->op.info.etag;
        assert_int_equal(f->op.info.headers.md5.len, 16);
        expect_content(f, "blob", content, sizes[i]);
        free(content);
    }
}

static void test_conditions(void **state)
{
    struct fixture *f = *state;
    struct blobstore_etags any = {.present = true, .any = true};
    prepare(f, BLOBSTORE_PUT, "b")->conditions.match = any;
    assert_int_equal(with_content(f, "1", 1), ERR_CONDITION_NOT_MET);
    prepare(f, BLOBSTORE_PUT, "b")->conditions.none_match = any;
    assert_int_equal(with_content(f, "1", 1), ERR_OK);
    struct blobstore_etags tag = {.present = true, .count = 1, .tags = {f->op.info.etag}};
    prepare(f, BLOBSTORE_PUT, "b")->conditions.none_match = any;
    assert_int_equal(with_content(f, "2", 1), ERR_BLOB_EXISTS);
    prepare(f, BLOBSTORE_SET_METADATA, "b")->conditions.none_match = any;
    assert_int_equal(finish(f), ERR_CONDITION_NOT_MET);
    prepare(f, BLOBSTORE_GET, "b")->conditions.none_match = tag;
    assert_int_equal(finish(f), ERR_NOT_MODIFIED);
    prepare(f, BLOBSTORE_SET_METADATA, "b")->conditions.match = tag;
    assert_int_equal(finish(f), ERR_OK);
    prepare(f, BLOBSTORE_SET_METADATA, "b")->conditions.match = tag;
    assert_int_equal(finish(f), ERR_CONDITION_NOT_MET);
    prepare(f, BLOBSTORE_DELETE, "b")->conditions.match = tag;
    assert_int_equal(finish(f), ERR_CONDITION_NOT_MET);
    int64_t now = blobstore_ticks_unix(f->op.now_ticks);
    prepare(f, BLOBSTORE_GET, "b");
    f->op.conditions.has_unmodified_since = true;
    f->op.conditions.unmodified_since = now - 1000;
    assert_int_equal(finish(f), ERR_CONDITION_NOT_MET);
    prepare(f, BLOBSTORE_GET, "b");
    f->op.conditions.has_modified_since = true;
    f->op.conditions.modified_since = now + 1000;
    assert_int_equal(finish(f), ERR_NOT_MODIFIED);
    expect_content(f, "b", "1", 1);
}

static enum err stage(struct fixture *f, const char *id, const void *content, size_t len)
{
    prepare(f, BLOBSTORE_STAGE, "blocks")->block_id = slice_cstr(id);
    return with_content(f, content, len);
}

static void test_blocks(void **state)
{
    struct fixture *f = *state;
    uint8_t *large = make_content(50000, 9);
    uint8_t *expected = malloc(50006);
    assert_int_equal(stage(f, "aa", "abc", 3), ERR_OK);
    assert_int_equal(stage(f, "bb", large, 50000), ERR_OK);
    assert_int_equal(stage(f, "longer", "x", 1), ERR_INVALID_BLOCK);
    assert_int_equal(simple(f, BLOBSTORE_GET, "blocks"), ERR_BLOB_NOT_FOUND);
    assert_int_equal(simple(f, BLOBSTORE_BLOCKS, "blocks"), ERR_OK);
    assert_int_equal(f->op.staged_count, 2);
    assert_false(f->op.committed);
    struct blobstore_block list[3] = {{SLICE_LIT("aa"), BLOBSTORE_FROM_LATEST, 0},
                                      {SLICE_LIT("bb"), BLOBSTORE_FROM_STAGED, 0},
                                      {SLICE_LIT("aa"), BLOBSTORE_FROM_LATEST, 0}};
    prepare(f, BLOBSTORE_COMMIT, "blocks");
    f->op.blocks = list;
    f->op.block_count = 3;
    assert_int_equal(finish(f), ERR_OK);
    assert_int_equal(stage(f, "longer", "x", 1), ERR_OK); /* committed ids bind nobody */
    assert_int_equal(stage(f, "aa", "x", 1), ERR_INVALID_BLOCK);
    memcpy(expected, "abc", 3);
    memcpy(expected + 3, large, 50000);
    memcpy(expected + 50003, "abc", 3);
    expect_content(f, "blocks", expected, 50006);
    /* committed blocks can be named again, staged ones no more */
    list[0].source = BLOBSTORE_FROM_STAGED;
    prepare(f, BLOBSTORE_COMMIT, "blocks");
    f->op.blocks = list;
    f->op.block_count = 1;
    assert_int_equal(finish(f), ERR_INVALID_BLOCK_LIST);
    expect_content(f, "blocks", expected, 50006);
    list[1].source = BLOBSTORE_FROM_COMMITTED;
    prepare(f, BLOBSTORE_COMMIT, "blocks");
    f->op.blocks = list + 1;
    f->op.block_count = 1;
    assert_int_equal(finish(f), ERR_OK);
    expect_content(f, "blocks", large, 50000);
    free(large);
    free(expected);
}

static void test_append(void **state)
{
    struct fixture *f = *state;
    uint8_t *content = make_content(400000, 3);
    size_t total = 0;
    assert_int_equal(simple(f, BLOBSTORE_PUT_APPEND, "log"), ERR_OK);
    for (unsigned i = 0; i < 12; i++) {
        size_t len = i % 3 ? 100 + i : 30000 + i;
        prepare(f, BLOBSTORE_APPEND_BLOCK, "log")->append_position = (int64_t)total;
        assert_int_equal(with_content(f, content + total, len), ERR_OK);
        assert_int_equal(f->op.append_offset, total);
        total += len;
    }
    prepare(f, BLOBSTORE_APPEND_BLOCK, "log")->append_position = 1;
    assert_int_equal(with_content(f, content, 1), ERR_APPEND_POSITION);
    prepare(f, BLOBSTORE_APPEND_BLOCK, "log")->max_size = (int64_t)total;
    assert_int_equal(with_content(f, content, 1), ERR_BLOB_MAX_SIZE);
    prepare(f, BLOBSTORE_APPEND_BLOCK, "log"); /* an empty block is none, and is not counted */
    assert_int_equal(with_content(f, content, 0), ERR_INVALID_BLOCK);
    expect_content(f, "log", content, total);
    assert_int_equal(f->op.info.block_count, 12);
    assert_int_equal(stage(f, "aa", "x", 1), ERR_OK);
    prepare(f, BLOBSTORE_STAGE, "log")->block_id = SLICE_LIT("aa");
    assert_int_equal(with_content(f, "x", 1), ERR_BLOB_TYPE);
    free(content);
}

static void test_list(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"a", "a/1", "a/2", "b", "b/1/x", "c"};
    for (int i = 0; i < 6; i++) {
        prepare(f, BLOBSTORE_PUT, names[i]);
        assert_int_equal(with_content(f, "x", 1), ERR_OK);
    }
    struct bytebuf seen;
    char marker[64] = "";
    bytebuf_init(&seen, 1000);
    for (int page = 0; page < 10; page++) {
        prepare(f, BLOBSTORE_LIST, NULL);
        f->op.list = (struct blobstore_list){
            .max = 2, .delimiter = SLICE_LIT("/"), .marker = slice_cstr(marker)};
        assert_int_equal(finish(f), ERR_OK);
        for (uint32_t i = 0; i < f->op.item_count; i++)
            bytebuf_printf(&seen, "%.*s ", SLICE_FMT(f->op.items[i].name));
        if (f->op.next_marker.len == 0)
            break;
        snprintf(marker, sizeof(marker), "%.*s", SLICE_FMT(f->op.next_marker));
    }
    assert_true(slice_equal(bytebuf_slice(&seen), SLICE_LIT("a a/ b b/ c ")));
    bytebuf_deinit(&seen);
}

/* ---- whole writes ---- */

static void write_done(enum err err, const struct err_info *info, void *arg)
{
    struct fixture *f = arg;
    f->write_err = err;
    node_event_set(&f->event);
}

static void write_run(struct shard *shard, void *arg)
{
    struct fixture *f = arg;
    blobstore_write_bytes(f->store, shard, BLOBSTORE_WRITE_APPEND, SLICE_LIT("jobs"),
                          SLICE_LIT("out.csv"), SLICE_NULL, SLICE_LIT("text/csv"),
                          slice_make(f->content, f->content_len), -1, write_done, f);
}

static void test_write_bytes(void **state)
{
    struct fixture *f = *state;
    uint8_t *content = make_content(60000, 4);
    size_t total = 0;
    static const size_t lengths[] = {10, 40000, 1, 300};
    for (int i = 0; i < 4; i++) {
        f->content = content + total;
        f->content_len = lengths[i];
        total += lengths[i];
        node_event_init(&f->event);
        node_rig_call(&f->rig, 0, write_run, f);
        node_event_wait(&f->event, 1);
        assert_int_equal(f->write_err, ERR_OK);
    }
    prepare(f, BLOBSTORE_GET, "out.csv")->container = SLICE_LIT("jobs");
    assert_int_equal(finish(f), ERR_OK);
    assert_int_equal(f->op.info.length, total);
    assert_true(slice_equal(f->op.info.headers.content_type, SLICE_LIT("text/csv")));
    free(content);
}

/* ---- files ---- */

static bool count_file(void *arg, const char *name, enum fs_kind kind)
{
    if (kind == FS_KIND_FILE)
        ++*(int *)arg;
    return true;
}

static int files(struct fixture *f)
{
    char path[512];
    int count = 0;
    snprintf(path, sizeof(path), "%s/data/000000", f->rig.dir);
    assert_int_equal(fs_list(f->rig.fs, path, count_file, &count, NULL), ERR_OK);
    return count;
}

static void wait_files(struct fixture *f, int want)
{
    for (int i = 0; i < 2000 && files(f) != want; i++)
        usleep(10000);
    assert_int_equal(files(f), want);
}

static void test_sweep(void **state)
{
    struct fixture *f = *state;
    uint8_t *content = make_content(40000, 5);
    prepare(f, BLOBSTORE_PUT, "pinned");
    assert_int_equal(with_content(f, content, 40000), ERR_OK);
    prepare(f, BLOBSTORE_PUT, "plain");
    assert_int_equal(with_content(f, content, 40000), ERR_OK);
    assert_int_equal(files(f), 2);
    assert_int_equal(simple(f, BLOBSTORE_READ, "pinned"), ERR_OK);
    struct blobstore_reader *reader = f->op.reader;
    assert_int_equal(simple(f, BLOBSTORE_DELETE, "pinned"), ERR_OK);
    assert_int_equal(simple(f, BLOBSTORE_DELETE, "plain"), ERR_OK);
    wait_files(f, 1);
    blobstore_reader_close(reader);
    wait_files(f, 0);
    prepare(f, BLOBSTORE_PUT, "more");
    assert_int_equal(with_content(f, content, 40000), ERR_OK);
    assert_int_equal(simple(f, BLOBSTORE_CONTAINER_DELETE, NULL), ERR_OK);
    wait_files(f, 0);
    free(content);
}

/* Readers of more replaced blobs than one round looks at: what is dead behind them goes all the same. */
static void test_sweep_behind_readers(void **state)
{
    enum { READERS = BLOBSTORE_SWEEP_GENS + 6 };
    struct fixture *f = *state;
    struct blobstore_reader *readers[READERS];
    uint8_t *content = make_content(20000, 5);
    char name[16];
    for (int i = 0; i < READERS; i++) {
        snprintf(name, sizeof(name), "b%02d", i);
        prepare(f, BLOBSTORE_PUT, name);
        assert_int_equal(with_content(f, content, 20000), ERR_OK);
        assert_int_equal(simple(f, BLOBSTORE_READ, name), ERR_OK);
        readers[i] = f->op.reader;
        assert_int_equal(simple(f, BLOBSTORE_DELETE, name), ERR_OK);
    }
    prepare(f, BLOBSTORE_PUT, "last");
    assert_int_equal(with_content(f, content, 20000), ERR_OK);
    assert_int_equal(files(f), READERS + 1);
    assert_int_equal(simple(f, BLOBSTORE_DELETE, "last"), ERR_OK);
    wait_files(f, READERS);
    for (int i = 0; i < READERS; i++)
        blobstore_reader_close(readers[i]);
    wait_files(f, 0);
    free(content);
}

static void test_reopen(void **state)
{
    struct fixture *f = *state;
    uint8_t *content = make_content(40000, 6);
    char path[512];
    prepare(f, BLOBSTORE_PUT, "kept");
    assert_int_equal(with_content(f, content, 40000), ERR_OK);
    uint64_t etag = f->op.info.etag;
    stop(f);
    /* what a crash in the middle of an upload leaves */
    snprintf(path, sizeof(path), "%s/data/000000/000000000099.dat", f->rig.dir);
    FILE *orphan = fopen(path, "w");
    assert_non_null(orphan);
    fclose(orphan);
    start(f);
    assert_int_equal(files(f), 1);
    expect_content(f, "kept", content, 40000);
    assert_true(f->op.info.etag == etag);
    prepare(f, BLOBSTORE_PUT, "next");
    assert_int_equal(with_content(f, content, 40000), ERR_OK);
    assert_true(f->op.info.etag > etag);
    expect_content(f, "next", content, 40000);
    free(content);
}

static void test_faults(void **state)
{
    struct fixture *f = *state;
    uint8_t *content = make_content(300000, 7);
    prepare(f, BLOBSTORE_PUT, "good");
    assert_int_equal(with_content(f, content, 300000), ERR_OK);
    static const char *const points[] = {"fs.open", "fs.write", "fs.sync", "fs.sync_dir"};
    for (int i = 0; i < 4; i++) {
        assert_true(fault_arm(points[i], 0, 1, ERR_DISK_FULL));
        prepare(f, BLOBSTORE_PUT, "good");
        assert_int_equal(with_content(f, content + 1, 100000), ERR_DISK_FULL);
        fault_disarm_all();
        expect_content(f, "good", content, 300000);
        wait_files(f, 1); /* what failed is gone */
    }
    prepare(f, BLOBSTORE_PUT, "good");
    assert_int_equal(with_content(f, content + 1, 100000), ERR_OK);
    expect_content(f, "good", content + 1, 100000);
    free(content);
}

/* The content is there but the index cannot take it: the file goes without a restart. */
static void test_index_full(void **state)
{
    struct fixture *f = *state;
    uint8_t *content = make_content(100000, 8);
    prepare(f, BLOBSTORE_PUT, "good");
    assert_int_equal(with_content(f, content, 100000), ERR_OK);
    for (uint32_t skip = 1; skip < 4; skip++) { /* 0 is the write of the content */
        /* All that follow fail too: the sweeper behind the last round may take some of these writes. */
        assert_true(fault_arm("fs.write", skip, 1000, ERR_DISK_FULL));
        prepare(f, BLOBSTORE_PUT, "good");
        assert_int_equal(with_content(f, content + 1, 90000), ERR_DISK_FULL);
        fault_disarm_all();
        expect_content(f, "good", content, 100000);
        wait_files(f, 1);
    }
    prepare(f, BLOBSTORE_PUT, "good");
    assert_int_equal(with_content(f, content + 1, 90000), ERR_OK);
    wait_files(f, 1);
    stop(f);
    start(f);
    expect_content(f, "good", content + 1, 90000);
    free(content);
}

#define STORE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc64),   cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_headers), cmocka_unit_test(test_condition_table),
        STORE_TEST(test_containers),    STORE_TEST(test_put_sizes),
        STORE_TEST(test_conditions),    STORE_TEST(test_blocks),
        STORE_TEST(test_append),        STORE_TEST(test_list),
        STORE_TEST(test_write_bytes),   STORE_TEST(test_sweep),
        STORE_TEST(test_reopen),        STORE_TEST(test_faults),
        STORE_TEST(test_index_full),    STORE_TEST(test_sweep_behind_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
