/*
 * Text functions.
 *
 * Positions and lengths count UTF-16 code units from 1, as the language's users expect; text is
 * UTF-8 inside. A unit inside a surrogate pair stands for the whole character.
 *
 * Invariants: (1) results are valid UTF-8; (2) none is longer than VALUE_TEXT_MAX, which is a runtime
 * error. Ownership: results in the batch's arena or views of the arguments. Failure: runtime errors
 * only.
 */
#include "base/assert.h"
#include "exec/expr_int.h"

static size_t units_of(uint32_t c)
{
    return c >= 0x10000 ? 2 : 1;
}

static int64_t text_units(struct slice text)
{
    int64_t units = 0;
    size_t at = 0;

    while (at < text.len)
        units += (int64_t)units_of(value_utf8_next(text, &at));
    return units;
}

/* Bytes of the first so many units. */
static size_t text_offset(struct slice text, int64_t units)
{
    size_t at = 0;

    while (at < text.len && units > 0)
        units -= (int64_t)units_of(value_utf8_next(text, &at));
    return at;
}

static struct slice text_range(struct slice text, int64_t from, int64_t units)
{
    size_t start = text_offset(text, from);
    struct slice rest = slice_sub(text, start, text.len);
    return slice_sub(rest, 0, text_offset(rest, units));
}

static enum err text_too_long(struct exec_ctx *ctx, const char *function)
{
    return err_info_set(ctx->info, ERR_SQL_RUNTIME, "%s: the text would be longer than %d bytes",
                        function, VALUE_TEXT_MAX);
}

static enum err negative_length(struct exec_ctx *ctx, const char *function)
{
    return err_info_set(ctx->info, ERR_SQL_RUNTIME, "%s: the length is negative", function);
}

/* The scratch buffer's content as a result. */
static enum err text_finish(struct exec_ctx *ctx, const char *function, struct value *ret_value)
{
    if (ctx->scratch.failed || ctx->scratch.len > VALUE_TEXT_MAX)
        return text_too_long(ctx, function);
    struct slice copy = arena_copy(ctx->arena, bytebuf_slice(&ctx->scratch));
    *ret_value = value_text(copy);
    return copy.data == NULL ? exec_memory_error(ctx) : ERR_OK;
}

EXEC_FN(charindex)
{
    struct slice find;
    struct slice text;
    int64_t start = 1;
    enum err err = exec_arg_text(ctx, "charindex", 1, &args[0], &find);

    if (err == ERR_OK)
        err = exec_arg_text(ctx, "charindex", 2, &args[1], &text);
    if (err == ERR_OK && count == 3)
        err = exec_arg_int(ctx, "charindex", 3, &args[2], &start);
    if (err != ERR_OK)
        return err;
    *ret_value = value_int(0);
    if (find.len == 0)
        return ERR_OK;
    size_t from = start <= 1 ? 0 : text_offset(text, start - 1);
    size_t at = slice_find(text, find, from);
    if (at != SIZE_MAX)
        ret_value->i = text_units(slice_sub(text, 0, at)) + 1;
    return ERR_OK;
}

EXEC_FN(patindex)
{
    struct slice pattern;
    struct slice text;
    enum err err = exec_arg_text(ctx, "patindex", 1, &args[0], &pattern);

    if (err == ERR_OK)
        err = exec_arg_text(ctx, "patindex", 2, &args[1], &text);
    if (err != ERR_OK)
        return err;
    *ret_value = value_int(0);
    if (pattern.len > 8000)
        return err_info_set(ctx->info, ERR_SQL_RUNTIME, "PATINDEX: the pattern is too long");
    size_t at = value_like_find(text, pattern);
    if (at != SIZE_MAX)
        ret_value->i = text_units(slice_sub(text, 0, at)) + 1;
    return ERR_OK;
}

