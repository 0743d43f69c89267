#include "kafka_link.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytebuf.h"
#include "io/reactor.h"
#include "io/stream.h"

enum {
    KEY_PRODUCE = 0,
    KEY_INIT_PRODUCER_ID = 22,
    VERSION_PRODUCE = 7,
    VERSION_INIT = 1,
    WAITING_MAX = 16
};

struct waiting {
    int32_t correlation;
    int16_t key;
    unsigned token;
};

struct kafka_link {
    struct stream *stream;
    const struct kafka_link_ops *ops; /* NULL: dropped */
    void *arg;
    int32_t correlation;
    struct waiting waiting[WAITING_MAX];
    unsigned waiting_first;
    unsigned waiting_count;
};

static void put(struct bytebuf *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = bytes; i-- > 0;)
        bytebuf_append_byte(out, (uint8_t)(value >> (8 * i)));
}

static void put_text(struct bytebuf *out, const char *text)
{
    put(out, strlen(text), 2);
    bytebuf_append_cstr(out, text);
}

/* Reads bytes big-endian and moves on; zero past the end. */
static uint64_t take(struct slice *in, unsigned bytes)
{
    uint64_t value = 0;
    if (in->len < bytes) {
        *in = SLICE_NULL;
        return 0;
    }
    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | in->data[i];
    *in = slice_sub(*in, bytes, in->len - bytes);
    return value;
}

static void link_send(struct kafka_link *link, int16_t key, int16_t version, unsigned token,
                      struct slice body)
{
    struct bytebuf head;
    bytebuf_init(&head, 256);
    if (link->waiting_count == WAITING_MAX)
        abort();
    unsigned at = (link->waiting_first + link->waiting_count++) % WAITING_MAX;
    link->waiting[at] = (struct waiting){link->correlation, key, token};
    put(&head, 10 + 3 + body.len, 4);
    put(&head, (uint16_t)key, 2);
    put(&head, (uint16_t)version, 2);
    put(&head, (uint32_t)link->correlation++, 4);
    put_text(&head, "sim");
    stream_write(link->stream, bytebuf_slice(&head));
    stream_write(link->stream, body);
    bytebuf_deinit(&head);
}

void kafka_link_produce(struct kafka_link *link, unsigned token, int16_t acks, const char *topic,
                        int32_t partition, struct slice batch)
{
    struct bytebuf body;
    bytebuf_init(&body, 1 << 20);
    put(&body, 0xffff, 2); /* no transaction */
    put(&body, (uint16_t)acks, 2);
    put(&body, 30000, 4);
    put(&body, 1, 4);
    put_text(&body, topic);
    put(&body, 1, 4);
    put(&body, (uint32_t)partition, 4);
    put(&body, batch.len, 4);
    bytebuf_append_slice(&body, batch);
    link_send(link, KEY_PRODUCE, VERSION_PRODUCE, token, bytebuf_slice(&body));
    bytebuf_deinit(&body);
}

void kafka_link_ask_id(struct kafka_link *link)
{
    struct bytebuf body;
    bytebuf_init(&body, 64);
    put(&body, 0xffff, 2);
    put(&body, 60000, 4);
    link_send(link, KEY_INIT_PRODUCER_ID, VERSION_INIT, 0, bytebuf_slice(&body));
    bytebuf_deinit(&body);
}

/* responses[1]: name, partitions[1]: index, code, base offset, append time, log start; throttle */
static void link_produced(struct kafka_link *link, unsigned token, struct slice in)
{
    uint64_t topics = take(&in, 4);
    uint64_t name = take(&in, 2);
    in = slice_sub(in, name, in.len);
    uint64_t partitions = take(&in, 4);
    take(&in, 4);
    int16_t code = (int16_t)take(&in, 2);
    int64_t base = (int64_t)take(&in, 8);
    take(&in, 8);
    take(&in, 8);
    if (topics != 1 || partitions != 1 || in.len != 4)
        link->ops->nonsense(link->arg, "the answer to Produce has another form");
    else
        link->ops->produced(link->arg, token, code, base);
}

static void link_answer(struct kafka_link *link, struct slice in)
{
    int32_t correlation = (int32_t)take(&in, 4);
    struct waiting *waiting = &link->waiting[link->waiting_first];
    if (link->waiting_count == 0 || waiting->correlation != correlation) {
        link->ops->nonsense(link->arg, "an answer out of turn");
        return;
    }
    int16_t key = waiting->key;
    unsigned token = waiting->token;
    link->waiting_first = (link->waiting_first + 1) % WAITING_MAX;
    link->waiting_count--;
    if (key == KEY_PRODUCE) {
        link_produced(link, token, in);
        return;
    }
    take(&in, 4);
    int16_t code = (int16_t)take(&in, 2);
    int64_t id = (int64_t)take(&in, 8);
    if (in.len != 2)
        link->ops->nonsense(link->arg, "the answer to InitProducerId has another form");
    else
        link->ops->id_given(link->arg, code, id);
}

static void link_data(struct stream *stream, void *arg)
{
    struct kafka_link *link = arg;
    for (;;) {
        struct slice in = stream_input(stream);
        struct slice head = in;
        if (in.len < 4)
            return;
        uint64_t len = take(&head, 4);
        if (stream_need(stream, 4 + len) != ERR_OK) {
            stream_abort(stream, ERR_INVALID_REQUEST);
            return;
        }
        if (in.len < 4 + len)
            return;
        if (link->ops)
            link_answer(link, slice_sub(in, 4, len));
        stream_consume(stream, 4 + len);
    }
}

static void link_close(struct stream *stream, enum err reason, void *arg)
{
    struct kafka_link *link = arg;
    const struct kafka_link_ops *ops = link->ops;
    void *ops_arg = link->arg;
    free(link);
    if (ops)
        ops->lost(ops_arg);
}

static const struct stream_ops link_stream_ops = {.on_data = link_data, .on_close = link_close};

struct kafka_link *kafka_link_dial(struct reactor *reactor, uint16_t port,
                                   const struct kafka_link_ops *ops, void *arg)
{
    struct kafka_link *link = calloc(1, sizeof(*link));
    struct stream_config config = {0};
    struct err_info info;
    link->ops = ops;
    link->arg = arg;
    link->stream =
        stream_connect(reactor, "127.0.0.1", port, &config, &link_stream_ops, link, &info);
    if (link->stream)
        return link;
    free(link);
    return NULL;
}

void kafka_link_drop(struct kafka_link *link)
{
    link->ops = NULL;
    stream_abort(link->stream, ERR_OK);
}
