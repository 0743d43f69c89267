/*
 * Command-line arguments by table: one description yields the parser, the errors and --help.
 */
#ifndef WEIR_CLI_ARGS_H
#define WEIR_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum arg_kind {
    ARG_FLAG,   /* bool: true when given */
    ARG_TEXT,   /* const char * */
    ARG_INT,    /* int64_t, checked against min..max */
    ARG_CHOICE, /* const char *, one of `choices` ("table|json|jsonl") */
    ARG_LIST    /* struct arg_list: may be repeated */
};

#define ARG_LIST_MAX 256

struct arg_list {
    const char *items[ARG_LIST_MAX];
    size_t count;
};

struct arg_option {
    const char *name; /* without dashes; NULL ends the table */
    char letter;      /* short form, 0 for none */
    enum arg_kind kind;
    void *target;
    const char *value;   /* what --help calls the value: "PORT" */
    const char *help;    /* one line */
    const char *choices; /* of ARG_CHOICE */
    int64_t min, max;    /* of ARG_INT */
};

struct arg_command {
    const char *name;    /* "topic create" */
    const char *operand; /* "TOPIC", "" when it takes none */
    const char *summary; /* one line */
    const char *details; /* more for --help, with examples; may be NULL */
    size_t operands_min, operands_max;
    const struct arg_option *options;
};

struct arg_operands {
    char **items;
    size_t count;
};

enum args_result {
    ARGS_OK,
    ARGS_DONE, /* --help was printed: exit 0 */
    ARGS_WRONG /* the error is on stderr: exit 2 */
};

/* Parses argv (without the command's own words; it is reordered). "--" ends the options. */
enum args_result args_parse(const struct arg_command *command, int argc, char **argv,
                            struct arg_operands *ret_operands);
/* The usage error that every command prints alike; returns 2. */
int args_wrong(const struct arg_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
