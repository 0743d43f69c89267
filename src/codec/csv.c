/*
 * Role: delimited text: one pass finds the end of a record, a second one cuts it into fields.
 *
 *     record = field (delimiter field)* (LF | CRLF | end)
 *     field  = quote (any | quote quote)* quote rest | text without delimiter and line end
 *
 * Invariants
 * (1) A record is taken whole or not at all, so input may arrive in any pieces.
 * (2) Only a quote at the start of a field opens a quotation, in both passes.
 * (3) Unquoted content never needs more bytes than the record has, so the fields' memory does not
 *     move while they are cut.
 *
 * Ownership and shard: the reader holds one buffer; fields borrow from it and from the input. Any
 * thread.
 *
 * Failure modes: CSV_BAD with a reason; the caller says in which line.
 */
#include "codec/csv.h"

enum { CSV_QUOTE = '"' };

void csv_reader_init(struct csv_reader *reader, char delimiter, size_t record_max)
{
    ASSERT(delimiter != CSV_QUOTE && delimiter != '\n' && delimiter != '\r' && record_max > 0);
    *reader = (struct csv_reader){.delimiter = delimiter, .record_max = record_max};
    bytebuf_init(&reader->unquoted, record_max);
}

void csv_reader_deinit(struct csv_reader *reader)
{
    ASSERT(reader->record_max > 0);
    bytebuf_deinit(&reader->unquoted);
}

static enum csv_result csv_bad(struct csv_reader *reader, const char *reason)
{
    ASSERT(reason);
    reader->reason = reason;
    return CSV_BAD;
}

/* Empty lines between records are none; a CR alone at the very end is half of the last line's end. */
static size_t skip_empty_lines(struct csv_reader *reader, struct slice in, bool last)
{
    size_t at = 0;
    for (;;) {
        if (at < in.len && in.data[at] == '\n') {
            at += 1;
        } else if (at + 1 < in.len && in.data[at] == '\r' && in.data[at + 1] == '\n') {
            at += 2;
        } else if (last && at + 1 == in.len && in.data[at] == '\r') {
            return at + 1;
        } else {
            return at;
        }
        reader->lines_done++;
    }
}

/* Position behind the closing quote of the quotation that opens at `at`; SIZE_MAX when it does not
 * close in `in`. */
static size_t skip_quotation(struct slice in, size_t at)
{
    ASSERT(at < in.len && in.data[at] == CSV_QUOTE);
    for (at++;;) {
        at = slice_find_byte(in, CSV_QUOTE, at);
        if (at == SIZE_MAX)
            return SIZE_MAX;
        if (at + 1 >= in.len || in.data[at + 1] != CSV_QUOTE)
            return at + 1;
        at += 2;
    }
}

enum record_end {
    RECORD_ENDS,   /* *ret_len bytes before its line feed */
    RECORD_OPEN,   /* the input ends inside the record */
    RECORD_QUOTED, /* the input ends inside a quotation */
};

/*
 * Only quotations can hide a line feed, and only at a field's start: a quote in the middle of text is
 * text, as in: a 5" pipe.
 */
static enum record_end find_record_end(const struct csv_reader *reader, struct slice in,
                                       size_t *ret_len)
{
    bool field_start = true;
    size_t at = 0;
    *ret_len = in.len;
    while (at < in.len) {
        uint8_t c = in.data[at];
        if (c == '\n') {
            *ret_len = at;
            return RECORD_ENDS;
        }
        if (field_start && c == CSV_QUOTE) {
            at = skip_quotation(in, at);
            if (at == SIZE_MAX)
                return RECORD_QUOTED;
            field_start = false;
            continue;
        }
        field_start = c == (uint8_t)reader->delimiter;
        at++;
    }
    return RECORD_OPEN;
}

/* Content of a field that starts with a quote, into the reader's buffer. ret_next: position behind
 * the field. */
static struct slice unquote_field(struct csv_reader *reader, struct slice record, size_t at,
                                  size_t *ret_next)
{
    struct bytebuf *buf = &reader->unquoted;
    size_t begin = buf->len;
    ASSERT(at < record.len && record.data[at] == CSV_QUOTE);
    size_t end = skip_quotation(record, at);
    ASSERT(end != SIZE_MAX && end >= at + 2);
    for (size_t i = at + 1; i + 1 < end; i++) {
        bytebuf_append_byte(buf, record.data[i]);
        if (record.data[i] == CSV_QUOTE)
            i++; /* the second of a pair */
    }
    size_t next = slice_find_byte(record, (uint8_t)reader->delimiter, end);
    if (next == SIZE_MAX)
        next = record.len;
    /* Text behind the closing quote belongs to the field, as most spreadsheets read it. */
    bytebuf_append(buf, record.data + end, next - end);
    ASSERT(!buf->failed);
    *ret_next = next;
    return slice_sub(bytebuf_slice(buf), begin, SIZE_MAX);
}

