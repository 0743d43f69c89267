/*
 * Everything up to the attach is sent at once, as clients do; then the link follows what the server says.
 *
 *     value: constructor, then for 4x nothing, 5x 1, 6x 2, 7x 4, 8x 8, 9x 16 bytes; ax/cx/ex a size of 1, bx/dx/fx one of 4 bytes and so much
 *     frame: size (4) | 2 | kind | channel (2) | 00 <descriptor> <list of fields> | payload
 */
#include "amqp_link.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytebuf.h"
#include "io/reactor.h"
#include "io/stream.h"

enum {
    OPEN = 0x10,
    BEGIN,
    ATTACH,
    FLOW,
    TRANSFER,
    DISPOSITION,
    DETACH,
    END,
    CLOSE,
    SASL_MECHANISMS = 0x40,
    SASL_INIT,
    SASL_OUTCOME = 0x44,
    ACCEPTED = 0x24,
    IDS = 64, /* deliveries on their way */
    EVENT_MAX = 2 << 20,
    FLOW_US = 200 /* after the need for it: whoever sends too much has sent it by then */
};

struct value {
    uint8_t code;        /* constructor; 0x40 also for a field that is not there */
    uint64_t number;     /* of fixed ones */
    struct slice bytes;  /* of variable and compound ones, without size */
    uint64_t descriptor; /* of described ones; code 0 */
    struct slice inner;
};

struct amqp_link {
    struct stream *stream;
    const struct amqp_link_ops *ops; /* NULL: dropped */
    void *arg;
    struct amqp_link_config config;
    bool receives;
    unsigned headers; /* protocol headers that came */
    bool attached;
    /* sender */
    uint32_t credit;
    uint32_t sent;
    uint32_t acked;
    unsigned tokens[IDS];
    bool open[IDS];
    /* receiver */
    uint32_t frames;
    uint32_t frames_told;
    uint32_t deliveries;
    uint32_t deliveries_told;
    struct timer flow;
    struct bytebuf event;
    bool more;
};

/* ---- writing ---- */

static void put(struct bytebuf *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = bytes; i-- > 0;)
        bytebuf_append_byte(out, (uint8_t)(value >> (8 * i)));
}

static void put_uint(struct bytebuf *out, uint32_t value)
{
    put(out, 0x70, 1);
    put(out, value, 4);
}

static void put_text(struct bytebuf *out, uint8_t code, const char *text)
{
    put(out, code, 1);
    put(out, strlen(text), 4);
    bytebuf_append_cstr(out, text);
}

static void put_nulls(struct bytebuf *out, unsigned count)
{
    while (count-- > 0)
        put(out, 0x40, 1);
}

/* A described list of fields that are already encoded. */
static void put_list(struct bytebuf *out, uint8_t descriptor, uint32_t count, struct slice fields)
{
    put(out, 0x0053, 2);
    put(out, descriptor, 1);
    put(out, 0xd0, 1);
    put(out, fields.len + 4, 4);
    put(out, count, 4);
    bytebuf_append_slice(out, fields);
}

void amqp_link_put_data(struct bytebuf *out, struct slice body)
{
    put(out, 0x005375b0, 4);
    put(out, body.len, 4);
    bytebuf_append_slice(out, body);
}

static void frame_send(struct amqp_link *link, uint8_t kind, uint8_t descriptor, uint32_t count,
                       struct bytebuf *fields, struct slice payload)
{
    struct bytebuf frame;
    bytebuf_init(&frame, 1 << 20);
    put(&frame, 8 + 3 + 9 + fields->len + payload.len, 4);
    put(&frame, 2, 1);
    put(&frame, kind, 1);
    put(&frame, 0, 2);
    put_list(&frame, descriptor, count, bytebuf_slice(fields));
    bytebuf_append_slice(&frame, payload);
    stream_write(link->stream, bytebuf_slice(&frame));
    bytebuf_deinit(&frame);
    bytebuf_clear(fields);
}

static void flow_send(struct amqp_link *link)
{
    struct bytebuf fields;
    bytebuf_init(&fields, 256);
    put_uint(&fields, 1 + link->frames); /* the server begins with transfer 1 */
    put_uint(&fields, link->config.window);
    put_uint(&fields, 0);
    put_uint(&fields, 1000);
    put_uint(&fields, 0);
    put_uint(&fields, link->deliveries);
    put_uint(&fields, link->config.credit);
    link->frames_told = link->frames;
    link->deliveries_told = link->deliveries;
    frame_send(link, 0, FLOW, 7, &fields, SLICE_NULL);
    bytebuf_deinit(&fields);
}

