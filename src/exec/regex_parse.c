/*
 * Patterns to programs (see exec/regex.h).
 *
 *   pattern -> tree (recursive descent: alternatives, sequences, repetitions, atoms) -> instructions
 *
 * A counted repetition is written out, which keeps the matcher free of counters. What browsers
 * accept beyond the grammar is accepted: brackets and braces that close nothing, octal escapes, a
 * back reference to a group that does not exist is such an escape.
 *
 * Invariants: (1) recursion is bounded by REGEX_DEPTH_MAX groups; (2) a program has at most
 * REGEX_PROGRAM_MAX instructions, and writing it takes a bounded number of calls; (3) every jump
 * stays inside the program, which ends with ACCEPT. Ownership: the caller's arena. Failure: the
 * pattern is not valid, a limit, memory.
 */
#include "base/assert.h"
#include "exec/regex_int.h"
#include "exec/value.h"

enum { EMIT_MAX = 200000, REPEAT_INFINITE = INT32_MAX };

enum node_kind {
    NODE_EMPTY,
    NODE_CHAR,
    NODE_ANY,
    NODE_SET,
    NODE_SEQUENCE, /* children */
    NODE_CHOICE,   /* children */
    NODE_REPEAT,   /* child, min, max, lazy */
    NODE_GROUP,    /* child, index; 0: not captured */
    NODE_LOOK,     /* child, negated */
    NODE_BEGIN,
    NODE_END,
    NODE_WORD_EDGE,
    NODE_BACK
};

struct node {
    struct node *next; /* among the children of one node */
    struct node *child;
    enum node_kind kind;
    bool negated;
    bool lazy;
    int32_t min;
    int32_t max;
    uint32_t c; /* character, or index of a group */
    struct regex_set *set;
};

struct parse {
    struct slice text;
    size_t at;
    struct arena *arena;
    enum regex_result result; /* REGEX_MATCH while all is well */
    uint32_t depth;
    uint32_t groups;
    uint32_t groups_all; /* that the whole pattern has */
    bool has_back;

    struct regex_inst *program;
    uint32_t count;
    uint32_t splits;
    uint32_t marks;
    uint32_t calls;
};

static struct node *parse_choice(struct parse *parse);

static struct node *fail(struct parse *parse, enum regex_result result)
{
    ASSERT(result != REGEX_MATCH);
    if (parse->result == REGEX_MATCH)
        parse->result = result;
    return NULL;
}

static struct node *node_new(struct parse *parse, enum node_kind kind)
{
    struct node *node = ARENA_NEW(parse->arena, struct node);
    if (node == NULL)
        return fail(parse, REGEX_MEMORY);
    node->kind = kind;
    return node;
}

static bool more(const struct parse *parse)
{
    return parse->at < parse->text.len;
}

static uint8_t look(const struct parse *parse, size_t ahead)
{
    return parse->at + ahead < parse->text.len ? parse->text.data[parse->at + ahead] : 0;
}

