/*
 * A buffered connection: what every front reads frames from and writes answers to.
 *
 * Input collects in a reference-counted block, so a frame is parsed where it lies and a batch in it
 * can be pinned and travel to the log without a copy. Output is a queue of copied bytes and pinned
 * ranges, written with one call at the end of the turn. Limits: input holds at most in_limit bytes;
 * above out_high pending bytes reading stops until out_low. A TLS layer will sit between stream and
 * conn; nothing here will change for users.
 *
 * Shard: owner. A stream frees itself after on_close.
 */
#ifndef WEIR_IO_STREAM_H
#define WEIR_IO_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/iobuf.h"
#include "base/slice.h"

struct stream;
struct reactor;
struct conn;

struct stream_ops {
    /*
     * There is input: take frames from stream_input and stream_consume them. Left-over bytes are an
     * incomplete frame: say how long the frame will be with stream_need. Called again when more
     * bytes come, or after stream_resume.
     */
    void (*on_data)(struct stream *stream, void *arg);
    /* Pending output fell to out_low after it had passed out_high. May be NULL. */
    void (*on_drain)(struct stream *stream, void *arg);
    /*
     * The last callback: free what belongs to the connection. reason: ERR_OK (closed by us, or the
     * peer ended cleanly), ERR_TIMEOUT (idle or close deadline), ERR_CONNECTION_LOST, ERR_LIMIT,
     * ERR_NO_MEMORY, ERR_CLOSING.
     */
    void (*on_close)(struct stream *stream, enum err reason, void *arg);
    /* The peer ended its sending side with our output still open. NULL: the stream closes after the
     * pending output. */
    void (*on_eof)(struct stream *stream, void *arg);
};

struct stream_config {
    size_t in_limit;  /* most unconsumed input: the largest frame; 0: 1 MiB */
    size_t out_high;  /* pending output that stops reading; 0: 1 MiB */
    size_t out_low;   /* pending output that resumes it; 0: out_high / 2 */
    size_t out_limit; /* pending output at which writes fail and the stream closes with ERR_LIMIT;
                         0: 64 MiB */
    uint64_t idle_us; /* no byte in or out for so long: on_close(ERR_TIMEOUT); 0: never */
};

/* Takes the conn from an accept callback and adopts it. NULL: limit or memory; the conn is closed.
 */
MUST_CHECK struct stream *stream_create(struct reactor *reactor, struct conn *conn,
                                        const struct stream_config *config,
                                        const struct stream_ops *ops, void *arg);
/* Dials out; writes may be queued at once. A failed connect ends in on_close(ERR_CONNECTION_LOST).
 * NULL: see info. */
MUST_CHECK struct stream *stream_connect(struct reactor *reactor, const char *host, uint16_t port,
                                         const struct stream_config *config,
                                         const struct stream_ops *ops, void *arg,
                                         struct err_info *info);

/* ---- input ---- */

/* All unconsumed bytes, contiguous. Valid until the callback returns or the next stream_consume,
 * pinned or not. */
struct slice stream_input(const struct stream *stream);
/* The first n unconsumed bytes are done. */
void stream_consume(struct stream *stream, size_t n);
/* The frame at the front has total bytes: on_data waits for them all. ERR_LIMIT above in_limit:
 * answer, then close. */
MUST_CHECK enum err stream_need(struct stream *stream, size_t total);
/* A range of the unconsumed input with one new reference on its block: survives consume and close.
 * The holder unrefs range.buf. */
struct iobuf_range stream_pin(struct stream *stream, struct slice bytes);
/* Stops and restarts on_data and reading (nesting is not counted). */
void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);

/* ---- output: failure closes the stream later and is seen in on_close; writes after it do nothing
 * ---- */

/* Copies the bytes. */
void stream_write(struct stream *stream, struct slice bytes);
/* Takes one reference that the caller owns: range.buf is unref'd when sent. buf NULL: static bytes.
 */
void stream_write_range(struct stream *stream, struct iobuf_range range);
/* len bytes of the output block to fill in place, to be followed by stream_commit(len used). len <=
 * 64 KiB; NULL on failure. */
uint8_t *stream_reserve(struct stream *stream, size_t len);
void stream_commit(struct stream *stream, size_t len);
/* Bytes not yet given to the kernel. */
size_t stream_pending(const struct stream *stream);
/* False between out_high and out_low: producers of bulk output wait for on_drain. */
bool stream_has_room(const struct stream *stream);

/* ---- life ---- */

/* Graceful: no more on_data; pending output is sent (at most 5 s), then on_close(ERR_OK). */
void stream_close(struct stream *stream);
/* on_close(reason) at the end of this turn; pending output is dropped. */
void stream_abort(struct stream *stream, enum err reason);
bool stream_closing(const struct stream *stream);
/* 0: never. Counts from the last byte moved. */
void stream_idle_set(struct stream *stream, uint64_t idle_us);
void *stream_arg(const struct stream *stream);
/* Swaps the callbacks (an HTTP connection that becomes a WebSocket, a multiplexed port). Pending
 * input is offered to the new ones. */
void stream_ops_set(struct stream *stream, const struct stream_ops *ops, void *arg);
struct reactor *stream_reactor(const struct stream *stream);
struct conn *stream_conn(const struct stream *stream);
const char *stream_peer(const struct stream *stream);

#endif
