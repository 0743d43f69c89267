/*
 * Role: buffered connections: frames in from a shared block, answers out in one write per turn.
 *
 *     block   [ done | unconsumed: in_start .. in_end | free ]     one iobuf, replaced when full
 *     queue   [ seg | seg | seg (tail block: room left) ]          pinned ranges, sent in order
 *
 *     state   OPEN --close--> FLUSHING --all sent--> LINGERING --peer's end or 1 s--> DEAD
 *             any  --abort, loss, limit, timeout--> DEAD
 *
 * Invariants
 * (1) Bytes before in_end never change while a pin on the block lives: a pinned block is not
 *     compacted, only appended to or replaced.
 * (2) in_end - in_start <= in_limit.
 * (3) out_bytes is the sum of the segments' lengths; only the last segment may still grow.
 * (4) User callbacks run from socket events or the turn-end hook, never inside a call of this
 *     interface; on_close is the last one.
 * (5) Reading stops while paused, above out_high until out_low, and from FLUSHING on (then input
 *     is dropped).
 *
 * Ownership and shard: owner. The blocks travel to other shards by reference; the stream itself
 * never does.
 *
 * Failure modes: peer gone: ERR_CONNECTION_LOST; no memory: ERR_NO_MEMORY; out_limit passed:
 * ERR_LIMIT; silence: ERR_TIMEOUT. Each leads to on_close once, at the end of the turn.
 */
#include "io/stream.h"

#include <stdlib.h>

#include "io/reactor.h"

#define STREAM_IN_LIMIT ((size_t)1 << 20)
#define STREAM_OUT_HIGH ((size_t)1 << 20)
#define STREAM_OUT_LIMIT ((size_t)64 << 20)
#define STREAM_CHUNK ((size_t)16 << 10)      /* first read block, output block */
#define STREAM_CHUNK_MAX ((size_t)256 << 10) /* read block of a busy sender */
#define STREAM_RESERVE_MAX ((size_t)64 << 10)
#define STREAM_TURN_BYTES                                                                          \
    ((size_t)1 << 20) /* input per turn, so that one peer cannot starve the rest */
#define STREAM_SEGS_MAX 65536u
#define STREAM_CLOSE_US 5000000
#define STREAM_LINGER_US 1000000

enum stream_state { STREAM_OPEN, STREAM_FLUSHING, STREAM_LINGERING, STREAM_DEAD };

struct stream {
    struct reactor *reactor;
    struct conn *conn;
    const struct stream_ops *ops;
    void *arg;
    struct stream_config config;
    enum stream_state state;
    enum err reason;
    bool paused;
    bool choked;     /* above out_high, not yet at out_low */
    bool offer;      /* give pending input to on_data at the end of the turn */
    bool peer_ended; /* the peer's side is closed */
    bool eof_told;
    bool in_stalled; /* on_data took nothing of what is there: wait for more, or for a resume */

    struct iobuf *in;
    size_t in_start;
    size_t in_end;
    size_t in_need;  /* on_data waits for so many bytes */
    size_t in_trust; /* largest frame that this peer really sent */
    size_t in_chunk;
    size_t in_last; /* consumed last: what a sender of large frames is likely to send again */
    bool in_pinned;

    struct iobuf_range *segs;
    uint32_t seg_cap; /* power of two or 0 */
    uint32_t seg_first;
    uint32_t seg_count;
    size_t out_bytes;
    struct iobuf *tail; /* block that copies go to; own reference */
    size_t tail_used;
    bool out_blocked; /* the transport took no more: on_writable goes on */
    bool tail_last;   /* the last segment ends at tail_used */

    struct hook hook;
    struct timer idle_timer;
    struct timer close_timer;
    uint64_t active_us;
};

