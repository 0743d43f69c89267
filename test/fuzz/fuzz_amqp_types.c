/* AMQP composites: any described value goes to every decoder; none reads outside of it. */
#include "amqp_types.h"
#include "fuzz.h"

#define TYPES(X)                                                                                   \
    X(open)                                                                                        \
    X(begin)                                                                                       \
    X(attach)                                                                                      \
    X(flow)                                                                                        \
    X(transfer)                                                                                    \
    X(disposition)                                                                                 \
    X(detach)                                                                                      \
    X(end)                                                                                         \
    X(close)                                                                                       \
    X(error)                                                                                       \
    X(received)                                                                                    \
    X(accepted)                                                                                    \
    X(rejected)                                                                                    \
    X(released)                                                                                    \
    X(modified)                                                                                    \
    X(source)                                                                                      \
    X(target)                                                                                      \
    X(header)                                                                                      \
    X(properties)                                                                                  \
    X(sasl_mechanisms)                                                                             \
    X(sasl_init)                                                                                   \
    X(sasl_challenge)                                                                              \
    X(sasl_response)                                                                               \
    X(sasl_outcome)

#define DECODE(name)                                                                               \
    {                                                                                              \
        struct amqp_##name msg;                                                                    \
        decoded += amqp_##name##_decode(&value, &msg);                                             \
    }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice copy = fuzz_copy(slice_make(data, size));
    struct slice rest = copy;
    struct amqp_value value;
    while (amqp_value_read(&rest, &value)) {
        int decoded = 0;
        TYPES(DECODE)
        FUZZ_CHECK(decoded <= 1); /* a descriptor names one type */
    }
    fuzz_free(copy);
    return 0;
}
