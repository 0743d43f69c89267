/*
 * YAML by libyaml's event interface; see yaml_tree.h. The recursion is bounded by DEPTH_MAX, the
 * document by FILE_MAX and the arena's limit.
 */
#include "cli/yaml_tree.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/assert.h"
#include "base/numtext.h"

#define DEPTH_MAX 32

struct loader {
    yaml_parser_t parser;
    struct arena *arena;
    const char *path;
    struct err_info *info;
};

static const char marks_refused[] = "anchors and tags are not allowed";

static enum err complain(struct loader *loader, yaml_mark_t mark, const char *text)
{
    return err_info_set(loader->info, ERR_INVALID_CONFIG, "%s:%zu:%zu: %s", loader->path,
                        mark.line + 1, mark.column + 1, text);
}

static enum err next_event(struct loader *loader, yaml_event_t *event)
{
    if (yaml_parser_parse(&loader->parser, event))
        return ERR_OK;
    return complain(loader, loader->parser.problem_mark,
                    loader->parser.problem ? loader->parser.problem : "not YAML");
}

static struct yaml_node *make_node(struct loader *loader, enum yaml_kind kind, yaml_mark_t mark)
{
    struct yaml_node *node = ARENA_NEW(loader->arena, struct yaml_node);
    if (node) {
        node->kind = kind;
        node->line = (unsigned)mark.line + 1;
        node->column = (unsigned)mark.column + 1;
    }
    return node;
}

static enum err load_node(struct loader *loader, yaml_event_t *event, unsigned depth,
                          struct yaml_node **ret_node);

static enum err load_scalar(struct loader *loader, const yaml_event_t *event,
                            struct yaml_node **ret_node)
{
    ASSERT(event->type == YAML_SCALAR_EVENT);
    if (event->data.scalar.anchor || event->data.scalar.tag)
        return complain(loader, event->start_mark, marks_refused);
    struct yaml_node *node = make_node(loader, YAML_SCALAR, event->start_mark);
    if (node)
        node->text = arena_strdup(loader->arena,
                                  slice_make(event->data.scalar.value, event->data.scalar.length));
    if (!node || !node->text)
        return complain(loader, event->start_mark, "the document is too large");
    if (strlen(node->text) != event->data.scalar.length)
        return complain(loader, event->start_mark, "a NUL character is not allowed");
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    *ret_node = node;
    return ERR_OK;
}

/* One entry of a map or list whose first event is given. */
static enum err load_entry(struct loader *loader, struct yaml_node *parent, yaml_event_t *event,
                           unsigned depth, struct yaml_node **ret_node)
{
    struct yaml_node *key = NULL;
    if (parent->kind == YAML_MAP) {
        if (event->type != YAML_SCALAR_EVENT)
            return complain(loader, event->start_mark, "a key must be a plain word");
        enum err err = load_scalar(loader, event, &key);
        if (err != ERR_OK)
            return err;
        if (yaml_get(parent, key->text))
            return complain(loader, event->start_mark, "the key stands here a second time");
        yaml_event_delete(event);
        err = next_event(loader, event);
        if (err != ERR_OK)
            return err;
    }
    enum err err = load_node(loader, event, depth + 1, ret_node);
    if (err == ERR_OK)
        (*ret_node)->key = key;
    return err;
}

static enum err load_entries(struct loader *loader, struct yaml_node *parent, yaml_event_type_t end,
                             unsigned depth)
{
    struct yaml_node **tail = &parent->first;
    for (;;) {
        yaml_event_t event;
        enum err err = next_event(loader, &event);
        if (err != ERR_OK)
            return err;
        if (event.type == end) {
            yaml_event_delete(&event);
            return ERR_OK;
        }
        err = load_entry(loader, parent, &event, depth, tail);
        yaml_event_delete(&event);
        if (err != ERR_OK) {
            *tail = NULL; /* half a node, perhaps */
            return err;
        }
        tail = &(*tail)->next;
        parent->count++;
    }
}

