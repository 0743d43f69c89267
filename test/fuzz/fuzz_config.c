/*
 * Settings and job files: any bytes read as YAML give a tree within its limits or one complaint with
 * a place, and a tree becomes JSON.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "cli/config.h"
#include "cli/yaml_tree.h"
#include "fuzz.h"

enum { DEPTH_MAX = 64 };

/* Every node knows its place; children are as many as counted. */
static void check_node(const struct yaml_node *node, unsigned depth)
{
    FUZZ_CHECK(depth <= DEPTH_MAX);
    FUZZ_CHECK(node->line >= 1 && node->column >= 1);
    FUZZ_CHECK((node->kind == YAML_SCALAR) == (node->text != NULL));
    size_t count = 0;
    for (const struct yaml_node *child = node->first; child; child = child->next, count++) {
        FUZZ_CHECK((node->kind == YAML_MAP) == (child->key != NULL));
        if (child->key)
            FUZZ_CHECK(child->key->kind == YAML_SCALAR);
        check_node(child, depth + 1);
    }
    FUZZ_CHECK(count == node->count);
}

/* "PATH: ..." or "PATH:LINE:COLUMN: ...", never empty. */
static void check_complaint(const struct err_info *info, const char *path)
{
    size_t len = strlen(path);
    FUZZ_CHECK(strncmp(info->text, path, len) == 0 && info->text[len] == ':');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct arena *arena = arena_create(NULL, "fuzz", 16u << 20);
    struct yaml_node *root = NULL;
    struct err_info info = {0};
    if (yaml_load(arena, path, &root, &info) == ERR_OK) {
        check_node(root, 0);
        json_t *json = yaml_to_json(root);
        FUZZ_CHECK(json);
        json_decref(json);
    } else {
        check_complaint(&info, path);
    }
    struct config config;
    config_defaults(&config);
    if (config_load(&config, arena, path, &info) != ERR_OK)
        check_complaint(&info, path);
    else
        FUZZ_CHECK(config.host && config.kafka_port >= 0 && config.kafka_port <= 65535);
    arena_destroy(arena);
    close(fd);
    return 0;
}
