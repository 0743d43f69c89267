/*
 * Rows as text: JSON objects and CSV lines.
 *
 * A column that still is what the scanner found is written as its source text; everything else is
 * printed.
 *
 * Invariants: (1) a JSON row stands on one line; (2) a field that an explicit column or another star
 * to the left has produced is not repeated by a star, an explicit column to the right takes the
 * star's place; (3) nothing that
 * is not finite is written. Ownership: the caller's buffer. Failure: a runtime error for a float
 * that is not finite, memory.
 */
#include <math.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/numtext.h"
#include "codec/csv.h"
#include "codec/json_write.h"
#include "exec/datetime.h"
#include "exec/query_int.h"

uint32_t exec_rows_output(const struct exec_rows *rows)
{
    return rows->route->output;
}

uint32_t exec_rows_count(const struct exec_rows *rows)
{
    return rows->sel->count;
}

static enum err not_finite(struct err_info *info)
{
    return err_info_set(info, ERR_SQL_RUNTIME,
                        "a float that is not finite cannot be written to an output");
}

static void write_cell(const struct exec_rows *rows, const struct json_cell *cell,
                       struct bytebuf *out)
{
    struct slice source = json_cell_source(cell);

    if (cell->kind == JSON_KIND_MISSING)
        bytebuf_append_cstr(out, "null");
    else if (rows->level < 12 && (cell->kind == JSON_KIND_TRUE || cell->kind == JSON_KIND_FALSE))
        bytebuf_append_byte(out, cell->kind == JSON_KIND_TRUE ? '1' : '0');
    else if (cell->kind >= JSON_KIND_OBJECT && (memchr(source.data, '\n', source.len) != NULL ||
                                                memchr(source.data, '\r', source.len) != NULL))
        json_write_compact(out, source);
    else
        bytebuf_append_slice(out, source);
}

static enum err write_value(const struct exec_rows *rows, const struct value *value,
                            struct bytebuf *out, struct err_info *info)
{
    char text[DATETIME_TEXT_LEN];

    switch (value->type) {
    case SQL_NULL:
        bytebuf_append_cstr(out, "null");
        break;
    case SQL_BIT:
        bytebuf_append_cstr(out, value->i ? "true" : "false");
        break;
    case SQL_BIGINT:
        json_write_int(out, value->i);
        break;
    case SQL_FLOAT:
        if (!isfinite(value->f))
            return not_finite(info);
        json_write_float(out, value->f);
        break;
    case SQL_DATETIME:
        datetime_format(value->i, text);
        bytebuf_append_byte(out, '"');
        bytebuf_append(out, text, rows->level == 10 ? 23 : DATETIME_TEXT_LEN);
        bytebuf_append_cstr(out, rows->level == 10 ? "Z\"" : "\"");
        break;
    case SQL_TEXT:
        json_write_text(out, value_slice(value));
        break;
    default:
        json_write_compact(out, value_slice(value));
        break;
    }
    return ERR_OK;
}

static enum err write_column(const struct exec_rows *rows, const struct column *column,
                             uint32_t row, struct bytebuf *out, struct err_info *info)
{
    if (column->cells != NULL) {
        write_cell(rows, &column->cells[row], out);
        return ERR_OK;
    }
    struct value value = vec_get(column->vec, row);
    return write_value(rows, &value, out, info);
}

/* One object on its way out. */
struct row_writer {
    const struct exec_rows *rows;
    struct bytebuf *out;
    struct err_info *info;
    uint32_t row;
    bool first;
    uint64_t done[16]; /* explicit fields that a star has given their place, by position */
};

static void row_comma(struct row_writer *writer)
{
    if (!writer->first)
        bytebuf_append_byte(writer->out, ',');
    writer->first = false;
}

static enum err row_column(struct row_writer *writer, uint32_t i)
{
    const struct exec_rows *rows = writer->rows;

