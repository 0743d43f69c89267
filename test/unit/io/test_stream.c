/* Streams on either reactor: frames, pins, back-pressure, deadlines, endings. */
#include <stdlib.h>
#include <string.h>

#include "io/reactor_int.h"
#include "io/stream.h"
#include "rig.h"

struct side {
    struct rig *rig;
    struct stream *stream;
    struct stream_config config;
    const struct stream_ops *ops;
    /* what happened */
    unsigned frames;
    size_t bytes;
    bool closed;
    enum err reason;
    bool eof;
    unsigned drains;
    struct iobuf_range pins[4];
    unsigned pin_count;
    size_t want; /* frame length of side_frames */
    bool hold;
    unsigned hold_from; /* first frame to pin */
};

static void side_close(struct stream *stream, enum err reason, void *arg)
{
    struct side *side = arg;
    assert_false(side->closed);
    side->closed = true;
    side->reason = reason;
    side->stream = NULL;
}

static void side_drain(struct stream *stream, void *arg)
{
    ((struct side *)arg)->drains++;
}

static void side_eof(struct stream *stream, void *arg)
{
    ((struct side *)arg)->eof = true;
}

/* Frames of a fixed length, checked to count up. */
static void side_frames(struct stream *stream, void *arg)
{
    struct side *side = arg;
    struct slice input = stream_input(stream);
    while (input.len >= side->want) {
        assert_int_equal(input.data[0], side->frames & 0xff);
        assert_int_equal(input.data[side->want - 1], side->frames & 0xff);
        if (side->pin_count < 4 && side->hold && side->frames >= side->hold_from)
            side->pins[side->pin_count++] = stream_pin(stream, slice_sub(input, 0, side->want));
        stream_consume(stream, side->want);
        side->frames++;
        input = stream_input(stream);
    }
    if (input.len > 0)
        assert_int_equal(stream_need(stream, side->want), ERR_OK);
}

/* Frames that begin with their length, filled with their number. */
static void side_lengths(struct stream *stream, void *arg)
{
    struct side *side = arg;
    for (;;) {
        struct slice input = stream_input(stream);
        uint32_t len = 4;
        if (input.len >= 4)
            memcpy(&len, input.data, 4);
        if (input.len < len) {
            assert_int_equal(stream_need(stream, len), ERR_OK);
            return;
        }
        for (size_t i = 4; i < len; i += 1 + len / 64)
            assert_int_equal(input.data[i], side->frames & 0xff);
        stream_consume(stream, len);
        side->frames++;
    }
}

static void side_count(struct stream *stream, void *arg)
{
    struct side *side = arg;
    size_t len = stream_input(stream).len;
    side->bytes += len;
    stream_consume(stream, len);
}

static void side_echo(struct stream *stream, void *arg)
{
    side_count(stream, arg);
    stream_write(stream, SLICE_LIT("answer"));
}

static const struct stream_ops ops_frames = {side_frames, side_drain, side_close, NULL};
static const struct stream_ops ops_lengths = {side_lengths, side_drain, side_close, NULL};
static const struct stream_ops ops_count = {side_count, side_drain, side_close, NULL};
static const struct stream_ops ops_echo = {side_echo, side_drain, side_close, NULL};
static const struct stream_ops ops_half = {side_count, side_drain, side_close, side_eof};

static void side_accept(void *arg, struct conn *conn)
{
    struct side *side = arg;
    side->stream = stream_create(side->rig->reactor, conn, &side->config, side->ops, side);
    assert_non_null(side->stream);
}

static struct listener *pair(struct rig *rig, struct side *server, struct side *client)
{
    struct listener *listener;
    struct err_info info;
    server->rig = client->rig = rig;
    assert_int_equal(
        reactor_listen(rig->reactor, "127.0.0.1", 0, side_accept, server, &listener, &info),
        ERR_OK);
    client->stream = stream_connect(rig->reactor, "127.0.0.1", listener_port(listener),
                                    &client->config, client->ops, client, &info);
    assert_non_null(client->stream);
    RIG_UNTIL(rig, server->stream);
    return listener;
}

