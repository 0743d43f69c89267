/*
 * Stage two of the JSON scanner (see json_scan.h).
 *
 * The wanted paths form a tree of names. The walk goes through an event's tokens once: a field
 * whose name is in the tree is walked with its branch, any other value is stepped over by a loop
 * that checks the grammar with a bit stack of open containers. Events of a text that holds doubtful
 * bytes (flags of stage one) are looked at again byte by byte.
 *
 *   text     {"a":{"b":1,"c":[2]},"d":"x"}
 *   tokens   ^^ ^^^^ ^^^^^ ^^^^ ...          positions from stage one
 *   tree     root -> a -> b (column 0); root -> d (column 1)
 *
 * Invariants: (1) recursion goes no deeper than the tree, which json_scan_want bounds by
 * JSON_PATH_MAX; (2) every cell of a row lies inside that row's source, which is valid JSON, since
 * outputs write it as it is; (3) an event is either a row or bad, never both, and the next one
 * starts behind it. Ownership: the scanner lives in the
 * caller's arena, its index on the heap; one user at a time; cells view the text. Failure: text is
 * never trusted; memory failure shows in json_scan_begin and json_scan_want.
 */
#include "codec/json_scan.h"

#include "codec/json_index.h"

struct json_node {
    struct slice name;
    struct json_node *next;
    struct json_node *child;
    uint64_t lengths; /* bit min(length, 63) of each child's name */
    int32_t column;   /* -1: only a way to others */
};

enum array_state { ARRAY_NONE, ARRAY_FIRST, ARRAY_VALUE, ARRAY_COMMA };

struct json_scan {
    struct arena *arena;
    struct json_node root;
    uint32_t columns;
    enum json_level level;
    bool verify; /* every value and escape, at this place of the walk */
    enum array_state array;

    struct json_index index;
    struct slice text;
    uint32_t at;      /* next token */
    uint32_t event;   /* first token of the event being read */
    size_t consumed;  /* bytes done with */
    struct slice row; /* of the last event */

    struct json_cell *cells; /* of the row being read */
    size_t stride;
    const char *error; /* NULL after a failed walk: more text is needed */
};

struct json_scan *json_scan_create(struct arena *arena, enum json_level level)
{
    struct json_scan *scan = ARENA_NEW(arena, struct json_scan);
    if (scan == NULL)
        return NULL;
    scan->arena = arena;
    scan->level = level;
    scan->root.column = -1;
    json_index_init(&scan->index);
    return scan;
}

void json_scan_destroy(struct json_scan *scan)
{
    if (scan != NULL)
        json_index_deinit(&scan->index);
}

static uint64_t length_bit(size_t len)
{
    return 1ULL << (len < 63 ? len : 63);
}

static struct json_node *node_child(struct json_scan *scan, struct json_node *parent,
                                    struct slice name)
{
    struct json_node **last = &parent->child;

    for (; *last != NULL; last = &(*last)->next) {
        if (slice_equal((*last)->name, name))
            return *last;
    }
    struct json_node *node = ARENA_NEW(scan->arena, struct json_node);
    if (node == NULL)
        return NULL;
    node->name = arena_copy(scan->arena, name);
    if (node->name.data == NULL)
        return NULL;
    node->column = -1;
    parent->lengths |= length_bit(name.len);
    *last = node;
    return node;
}

int json_scan_want(struct json_scan *scan, const struct slice *parts, uint32_t count)
{
    struct json_node *node = &scan->root;

    ASSERT(scan->cells == NULL);
    if (count > JSON_PATH_MAX)
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        node = node_child(scan, node, parts[i]);
        if (node == NULL)
            return -1;
    }
    if (node->column < 0)
        node->column = (int32_t)scan->columns++;
    return node->column;
}

bool json_scan_begin(struct json_scan *scan, struct slice text)
{
    scan->text = text;
    scan->at = 0;
    scan->consumed = 0;
    scan->verify = scan->level == JSON_LEVEL_STRICT || scan->root.column >= 0;
    return json_index_build(&scan->index, text);
}

void json_scan_reset(struct json_scan *scan)
{
    scan->array = ARRAY_NONE;
}

size_t json_scan_at(const struct json_scan *scan)
{
    return scan->consumed;
}

struct slice json_scan_row(const struct json_scan *scan)
{
    return scan->row;
}

bool json_scan_in_array(const struct json_scan *scan)
{
    return scan->array != ARRAY_NONE;
}

