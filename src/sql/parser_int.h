/* What the files of the parser share. */
#ifndef WEIR_SQL_PARSER_INT_H
#define WEIR_SQL_PARSER_INT_H

#include "sql/ast.h"
#include "sql/lexer.h"

enum { SQL_NESTING_MAX = 64, SQL_HEIGHT_MAX = 2000, SQL_ARGS_MAX = 1000, SQL_SELECTS_MAX = 1000 };

struct parser {
    struct sql_token *tokens;
    uint32_t count;
    uint32_t at;
    struct arena *arena;
    struct sql_report *report;
    uint32_t nesting;
    uint32_t selects; /* of the whole script */
    bool failed; /* the current statement has an error: unwind */
};

static inline const struct sql_token *parser_peek(const struct parser *parser, uint32_t ahead)
{
    uint32_t at = parser->at + ahead;
    return &parser->tokens[at < parser->count ? at : parser->count - 1];
}

/* Current token is this keyword (any case). */
bool parser_word(const struct parser *parser, uint32_t ahead, const char *word);
bool parser_op(const struct parser *parser, uint32_t ahead, const char *op);
/* The same, and moves past it. */
bool parser_take_word(struct parser *parser, const char *word);
bool parser_take_op(struct parser *parser, const char *op);
/* Reports when it is not there. */
bool parser_expect_word(struct parser *parser, const char *word);
bool parser_expect_op(struct parser *parser, const char *op, const char *after);
/* An error at a token (the first of a statement counts); always false. */
bool parser_error(struct parser *parser, const struct sql_token *token, const char *hint,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));
/* "X is not supported yet" at the current token. */
bool parser_not_yet(struct parser *parser, const char *construct);
/* Current token is a word that names nothing. */
bool parser_reserved(const struct parser *parser, const struct sql_token *token);
/* An identifier of any spelling; false: reported. what: "an output name" ... */
bool parser_name(struct parser *parser, const char *what, struct slice *ret_name,
                 struct sql_span *ret_span);
/* Span from one token to the one before the current. */
struct sql_span parser_span(const struct parser *parser, struct sql_span from);
/* How a token reads in a message. */
struct slice parser_token_text(const struct parser *parser, const struct sql_token *token);

/* NULL: reported. */
struct sql_expr *parser_expression(struct parser *parser);
/* (query) or query, up to what cannot follow it. NULL: reported. */
struct sql_select *parser_query(struct parser *parser, bool allow_into);

#endif