static void finish(struct rig *rig, struct side *server, struct side *client,
                   struct listener *listener)
{
    if (!server->closed)
        stream_abort(server->stream, ERR_OK);
    if (!client->closed)
        stream_abort(client->stream, ERR_OK);
    listener_close(listener);
    RIG_UNTIL(rig, server->closed && client->closed);
}

static void send_frames(struct stream *stream, unsigned count, size_t len)
{
    uint8_t *frame = malloc(len);
    for (unsigned i = 0; i < count; i++) {
        memset(frame, (int)(i & 0xff), len);
        stream_write(stream, slice_make(frame, len));
    }
    free(frame);
}

static void test_frames(void **state)
{
    static const size_t sizes[] = {1, 7, 5000, 70000, 1000000};
    static const unsigned counts[] = {500, 3000, 200, 30, 8};
    struct rig *rig = *state;
    for (int i = 0; i < 5; i++) {
        struct side server = {.ops = &ops_frames, .want = sizes[i]};
        struct side client = {.ops = &ops_count, .config.out_limit = 64 << 20};
        struct listener *listener = pair(rig, &server, &client);
        send_frames(client.stream, counts[i], sizes[i]);
        RIG_UNTIL(rig, server.frames == counts[i]);
        finish(rig, &server, &client, listener);
    }
}

/* Large frames each lie at the start of a block of their own: none pins another. */
static void test_large_frames(void **state)
{
    struct rig *rig = *state;
    struct side server = {.ops = &ops_frames, .want = 700001, .hold = true, .hold_from = 8};
    struct side client = {.ops = &ops_count, .config.out_limit = 64 << 20};
    struct listener *listener = pair(rig, &server, &client);
    send_frames(client.stream, 12, 700001);
    RIG_UNTIL(rig, server.frames == 12);
    finish(rig, &server, &client, listener);
    assert_int_equal(server.pin_count, 4);
    for (unsigned i = 0; i < 4; i++) {
        const struct iobuf_range *pin = &server.pins[i];
        assert_ptr_equal(pin->bytes.data, iobuf_data(pin->buf));
        assert_int_equal(pin->bytes.data[350000], 8 + i);
        assert_true(i == 0 || pin->buf != server.pins[i - 1].buf);
    }
    for (unsigned i = 0; i < 4; i++)
        iobuf_unref(server.pins[i].buf);
}

/* Frames that grow and shrink from one to the next, large and small. */
static void test_mixed_frames(void **state)
{
    static const uint32_t lens[] = {1000000, 1000300, 999000, 40, 2000000, 7, 300000, 5, 1500000, 4};
    struct rig *rig = *state;
    struct side server = {.ops = &ops_lengths};
    struct side client = {.ops = &ops_count, .config.out_limit = 64 << 20};
    server.config.in_limit = client.config.in_limit = 4 << 20;
    struct listener *listener = pair(rig, &server, &client);
    uint8_t *frame = malloc(2000000);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 10; i++) {
            memset(frame, (int)(round * 10 + i), lens[i]);
            memcpy(frame, &lens[i], sizeof(lens[i]));
            stream_write(client.stream, slice_make(frame, lens[i]));
        }
    }
    RIG_UNTIL(rig, server.frames == 30);
    free(frame);
    finish(rig, &server, &client, listener);
}

/* Pinned frames keep their bytes while the stream goes on reading and after it is gone. */
static void test_pins(void **state)
{
    struct rig *rig = *state;
    struct side server = {.ops = &ops_frames, .want = 3000, .hold = true};
    struct side client = {.ops = &ops_count};
    struct listener *listener = pair(rig, &server, &client);
    send_frames(client.stream, 100, 3000);
    RIG_UNTIL(rig, server.frames == 100);
    finish(rig, &server, &client, listener);
    assert_int_equal(server.pin_count, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(server.pins[i].bytes.len, 3000);
        for (size_t k = 0; k < 3000; k++)
            assert_int_equal(server.pins[i].bytes.data[k], i);
        iobuf_unref(server.pins[i].buf);
    }
}