static bool take(struct parse *parse, uint8_t byte)
{
    if (!more(parse) || look(parse, 0) != byte)
        return false;
    parse->at++;
    return true;
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static bool set_add(struct parse *parse, struct regex_set *set, uint32_t low, uint32_t high)
{
    if (set->count == set->cap) {
        uint32_t cap = set->cap * 2 + 8;
        struct regex_range *ranges = ARENA_ARRAY(parse->arena, struct regex_range, cap);
        if (ranges == NULL) {
            fail(parse, REGEX_MEMORY);
            return false;
        }
        if (set->count > 0)
            memcpy(ranges, set->ranges, set->count * sizeof(*ranges));
        set->ranges = ranges;
        set->cap = cap;
    }
    set->ranges[set->count++] = (struct regex_range){low, high};
    return true;
}

/* The ranges of \d, \w, \s, or all between them for the upper-case letter. */
static bool set_add_class(struct parse *parse, struct regex_set *set, uint8_t letter)
{
    static const struct regex_range digits[] = {{'0', '9'}};
    static const struct regex_range words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    static const struct regex_range spaces[] = {
        {9, 13},          {' ', ' '},       {0xa0, 0xa0},     {0x1680, 0x1680}, {0x2000, 0x200a},
        {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}, {0xfeff, 0xfeff}};
    uint8_t kind = letter | 0x20;
    const struct regex_range *ranges = kind == 'd' ? digits : kind == 'w' ? words : spaces;
    uint32_t count = kind == 'd' ? 1 : kind == 'w' ? 4 : 10;
    uint32_t from = 0;
    bool ok = true;

    ASSERT(kind == 'd' || kind == 'w' || kind == 's');
    for (uint32_t i = 0; i < count && ok; i++) {
        if (kind == letter)
            ok = set_add(parse, set, ranges[i].low, ranges[i].high);
        else if (ranges[i].low > from)
            ok = set_add(parse, set, from, ranges[i].low - 1);
        from = ranges[i].high + 1;
    }
    return ok && (kind == letter || set_add(parse, set, from, 0x10ffff));
}

static bool is_class(uint8_t letter)
{
    uint8_t kind = letter | 0x20;
    return kind == 'd' || kind == 'w' || kind == 's';
}

/* count hexadecimal digits at `at`; false: they are not. */
static bool hex_value(const struct parse *parse, size_t ahead, unsigned count, uint32_t *ret_value)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < count; i++) {
        uint8_t c = look(parse, ahead + i);
        uint8_t lower = c | 0x20;
        if (is_digit(c))
            value = value * 16 + (c - '0');
        else if (lower >= 'a' && lower <= 'f')
            value = value * 16 + (lower - 'a') + 10;
        else
            return false;
    }
    *ret_value = value;
    return true;
}

/* \xHH, \uHHHH with a surrogate pair joined; the letter is the current byte. */
static bool escape_hex(struct parse *parse, uint32_t *ret_c)
{
    unsigned digits = look(parse, 0) == 'x' ? 2 : 4;
    uint32_t low;

    if (!hex_value(parse, 1, digits, ret_c))
        return false;
    parse->at += 1 + digits;
    if (*ret_c >= 0xd800 && *ret_c < 0xdc00 && look(parse, 0) == '\\' && look(parse, 1) == 'u' &&
        hex_value(parse, 2, 4, &low) && low >= 0xdc00 && low < 0xe000) {
        *ret_c = 0x10000 + ((*ret_c - 0xd800) << 10) + (low - 0xdc00);
        parse->at += 6;
    }
    return true;
}

/* Up to three octal digits, at most 0377. */
static uint32_t escape_octal(struct parse *parse)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < 3 && look(parse, 0) >= '0' && look(parse, 0) <= '7'; i++) {
        uint32_t next = value * 8 + (look(parse, 0) - '0');
        if (next > 0377)
            break;
        value = next;
        parse->at++;
    }
    return value;
}

/* The character that an escape stands for; the current byte is the one behind the backslash. */
static uint32_t escape_char(struct parse *parse)
{
    static const char from[] = "tnvfr";
    static const char to[] = "\t\n\v\f\r";
    uint8_t byte = look(parse, 0);
    const char *found = byte == 0 ? NULL : memchr(from, byte, sizeof(from) - 1);
    uint32_t c;

    ASSERT(more(parse));
    if (found != NULL) {
        parse->at++;
        return (uint8_t)to[found - from];
    }
    if ((byte == 'x' || byte == 'u') && escape_hex(parse, &c))
        return c;
    if (byte == 'c') {
        uint8_t letter = look(parse, 1) | 0x20;
        if (letter < 'a' || letter > 'z')
            return '\\'; /* and the c stands for itself */
        parse->at += 2;
        return letter & 0x1f;
    }
    if (byte >= '0' && byte <= '7')
        return escape_octal(parse);
    return value_utf8_next(parse->text, &parse->at);
}

