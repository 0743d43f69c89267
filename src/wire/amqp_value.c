/*
 * AMQP 1.0 values in place.
 *
 * A value is a constructor byte, or 0x00 descriptor constructor, and then what the constructor's
 * high half says:
 *
 *     0x4_ nothing | 0x5_ 1 byte | 0x6_ 2 | 0x7_ 4 | 0x8_ 8 | 0x9_ 16
 *     0xA_ size:1 bytes | 0xB_ size:4 bytes
 *     0xC_ size:1 count:1 items | 0xD_ size:4 count:4 items | 0xE_ size:1 count:1 ctor items | 0xF_
 * size:4 count:4 ctor
 *
 * Invariants
 *  (1) A value is shown only after everything inside it was checked, to AMQP_DEPTH_MAX levels.
 *  (2) Checking costs O(bytes): an array of items that take no bytes is never walked, whatever its
 * count says. (3) raw always spans the whole encoding, so that raw can be copied to another message
 * as it is.
 *
 * Ownership and shard: pure functions over the caller's bytes; any thread.
 *
 * Failure: readers return false and leave their input where it was; writers fail stickily in the
 * bytebuf.
 */
#include "wire/amqp_value.h"

static uint32_t read_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint64_t read_u64(const uint8_t *at)
{
    return (uint64_t)read_u32(at) << 32 | read_u32(at + 4);
}

static struct slice skip(struct slice s, size_t n)
{
    ASSERT(n <= s.len);
    return (struct slice){s.data + n, s.len - n};
}

/* Bytes of a fixed-width constructor's payload; SIZE_MAX for a constructor that carries its size.
 */
static size_t fixed_width(uint8_t code)
{
    switch (code >> 4) {
    case 0x4:
        return 0;
    case 0x5:
        return 1;
    case 0x6:
        return 2;
    case 0x7:
        return 4;
    case 0x8:
        return 8;
    case 0x9:
        return 16;
    default:
        return SIZE_MAX;
    }
}

/* Reads the payload of a fixed-width constructor at `at`; false for a code the standard does not
 * know. */
static bool read_fixed(uint8_t code, const uint8_t *at, struct amqp_value *value)
{
    union {
        uint32_t bits;
        float real;
    } f32;
    union {
        uint64_t bits;
        double real;
    } f64;
    switch (code) {
    case 0x40:
        value->type = AMQP_NULL;
        return true;
    case 0x41:
    case 0x42:
        value->type = AMQP_BOOLEAN;
        value->boolean = code == 0x41;
        return true;
    case 0x43:
        value->type = AMQP_UINT;
        return true;
    case 0x44:
        value->type = AMQP_ULONG;
        return true;
    case 0x45:
        value->type = AMQP_LIST;
        value->bytes = slice_make(at, 0);
        return true;
    case 0x50:
        value->type = AMQP_UBYTE;
        value->u = at[0];
        return true;
    case 0x51:
        value->type = AMQP_BYTE;
        value->i = (int8_t)at[0];
        return true;
    case 0x52:
        value->type = AMQP_UINT;
        value->u = at[0];
        return true;
    case 0x53:
        value->type = AMQP_ULONG;
        value->u = at[0];
        return true;
    case 0x54:
        value->type = AMQP_INT;
        value->i = (int8_t)at[0];
        return true;
    case 0x55:
        value->type = AMQP_LONG;
        value->i = (int8_t)at[0];
        return true;
    case 0x56:
        value->type = AMQP_BOOLEAN;
        value->boolean = at[0] != 0;
        return true;
    case 0x60:
        value->type = AMQP_USHORT;
        value->u = (uint64_t)at[0] << 8 | at[1];
        return true;
    case 0x61:
        value->type = AMQP_SHORT;
        value->i = (int16_t)((uint16_t)at[0] << 8 | at[1]);
        return true;
    case 0x70:
        value->type = AMQP_UINT;
        value->u = read_u32(at);
        return true;
    case 0x71:
        value->type = AMQP_INT;
        value->i = (int32_t)read_u32(at);
        return true;
    case 0x72:
        value->type = AMQP_FLOAT;
        f32.bits = read_u32(at);
        value->real = (double)f32.real;
        return true;
    case 0x73:
        value->type = AMQP_CHAR;
        value->u = read_u32(at);
        return true;
    case 0x74:
    case 0x84:
    case 0x94:
        value->type = AMQP_DECIMAL;
        value->bytes = slice_make(at, fixed_width(code));
        return true;
    case 0x80:
        value->type = AMQP_ULONG;
        value->u = read_u64(at);
        return true;
    case 0x81:
        value->type = AMQP_LONG;
        value->i = (int64_t)read_u64(at);
        return true;
    case 0x82:
        value->type = AMQP_DOUBLE;
        f64.bits = read_u64(at);
        value->real = f64.real;
        return true;
    case 0x83:
        value->type = AMQP_TIMESTAMP;
        value->i = (int64_t)read_u64(at);
        return true;
    case 0x98:
        value->type = AMQP_UUID;
        value->bytes = slice_make(at, 16);
        return true;
    default:
        return false;
    }
}