/*
 * Room for the whole record is taken first, so that fields that point into the buffer stay where they
 * are (invariant 3).
 */
static enum csv_result cut_fields(struct csv_reader *reader, struct slice record,
                                  struct slice *ret_fields, size_t field_max, size_t *ret_count)
{
    size_t count = 0;
    bytebuf_clear(&reader->unquoted);
    if (!bytebuf_reserve(&reader->unquoted, record.len))
        return csv_bad(reader, "out of memory");
    for (size_t at = 0;; at++) { /* over the delimiter */
        if (count == field_max)
            return csv_bad(reader, "too many fields in a record");
        size_t next;
        if (at < record.len && record.data[at] == CSV_QUOTE) {
            ret_fields[count++] = unquote_field(reader, record, at, &next);
        } else {
            next = slice_find_byte(record, (uint8_t)reader->delimiter, at);
            if (next == SIZE_MAX)
                next = record.len;
            ret_fields[count++] = slice_sub(record, at, next - at);
        }
        ASSERT(next >= at && next <= record.len);
        at = next;
        if (at == record.len)
            break;
    }
    *ret_count = count;
    return CSV_RECORD;
}

static uint64_t count_lines(struct slice text)
{
    uint64_t lines = 0;
    for (size_t at = slice_find_byte(text, '\n', 0); at != SIZE_MAX;
         at = slice_find_byte(text, '\n', at + 1))
        lines++;
    return lines;
}

/* The limit is checked before more input is asked for: an endless record must not collect for ever. */
enum csv_result csv_reader_next(struct csv_reader *reader, struct slice *in, bool last,
                                struct slice *ret_fields, size_t field_max, size_t *ret_count)
{
    ASSERT(field_max > 0 && ret_fields && ret_count);
    ASSERT(reader->record_max > 0); /* initialised */
    *in = slice_sub(*in, skip_empty_lines(reader, *in, last), SIZE_MAX);
    if (in->len == 0)
        return last ? CSV_END : CSV_MORE;
    size_t len;
    enum record_end end = find_record_end(reader, *in, &len);
    if (len > reader->record_max)
        return csv_bad(reader, end == RECORD_QUOTED
                                   ? "a record is too long, or a quote is never closed"
                                   : "a record is too long");
    if (end != RECORD_ENDS && !last)
        return CSV_MORE;
    if (end == RECORD_QUOTED)
        return csv_bad(reader, "a quote is never closed");
    size_t taken = len + (end == RECORD_ENDS);
    struct slice record = slice_sub(*in, 0, len);
    if (len > 0 && record.data[len - 1] == '\r')
        record.len--;
    reader->line = reader->lines_done + 1;
    reader->lines_done += count_lines(slice_sub(*in, 0, taken));
    *in = slice_sub(*in, taken, SIZE_MAX);
    return cut_fields(reader, record, ret_fields, field_max, ret_count);
}

void csv_write_field(struct bytebuf *out, struct slice text, char delimiter)
{
    ASSERT(text.data || text.len == 0);
    ASSERT(delimiter != CSV_QUOTE);
    bool quoted = false;
    for (size_t i = 0; i < text.len && !quoted; i++) {
        uint8_t c = text.data[i];
        quoted = c == CSV_QUOTE || c == (uint8_t)delimiter || c == '\n' || c == '\r';
    }
    if (!quoted) {
        bytebuf_append_slice(out, text);
        return;
    }
    bytebuf_append_byte(out, CSV_QUOTE);
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == CSV_QUOTE)
            bytebuf_append_byte(out, CSV_QUOTE);
        bytebuf_append_byte(out, text.data[i]);
    }
    bytebuf_append_byte(out, CSV_QUOTE);
}

void csv_write_record(struct bytebuf *out, const struct slice *fields, size_t count, char delimiter)
{
    ASSERT(count > 0);
    /* An empty line would be skipped by readers, this one included. */
    if (count == 1 && fields[0].len == 0)
        bytebuf_append_cstr(out, "\"\"");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            bytebuf_append_byte(out, (uint8_t)delimiter);
        csv_write_field(out, fields[i], delimiter);
    }
    bytebuf_append_cstr(out, "\r\n");
}