EXEC_FN(regexmatch)
{
    struct slice text;
    struct slice pattern;
    size_t at = 0;
    enum err err = exec_arg_text(ctx, "regexmatch", 1, &args[0], &text);

    if (err == ERR_OK)
        err = exec_arg_text(ctx, "regexmatch", 2, &args[1], &pattern);
    if (err != ERR_OK)
        return err;
    enum regex_result result = regex_search(ctx->regexes, pattern, text, &at);
    if (result == REGEX_MEMORY)
        return exec_memory_error(ctx);
    if (result == REGEX_LIMIT)
        return err_info_set(ctx->info, ERR_SQL_RUNTIME,
                            "REGEXMATCH: the pattern is too large or takes too many steps on a "
                            "text of %zu bytes",
                            text.len);
    *ret_value = value_int(result == REGEX_NONE ? 0 : text_units(slice_sub(text, 0, at)) + 1);
    return ERR_OK;
}

static enum err concat_one(struct exec_ctx *ctx, const struct value *value)
{
    struct value text;

    if (!value_cast(value, SQL_TEXT, ctx->arena, &text))
        return exec_memory_error(ctx);
    bytebuf_append_slice(&ctx->scratch, value_slice(&text));
    return ERR_OK;
}

EXEC_FN(concat)
{
    enum err err = ERR_OK;

    bytebuf_clear(&ctx->scratch);
    for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
        if (args[i].type != SQL_NULL)
            err = concat_one(ctx, &args[i]);
    }
    return err == ERR_OK ? text_finish(ctx, "concat", ret_value) : err;
}

EXEC_FN(concat_ws)
{
    enum err err = ERR_OK;
    bool first = true;

    bytebuf_clear(&ctx->scratch);
    for (uint32_t i = 1; i < count && err == ERR_OK; i++) {
        if (args[i].type == SQL_NULL)
            continue;
        if (!first && args[0].type != SQL_NULL)
            err = concat_one(ctx, &args[0]);
        if (err == ERR_OK)
            err = concat_one(ctx, &args[i]);
        first = false;
    }
    return err == ERR_OK ? text_finish(ctx, "concat_ws", ret_value) : err;
}

EXEC_FN(left)
{
    struct slice text;
    int64_t n = 0;
    enum err err = exec_arg_text(ctx, "left", 1, &args[0], &text);

    if (err == ERR_OK)
        err = exec_arg_int(ctx, "left", 2, &args[1], &n);
    if (err == ERR_OK && n < 0)
        err = negative_length(ctx, "left");
    if (err == ERR_OK)
        *ret_value = value_text(text_range(text, 0, n));
    return err;
}

EXEC_FN(right)
{
    struct slice text;
    int64_t n = 0;
    enum err err = exec_arg_text(ctx, "right", 1, &args[0], &text);

    if (err == ERR_OK)
        err = exec_arg_int(ctx, "right", 2, &args[1], &n);
    if (err == ERR_OK && n < 0)
        err = negative_length(ctx, "right");
    if (err != ERR_OK)
        return err;
    int64_t units = text_units(text);
    *ret_value = value_text(text_range(text, n >= units ? 0 : units - n, units));
    return ERR_OK;
}

EXEC_FN(substring)
{
    struct slice text;
    int64_t start = 0;
    int64_t len = 0;
    enum err err = exec_arg_text(ctx, "substring", 1, &args[0], &text);

    if (err == ERR_OK)
        err = exec_arg_int(ctx, "substring", 2, &args[1], &start);
    if (err == ERR_OK)
        err = exec_arg_int(ctx, "substring", 3, &args[2], &len);
    if (err == ERR_OK && len < 0)
        err = negative_length(ctx, "substring");
    if (err != ERR_OK)
        return err;
    if (start < 1) {
        if (__builtin_add_overflow(start - 1, len, &len) || start == INT64_MIN || len < 0)
            len = 0;
        start = 1;
    }
    *ret_value = value_text(text_range(text, start - 1, len));
    return ERR_OK;
}