    return write_column(rows, rows->columns[rows->route->fields[i].column], writer->row,
                        writer->out, writer->info);
}

static enum err row_field(struct row_writer *writer, uint32_t i)
{
    const struct exec_rows *rows = writer->rows;

    row_comma(writer);
    bytebuf_append_slice(writer->out, rows->labels[i]);
    return row_column(writer, i);
}

/* Explicit field of this name; UINT32_MAX: none. */
static uint32_t explicit_field(const struct plan_route *route, struct slice name)
{
    for (uint32_t i = 0; i < route->field_count; i++) {
        if (!route->fields[i].spread && slice_equal_nocase(route->fields[i].name, name))
            return i;
    }
    return UINT32_MAX;
}

/* The record that field i, a star, spreads in a row; empty: no record. */
static struct slice spread_record(const struct exec_rows *rows, uint32_t i, uint32_t row)
{
    const struct column *column = rows->columns[rows->route->fields[i].column];

    ASSERT(rows->route->fields[i].spread);
    if (column->cells != NULL) {
        const struct json_cell *cell = &column->cells[row];
        return cell->kind == JSON_KIND_OBJECT ? slice_make(cell->data, cell->len) : SLICE_NULL;
    }
    struct value value = vec_get(column->vec, row);
    return value.type == SQL_RECORD ? value_slice(&value) : SLICE_NULL;
}

/* Has a star to the left of field i produced this name in the row? */
static bool spread_before(const struct exec_rows *rows, uint32_t i, uint32_t row, struct slice name)
{
    for (uint32_t k = 0; k < i; k++) {
        if (rows->route->fields[k].spread &&
            json_source_get(spread_record(rows, k, row), name).kind != JSON_KIND_MISSING)
            return true;
    }
    return false;
}

static void row_name(struct row_writer *writer, struct slice name)
{
    bytebuf_append_byte(writer->out, '"');
    for (size_t i = 0; i < name.len; i++) {
        uint8_t byte = name.data[i];
        if (writer->rows->level == 10 && byte >= 'A' && byte <= 'Z')
            byte |= 0x20;
        bytebuf_append_byte(writer->out, byte);
    }
    bytebuf_append_cstr(writer->out, "\":");
}

/* The record in column i, field by field. */
static enum err row_spread(struct row_writer *writer, uint32_t i)
{
    const struct plan_route *route = writer->rows->route;
    struct slice record = spread_record(writer->rows, i, writer->row);
    struct json_cell cell;
    struct slice name;
    size_t at = 0;
    enum err err = ERR_OK;

    while (err == ERR_OK && json_source_next_field(record, &at, &name, &cell)) {
        struct slice content = json_name_content(name, &writer->rows->ctx->scratch);
        uint32_t field = explicit_field(route, content);
        if (spread_before(writer->rows, i, writer->row, content))
            continue;
        if (field == UINT32_MAX) {
            row_comma(writer);
            row_name(writer, name);
            write_cell(writer->rows, &cell, writer->out);
        } else if (field > i && field < 1024 && !((writer->done[field / 64] >> (field % 64)) & 1)) {
            writer->done[field / 64] |= 1ULL << (field % 64);
            if (!route->fields[field].declared) {
                err = row_field(writer, field);
                continue;
            }
            row_comma(writer);
            row_name(writer, name);
            err = row_column(writer, field);
        }
    }
    return err;
}

enum err exec_rows_json(const struct exec_rows *rows, uint32_t k, struct bytebuf *out,
                        struct err_info *info)
{
    const struct plan_route *route = rows->route;
    struct row_writer writer = {rows, out, info, rows->sel->rows[k], true, {0}};
    enum err err = ERR_OK;