/* Where TLS will sit: everything that moves bytes goes through these two. */
static enum conn_io stream_transport_recv(struct stream *stream, void *data, size_t cap,
                                          size_t *ret_len)
{
    ASSERT(stream->conn && stream->state != STREAM_DEAD);
    return conn_recv(stream->conn, data, cap, ret_len);
}

static enum conn_io stream_transport_send(struct stream *stream, const struct slice *parts,
                                          size_t count, size_t *ret_len)
{
    ASSERT(stream->conn && stream->state != STREAM_DEAD);
    return conn_sendv(stream->conn, parts, count, ret_len);
}

/*
 * Only marks: the owner hears of it from the hook at the turn's end, so that it never loses the
 * stream under a call of its own.
 */
static void stream_end(struct stream *stream, enum err reason)
{
    if (stream->state == STREAM_DEAD)
        return;
    ASSERT(stream->conn);
    stream->state = STREAM_DEAD;
    stream->reason = reason;
    conn_want(stream->conn, false, false);
    reactor_at_turn_end(stream->reactor, &stream->hook);
}

static bool stream_may_read(const struct stream *stream)
{
    /* An end of input stays readable for ever: wanting it would keep the loop turning. */
    if (stream->peer_ended)
        return false;
    if (stream->state == STREAM_LINGERING)
        return true;
    return stream->state == STREAM_OPEN && !stream->paused && !stream->choked;
}

/* Tells the conn which readiness matters now. */
static void stream_want(struct stream *stream)
{
    if (stream->state != STREAM_DEAD)
        conn_want(stream->conn, stream_may_read(stream), stream->out_blocked);
}

/* ---- input ---- */

static size_t stream_have(const struct stream *stream)
{
    ASSERT(stream->in_start <= stream->in_end);
    return stream->in_end - stream->in_start;
}

/*
 * Size of the next block: as large as the frame where the peer has shown that it sends such frames,
 * else growing with what came. A large frame is expected to be followed by one of about its size. A
 * length field alone never buys memory: a peer that announces 100 MiB and sends nothing holds one
 * small block.
 */
static size_t stream_block_size(const struct stream *stream)
{
    size_t have = stream_have(stream);
    size_t want = stream->in_need > have ? stream->in_need : have + 1;
    if (stream->in_last > STREAM_CHUNK_MAX && want < stream->in_last + stream->in_last / 8)
        want = stream->in_last + stream->in_last / 8;
    size_t most = 2 * (have > stream->in_trust ? have : stream->in_trust);
    if (most < STREAM_CHUNK_MAX)
        most = STREAM_CHUNK_MAX;
    if (want < stream->in_chunk)
        want = stream->in_chunk;
    ASSERT(most > have);
    return want < most ? want : most;
}

/* Makes room behind in_end. False: out of memory or at the limit. */
static bool stream_room(struct stream *stream)
{
    size_t have = stream_have(stream);
    size_t cap = stream->in ? iobuf_cap(stream->in) : 0;
    ASSERT(stream->in_end <= cap && stream->in_need <= stream->config.in_limit);
    bool fits = stream->in_need <= cap - stream->in_start;
    if (have >= stream->config.in_limit)
        return false;
    if (stream->in && stream->in_end < cap && fits)
        return true;
    size_t size = stream_block_size(stream);
    ASSERT(size > have);
    if (stream->in && !stream->in_pinned && size <= cap) {
        memmove(iobuf_data(stream->in), iobuf_data(stream->in) + stream->in_start, have);
    } else {
        struct iobuf *block = iobuf_create(size);
        if (!block)
            return false;
        if (have > 0)
            memcpy(iobuf_data(block), iobuf_data(stream->in) + stream->in_start, have);
        iobuf_unref(stream->in);
        stream->in = block;
        stream->in_pinned = false;
    }
    stream->in_start = 0;
    stream->in_end = have;
    ASSERT(stream->in_end < iobuf_cap(stream->in));
    return true;
}

