/*
 * Fields of AMQP composites, for the generated decoders.
 *
 * A composite is 0x00, a descriptor, and a list whose positions have names:
 *
 *     00 53 10 c0 size count [container-id] [hostname] ...      null and "list ended" both mean
 * absent
 *
 * Invariants
 *  (1) Once ok is false no field is read any more and every result is empty.
 *  (2) A result of content is never NULL for a present field, even an empty one.
 *
 * Ownership and shard: pure functions over the caller's bytes; any thread.
 *
 * Failure: a field of the wrong type sets ok to false; the caller refuses the frame as a whole.
 */
#include "wire/amqp_field.h"

bool amqp_field_begin(const struct amqp_value *described, uint64_t code,
                      struct amqp_iter *ret_fields)
{
    struct amqp_value descriptor, list;
    ASSERT(code != 0);
    *ret_fields = (struct amqp_iter){0};
    if (described->type != AMQP_DESCRIBED || described->code != code)
        return false;
    amqp_value_undescribe(described, &descriptor, &list);
    if (list.type != AMQP_LIST)
        return false;
    *ret_fields = amqp_iter_begin(&list);
    return true;
}

static bool field_present(struct amqp_iter *fields, struct amqp_value *value, const bool *ok)
{
    return *ok && amqp_iter_next(fields, value) && value->type != AMQP_NULL;
}

bool amqp_field_next(struct amqp_iter *fields, enum amqp_type type, struct amqp_value *ret_value,
                     bool *ok)
{
    if (!field_present(fields, ret_value, ok))
        return false;
    *ok = ret_value->type == type;
    return *ok;
}

struct slice amqp_field_raw(struct amqp_iter *fields, bool *ok)
{
    struct amqp_value value;
    return field_present(fields, &value, ok) ? value.raw : SLICE_NULL;
}

struct slice amqp_field_map(struct amqp_iter *fields, bool *ok)
{
    struct amqp_value value;
    return amqp_field_next(fields, AMQP_MAP, &value, ok) ? value.raw : SLICE_NULL;
}

struct slice amqp_field_symbols(struct amqp_iter *fields, bool *ok)
{
    struct amqp_value value;
    if (!field_present(fields, &value, ok))
        return SLICE_NULL;
    *ok = value.type == AMQP_SYMBOL || value.type == AMQP_STRING || value.type == AMQP_ARRAY ||
          value.type == AMQP_LIST;
    return *ok ? value.raw : SLICE_NULL;
}

struct slice amqp_field_text(struct amqp_iter *fields, bool *ok)
{
    struct amqp_value value;
    if (!field_present(fields, &value, ok))
        return SLICE_NULL;
    *ok = value.type == AMQP_STRING || value.type == AMQP_SYMBOL;
    return *ok ? value.bytes : SLICE_NULL;
}

struct slice amqp_field_binary(struct amqp_iter *fields, bool *ok)
{
    struct amqp_value value;
    return amqp_field_next(fields, AMQP_BINARY, &value, ok) ? value.bytes : SLICE_NULL;
}

void amqp_put_string_or_null(struct bytebuf *buf, struct slice text)
{
    if (text.data)
        amqp_put_string(buf, text);
    else
        amqp_put_null(buf);
}

void amqp_put_symbol_or_null(struct bytebuf *buf, struct slice text)
{
    if (text.data)
        amqp_put_symbol(buf, text);
    else
        amqp_put_null(buf);
}

void amqp_put_binary_or_null(struct bytebuf *buf, struct slice bytes)
{
    if (bytes.data)
        amqp_put_binary(buf, bytes);
    else
        amqp_put_null(buf);
}
