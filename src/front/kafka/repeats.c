/* Things that a request may name only once: found by sorting, since a request names many. */
#include <stdlib.h>

#include "front/kafka/kafka_int.h"

static int name_order(const void *a, const void *b)
{
    const struct kafka_name *x = a, *y = b;
    int order = slice_compare(x->text, y->text);
    return order ? order : (x->number > y->number) - (x->number < y->number);
}

bool *kafka_repeats(struct arena *arena, struct kafka_name *names, size_t count)
{
    bool *repeated = ARENA_ARRAY(arena, bool, count);
    if (!repeated)
        return NULL;
    qsort(names, count, sizeof(*names), name_order);
    for (size_t i = 1; i < count; i++) {
        if (name_order(&names[i - 1], &names[i]) != 0)
            continue;
        ASSERT(names[i - 1].index < count && names[i].index < count);
        repeated[names[i - 1].index] = repeated[names[i].index] = true;
    }
    return repeated;
}