/* An idle connection holds no block. */
static void stream_in_release(struct stream *stream)
{
    if (!stream->in || stream_have(stream) > 0)
        return;
    iobuf_unref(stream->in);
    stream->in = NULL;
    stream->in_start = stream->in_end = 0;
    stream->in_pinned = false;
}

/* Offers input to the user until it is used up, incomplete, or no longer wanted. */
static void stream_offer(struct stream *stream)
{
    ASSERT(stream->ops->on_data);
    while (stream->state == STREAM_OPEN && !stream->paused && !stream->choked &&
           !stream->in_stalled) {
        size_t have = stream_have(stream);
        if (have == 0 || have < stream->in_need)
            break;
        stream->ops->on_data(stream, stream->arg);
        size_t left = stream_have(stream);
        ASSERT(left <= have);
        if (left == have && stream->in_need <= have)
            stream->in_stalled = true;
    }
}

/* The peer's end has been read and everything before it offered. */
static void stream_offer_eof(struct stream *stream)
{
    bool stuck = stream->paused || stream->choked;
    if (!stream->peer_ended || stream->eof_told || stream->state != STREAM_OPEN)
        return;
    if (stuck && stream_have(stream) >= stream->in_need && stream_have(stream) > 0)
        return; /* later, behind the input that waits */
    stream->eof_told = true;
    if (stream->ops->on_eof)
        stream->ops->on_eof(stream, stream->arg);
    else
        stream_close(stream);
}

/*
 * How much to read at once. A large frame gets a block of its own: what is read beyond its end would
 * have to be copied to the next block.
 */
static size_t stream_read_size(const struct stream *stream)
{
    size_t have = stream_have(stream);
    size_t room = iobuf_cap(stream->in) - stream->in_end;
    size_t frame = stream->in_need > have ? stream->in_need : stream->in_last;
    if (frame > STREAM_CHUNK_MAX && frame > have && room > frame - have)
        room = frame - have;
    size_t allowed = stream->config.in_limit - have;
    ASSERT(room > 0 && allowed > 0);
    return room < allowed ? room : allowed;
}

/* Reads once. False: nothing more now. */
static bool stream_fill(struct stream *stream, size_t *ret_len)
{
    ASSERT(stream_may_read(stream));
    *ret_len = 0;
    if (!stream_room(stream)) {
        stream_end(stream,
                   stream_have(stream) >= stream->config.in_limit ? ERR_LIMIT : ERR_NO_MEMORY);
        return false;
    }
    size_t room = stream_read_size(stream);
    ASSERT(room > 0 && room <= iobuf_cap(stream->in) - stream->in_end);
    ASSERT(room <= stream->config.in_limit - stream_have(stream));
    size_t got = 0;
    enum conn_io io =
        stream_transport_recv(stream, iobuf_data(stream->in) + stream->in_end, room, &got);
    if (io == CONN_LOST)
        stream_end(stream, ERR_CONNECTION_LOST);
    else if (io == CONN_EOF)
        stream->peer_ended = true;
    if (io != CONN_OK)
        return false;
    ASSERT(got <= room);
    stream->in_end += got;
    stream->in_stalled = false;
    stream->active_us = reactor_now_us(stream->reactor);
    if (stream_have(stream) > stream->in_trust)
        stream->in_trust = stream_have(stream);
    if (got == room && stream->in_chunk < STREAM_CHUNK_MAX)
        stream->in_chunk *= 2;
    *ret_len = got;
    return got == room;
}

/*
 * Reads and drops what the peer still sends after our last byte. Closing with unread input makes the
 * kernel send a reset, and that may overtake and destroy an answer still on its way.
 */
static void stream_discard(struct stream *stream)
{
    ASSERT(stream->state == STREAM_LINGERING && stream->out_bytes == 0);
    uint8_t sink[4096];
    for (int i = 0; i < 64; i++) {
        size_t got;
        enum conn_io io = stream_transport_recv(stream, sink, sizeof(sink), &got);
        if (io == CONN_AGAIN)
            return;
        if (io != CONN_OK) {
            stream_end(stream, stream->reason);
            return;
        }
    }
}

