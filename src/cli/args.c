/*
 * The table-driven argument parser; see args.h.
 *
 * Accepted: --name value, --name=value, -n value, -nvalue, flags without value, operands anywhere,
 * "--" before operands that begin with a dash. A name that is not known names its nearest
 * neighbour.
 */
#include "cli/args.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/nearest.h"
#include "base/numtext.h"

static void print_help(const struct arg_command *command)
{
    ASSERT(command->name && command->summary && command->operand);
    printf("usage: weir %s%s%s%s%s\n\n%s\n", command->name,
           command->options[0].name ? " [options]" : "", command->operand[0] ? " " : "",
           command->operand, "", command->summary);
    if (command->details)
        printf("\n%s\n", command->details);
    if (command->options[0].name)
        printf("\noptions:\n");
    for (const struct arg_option *option = command->options; option->name; option++) {
        char left[64];
        char letter[8] = "    ";
        if (option->letter)
            snprintf(letter, sizeof(letter), "-%c, ", option->letter);
        const char *value = option->kind == ARG_FLAG ? ""
                            : option->choices        ? option->choices
                                                     : option->value;
        snprintf(left, sizeof(left), "%s--%s %s", letter, option->name, value);
        printf("  %-38s %s\n", left, option->help);
    }
}

int args_wrong(const struct arg_command *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "weir %s: ", command->name);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\ntry 'weir %s --help'\n", command->name);
    va_end(args);
    return 2;
}

static bool choice_allowed(const char *choices, const char *text)
{
    ASSERT(choices && text);
    size_t len = strlen(text);
    for (const char *at = choices; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL) {
        if (strncmp(at, text, len) == 0 && (at[len] == '|' || at[len] == '\0'))
            return true;
    }
    return false;
}

static enum args_result store(const struct arg_command *command, const struct arg_option *option,
                              const char *text)
{
    ASSERT(option->target != NULL);
    switch (option->kind) {
    case ARG_FLAG:
        *(bool *)option->target = true;
        return ARGS_OK;
    case ARG_TEXT:
        *(const char **)option->target = text;
        return ARGS_OK;
    case ARG_INT: {
        int64_t number;
        if (!numtext_read_int64(slice_cstr(text), &number) || number < option->min ||
            number > option->max) {
            args_wrong(command, "--%s takes a number from %lld to %lld, not '%s'", option->name,
                       (long long)option->min, (long long)option->max, text);
            return ARGS_WRONG;
        }
        *(int64_t *)option->target = number;
        return ARGS_OK;
    }
    case ARG_CHOICE:
        if (!choice_allowed(option->choices, text)) {
            args_wrong(command, "--%s takes one of %s, not '%s'", option->name, option->choices,
                       text);
            return ARGS_WRONG;
        }
        *(const char **)option->target = text;
        return ARGS_OK;
    case ARG_LIST: {
        struct arg_list *list = option->target;
        if (list->count == ARG_LIST_MAX) {
            args_wrong(command, "--%s is given more than %d times", option->name, ARG_LIST_MAX);
            return ARGS_WRONG;
        }
        list->items[list->count++] = text;
        return ARGS_OK;
    }
    }
    UNREACHABLE();
}

static enum args_result unknown_option(const struct arg_command *command, const char *name)
{
    const char *names[64];
    size_t count = 0;
    for (const struct arg_option *option = command->options; option->name && count < 64; option++)
        names[count++] = option->name;
    const char *nearest = nearest_name(name, names, count);
    if (nearest)
        args_wrong(command, "unknown option --%s; did you mean --%s?", name, nearest);
    else
        args_wrong(command, "unknown option --%s", name);
    return ARGS_WRONG;
}

static const struct arg_option *find_option(const struct arg_command *command, const char *name,
                                            size_t len, char letter)
{
    for (const struct arg_option *option = command->options; option->name; option++) {
        if (letter ? option->letter == letter
                   : strlen(option->name) == len && memcmp(option->name, name, len) == 0)
            return option;
    }
    return NULL;
}

/* One option at argv[*at]; *at moves over the value when that is an argument of its own. */
static enum args_result parse_option(const struct arg_command *command, int argc, char **argv,
                                     int *at)
{
    char *text = argv[*at];
    ASSERT(*at < argc && text[0] == '-' && text[1]);
    bool is_long = text[1] == '-';
    char *name = text + (is_long ? 2 : 1);
    char *equals = is_long ? strchr(name, '=') : NULL;
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    const struct arg_option *option = find_option(command, name, len, is_long ? 0 : name[0]);
    if (!option) {
        if (is_long && equals)
            *equals = '\0';
        return unknown_option(command, name);
    }
    char *value = is_long ? (equals ? equals + 1 : NULL) : (name[1] ? name + 1 : NULL);
    if (option->kind == ARG_FLAG) {
        if (value) {
            args_wrong(command, "--%s takes no value", option->name);
            return ARGS_WRONG;
        }
        return store(command, option, NULL);
    }
    if (!value) {
        if (*at + 1 >= argc) {
            args_wrong(command, "--%s needs a value", option->name);
            return ARGS_WRONG;
        }
        value = argv[++*at];
    }
    return store(command, option, value);
}

enum args_result args_parse(const struct arg_command *command, int argc, char **argv,
                            struct arg_operands *ret_operands)
{
    ASSERT(command->options && command->operands_min <= command->operands_max);
    size_t operands = 0;
    bool only_operands = false;
    for (int i = 0; i < argc; i++) {
        char *text = argv[i];
        if (only_operands || text[0] != '-' || text[1] == '\0') {
            argv[operands++] = text;
            continue;
        }
        if (strcmp(text, "--") == 0) {
            only_operands = true;
            continue;
        }
        if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0) {
            print_help(command);
            return ARGS_DONE;
        }
        enum args_result result = parse_option(command, argc, argv, &i);
        if (result != ARGS_OK)
            return result;
    }
    if (operands < command->operands_min || operands > command->operands_max) {
        args_wrong(command,
                   operands < command->operands_min ? "an operand is missing: %s"
                                                    : "too many operands, it takes: %s",
                   command->operand[0] ? command->operand : "none");
        return ARGS_WRONG;
    }
    ASSERT(operands <= (size_t)argc);
    ret_operands->items = argv; /* operands were moved to the front, over what has been read */
    ret_operands->count = operands;
    return ARGS_OK;
}