static void flow_due(struct timer *timer)
{
    struct amqp_link *link = CONTAINER_OF(timer, struct amqp_link, flow);
    if (link->ops)
        flow_send(link);
}

static void put_source_filter(struct bytebuf *fields, const char *filter)
{
    static const char key[] = "apache.org:selector-filter:string";
    struct bytebuf map;
    bytebuf_init(&map, 1024);
    put_text(&map, 0xb3, key);
    put(&map, 0, 1);
    put_text(&map, 0xb3, key);
    put_text(&map, 0xb1, filter);
    put(fields, 0xd1, 1);
    put(fields, map.len + 4, 4);
    put(fields, 2, 4);
    bytebuf_append_slice(fields, bytebuf_slice(&map));
    bytebuf_deinit(&map);
}

static void attach_send(struct amqp_link *link)
{
    struct bytebuf fields, near, far;
    bytebuf_init(&fields, 4096);
    bytebuf_init(&near, 1024);
    bytebuf_init(&far, 2048);
    put_text(&near, 0xb1, "near");
    put_text(&far, 0xb1, link->config.address);
    if (link->receives) {
        put_nulls(&far, 6);
        put_source_filter(&far, link->config.filter);
    }
    put_text(&fields, 0xb1, "link");
    put_uint(&fields, 0);
    put(&fields, link->receives ? 0x41 : 0x42, 1);
    put(&fields, link->receives ? 0x5001 : 0x5000, 2);
    put(&fields, 0x5000, 2);
    put_list(&fields, 0x28, link->receives ? 8 : 1, bytebuf_slice(link->receives ? &far : &near));
    put_list(&fields, 0x29, 1, bytebuf_slice(link->receives ? &near : &far));
    put_nulls(&fields, 2);
    if (link->receives)
        put_nulls(&fields, 1);
    else
        put_uint(&fields, 0);
    frame_send(link, 0, ATTACH, 10, &fields, SLICE_NULL);
    bytebuf_deinit(&fields);
    bytebuf_deinit(&near);
    bytebuf_deinit(&far);
}

static void everything_send(struct amqp_link *link)
{
    struct bytebuf fields;
    bytebuf_init(&fields, 1024);
    stream_write(link->stream, SLICE_LIT("AMQP\3\1\0\0"));
    put_text(&fields, 0xb3, "ANONYMOUS");
    frame_send(link, 1, SASL_INIT, 1, &fields, SLICE_NULL);
    stream_write(link->stream, SLICE_LIT("AMQP\0\1\0\0"));
    put_text(&fields, 0xb1, "sim");
    put_nulls(&fields, 1);
    put_uint(&fields, link->config.frame_max);
    frame_send(link, 0, OPEN, 3, &fields, SLICE_NULL);
    put_nulls(&fields, 1);
    put_uint(&fields, 0);
    put_uint(&fields, link->config.window);
    put_uint(&fields, 1000);
    frame_send(link, 0, BEGIN, 4, &fields, SLICE_NULL);
    bytebuf_deinit(&fields);
    attach_send(link);
    if (link->receives)
        flow_send(link);
}

uint32_t amqp_link_credit(const struct amqp_link *link)
{
    uint32_t open = link->sent - link->acked;
    return link->attached && link->credit > 0 && open < IDS ? link->credit : 0;
}

void amqp_link_send(struct amqp_link *link, unsigned token, uint32_t format, struct slice message)
{
    struct bytebuf fields;
    bytebuf_init(&fields, 256);
    uint32_t id = link->sent++;
    link->tokens[id % IDS] = token;
    link->open[id % IDS] = true;
    link->credit--;
    for (bool first = true; first || message.len > 0; first = false) {
        struct slice piece = slice_sub(message, 0, link->config.piece);
        message = slice_sub(message, piece.len, SIZE_MAX);
        put_uint(&fields, 0);
        if (first) {
            put_uint(&fields, id);
            put(&fields, 0xa004, 2);
            put(&fields, id, 4);
            put_uint(&fields, format);
        } else {
            put_nulls(&fields, 3);
        }
        put(&fields, 0x42, 1);
        put(&fields, message.len > 0 ? 0x41 : 0x42, 1);
        frame_send(link, 0, TRANSFER, 6, &fields, piece);
    }
    bytebuf_deinit(&fields);
}

/* ---- reading ---- */