static bool payload_read(uint8_t code, struct slice *in, unsigned depth, struct amqp_value *value);
static bool value_read(struct slice *in, unsigned depth, struct amqp_value *value);

/* Checks count elements that must fill items exactly. */
static bool items_check(struct slice items, uint32_t count, unsigned depth)
{
    struct amqp_value value;
    if (count > items.len)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!value_read(&items, depth + 1, &value))
            return false;
    }
    return items.len == 0;
}

/* Checks an array's elements behind its constructor; those of fixed width in one comparison. */
static bool array_check(uint8_t element, struct slice items, uint32_t count, unsigned depth)
{
    struct amqp_value value;
    size_t width = fixed_width(element);
    if (element == 0) {
        if (depth > AMQP_DEPTH_MAX || !value_read(&items, depth + 1, &value) || items.len < 1)
            return false;
        return array_check(items.data[0], skip(items, 1), count, depth + 1);
    }
    if (width != SIZE_MAX) {
        static const uint8_t zeros[16] = {0};
        return read_fixed(element, zeros, &value) && (uint64_t)count * width == items.len;
    }
    if (element < 0xa0 || count > items.len)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!payload_read(element, &items, depth + 1, &value))
            return false;
    }
    return items.len == 0;
}

static bool read_variable(uint8_t code, struct slice content, struct amqp_value *value)
{
    static const enum amqp_type types[4] = {AMQP_BINARY, AMQP_STRING, AMQP_NULL, AMQP_SYMBOL};
    if ((code & 0xf) > 3 || (code & 0xf) == 2)
        return false;
    value->type = types[code & 0xf];
    value->bytes = content;
    return true;
}

static bool read_compound(uint8_t code, struct slice content, unsigned depth,
                          struct amqp_value *value)
{
    bool wide = (code & 0x10) != 0;
    bool is_array = code >= 0xe0;
    size_t count_len = wide ? 4 : 1;
    if (content.len < count_len)
        return false;
    value->count = wide ? read_u32(content.data) : content.data[0];
    content = skip(content, count_len);
    if (is_array) {
        if ((code & 0xf) != 0 || content.len < 1)
            return false;
        value->type = AMQP_ARRAY;
        value->element = content.data[0];
        value->bytes = skip(content, 1);
        uint32_t count = value->count;
        if (value->element == 0)
            value->count = 0; /* described elements are kept, not walked */
        return array_check(value->element, value->bytes, count, depth);
    }
    if ((code & 0xf) > 1)
        return false;
    value->type = (code & 0xf) == 1 ? AMQP_MAP : AMQP_LIST;
    value->bytes = content;
    if (value->type == AMQP_MAP && value->count % 2 != 0)
        return false;
    return items_check(content, value->count, depth);
}

/* Reads what follows the constructor `code`, filling everything but raw. */
static bool payload_read(uint8_t code, struct slice *in, unsigned depth, struct amqp_value *value)
{
    size_t width = fixed_width(code);
    value->u = 0;
    value->count = 0;
    value->element = 0;
    value->bytes = SLICE_NULL;
    if (width != SIZE_MAX) {
        if (in->len < width || !read_fixed(code, in->data, value))
            return false;
        *in = skip(*in, width);
        return true;
    }
    if (code < 0xa0 || depth > AMQP_DEPTH_MAX)
        return false;
    size_t size_len = (code & 0x10) != 0 ? 4 : 1;
    if (in->len < size_len)
        return false;
    size_t size = size_len == 4 ? read_u32(in->data) : in->data[0];
    if (in->len - size_len < size)
        return false;
    struct slice content = slice_make(in->data + size_len, size);
    if (!(code < 0xc0 ? read_variable(code, content, value)
                      : read_compound(code, content, depth, value)))
        return false;
    *in = skip(*in, size_len + size);
    return true;
}

static bool value_read(struct slice *in, unsigned depth, struct amqp_value *value)
{
    struct slice rest = *in;
    if (rest.len == 0 || depth > AMQP_DEPTH_MAX)
        return false;
    uint8_t code = rest.data[0];
    rest = skip(rest, 1);
    if (code != 0) {
        if (!payload_read(code, &rest, depth, value))
            return false;
    } else {
        struct amqp_value descriptor, inner;
        const uint8_t *start = rest.data;
        if (!value_read(&rest, depth + 1, &descriptor) || !value_read(&rest, depth + 1, &inner))
            return false;
        *value = (struct amqp_value){.type = AMQP_DESCRIBED};
        value->code = descriptor.type == AMQP_ULONG ? descriptor.u : 0;
        value->bytes = slice_make(start, (size_t)(rest.data - start));
    }
    value->raw = slice_make(in->data, (size_t)(rest.data - in->data));
    *in = rest;
    return true;
}