static inline uint8_t token(const struct json_scan *scan, uint32_t at)
{
    return scan->text.data[scan->index.pos[at]];
}

static bool walk_fail(struct json_scan *scan, const char *error)
{
    scan->error = error;
    return false;
}

/* Source of the scalar at a token: up to the next token, without white space. */
static struct slice scalar_source(const struct json_scan *scan, uint32_t at)
{
    size_t start = scan->index.pos[at];
    size_t end = at + 1 < scan->index.count ? scan->index.pos[at + 1] : scan->text.len;
    const uint8_t *data = scan->text.data;

    while (end > start + 1 && (data[end - 1] == ' ' || data[end - 1] == '\n' ||
                               data[end - 1] == '\r' || data[end - 1] == '\t'))
        end--;
    return slice_make(data + start, end - start);
}

static bool scalar_skip(struct json_scan *scan)
{
    uint8_t first = token(scan, scan->at);
    struct json_cell cell;

    if (scan->at + 1 >= scan->index.count) /* may be cut short */
        return walk_fail(scan, NULL);
    if (first != '-' && (first < '0' || first > '9') && first != 't' && first != 'f' &&
        first != 'n')
        return walk_fail(scan, "a value is expected here");
    if (scan->verify && !json_cell_from_source(scalar_source(scan, scan->at), &cell))
        return walk_fail(scan, "not a number inside 64 bits, true, false or null");
    scan->at++;
    return true;
}

static bool escapes_valid(struct slice content)
{
    for (size_t i = 0; i < content.len; i++) {
        if (content.data[i] != '\\')
            continue;
        i++;
        if (i >= content.len || memchr("\"\\/bfnrtu", content.data[i], 9) == NULL)
            return false;
        if (content.data[i] != 'u')
            continue;
        if (content.len - i < 5)
            return false;
        for (unsigned k = 1; k <= 4; k++) {
            uint8_t c = content.data[i + k] | 0x20;
            if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')) || content.data[i + k] < '0')
                return false;
        }
        i += 4;
    }
    return true;
}

/* The string whose opening quote is the current token; moves behind it. */
static bool string_take(struct json_scan *scan, struct slice *ret_content, bool *ret_escaped,
                        bool verify)
{
    if (scan->at + 1 >= scan->index.count)
        return walk_fail(scan, NULL);
    uint32_t open = scan->index.pos[scan->at];
    uint32_t close = scan->index.pos[scan->at + 1];
    ASSERT(close > open);
    *ret_content = slice_make(scan->text.data + open + 1, close - open - 1);
    *ret_escaped =
        scan->index.has_backslash && memchr(ret_content->data, '\\', ret_content->len) != NULL;
    if (*ret_escaped && verify && !escapes_valid(*ret_content))
        return walk_fail(scan, "an escape in a string is not valid");
    scan->at += 2;
    return true;
}

static bool string_skip(struct json_scan *scan)
{
    struct slice content;
    bool escaped;

    if (scan->verify && scan->index.has_backslash)
        return string_take(scan, &content, &escaped, true);
    if (scan->at + 1 >= scan->index.count)
        return walk_fail(scan, NULL);
    scan->at += 2;
    return true;
}

/* Name and colon of a member; the current token is where the name should be. */
static bool key_take(struct json_scan *scan, struct slice *ret_key, bool *ret_escaped)
{
    if (token(scan, scan->at) != '"')
        return walk_fail(scan, "a field name in quotes is expected here");
    if (!string_take(scan, ret_key, ret_escaped, scan->verify))
        return false;
    if (scan->at >= scan->index.count)
        return walk_fail(scan, NULL);
    if (token(scan, scan->at) != ':')
        return walk_fail(scan, "a colon is expected after a field name");
    scan->at++;
    return true;
}

enum skip_state { SKIP_VALUE, SKIP_FIRST_KEY, SKIP_KEY, SKIP_FIRST_ELEMENT, SKIP_AFTER };

struct skip {
    uint64_t objects[JSON_DEPTH_MAX / 64]; /* bit set: that container is an object */
    unsigned depth;
    enum skip_state state;
};

static bool skip_push(struct json_scan *scan, struct skip *skip, bool object)
{
    if (skip->depth >= JSON_DEPTH_MAX - JSON_PATH_MAX)
        return walk_fail(scan, "values are nested too deeply");
    uint64_t bit = 1ULL << (skip->depth % 64);
    if (object)
        skip->objects[skip->depth / 64] |= bit;
    else
        skip->objects[skip->depth / 64] &= ~bit;
    skip->depth++;
    skip->state = object ? SKIP_FIRST_KEY : SKIP_FIRST_ELEMENT;
    scan->at++;
    return true;
}