EXEC_FN(stuff)
{
    struct slice text;
    struct slice insert;
    int64_t start = 0;
    int64_t len = 0;
    enum err err = exec_arg_text(ctx, "stuff", 1, &args[0], &text);

    if (err == ERR_OK)
        err = exec_arg_int(ctx, "stuff", 2, &args[1], &start);
    if (err == ERR_OK)
        err = exec_arg_int(ctx, "stuff", 3, &args[2], &len);
    if (err == ERR_OK)
        err = exec_arg_text(ctx, "stuff", 4, &args[3], &insert);
    if (err == ERR_OK && len < 0)
        err = negative_length(ctx, "stuff");
    if (err != ERR_OK)
        return err;
    bytebuf_clear(&ctx->scratch);
    start = start < 1 ? 1 : start;
    if (start > text_units(text))
        return text_finish(ctx, "stuff", ret_value);
    size_t from = text_offset(text, start - 1);
    struct slice rest = slice_sub(text, from, text.len);
    size_t gone = text_offset(rest, len);
    bytebuf_append_slice(&ctx->scratch, slice_sub(text, 0, from));
    bytebuf_append_slice(&ctx->scratch, insert);
    bytebuf_append_slice(&ctx->scratch, slice_sub(rest, gone, rest.len));
    return text_finish(ctx, "stuff", ret_value);
}

EXEC_FN(len)
{
    struct slice text;
    enum err err = exec_arg_text(ctx, "len", 1, &args[0], &text);

    if (err != ERR_OK)
        return err;
    while (text.len > 0 && text.data[text.len - 1] == ' ')
        text.len--;
    *ret_value = value_int(text_units(text));
    return ERR_OK;
}

static enum err map_case(struct exec_ctx *ctx, const char *function, const struct value *arg,
                         uint32_t (*map)(uint32_t), struct value *ret_value)
{
    struct slice text;
    size_t at = 0;
    enum err err = exec_arg_text(ctx, function, 1, arg, &text);

    if (err != ERR_OK)
        return err;
    bytebuf_clear(&ctx->scratch);
    while (at < text.len) {
        uint8_t out[4];
        size_t len = value_utf8_put(out, map(value_utf8_next(text, &at)));
        bytebuf_append(&ctx->scratch, out, len);
    }
    return text_finish(ctx, function, ret_value);
}

EXEC_FN(upper)
{
    return map_case(ctx, "upper", &args[0], value_fold, ret_value);
}

EXEC_FN(lower)
{
    return map_case(ctx, "lower", &args[0], value_lower, ret_value);
}