bool amqp_value_read(struct slice *in, struct amqp_value *ret_value)
{
    ASSERT(in->data || in->len == 0);
    return value_read(in, 0, ret_value);
}

bool amqp_value_parse(struct slice raw, struct amqp_value *ret_value)
{
    return value_read(&raw, 0, ret_value) && raw.len == 0;
}

bool amqp_value_parse_below(struct slice raw, unsigned depth, struct amqp_value *ret_value)
{
    ASSERT(depth <= AMQP_DEPTH_MAX);
    return value_read(&raw, depth, ret_value) && raw.len == 0;
}

void amqp_value_undescribe(const struct amqp_value *described, struct amqp_value *ret_descriptor,
                           struct amqp_value *ret_value)
{
    ASSERT(described->type == AMQP_DESCRIBED);
    struct slice rest = described->bytes;
    bool ok = value_read(&rest, 0, ret_descriptor) && value_read(&rest, 0, ret_value);
    ASSERT(ok); /* checked when the described value was read */
}

struct amqp_iter amqp_iter_begin(const struct amqp_value *container)
{
    ASSERT(container->type == AMQP_LIST || container->type == AMQP_MAP ||
           container->type == AMQP_ARRAY);
    return (struct amqp_iter){container->bytes, container->count, container->element};
}

bool amqp_iter_next(struct amqp_iter *iter, struct amqp_value *ret_value)
{
    if (iter->left == 0)
        return false;
    iter->left--;
    bool ok;
    if (iter->element != 0) {
        const uint8_t *start = iter->rest.data;
        ok = payload_read(iter->element, &iter->rest, 0, ret_value);
        ret_value->raw = slice_make(start, (size_t)(iter->rest.data - start));
    } else {
        ok = value_read(&iter->rest, 0, ret_value);
    }
    ASSERT(ok); /* checked when the container was read */
    return ok;
}

bool amqp_iter_next_pair(struct amqp_iter *iter, struct amqp_value *ret_key,
                         struct amqp_value *ret_value)
{
    return amqp_iter_next(iter, ret_key) && amqp_iter_next(iter, ret_value);
}

bool amqp_map_find(struct slice raw_map, struct slice key, struct amqp_value *ret_value)
{
    struct amqp_value map, name;
    if (raw_map.len == 0 || !amqp_value_parse(raw_map, &map) || map.type != AMQP_MAP)
        return false;
    struct amqp_iter iter = amqp_iter_begin(&map);
    while (amqp_iter_next_pair(&iter, &name, ret_value)) {
        if ((name.type == AMQP_SYMBOL || name.type == AMQP_STRING) && slice_equal(name.bytes, key))
            return true;
    }
    return false;
}

bool amqp_symbols_contain(struct slice raw, struct slice name)
{
    struct amqp_value value, item;
    if (raw.len == 0 || !amqp_value_parse(raw, &value))
        return false;
    if (value.type == AMQP_SYMBOL || value.type == AMQP_STRING)
        return slice_equal(value.bytes, name);
    if (value.type != AMQP_ARRAY && value.type != AMQP_LIST)
        return false;
    if (value.type == AMQP_ARRAY && value.element != 0xa3 && value.element != 0xb3)
        return false;
    struct amqp_iter iter = amqp_iter_begin(&value);
    while (amqp_iter_next(&iter, &item)) {
        if (item.type == AMQP_SYMBOL && slice_equal(item.bytes, name))
            return true;
    }
    return false;
}

struct slice amqp_value_text(const struct amqp_value *value)
{
    if (value->type == AMQP_STRING || value->type == AMQP_SYMBOL || value->type == AMQP_BINARY)
        return value->bytes;
    return SLICE_NULL;
}

bool amqp_value_int64(const struct amqp_value *value, int64_t *ret_number)
{
    switch (value->type) {
    case AMQP_UBYTE:
    case AMQP_USHORT:
    case AMQP_UINT:
    case AMQP_ULONG:
        *ret_number = (int64_t)value->u;
        return value->u <= INT64_MAX;
    case AMQP_BYTE:
    case AMQP_SHORT:
    case AMQP_INT:
    case AMQP_LONG:
        *ret_number = value->i;
        return true;
    default:
        return false;
    }
}