/*
 * Reads until the kernel has no more, or a turn's worth is through, or the user stops it. Bytes are
 * offered after each read, so that large input flows through a block instead of piling up.
 */
static void stream_readable(struct conn *conn, void *arg)
{
    struct stream *stream = arg;
    ASSERT(stream->conn == conn);
    if (stream->state == STREAM_LINGERING) {
        stream_discard(stream);
        return;
    }
    size_t total = 0;
    bool more = true;
    while (more && total < STREAM_TURN_BYTES && stream->state == STREAM_OPEN &&
           stream_may_read(stream)) {
        size_t got;
        more = stream_fill(stream, &got);
        total += got;
        if (got > 0)
            stream_offer(stream);
    }
    stream_offer_eof(stream);
    stream_in_release(stream);
    stream_want(stream);
}

struct slice stream_input(const struct stream *stream)
{
    if (!stream->in)
        return SLICE_NULL;
    ASSERT(stream->in_end <= iobuf_cap(stream->in));
    return slice_make(iobuf_data(stream->in) + stream->in_start, stream_have(stream));
}

void stream_consume(struct stream *stream, size_t n)
{
    ASSERT(n <= stream_have(stream));
    stream->in_start += n;
    stream->in_need = 0;
    stream->in_last = n;
}

enum err stream_need(struct stream *stream, size_t total)
{
    ASSERT(total > 0);
    if (total > stream->config.in_limit)
        return ERR_LIMIT;
    stream->in_need = total;
    return ERR_OK;
}

struct iobuf_range stream_pin(struct stream *stream, struct slice bytes)
{
    ASSERT(stream->in);
    const uint8_t *from = iobuf_data(stream->in);
    ASSERT(bytes.data >= from && bytes.data + bytes.len <= from + stream->in_end);
    stream->in_pinned = true;
    return (struct iobuf_range){iobuf_ref(stream->in), bytes};
}

void stream_pause(struct stream *stream)
{
    ASSERT(stream->conn);
    stream->paused = true;
    stream_want(stream);
}

static void stream_offer_later(struct stream *stream)
{
    ASSERT(stream->conn);
    stream->offer = true;
    reactor_at_turn_end(stream->reactor, &stream->hook);
}

void stream_resume(struct stream *stream)
{
    stream->paused = false;
    stream_offer_later(stream);
}

/* ---- output ---- */

static struct iobuf_range *stream_seg(struct stream *stream, uint32_t index)
{
    ASSERT(index < stream->seg_count);
    return &stream->segs[(stream->seg_first + index) & (stream->seg_cap - 1)];
}

/* Doubles the ring of pieces; unrolled into the new one, so that the mask works again. */
static bool stream_seg_grow(struct stream *stream)
{
    uint32_t cap = stream->seg_cap ? stream->seg_cap * 2 : 8;
    ASSERT(cap <= STREAM_SEGS_MAX && stream->seg_count <= stream->seg_cap);
    ASSERT((cap & (cap - 1)) == 0); /* stream_seg wraps with a mask */
    struct iobuf_range *segs = malloc(cap * sizeof(*segs));
    if (!segs)
        return false;
    for (uint32_t i = 0; i < stream->seg_count; i++)
        segs[i] = *stream_seg(stream, i);
    free(stream->segs);
    stream->segs = segs;
    stream->seg_cap = cap;
    stream->seg_first = 0;
    return true;
}

/* Whether so many bytes more may be queued; ends the stream when not. */
static bool stream_out_allowed(struct stream *stream, size_t len)
{
    if (stream->state != STREAM_OPEN)
        return false;
    ASSERT(stream->out_bytes <= stream->config.out_limit);
    if (len > stream->config.out_limit - stream->out_bytes) {
        stream_end(stream, ERR_LIMIT);
        return false;
    }
    return true;
}