static void test_ranges(void **state)
{
    struct rig *rig = *state;
    struct side server = {.ops = &ops_count};
    struct side client = {.ops = &ops_count};
    size_t before = iobuf_bytes_alive();
    struct listener *listener = pair(rig, &server, &client);
    struct iobuf *block = iobuf_create(100000);
    memset(iobuf_data(block), 'r', 100000);
    for (int i = 0; i < 300; i++) {
        stream_write(client.stream, SLICE_LIT("head"));
        stream_write_range(
            client.stream,
            (struct iobuf_range){iobuf_ref(block), slice_make(iobuf_data(block), 1000)});
        stream_write_range(client.stream, (struct iobuf_range){NULL, SLICE_LIT("static")});
        uint8_t *to = stream_reserve(client.stream, 64);
        memset(to, 'x', 10);
        stream_commit(client.stream, 10);
    }
    iobuf_unref(block);
    RIG_UNTIL(rig, server.bytes == 300 * 1020);
    finish(rig, &server, &client, listener);
    assert_int_equal(iobuf_bytes_alive(), before);
}

/* A reader that pauses stops the writer at the high mark; resuming drains. */
static void test_back_pressure(void **state)
{
    struct rig *rig = *state;
    struct side server = {.ops = &ops_count};
    struct side client = {.ops = &ops_count, .config = {.out_high = 100000, .out_low = 20000}};
    struct listener *listener = pair(rig, &server, &client);
    stream_pause(server.stream);
    uint8_t *data = calloc(1, 100000);
    size_t sent = 0;
    for (unsigned i = 0; i < 1000 && (i < 100 || stream_has_room(client.stream)); i++) {
        if (stream_has_room(client.stream)) {
            stream_write(client.stream, slice_make(data, 100000));
            sent += 100000;
        }
        rig->step(rig);
    }
    assert_false(stream_has_room(client.stream));
    assert_int_equal(server.bytes, 0);
    unsigned drains = client.drains;
    stream_resume(server.stream);
    RIG_UNTIL(rig, server.bytes == sent);
    RIG_UNTIL(rig, client.drains > drains);
    assert_true(stream_has_room(client.stream));
    free(data);
    finish(rig, &server, &client, listener);
}

/* A reader that takes nothing and resumes later is asked again without new bytes. */
static void stall_data(struct stream *stream, void *arg)
{
    struct side *side = arg;
    if (side->hold)
        return;
    side_count(stream, arg);
}

static void test_stall_and_resume(void **state)
{
    static const struct stream_ops ops_stall = {stall_data, NULL, side_close, NULL};
    struct rig *rig = *state;
    struct side server = {.ops = &ops_stall, .hold = true};
    struct side client = {.ops = &ops_count};
    struct listener *listener = pair(rig, &server, &client);
    stream_write(client.stream, SLICE_LIT("hello"));
    RIG_UNTIL(rig, stream_input(server.stream).len == 5);
    server.hold = false;
    stream_resume(server.stream);
    RIG_UNTIL(rig, server.bytes == 5);
    finish(rig, &server, &client, listener);
}

static void test_close_flushes(void **state)
{
    struct rig *rig = *state;
    struct side server = {.ops = &ops_count};
    struct side client = {.ops = &ops_count};
    struct listener *listener = pair(rig, &server, &client);
    uint8_t *data = calloc(1, 3000000);
    stream_write(client.stream, slice_make(data, 3000000));
    stream_close(client.stream);
    stream_write(client.stream, SLICE_LIT("ignored"));
    assert_true(stream_closing(client.stream));
    RIG_UNTIL(rig, server.closed && client.closed);
    assert_int_equal(server.bytes, 3000000);
    assert_int_equal(server.reason, ERR_OK);
    assert_int_equal(client.reason, ERR_OK);
    free(data);
    finish(rig, &server, &client, listener);
}

