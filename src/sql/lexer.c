/* Text to tokens (see sql/lexer.h). One pass, no recursion; a bad byte is reported and passed over.
 */
#include "sql/lexer.h"

#include <math.h>

#include "base/assert.h"
#include "base/numtext.h"
#include "base/utf8.h"

struct lexer {
    struct slice text;
    size_t at;
    uint32_t line;
    uint32_t column;
    struct arena *arena;
    struct sql_report *report;
    struct sql_token *tokens;
    uint32_t count;
    uint32_t cap;
    bool failed;
};

static uint8_t peek(const struct lexer *lexer, size_t ahead)
{
    return lexer->at + ahead < lexer->text.len ? lexer->text.data[lexer->at + ahead] : 0;
}

static void advance(struct lexer *lexer, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        uint8_t byte = lexer->text.data[lexer->at++];
        if (byte == '\n') {
            lexer->line++;
            lexer->column = 1;
        } else if ((byte & 0xc0) != 0x80) {
            lexer->column++;
        }
    }
}

static bool is_letter(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_' ||
           byte >= 0x80;
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_word(uint8_t byte)
{
    return is_letter(byte) || is_digit(byte) || byte == '@' || byte == '#' || byte == '$';
}

static struct sql_span here(const struct lexer *lexer)
{
    return (struct sql_span){(uint32_t)lexer->at, 1, lexer->line, lexer->column};
}

static struct sql_token *token_add(struct lexer *lexer, enum sql_token_kind kind)
{
    if (lexer->count == lexer->cap) {
        uint32_t cap = lexer->cap * 2 + 64;
        struct sql_token *tokens = ARENA_ARRAY(lexer->arena, struct sql_token, cap);
        if (tokens == NULL) {
            lexer->failed = true;
            return NULL;
        }
        if (lexer->count > 0)
            memcpy(tokens, lexer->tokens, lexer->count * sizeof(*tokens));
        lexer->tokens = tokens;
        lexer->cap = cap;
    }
    struct sql_token *token = &lexer->tokens[lexer->count++];
    token->kind = kind;
    token->span = here(lexer);
    return token;
}

/* Bytes of the blank that stands ahead, 0: none. Scripts copied from web pages hold Unicode's too. */
static size_t blank_len(const struct lexer *lexer, size_t ahead)
{
    static const char *const wide[] = {"\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\xa8", "\xe2\x80\xa9",
                                       "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80", "\xef\xbb\xbf"};
    uint8_t byte = peek(lexer, ahead);

    if (lexer->at + ahead >= lexer->text.len)
        return 0;
    if (byte < 0x80)
        return byte == ' ' || (byte >= '\t' && byte <= '\r');
    if (byte == 0xe2 && peek(lexer, ahead + 1) == 0x80 && peek(lexer, ahead + 2) <= 0x8b)
        return 3; /* U+2000 .. U+200B */
    for (unsigned i = 0; i < sizeof(wide) / sizeof(wide[0]); i++) {
        size_t len = strlen(wide[i]);
        struct slice here = slice_sub(lexer->text, lexer->at + ahead, len);
        if (slice_equal(here, slice_make(wide[i], len)))
            return len;
    }
    return 0;
}

/* Blanks and comments. */
static void skip_blank(struct lexer *lexer)
{
    for (;;) {
        uint8_t byte = peek(lexer, 0);
        size_t blank = blank_len(lexer, 0);
        if (blank > 0) {
            advance(lexer, blank);
        } else if (byte == '-' && peek(lexer, 1) == '-') {
            while (lexer->at < lexer->text.len && peek(lexer, 0) != '\n')
                advance(lexer, 1);
        } else if (byte == '/' && peek(lexer, 1) == '*') {
            struct sql_span start = here(lexer);
            size_t end = slice_find(lexer->text, SLICE_LIT("*/"), lexer->at + 2);
            if (end == SIZE_MAX)
                sql_report_error(lexer->report, start, "close it with */",
                                 "this comment does not end");
            advance(lexer, (end == SIZE_MAX ? lexer->text.len : end + 2) - lexer->at);
        } else {
            return;
        }
    }
}

/* The closing quote behind start, or the end of the script; counts the doubled ones before it. */
static size_t quoted_end(const struct lexer *lexer, size_t start, uint8_t close, size_t *ret_doubled)
{
    struct slice text = lexer->text;
    size_t at = start + 1;

    for (*ret_doubled = 0; at < text.len; at++) {
        if (text.data[at] != close)
            continue;
        if (at + 1 >= text.len || text.data[at + 1] != close)
            break;
        (*ret_doubled)++;
        at++;
    }
    return at;
}

/* Content between quotes: a view, unless doubled ones have to become single. */
static struct slice quoted_content(struct lexer *lexer, size_t start, size_t end, uint8_t close,
                                   size_t doubled)
{
    struct slice content = slice_sub(lexer->text, start + 1, end - start - 1);
    size_t len = 0;

    if (doubled == 0)
        return content;
    uint8_t *copy = arena_alloc(lexer->arena, content.len);
    if (copy == NULL) {
        lexer->failed = true;
        return SLICE_NULL;
    }
    for (size_t i = 0; i < content.len; i++) {
        copy[len++] = content.data[i];
        i += content.data[i] == close;
    }
    ASSERT(len == content.len - doubled);
    return slice_make(copy, len);
}

/* Text up to a closing quote, which doubled stands for itself. The opening one is the current byte.
 */
static void lex_quoted(struct lexer *lexer, enum sql_token_kind kind, uint8_t close)
{
    struct sql_token *token = token_add(lexer, kind);
    size_t start = lexer->at;
    size_t doubled;

    if (token == NULL)
        return;
    size_t end = quoted_end(lexer, start, close, &doubled);
    if (end >= lexer->text.len) {
        sql_report_error(lexer->report, token->span, NULL, "this %s is not closed",
                         kind == SQL_TOKEN_BRACKET ? "name in brackets" : "text");
        advance(lexer, lexer->text.len - start);
        return;
    }
    token->text = quoted_content(lexer, start, end, close, doubled);
    if (kind == SQL_TOKEN_BRACKET && token->text.len == 0)
        sql_report_error(lexer->report, token->span, NULL, "this name is empty");
    advance(lexer, end + 1 - start);
    token->span.len = (uint32_t)(lexer->at - start);
}

static void lex_number(struct lexer *lexer)
{
    struct sql_token *token = token_add(lexer, SQL_TOKEN_INT);
    size_t len = 0;
    bool fraction = false;

    if (token == NULL)
        return;
    while (is_digit(peek(lexer, len)))
        len++;
    if (peek(lexer, len) == '.') {
        fraction = true;
        len++;
        while (is_digit(peek(lexer, len)))
            len++;
    }
    if ((peek(lexer, len) | 0x20) == 'e') {
        size_t digits = len + 1;
        if (peek(lexer, digits) == '+' || peek(lexer, digits) == '-')
            digits++;
        if (is_digit(peek(lexer, digits))) {
            fraction = true;
            len = digits;
            while (is_digit(peek(lexer, len)))
                len++;
        }
    }
    token->text = slice_sub(lexer->text, lexer->at, len);
    if (fraction) {
        token->kind = SQL_TOKEN_FLOAT;
        if (!numtext_read_double(token->text, &token->float_value))
            sql_report_error(lexer->report, token->span, NULL, "'%.*s' is not a number",
                             SLICE_FMT(token->text));
        else if (!isfinite(token->float_value))
            sql_report_error(lexer->report, token->span, NULL,
                             "the number is too large for a float");
    } else if (!numtext_read_int64(token->text, &token->int_value)) {
        token->kind = SQL_TOKEN_BIG;
    }
    advance(lexer, len);
    token->span.len = (uint32_t)len;
    if (is_letter(peek(lexer, 0)))
        sql_report_error(lexer->report, here(lexer), "names that begin with a digit need brackets",
                         "a letter stands right behind a number");
}

static void lex_word(struct lexer *lexer)
{
    struct sql_token *token = token_add(lexer, SQL_TOKEN_WORD);
    size_t len = 0;

    if (token == NULL)
        return;
    while (lexer->at + len < lexer->text.len && is_word(peek(lexer, len)) &&
           (peek(lexer, len) < 0x80 || blank_len(lexer, len) == 0))
        len++;
    ASSERT(len > 0);
    token->text = slice_sub(lexer->text, lexer->at, len);
    token->span.len = (uint32_t)len;
    advance(lexer, len);
}

/* What people of other languages write, and what this one has instead. */
static bool refuse_foreign(struct lexer *lexer, uint8_t byte, uint8_t second)
{
    static const struct {
        const char *text;
        const char *hint;
    } rows[] = {{"&&", "write AND"},
                {"||", "write OR, or + or CONCAT for texts"},
                {"=>", "write >="},
                {"=<", "write <="},
                {"!", "write NOT"},
                {"@", "the language has no variables"},
                {"`", "names are quoted with [brackets]"}};

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *text = rows[i].text;
        if (byte != (uint8_t)text[0] || (text[1] != 0 && second != (uint8_t)text[1]))
            continue;
        struct sql_span span = here(lexer);
        span.len = (uint32_t)strlen(text);
        sql_report_error(lexer->report, span, rows[i].hint, "%s is not part of the language", text);
        advance(lexer, span.len);
        while (byte == '@' && is_word(peek(lexer, 0)))
            advance(lexer, 1);
        return true;
    }
    return false;
}