/* Takes the reference in range. */
static bool stream_seg_push(struct stream *stream, struct iobuf_range range)
{
    ASSERT(range.bytes.len > 0);
    bool full = stream->seg_count == STREAM_SEGS_MAX;
    if (full || (stream->seg_count == stream->seg_cap && !stream_seg_grow(stream))) {
        iobuf_unref(range.buf);
        stream_end(stream, full ? ERR_LIMIT : ERR_NO_MEMORY);
        return false;
    }
    stream->seg_count++;
    *stream_seg(stream, stream->seg_count - 1) = range;
    stream->out_bytes += range.bytes.len;
    if (stream->out_bytes > stream->config.out_high)
        stream->choked = true;
    reactor_at_turn_end(stream->reactor, &stream->hook);
    return true;
}

/*
 * No copy: the piece keeps its block alive until it is sent. Small pieces cost more to queue than to
 * copy; fronts write heads with stream_reserve and only payloads this way.
 */
void stream_write_range(struct stream *stream, struct iobuf_range range)
{
    ASSERT(range.bytes.data || range.bytes.len == 0);
    if (range.bytes.len == 0 || !stream_out_allowed(stream, range.bytes.len)) {
        iobuf_unref(range.buf);
        return;
    }
    stream->tail_last = false;
    bool pushed = stream_seg_push(stream, range);
    ASSERT(pushed || stream->state == STREAM_DEAD);
}

uint8_t *stream_reserve(struct stream *stream, size_t len)
{
    ASSERT(len <= STREAM_RESERVE_MAX);
    if (!stream_out_allowed(stream, len))
        return NULL;
    if (!stream->tail || iobuf_cap(stream->tail) - stream->tail_used < len) {
        struct iobuf *block = iobuf_create(len > STREAM_CHUNK ? STREAM_RESERVE_MAX : STREAM_CHUNK);
        if (!block) {
            stream_end(stream, ERR_NO_MEMORY);
            return NULL;
        }
        iobuf_unref(stream->tail);
        stream->tail = block;
        stream->tail_used = 0;
        stream->tail_last = false;
    }
    ASSERT(stream->tail_used + len <= iobuf_cap(stream->tail));
    return iobuf_data(stream->tail) + stream->tail_used;
}

/*
 * Bytes that follow one another in the output block become one piece: a front that writes field by
 * field must not fill the ring with pieces of a few bytes.
 */
void stream_commit(struct stream *stream, size_t len)
{
    if (len == 0 || stream->state != STREAM_OPEN)
        return;
    ASSERT(stream->tail && len <= iobuf_cap(stream->tail) - stream->tail_used);
    const uint8_t *from = iobuf_data(stream->tail) + stream->tail_used;
    stream->tail_used += len;
    if (stream->tail_last && stream->seg_count > 0) {
        struct iobuf_range *last = stream_seg(stream, stream->seg_count - 1);
        ASSERT(last->bytes.data + last->bytes.len == from);
        last->bytes.len += len;
        stream->out_bytes += len;
        if (stream->out_bytes > stream->config.out_high)
            stream->choked = true;
        return;
    }
    struct iobuf_range range = {iobuf_ref(stream->tail), slice_make(from, len)};
    stream->tail_last = stream_seg_push(stream, range);
}

void stream_write(struct stream *stream, struct slice bytes)
{
    ASSERT(bytes.data || bytes.len == 0);
    while (bytes.len > 0) {
        size_t part = bytes.len < STREAM_RESERVE_MAX ? bytes.len : STREAM_RESERVE_MAX;
        uint8_t *to = stream_reserve(stream, part);
        if (!to)
            return;
        memcpy(to, bytes.data, part);
        stream_commit(stream, part);
        bytes = slice_sub(bytes, part, bytes.len - part);
    }
}