static enum err load_node(struct loader *loader, yaml_event_t *event, unsigned depth,
                          struct yaml_node **ret_node)
{
    if (depth > DEPTH_MAX)
        return complain(loader, event->start_mark, "nested too deeply");
    if (event->type == YAML_SCALAR_EVENT)
        return load_scalar(loader, event, ret_node);
    bool is_map = event->type == YAML_MAPPING_START_EVENT;
    if (!is_map && event->type != YAML_SEQUENCE_START_EVENT)
        return complain(loader, event->start_mark, "aliases are not allowed");
    if (is_map ? event->data.mapping_start.anchor || event->data.mapping_start.tag
               : event->data.sequence_start.anchor || event->data.sequence_start.tag)
        return complain(loader, event->start_mark, marks_refused);
    struct yaml_node *node = make_node(loader, is_map ? YAML_MAP : YAML_LIST, event->start_mark);
    if (!node)
        return complain(loader, event->start_mark, "the document is too large");
    *ret_node = node;
    return load_entries(loader, node, is_map ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT,
                        depth);
}

/* Stream start, document start, the root, document end, stream end. */
static enum err load_document(struct loader *loader, struct yaml_node **ret_root)
{
    static const yaml_event_type_t frame[] = {YAML_STREAM_START_EVENT, YAML_DOCUMENT_START_EVENT,
                                              YAML_NO_EVENT, YAML_DOCUMENT_END_EVENT,
                                              YAML_STREAM_END_EVENT};
    for (size_t i = 0; i < sizeof(frame) / sizeof(frame[0]); i++) {
        yaml_event_t event;
        enum err err = next_event(loader, &event);
        if (err != ERR_OK)
            return err;
        if (frame[i] == YAML_NO_EVENT)
            err = load_node(loader, &event, 0, ret_root);
        else if (event.type != frame[i])
            err = complain(loader, event.start_mark,
                           i == 1 ? "the file is empty" : "one document is expected");
        yaml_event_delete(&event);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

enum err yaml_load(struct arena *arena, const char *path, struct yaml_node **ret_root,
                   struct err_info *info)
{
    ASSERT(arena && path && ret_root);
    struct loader loader = {.arena = arena, .path = path, .info = info};
    FILE *file = fopen(path, "rb");
    if (!file)
        return err_info_set(info, err_from_errno(errno), "%s: %s", path, strerror(errno));
    enum err err = ERR_OK;
    *ret_root = NULL;
    if (!yaml_parser_initialize(&loader.parser)) {
        err = err_info_set(info, ERR_NO_MEMORY, "%s: out of memory", path);
    } else {
        yaml_parser_set_input_file(&loader.parser, file);
        err = load_document(&loader, ret_root);
        yaml_parser_delete(&loader.parser);
    }
    fclose(file);
    return err;
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    ASSERT(map && key);
    for (const struct yaml_node *node = map->kind == YAML_MAP ? map->first : NULL; node;
         node = node->next) {
        ASSERT(node->key);
        if (strcmp(node->key->text, key) == 0)
            return node;
    }
    return NULL;
}

static json_t *scalar_to_json(const struct yaml_node *node)
{
    int64_t integer;
    double real;
    if (!node->plain)
        return json_string(node->text);
    if (strcmp(node->text, "true") == 0 || strcmp(node->text, "false") == 0)
        return json_boolean(node->text[0] == 't');
    if (strcmp(node->text, "null") == 0 || strcmp(node->text, "~") == 0 || node->text[0] == '\0')
        return json_null();
    if (numtext_read_int64(slice_cstr(node->text), &integer))
        return json_integer(integer);
    /* JSON has no infinities: what no number can hold stays text, and is refused as such. */
    if (numtext_read_double(slice_cstr(node->text), &real) && isfinite(real))
        return json_real(real);
    return json_string(node->text);
}

/* The recursion follows the tree, which yaml_load kept to DEPTH_MAX levels. */
json_t *yaml_to_json(const struct yaml_node *node)
{
    if (node->kind == YAML_SCALAR)
        return scalar_to_json(node);
    json_t *value = node->kind == YAML_MAP ? json_object() : json_array();
    for (const struct yaml_node *entry = node->first; entry; entry = entry->next) {
        if (node->kind == YAML_MAP)
            json_object_set_new(value, entry->key->text, yaml_to_json(entry));
        else
            json_array_append_new(value, yaml_to_json(entry));
    }
    return value;
}