static uint64_t take(struct slice *in, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes && i < in->len; i++)
        value = value << 8 | in->data[i];
    *in = slice_sub(*in, bytes, SIZE_MAX);
    return value;
}

/* The next value; 0x40 at the end. depth: of descriptors, which nest once here. */
static struct value value_take(struct slice *in, unsigned depth)
{
    static const uint8_t widths[] = {0, 1, 2, 4, 8, 16};
    struct value value = {.code = 0x40};
    if (in->len == 0)
        return value;
    value.code = (uint8_t)take(in, 1);
    if (value.code == 0 && depth < 2) {
        value.descriptor = value_take(in, depth + 1).number;
        const uint8_t *start = in->data;
        (void)value_take(in, depth + 1);
        value.inner = slice_make(start, (size_t)(in->data - start));
        return value;
    }
    unsigned kind = value.code >> 4;
    if (kind >= 0xa) {
        size_t size = take(in, kind % 2 == 0 ? 1 : 4);
        value.bytes = slice_sub(*in, 0, size);
        *in = slice_sub(*in, size, SIZE_MAX);
    } else if (kind >= 4) {
        value.number = take(in, widths[kind - 4] <= 8 ? widths[kind - 4] : 16);
        if (value.code == 0x41)
            value.number = 1;
    }
    return value;
}

/* The elements of a list or map, one behind the other. */
static struct slice elements(struct value value)
{
    struct slice bytes = value.bytes;
    if (value.code >= 0xc0)
        take(&bytes, value.code >= 0xd0 ? 4 : 1);
    return bytes;
}

static struct value field(struct slice fields, unsigned index)
{
    struct value value = value_take(&fields, 0);
    while (index-- > 0)
        value = value_take(&fields, 0);
    return value;
}

static void link_nonsense(struct amqp_link *link, const char *what)
{
    if (link->ops)
        link->ops->nonsense(link->arg, what);
}

static int64_t text_number(struct slice text)
{
    int64_t number = 0;
    for (size_t i = 0; i < text.len; i++)
        number = number * 10 + (text.data[i] - '0');
    return text.len > 0 && text.len < 19 ? number : -1;
}

/* A whole event: annotations 0x72 and one Data section. */
static void event_read(struct amqp_link *link)
{
    struct slice in = bytebuf_slice(&link->event);
    struct slice body = SLICE_NULL;
    int64_t sequence = -1, offset = -1;
    while (in.len > 0) {
        struct value section = value_take(&in, 0);
        struct slice inner = section.inner;
        struct value value = value_take(&inner, 0);
        struct slice pairs = section.descriptor == 0x72 ? elements(value) : SLICE_NULL;
        if (section.code != 0)
            link_nonsense(link, "an event that is not made of sections");
        if (section.descriptor == 0x75)
            body = value.bytes;
        while (pairs.len > 0) {
            struct value key = value_take(&pairs, 0), item = value_take(&pairs, 0);
            if (slice_equal(key.bytes, SLICE_LIT("x-opt-sequence-number")))
                sequence = item.code == 0x55 ? (int8_t)item.number : (int64_t)item.number;
            if (slice_equal(key.bytes, SLICE_LIT("x-opt-offset")))
                offset = text_number(item.bytes);
        }
    }
    if (link->ops)
        link->ops->event(link->arg, sequence, offset, body);
}

static void on_transfer(struct amqp_link *link, struct slice fields, struct slice payload)
{
    bool first = !link->more;
    if (first)
        bytebuf_clear(&link->event);
    if (first && field(fields, 1).number != link->deliveries + 1)
        link_nonsense(link, "delivery ids with a gap");
    link->frames++;
    if (link->frames - link->frames_told > link->config.window)
        link_nonsense(link, "a frame outside of the window");
    bytebuf_append_slice(&link->event, payload);
    link->more = field(fields, 5).number == 1;
    if (!link->more) {
        link->deliveries++;
        if (link->deliveries - link->deliveries_told > link->config.credit)
            link_nonsense(link, "a delivery without credit");
        event_read(link);
    }
    bool window_low = (link->frames - link->frames_told) * 2 >= link->config.window;
    bool credit_low = (link->deliveries - link->deliveries_told) * 2 >= link->config.credit;
    if (link->ops && (window_low || credit_low) && !timer_armed(&link->flow))
        timer_arm(stream_reactor(link->stream), &link->flow, FLOW_US);
}

