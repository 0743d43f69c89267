/*
 * What the generated decoders of AMQP composites call: one field after the other of a described
 * list.
 *
 * A list may end early: every further field then reads as null. `ok` is sticky: it becomes false at
 * the first field whose type does not fit, and nothing is read after that.
 */
#ifndef WEIR_WIRE_AMQP_FIELD_H
#define WEIR_WIRE_AMQP_FIELD_H

#include "wire/amqp_value.h"

/* Starts over the list inside a described value with this descriptor; false (and no fields) when it
 * is not one. */
bool amqp_field_begin(const struct amqp_value *described, uint64_t code,
                      struct amqp_iter *ret_fields);
/* True when the next field is present and of this type. */
bool amqp_field_next(struct amqp_iter *fields, enum amqp_type type, struct amqp_value *ret_value,
                     bool *ok);
/* The encoding of the next field, whatever its type; SLICE_NULL for null. */
struct slice amqp_field_raw(struct amqp_iter *fields, bool *ok);
struct slice amqp_field_map(struct amqp_iter *fields, bool *ok);
/* One symbol, or an array or list of them. */
struct slice amqp_field_symbols(struct amqp_iter *fields, bool *ok);
/* Content of a string or symbol: clients mix the two. */
struct slice amqp_field_text(struct amqp_iter *fields, bool *ok);
struct slice amqp_field_binary(struct amqp_iter *fields, bool *ok);

void amqp_put_string_or_null(struct bytebuf *buf, struct slice text);
void amqp_put_symbol_or_null(struct bytebuf *buf, struct slice text);
void amqp_put_binary_or_null(struct bytebuf *buf, struct slice bytes);

#endif