    ASSERT(k < rows->sel->count);
    if (route->field_count == 1 && route->fields[0].spread && rows->level == 12) {
        const struct column *column = rows->columns[route->fields[0].column];
        if (column->cells != NULL && column->cells[writer.row].kind == JSON_KIND_OBJECT) {
            write_cell(rows, &column->cells[writer.row], out);
            return ERR_OK;
        }
    }
    bytebuf_append_byte(out, '{');
    for (uint32_t i = 0; i < route->field_count && err == ERR_OK; i++) {
        if (route->fields[i].spread)
            err = row_spread(&writer, i);
        else if (!route->fields[i].declared &&
                 (i >= 1024 || !((writer.done[i / 64] >> (i % 64)) & 1)))
            err = row_field(&writer, i);
    }
    bytebuf_append_byte(out, '}');
    return err;
}

static enum err out_failed(const struct bytebuf *out, struct err_info *info)
{
    if (!out->failed)
        return ERR_OK;
    return err_info_set(info, ERR_SQL_RUNTIME, "the rows of one batch exceed the output buffer");
}

enum err exec_rows_json_lines(const struct exec_rows *rows, struct bytebuf *out,
                              struct err_info *info)
{
    enum err err = ERR_OK;

    for (uint32_t k = 0; k < rows->sel->count && err == ERR_OK; k++) {
        err = exec_rows_json(rows, k, out, info);
        bytebuf_append_byte(out, '\n');
    }
    return err == ERR_OK ? out_failed(out, info) : err;
}

enum { CSV_COLUMNS_MAX = 1024 };

struct exec_csv {
    struct bytebuf names_text; /* all names, one after another */
    size_t ends[CSV_COLUMNS_MAX];
    uint32_t count;
    char delimiter;
    bool known; /* the columns are settled and the header is written */
    struct bytebuf field;
};

struct exec_csv *exec_csv_create(char delimiter)
{
    struct exec_csv *csv = calloc(1, sizeof(*csv));
    if (csv == NULL)
        return NULL;
    csv->delimiter = delimiter;
    bytebuf_init(&csv->names_text, 1 << 20);
    bytebuf_init(&csv->field, 64 << 20);
    return csv;
}

void exec_csv_destroy(struct exec_csv *csv)
{
    if (csv == NULL)
        return;
    bytebuf_deinit(&csv->names_text);
    bytebuf_deinit(&csv->field);
    free(csv);
}

static struct slice csv_name(const struct exec_csv *csv, uint32_t i)
{
    size_t start = i == 0 ? 0 : csv->ends[i - 1];
    return slice_make(csv->names_text.data + start, csv->ends[i] - start);
}

static void csv_add_name(struct exec_csv *csv, struct slice name)
{
    for (uint32_t i = 0; i < csv->count; i++) {
        if (slice_equal(csv_name(csv, i), name))
            return;
    }
    if (csv->count == CSV_COLUMNS_MAX)
        return;
    bytebuf_append_slice(&csv->names_text, name);
    csv->ends[csv->count++] = csv->names_text.len;
}

bool exec_csv_resume(struct exec_csv *csv, struct slice header_line)
{
    struct csv_reader reader;
    struct slice fields[CSV_COLUMNS_MAX];
    size_t count = 0;

    csv_reader_init(&reader, csv->delimiter, 1 << 20);
    if (csv_reader_next(&reader, &header_line, true, fields, CSV_COLUMNS_MAX, &count) ==
        CSV_RECORD) {
        for (size_t i = 0; i < count; i++)
            csv_add_name(csv, fields[i]);
        csv->known = true;
    }
    csv_reader_deinit(&reader);
    return !csv->names_text.failed;
}

void exec_csv_header(const struct exec_csv *csv, struct bytebuf *out)
{
    if (!csv->known)
        return;
    for (uint32_t i = 0; i < csv->count; i++) {
        if (i > 0)
            bytebuf_append_byte(out, (uint8_t)csv->delimiter);
        csv_write_field(out, csv_name(csv, i), csv->delimiter);
    }
    bytebuf_append_cstr(out, "\r\n");
}