static void put_code_be(struct bytebuf *buf, uint8_t code, uint64_t value, unsigned width)
{
    ASSERT(width <= 8);
    uint8_t out[9];
    out[0] = code;
    for (unsigned i = 0; i < width; i++)
        out[1 + i] = (uint8_t)(value >> (8 * (width - 1 - i)));
    bytebuf_append(buf, out, 1 + width);
}

void amqp_put_null(struct bytebuf *buf)
{
    bytebuf_append_byte(buf, 0x40);
}

void amqp_put_boolean(struct bytebuf *buf, bool value)
{
    bytebuf_append_byte(buf, value ? 0x41 : 0x42);
}

void amqp_put_ubyte(struct bytebuf *buf, uint8_t value)
{
    put_code_be(buf, 0x50, value, 1);
}

void amqp_put_ushort(struct bytebuf *buf, uint16_t value)
{
    put_code_be(buf, 0x60, value, 2);
}

void amqp_put_uint(struct bytebuf *buf, uint32_t value)
{
    if (value == 0)
        bytebuf_append_byte(buf, 0x43);
    else
        put_code_be(buf, value < 256 ? 0x52 : 0x70, value, value < 256 ? 1 : 4);
}

void amqp_put_ulong(struct bytebuf *buf, uint64_t value)
{
    if (value == 0)
        bytebuf_append_byte(buf, 0x44);
    else
        put_code_be(buf, value < 256 ? 0x53 : 0x80, value, value < 256 ? 1 : 8);
}

void amqp_put_int(struct bytebuf *buf, int32_t value)
{
    bool small = value >= -128 && value <= 127;
    put_code_be(buf, small ? 0x54 : 0x71, (uint32_t)value, small ? 1 : 4);
}

void amqp_put_long(struct bytebuf *buf, int64_t value)
{
    bool small = value >= -128 && value <= 127;
    put_code_be(buf, small ? 0x55 : 0x81, (uint64_t)value, small ? 1 : 8);
}

void amqp_put_double(struct bytebuf *buf, double value)
{
    union {
        double real;
        uint64_t bits;
    } f64 = {value};
    put_code_be(buf, 0x82, f64.bits, 8);
}

void amqp_put_timestamp(struct bytebuf *buf, int64_t ms)
{
    put_code_be(buf, 0x83, (uint64_t)ms, 8);
}

static void put_variable(struct bytebuf *buf, uint8_t kind, struct slice bytes)
{
    ASSERT(bytes.len <= UINT32_MAX);
    if (bytes.len < 256)
        put_code_be(buf, 0xa0 | kind, bytes.len, 1);
    else
        put_code_be(buf, 0xb0 | kind, bytes.len, 4);
    bytebuf_append_slice(buf, bytes);
}

void amqp_put_binary(struct bytebuf *buf, struct slice bytes)
{
    put_variable(buf, 0, bytes);
}

void amqp_put_string(struct bytebuf *buf, struct slice text)
{
    put_variable(buf, 1, text);
}

void amqp_put_symbol(struct bytebuf *buf, struct slice text)
{
    put_variable(buf, 3, text);
}

void amqp_put_raw(struct bytebuf *buf, struct slice raw)
{
    if (raw.len == 0)
        amqp_put_null(buf);
    else
        bytebuf_append_slice(buf, raw);
}

void amqp_put_descriptor(struct bytebuf *buf, uint64_t code)
{
    bytebuf_append_byte(buf, 0);
    amqp_put_ulong(buf, code);
}

/* Both begin with the wide form; amqp_end narrows what turned out small. */
static size_t begin_compound(struct bytebuf *buf, uint8_t code)
{
    size_t mark = buf->len;
    const uint8_t head[9] = {code};
    bytebuf_append(buf, head, sizeof(head));
    return mark;
}

size_t amqp_begin_list(struct bytebuf *buf)
{
    return begin_compound(buf, 0xd0);
}

size_t amqp_begin_map(struct bytebuf *buf)
{
    return begin_compound(buf, 0xd1);
}

void amqp_end(struct bytebuf *buf, size_t mark, uint32_t count)
{
    if (buf->failed)
        return;
    ASSERT(mark + 9 <= buf->len);
    uint8_t *at = buf->data + mark;
    size_t body = buf->len - mark - 9;
    if (body < 255 && count < 256) {
        at[0] = (uint8_t)(at[0] - 0x10);
        at[1] = (uint8_t)(body + 1);
        at[2] = (uint8_t)count;
        memmove(at + 3, at + 9, body);
        buf->len -= 6;
        return;
    }
    uint64_t sizes = (uint64_t)(body + 4) << 32 | count;
    for (unsigned i = 0; i < 8; i++)
        at[1 + i] = (uint8_t)(sizes >> (56 - 8 * i));
}
