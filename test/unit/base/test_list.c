/* The intrusive list against an array that does the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/random.h"

enum { ITEMS = 24, LISTS = 3, STEPS = 20000 };

struct item {
    int before;
    struct list_node node;
    unsigned number;
};

/* What a list should hold, front first. */
struct model {
    unsigned number[ITEMS];
    unsigned count;
};

static struct item items[ITEMS];
static struct list_node lists[LISTS];
static struct model models[LISTS];

static void model_remove(unsigned number)
{
    for (unsigned l = 0; l < LISTS; l++) {
        struct model *m = &models[l];
        for (unsigned i = 0; i < m->count; i++) {
            if (m->number[i] != number)
                continue;
            memmove(m->number + i, m->number + i + 1, (m->count - i - 1) * sizeof(m->number[0]));
            m->count--;
            return;
        }
    }
}

static void model_push(struct model *m, unsigned number, bool front)
{
    if (front)
        memmove(m->number + 1, m->number, m->count * sizeof(m->number[0]));
    m->number[front ? 0 : m->count] = number;
    m->count++;
}

static void check(unsigned l)
{
    const struct model *m = &models[l];
    unsigned i = 0;
    assert_int_equal(list_empty(&lists[l]), m->count == 0);
    LIST_FOREACH(node, &lists[l])
    {
        assert_true(i < m->count);
        assert_int_equal(CONTAINER_OF(node, struct item, node)->number, m->number[i]);
        assert_ptr_equal(node->next->prev, node);
        i++;
    }
    assert_int_equal(i, m->count);
    struct list_node *front = list_front(&lists[l]);
    assert_ptr_equal(front, m->count ? &items[m->number[0]].node : NULL);
}

static void test_model(void **state)
{
    struct random random;
    random_init(&random, 5);
    for (unsigned i = 0; i < ITEMS; i++) {
        items[i].number = i;
        list_init(&items[i].node);
    }
    for (unsigned l = 0; l < LISTS; l++)
        list_init(&lists[l]);
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned l = (unsigned)random_below(&random, LISTS);
        unsigned number = (unsigned)random_below(&random, ITEMS);
        bool front = random_one_in(&random, 2);
        switch (random_below(&random, 4)) {
        case 0: /* takes itself out of whatever list it is in; twice is harmless */
            list_remove(&items[number].node);
            list_remove(&items[number].node);
            model_remove(number);
            break;
        case 1: {
            struct list_node *node = list_pop_front(&lists[l]);
            assert_ptr_equal(node, models[l].count ? &items[models[l].number[0]].node : NULL);
            if (node) {
                assert_true(list_empty(node)); /* ready for the next list */
                model_remove(models[l].number[0]);
            }
            break;
        }
        default:
            list_remove(&items[number].node);
            model_remove(number);
            if (front)
                list_push_front(&lists[l], &items[number].node);
            else
                list_push_back(&lists[l], &items[number].node);
            model_push(&models[l], number, front);
        }
        check(l);
    }
}

/* The walk that allows the current node to go. */
static void test_remove_while_walking(void **state)
{
    struct list_node list;
    list_init(&list);
    for (unsigned i = 0; i < ITEMS; i++) {
        items[i].number = i;
        list_init(&items[i].node);
        list_push_back(&list, &items[i].node);
    }
    unsigned seen = 0;
    LIST_FOREACH_SAFE(node, &list)
    {
        assert_int_equal(CONTAINER_OF(node, struct item, node)->number, seen);
        if (seen % 2 == 0)
            list_remove(node);
        seen++;
    }
    assert_int_equal(seen, ITEMS);
    unsigned left = 1;
    LIST_FOREACH(node, &list)
    {
        assert_int_equal(CONTAINER_OF(node, struct item, node)->number, left);
        left += 2;
    }
    assert_int_equal(left, ITEMS + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_model),
                                       cmocka_unit_test(test_remove_while_walking)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