/* Names of the columns, from the query and, for a star, from the first row. */
static void csv_settle(struct exec_csv *csv, const struct exec_rows *rows, struct bytebuf *out)
{
    const struct plan_route *route = rows->route;

    for (uint32_t i = 0; i < route->field_count; i++) {
        struct json_cell cell;
        struct slice name;
        size_t at = 0;
        if (!route->fields[i].spread) {
            csv_add_name(csv, route->fields[i].name);
            continue;
        }
        struct slice record = spread_record(rows, i, rows->sel->rows[0]);
        while (json_source_next_field(record, &at, &name, &cell))
            csv_add_name(csv, json_name_content(name, &rows->ctx->scratch));
    }
    csv->known = true;
    exec_csv_header(csv, out);
}

/* Value of the named column in a row; NULL when the row has none. */
static bool csv_value(const struct exec_rows *rows, struct slice name, uint32_t row,
                      struct value *ret_value)
{
    const struct plan_route *route = rows->route;
    uint32_t i = explicit_field(route, name);

    *ret_value = value_null();
    if (i != UINT32_MAX) {
        const struct column *column = rows->columns[route->fields[i].column];
        if (column->cells != NULL)
            return vec_cell_value(&column->cells[row], rows->ctx, ret_value);
        *ret_value = vec_get(column->vec, row);
        return true;
    }
    for (i = 0; i < route->field_count; i++) {
        if (!route->fields[i].spread)
            continue;
        struct json_cell cell = json_source_get(spread_record(rows, i, row), name);
        if (cell.kind != JSON_KIND_MISSING)
            return vec_cell_value(&cell, rows->ctx, ret_value);
    }
    return true;
}

static enum err csv_field(struct exec_csv *csv, const struct value *value, struct bytebuf *out,
                          struct err_info *info)
{
    char text[NUMTEXT_DOUBLE_MAX + DATETIME_TEXT_LEN];
    size_t len = 0;

    switch (value->type) {
    case SQL_NULL:
        return ERR_OK;
    case SQL_BIT:
        bytebuf_append_cstr(out, value->i ? "true" : "false");
        return ERR_OK;
    case SQL_BIGINT:
        len = numtext_write_int64(text, value->i);
        break;
    case SQL_FLOAT:
        if (!isfinite(value->f))
            return not_finite(info);
        len = numtext_write_double(text, value->f);
        break;
    case SQL_DATETIME:
        datetime_format(value->i, text);
        len = DATETIME_TEXT_LEN;
        break;
    case SQL_TEXT:
        csv_write_field(out, value_slice(value), csv->delimiter);
        return ERR_OK;
    default:
        bytebuf_append_cstr(out, value->type == SQL_RECORD ? "Record" : "Array");
        return ERR_OK;
    }
    bytebuf_append(out, text, len);
    return ERR_OK;
}

enum err exec_rows_csv(const struct exec_rows *rows, struct exec_csv *csv, struct bytebuf *out,
                       struct err_info *info)
{
    enum err err = ERR_OK;

    ASSERT(rows->sel->count > 0);
    if (!csv->known)
        csv_settle(csv, rows, out);
    for (uint32_t k = 0; k < rows->sel->count && err == ERR_OK; k++) {
        size_t start = out->len;
        for (uint32_t i = 0; i < csv->count && err == ERR_OK; i++) {
            struct value value;
            if (i > 0)
                bytebuf_append_byte(out, (uint8_t)csv->delimiter);
            if (!csv_value(rows, csv_name(csv, i), rows->sel->rows[k], &value))
                return err_info_set(info, ERR_SQL_RUNTIME, "out of memory");
            err = csv_field(csv, &value, out, info);
        }
        if (csv->count == 1 && out->len == start)
            bytebuf_append_cstr(out, "\"\""); /* an empty line would be no row */
        bytebuf_append_cstr(out, "\r\n");
    }
    return err == ERR_OK ? out_failed(out, info) : err;
}