static void skip_pop(struct json_scan *scan, struct skip *skip)
{
    ASSERT(skip->depth > 0);
    skip->depth--;
    skip->state = SKIP_AFTER;
    scan->at++;
}

static bool skip_one_value(struct json_scan *scan, struct skip *skip, uint8_t first)
{
    if (first == '{' || first == '[')
        return skip_push(scan, skip, first == '{');
    skip->state = SKIP_AFTER;
    return first == '"' ? string_skip(scan) : scalar_skip(scan);
}

static bool skip_after(struct json_scan *scan, struct skip *skip, uint8_t byte)
{
    unsigned top = skip->depth - 1;
    bool object = (skip->objects[top / 64] >> (top % 64)) & 1;

    if (byte == ',') {
        skip->state = object ? SKIP_KEY : SKIP_VALUE;
        scan->at++;
        return true;
    }
    if (byte != (object ? '}' : ']'))
        return walk_fail(scan, "a comma or a closing bracket is expected here");
    skip_pop(scan, skip);
    return true;
}

/* Steps over the value at the current token, checking its grammar. */
static bool value_skip(struct json_scan *scan)
{
    struct skip skip;
    skip.depth = 0;
    skip.state = SKIP_VALUE;

    do {
        struct slice key;
        bool escaped;
        if (scan->at >= scan->index.count)
            return walk_fail(scan, NULL);
        uint8_t byte = token(scan, scan->at);
        bool ok = true;
        switch (skip.state) {
        case SKIP_FIRST_ELEMENT:
            if (byte == ']')
                skip_pop(scan, &skip);
            else
                ok = skip_one_value(scan, &skip, byte);
            break;
        case SKIP_VALUE:
            ok = skip_one_value(scan, &skip, byte);
            break;
        case SKIP_FIRST_KEY:
        case SKIP_KEY:
            if (byte == '}' && skip.state == SKIP_FIRST_KEY) {
                skip_pop(scan, &skip);
                break;
            }
            ok = key_take(scan, &key, &escaped);
            skip.state = SKIP_VALUE;
            break;
        case SKIP_AFTER:
            ok = skip_after(scan, &skip, byte);
            break;
        }
        if (!ok)
            return false;
    } while (skip.depth > 0 || skip.state != SKIP_AFTER);
    return true;
}

/* Puts a value into its column, unless a better match is there already. */
static void cell_put(struct json_scan *scan, const struct json_node *node, const uint8_t *data,
                     size_t len, enum json_kind kind, bool exact)
{
    struct json_cell *cell = &scan->cells[(size_t)node->column * scan->stride];

    if (cell->kind != JSON_KIND_MISSING && (cell->exact || !exact))
        return;
    cell->data = data;
    cell->len = (uint32_t)len;
    cell->kind = (uint8_t)kind;
    cell->exact = exact;
}

static bool object_walk(struct json_scan *scan, const struct json_node *node);

static bool scalar_walk(struct json_scan *scan, const struct json_node *node, bool exact)
{
    struct json_cell cell;

    if (scan->at + 1 >= scan->index.count) /* may be cut short */
        return walk_fail(scan, NULL);
    if (!json_cell_from_source(scalar_source(scan, scan->at), &cell))
        return walk_fail(scan, "not a number inside 64 bits, true, false or null");
    scan->at++;
    if (node->column >= 0)
        cell_put(scan, node, cell.data, cell.len, (enum json_kind)cell.kind, exact);
    return true;
}

/* An object or array that is wanted, or an object with something below it that is. */
static bool container_walk(struct json_scan *scan, const struct json_node *node, bool object)
{
    bool verify = scan->verify;
    bool ok;

    scan->verify |= node->column >= 0;
    if (object && node->child != NULL) {
        scan->at++;
        ok = object_walk(scan, node);
    } else {
        ok = value_skip(scan);
    }
    scan->verify = verify;
    return ok;
}

