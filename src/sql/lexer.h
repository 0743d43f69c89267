/* Text to tokens. */
#ifndef WEIR_SQL_LEXER_H
#define WEIR_SQL_LEXER_H

#include "sql/report.h"

enum sql_token_kind {
    SQL_TOKEN_END,
    SQL_TOKEN_WORD,    /* identifier or keyword */
    SQL_TOKEN_BRACKET, /* [name] */
    SQL_TOKEN_DOUBLE,  /* "text": name or string, the parser decides */
    SQL_TOKEN_TEXT,    /* 'text' */
    SQL_TOKEN_INT,
    SQL_TOKEN_FLOAT,
    SQL_TOKEN_BIG, /* integer literal beyond 64 bits */
    SQL_TOKEN_OP   /* op holds up to two characters: '<' | '=' << 8 */
};

struct sql_token {
    enum sql_token_kind kind;
    uint32_t op;
    struct sql_span span;
    struct slice text; /* content without quotes and doubled quotes */
    int64_t int_value;
    double float_value;
};

enum { SQL_SCRIPT_MAX = 1 << 20 };

/* Tokens of the whole script, closed by SQL_TOKEN_END. NULL: memory, or the report has errors. */
struct sql_token *sql_lex(struct slice script, struct arena *arena, struct sql_report *report,
                          uint32_t *ret_count);

#endif
