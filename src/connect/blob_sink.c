/*
 * Rows into an append blob: JSON lines, or CSV with a header line; one block for each epoch that has rows. When a blob
 * has all the blocks it can take, the next one goes on: a/b.csv, a/b_1.csv, a/b_2.csv ...
 *
 *   state   the number of the blob being written, 0 for the first
 *
 *   CSV     open: look at the blob -> its length, and the header that settles the columns
 *           commit: a blob of length 0 gets the header before the rows; the append holds only at the length seen, so that
 *           another writer, a deleted blob or a next part that was begun before a crash is noticed: look again
 *
 * Opening a CSV output reads the header of what is there, so that a restarted job neither repeats it nor changes the
 * order of columns.
 *
 * Invariants: (1) a commit is answered after its block is durable; (2) whole lines only are written, so readers never
 * see half a row; (3) a CSV blob has one header, at its start. Ownership: one job on one shard. Failure: the store's
 * errors; a blob of another type ends the job. A container or blob that was deleted is made anew.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/numtext.h"
#include "blobstore/blobstore.h"
#include "connect/ends.h"
#include "io/fault.h"

enum {
    BUFFER_LIMIT = 256 << 20,
    COLUMNS_MAX = 2 << 20, /* bytes of a header that is written */
    HEADER_MAX = 64 << 10, /* of one that is read */
    PARTS_MAX = 1000000,
    LOOKS_MAX = 100
};

FAULT_DEFINE(fault_header, "job.header")
FAULT_DEFINE(fault_full, "job.full")

struct blob_sink {
    struct sink base;
    struct blobstore *blobs;
    struct shard *shard;
    const struct job_output *output;
    struct exec_csv *csv;
    struct bytebuf buffer; /* rows */
    struct bytebuf header; /* of CSV, when the columns are settled; whole or failed */
    size_t buffer_header;  /* bytes of it at the front of buffer */
    uint64_t length;       /* of the blob when last seen; CSV */
    uint64_t written;      /* bytes on their way to it */
    unsigned looks;        /* at the blob, in this commit */
    bool committing;