size_t stream_pending(const struct stream *stream)
{
    ASSERT((stream->seg_count == 0) == (stream->out_bytes == 0));
    return stream->out_bytes;
}

bool stream_has_room(const struct stream *stream)
{
    return !stream->choked && stream->state == STREAM_OPEN;
}

/* Drops n sent bytes from the front. */
static void stream_out_advance(struct stream *stream, size_t n)
{
    ASSERT(n > 0 && n <= stream->out_bytes);
    stream->out_bytes -= n;
    while (n > 0) {
        struct iobuf_range *seg = stream_seg(stream, 0);
        if (n < seg->bytes.len) {
            seg->bytes = slice_sub(seg->bytes, n, seg->bytes.len - n);
            return;
        }
        ASSERT(stream->seg_count > 0);
        n -= seg->bytes.len;
        iobuf_unref(seg->buf);
        stream->seg_first = (stream->seg_first + 1) & (stream->seg_cap - 1);
        stream->seg_count--;
    }
}

/* Nothing pending: an idle connection holds no output memory. */
static void stream_out_release(struct stream *stream)
{
    ASSERT(stream->seg_count == 0 && stream->out_bytes == 0);
    iobuf_unref(stream->tail);
    stream->tail = NULL;
    stream->tail_last = false;
    if (stream->seg_cap > 64) {
        free(stream->segs);
        stream->segs = NULL;
        stream->seg_cap = stream->seg_first = 0;
    }
}

static void stream_flushed(struct stream *stream)
{
    ASSERT(stream->state == STREAM_OPEN || stream->state == STREAM_FLUSHING);
    stream_out_release(stream);
    stream_want(stream);
    if (stream->state != STREAM_FLUSHING)
        return;
    if (stream->peer_ended) {
        stream_end(stream, stream->reason);
        return;
    }
    /* Closing now with unread input would reset the connection and lose what was just sent. */
    stream->state = STREAM_LINGERING;
    conn_shutdown(stream->conn);
    stream_want(stream);
    timer_arm(stream->reactor, &stream->close_timer, STREAM_LINGER_US);
}

/*
 * Writes as much as the kernel takes, 64 pieces a call. Called once at the end of a turn: all answers
 * of the turn leave together.
 */
static void stream_flush(struct stream *stream)
{
    ASSERT(!stream->out_blocked);
    ASSERT(stream->state == STREAM_OPEN || stream->state == STREAM_FLUSHING);
    while (stream->seg_count > 0) {
        struct slice parts[CONN_PARTS_MAX];
        uint32_t count = stream->seg_count < CONN_PARTS_MAX ? stream->seg_count : CONN_PARTS_MAX;
        for (uint32_t i = 0; i < count; i++)
            parts[i] = stream_seg(stream, i)->bytes;
        size_t sent = 0;
        enum conn_io io = stream_transport_send(stream, parts, count, &sent);
        if (io == CONN_AGAIN) {
            stream->out_blocked = true;
            stream_want(stream);
            return;
        }
        if (io != CONN_OK) {
            stream_end(stream, ERR_CONNECTION_LOST);
            return;
        }
        stream->active_us = reactor_now_us(stream->reactor);
        stream_out_advance(stream, sent);
    }
    stream_flushed(stream);
}

/* Tells the producer of bulk output that there is room again. */
static void stream_unchoke(struct stream *stream)
{
    if (!stream->choked || stream->out_bytes > stream->config.out_low ||
        stream->state != STREAM_OPEN)
        return;
    ASSERT(stream->config.out_low <= stream->config.out_high);
    stream->choked = false;
    stream_offer_later(stream);
    if (stream->ops->on_drain)
        stream->ops->on_drain(stream, stream->arg);
}

static void stream_writable(struct conn *conn, void *arg)
{
    struct stream *stream = arg;
    ASSERT(stream->conn == conn);
    if (stream->state == STREAM_DEAD)
        return;
    stream->out_blocked = false;
    stream_flush(stream);
    stream_unchoke(stream);
}

