/*
 * Whole writes from memory, for outputs of jobs.
 *
 * One object walks the steps: make the container (an existing one is fine), bring the bytes in, and
 * for an append first make the append blob unless it is there, then append. It owns a small arena
 * and the bytes, and frees itself after the callback.
 *
 * Ownership: the calling shard. Invariant: done is called exactly once. Failure modes: the first
 * error ends the walk.
 */
#include <stdlib.h>

#include "blobstore/blobstore_int.h"

struct blobstore_write {
    struct blobstore *store;
    struct shard *shard;
    enum blobstore_write_how how;
    struct arena *arena;
    struct slice container;
    struct slice blob;
    struct slice block_id;
    struct slice content_type;
    struct iobuf_range bytes;
    int64_t append_position;
    struct blobstore_upload *upload;
    struct blobstore_op op;
    blobstore_write_fn done;
    void *arg;
    struct hook hook;
    enum err err;
};

static void write_end(struct blobstore_write *write, enum err err, const struct err_info *info)
{
    ASSERT(write->done);
    write->done(err, info, write->arg);
    blobstore_upload_discard(write->upload);
    iobuf_unref(write->bytes.buf);
    arena_destroy(write->arena);
    free(write);
}

static void write_failed_later(struct hook *hook)
{
    struct blobstore_write *write = CONTAINER_OF(hook, struct blobstore_write, hook);
    write_end(write, write->err, NULL);
}

static void write_op_done(struct blobstore_op *op)
{
    write_end(op->arg, op->err, op->err ? &op->err_info : NULL);
}

static void write_submit(struct blobstore_write *write, enum blobstore_verb verb,
                         void (*done)(struct blobstore_op *))
{
    blobstore_op_init(&write->op, verb, write->arena);
    write->op.container = write->container;
    write->op.blob = write->blob;
    write->op.headers.content_type = write->content_type;
    write->op.block_id = write->block_id;
    write->op.done = done;
    write->op.arg = write;
    if (verb == BLOBSTORE_PUT_APPEND)
        write->op.conditions.none_match = (struct blobstore_etags){.present = true, .any = true};
    if (verb == BLOBSTORE_APPEND_BLOCK)
        write->op.append_position = write->append_position;
    if (verb == BLOBSTORE_PUT || verb == BLOBSTORE_STAGE || verb == BLOBSTORE_APPEND_BLOCK) {
        write->op.upload = write->upload;
        write->upload = NULL;
    }
    blobstore_submit(write->store, write->shard, &write->op);
}

static void write_append_made(struct blobstore_op *op)
{
    struct blobstore_write *write = op->arg;
    if (op->err && op->err != ERR_BLOB_EXISTS) {
        write_end(write, op->err, &op->err_info);
        return;
    }
    write_submit(write, BLOBSTORE_APPEND_BLOCK, write_op_done);
}

static void write_finished(struct blobstore_upload *upload, void *arg)
{
    struct blobstore_write *write = arg;
    if (upload->err) {
        write_end(write, upload->err, &upload->info);
        return;
    }
    switch (write->how) {
    case BLOBSTORE_WRITE_PUT:
        write_submit(write, BLOBSTORE_PUT, write_op_done);
        break;
    case BLOBSTORE_WRITE_STAGE:
        write_submit(write, BLOBSTORE_STAGE, write_op_done);
        break;
    case BLOBSTORE_WRITE_APPEND:
        write_submit(write, BLOBSTORE_PUT_APPEND, write_append_made);
        break;
    }
}

static void write_written(struct blobstore_upload *upload, void *arg)
{
    blobstore_upload_finish(upload, write_finished, arg);
}

static void write_container_made(struct blobstore_op *op)
{
    struct blobstore_write *write = op->arg;
    if (op->err && op->err != ERR_CONTAINER_EXISTS) {
        write_end(write, op->err, &op->err_info);
        return;
    }
    write->upload = blobstore_upload_create(write->store, write->shard);
    if (!write->upload) {
        write_end(write, ERR_BUSY, NULL);
        return;
    }
    struct iobuf_range bytes = write->bytes;
    write->bytes = (struct iobuf_range){NULL, SLICE_NULL};
    if (bytes.bytes.len <= BLOBSTORE_INLINE_MAX) {
        bool small = blobstore_upload_small(write->upload, bytes.bytes);
        ASSERT(small);
        iobuf_unref(bytes.buf);
        write_finished(write->upload, write);
        return;
    }
    blobstore_upload_write(write->upload, bytes, write_written, write);
}

void blobstore_write_bytes(struct blobstore *store, struct shard *shard,
                           enum blobstore_write_how how, struct slice container, struct slice blob,
                           struct slice block_id, struct slice content_type, struct slice bytes,
                           int64_t append_position, blobstore_write_fn done, void *arg)
{
    ASSERT(store && shard && done && container.len > 0 && blob.len > 0);
    struct blobstore_write *write = calloc(1, sizeof(*write));
    ASSERT(write != NULL); /* a few hundred bytes: without them nothing could be answered either */
    *write = (struct blobstore_write){.store = store,
                                      .shard = shard,
                                      .how = how,
                                      .append_position = append_position,
                                      .done = done,
                                      .arg = arg};
    write->arena = arena_create(NULL, "blob-write", 256 * 1024);
    write->bytes.buf = bytes.len ? iobuf_create(bytes.len) : NULL;
    if (write->arena) {
        write->container = arena_copy(write->arena, container);
        write->blob = arena_copy(write->arena, blob);
        write->block_id = arena_copy(write->arena, block_id);
        write->content_type = arena_copy(write->arena, content_type);
    }
    if (!write->arena || !write->content_type.data || (bytes.len && !write->bytes.buf)) {
        write->err = ERR_NO_MEMORY;
        hook_init(&write->hook, write_failed_later);
        reactor_at_turn_end(shard->reactor, &write->hook);
        return;
    }
    if (bytes.len) {
        memcpy(iobuf_data(write->bytes.buf), bytes.data, bytes.len);
        write->bytes.bytes = slice_make(iobuf_data(write->bytes.buf), bytes.len);
    }
    write_submit(write, BLOBSTORE_CONTAINER_CREATE, write_container_made);
}
