/*
 * What the Event Hubs door does as time goes by, under virtual time: deadlines of strangers, tokens that run out or are renewed, heartbeats,
 * silence.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "../../lib/sim_rig.h"
#include "amqp_types.h"
#include "base/bytebuf.h"
#include "front/eventhubs/eventhubs.h"
#include "io/stream.h"
#include "wire/amqp_frame.h"

enum { PORT = 5672, SECOND_US = 1000000 };

static struct sim_rig rig;
static struct front_eventhubs *front;
static struct reactor *far;

/* A client: what it writes is made by the test, what it hears is kept as bytes. */
struct peer {
    struct stream *stream; /* NULL: closed */
    struct bytebuf heard;
    uint32_t delivery;
};

static void peer_data(struct stream *stream, void *arg)
{
    struct peer *peer = arg;
    struct slice input = stream_input(stream);
    bytebuf_append_slice(&peer->heard, input);
    stream_consume(stream, input.len);
}

static void peer_closed(struct stream *stream, enum err reason, void *arg)
{
    ((struct peer *)arg)->stream = NULL;
}

static const struct stream_ops peer_ops = {.on_data = peer_data, .on_close = peer_closed};

static void peer_dial(struct peer *peer)
{
    static const struct stream_config config = {0};
    struct err_info info;
    *peer = (struct peer){0};
    bytebuf_init(&peer->heard, 1 << 20);
    peer->stream = stream_connect(far, "127.0.0.1", PORT, &config, &peer_ops, peer, &info);
    assert_non_null(peer->stream);
}

static void peer_end(struct peer *peer)
{
    if (peer->stream)
        stream_abort(peer->stream, ERR_OK);
    sim_run_for(rig.sim, SECOND_US);
    assert_null(peer->stream);
    bytebuf_deinit(&peer->heard);
}

static bool heard(const struct peer *peer, const char *text)
{
    return slice_find(bytebuf_slice(&peer->heard), slice_cstr(text), 0) != SIZE_MAX;
}

/* Sends a frame: what was encoded behind its header. */
static void frame_send(struct peer *peer, struct bytebuf *frame)
{
    amqp_frame_end(frame, 0);
    assert_false(frame->failed);
    stream_write(peer->stream, bytebuf_slice(frame));
    bytebuf_clear(frame);
}

static void peer_open(struct peer *peer, uint32_t idle_ms)
{
    struct bytebuf frame;
    bytebuf_init(&frame, 4096);
    stream_write(peer->stream, SLICE_LIT("AMQP\3\1\0\0"));
    (void)amqp_frame_begin(&frame, AMQP_FRAME_TYPE_SASL, 0);
    amqp_sasl_init_encode(&frame, &(struct amqp_sasl_init){.mechanism = SLICE_LIT("ANONYMOUS")});
    frame_send(peer, &frame);
    stream_write(peer->stream, SLICE_LIT("AMQP\0\1\0\0"));
    (void)amqp_frame_begin(&frame, AMQP_FRAME_TYPE_AMQP, 0);
    amqp_open_encode(&frame, &(struct amqp_open){.container_id = SLICE_LIT("test"),
                                                 .max_frame_size = 65536,
                                                 .channel_max = 10,
                                                 .idle_time_out = idle_ms,
                                                 .has_idle_time_out = idle_ms > 0});
    frame_send(peer, &frame);
    (void)amqp_frame_begin(&frame, AMQP_FRAME_TYPE_AMQP, 0);
    amqp_begin_encode(
        &frame,
        &(struct amqp_begin){.incoming_window = 1000, .outgoing_window = 1000, .handle_max = 255});
    frame_send(peer, &frame);
    bytebuf_deinit(&frame);
}

