/* Fetch sessions: ids, epochs, order of service, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/random.h"
#include "front/kafka/fetch_session.h"
#include "io/fs.h"
#include "io/shard.h"

struct bench {
    struct fs *fs;
    struct shards *shards;
    struct fetch_sessions *sessions;
};

static int setup(void **state)
{
    static struct bench bench;
    bench.fs = fs_posix_create();
    assert_non_null(bench.fs);
    const struct shards_config config = {.count = 1, .seed = 1, .fs = bench.fs};
    struct err_info info;
    assert_int_equal(shards_create(&config, &bench.shards, &info), ERR_OK);
    bench.sessions = fetch_sessions_create(shards_get(bench.shards, 0));
    assert_non_null(bench.sessions);
    *state = &bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    fetch_sessions_destroy(bench->sessions);
    shards_destroy(bench->shards);
    fs_destroy(bench->fs);
    return 0;
}

static const struct uuid no_id;

static void test_epochs_follow_one_another(void **state)
{
    struct bench *bench = *state;
    struct fetch_session *session = fetch_session_create(bench->sessions, false);
    assert_non_null(session);
    int32_t id = fetch_session_id(session);
    assert_true(id > 0);
    assert_ptr_equal(fetch_session_find(bench->sessions, id), session);
    assert_false(fetch_session_advance(bench->sessions, session, 0));
    assert_false(fetch_session_advance(bench->sessions, session, 2));
    assert_true(fetch_session_advance(bench->sessions, session, 1));
    assert_false(fetch_session_advance(bench->sessions, session, 1));
    assert_true(fetch_session_advance(bench->sessions, session, 2));
    fetch_session_destroy(bench->sessions, session);
    assert_null(fetch_session_find(bench->sessions, id));
}

static void test_entries_keep_their_order(void **state)
{
    struct bench *bench = *state;
    struct fetch_session *session = fetch_session_create(bench->sessions, false);
    struct fetch_entry *a = fetch_session_put(session, SLICE_LIT("a"), no_id, 0);
    struct fetch_entry *b = fetch_session_put(session, SLICE_LIT("a"), no_id, 1);
    struct fetch_entry *c = fetch_session_put(session, SLICE_LIT("b"), no_id, 0);
    assert_ptr_equal(fetch_session_put(session, SLICE_LIT("a"), no_id, 1), b);
    assert_int_equal(fetch_session_count(session), 3);
    fetch_session_rotate(session, a);
    const struct fetch_entry *order[] = {b, c, a};
    size_t at = 0;
    LIST_FOREACH (node, fetch_session_entries(session))
        assert_ptr_equal(CONTAINER_OF(node, struct fetch_entry, node), order[at++]);
    assert_int_equal(at, 3);
    fetch_session_forget(session, SLICE_LIT("a"), no_id, 1);
    fetch_session_forget(session, SLICE_LIT("a"), no_id, 99);
    assert_null(fetch_session_get(session, SLICE_LIT("a"), no_id, 1));
    assert_ptr_equal(fetch_session_get(session, SLICE_LIT("b"), no_id, 0), c);
    assert_int_equal(fetch_session_count(session), 2);
    fetch_session_destroy(bench->sessions, session);
}

static void test_ids_tell_topics_of_one_name_apart(void **state)
{
    struct bench *bench = *state;
    struct fetch_session *session = fetch_session_create(bench->sessions, true);
    const struct uuid first = {{1}}, second = {{2}};
    struct fetch_entry *entry = fetch_session_put(session, SLICE_LIT("t"), first, 0);
    assert_ptr_equal(fetch_session_get(session, SLICE_NULL, first, 0), entry);
    assert_null(fetch_session_get(session, SLICE_LIT("t"), second, 0));
    assert_true(slice_equal(entry->topic, SLICE_LIT("t")));
    fetch_session_destroy(bench->sessions, session);
}

static void test_limits(void **state)
{
    struct bench *bench = *state;
    struct fetch_session *session = NULL;
    for (int i = 0; i < FETCH_SESSIONS_MAX; i++) {
        session = fetch_session_create(bench->sessions, false);
        assert_non_null(session);
    }
    /* All are fresh: a newcomer takes nobody's place. */
    assert_null(fetch_session_create(bench->sessions, false));
    for (int32_t i = 0; i < FETCH_SESSION_PARTITIONS_MAX; i++)
        assert_non_null(fetch_session_put(session, SLICE_LIT("t"), no_id, i));
    assert_null(fetch_session_put(session, SLICE_LIT("t"), no_id, FETCH_SESSION_PARTITIONS_MAX));
    static uint8_t name[400];
    assert_null(fetch_session_get(session, slice_make(name, sizeof(name)), no_id, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_epochs_follow_one_another, setup, teardown),
        cmocka_unit_test_setup_teardown(test_entries_keep_their_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ids_tell_topics_of_one_name_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
