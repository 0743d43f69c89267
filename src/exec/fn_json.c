/*
 * Functions on records and arrays, and JSON_PARSE.
 *
 * Records and arrays are views of JSON source that the scanner has checked; reading an element walks that source, and
 * nothing is built. JSON_PARSE checks a text with the strict scanner and then is such a view itself.
 * Invariant: what these functions walk is valid JSON. Ownership: views of the batch. Failure: runtime errors for
 * arguments of the wrong type; JSON_PARSE gives NULL instead.
 */
#include "exec/expr_int.h"

static enum err from_cell(struct exec_ctx *ctx, const struct json_cell *cell,
                          struct value *ret_value)
{
    return vec_cell_value(cell, ctx, ret_value) ? ERR_OK : exec_memory_error(ctx);
}

EXEC_FN(getarrayelement)
{
    struct json_cell cell = {.kind = JSON_KIND_MISSING};
    size_t at = 0;
    int64_t index = 0;

    if (args[0].type != SQL_ARRAY)
        return exec_argument_error(ctx, "getarrayelement", 1, &args[0], "'{array}'");
    enum err err = exec_arg_int(ctx, "getarrayelement", 2, &args[1], &index);
    if (err != ERR_OK || index < 0)
        return err;
    for (int64_t i = 0; i <= index; i++) {
        if (!json_source_next_element(value_slice(&args[0]), &at, &cell))
            return ERR_OK;
    }
    return from_cell(ctx, &cell, ret_value);
}

EXEC_FN(getarraylength)
{
    struct json_cell cell;
    size_t at = 0;
    int64_t length = 0;

    if (args[0].type != SQL_ARRAY)
        return exec_argument_error(ctx, "getarraylength", 1, &args[0], "'{array}'");
    while (json_source_next_element(value_slice(&args[0]), &at, &cell))
        length++;
    *ret_value = value_int(length);
    return ERR_OK;
}

EXEC_FN(getrecordpropertyvalue)
{
    struct slice name;
    struct slice record = value_slice(&args[0]);
    struct json_cell cell = {.kind = JSON_KIND_MISSING};

    if (args[0].type != SQL_RECORD)
        return exec_argument_error(ctx, "getrecordpropertyvalue", 1, &args[0], "'{record}'");
    enum err err = exec_arg_text(ctx, "getrecordpropertyvalue", 2, &args[1], &name);
    if (err != ERR_OK)
        return err;
    if (name.len > 3 && name.data[0] == '"' && name.data[1] == '[' &&
        name.data[name.len - 1] == '"') /* written with the quotes of a name */
        name = slice_sub(name, 1, name.len - 2);
    if (name.len == 0 || name.data[0] != '[') {
        cell = json_source_get(record, name);
        return from_cell(ctx, &cell, ret_value);
    }
    while (name.len > 0 && name.data[0] == '[') { /* a path of escaped parts: [a][b] */
        size_t end = slice_find_byte(name, ']', 0);
        if (end == SIZE_MAX)
            return ERR_OK;
        cell = json_source_get(record, slice_sub(name, 1, end - 1));
        record = cell.kind == JSON_KIND_OBJECT ? slice_make(cell.data, cell.len) : SLICE_NULL;
        name = slice_sub(name, end + 1, name.len);
        if (name.len > 0 && name.data[0] == '.')
            name = slice_sub(name, 1, name.len);
    }
    return from_cell(ctx, &cell, ret_value);
}

/* Checks a text of any JSON kind by scanning it as the one field of an event. The field's value must be all of the
 * text, or the text was more than one value. */
static bool parse_text(struct exec_ctx *ctx, struct slice text, struct json_cell *ret_cell)
{
    struct slice name = SLICE_LIT("v");
    struct json_scan *scan;
    const char *error;
    uint8_t *copy = arena_alloc(ctx->arena, text.len + 8);
    bool ok = false;

    if (copy == NULL)
        return false;
    memcpy(copy, "{\"v\":", 5);
    memcpy(copy + 5, text.data, text.len);
    copy[5 + text.len] = '}';
    scan = json_scan_create(ctx->arena, JSON_LEVEL_STRICT);
    if (scan == NULL)
        return false;
    if (json_scan_want(scan, &name, 1) == 0 &&
        json_scan_begin(scan, slice_make(copy, text.len + 6)))
        ok = json_scan_next(scan, ret_cell, 1, &error) == JSON_STEP_ROW &&
             json_scan_at(scan) == text.len + 6 &&
             json_cell_source(ret_cell).len == slice_trim(text).len;
    json_scan_destroy(scan);
    return ok;
}

EXEC_FN(json_parse)
{
    struct json_cell cell;

    if (args[0].type != SQL_TEXT || !parse_text(ctx, value_slice(&args[0]), &cell))
        return ERR_OK;
    return from_cell(ctx, &cell, ret_value);
}
