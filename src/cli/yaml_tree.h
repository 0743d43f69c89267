/*
 * YAML documents as trees that remember lines, so that every complaint can say where.
 *
 * Strict: one document, no anchors, aliases or tags, no key twice, depth and size bounded.
 */
#ifndef WEIR_CLI_YAML_TREE_H
#define WEIR_CLI_YAML_TREE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"

enum yaml_kind { YAML_SCALAR, YAML_MAP, YAML_LIST };

struct yaml_node {
    enum yaml_kind kind;
    unsigned line, column;  /* from 1 */
    const char *text;       /* of a scalar, NUL-terminated */
    bool plain;             /* a scalar without quotes: may be a number, true, false, null */
    struct yaml_node *next; /* sibling */
    /* Entries: of a map key/value in turn by `key`, of a list values with key NULL. */
    const struct yaml_node *key;
    struct yaml_node *first;
    size_t count;
};

/* Reads a file. The tree lives in arena. On failure info is "FILE:LINE:COLUMN: text". */
MUST_CHECK enum err yaml_load(struct arena *arena, const char *path, struct yaml_node **ret_root,
                              struct err_info *info);
/* NULL when the map has no such key. */
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);
/* The tree as JSON; plain scalars become numbers, booleans and null where they look so. */
json_t *yaml_to_json(const struct yaml_node *node);

#endif