/* ---- life ---- */

static const struct conn_ops stream_conn_ops = {stream_readable, stream_writable};

static void stream_destroy(struct stream *stream)
{
    ASSERT(stream->state == STREAM_DEAD && stream->conn);
    timer_cancel(stream->reactor, &stream->idle_timer);
    timer_cancel(stream->reactor, &stream->close_timer);
    reactor_hook_cancel(&stream->hook);
    conn_close(stream->conn);
    iobuf_unref(stream->in);
    iobuf_unref(stream->tail);
    for (uint32_t i = 0; i < stream->seg_count; i++)
        iobuf_unref(stream_seg(stream, i)->buf);
    free(stream->segs);
    free(stream);
}

/* The invariants at the head of this file that can be seen from outside of a call. */
static bool stream_holds(const struct stream *stream)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < stream->seg_count; i++)
        bytes += stream->segs[(stream->seg_first + i) & (stream->seg_cap - 1)].bytes.len;
    size_t cap = stream->in ? iobuf_cap(stream->in) : 0;
    return bytes == stream->out_bytes && stream->seg_count <= stream->seg_cap &&
           stream->in_start <= stream->in_end && stream->in_end <= cap &&
           stream->in_end - stream->in_start <= stream->config.in_limit &&
           (!stream->tail_last || stream->tail != NULL);
}

/*
 * The only place where a stream dies: after offers and output of this turn, so that what was written
 * before the end had its chance to leave.
 */
static void stream_turn_end(struct hook *hook)
{
    struct stream *stream = CONTAINER_OF(hook, struct stream, hook);
    DASSERT(stream_holds(stream));
    if (stream->offer && stream->state == STREAM_OPEN) {
        stream->offer = false;
        stream->in_stalled = false;
        stream_offer(stream);
        stream_offer_eof(stream);
        stream_in_release(stream);
        stream_want(stream);
    }
    bool sending = stream->state == STREAM_OPEN || stream->state == STREAM_FLUSHING;
    if (sending && !stream->out_blocked) {
        stream_flush(stream);
        stream_unchoke(stream);
    }
    if (stream->state == STREAM_DEAD) {
        stream->ops->on_close(stream, stream->reason, stream->arg);
        stream_destroy(stream);
    }
}

static void stream_idle_arm(struct stream *stream)
{
    ASSERT(stream->conn);
    uint64_t idle_us = stream->config.idle_us;
    if (idle_us == 0 || idle_us > UINT64_MAX - stream->active_us)
        timer_cancel(stream->reactor, &stream->idle_timer);
    else
        timer_arm_at(stream->reactor, &stream->idle_timer, stream->active_us + idle_us);
}

static void stream_idle_due(struct timer *timer)
{
    struct stream *stream = CONTAINER_OF(timer, struct stream, idle_timer);
    if (reactor_now_us(stream->reactor) - stream->active_us >= stream->config.idle_us)
        stream_end(stream, ERR_TIMEOUT);
    else
        stream_idle_arm(stream);
}

static void stream_close_due(struct timer *timer)
{
    struct stream *stream = CONTAINER_OF(timer, struct stream, close_timer);
    ASSERT(stream->state != STREAM_OPEN);
    stream_end(stream, stream->state == STREAM_LINGERING ? stream->reason : ERR_TIMEOUT);
}

