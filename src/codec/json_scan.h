/*
 * Stage two of the JSON scanner: walks the token index of a text and picks, for each event in it,
 * the values of the wanted paths as views of the source.
 *
 * A text holds any number of events: objects one after another with white space between them, or
 * one array of objects. Values that are not wanted cost a step over their tokens. Names match
 * exactly first, else without regard to ASCII case; of two fields alike the first counts.
 *
 * Levels: JSON_LEVEL_CHECKED verifies structure, strings, control characters, UTF-8 and the
 * spelling of every value that is read, with all that lies below it; JSON_LEVEL_STRICT verifies the
 * spelling of every value and escape in the event as well.
 */
#ifndef WEIR_CODEC_JSON_SCAN_H
#define WEIR_CODEC_JSON_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/bytebuf.h"
#include "base/slice.h"

enum json_kind {
    JSON_KIND_MISSING, /* the event has no such field */
    JSON_KIND_NULL,
    JSON_KIND_FALSE,
    JSON_KIND_TRUE,
    JSON_KIND_INT,          /* integer literal inside 64 bits */
    JSON_KIND_FLOAT,        /* literal with fraction or exponent, inside a double's range */
    JSON_KIND_TEXT,         /* string without escapes: data is its content */
    JSON_KIND_TEXT_ESCAPED, /* data is the content with its escapes */
    JSON_KIND_OBJECT,       /* data is the source from brace to brace */
    JSON_KIND_ARRAY
};

/* A value as it stands in the source. Strings: without the quotes, which stand at data[-1] and
 * data[len]. */
struct json_cell {
    const uint8_t *data;
    uint32_t len;
    uint8_t kind;  /* enum json_kind */
    uint8_t exact; /* the name matched letter for letter */
};

enum json_level { JSON_LEVEL_CHECKED, JSON_LEVEL_STRICT };

enum json_step {
    JSON_STEP_ROW,  /* one event read */
    JSON_STEP_BAD,  /* one unreadable event: counted and stepped over by the caller */
    JSON_STEP_MORE, /* the text ends inside an event */
    JSON_STEP_END   /* nothing but white space is left */
};

enum { JSON_DEPTH_MAX = 512, JSON_PATH_MAX = 32 };

struct json_scan;

/* NULL: out of memory. */
struct json_scan *json_scan_create(struct arena *arena, enum json_level level);
void json_scan_destroy(struct json_scan *scan);
/* Wants the value at parts[0].parts[1]...; count 0 is the event itself. Returns the column, -1:
 * memory or depth. */
int json_scan_want(struct json_scan *scan, const struct slice *parts, uint32_t count);

/* Begins a text, which must stay until its last cell is used. Keeps the state of an open array.
 * false: memory. */
MUST_CHECK bool json_scan_begin(struct json_scan *scan, struct slice text);
/* Forgets an open array: the next text starts on its own. */
void json_scan_reset(struct json_scan *scan);
/*
 * The next event: cells[column * stride] gets its values. ret_error: what is wrong with a bad one.
 * After JSON_STEP_BAD json_scan_at tells where to go on: by json_scan_resume, or a new json_scan_begin.
 */
enum json_step json_scan_next(struct json_scan *scan, struct json_cell *cells, size_t stride,
                              const char **ret_error);
/* After JSON_STEP_BAD: goes on in the same text, without a new index of it. false: the bad event has
 * left a string open where it ends, so that the index is wrong from there. */
bool json_scan_resume(struct json_scan *scan);
/* Bytes of the text consumed: the start of the unfinished event after JSON_STEP_MORE. */
size_t json_scan_at(const struct json_scan *scan);
/* Source of the event that json_scan_next has just returned. */
struct slice json_scan_row(const struct json_scan *scan);
/* True while an array that a text opened has not been closed. */
bool json_scan_in_array(const struct json_scan *scan);

/* JSON_KIND_INT, JSON_KIND_FLOAT, or JSON_KIND_MISSING when the text is no number of JSON's grammar
 * or leaves 64 bits, or a double's range. */
enum json_kind json_number_kind(struct slice text);
/* Kind of any value's source text by its first byte and spelling; strings come with their quotes.
 */
bool json_cell_from_source(struct slice source, struct json_cell *ret_cell);
/* The whole source of a value, quotes included. */
struct slice json_cell_source(const struct json_cell *cell);
/* Content of a string without its escapes; false: an escape is not valid. Lone surrogates become
 * U+FFFD. */
bool json_unescape(struct slice content, struct bytebuf *out);
/* UTF-8 without surrogates and overlong forms. */
bool json_utf8_valid(struct slice text);

/* A field's name without its escapes: itself when it has none, else made in scratch. */
struct slice json_name_content(struct slice key, struct bytebuf *scratch);
/* Walk of an object's or array's source (valid JSON): false at the end. Start with *at = 0. Names
 * come as they stand in the source. */
bool json_source_next_field(struct slice object, size_t *at, struct slice *ret_name,
                            struct json_cell *ret_value);
bool json_source_next_element(struct slice array, size_t *at, struct json_cell *ret_value);
/* Field by name, as the scanner matches it; kind JSON_KIND_MISSING when absent. */
struct json_cell json_source_get(struct slice object, struct slice name);

#endif
