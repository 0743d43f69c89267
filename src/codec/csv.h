/*
 * Delimited text with quotes, as RFC 4180 has it and as people write it.
 *
 * Reading is lenient where meaning is not in doubt: lines end with LF or CRLF, empty lines are
 * skipped, a quote inside an unquoted field stands for itself, text behind a closing quote belongs
 * to the field. Not lenient: a quote that never closes, records above the limits.
 */
#ifndef WEIR_CODEC_CSV_H
#define WEIR_CODEC_CSV_H

#include <stdbool.h>

#include "base/assert.h"
#include "base/bytebuf.h"
#include "base/slice.h"

enum csv_result {
    CSV_RECORD,
    CSV_MORE, /* no whole record yet; only when more input may follow */
    CSV_END,  /* the input is used up */
    CSV_BAD   /* reader->reason says why; the input cannot be read further */
};

struct csv_reader {
    char delimiter;
    size_t record_max;       /* bytes of one record */
    uint64_t line;           /* of the record returned last, from 1 */
    uint64_t lines_done;     /* line ends consumed */
    const char *reason;      /* literal, after CSV_BAD */
    struct bytebuf unquoted; /* content of quoted fields of the record returned last */
};

void csv_reader_init(struct csv_reader *reader, char delimiter, size_t record_max);
void csv_reader_deinit(struct csv_reader *reader);

/*
 * Takes one record from the front of *in. last: nothing follows behind *in, so that its last line
 * needs no line end. Fields point into *in or into the reader and live until the next call. CSV_BAD
 * also for more than field_max fields.
 */
MUST_CHECK enum csv_result csv_reader_next(struct csv_reader *reader, struct slice *in, bool last,
                                           struct slice *ret_fields, size_t field_max,
                                           size_t *ret_count);

/* Appends text as one field, quoted when it holds the delimiter, a quote or a line end. */
void csv_write_field(struct bytebuf *out, struct slice text, char delimiter);
/* Appends a whole line ended by CRLF. A single empty field is written as "" since an empty line is
 * no record. */
void csv_write_record(struct bytebuf *out, const struct slice *fields, size_t count,
                      char delimiter);

#endif