static void test_half_close(void **state)
{
    struct rig *rig = *state;
    struct side server = {.ops = &ops_half};
    struct side client = {.ops = &ops_count};
    struct listener *listener = pair(rig, &server, &client);
    stream_write(client.stream, SLICE_LIT("question"));
    RIG_UNTIL(rig, stream_pending(client.stream) == 0);
    conn_shutdown(stream_conn(client.stream));
    RIG_UNTIL(rig, server.eof);
    assert_int_equal(server.bytes, 8);
    stream_write(server.stream, SLICE_LIT("late answer"));
    stream_close(server.stream);
    RIG_UNTIL(rig, client.closed && server.closed);
    assert_int_equal(client.bytes, 11);
    finish(rig, &server, &client, listener);
}

static void test_idle(void **state)
{
    struct rig *rig = *state;
    struct side server = {.ops = &ops_echo, .config.idle_us = 50000};
    struct side client = {.ops = &ops_count};
    struct listener *listener = pair(rig, &server, &client);
    stream_write(client.stream, SLICE_LIT("x"));
    RIG_UNTIL(rig, client.bytes == 6);
    assert_false(server.closed);
    RIG_UNTIL(rig, server.closed);
    assert_int_equal(server.reason, ERR_TIMEOUT);
    RIG_UNTIL(rig, client.closed);
    finish(rig, &server, &client, listener);
}

static void greedy_data(struct stream *stream, void *arg)
{
    enum err err = stream_need(stream, 5000);
    assert_int_equal(err, ERR_LIMIT);
}

static void test_limits(void **state)
{
    static const struct stream_ops ops_greedy = {greedy_data, NULL, side_close, NULL};
    struct rig *rig = *state;
    struct side server = {.ops = &ops_greedy, .config.in_limit = 4096};
    struct side client = {.ops = &ops_count, .config.out_limit = 100000};
    struct listener *listener = pair(rig, &server, &client);
    uint8_t data[50000] = {0};
    stream_write(client.stream, slice_make(data, 6000));
    RIG_UNTIL(rig, server.closed);
    assert_int_equal(server.reason, ERR_LIMIT);
    RIG_UNTIL(rig, client.closed);
    finish(rig, &server, &client, listener);

    struct side second = {.ops = &ops_count};
    struct side talker = {.ops = &ops_count, .config.out_limit = 100000};
    listener = pair(rig, &second, &talker);
    stream_pause(second.stream);
    for (int i = 0; i < 3; i++)
        stream_write(talker.stream, slice_make(data, 50000));
    RIG_UNTIL(rig, talker.closed);
    assert_int_equal(talker.reason, ERR_LIMIT);
    finish(rig, &second, &talker, listener);
}

/* The number of queued pieces has a limit of its own: static bytes weigh nothing against
 * out_limit's memory, but each needs its place. */
static void test_pieces_limit(void **state)
{
    struct rig *rig = *state;
    struct side server = {.ops = &ops_count};
    struct side client = {.ops = &ops_count};
    struct listener *listener = pair(rig, &server, &client);
    struct iobuf_range piece = {.bytes = SLICE_LIT("x")};
    for (int i = 0; i < 65536; i++)
        stream_write_range(client.stream, piece);
    assert_false(stream_closing(client.stream));
    assert_int_equal(stream_pending(client.stream), 65536);
    stream_write_range(client.stream, piece);
    RIG_UNTIL(rig, client.closed);
    assert_int_equal(client.reason, ERR_LIMIT);
    finish(rig, &server, &client, listener);
}

