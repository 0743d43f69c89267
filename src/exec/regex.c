/*
 * The matcher (see exec/regex.h): backtracking with a memory.
 *
 * Ways not yet tried wait on a stack. Whether a match exists from an instruction and a place does not
 * depend on how one came there, unless there are back references; so each split is tried once at each
 * place, over all starting points, and a search is linear. With back references that does not hold,
 * and the number of steps is all that bounds it.
 *
 *   stack   ways (instruction, place) and, with back references, the slots' former values
 *   tried   one bit for each split and place, row by row; rows inside a lookahead that has matched
 *           are cleared, since there "tried" would mean success
 *
 * Invariants: (1) places lie inside the text, at the start of a character; (2) recursion goes as deep
 * as lookaheads stand in one another, which the compiler bounds; (3) steps, stack and bits have
 * limits. Ownership: a cache belongs to one query; what a search needs is freed at its end. Failure:
 * limits and memory, told apart from "no match".
 */
#include "exec/regex.h"

#include <stdlib.h>

#include "exec/regex_int.h"
#include "exec/value.h"

enum {
    STEPS_MAX = 20000000,
    STACK_MAX = 4 << 20,
    BITS_BYTES_MAX = 64 << 20,
    CACHE_SIZE = 8,
    PATTERN_MAX = 8000,
    SLOTS_MAX = 2 * (REGEX_GROUPS_MAX + 1) + REGEX_MARKS_MAX
};

#define WAY UINT32_MAX

struct waiting {
    size_t at;
    uint32_t pc;   /* of a way */
    uint32_t slot; /* WAY, or the slot that gets its value `at` back */
};

struct matcher {
    const struct regex *regex;
    struct slice text;
    uint64_t *tried; /* NULL: not used */
    size_t row_words;
    struct waiting *stack;
    size_t count;
    size_t cap;
    uint64_t steps;
    size_t slots[SLOTS_MAX]; /* groups' starts and ends, then marks; SIZE_MAX: unset */
};