/* The value at the current token is wanted, itself or something below it. */
static bool value_walk(struct json_scan *scan, const struct json_node *node, bool exact)
{
    if (scan->at >= scan->index.count)
        return walk_fail(scan, NULL);
    const uint8_t *start = scan->text.data + scan->index.pos[scan->at];

    if (*start == '"') {
        struct slice content;
        bool escaped;
        if (!string_take(scan, &content, &escaped, true))
            return false;
        if (node->column >= 0)
            cell_put(scan, node, content.data, content.len,
                     escaped ? JSON_KIND_TEXT_ESCAPED : JSON_KIND_TEXT, exact);
        return true;
    }
    if (*start != '{' && *start != '[')
        return scalar_walk(scan, node, exact);
    if (!container_walk(scan, node, *start == '{'))
        return false;
    const uint8_t *end = scan->text.data + scan->index.pos[scan->at - 1] + 1;
    if (node->column >= 0)
        cell_put(scan, node, start, (size_t)(end - start),
                 *start == '{' ? JSON_KIND_OBJECT : JSON_KIND_ARRAY, exact);
    return true;
}

/* A field whose name has the length of a wanted one: walks it once for each name it matches. */
static bool member_walk(struct json_scan *scan, const struct json_node *node, struct slice key)
{
    uint32_t value_at = scan->at;
    bool walked = false;

    for (const struct json_node *child = node->child; child != NULL; child = child->next) {
        if (child->name.len != key.len)
            continue;
        bool exact = memcmp(child->name.data, key.data, key.len) == 0;
        if (!exact && !slice_equal_nocase(child->name, key))
            continue;
        scan->at = value_at;
        if (!value_walk(scan, child, exact))
            return false;
        walked = true;
    }
    return walked || value_skip(scan);
}

/* A name with escapes is compared by its content. */
static bool member_walk_escaped(struct json_scan *scan, const struct json_node *node,
                                struct slice key)
{
    struct bytebuf name;
    bool ok;

    bytebuf_init(&name, 1 << 16);
    if (json_unescape(key, &name) && !name.failed)
        ok = member_walk(scan, node, bytebuf_slice(&name));
    else
        ok = value_skip(scan);
    bytebuf_deinit(&name);
    return ok;
}

/* Steps over a value that nobody wants: the common kinds without the general loop. */
static inline bool value_pass(struct json_scan *scan)
{
    if (scan->at < scan->index.count) {
        uint8_t first = token(scan, scan->at);
        if (first == '"')
            return string_skip(scan);
        if (first != '{' && first != '[')
            return scalar_skip(scan);
    }
    return value_skip(scan);
}

/* Members of the object whose brace has just been passed, up to and with the closing brace. */
static bool object_walk(struct json_scan *scan, const struct json_node *node)
{
    if (scan->at >= scan->index.count)
        return walk_fail(scan, NULL);
    if (token(scan, scan->at) == '}') {
        scan->at++;
        return true;
    }
    for (;;) {
        struct slice key;
        bool escaped;
        bool ok;
        if (scan->at >= scan->index.count)
            return walk_fail(scan, NULL);
        if (!key_take(scan, &key, &escaped))
            return false;
        if (escaped)
            ok = member_walk_escaped(scan, node, key);
        else if (node->lengths & length_bit(key.len))
            ok = member_walk(scan, node, key);
        else
            ok = value_pass(scan);
        if (!ok)
            return false;
        if (scan->at >= scan->index.count)
            return walk_fail(scan, NULL);
        uint8_t byte = token(scan, scan->at++);
        if (byte == '}')
            return true;
        if (byte != ',') {
            scan->at--;
            return walk_fail(scan, "a comma or a closing brace is expected here");
        }
    }
}

/* Bytes below 0x20 inside the strings of valid structure. */
static bool has_control_in_string(struct slice row)
{
    bool in_string = false;

    for (size_t i = 0; i < row.len; i++) {
        uint8_t byte = row.data[i];
        if (byte == '"')
            in_string = !in_string;
        else if (in_string && byte < 0x20)
            return true;
        else if (in_string && byte == '\\')
            i++;
    }
    return false;
}

static enum json_step step_bad(struct json_scan *scan, size_t resume, const char **ret_error)
{
    ASSERT(resume <= scan->text.len);
    scan->consumed = resume;
    *ret_error = scan->error;
    return JSON_STEP_BAD;
}

/* A failed walk: after more text, or on the line behind the event's start. */
static enum json_step step_failed(struct json_scan *scan, size_t start, const char **ret_error)
{
    if (scan->error == NULL) {
        scan->consumed = start;
        return JSON_STEP_MORE;
    }
    size_t line_end = slice_find_byte(scan->text, '\n', start);
    scan->array = ARRAY_NONE;
    return step_bad(scan, line_end == SIZE_MAX ? scan->text.len : line_end + 1, ret_error);
}

