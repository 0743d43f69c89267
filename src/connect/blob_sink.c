/*
 * Rows into an append blob: JSON lines, or CSV with a header line; one block for each epoch that has rows. When a blob
 * has all the blocks it can take, the next one goes on: a/b.csv, a/b_1.csv, a/b_2.csv ...
 *
 *   state   the number of the blob being written, 0 for the first
 *
 * Opening a CSV output reads the header of what is there, so that a restarted job neither repeats it nor changes the
 * order of columns.
 *
 * Invariants: (1) a commit is answered after its block is durable; (2) whole lines only are written, so readers never
 * see half a row. Ownership: one job on one shard. Failure: the store's errors; a blob of another type ends the job.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/numtext.h"
#include "blobstore/blobstore.h"
#include "connect/ends.h"

enum { BUFFER_LIMIT = 256 << 20, HEADER_MAX = 64 << 10, PARTS_MAX = 1000000 };

struct blob_sink {
    struct sink base;
    struct blobstore *blobs;
    struct shard *shard;
    const struct job_output *output;
    struct exec_csv *csv;
    struct bytebuf buffer;

    sink_done_fn done;
    void *done_ctx;
    struct arena *arena; /* of the operation under way */
    struct blobstore_op op;
    uint8_t *header;
    uint32_t part;   /* 0: the name as given */
    char *part_name; /* of part > 0 */
};

static struct blob_sink *of(const struct sink *sink)
{
    return CONTAINER_OF((struct sink *)(uintptr_t)sink, struct blob_sink, base);
}

/* Name of the blob being written; part_name is ready. */
static struct slice blob_name(const struct blob_sink *bs)
{
    return bs->part == 0 ? bs->output->blob : slice_cstr(bs->part_name);
}

/* Makes this part the one being written: its number goes before the ending. false: memory. */
static bool part_set(struct blob_sink *bs, uint32_t part)
{
    struct slice name = bs->output->blob;
    size_t size = name.len + 16;
    size_t dot = name.len;

    for (size_t i = name.len; i > 0 && name.data[i - 1] != '/'; i--) {
        if (name.data[i - 1] == '.') {
            dot = i - 1;
            break;
        }
    }
    if (bs->part_name == NULL)
        bs->part_name = malloc(size);
    if (bs->part_name == NULL)
        return false;
    snprintf(bs->part_name, size, "%.*s_%u%.*s", (int)dot, (const char *)name.data, part,
             (int)(name.len - dot), (const char *)name.data + dot);
    bs->part = part;
    return true;
}

static void finish(struct blob_sink *bs, enum err err, const struct err_info *info)
{
    sink_done_fn done = bs->done;

    ASSERT(done != NULL);
    bs->done = NULL;
    done(bs->done_ctx, err, info);
}

static void open_finish(struct blob_sink *bs, enum err err, const struct err_info *info)
{
    struct err_info copy = {.code = err};

    if (info != NULL)
        copy = *info;
    if (err != ERR_OK)
        err_info_wrap(&copy, "output blob '%.*s/%.*s'", SLICE_FMT(bs->output->container),
                      SLICE_FMT(bs->output->blob));
    free(bs->header);
    bs->header = NULL;
    arena_destroy(bs->arena);
    bs->arena = NULL;
    finish(bs, err, &copy);
}

static void on_header(struct blobstore_reader *reader, enum err err, size_t len, void *arg)
{
    struct blob_sink *bs = arg;

    blobstore_reader_close(reader);
    size_t line = slice_find_byte(slice_make(bs->header, len), '\n', 0);
    if (err == ERR_OK && line != SIZE_MAX &&
        !exec_csv_resume(bs->csv, slice_make(bs->header, line + 1)))
        err = ERR_NO_MEMORY;
    open_finish(bs, err, NULL);
}

static void on_opened(struct blobstore_op *op)
{
    struct blob_sink *bs = op->arg;

    if (op->err == ERR_CONTAINER_NOT_FOUND || op->err == ERR_BLOB_NOT_FOUND) {
        open_finish(bs, ERR_OK, NULL);
        return;
    }
    if (op->err != ERR_OK) {
        open_finish(bs, op->err, &op->err_info);
        return;
    }
    bs->header = malloc(HEADER_MAX);
    if (bs->header == NULL || op->info.length == 0) {
        blobstore_reader_close(op->reader);
        open_finish(bs, bs->header == NULL ? ERR_NO_MEMORY : ERR_OK, NULL);
        return;
    }
    blobstore_reader_read(op->reader, 0, bs->header, HEADER_MAX, on_header, bs);
}

