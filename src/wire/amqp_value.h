/*
 * AMQP 1.0 values: reading in place, walking containers, writing.
 *
 * A value that was read is a view into the bytes it came from: nothing is copied or allocated, so a
 * decoded message lives as long as the frame or iobuf under it. Nested values are checked down to
 * AMQP_DEPTH_MAX levels before any of them is shown; an iterator over a checked container therefore
 * never meets a broken element.
 */
#ifndef WEIR_WIRE_AMQP_VALUE_H
#define WEIR_WIRE_AMQP_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/bytebuf.h"
#include "base/slice.h"

enum {
    AMQP_DEPTH_MAX = 32 /* nesting of described values, lists, maps and arrays */
};

enum amqp_type {
    AMQP_NULL,
    AMQP_BOOLEAN,
    AMQP_UBYTE,
    AMQP_USHORT,
    AMQP_UINT,
    AMQP_ULONG,
    AMQP_BYTE,
    AMQP_SHORT,
    AMQP_INT,
    AMQP_LONG,
    AMQP_FLOAT,
    AMQP_DOUBLE,
    AMQP_DECIMAL, /* 32, 64 or 128 bits: kept as bytes */
    AMQP_CHAR,
    AMQP_TIMESTAMP,
    AMQP_UUID,
    AMQP_BINARY,
    AMQP_STRING,
    AMQP_SYMBOL,
    AMQP_LIST,
    AMQP_MAP,
    AMQP_ARRAY,
    AMQP_DESCRIBED
};

struct amqp_value {
    enum amqp_type type;
    union {
        bool boolean;
        uint64_t u;    /* UBYTE..ULONG, CHAR */
        int64_t i;     /* BYTE..LONG, TIMESTAMP */
        double real;   /* FLOAT, DOUBLE */
        uint64_t code; /* DESCRIBED with a numeric descriptor; 0 for a symbolic one */
    };
    uint32_t count;  /* LIST, MAP (keys and values), ARRAY: elements */
    uint8_t element; /* ARRAY: format code of each element */
    struct slice
        bytes; /* contents: text, binary, uuid; elements of LIST and MAP; elements of ARRAY without
                  constructor; DESCRIBED: the descriptor's encoding followed by the value's */
    struct slice raw; /* the whole encoding, constructor included */
};

/* Reads one value from the front of *in and moves past it. false: malformed, truncated or too deep;
 * *in unchanged. */
MUST_CHECK bool amqp_value_read(struct slice *in, struct amqp_value *ret_value);
/* Reads a value that must fill all of raw. */
MUST_CHECK bool amqp_value_parse(struct slice raw, struct amqp_value *ret_value);
/* The same for a value that will lie depth levels below the top of what it is put into. */
MUST_CHECK bool amqp_value_parse_below(struct slice raw, unsigned depth,
                                       struct amqp_value *ret_value);
/* Splits a DESCRIBED value into descriptor and value. The value was checked, so this cannot fail on
 * its bytes. */
void amqp_value_undescribe(const struct amqp_value *described, struct amqp_value *ret_descriptor,
                           struct amqp_value *ret_value);

/* Walks a LIST, MAP or ARRAY that was read. */
struct amqp_iter {
    struct slice rest;
    uint32_t left;
    uint8_t element; /* 0: each element has its own constructor */
};

struct amqp_iter amqp_iter_begin(const struct amqp_value *container);
/* false at the end. For a MAP, call twice per pair or use amqp_iter_next_pair. */
bool amqp_iter_next(struct amqp_iter *iter, struct amqp_value *ret_value);
bool amqp_iter_next_pair(struct amqp_iter *iter, struct amqp_value *ret_key,
                         struct amqp_value *ret_value);

/* Value of a text key (symbol or string) in a MAP's encoding; false when absent or map is not a
 * map. */
bool amqp_map_find(struct slice raw_map, struct slice key, struct amqp_value *ret_value);
/* Whether a symbol or an array or list of symbols holds name. */
bool amqp_symbols_contain(struct slice raw, struct slice name);

/* Text of a STRING, SYMBOL or BINARY; SLICE_NULL for any other type. */
struct slice amqp_value_text(const struct amqp_value *value);
/* Any integer type as int64; false for other types or when an unsigned value does not fit. */
bool amqp_value_int64(const struct amqp_value *value, int64_t *ret_number);

/* Writers: each appends one value in its smallest encoding. Failure is sticky in buf. */
void amqp_put_null(struct bytebuf *buf);
void amqp_put_boolean(struct bytebuf *buf, bool value);
void amqp_put_ubyte(struct bytebuf *buf, uint8_t value);
void amqp_put_ushort(struct bytebuf *buf, uint16_t value);
void amqp_put_uint(struct bytebuf *buf, uint32_t value);
void amqp_put_ulong(struct bytebuf *buf, uint64_t value);
void amqp_put_int(struct bytebuf *buf, int32_t value);
void amqp_put_long(struct bytebuf *buf, int64_t value);
void amqp_put_double(struct bytebuf *buf, double value);
void amqp_put_timestamp(struct bytebuf *buf, int64_t ms);
void amqp_put_binary(struct bytebuf *buf, struct slice bytes);
void amqp_put_string(struct bytebuf *buf, struct slice text);
void amqp_put_symbol(struct bytebuf *buf, struct slice text);
/* Bytes that are an encoded value already; a null slice writes null. */
void amqp_put_raw(struct bytebuf *buf, struct slice raw);
/* The constructor of a described value with a numeric descriptor: the value follows. */
void amqp_put_descriptor(struct bytebuf *buf, uint64_t code);

/* Opens a list or map; amqp_end closes it with the number of elements (keys and values both count).
 */
size_t amqp_begin_list(struct bytebuf *buf);
size_t amqp_begin_map(struct bytebuf *buf);
void amqp_end(struct bytebuf *buf, size_t mark, uint32_t count);

#endif