static bool is_word(uint32_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

static bool is_line_end(uint32_t c)
{
    return c == '\n' || c == '\r' || c == 0x2028 || c == 0x2029;
}

static bool set_has_one(const struct regex_set *set, uint32_t c)
{
    for (uint32_t i = 0; i < set->count; i++) {
        if (c >= set->ranges[i].low && c <= set->ranges[i].high)
            return true;
    }
    return false;
}

static bool set_has(const struct regex_set *set, uint32_t c)
{
    bool found = set_has_one(set, c) || set_has_one(set, value_fold(c)) ||
                 set_has_one(set, value_lower(c));
    return found != set->negated;
}

/* An instruction that takes one character; moves behind it. */
static bool match_char(const struct matcher *m, const struct regex_inst *inst, size_t *at)
{
    if (*at >= m->text.len)
        return false;
    uint32_t c = value_utf8_next(m->text, at);
    if (inst->op == REGEX_CHAR)
        return value_fold(c) == inst->c;
    return inst->op == REGEX_ANY ? !is_line_end(c) : set_has(inst->set, c);
}

static bool word_edge(const struct matcher *m, size_t at)
{
    bool before = at > 0 && is_word(m->text.data[at - 1]);
    bool after = at < m->text.len && is_word(m->text.data[at]);
    return before != after;
}

/* The text of a group once more; an unset group is the empty text. */
static bool match_back(struct matcher *m, uint32_t group, size_t *at)
{
    size_t from = m->slots[group * 2];
    size_t end = m->slots[group * 2 + 1];

    if (from == SIZE_MAX || end == SIZE_MAX || end < from)
        return true;
    m->steps += end - from;
    while (from < end) {
        if (*at >= m->text.len)
            return false;
        uint32_t a = value_utf8_next(m->text, &from);
        if (value_fold(a) != value_fold(value_utf8_next(m->text, at)))
            return false;
    }
    return true;
}

static bool push(struct matcher *m, struct waiting entry)
{
    if (m->count == m->cap) {
        size_t cap = m->cap * 2 + 64;
        struct waiting *stack = cap > STACK_MAX ? NULL : realloc(m->stack, cap * sizeof(*stack));
        if (stack == NULL)
            return false;
        m->stack = stack;
        m->cap = cap;
    }
    m->stack[m->count++] = entry;
    return true;
}

static bool slot_set(struct matcher *m, uint32_t slot, size_t at)
{
    ASSERT(slot < SLOTS_MAX);
    if (!push(m, (struct waiting){m->slots[slot], 0, slot}))
        return false;
    m->slots[slot] = at;
    return true;
}

/* True the first time for a split and place. */
static bool try_split(struct matcher *m, uint32_t split, size_t at)
{
    if (m->tried == NULL)
        return true;
    uint64_t *word = &m->tried[split * m->row_words + at / 64];
    uint64_t bit = 1ULL << (at % 64);
    bool first = (*word & bit) == 0;
    *word |= bit;
    return first;
}

/* The way that waits on top, above base; slots get their values back on the way there. */
static bool take_way(struct matcher *m, size_t base, uint32_t *pc, size_t *at)
{
    while (m->count > base) {
        struct waiting entry = m->stack[--m->count];
        if (entry.slot == WAY) {
            *pc = entry.pc;
            *at = entry.at;
            return true;
        }
        m->slots[entry.slot] = entry.at;
    }
    return false;
}

static enum regex_result run(struct matcher *m, uint32_t pc, size_t at);

/* (?=...) and (?!...): no way of the inside stays, values of its slots can still be taken back. */
static enum regex_result run_look(struct matcher *m, const struct regex_inst *inst, uint32_t pc,
                                  size_t at)
{
    size_t base = m->count;
    size_t kept = base;
    enum regex_result result = run(m, pc + 1, at);

    if (result == REGEX_LIMIT)
        return result;
    if (result == REGEX_MATCH && m->tried != NULL) {
        size_t words = (inst->b - inst->split) * m->row_words;
        memset(m->tried + inst->split * m->row_words, 0, words * sizeof(uint64_t));
        m->steps += words;
    }
    if (inst->negated) {
        uint32_t none;
        size_t nowhere;
        while (take_way(m, base, &none, &nowhere)) {
        }
        return result == REGEX_MATCH ? REGEX_NONE : REGEX_MATCH;
    }
    for (size_t i = base; i < m->count; i++) {
        if (m->stack[i].slot != WAY)
            m->stack[kept++] = m->stack[i];
    }
    m->count = kept;
    return result;
}

/* One instruction that is no lookahead: MATCH goes on at *pc, NONE turns back. */
static enum regex_result step(struct matcher *m, uint32_t *pc, size_t *at)
{
    const struct regex_inst *inst = &m->regex->program[*pc];
    uint32_t mark = m->regex->groups * 2 + inst->a;
    bool ok = true;

    (*pc)++;
    switch (inst->op) {
    case REGEX_CHAR:
    case REGEX_ANY:
    case REGEX_SET:
        ok = match_char(m, inst, at);
        break;
    case REGEX_SPLIT:
        ok = try_split(m, inst->split, *at);
        *pc = inst->a;
        if (ok && !push(m, (struct waiting){*at, inst->b, WAY}))
            return REGEX_LIMIT;
        break;
    case REGEX_JUMP:
        *pc = inst->a;
        break;
    case REGEX_SAVE:
        return slot_set(m, inst->a, *at) ? REGEX_MATCH : REGEX_LIMIT;
    case REGEX_MARK:
        return slot_set(m, mark, *at) ? REGEX_MATCH : REGEX_LIMIT;
    case REGEX_CHECK:
        ok = m->slots[mark] != *at;
        break;
    case REGEX_BEGIN:
        ok = *at == 0;
        break;
    case REGEX_END:
        ok = *at == m->text.len;
        break;
    case REGEX_WORD_EDGE:
        ok = word_edge(m, *at) != inst->negated;
        break;
    default:
        ASSERT(inst->op == REGEX_BACK);
        ok = match_back(m, inst->a, at);
        break;
    }
    return ok ? REGEX_MATCH : REGEX_NONE;
}

/* From an instruction and a place to ACCEPT. What is left on the stack above its start is the
 * caller's to drop. */
static enum regex_result run(struct matcher *m, uint32_t pc, size_t at)
{
    size_t base = m->count;

    for (;;) {
        enum regex_result result;
        ASSERT(pc < m->regex->count && at <= m->text.len);
        if (++m->steps > STEPS_MAX)
            return REGEX_LIMIT;
        const struct regex_inst *inst = &m->regex->program[pc];
        if (inst->op == REGEX_ACCEPT)
            return REGEX_MATCH;
        if (inst->op == REGEX_LOOK) {
            result = run_look(m, inst, pc, at);
            pc = inst->a;
        } else {
            result = step(m, &pc, &at);
        }
        if (result == REGEX_LIMIT)
            return result;
        if (result == REGEX_NONE && !take_way(m, base, &pc, &at))
            return REGEX_NONE;
    }
}

static enum regex_result search(const struct regex *regex, struct slice text, size_t *ret_at)
{
    struct matcher m = {.regex = regex, .text = text, .row_words = text.len / 64 + 1};
    enum regex_result result = REGEX_NONE;
    size_t bytes = regex->splits * m.row_words * sizeof(uint64_t);

    ASSERT(regex->groups * 2 + regex->marks <= SLOTS_MAX);
    if (!regex->has_back && regex->splits > 0) {
        if (bytes > BITS_BYTES_MAX)
            return REGEX_LIMIT;
        m.tried = calloc(1, bytes);
        if (m.tried == NULL)
            return REGEX_MEMORY;
    }
    for (size_t i = 0; i < SLOTS_MAX; i++)
        m.slots[i] = SIZE_MAX;
    for (size_t at = 0;; (void)value_utf8_next(text, &at)) {
        result = run(&m, 0, at);
        *ret_at = at;
        if (result != REGEX_NONE || at >= text.len)
            break;
    }
    free(m.tried);
    free(m.stack);
    return result;
}

struct cached {
    struct arena *arena; /* NULL: empty */
    struct slice pattern;
    struct regex *regex;
    enum regex_result result; /* of the compilation */
};

struct regex_cache {
    struct cached rows[CACHE_SIZE];
    uint32_t next; /* the row to go when all are taken */
};

struct regex_cache *regex_cache_create(void)
{
    return calloc(1, sizeof(struct regex_cache));
}

void regex_cache_destroy(struct regex_cache *cache)
{
    for (unsigned i = 0; cache != NULL && i < CACHE_SIZE; i++)
        arena_destroy(cache->rows[i].arena);
    free(cache);
}

/* The compiled pattern, made at need. NULL: memory. */
static const struct cached *cache_get(struct regex_cache *cache, struct slice pattern)
{
    for (unsigned i = 0; i < CACHE_SIZE; i++) {
        if (cache->rows[i].arena != NULL && slice_equal(cache->rows[i].pattern, pattern))
            return &cache->rows[i];
    }
    struct cached *row = &cache->rows[cache->next];
    cache->next = (cache->next + 1) % CACHE_SIZE;
    arena_destroy(row->arena);
    *row = (struct cached){.arena = arena_create(NULL, "regex", 8 << 20)};
    if (row->arena == NULL)
        return NULL;
    row->pattern = arena_copy(row->arena, pattern);
    row->result = row->pattern.data == NULL
                      ? REGEX_MEMORY
                      : regex_compile(row->pattern, row->arena, &row->regex);
    if (row->result != REGEX_MEMORY)
        return row;
    arena_destroy(row->arena);
    *row = (struct cached){.arena = NULL};
    return NULL;
}

enum regex_result regex_search(struct regex_cache *cache, struct slice pattern, struct slice text,
                               size_t *ret_at)
{
    if (pattern.len > PATTERN_MAX)
        return REGEX_LIMIT;
    const struct cached *row = cache_get(cache, pattern);
    if (row == NULL)
        return REGEX_MEMORY;
    return row->result == REGEX_MATCH ? search(row->regex, text, ret_at) : row->result;
}