/* One member of a set; *ret_class: it was a class and is in the set already. */
static bool set_member(struct parse *parse, struct regex_set *set, uint32_t *ret_c, bool *ret_class)
{
    *ret_class = false;
    if (!take(parse, '\\')) {
        *ret_c = value_utf8_next(parse->text, &parse->at);
        return true;
    }
    if (!more(parse)) {
        fail(parse, REGEX_NONE);
        return false;
    }
    if (is_class(look(parse, 0))) {
        *ret_class = true;
        return set_add_class(parse, set, parse->text.data[parse->at++]);
    }
    if (take(parse, 'b'))
        *ret_c = '\b';
    else
        *ret_c = escape_char(parse);
    return true;
}

/* [...]: the bracket has been passed. */
static struct node *parse_set(struct parse *parse)
{
    struct node *node = node_new(parse, NODE_SET);
    struct regex_set *set = ARENA_NEW(parse->arena, struct regex_set);
    uint32_t low = 0;
    uint32_t high = 0;
    bool class_low;
    bool class_high = false;

    if (node == NULL || set == NULL)
        return fail(parse, REGEX_MEMORY);
    node->set = set;
    set->negated = take(parse, '^');
    while (!take(parse, ']')) {
        if (!more(parse) || !set_member(parse, set, &low, &class_low))
            return fail(parse, REGEX_NONE);
        bool range = look(parse, 0) == '-' && parse->at + 1 < parse->text.len &&
                     look(parse, 1) != ']';
        high = low;
        if (range) {
            parse->at++;
            if (!set_member(parse, set, &high, &class_high))
                return fail(parse, REGEX_NONE);
        }
        bool plain = !range || class_low || class_high;
        if (!plain && high < low)
            return fail(parse, REGEX_NONE);
        if (range && plain && !set_add(parse, set, '-', '-')) /* a class is no end of a range */
            return NULL;
        if (!class_low && !set_add(parse, set, low, plain ? low : high))
            return NULL;
        if (range && plain && !class_high && !set_add(parse, set, high, high))
            return NULL;
        class_high = false;
    }
    return node;
}

static struct node *node_char(struct parse *parse, uint32_t c)
{
    struct node *node = node_new(parse, NODE_CHAR);
    if (node != NULL)
        node->c = value_fold(c);
    return node;
}

/* A decimal escape that names a group of the pattern; false: it is a character. */
static bool back_reference(struct parse *parse, uint32_t *ret_group)
{
    uint32_t value = 0;
    size_t ahead = 0;

    if (look(parse, 0) == '0')
        return false;
    for (; is_digit(look(parse, ahead)) && value <= REGEX_GROUPS_MAX; ahead++)
        value = value * 10 + (look(parse, ahead) - '0');
    if (ahead == 0 || value == 0 || value > parse->groups_all)
        return false;
    parse->at += ahead;
    *ret_group = value;
    return true;
}

/* Behind a backslash outside sets. */
static struct node *parse_escape(struct parse *parse)
{
    struct node *node;
    uint32_t group;

    if (!more(parse))
        return fail(parse, REGEX_NONE);
    uint8_t byte = look(parse, 0);
    if (byte == 'b' || byte == 'B') {
        node = node_new(parse, NODE_WORD_EDGE);
        parse->at++;
        if (node != NULL)
            node->negated = byte == 'B';
        return node;
    }
    if (is_class(byte)) {
        node = node_new(parse, NODE_SET);
        struct regex_set *set = ARENA_NEW(parse->arena, struct regex_set);
        parse->at++;
        if (node == NULL || set == NULL)
            return fail(parse, REGEX_MEMORY);
        node->set = set;
        return set_add_class(parse, set, byte) ? node : NULL;
    }
    if (!back_reference(parse, &group))
        return node_char(parse, escape_char(parse));
    node = node_new(parse, NODE_BACK);
    parse->has_back = true;
    if (node != NULL)
        node->c = group;
    return node;
}

/* What stands behind "(?", up to the group's content. */
static bool group_kind(struct parse *parse, struct node *node)
{
    if (take(parse, ':'))
        return true;
    if (take(parse, '=') || take(parse, '!')) {
        node->kind = NODE_LOOK;
        node->negated = parse->text.data[parse->at - 1] == '!';
        return true;
    }
    if (!take(parse, '<') || look(parse, 0) == '=' || look(parse, 0) == '!')
        return false;
    size_t end = slice_find_byte(parse->text, '>', parse->at);
    if (end == SIZE_MAX || end == parse->at)
        return false;
    parse->at = end + 1; /* nothing refers to groups by name here */
    node->c = ++parse->groups;
    return true;
}