    sink_done_fn done;
    void *done_ctx;
    struct arena *arena; /* of the operation under way */
    struct blobstore_op op;
    uint8_t *head;   /* the blob's first bytes */
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

static void fail(struct blob_sink *bs, enum err err, const struct err_info *info)
{
    struct err_info copy = {.code = err};

    ASSERT(err != ERR_OK);
    if (info != NULL)
        copy = *info;
    if (copy.text[0] == '\0')
        (void)err_info_set(&copy, err, "%s", err_row(err)->text);
    err_info_wrap(&copy, "output blob '%.*s/%.*s'", SLICE_FMT(bs->output->container),
                  SLICE_FMT(blob_name(bs)));
    finish(bs, err, &copy);
}

/* ---- looking at a CSV blob ---- */

static void write_buffer(struct blob_sink *bs);

static void look_finish(struct blob_sink *bs, enum err err, const struct err_info *info)
{
    free(bs->head);
    bs->head = NULL;
    struct err_info copy = {.code = err};
    if (info != NULL) /* it lies in the operation or the reader, whose arena goes now */
        copy = *info;
    arena_destroy(bs->arena);
    bs->arena = NULL;
    if (err != ERR_OK)
        fail(bs, err, &copy);
    else if (bs->committing)
        write_buffer(bs);
    else
        finish(bs, ERR_OK, NULL);
}

static void on_head(struct blobstore_reader *reader, enum err err, size_t len, void *arg)
{
    struct blob_sink *bs = arg;

    ASSERT(bs->csv != NULL && bs->head != NULL);
    blobstore_reader_close(reader);
    struct slice text = slice_make(bs->head, len);
    size_t line = slice_find_byte(text, '\n', 0);
    if (err == ERR_OK && line != SIZE_MAX && bs->buffer.len == 0 &&
        !exec_csv_resume(bs->csv, slice_sub(text, 0, line + 1)))
        err = ERR_NO_MEMORY;
    look_finish(bs, err, NULL);
}

static void on_looked(struct blobstore_op *op)
{
    struct blob_sink *bs = op->arg;

    bs->length = 0;
    if (op->err == ERR_CONTAINER_NOT_FOUND || op->err == ERR_BLOB_NOT_FOUND) {
        look_finish(bs, ERR_OK, NULL);
        return;
    }
    if (op->err != ERR_OK) {
        look_finish(bs, op->err, &op->err_info);
        return;
    }
    bs->length = op->info.length;
    bs->head = malloc(HEADER_MAX);
    if (bs->head == NULL || bs->length == 0) {
        blobstore_reader_close(op->reader);
        look_finish(bs, bs->head == NULL ? ERR_NO_MEMORY : ERR_OK, NULL);
        return;
    }
    blobstore_reader_read(op->reader, 0, bs->head, HEADER_MAX, on_head, bs);
}

/* Finds length and header of the blob being written. */
static void look(struct blob_sink *bs)
{
    ASSERT(bs->arena == NULL && bs->head == NULL);
    bs->arena = arena_create(NULL, "blob output", 1 << 20);
    if (bs->arena == NULL) {
        look_finish(bs, ERR_NO_MEMORY, NULL);
        return;
    }
    blobstore_op_init(&bs->op, BLOBSTORE_READ, bs->arena);
    bs->op.container = bs->output->container;
    bs->op.blob = blob_name(bs);
    bs->op.done = on_looked;
    bs->op.arg = bs;
    blobstore_submit(bs->blobs, bs->shard, &bs->op);
}

/* ---- the sink ---- */

static void sink_open(struct sink *sink, struct slice state, sink_done_fn done, void *ctx)
{
    struct blob_sink *bs = of(sink);
    uint64_t part = 0;

    ASSERT(bs->done == NULL && bs->buffer.len == 0);
    bs->done = done;
    bs->done_ctx = ctx;
    bs->committing = false;
    bs->part = 0;
    if (numtext_read_uint64(state, &part) && part > 0 && part <= PARTS_MAX &&
        !part_set(bs, (uint32_t)part)) {
        fail(bs, ERR_NO_MEMORY, NULL);
        return;
    }
    if (bs->output->format != JOB_FORMAT_CSV) {
        finish(bs, ERR_OK, NULL);
        return;
    }
    exec_csv_destroy(bs->csv);
    bytebuf_clear(&bs->header);
    bs->csv = exec_csv_create(',');
    if (bs->csv == NULL)
        fail(bs, ERR_NO_MEMORY, NULL);
    else
        look(bs);
}

/* What the rows' CSV puts before the first of them stays known apart from them. */
static enum err csv_rows(struct blob_sink *bs, const struct exec_rows *rows, struct err_info *info)
{
    bool first = bs->header.len == 0;

    if (first)
        exec_csv_header(bs->csv, &bs->header); /* settled by what is in the blob */
    bool settled = bs->header.len > 0;
    enum err err = exec_rows_csv(rows, bs->csv, &bs->buffer, info);
    if (err != ERR_OK)
        return err;
    if (!settled) {
        exec_csv_header(bs->csv, &bs->header);
        bs->buffer_header = bs->header.len;
    }
    if (bs->header.failed)
        return err_info_set(info, ERR_NO_MEMORY, "out of memory for a CSV header");
    return ERR_OK;
}

static enum err sink_rows(struct sink *sink, const struct exec_rows *rows, struct err_info *info)
{
    struct blob_sink *bs = of(sink);

