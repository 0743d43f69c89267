/*
 * Role: lists and objects on standard output, for people or for programs.
 *
 *     table   columns as wide as their widest cell, the last one ragged
 *     json    one document          jsonl   an object a line
 *
 * Invariants
 * (1) Numbers are printed so that they read back the same: 17 digits.
 * (2) A command whose output could not be written ends with status 1: a full disk behind a pipe
 *     must not look like success.
 *
 * Ownership and shard: one thread. Failure modes: those of standard output.
 */
#include "cli/output.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define COLUMNS_MAX 16

/* A value as a cell; the caller frees it. */
static char *cell(const json_t *value)
{
    if (!value || json_is_null(value))
        return strdup("-");
    if (json_is_string(value))
        return strdup(json_string_value(value));
    return json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
}

static int finish(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    perror("weir: standard output");
    return 1;
}

static void print_json(const json_t *value, size_t flags)
{
    json_dumpf(value, stdout, flags | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    putchar('\n');
}

/* Padded to its column; the last one ends the line. */
static void print_cell(const char *text, size_t width, bool last)
{
    if (last)
        printf("%s\n", text);
    else
        printf("%-*s  ", (int)width, text);
}

static void print_table(const json_t *rows, const char *const *columns, size_t count)
{
    size_t width[COLUMNS_MAX];
    ASSERT(count > 0 && count <= COLUMNS_MAX);
    ASSERT(json_is_array(rows));
    for (size_t i = 0; i < count; i++) {
        width[i] = strlen(columns[i]);
        for (size_t row = 0; row < json_array_size(rows); row++) {
            char *text = cell(json_object_get(json_array_get(rows, row), columns[i]));
            if (text && strlen(text) > width[i])
                width[i] = strlen(text);
            free(text);
        }
    }
    for (size_t i = 0; i < count; i++)
        print_cell(columns[i], width[i], i + 1 == count);
    for (size_t row = 0; row < json_array_size(rows); row++) {
        for (size_t i = 0; i < count; i++) {
            char *text = cell(json_object_get(json_array_get(rows, row), columns[i]));
            print_cell(text ? text : "", width[i], i + 1 == count);
            free(text);
        }
    }
}

int output_rows(const char *format, const json_t *rows, const char *const *columns, size_t count)
{
    ASSERT(format && columns && count > 0);
    if (strcmp(format, "json") == 0) {
        print_json(rows, JSON_INDENT(2));
    } else if (strcmp(format, "jsonl") == 0) {
        for (size_t row = 0; row < json_array_size(rows); row++)
            print_json(json_array_get(rows, row), JSON_COMPACT);
    } else {
        print_table(rows, columns, count);
    }
    return finish();
}

int output_object(const char *format, const json_t *object)
{
    ASSERT(format && object);
    if (strcmp(format, "table") != 0) {
        print_json(object, strcmp(format, "json") == 0 ? JSON_INDENT(2) : JSON_COMPACT);
        return finish();
    }
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        char *text = cell(value);
        printf("%-24s %s\n", key, text ? text : "");
        free(text);
    }
    return finish();
}
