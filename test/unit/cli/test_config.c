/* Settings and job files: strict YAML with lines in its complaints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/config.h"
#include "cli/yaml_tree.h"

/* Loads text as a settings file; the outcome's message is in info. */
static enum err load(const char *text, struct config *config, struct err_info *info)
{
    static struct arena *arena;
    char path[] = "/tmp/weir-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    arena_destroy(arena);
    arena = arena_create(NULL, "test", 1u << 20);
    config_defaults(config);
    *info = (struct err_info){0};
    enum err err = config_load(config, arena, path, info);
    unlink(path);
    if (err != ERR_OK) {
        assert_memory_equal(info->text, path, strlen(path));
        memmove(info->text, info->text + strlen(path), strlen(info->text + strlen(path)) + 1);
    }
    return err;
}

static void test_sections(void **state)
{
    struct config config;
    struct err_info info;
    assert_int_equal(
        load("kafka:\n  port: 19092\nlog: {auto_create: false}\nshards: 3\n", &config, &info),
        ERR_OK);
    assert_int_equal(config.kafka_port, 19092);
    assert_false(config.auto_create);
    assert_int_equal(config.shards, 3);
    assert_int_equal(config.blob_port, 10000);
}

static void test_complaints(void **state)
{
    static const struct {
        const char *text, *complaint;
    } cases[] = {
        {"kafka:\n  prt: 1\n", ":2:3: unknown setting 'kafka.prt'; did you mean 'kafka.port'?"},
        {"shards: many\n", ":1:9: shards takes a number from 0 to 64"},
        {"shards: 1\nshards: 2\n", ":2:1: the key stands here a second time"},
        {"log: {auto_create: maybe}\n", ":1:20: log.auto_create takes true or false"},
        {"- a\n", ":1:1: settings are written 'name: value'"},
        {"host: &a x\n", ":1:7: anchors and tags are not allowed"},
        {"host: *a\n", ":1:7: aliases are not allowed"},
        {"&a host: x\n", ":1:1: anchors and tags are not allowed"},
        {"!!str host: x\n", ":1:1: anchors and tags are not allowed"},
        {"log: &a {auto_create: true}\n", ":1:6: anchors and tags are not allowed"},
        {"log: !!map {auto_create: true}\n", ":1:6: anchors and tags are not allowed"},
        {"host: &a [x]\n", ":1:7: anchors and tags are not allowed"},
        {"host:\n", ":1:6: host takes a text"}, /* not the empty one, which means all interfaces */
        {"kafka:\n  port:\n", ":2:8: kafka.port takes a number from 0 to 65535"},
        {"", ":1:1: the file is empty"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config config;
        struct err_info info;
        assert_int_equal(load(cases[i].text, &config, &info), ERR_INVALID_CONFIG);
        assert_string_equal(info.text, cases[i].complaint);
    }
}

static void test_depth(void **state)
{
    char text[1024] = "";
    struct config config;
    struct err_info info;
    memset(text, '[', 100);
    assert_int_equal(load(text, &config, &info), ERR_INVALID_CONFIG);
}

/* Plain words become what they look like; a number that no double holds stays a word. */
static void test_json(void **state)
{
    static const struct {
        const char *yaml, *json;
    } cases[] = {
        {"a: 1e999\n", "{\"a\":\"1e999\"}"},
        {"a: -1e999\n", "{\"a\":\"-1e999\"}"},
        {"a: 9223372036854775808\n", "{\"a\":9.2233720368547758e18}"},
        {"a: [1, -2, 0.5, true, null, ~, '1', x]\n",
         "{\"a\":[1,-2,0.5,true,null,null,\"1\",\"x\"]}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char path[] = "/tmp/weir-config-XXXXXX";
        int fd = mkstemp(path);
        assert_int_equal(write(fd, cases[i].yaml, strlen(cases[i].yaml)),
                         (ssize_t)strlen(cases[i].yaml));
        close(fd);
        struct arena *arena = arena_create(NULL, "test", 1u << 20);
        struct yaml_node *root;
        struct err_info info;
        assert_int_equal(yaml_load(arena, path, &root, &info), ERR_OK);
        unlink(path);
        json_t *json = yaml_to_json(root);
        char *text = json_dumps(json, JSON_COMPACT);
        assert_string_equal(text, cases[i].json);
        free(text);
        json_decref(json);
        arena_destroy(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_complaints),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
