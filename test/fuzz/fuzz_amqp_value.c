/* AMQP values: reading stays inside, what was read parses again alone, and walks visit what the
 * counts promise. */
#include "fuzz.h"
#include "wire/amqp_value.h"

static void visit(const struct amqp_value *value, int depth)
{
    struct amqp_value again;
    FUZZ_CHECK(depth <= AMQP_DEPTH_MAX + 1);
    FUZZ_CHECK(amqp_value_parse(value->raw, &again) && again.type == value->type);
    int64_t number;
    amqp_value_int64(value, &number);
    amqp_value_text(value);
    if (value->type == AMQP_DESCRIBED) {
        struct amqp_value descriptor;
        struct amqp_value inner;
        amqp_value_undescribe(value, &descriptor, &inner);
        visit(&inner, depth + 1);
        return;
    }
    if (value->type != AMQP_LIST && value->type != AMQP_MAP)
        return;
    struct amqp_iter iter = amqp_iter_begin(value);
    struct amqp_value element;
    uint32_t count = 0;
    while (amqp_iter_next(&iter, &element)) {
        visit(&element, depth + 1);
        count++;
    }
    FUZZ_CHECK(count == value->count);
}

static void visit_array(const struct amqp_value *value)
{
    struct amqp_iter iter = amqp_iter_begin(value);
    struct amqp_value element;
    uint32_t count = 0;
    while (count < 10000 && amqp_iter_next(&iter, &element))
        count++;
    FUZZ_CHECK(count == value->count || count == 10000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice copy = fuzz_copy(slice_make(data, size));
    struct slice rest = copy;
    struct amqp_value value;
    while (rest.len > 0) {
        size_t before = rest.len;
        if (!amqp_value_read(&rest, &value))
            break;
        FUZZ_CHECK(rest.len < before && value.raw.len == before - rest.len);
        if (value.type == AMQP_ARRAY)
            visit_array(&value);
        else if (size < 512) /* each level parses its raw bytes again */
            visit(&value, 0);
        struct amqp_value found;
        amqp_map_find(value.raw, SLICE_LIT("a"), &found);
        amqp_symbols_contain(value.raw, SLICE_LIT("a"));
    }
    fuzz_free(copy);
    return 0;
}