static void sink_open(struct sink *sink, struct slice state, sink_done_fn done, void *ctx)
{
    struct blob_sink *bs = of(sink);

    uint64_t part = 0;

    bs->done = done;
    bs->done_ctx = ctx;
    if (numtext_read_uint64(state, &part) && part > 0 && part <= PARTS_MAX &&
        !part_set(bs, (uint32_t)part)) {
        finish(bs, ERR_NO_MEMORY, NULL);
        return;
    }
    if (bs->output->format != JOB_FORMAT_CSV) {
        finish(bs, ERR_OK, NULL);
        return;
    }
    exec_csv_destroy(bs->csv);
    bs->csv = exec_csv_create(',');
    bs->arena = arena_create(NULL, "blob output", 1 << 20);
    if (bs->csv == NULL || bs->arena == NULL) {
        open_finish(bs, ERR_NO_MEMORY, NULL);
        return;
    }
    blobstore_op_init(&bs->op, BLOBSTORE_READ, bs->arena);
    bs->op.container = bs->output->container;
    bs->op.blob = blob_name(bs);
    bs->op.done = on_opened;
    bs->op.arg = bs;
    blobstore_submit(bs->blobs, bs->shard, &bs->op);
}

static enum err sink_rows(struct sink *sink, const struct exec_rows *rows, struct err_info *info)
{
    struct blob_sink *bs = of(sink);

    if (bs->output->format == JOB_FORMAT_CSV)
        return exec_rows_csv(rows, bs->csv, &bs->buffer, info);
    return exec_rows_json_lines(rows, &bs->buffer, info);
}

static size_t sink_buffered(const struct sink *sink)
{
    return of(sink)->buffer.len;
}

static void write_buffer(struct blob_sink *bs);

/* The blob is full: the same rows, with a header of their own, begin the next one. */
static bool next_part(struct blob_sink *bs)
{
    struct bytebuf rows = bs->buffer;

    if (bs->part == PARTS_MAX || !part_set(bs, bs->part + 1))
        return false;
    if (bs->csv == NULL)
        return true;
    bytebuf_init(&bs->buffer, BUFFER_LIMIT);
    exec_csv_header(bs->csv, &bs->buffer);
    bytebuf_append_slice(&bs->buffer, bytebuf_slice(&rows));
    bytebuf_deinit(&rows);
    return !bs->buffer.failed;
}

static void on_written(enum err err, const struct err_info *info, void *arg)
{
    struct blob_sink *bs = arg;
    struct err_info copy = {.code = err};

    if (err == ERR_BLOCK_COUNT && next_part(bs)) {
        write_buffer(bs);
        return;
    }
    if (info != NULL)
        copy = *info;
    if (err == ERR_OK)
        bytebuf_clear(&bs->buffer);
    else
        err_info_wrap(&copy, "output blob '%.*s/%.*s'", SLICE_FMT(bs->output->container),
                      SLICE_FMT(blob_name(bs)));
    finish(bs, err, &copy);
}

static void write_buffer(struct blob_sink *bs)
{
    bool csv = bs->output->format == JOB_FORMAT_CSV;

    blobstore_write_bytes(bs->blobs, bs->shard, BLOBSTORE_WRITE_APPEND, bs->output->container,
                          blob_name(bs), SLICE_NULL,
                          csv ? SLICE_LIT("text/csv") : SLICE_LIT("application/x-ndjson"),
                          bytebuf_slice(&bs->buffer), -1, on_written, bs);
}

static void sink_commit(struct sink *sink, sink_done_fn done, void *ctx)
{
    struct blob_sink *bs = of(sink);

    bs->done = done;
    bs->done_ctx = ctx;
    if (bs->buffer.len == 0)
        finish(bs, ERR_OK, NULL);
    else
        write_buffer(bs);
}

static void sink_discard(struct sink *sink)
{
    bytebuf_clear(&of(sink)->buffer);
}

static void sink_state(const struct sink *sink, struct bytebuf *out)
{
    bytebuf_printf(out, "%u", of(sink)->part);
}

static void sink_destroy(struct sink *sink)
{
    struct blob_sink *bs = of(sink);

    ASSERT(bs->done == NULL);
    exec_csv_destroy(bs->csv);
    bytebuf_deinit(&bs->buffer);
    free(bs->part_name);
    free(bs);
}

struct sink *blob_sink_create(struct blobstore *blobs, struct shard *shard,
                              const struct job_output *output)
{
    static const struct sink_ops ops = {.open = sink_open,
                                        .rows = sink_rows,
                                        .buffered = sink_buffered,
                                        .commit = sink_commit,
                                        .discard = sink_discard,
                                        .state = sink_state,
                                        .destroy = sink_destroy};
    struct blob_sink *bs = calloc(1, sizeof(*bs));

    if (bs == NULL)
        return NULL;
    bs->base.ops = &ops;
    bs->blobs = blobs;
    bs->shard = shard;
    bs->output = output;
    bytebuf_init(&bs->buffer, BUFFER_LIMIT);
    return &bs->base;
}