static bool lex_pair(struct lexer *lexer, uint8_t byte, uint8_t second)
{
    static const char pairs[][3] = {"<=", ">=", "<>", "!=", "!<", "!>", "=="};

    for (unsigned i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        if (byte != (uint8_t)pairs[i][0] || second != (uint8_t)pairs[i][1])
            continue;
        struct sql_token *token = token_add(lexer, SQL_TOKEN_OP);
        if (token != NULL) {
            token->op = (uint32_t)byte | (uint32_t)second << 8;
            token->text = slice_sub(lexer->text, lexer->at, 2);
            token->span.len = 2;
            advance(lexer, 2);
        }
        return true;
    }
    return false;
}

static void lex_operator(struct lexer *lexer)
{
    uint8_t byte = peek(lexer, 0);
    uint8_t second = peek(lexer, 1);

    if (lex_pair(lexer, byte, second) || refuse_foreign(lexer, byte, second))
        return;
    if (byte == 0 || strchr("+-*/%&|^~()<>=,.;", byte) == NULL) {
        if (byte > 0x20 && byte < 0x7f)
            sql_report_error(lexer->report, here(lexer), NULL, "unexpected character '%c'", byte);
        else
            sql_report_error(lexer->report, here(lexer), NULL, "unexpected character 0x%02x", byte);
        advance(lexer, 1);
        return;
    }
    struct sql_token *token = token_add(lexer, SQL_TOKEN_OP);
    if (token == NULL)
        return;
    token->op = byte;
    token->text = slice_sub(lexer->text, lexer->at, 1);
    advance(lexer, 1);
}