static void on_disposition(struct amqp_link *link, struct slice fields)
{
    uint32_t first = (uint32_t)field(fields, 1).number;
    struct value last = field(fields, 2);
    uint32_t end = last.code == 0x40 ? first : (uint32_t)last.number;
    bool accepted = field(fields, 4).descriptor == ACCEPTED;
    if (end - first >= IDS) {
        link_nonsense(link, "a disposition of too many deliveries");
        return;
    }
    for (uint32_t id = first; id - first <= end - first && link->ops; id++) {
        if (id >= link->sent || !link->open[id % IDS]) {
            link_nonsense(link, "a disposition of what was not sent");
            return;
        }
        link->open[id % IDS] = false;
        link->acked++;
        link->ops->settled(link->arg, link->tokens[id % IDS], accepted);
    }
}

static void on_flow(struct amqp_link *link, struct slice fields)
{
    if (field(fields, 4).code == 0x40 || link->receives)
        return;
    uint32_t seen = (uint32_t)field(fields, 5).number;
    uint32_t given = (uint32_t)field(fields, 6).number;
    link->credit = given - (link->sent - seen);
    if (link->ops)
        link->ops->credit(link->arg);
}

static void on_frame(struct amqp_link *link, struct slice body)
{
    if (body.len == 0)
        return;
    struct value performative = value_take(&body, 0);
    struct slice inner = performative.inner;
    struct slice fields = elements(value_take(&inner, 0));
    switch (performative.descriptor) {
    case SASL_MECHANISMS:
    case OPEN:
    case BEGIN:
        break;
    case SASL_OUTCOME:
        if (field(fields, 0).number != 0)
            link_nonsense(link, "a refused login");
        break;
    case ATTACH:
        link->attached = true;
        break;
    case FLOW:
        on_flow(link, fields);
        break;
    case TRANSFER:
        on_transfer(link, fields, body);
        break;
    case DISPOSITION:
        on_disposition(link, fields);
        break;
    case DETACH:
    case END:
    case CLOSE:
        stream_abort(link->stream, ERR_OK);
        break;
    default:
        link_nonsense(link, "a performative that does not exist");
    }
}

static void link_data(struct stream *stream, void *arg)
{
    struct amqp_link *link = arg;
    while (!stream_closing(stream)) {
        struct slice in = stream_input(stream), head = in;
        bool header = in.len >= 4 && memcmp(in.data, "AMQP", 4) == 0 && link->headers < 2;
        if (in.len < 8)
            return;
        size_t len = header ? 8 : take(&head, 4);
        if (len < 8 || len > (link->headers < 2 ? 512 : link->config.frame_max)) {
            link_nonsense(link, "a frame of a size that was not agreed");
            return;
        }
        if (in.len < len) {
            if (stream_need(stream, len) != ERR_OK)
                stream_abort(stream, ERR_INVALID_REQUEST);
            return;
        }
        if (header)
            link->headers++;
        else if (link->ops)
            on_frame(link, slice_sub(in, 8, len - 8));
        stream_consume(stream, len);
    }
}

static void link_close(struct stream *stream, enum err reason, void *arg)
{
    struct amqp_link *link = arg;
    const struct amqp_link_ops *ops = link->ops;
    void *ops_arg = link->arg;
    timer_cancel(stream_reactor(stream), &link->flow);
    bytebuf_deinit(&link->event);
    free((char *)link->config.address);
    free((char *)link->config.filter);
    free(link);
    if (ops)
        ops->lost(ops_arg);
}

static const struct stream_ops link_stream_ops = {.on_data = link_data, .on_close = link_close};

struct amqp_link *amqp_link_dial(struct reactor *reactor, uint16_t port,
                                 const struct amqp_link_config *config,
                                 const struct amqp_link_ops *ops, void *arg)
{
    struct amqp_link *link = calloc(1, sizeof(*link));
    struct stream_config limits = {0};
    struct err_info info;
    link->ops = ops;
    link->arg = arg;
    link->config = *config;
    link->receives = config->filter != NULL;
    link->config.address = strdup(config->address);
    link->config.filter = config->filter ? strdup(config->filter) : NULL;
    bytebuf_init(&link->event, EVENT_MAX);
    timer_init(&link->flow, flow_due);
    link->stream =
        stream_connect(reactor, "127.0.0.1", port, &limits, &link_stream_ops, link, &info);
    if (link->stream) {
        everything_send(link);
        return link;
    }
    free((char *)link->config.address);
    free((char *)link->config.filter);
    free(link);
    return NULL;
}

void amqp_link_drop(struct amqp_link *link)
{
    link->ops = NULL;
    stream_abort(link->stream, ERR_OK);
}
