/*
 * Addresses and selector filters.
 *
 *     [scheme://host[:port]] [/] hub [/ConsumerGroups/cg] [/Partitions/n | /Publishers/p] | $cbs |
 * [hub/] $management amqp.annotation.x-opt-(offset|sequence-number|enqueued-time|enqueuedtimeutc)
 * [ws] (>|>=) [ws] ['] value [']
 *
 * Invariants: (1) keywords compare without case, names are passed on as they came; (2) results are
 * views of the text.
 *
 * Ownership and shard: pure functions over the caller's text; any thread.
 *
 * Failure: what does not fit is EH_NODE_UNKNOWN or false; the caller refuses the link and shows the
 * text.
 */
#include "front/eventhubs/address.h"

#include "base/assert.h"
#include "base/numtext.h"

/* The part before the next slash; *path moves behind it. data NULL at the end. */
static struct slice segment_take(struct slice *path)
{
    if (path->len == 0)
        return SLICE_NULL;
    size_t end = slice_find_byte(*path, '/', 0);
    struct slice part = slice_sub(*path, 0, end);
    *path = end == SIZE_MAX ? SLICE_NULL : slice_sub(*path, end + 1, SIZE_MAX);
    return part;
}

static struct slice path_of(struct slice text)
{
    size_t scheme = slice_find(text, SLICE_LIT("://"), 0);
    if (scheme != SIZE_MAX) {
        size_t slash = slice_find_byte(text, '/', scheme + 3);
        text = slash == SIZE_MAX ? SLICE_NULL : slice_sub(text, slash, SIZE_MAX);
    }
    while (text.len > 0 && text.data[0] == '/')
        text = slice_sub(text, 1, SIZE_MAX);
    while (text.len > 0 && text.data[text.len - 1] == '/')
        text.len--;
    return text;
}

struct eh_address eh_address_parse(struct slice text)
{
    struct eh_address address = {.path = path_of(text)};
    struct slice rest = address.path;
    struct slice first = segment_take(&rest);
    if (slice_equal_nocase(first, SLICE_LIT("$cbs")) && rest.len == 0) {
        address.node = EH_NODE_CBS;
        return address;
    }
    if (slice_equal_nocase(first, SLICE_LIT("$management")) && rest.len == 0) {
        address.node = EH_NODE_MANAGEMENT;
        return address;
    }
    if (first.len == 0 || first.data[0] == '$')
        return address;
    address.hub = first;
    enum eh_node node = EH_NODE_HUB;
    while (rest.len > 0) {
        struct slice word = segment_take(&rest);
        if (slice_equal_nocase(word, SLICE_LIT("$management")) && node == EH_NODE_HUB &&
            rest.len == 0) {
            address.node = EH_NODE_MANAGEMENT;
            return address;
        }
        struct slice name = segment_take(&rest);
        if (name.len == 0)
            return address;
        if (slice_equal_nocase(word, SLICE_LIT("ConsumerGroups")) && node == EH_NODE_HUB &&
            !address.partition.data) {
            address.group = name;
            node = EH_NODE_GROUP;
        } else if (slice_equal_nocase(word, SLICE_LIT("Partitions")) && !address.partition.data) {
            address.partition = name;
        } else if (slice_equal_nocase(word, SLICE_LIT("Publishers")) && node == EH_NODE_HUB) {
            address.publisher = name;
        } else {
            return address;
        }
    }
    address.node = node;
    return address;
}

int32_t eh_address_partition(struct slice text, int32_t count)
{
    int64_t number;
    ASSERT(count > 0);
    bool plain = text.len > 0 && text.len < 10 && text.data[0] >= '0' && text.data[0] <= '9';
    if (!plain || !numtext_read_int64(text, &number) || number >= count)
        return -1;
    return (int32_t)number;
}

static bool position_value(struct slice name, struct eh_position *position)
{
    bool is_time = slice_equal(name, SLICE_LIT("enqueued-time")) ||
                   slice_equal(name, SLICE_LIT("enqueuedtimeutc"));
    position->sequence = slice_equal(name, SLICE_LIT("sequence-number"));
    if (is_time) {
        position->kind = EH_POSITION_TIME;
        return numtext_read_int64(position->text, &position->value);
    }
    if (!position->sequence && !slice_equal(name, SLICE_LIT("offset")))
        return false;
    if (slice_equal_nocase(position->text, SLICE_LIT("@latest"))) {
        position->kind = EH_POSITION_LATEST;
        return true;
    }
    if (!numtext_read_int64(position->text, &position->value) || position->value < -1)
        return false;
    position->kind = position->value == -1 ? EH_POSITION_EARLIEST : EH_POSITION_OFFSET;
    return true;
}

bool eh_position_parse(struct slice filter, struct eh_position *ret_position)
{
    static const struct slice prefix = {(const uint8_t *)"amqp.annotation.x-opt-", 22};
    *ret_position = (struct eh_position){0};
    filter = slice_trim(filter);
    if (!slice_starts_with(filter, prefix))
        return false;
    filter = slice_sub(filter, prefix.len, SIZE_MAX);
    size_t at = slice_find_byte(filter, '>', 0);
    if (at == SIZE_MAX)
        return false;
    struct slice name = slice_trim(slice_sub(filter, 0, at));
    struct slice value = slice_sub(filter, at + 1, SIZE_MAX);
    if (value.len > 0 && value.data[0] == '=') {
        ret_position->inclusive = true;
        value = slice_sub(value, 1, SIZE_MAX);
    }
    value = slice_trim(value);
    if (value.len >= 2 && value.data[0] == '\'' && value.data[value.len - 1] == '\'')
        value = slice_sub(value, 1, value.len - 2);
    ret_position->text = value;
    return value.len > 0 && position_value(name, ret_position);
}
