/* Text to tokens (see sql/lexer.h). One pass, no recursion; a bad byte is reported and passed over.
 */
#include "sql/lexer.h"

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

/* Blanks and comments. */
static void skip_blank(struct lexer *lexer)
{
    for (;;) {
        uint8_t byte = peek(lexer, 0);
        if (lexer->at < lexer->text.len &&
            (byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n' || byte == '\f')) {
            advance(lexer, 1);
        } else if (byte == 0xc2 && peek(lexer, 1) == 0xa0) {
            advance(lexer, 2);
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

/* Text up to a closing quote, which doubled stands for itself. The opening one is the current byte.
 */
static void lex_quoted(struct lexer *lexer, enum sql_token_kind kind, uint8_t close)
{
    struct sql_token *token = token_add(lexer, kind);
    if (token == NULL)
        return;
    size_t start = lexer->at;
    size_t end = start + 1;
    size_t len = 0;
    uint8_t *copy = arena_alloc(lexer->arena, lexer->text.len - start + 1);
    if (copy == NULL) {
        lexer->failed = true;
        return;
    }
    for (; end < lexer->text.len; end++) {
        uint8_t byte = lexer->text.data[end];
        if (byte == close) {
            if (end + 1 >= lexer->text.len || lexer->text.data[end + 1] != close)
                break;
            end++;
        }
        copy[len++] = byte;
    }
    if (end >= lexer->text.len) {
        sql_report_error(lexer->report, token->span, NULL, "this %s is not closed",
                         kind == SQL_TOKEN_BRACKET ? "name in brackets" : "text");
        advance(lexer, lexer->text.len - start);
        return;
    }
    advance(lexer, end + 1 - start);
    token->span.len = (uint32_t)(lexer->at - start);
    token->text = slice_make(copy, len);
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
    while (lexer->at + len < lexer->text.len && is_word(peek(lexer, len)))
        len++;
    token->text = slice_sub(lexer->text, lexer->at, len);
    token->span.len = (uint32_t)len;
    advance(lexer, len);
}

static void lex_operator(struct lexer *lexer)
{
    static const char pairs[][3] = {"<=", ">=", "<>", "!=", "!<", "!>", "=="};
    uint8_t byte = peek(lexer, 0);
    uint8_t second = peek(lexer, 1);

    for (unsigned i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        if (byte == (uint8_t)pairs[i][0] && second == (uint8_t)pairs[i][1]) {
            struct sql_token *token = token_add(lexer, SQL_TOKEN_OP);
            if (token == NULL)
                return;
            token->op = (uint32_t)byte | (uint32_t)second << 8;
            token->text = slice_sub(lexer->text, lexer->at, 2);
            token->span.len = 2;
            advance(lexer, 2);
            return;
        }
    }
    if (byte == 0 || strchr("+-*/%&|^~()<>=,.;", byte) == NULL) {
        sql_report_error(lexer->report, here(lexer),
                         byte == '@' ? "the language has no variables" : NULL,
                         "unexpected character '%c'", byte >= 0x20 ? byte : '?');
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
    } else if (is_letter(byte)) {
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
