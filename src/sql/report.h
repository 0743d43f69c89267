/*
 * What is wrong with a script: messages with place, text and hint, printed as
 *
 *   job.asaql:3:8: error: unknown function 'UPER'
 *     SELECT UPER(name)
 *            ^~~~
 *     hint: did you mean UPPER?
 */
#ifndef WEIR_SQL_REPORT_H
#define WEIR_SQL_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytebuf.h"
#include "base/slice.h"

/* A place in the script; line and column count from 1, columns in characters. */
struct sql_span {
    uint32_t offset;
    uint32_t len;
    uint32_t line;
    uint32_t column;
};

struct sql_message {
    struct sql_message *next;
    struct sql_span span;
    bool warning;
    const char *text;
    const char *hint; /* NULL: none */
};

enum { SQL_MESSAGES_MAX = 20 };

struct sql_report {
    struct arena *arena;
    struct slice script;
    struct sql_message *first;
    struct sql_message **last;
    uint32_t errors;
    uint32_t count;
};

void sql_report_init(struct sql_report *report, struct arena *arena, struct slice script);
/* hint may be NULL. Messages beyond SQL_MESSAGES_MAX are counted only. */
void sql_report_error(struct sql_report *report, struct sql_span span, const char *hint,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));
void sql_report_warning(struct sql_report *report, struct sql_span span, const char *hint,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));
/* All messages as text; file is the name to print. */
void sql_report_print(const struct sql_report *report, const char *file, struct bytebuf *out);

#endif
