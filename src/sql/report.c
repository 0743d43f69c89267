/* Compile messages (see sql/report.h). */
#include "sql/report.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"

void sql_report_init(struct sql_report *report, struct arena *arena, struct slice script)
{
    ASSERT(arena != NULL);
    *report = (struct sql_report){.arena = arena, .script = script};
    report->last = &report->first;
}

static void report_add(struct sql_report *report, struct sql_span span, bool warning,
                       const char *hint, const char *text)
{
    struct sql_message *message;

    report->errors += !warning;
    if (report->count >= SQL_MESSAGES_MAX)
        return;
    message = ARENA_NEW(report->arena, struct sql_message);
    if (message == NULL)
        return;
    message->span = span;
    message->warning = warning;
    message->text = arena_strdup(report->arena, slice_cstr(text));
    if (hint != NULL)
        message->hint = arena_strdup(report->arena, slice_cstr(hint));
    if (message->text == NULL)
        message->text = "out of memory";
    *report->last = message;
    report->last = &message->next;
    report->count++;
}

void sql_report_error(struct sql_report *report, struct sql_span span, const char *hint,
                      const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    report_add(report, span, false, hint, text);
}

void sql_report_warning(struct sql_report *report, struct sql_span span, const char *hint,
                        const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    report_add(report, span, true, hint, text);
}

enum { SOURCE_BEFORE_MAX = 100, SOURCE_AFTER_MAX = 100 };

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Bytes of the script, with blanks for what would confuse a terminal. */
static void print_bytes(struct slice bytes, struct bytebuf *out)
{
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t byte = bytes.data[i];
        bytebuf_append_byte(out, (byte < 0x20 && byte != '\t') || byte == 0x7f ? ' ' : byte);
    }
}

/* The line of the place, or the part of a long line around it, and carets under the text meant. Tabs
 * stay tabs, so that the carets line up. */
static void print_source(const struct sql_report *report, struct sql_span span, struct bytebuf *out)
{
    struct slice script = report->script;
    size_t start = span.offset;
    size_t end = span.offset;

    ASSERT(span.offset <= script.len);
    while (start > 0 && script.data[start - 1] != '\n' &&
           (span.offset - start < SOURCE_BEFORE_MAX || is_continuation(script.data[start])))
        start--;
    while (end < script.len && script.data[end] != '\n' && script.data[end] != '\r' &&
           (end - span.offset < SOURCE_AFTER_MAX || is_continuation(script.data[end])))
        end++;
    bool cut_before = start > 0 && script.data[start - 1] != '\n';
    bool cut_after = end < script.len && script.data[end] != '\n' && script.data[end] != '\r';
    bytebuf_append_cstr(out, cut_before ? "  ..." : "  ");
    print_bytes(slice_sub(script, start, end - start), out);
    bytebuf_append_cstr(out, cut_after ? "...\n  " : "\n  ");
    bytebuf_append_cstr(out, cut_before ? "   " : "");
    for (size_t i = start; i < span.offset; i++) {
        if (!is_continuation(script.data[i]))
            bytebuf_append_byte(out, script.data[i] == '\t' ? '\t' : ' ');
    }
    bytebuf_append_byte(out, '^');
    for (size_t i = span.offset + 1; i < span.offset + span.len && i < end; i++) {
        if (!is_continuation(script.data[i]))
            bytebuf_append_byte(out, '~');
    }
    bytebuf_append_byte(out, '\n');
}

void sql_report_print(const struct sql_report *report, const char *file, struct bytebuf *out)
{
    for (const struct sql_message *m = report->first; m != NULL; m = m->next) {
        bytebuf_printf(out, "%s:%u:%u: %s: %s\n", file, m->span.line, m->span.column,
                       m->warning ? "warning" : "error", m->text);
        if (m->span.offset <= report->script.len)
            print_source(report, m->span, out);
        if (m->hint != NULL)
            bytebuf_printf(out, "  hint: %s\n", m->hint);
    }
    if (report->errors > SQL_MESSAGES_MAX)
        bytebuf_printf(out, "%s: %u errors in all\n", file, report->errors);
}