    ASSERT(bs->done == NULL);
    if (bs->output->format == JOB_FORMAT_CSV)
        return csv_rows(bs, rows, info);
    return exec_rows_json_lines(rows, &bs->buffer, info);
}

static size_t sink_buffered(const struct sink *sink)
{
    return of(sink)->buffer.len;
}

static void on_written(enum err err, const struct err_info *info, void *arg)
{
    struct blob_sink *bs = arg;
    bool csv = bs->output->format == JOB_FORMAT_CSV;

    ASSERT(bs->committing && bs->done != NULL);
    if (err ==
        ERR_BLOCK_COUNT) { /* full: the next one goes on, which may have been begun before a crash */
        if (bs->part == PARTS_MAX || !part_set(bs, bs->part + 1))
            fail(bs, bs->part == PARTS_MAX ? ERR_BLOCK_COUNT : ERR_NO_MEMORY, info);
        else if (csv)
            look(bs);
        else
            write_buffer(bs);
        return;
    }
    if (err == ERR_APPEND_POSITION && csv) {
        if (++bs->looks < LOOKS_MAX)
            look(bs);
        else
            fail(bs, ERR_BUSY, NULL);
        return;
    }
    bs->committing = false;
    if (err != ERR_OK) {
        fail(bs, err, info);
        return;
    }
    bs->length += bs->written;
    bytebuf_clear(&bs->buffer);
    bs->buffer_header = 0;
    finish(bs, ERR_OK, NULL);
}

/* Appends text where the blob is expected to end; -1: wherever it ends. */
static void append(struct blob_sink *bs, struct slice text, int64_t position)
{
    bool csv = bs->output->format == JOB_FORMAT_CSV;

    ASSERT(text.len > 0);
    enum err full = fault_check(&fault_full);
    if (full != ERR_OK) {
        on_written(full, NULL, bs);
        return;
    }
    bs->written = text.len;
    blobstore_write_bytes(bs->blobs, bs->shard, BLOBSTORE_WRITE_APPEND, bs->output->container,
                          blob_name(bs), SLICE_NULL,
                          csv ? SLICE_LIT("text/csv") : SLICE_LIT("application/x-ndjson"), text,
                          position, on_written, bs);
}

static void write_buffer(struct blob_sink *bs)
{
    struct slice rows = bytebuf_slice(&bs->buffer);

    if (bs->output->format != JOB_FORMAT_CSV) {
        append(bs, rows, -1);
        return;
    }
    ASSERT(bs->buffer_header <= rows.len && bs->header.len > 0);
    if (bs->length > 0) { /* it has its header */
        append(bs, slice_sub(rows, bs->buffer_header, rows.len), (int64_t)bs->length);
        return;
    }
    if (bs->buffer_header == 0) {
        struct bytebuf all;
        bytebuf_init(&all, BUFFER_LIMIT + COLUMNS_MAX);
        bytebuf_append_slice(&all, bytebuf_slice(&bs->header));
        bytebuf_append_slice(&all, rows);
        if (all.failed || fault_check(&fault_header) != ERR_OK) {
            bytebuf_deinit(&all);
            fail(bs, ERR_NO_MEMORY, NULL);
            return;
        }
        bytebuf_deinit(&bs->buffer);
        bs->buffer = all;
        bs->buffer_header = bs->header.len;
    }
    append(bs, bytebuf_slice(&bs->buffer), 0);
}

static void sink_commit(struct sink *sink, sink_done_fn done, void *ctx)
{
    struct blob_sink *bs = of(sink);

    ASSERT(bs->done == NULL && !bs->buffer.failed);
    bs->done = done;
    bs->done_ctx = ctx;
    bs->looks = 0;
    bs->committing = bs->buffer.len > 0;
    if (bs->committing)
        write_buffer(bs);
    else
        finish(bs, ERR_OK, NULL);
}

static void sink_discard(struct sink *sink)
{
    struct blob_sink *bs = of(sink);

    ASSERT(bs->done == NULL);
    bytebuf_clear(&bs->buffer);
    bs->buffer_header = 0;
}

static void sink_state(const struct sink *sink, struct bytebuf *out)
{
    bytebuf_printf(out, "%u", of(sink)->part);
}

static void sink_destroy(struct sink *sink)
{
    struct blob_sink *bs = of(sink);

    ASSERT(bs->done == NULL && bs->arena == NULL);
    exec_csv_destroy(bs->csv);
    bytebuf_deinit(&bs->buffer);
    bytebuf_deinit(&bs->header);
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
    bytebuf_init(&bs->header, COLUMNS_MAX);
    return &bs->base;
}