/* Between events no string is open; from there to where the bad one ends every quote turns that. */
bool json_scan_resume(struct json_scan *scan)
{
    bool in_string = false;
    uint32_t at = scan->event;

    for (; at < scan->index.count && scan->index.pos[at] < scan->consumed; at++)
        in_string ^= token(scan, at) == '"';
    if (in_string)
        return false;
    scan->at = at;
    return true;
}

/* Steps over what stands between events. false: nothing is left, or the text is bad (error set). */
static bool step_to_event(struct json_scan *scan)
{
    scan->error = NULL;
    while (scan->at < scan->index.count) {
        uint8_t byte = token(scan, scan->at);
        if (scan->array == ARRAY_NONE && byte == '[') {
            scan->array = ARRAY_FIRST;
        } else if (byte == ']' && (scan->array == ARRAY_FIRST || scan->array == ARRAY_VALUE)) {
            scan->array = ARRAY_NONE;
        } else if (byte == ',' && scan->array == ARRAY_VALUE) {
            scan->array = ARRAY_COMMA;
        } else {
            if (scan->array == ARRAY_VALUE)
                return walk_fail(scan, "a comma or a closing bracket is expected between events");
            return true;
        }
        scan->at++;
        scan->consumed = scan->index.pos[scan->at - 1] + 1;
    }
    return false;
}

/* A value where an event should be: well-formed it is passed over, otherwise its whole line is. */
static bool other_skip(struct json_scan *scan)
{
    uint8_t first = token(scan, scan->at);
    struct json_cell cell;

    if (scan->at + 1 >= scan->index.count)
        return walk_fail(scan, NULL);
    if (first != '"' && first != '[' &&
        !json_cell_from_source(scalar_source(scan, scan->at), &cell))
        return walk_fail(scan, "an event must be an object");
    return value_skip(scan);
}

/* An event with a value that cannot be read but with sound structure is bad alone, and not what
 * stands behind it on its line. false: the structure is bad too, or the text ends inside it. */
static bool event_pass(struct json_scan *scan)
{
    const char *error = scan->error;
    bool verify = scan->verify;

    ASSERT(error != NULL);
    scan->at = scan->event;
    scan->verify = false;
    scan->error = NULL;
    bool ok = value_skip(scan);
    scan->verify = verify;
    if (ok || scan->error != NULL)
        scan->error = error;
    return ok;
}

/* The event that has just been walked, unless its bytes are no text. */
static enum json_step event_end(struct json_scan *scan, size_t start, bool object,
                                const char **ret_error)
{
    size_t end = scan->at < scan->index.count ? scan->index.pos[scan->at] : scan->text.len;

    if (object)
        end = scan->index.pos[scan->at - 1] + 1;
    if (scan->array != ARRAY_NONE)
        scan->array = ARRAY_VALUE;
    struct slice row = slice_sub(scan->text, start, end - start);
    if (!object)
        scan->error = "an event must be an object";
    else if (scan->error == NULL && scan->index.has_control && has_control_in_string(row))
        scan->error = "a control character stands in a string";
    else if (scan->error == NULL && scan->index.has_high && !json_utf8_valid(row))
        scan->error = "a string is not valid UTF-8";
    if (scan->error != NULL)
        return step_bad(scan, end, ret_error);
    scan->row = row;
    scan->consumed = end;
    return JSON_STEP_ROW;
}

enum json_step json_scan_next(struct json_scan *scan, struct json_cell *cells, size_t stride,
                              const char **ret_error)
{
    bool found = step_to_event(scan);
    scan->event = scan->at;
    if (!found) {
        if (scan->error != NULL)
            return step_failed(scan, scan->index.pos[scan->at], ret_error);
        scan->consumed = scan->text.len;
        return JSON_STEP_END;
    }
    size_t start = scan->index.pos[scan->at];
    bool object = scan->text.data[start] == '{';
    bool ok;
    if (object) {
        for (uint32_t i = 0; i < scan->columns; i++)
            cells[i * stride].kind = JSON_KIND_MISSING;
        scan->cells = cells;
        scan->stride = stride;
        ok = value_walk(scan, &scan->root, true);
        scan->cells = NULL;
    } else {
        ok = other_skip(scan);
    }
    if (!ok && (!object || scan->error == NULL || !event_pass(scan)))
        return step_failed(scan, start, ret_error);
    return event_end(scan, start, object, ret_error);
}