/* A name or number ends right here, so that a dot continues it. */
static bool behind_name(const struct lexer *lexer)
{
    if (lexer->count == 0)
        return false;
    const struct sql_token *last = &lexer->tokens[lexer->count - 1];
    return last->kind != SQL_TOKEN_OP && last->span.offset + last->span.len == lexer->at;
}

static void lex_one(struct lexer *lexer)
{
    uint8_t byte = peek(lexer, 0);

    if (byte == '\'') {
        lex_quoted(lexer, SQL_TOKEN_TEXT, '\'');
    } else if ((byte == 'N' || byte == 'n') && peek(lexer, 1) == '\'') {
        advance(lexer, 1);
        lex_quoted(lexer, SQL_TOKEN_TEXT, '\'');
    } else if (byte == '"') {
        lex_quoted(lexer, SQL_TOKEN_DOUBLE, '"');
    } else if (byte == '[') {
        lex_quoted(lexer, SQL_TOKEN_BRACKET, ']');
    } else if (is_digit(byte) || (byte == '.' && is_digit(peek(lexer, 1)) && !behind_name(lexer))) {
        lex_number(lexer);
    } else if (is_letter(byte)) { /* blanks have been passed over */
        lex_word(lexer);
    } else {
        lex_operator(lexer);
    }
}

/* The byte at `bad` ends the valid UTF-8: names and texts of a script go into outputs, so all of it
 * must be text. */
static void report_not_text(struct lexer *lexer, size_t bad)
{
    ASSERT(bad < lexer->text.len);
    for (; lexer->at < bad; lexer->at++) {
        uint8_t c = lexer->text.data[lexer->at];
        if (c == '\n') {
            lexer->line++;
            lexer->column = 1;
        } else if ((c & 0xc0) != 0x80) {
            lexer->column++;
        }
    }
    sql_report_error(lexer->report, here(lexer), "save the script as UTF-8",
                     "the script is not valid UTF-8");
}

struct sql_token *sql_lex(struct slice script, struct arena *arena, struct sql_report *report,
                          uint32_t *ret_count)
{
    struct lexer lexer = {.text = script, .line = 1, .column = 1, .arena = arena, .report = report};

    if (script.len > SQL_SCRIPT_MAX) {
        sql_report_error(report, here(&lexer), NULL, "the script is longer than %d bytes",
                         SQL_SCRIPT_MAX);
        return NULL;
    }
    size_t valid = utf8_valid_prefix(script);
    if (valid < script.len) {
        report_not_text(&lexer, valid);
        return NULL;
    }
    if (slice_starts_with(script, SLICE_LIT("\xef\xbb\xbf")))
        lexer.at = 3;
    for (skip_blank(&lexer); lexer.at < script.len && !lexer.failed; skip_blank(&lexer)) {
        size_t before = lexer.at;
        lex_one(&lexer);
        ASSERT(lexer.at > before || lexer.failed);
    }
    if (!lexer.failed)
        token_add(&lexer, SQL_TOKEN_END);
    if (lexer.failed || report->errors > 0)
        return NULL;
    *ret_count = lexer.count;
    return lexer.tokens;
}