/* A stream without its conn. NULL: out of memory. */
static struct stream *stream_alloc(struct reactor *reactor, const struct stream_config *config,
                                   const struct stream_ops *ops, void *arg)
{
    ASSERT(ops->on_data && ops->on_close);
    struct stream *stream = calloc(1, sizeof(*stream));
    if (!stream)
        return NULL;
    stream->reactor = reactor;
    stream->ops = ops;
    stream->arg = arg;
    stream->config = *config;
    if (stream->config.in_limit == 0)
        stream->config.in_limit = STREAM_IN_LIMIT;
    if (stream->config.out_high == 0)
        stream->config.out_high = STREAM_OUT_HIGH;
    if (stream->config.out_low == 0)
        stream->config.out_low = stream->config.out_high / 2;
    if (stream->config.out_limit == 0)
        stream->config.out_limit = STREAM_OUT_LIMIT;
    ASSERT(stream->config.out_low <= stream->config.out_high);
    stream->in_chunk = STREAM_CHUNK;
    stream->active_us = reactor_now_us(reactor);
    hook_init(&stream->hook, stream_turn_end);
    timer_init(&stream->idle_timer, stream_idle_due);
    timer_init(&stream->close_timer, stream_close_due);
    return stream;
}

struct stream *stream_create(struct reactor *reactor, struct conn *conn,
                             const struct stream_config *config, const struct stream_ops *ops,
                             void *arg)
{
    struct stream *stream = stream_alloc(reactor, config, ops, arg);
    if (!stream) {
        conn_close(conn);
        return NULL;
    }
    if (!conn_adopt(reactor, conn, &stream_conn_ops, stream)) {
        free(stream);
        return NULL;
    }
    stream->conn = conn;
    stream_idle_arm(stream);
    return stream;
}

struct stream *stream_connect(struct reactor *reactor, const char *host, uint16_t port,
                              const struct stream_config *config, const struct stream_ops *ops,
                              void *arg, struct err_info *info)
{
    struct stream *stream = stream_alloc(reactor, config, ops, arg);
    if (!stream) {
        enum err ignored =
            err_info_set(info, ERR_NO_MEMORY, "connect %s port %u: out of memory", host, port);
        (void)ignored;
        return NULL;
    }
    if (reactor_connect(reactor, host, port, &stream_conn_ops, stream, &stream->conn, info) !=
        ERR_OK) {
        free(stream);
        return NULL;
    }
    stream->out_blocked = true; /* until it stands */
    stream_idle_arm(stream);
    return stream;
}

/*
 * Graceful: what is queued is sent, then our side is shut down, then the peer's end is awaited for a
 * moment. Each of the two waits has a deadline, since a peer may never read or never close.
 */
void stream_close(struct stream *stream)
{
    if (stream->state != STREAM_OPEN)
        return;
    ASSERT(stream->conn && !timer_armed(&stream->close_timer));
    stream->state = STREAM_FLUSHING;
    stream->reason = ERR_OK;
    timer_arm(stream->reactor, &stream->close_timer, STREAM_CLOSE_US);
    stream_want(stream);
    reactor_at_turn_end(stream->reactor, &stream->hook);
}

void stream_abort(struct stream *stream, enum err reason)
{
    stream_end(stream, reason);
}

bool stream_closing(const struct stream *stream)
{
    return stream->state != STREAM_OPEN;
}

void stream_idle_set(struct stream *stream, uint64_t idle_us)
{
    stream->config.idle_us = idle_us;
    stream_idle_arm(stream);
}

void *stream_arg(const struct stream *stream)
{
    return stream->arg;
}

void stream_ops_set(struct stream *stream, const struct stream_ops *ops, void *arg)
{
    ASSERT(ops->on_data && ops->on_close);
    ASSERT(stream->state != STREAM_DEAD || stream->conn);
    stream->ops = ops;
    stream->arg = arg;
    stream->in_need = 0;
    if (stream_have(stream) > 0)
        stream_offer_later(stream);
}

struct reactor *stream_reactor(const struct stream *stream)
{
    ASSERT(stream->reactor);
    return stream->reactor;
}

struct conn *stream_conn(const struct stream *stream)
{
    ASSERT(stream->conn);
    return stream->conn;
}

const char *stream_peer(const struct stream *stream)
{
    ASSERT(stream->conn);
    return conn_peer(stream->conn);
}