/* (...): the bracket has been passed. */
static struct node *parse_group(struct parse *parse)
{
    struct node *node = node_new(parse, NODE_GROUP);

    if (node == NULL)
        return NULL;
    if (parse->depth == REGEX_DEPTH_MAX || parse->groups >= REGEX_GROUPS_MAX)
        return fail(parse, REGEX_LIMIT);
    if (!take(parse, '?'))
        node->c = ++parse->groups;
    else if (!group_kind(parse, node))
        return fail(parse, REGEX_NONE);
    parse->depth++;
    node->child = parse_choice(parse);
    parse->depth--;
    if (node->child == NULL)
        return NULL;
    return take(parse, ')') ? node : fail(parse, REGEX_NONE);
}

static bool take_number(struct parse *parse, int32_t *ret_number)
{
    int64_t value = 0;

    if (!is_digit(look(parse, 0)))
        return false;
    for (; is_digit(look(parse, 0)); parse->at++)
        value = value > 1000000 ? value : value * 10 + (look(parse, 0) - '0');
    *ret_number = (int32_t)value;
    return true;
}

/* {n}, {n,}, {n,m}; anything else leaves the brace for a character. */
static bool take_counts(struct parse *parse, int32_t *ret_min, int32_t *ret_max)
{
    size_t start = parse->at;

    if (!take(parse, '{'))
        return false;
    if (take_number(parse, ret_min)) {
        *ret_max = *ret_min;
        if (take(parse, ',') && !take_number(parse, ret_max))
            *ret_max = REPEAT_INFINITE;
        if (take(parse, '}'))
            return true;
    }
    parse->at = start;
    return false;
}

static struct node *parse_atom(struct parse *parse)
{
    uint8_t byte = look(parse, 0);
    int32_t count;

    if (byte == '*' || byte == '+' || byte == '?' || take_counts(parse, &count, &count))
        return fail(parse, REGEX_NONE); /* nothing to repeat */
    if (take(parse, '('))
        return parse_group(parse);
    if (take(parse, '['))
        return parse_set(parse);
    if (take(parse, '\\'))
        return parse_escape(parse);
    if (take(parse, '.'))
        return node_new(parse, NODE_ANY);
    if (take(parse, '^'))
        return node_new(parse, NODE_BEGIN);
    if (take(parse, '$'))
        return node_new(parse, NODE_END);
    return node_char(parse, value_utf8_next(parse->text, &parse->at));
}

static struct node *parse_repeat(struct parse *parse)
{
    struct node *atom = parse_atom(parse);
    int32_t min = 0;
    int32_t max = REPEAT_INFINITE;

    if (atom == NULL)
        return NULL;
    if (take(parse, '+'))
        min = 1;
    else if (take(parse, '?'))
        max = 1;
    else if (!take(parse, '*') && !take_counts(parse, &min, &max))
        return atom;
    bool edge = atom->kind == NODE_BEGIN || atom->kind == NODE_END || atom->kind == NODE_WORD_EDGE;
    if (edge || min > max)
        return fail(parse, REGEX_NONE);
    struct node *node = node_new(parse, NODE_REPEAT);
    if (node == NULL)
        return NULL;
    node->child = atom;
    node->min = min;
    node->max = max;
    node->lazy = take(parse, '?');
    return node;
}

static struct node *parse_sequence(struct parse *parse)
{
    struct node *node = node_new(parse, NODE_SEQUENCE);

    if (node == NULL)
        return NULL;
    struct node **last = &node->child;
    while (more(parse) && look(parse, 0) != '|' && look(parse, 0) != ')') {
        *last = parse_repeat(parse);
        if (*last == NULL)
            return NULL;
        last = &(*last)->next;
    }
    return node;
}

static struct node *parse_choice(struct parse *parse)
{
    struct node *node = node_new(parse, NODE_CHOICE);