static void peer_attach(struct peer *peer, uint32_t handle, const char *address, bool receives)
{
    struct bytebuf frame, near, far_end, text;
    bytebuf_init(&frame, 4096);
    bytebuf_init(&near, 256);
    bytebuf_init(&far_end, 256);
    bytebuf_init(&text, 256);
    char name[32];
    (void)snprintf(name, sizeof(name), "link-%u", handle);
    amqp_put_string(&text, slice_cstr(address));
    struct amqp_source source = {.address = bytebuf_slice(&text)};
    struct amqp_target target = {.address = bytebuf_slice(&text)};
    amqp_source_encode(&near, &source);
    amqp_target_encode(&far_end, &target);
    (void)amqp_frame_begin(&frame, AMQP_FRAME_TYPE_AMQP, 0);
    amqp_attach_encode(&frame, &(struct amqp_attach){.name = slice_cstr(name),
                                                     .handle = handle,
                                                     .role = receives,
                                                     .source = bytebuf_slice(&near),
                                                     .target = bytebuf_slice(&far_end)});
    frame_send(peer, &frame);
    bytebuf_deinit(&frame);
    bytebuf_deinit(&near);
    bytebuf_deinit(&far_end);
    bytebuf_deinit(&text);
}

/* A token for everything, signed with the key "secret". */
static void token_make(char *out, size_t size, int64_t expires_s)
{
    char text[128], base64[64];
    uint8_t sum[32];
    unsigned len = 0;
    int n = snprintf(text, sizeof(text), "sb%%3A%%2F%%2Fh%%2F\n%lld", (long long)expires_s);
    assert_non_null(HMAC(EVP_sha256(), "secret", 6, (const uint8_t *)text, (size_t)n, sum, &len));
    assert_int_equal(EVP_EncodeBlock((uint8_t *)base64, sum, 32), 44);
    n = snprintf(out, size, "SharedAccessSignature sr=sb%%3A%%2F%%2Fh%%2F&se=%lld&skn=own&sig=",
                 (long long)expires_s);
    for (unsigned i = 0; i < 44; i++) {
        bool plain = base64[i] != '+' && base64[i] != '/' && base64[i] != '=';
        n += snprintf(out + n, size - (size_t)n, plain ? "%c" : "%%%02X", (uint8_t)base64[i]);
    }
}

/* Puts a token that holds for so many seconds through handle 0; its answer is only heard by its words. */
static void token_put(struct peer *peer, int64_t seconds)
{
    struct bytebuf frame;
    char token[512];
    bytebuf_init(&frame, 4096);
    token_make(token, sizeof(token), *sim_wall_ms(rig.sim) / 1000 + seconds);
    (void)amqp_frame_begin(&frame, AMQP_FRAME_TYPE_AMQP, 0);
    amqp_transfer_encode(&frame, &(struct amqp_transfer){.handle = 0,
                                                         .delivery_id = peer->delivery++,
                                                         .has_delivery_id = true,
                                                         .delivery_tag = SLICE_LIT("t"),
                                                         .has_message_format = true});
    amqp_put_descriptor(&frame, 0x74);
    size_t mark = amqp_begin_map(&frame);
    amqp_put_string(&frame, SLICE_LIT("operation"));
    amqp_put_string(&frame, SLICE_LIT("put-token"));
    amqp_end(&frame, mark, 2);
    amqp_put_descriptor(&frame, 0x77);
    amqp_put_string(&frame, slice_cstr(token));
    frame_send(peer, &frame);
    bytebuf_deinit(&frame);
}

/* Lets time pass, with a heartbeat every twenty seconds. */
static void pass(struct peer *peer, unsigned seconds)
{
    for (unsigned i = 0; i < seconds; i++) {
        if (i % 20 == 0 && peer->stream)
            stream_write(peer->stream, SLICE_LIT("\0\0\0\10\2\0\0\0"));
        sim_run_for(rig.sim, SECOND_US);
    }
}

