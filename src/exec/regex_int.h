/* What the files of regular expressions share. */
#ifndef WEIR_EXEC_REGEX_INT_H
#define WEIR_EXEC_REGEX_INT_H

#include <stdint.h>

#include "exec/regex.h"

enum {
    REGEX_PROGRAM_MAX = 10000, /* instructions */
    REGEX_DEPTH_MAX = 64,      /* groups in one another */
    REGEX_GROUPS_MAX = 100,
    REGEX_MARKS_MAX = 200
};

enum regex_op {
    REGEX_CHAR,       /* c, folded */
    REGEX_ANY,        /* all but line ends */
    REGEX_SET,        /* set */
    REGEX_SPLIT,      /* goes on at a; failing that, at b */
    REGEX_JUMP,       /* a */
    REGEX_SAVE,       /* slot a = here */
    REGEX_MARK,       /* mark a = here */
    REGEX_CHECK,      /* fails when mark a is here: the loop's body was empty */
    REGEX_BEGIN,      /* ^ */
    REGEX_END,        /* $ */
    REGEX_WORD_EDGE,  /* \b; negated: \B */
    REGEX_LOOK,       /* what follows up to REGEX_ACCEPT matches here, or not if negated; then a */
    REGEX_BACK,       /* what group a matched */
    REGEX_ACCEPT
};

struct regex_range {
    uint32_t low;
    uint32_t high;
};

struct regex_set {
    struct regex_range *ranges;
    uint32_t count;
    uint32_t cap;
    bool negated;
};

struct regex_inst {
    enum regex_op op;
    bool negated;
    uint32_t a;
    uint32_t b;
    uint32_t split; /* SPLIT: its number. LOOK: the first number inside, b: the number behind */
    uint32_t c;
    const struct regex_set *set;
};

struct regex {
    struct regex_inst *program;
    uint32_t count;
    uint32_t splits;
    uint32_t groups;
    uint32_t marks;
    bool has_back; /* back references: what follows depends on more than the place */
};

/* REGEX_MATCH: *ret_regex is ready; REGEX_NONE: the pattern is not valid. */
enum regex_result regex_compile(struct slice pattern, struct arena *arena,
                                struct regex **ret_regex);

#endif