    if (node == NULL)
        return NULL;
    struct node **last = &node->child;
    do {
        *last = parse_sequence(parse);
        if (*last == NULL)
            return NULL;
        last = &(*last)->next;
    } while (take(parse, '|'));
    return node;
}

/* Groups that capture: back references may stand before them. */
static uint32_t count_groups(struct slice text)
{
    uint32_t count = 0;
    bool in_set = false;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.data[i];
        if (byte == '\\')
            i++;
        else if (in_set)
            in_set = byte != ']';
        else if (byte == '[')
            in_set = true;
        else if (byte == '(')
            count += i + 1 >= text.len || text.data[i + 1] != '?' ||
                     (i + 3 < text.len && text.data[i + 2] == '<' && text.data[i + 3] != '=' &&
                      text.data[i + 3] != '!');
    }
    return count;
}

/* Index of a new instruction; UINT32_MAX: the program is full. */
static uint32_t emit_op(struct parse *parse, enum regex_op op)
{
    if (parse->result != REGEX_MATCH || parse->count >= REGEX_PROGRAM_MAX) {
        fail(parse, REGEX_LIMIT);
        return UINT32_MAX;
    }
    parse->program[parse->count] = (struct regex_inst){.op = op};
    if (op == REGEX_SPLIT)
        parse->program[parse->count].split = parse->splits++;
    return parse->count++;
}

static void emit(struct parse *parse, const struct node *node);

/* A split whose first way is the next instruction, or the second one for a lazy repetition. */
static void split_set(struct parse *parse, uint32_t split, uint32_t body, uint32_t out, bool lazy)
{
    if (split == UINT32_MAX)
        return;
    parse->program[split].a = lazy ? out : body;
    parse->program[split].b = lazy ? body : out;
}

static void emit_loop(struct parse *parse, const struct node *node)
{
    uint32_t mark = parse->marks;
    uint32_t split = emit_op(parse, REGEX_SPLIT);

    if (parse->has_back) { /* else the matcher never comes twice to one place by itself */
        uint32_t at = emit_op(parse, REGEX_MARK);
        parse->marks++;
        if (parse->marks > REGEX_MARKS_MAX)
            fail(parse, REGEX_LIMIT);
        if (at != UINT32_MAX)
            parse->program[at].a = mark;
    }
    emit(parse, node->child);
    if (parse->has_back) {
        uint32_t at = emit_op(parse, REGEX_CHECK);
        if (at != UINT32_MAX)
            parse->program[at].a = mark;
    }
    uint32_t jump = emit_op(parse, REGEX_JUMP);
    if (jump != UINT32_MAX)
        parse->program[jump].a = split;
    split_set(parse, split, split + 1, parse->count, node->lazy);
}

static void emit_repeat(struct parse *parse, const struct node *node)
{
    for (int32_t i = 0; i < node->min && parse->result == REGEX_MATCH; i++)
        emit(parse, node->child);
    if (node->max == REPEAT_INFINITE) {
        emit_loop(parse, node);
        return;
    }
    uint32_t first = parse->splits;
    uint32_t start = parse->count;
    for (int32_t i = node->min; i < node->max && parse->result == REGEX_MATCH; i++) {
        uint32_t split = emit_op(parse, REGEX_SPLIT);
        if (split != UINT32_MAX)
            parse->program[split].c = 1; /* to be given its way out below */
        emit(parse, node->child);
    }
    ASSERT(parse->splits >= first);
    for (uint32_t i = start; i < parse->count; i++) {
        if (parse->program[i].op == REGEX_SPLIT && parse->program[i].c == 1) {
            parse->program[i].c = 0;
            split_set(parse, i, i + 1, parse->count, node->lazy);
        }
    }
}