static int setup(void **state)
{
    struct err_info info;
    struct eventhubs_config *config = eventhubs_config_create();
    sim_rig_init(&rig, 5);
    rig.broker_config.auto_create = true;
    sim_rig_boot(&rig, 2);
    far = sim_host_reactor(sim_host_create(rig.sim, NULL));
    assert_int_equal(eventhubs_config_key_add(config, SLICE_LIT("own"), SLICE_LIT("secret"),
                                              EVENTHUBS_MANAGE, SLICE_NULL, &info),
                     ERR_OK);
    assert_int_equal(
        front_eventhubs_start(rig.shards, rig.broker, config, "127.0.0.1", PORT, &front, &info),
        ERR_OK);
    struct broker_topic_op op = {
        .action = BROKER_TOPIC_CREATE, .name = SLICE_LIT("hub"), .partition_count = 1};
    assert_int_equal(sim_topic(&rig, &op), ERR_OK);
    return 0;
}

static int teardown(void **state)
{
    sim_rig_stop(&rig);
    front_eventhubs_destroy(front);
    sim_rig_deinit(&rig);
    return 0;
}

static void test_strangers(void **state)
{
    struct peer silent, stranger;
    peer_dial(&silent);
    peer_dial(&stranger);
    peer_open(&stranger, 0);
    peer_attach(&stranger, 0, "$cbs", false);
    pass(&stranger, 59);
    assert_non_null(silent.stream);
    assert_non_null(stranger.stream);
    pass(&stranger, 5);
    assert_null(silent.stream);
    assert_true(heard(&stranger, "amqp:unauthorized-access"));
    assert_null(stranger.stream);
    peer_end(&silent);
    peer_end(&stranger);
}

static void test_token_runs_out(void **state)
{
    struct peer peer;
    peer_dial(&peer);
    peer_open(&peer, 0);
    peer_attach(&peer, 0, "$cbs", false);
    peer_attach(&peer, 1, "$cbs", true);
    token_put(&peer, 100);
    peer_attach(&peer, 2, "hub", false);
    pass(&peer, 157);
    assert_false(heard(&peer, "ExpiredToken"));
    pass(&peer, 8); /* a minute of grace after its end */
    assert_true(heard(&peer, "ExpiredToken"));
    assert_false(heard(&peer, "amqp:connection:forced"));
    pass(&peer, 50);
    assert_non_null(peer.stream);
    pass(&peer, 15);
    assert_true(heard(&peer, "amqp:connection:forced"));
    assert_null(peer.stream);
    peer_end(&peer);
}

static void test_token_is_renewed(void **state)
{
    struct peer peer;
    peer_dial(&peer);
    peer_open(&peer, 0);
    peer_attach(&peer, 0, "$cbs", false);
    peer_attach(&peer, 1, "$cbs", true);
    token_put(&peer, 100);
    peer_attach(&peer, 2, "hub", false);
    pass(&peer, 90);
    token_put(&peer, 200);
    pass(&peer, 250);
    assert_false(heard(&peer, "ExpiredToken"));
    assert_non_null(peer.stream);
    pass(&peer, 20);
    assert_true(heard(&peer, "ExpiredToken"));
    peer_end(&peer);
}

static void test_heartbeats_and_silence(void **state)
{
    struct peer peer;
    peer_dial(&peer);
    peer_open(&peer, 10000);
    peer_attach(&peer, 0, "$cbs", false);
    peer_attach(&peer, 1, "$cbs", true);
    token_put(&peer, 3600);
    sim_run_for(rig.sim, 5 * SECOND_US);
    for (unsigned i = 0; i < 11; i++) {
        size_t before = peer.heard.len;
        sim_run_for(rig.sim, 10 * SECOND_US);
        assert_true(peer.heard.len > before); /* within its idle-time-out */
    }
    assert_non_null(peer.stream);
    sim_run_for(rig.sim, 12 * SECOND_US);
    assert_true(heard(&peer, "The peer was silent for 120000 milliseconds."));
    assert_null(peer.stream);
    peer_end(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_strangers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_token_runs_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_token_is_renewed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_heartbeats_and_silence, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