static bool is_space(uint32_t c)
{
    return c == ' ' || (c >= 9 && c <= 13) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

static enum err trim(struct exec_ctx *ctx, const char *function, const struct value *arg,
                     bool front, bool back, struct value *ret_value)
{
    struct slice text;
    size_t start = 0;
    size_t end = 0;
    size_t at = 0;
    bool leading = front;
    enum err err = exec_arg_text(ctx, function, 1, arg, &text);

    if (err != ERR_OK)
        return err;
    while (at < text.len) {
        bool space = is_space(value_utf8_next(text, &at));
        leading &= space;
        if (leading)
            start = at;
        if (!space)
            end = at;
    }
    if (!back)
        end = text.len;
    if (end < start)
        end = start;
    *ret_value = value_text(slice_sub(text, start, end - start));
    return ERR_OK;
}

EXEC_FN(ltrim)
{
    return trim(ctx, "ltrim", &args[0], true, false, ret_value);
}

EXEC_FN(rtrim)
{
    return trim(ctx, "rtrim", &args[0], false, true, ret_value);
}

EXEC_FN(trim)
{
    return trim(ctx, "trim", &args[0], true, true, ret_value);
}

EXEC_FN(nchar)
{
    int64_t c = 0;
    uint8_t bytes[4];
    enum err err = exec_arg_int(ctx, "nchar", 1, &args[0], &c);

    if (err != ERR_OK || c < 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return err;
    struct slice text =
        arena_copy(ctx->arena, slice_make(bytes, value_utf8_put(bytes, (uint32_t)c)));
    *ret_value = value_text(text);
    return text.data == NULL ? exec_memory_error(ctx) : ERR_OK;
}

EXEC_FN(unicode)
{
    struct slice text;
    size_t at = 0;
    enum err err = exec_arg_text(ctx, "unicode", 1, &args[0], &text);

    if (err == ERR_OK && text.len > 0)
        *ret_value = value_int(value_utf8_next(text, &at));
    return err;
}

EXEC_FN(replace)
{
    struct slice text;
    struct slice find;
    struct slice with;
    enum err err = exec_arg_text(ctx, "replace", 1, &args[0], &text);

    if (err == ERR_OK)
        err = exec_arg_text(ctx, "replace", 2, &args[1], &find);
    if (err == ERR_OK)
        err = exec_arg_text(ctx, "replace", 3, &args[2], &with);
    if (err != ERR_OK)
        return err;
    *ret_value = args[0];
    if (find.len == 0)
        return ERR_OK;
    bytebuf_clear(&ctx->scratch);
    size_t from = 0;
    for (size_t at; (at = slice_find(text, find, from)) != SIZE_MAX; from = at + find.len) {
        bytebuf_append_slice(&ctx->scratch, slice_sub(text, from, at - from));
        bytebuf_append_slice(&ctx->scratch, with);
    }
    bytebuf_append_slice(&ctx->scratch, slice_sub(text, from, text.len));
    return text_finish(ctx, "replace", ret_value);
}

EXEC_FN(translate)
{
    struct slice text;
    struct slice from;
    struct slice to;
    size_t at = 0;
    enum err err = exec_arg_text(ctx, "translate", 1, &args[0], &text);

    if (err == ERR_OK)
        err = exec_arg_text(ctx, "translate", 2, &args[1], &from);
    if (err == ERR_OK)
        err = exec_arg_text(ctx, "translate", 3, &args[2], &to);
    if (err != ERR_OK)
        return err;
    if (text_units(from) != text_units(to))
        return err_info_set(ctx->info, ERR_SQL_RUNTIME,
                            "TRANSLATE: the 2nd and 3rd argument differ in length");
    bytebuf_clear(&ctx->scratch);
    while (at < text.len) {
        uint32_t c = value_utf8_next(text, &at);
        size_t from_at = 0;
        size_t to_at = 0;
        uint8_t out[4];
        while (from_at < from.len && to_at < to.len) {
            uint32_t f = value_utf8_next(from, &from_at);
            uint32_t t = value_utf8_next(to, &to_at);
            if (f == c) {
                c = t;
                break;
            }
        }
        bytebuf_append(&ctx->scratch, out, value_utf8_put(out, c));
    }
    return text_finish(ctx, "translate", ret_value);
}

static enum err repeat(struct exec_ctx *ctx, const char *function, struct slice text, int64_t n,
                       struct value *ret_value)
{
    if (n < 0)
        return ERR_OK;
    if (text.len > 0 && n > VALUE_TEXT_MAX / (int64_t)text.len)
        return text_too_long(ctx, function);
    bytebuf_clear(&ctx->scratch);
    for (int64_t i = 0; i < n && text.len > 0; i++)
        bytebuf_append_slice(&ctx->scratch, text);
    return text_finish(ctx, function, ret_value);
}

EXEC_FN(replicate)
{
    struct slice text;
    int64_t n = 0;
    enum err err = exec_arg_text(ctx, "replicate", 1, &args[0], &text);

    if (err == ERR_OK)
        err = exec_arg_int(ctx, "replicate", 2, &args[1], &n);
    return err == ERR_OK ? repeat(ctx, "replicate", text, n, ret_value) : err;
}

EXEC_FN(space)
{
    int64_t n = 0;
    enum err err = exec_arg_int(ctx, "space", 1, &args[0], &n);

    return err == ERR_OK ? repeat(ctx, "space", SLICE_LIT(" "), n, ret_value) : err;
}

EXEC_FN(reverse)
{
    struct slice text;
    size_t at = 0;
    enum err err = exec_arg_text(ctx, "reverse", 1, &args[0], &text);

    if (err != ERR_OK)
        return err;
    uint8_t *out = arena_alloc(ctx->arena, text.len + 1);
    if (out == NULL)
        return exec_memory_error(ctx);
    while (at < text.len) {
        size_t start = at;
        (void)value_utf8_next(text, &at);
        ASSERT(at <= text.len);
        memcpy(out + text.len - at, text.data + start, at - start);
    }
    *ret_value = value_text(slice_make(out, text.len));
    return ERR_OK;
}