static void emit_choice(struct parse *parse, const struct node *node)
{
    uint32_t jumps = UINT32_MAX; /* list of jumps to the end, by their a */

    for (const struct node *way = node->child; way != NULL; way = way->next) {
        if (way->next == NULL) {
            emit(parse, way);
            break;
        }
        uint32_t split = emit_op(parse, REGEX_SPLIT);
        emit(parse, way);
        uint32_t jump = emit_op(parse, REGEX_JUMP);
        if (jump == UINT32_MAX)
            return;
        parse->program[jump].a = jumps;
        jumps = jump;
        split_set(parse, split, split + 1, parse->count, false);
    }
    while (jumps != UINT32_MAX) {
        uint32_t next = parse->program[jumps].a;
        parse->program[jumps].a = parse->count;
        jumps = next;
    }
}

static void emit_group(struct parse *parse, const struct node *node)
{
    uint32_t at;

    if (!parse->has_back || node->c == 0) {
        emit(parse, node->child);
        return;
    }
    at = emit_op(parse, REGEX_SAVE);
    if (at != UINT32_MAX)
        parse->program[at].a = node->c * 2;
    emit(parse, node->child);
    at = emit_op(parse, REGEX_SAVE);
    if (at != UINT32_MAX)
        parse->program[at].a = node->c * 2 + 1;
}

static void emit_look(struct parse *parse, const struct node *node)
{
    uint32_t at = emit_op(parse, REGEX_LOOK);
    uint32_t first = parse->splits;

    emit(parse, node->child);
    (void)emit_op(parse, REGEX_ACCEPT);
    if (at == UINT32_MAX)
        return;
    parse->program[at].negated = node->negated;
    parse->program[at].a = parse->count;
    parse->program[at].split = first;
    parse->program[at].b = parse->splits;
}

static void emit_one(struct parse *parse, const struct node *node)
{
    static const enum regex_op ops[] = {
        [NODE_CHAR] = REGEX_CHAR,   [NODE_ANY] = REGEX_ANY, [NODE_SET] = REGEX_SET,
        [NODE_BEGIN] = REGEX_BEGIN, [NODE_END] = REGEX_END, [NODE_WORD_EDGE] = REGEX_WORD_EDGE,
        [NODE_BACK] = REGEX_BACK};
    uint32_t at = emit_op(parse, ops[node->kind]);

    if (at == UINT32_MAX)
        return;
    parse->program[at].c = node->c;
    parse->program[at].a = node->c;
    parse->program[at].set = node->set;
    parse->program[at].negated = node->negated;
}

/* Depth: a few calls for each level of groups. */
static void emit(struct parse *parse, const struct node *node)
{
    if (++parse->calls > EMIT_MAX)
        fail(parse, REGEX_LIMIT);
    if (parse->result != REGEX_MATCH)
        return;
    switch (node->kind) {
    case NODE_EMPTY:
        return;
    case NODE_SEQUENCE:
        for (const struct node *child = node->child; child != NULL; child = child->next)
            emit(parse, child);
        return;
    case NODE_CHOICE:
        emit_choice(parse, node);
        return;
    case NODE_REPEAT:
        emit_repeat(parse, node);
        return;
    case NODE_GROUP:
        emit_group(parse, node);
        return;
    case NODE_LOOK:
        emit_look(parse, node);
        return;
    default:
        emit_one(parse, node);
    }
}

enum regex_result regex_compile(struct slice pattern, struct arena *arena, struct regex **ret_regex)
{
    struct parse parse = {.text = pattern, .arena = arena, .result = REGEX_MATCH};
    struct regex *regex = ARENA_NEW(arena, struct regex);

    parse.groups_all = count_groups(pattern);
    parse.program = ARENA_ARRAY(arena, struct regex_inst, REGEX_PROGRAM_MAX);
    if (regex == NULL || parse.program == NULL)
        return REGEX_MEMORY;
    struct node *root = parse_choice(&parse);
    if (root != NULL && parse.at < pattern.len)
        fail(&parse, REGEX_NONE); /* a bracket that nothing opened */
    if (parse.result == REGEX_MATCH)
        emit(&parse, root);
    if (parse.result == REGEX_MATCH)
        (void)emit_op(&parse, REGEX_ACCEPT);
    *regex = (struct regex){parse.program, parse.count, parse.splits,
                            parse.groups + 1, parse.marks, parse.has_back};
    *ret_regex = regex;
    return parse.result;
}