/* A deadline beyond the end of time is none. */
static void test_idle_huge(void **state)
{
    struct rig *rig = *state;
    struct side server = {.ops = &ops_echo, .config.idle_us = UINT64_MAX};
    struct side client = {.ops = &ops_count};
    struct listener *listener = pair(rig, &server, &client);
    stream_idle_set(client.stream, UINT64_MAX - 1);
    stream_write(client.stream, SLICE_LIT("x"));
    RIG_UNTIL(rig, client.bytes == 6);
    for (int i = 0; i < 3; i++)
        rig->step(rig);
    assert_false(server.closed || client.closed);
    assert_true(reactor_next_timer(rig->reactor) == UINT64_MAX); /* nothing to wake up for */
    finish(rig, &server, &client, listener);
}

/* Callbacks are swapped with input pending: the new ones get it. */
static void test_ops_set(void **state)
{
    struct rig *rig = *state;
    struct side server = {.ops = &ops_count};
    struct side client = {.ops = &ops_count};
    struct listener *listener = pair(rig, &server, &client);
    stream_pause(server.stream);
    stream_write(client.stream, SLICE_LIT("first"));
    rig->step(rig);
    rig->step(rig);
    assert_int_equal(server.bytes, 0);
    struct side heir = {.rig = rig};
    stream_ops_set(server.stream, &ops_echo, &heir);
    assert_ptr_equal(stream_arg(server.stream), &heir);
    heir.stream = server.stream;
    stream_resume(heir.stream);
    RIG_UNTIL(rig, client.bytes == 6);
    assert_int_equal(heir.bytes, 5);
    assert_int_equal(server.bytes, 0);
    stream_close(heir.stream);
    stream_write(heir.stream, SLICE_LIT("too late"));
    assert_int_equal(stream_pending(heir.stream), 0);
    RIG_UNTIL(rig, heir.closed && client.closed);
    assert_int_equal(heir.reason, ERR_OK);
    server.closed = true;
    finish(rig, &server, &client, listener);
}

static void test_abort(void **state)
{
    struct rig *rig = *state;
    struct side server = {.ops = &ops_count};
    struct side client = {.ops = &ops_count};
    struct listener *listener = pair(rig, &server, &client);
    stream_abort(server.stream, ERR_CLOSING);
    assert_false(server.closed); /* never inside the call */
    RIG_UNTIL(rig, server.closed && client.closed);
    assert_int_equal(server.reason, ERR_CLOSING);
    finish(rig, &server, &client, listener);
}

static void test_refused(void **state)
{
    struct rig *rig = *state;
    struct side server = {.rig = rig, .ops = &ops_count};
    struct side client = {.rig = rig, .ops = &ops_count};
    struct listener *listener;
    struct err_info info;
    assert_int_equal(
        reactor_listen(rig->reactor, "127.0.0.1", 0, side_accept, &server, &listener, &info),
        ERR_OK);
    uint16_t port = listener_port(listener);
    listener_close(listener);
    rig->step(rig);
    client.stream =
        stream_connect(rig->reactor, "127.0.0.1", port, &client.config, client.ops, &client, &info);
    if (client.stream) {
        stream_write(client.stream, SLICE_LIT("x"));
        RIG_UNTIL(rig, client.closed);
        assert_int_equal(client.reason, ERR_CONNECTION_LOST);
    }
}

#define BOTH(test)                                                                                 \
    {#test " on epoll", test, rig_epoll_setup, rig_teardown, NULL},                                \
    {                                                                                              \
#test " in the simulator", test, rig_sim_setup, rig_teardown, NULL                         \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_frames),           BOTH(test_pins),
        BOTH(test_large_frames),     BOTH(test_mixed_frames),
        BOTH(test_ranges),           BOTH(test_back_pressure),
        BOTH(test_stall_and_resume), BOTH(test_close_flushes),
        BOTH(test_half_close),       BOTH(test_idle),
        BOTH(test_limits),           BOTH(test_abort),
        BOTH(test_refused),          BOTH(test_pieces_limit),
        BOTH(test_idle_huge),        BOTH(test_ops_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
