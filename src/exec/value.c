/*
 * The rules between values (see exec/value.h).
 *
 * Readings chosen here, in one place: predicates compare text by upper-cased characters in order of
 * UTF-16 units; a number against a text that is no number is false for every operator; a datetime
 * against an unreadable text is unequal and not ordered; any other mixture of kinds likewise.
 *
 * Invariants: (1) no function reads behind a value's length; (2) recursion over JSON source is
 * bounded by the scanner's depth limit. Ownership: text made here lives in the caller's arena.
 * Failure: false or a runtime error.
 */
#include "exec/value.h"

#include <locale.h>
#include <math.h>
#include <wctype.h>

#include "base/assert.h"
#include "base/numtext.h"
#include "codec/json_scan.h"
#include "exec/datetime.h"

uint32_t value_utf8_next(struct slice text, size_t *at)
{
    const uint8_t *p = text.data + *at;
    size_t left = text.len - *at;
    uint8_t first = p[0];

    ASSERT(left > 0);
    if (first < 0xc0 || left < 2) {
        *at += 1;
        return first;
    }
    if (first < 0xe0 || left < 3) {
        *at += 2;
        return (uint32_t)(first & 0x1f) << 6 | (p[1] & 0x3f);
    }
    if (first < 0xf0 || left < 4) {
        *at += 3;
        return (uint32_t)(first & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
    }
    *at += 4;
    return (uint32_t)(first & 0x07) << 18 | (uint32_t)(p[1] & 0x3f) << 12 |
           (uint32_t)(p[2] & 0x3f) << 6 | (p[3] & 0x3f);
}

size_t value_utf8_put(uint8_t out[4], uint32_t c)
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | (c >> 6));
        out[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | (c >> 12));
        out[1] = (uint8_t)(0x80 | ((c >> 6) & 0x3f));
        out[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | (c >> 18));
    out[1] = (uint8_t)(0x80 | ((c >> 12) & 0x3f));
    out[2] = (uint8_t)(0x80 | ((c >> 6) & 0x3f));
    out[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

/* The C library's Unicode tables, independent of the process's locale. */
static locale_t unicode_locale(void)
{
    static locale_t locale;
    locale_t seen = __atomic_load_n(&locale, __ATOMIC_ACQUIRE);

    if (seen != (locale_t)0)
        return seen;
    locale_t made = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (made == (locale_t)0)
        made = newlocale(LC_CTYPE_MASK, "C", (locale_t)0);
    ASSERT(made != (locale_t)0);
    if (!__atomic_compare_exchange_n(&locale, &seen, made, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        freelocale(made);
        return seen;
    }
    return made;
}

uint32_t value_fold(uint32_t c)
{
    if (c < 0x80)
        return c >= 'a' && c <= 'z' ? c - 32 : c;
    return (uint32_t)towupper_l((wint_t)c, unicode_locale());
}

uint32_t value_lower(uint32_t c)
{
    if (c < 0x80)
        return c >= 'A' && c <= 'Z' ? c + 32 : c;
    return (uint32_t)towlower_l((wint_t)c, unicode_locale());
}

/* Rank of a character among UTF-16 texts: those beyond the first plane stand before U+E000. */
static uint32_t utf16_rank(uint32_t c)
{
    if (c >= 0x10000)
        return 0xd800 + 0x200000 + c;
    return c >= 0xe000 ? c + 0x800000 : c;
}

int value_compare_text(struct slice a, struct slice b)
{
    size_t ia = 0;
    size_t ib = 0;

    while (ia < a.len && ib < b.len) {
        uint32_t ca = value_fold(value_utf8_next(a, &ia));
        uint32_t cb = value_fold(value_utf8_next(b, &ib));
        if (ca != cb)
            return utf16_rank(ca) < utf16_rank(cb) ? -1 : 1;
    }
    return (ia < a.len) - (ib < b.len);
}

bool value_text_equal(struct slice a, struct slice b)
{
    if (a.len == b.len && memcmp(a.data, b.data, a.len) == 0)
        return true;
    return value_compare_text(a, b) == 0;
}

static bool holds(enum sql_expr_kind kind, int order)
{
    switch (kind) {
    case SQL_EXPR_EQ:
        return order == 0;
    case SQL_EXPR_NE:
        return order != 0;
    case SQL_EXPR_LT:
        return order < 0;
    case SQL_EXPR_LE:
        return order <= 0;
    case SQL_EXPR_GT:
        return order > 0;
    default:
        ASSERT(kind == SQL_EXPR_GE);
        return order >= 0;
    }
}

/* Order of a bigint and a float without rounding the bigint; 2: not a number. */
static int compare_int_float(int64_t i, double f)
{
    if (isnan(f))
        return 2;
    if (f >= 9223372036854775808.0)
        return -1;
    if (f < -9223372036854775808.0)
        return 1;
    int64_t whole = (int64_t)f;
    if (i != whole)
        return i < whole ? -1 : 1;
    double rest = f - (double)whole;
    return rest > 0 ? -1 : rest < 0 ? 1 : 0;
}

static int compare_numbers(const struct value *a, const struct value *b)
{
    if (a->type == SQL_FLOAT && b->type == SQL_FLOAT) {
        if (isnan(a->f) || isnan(b->f))
            return 2;
        return (a->f > b->f) - (a->f < b->f);
    }
    if (a->type == SQL_FLOAT) {
        int order = compare_int_float(b->i, a->f);
        return order == 2 ? 2 : -order;
    }
    if (b->type == SQL_FLOAT)
        return compare_int_float(a->i, b->f);
    return (a->i > b->i) - (a->i < b->i);
}

static bool number_holds(enum sql_expr_kind kind, const struct value *a, const struct value *b)
{
    int order = compare_numbers(a, b);
    return order == 2 ? kind == SQL_EXPR_NE : holds(kind, order);
}

static bool json_equal(const struct json_cell *a, const struct json_cell *b);

static bool json_number(const struct json_cell *cell, struct value *ret_number)
{
    struct slice text = {cell->data, cell->len};

    if (cell->kind == JSON_KIND_FLOAT) {
        *ret_number = value_float(0);
        return numtext_read_double(text, &ret_number->f);
    }
    *ret_number = value_int(0);
    return cell->kind == JSON_KIND_INT && numtext_read_int64(text, &ret_number->i);
}

static bool json_append_text(const struct json_cell *cell, struct bytebuf *out)
{
    struct slice text = {cell->data, cell->len};

    if (cell->kind != JSON_KIND_TEXT && cell->kind != JSON_KIND_TEXT_ESCAPED)
        return false;
    return json_unescape(text, out) && !out->failed;
}

/* Strings of which one is spelled with escapes: equal in content. */
static bool json_text_equal(const struct json_cell *a, const struct json_cell *b)
{
    struct bytebuf ca;
    struct bytebuf cb;

    bytebuf_init(&ca, (size_t)a->len + 1); /* no escape is shorter than what it stands for */
    bytebuf_init(&cb, (size_t)b->len + 1);
    bool equal = json_append_text(a, &ca) && json_append_text(b, &cb) &&
                 slice_equal(bytebuf_slice(&ca), bytebuf_slice(&cb));
    bytebuf_deinit(&ca);
    bytebuf_deinit(&cb);
    return equal;
}

/* Every field of a has its equal in b. */
static bool json_fields_within(struct slice a, struct slice b, struct bytebuf *scratch,
                               size_t *ret_count)
{
    struct json_cell va;
    struct json_cell vb;
    struct slice name;
    size_t at = 0;

    for (*ret_count = 0; json_source_next_field(a, &at, &name, &va); (*ret_count)++) {
        vb = json_source_get(b, json_name_content(name, scratch));
        if (vb.kind == JSON_KIND_MISSING || !json_equal(&va, &vb))
            return false;
    }
    return true;
}

static bool json_object_equal(struct slice a, struct slice b)
{
    struct bytebuf scratch;
    struct json_cell cell;
    struct slice name;
    size_t at = 0;
    size_t count_a = 0;
    size_t count_b = 0;

    bytebuf_init(&scratch, a.len + 1);
    bool equal = json_fields_within(a, b, &scratch, &count_a);
    bytebuf_deinit(&scratch);
    while (equal && json_source_next_field(b, &at, &name, &cell))
        count_b++;
    return equal && count_a == count_b;
}

static bool json_array_equal(struct slice a, struct slice b)
{
    struct json_cell va;
    struct json_cell vb;
    size_t ia = 0;
    size_t ib = 0;

    for (;;) {
        bool more_a = json_source_next_element(a, &ia, &va);
        bool more_b = json_source_next_element(b, &ib, &vb);
        if (!more_a || !more_b)
            return more_a == more_b;
        if (!json_equal(&va, &vb))
            return false;
    }
}

static bool json_equal(const struct json_cell *a, const struct json_cell *b)
{
    struct slice sa = {a->data, a->len};
    struct slice sb = {b->data, b->len};
    struct value na;
    struct value nb;

    if (a->kind == JSON_KIND_OBJECT && b->kind == JSON_KIND_OBJECT)
        return json_object_equal(sa, sb);
    if (a->kind == JSON_KIND_ARRAY && b->kind == JSON_KIND_ARRAY)
        return json_array_equal(sa, sb);
    if (json_number(a, &na) && json_number(b, &nb))
        return compare_numbers(&na, &nb) == 0;
    if (a->kind == JSON_KIND_TEXT_ESCAPED || b->kind == JSON_KIND_TEXT_ESCAPED)
        return json_text_equal(a, b);
    return a->kind == b->kind && slice_equal(sa, sb);
}

static bool compare_other(enum sql_expr_kind kind, const struct value *a, const struct value *b)
{
    bool equal = false;

    if (a->type == SQL_RECORD && b->type == SQL_RECORD)
        equal = json_object_equal(value_slice(a), value_slice(b));
    else if (a->type == SQL_ARRAY && b->type == SQL_ARRAY)
        equal = json_array_equal(value_slice(a), value_slice(b));
    return kind == SQL_EXPR_EQ ? equal : kind == SQL_EXPR_NE && !equal;
}

bool value_compare(enum sql_expr_kind kind, const struct value *a, const struct value *b)
{
    struct value number;
    int64_t ticks;

    if (a->type == SQL_NULL || b->type == SQL_NULL)
        return false;
    if (value_is_number(a) && value_is_number(b))
        return number_holds(kind, a, b);
    if (a->type == SQL_TEXT && b->type == SQL_TEXT)
        return holds(kind, value_compare_text(value_slice(a), value_slice(b)));
    if (a->type == SQL_DATETIME && b->type == SQL_DATETIME)
        return holds(kind, (a->i > b->i) - (a->i < b->i));
    if (value_is_number(a) && b->type == SQL_TEXT)
        return value_to_number(b, &number) && number_holds(kind, a, &number);
    if (a->type == SQL_TEXT && value_is_number(b))
        return value_to_number(a, &number) && number_holds(kind, &number, b);
    if (a->type == SQL_DATETIME && b->type == SQL_TEXT) {
        if (!datetime_parse(value_slice(b), &ticks))
            return kind == SQL_EXPR_NE;
        return holds(kind, (a->i > ticks) - (a->i < ticks));
    }
    if (a->type == SQL_TEXT && b->type == SQL_DATETIME) {
        if (!datetime_parse(value_slice(a), &ticks))
            return kind == SQL_EXPR_NE;
        return holds(kind, (ticks > b->i) - (ticks < b->i));
    }
    return compare_other(kind, a, b);
}

/* Matches one character against the set behind '['; *at moves behind ']'. false in *ret_ok: no
 * closing bracket. */
static bool like_set(struct slice pattern, size_t *at, uint32_t c, bool *ret_ok)
{
    size_t pos = *at;
    bool negated = pos < pattern.len && pattern.data[pos] == '^';
    bool found = false;

    *ret_ok = false;
    if (negated)
        pos++;
    size_t first = pos;
    while (pos < pattern.len && (pattern.data[pos] != ']' || pos == first)) {
        uint32_t low = value_fold(value_utf8_next(pattern, &pos));
        uint32_t high = low;
        if (pos + 1 < pattern.len && pattern.data[pos] == '-' && pattern.data[pos + 1] != ']') {
            pos++;
            high = value_fold(value_utf8_next(pattern, &pos));
        }
        found |= c >= low && c <= high;
    }
    if (pos >= pattern.len)
        return false;
    *at = pos + 1;
    *ret_ok = true;
    return found != negated;
}

/* One pattern element other than % against one character. */
static bool like_one(struct slice pattern, size_t *at, uint32_t c, uint32_t escape)
{
    size_t start = *at;
    uint32_t p = value_utf8_next(pattern, at);
    bool ok;

    if (escape != 0 && p == escape && *at < pattern.len) {
        p = value_utf8_next(pattern, at);
    } else if (p == '_') {
        return true;
    } else if (p == '[') {
        bool match = like_set(pattern, at, c, &ok);
        if (ok)
            return match;
        *at = start + 1;
    }
    return value_fold(p) == c;
}

bool value_like(struct slice text, struct slice pattern, uint32_t escape)
{
    size_t t = 0;
    size_t p = 0;
    size_t retry_text = SIZE_MAX;
    size_t retry_pattern = 0;

    for (;;) {
        if (p < pattern.len && pattern.data[p] == '%' && escape != '%') {
            p++;
            retry_text = t;
            retry_pattern = p;
            continue;
        }
        if (t >= text.len && p >= pattern.len)
            return true;
        if (t < text.len && p < pattern.len) {
            size_t next = t;
            uint32_t c = value_fold(value_utf8_next(text, &next));
            if (like_one(pattern, &p, c, escape)) {
                t = next;
                continue;
            }
        }
        if (retry_text == SIZE_MAX || retry_text >= text.len)
            return false;
        (void)value_utf8_next(text, &retry_text);
        t = retry_text;
        p = retry_pattern;
    }
}

/* Bytes of the pattern before its first %, which in a set stands for itself. */
static size_t like_run(struct slice pattern)
{
    size_t at = 0;
    bool ok;

    while (at < pattern.len && pattern.data[at] != '%') {
        size_t set = at + 1;
        if (pattern.data[at] == '[') {
            (void)like_set(pattern, &set, 0, &ok);
            at = ok ? set : at + 1;
        } else {
            (void)value_utf8_next(pattern, &at);
        }
    }
    return at;
}

/* The run at *at of the text; moves behind it. */
static bool like_run_matches(struct slice text, size_t *at, struct slice run)
{
    size_t p = 0;

    while (p < run.len) {
        if (*at >= text.len || !like_one(run, &p, value_fold(value_utf8_next(text, at)), 0))
            return false;
    }
    return true;
}

size_t value_like_find(struct slice text, struct slice pattern)
{
    bool floats = pattern.len > 0 && pattern.data[0] == '%';

    while (pattern.len > 1 && pattern.data[0] == '%') /* a lone one matches from the first place */
        pattern = slice_sub(pattern, 1, pattern.len);
    struct slice run = slice_sub(pattern, 0, like_run(pattern));
    struct slice rest = slice_sub(pattern, run.len, pattern.len);
    for (size_t at = 0;; (void)value_utf8_next(text, &at)) {
        size_t end = at;
        if (like_run_matches(text, &end, run)) {
            struct slice behind = slice_sub(text, end, text.len);
            if (rest.len == 0 ? behind.len == 0 : value_like(behind, rest, 0))
                return at;
            if (rest.len > 0) /* what follows % is nowhere behind: a later place has less behind it */
                return SIZE_MAX;
        }
        if (!floats || at >= text.len)
            return SIZE_MAX;
    }
}

bool value_to_number(const struct value *from, struct value *ret_value)
{
    struct slice text;
    double f;
    int64_t i;

    switch (from->type) {
    case SQL_BIGINT:
    case SQL_FLOAT:
        *ret_value = *from;
        return true;
    case SQL_BIT:
        *ret_value = value_int(from->i);
        return true;
    case SQL_TEXT:
        text = slice_trim(value_slice(from));
        if (numtext_read_int64(text, &i)) {
            *ret_value = value_int(i);
            return true;
        }
        if (!numtext_read_double(text, &f) || !isfinite(f))
            return false;
        *ret_value = value_float(f);
        return true;
    default:
        return false;
    }
}

bool value_to_double(const struct value *from, double *ret_value)
{
    struct value number;

    if (!value_to_number(from, &number))
        return false;
    *ret_value = number.type == SQL_FLOAT ? number.f : (double)number.i;
    return true;
}

bool value_to_time(const struct value *from, int64_t *ret_ticks)
{
    if (from->type == SQL_DATETIME) {
        *ret_ticks = from->i;
        return true;
    }
    return from->type == SQL_TEXT && datetime_parse(value_slice(from), ret_ticks);
}

static bool cast_to_text(const struct value *from, struct arena *arena, struct value *ret_value)
{
    char text[DATETIME_TEXT_LEN + NUMTEXT_DOUBLE_MAX];
    size_t len = 0;

    switch (from->type) {
    case SQL_BIT:
    case SQL_BIGINT:
        len = numtext_write_int64(text, from->i);
        break;
    case SQL_FLOAT:
        len = numtext_write_double(text, from->f);
        break;
    case SQL_DATETIME:
        datetime_format(from->i, text);
        len = DATETIME_TEXT_LEN;
        break;
    default: /* text, and record and array by their source */
        *ret_value = *from;
        ret_value->type = SQL_TEXT;
        return true;
    }
    struct slice copy = arena_copy(arena, slice_make(text, len));
    *ret_value = value_text(copy);
    return copy.data != NULL;
}

static bool cast_to_bit(const struct value *from, struct value *ret_value)
{
    struct slice text = from->type == SQL_TEXT ? slice_trim(value_slice(from)) : SLICE_NULL;
    bool bit = false;

    if (from->type == SQL_BIGINT)
        bit = from->i != 0;
    else if (from->type == SQL_FLOAT)
        bit = from->f != 0;
    else if (from->type != SQL_TEXT)
        return false;
    else if (slice_equal_nocase(text, SLICE_LIT("true")) || slice_equal(text, SLICE_LIT("1")))
        bit = true;
    else if (!slice_equal_nocase(text, SLICE_LIT("false")) && !slice_equal(text, SLICE_LIT("0")))
        return false;
    *ret_value = value_bit(bit);
    return true;
}

static bool cast_to_bigint(const struct value *from, struct value *ret_value)
{
    int64_t i;

    if (from->type == SQL_BIT) {
        *ret_value = value_int(from->i);
        return true;
    }
    if (from->type == SQL_FLOAT) {
        if (!(from->f > -9223372036854777856.0 && from->f < 9223372036854775808.0))
            return false;
        *ret_value = value_int((int64_t)from->f);
        return true;
    }
    if (from->type != SQL_TEXT || !numtext_read_int64(slice_trim(value_slice(from)), &i))
        return false;
    *ret_value = value_int(i);
    return true;
}

bool value_cast(const struct value *from, enum sql_type to, struct arena *arena,
                struct value *ret_value)
{
    double f;
    int64_t ticks;

    *ret_value = *from;
    if (from->type == SQL_NULL || from->type == (uint8_t)to)
        return true;
    switch (to) {
    case SQL_BIGINT:
        return cast_to_bigint(from, ret_value);
    case SQL_FLOAT:
        if (!value_to_double(from, &f))
            return false;
        *ret_value = value_float(f);
        return true;
    case SQL_TEXT:
        return cast_to_text(from, arena, ret_value);
    case SQL_DATETIME:
        if (from->type != SQL_TEXT || !datetime_parse(value_slice(from), &ticks))
            return false;
        *ret_value = value_time(ticks);
        return true;
    case SQL_BIT:
        return cast_to_bit(from, ret_value);
    default:
        return false;
    }
}

static enum err overflow(struct err_info *info)
{
    return err_info_set(info, ERR_SQL_RUNTIME, "bigint overflow in arithmetic");
}

static enum err int_arithmetic(enum sql_expr_kind kind, int64_t a, int64_t b,
                               struct value *ret_value, struct err_info *info)
{
    int64_t result = 0;

    switch (kind) {
    case SQL_EXPR_ADD:
        if (__builtin_add_overflow(a, b, &result))
            return overflow(info);
        break;
    case SQL_EXPR_SUB:
        if (__builtin_sub_overflow(a, b, &result))
            return overflow(info);
        break;
    case SQL_EXPR_MUL:
        if (__builtin_mul_overflow(a, b, &result))
            return overflow(info);
        break;
    case SQL_EXPR_DIV:
    case SQL_EXPR_MOD:
        if (b == 0)
            return err_info_set(info, ERR_SQL_RUNTIME, "division by zero");
        if (b == -1) {
            if (kind == SQL_EXPR_DIV && __builtin_sub_overflow(0, a, &result))
                return overflow(info);
            break;
        }
        result = kind == SQL_EXPR_DIV ? a / b : a % b;
        break;
    case SQL_EXPR_BIT_AND:
        result = a & b;
        break;
    case SQL_EXPR_BIT_OR:
        result = a | b;
        break;
    default:
        ASSERT(kind == SQL_EXPR_BIT_XOR);
        result = a ^ b;
        break;
    }
    *ret_value = value_int(result);
    return ERR_OK;
}

static double float_arithmetic(enum sql_expr_kind kind, double a, double b)
{
    switch (kind) {
    case SQL_EXPR_ADD:
        return a + b;
    case SQL_EXPR_SUB:
        return a - b;
    case SQL_EXPR_MUL:
        return a * b;
    case SQL_EXPR_DIV:
        return a / b;
    default:
        ASSERT(kind == SQL_EXPR_MOD);
        return fmod(a, b);
    }
}

static enum err concatenate(const struct value *a, const struct value *b, struct arena *arena,
                            struct value *ret_value, struct err_info *info)
{
    if ((size_t)a->len + b->len > VALUE_TEXT_MAX)
        return err_info_set(info, ERR_SQL_RUNTIME, "+: the text would be longer than %d bytes",
                            VALUE_TEXT_MAX);
    uint8_t *data = arena_alloc(arena, (size_t)a->len + b->len + 1);
    if (data == NULL)
        return err_info_set(info, ERR_SQL_RUNTIME, "out of memory in a concatenation");
    memcpy(data, a->p, a->len);
    memcpy(data + a->len, b->p, b->len);
    *ret_value = value_text(slice_make(data, (size_t)a->len + b->len));
    return ERR_OK;
}

enum err value_arithmetic(enum sql_expr_kind kind, const struct value *a, const struct value *b,
                          struct arena *arena, struct value *ret_value, struct err_info *info)
{
    struct value na;
    struct value nb;
    bool bitwise = kind == SQL_EXPR_BIT_AND || kind == SQL_EXPR_BIT_OR || kind == SQL_EXPR_BIT_XOR;

    *ret_value = value_null();
    if (a->type == SQL_NULL || b->type == SQL_NULL)
        return ERR_OK;
    if (kind == SQL_EXPR_ADD && a->type == SQL_TEXT && b->type == SQL_TEXT)
        return concatenate(a, b, arena, ret_value, info);
    if (!value_to_number(a, &na) || !value_to_number(b, &nb))
        return err_info_set(info, ERR_SQL_RUNTIME,
                            "arithmetic on values of type '%s' and '%s' that are not numbers",
                            sql_type_name((enum sql_type)a->type),
                            sql_type_name((enum sql_type)b->type));
    if (na.type == SQL_BIGINT && nb.type == SQL_BIGINT) {
        enum err err = int_arithmetic(kind, na.i, nb.i, ret_value, info);
        if (bitwise && a->type == SQL_BIT && b->type == SQL_BIT)
            ret_value->type = SQL_BIT;
        return err;
    }
    if (bitwise)
        return err_info_set(info, ERR_SQL_RUNTIME,
                            "bitwise operators take bit and bigint; CAST the float first");
    double fa = na.type == SQL_FLOAT ? na.f : (double)na.i;
    double fb = nb.type == SQL_FLOAT ? nb.f : (double)nb.i;
    *ret_value = value_float(float_arithmetic(kind, fa, fb));
    return ERR_OK;
}
