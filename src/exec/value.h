/*
 * One value of any type, and the rules between two of them: conversion, comparison, arithmetic.
 *
 * The open readings of the language (case of comparisons, what a number against a text means) are
 * decided in value.c and nowhere else.
 */
#ifndef WEIR_EXEC_VALUE_H
#define WEIR_EXEC_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "sql/ast.h"
#include "sql/types.h"

/* Longest text that functions and operators make. */
enum { VALUE_TEXT_MAX = 16 << 20 };

/* Text is UTF-8 without escapes; record and array are valid JSON source. Bytes belong to the batch.
 */
struct value {
    union {
        int64_t i; /* bit, bigint, datetime (ticks) */
        double f;
        const uint8_t *p;
    };
    uint32_t len;
    uint8_t type; /* enum sql_type, never SQL_ANY */
};

static inline struct value value_null(void)
{
    return (struct value){.type = SQL_NULL};
}

static inline struct value value_int(int64_t i)
{
    return (struct value){.i = i, .type = SQL_BIGINT};
}

static inline struct value value_bit(bool bit)
{
    return (struct value){.i = bit, .type = SQL_BIT};
}

static inline struct value value_float(double f)
{
    return (struct value){.f = f, .type = SQL_FLOAT};
}

static inline struct value value_time(int64_t ticks)
{
    return (struct value){.i = ticks, .type = SQL_DATETIME};
}

static inline struct value value_text(struct slice text)
{
    return (struct value){.p = text.data, .len = (uint32_t)text.len, .type = SQL_TEXT};
}

static inline struct slice value_slice(const struct value *value)
{
    return (struct slice){value->p, value->len};
}

static inline bool value_is_number(const struct value *value)
{
    return value->type == SQL_BIGINT || value->type == SQL_FLOAT || value->type == SQL_BIT;
}

/* kind: SQL_EXPR_EQ .. SQL_EXPR_GE. Two-valued: false with a NULL on either side. */
bool value_compare(enum sql_expr_kind kind, const struct value *a, const struct value *b);
/* Order of two texts as predicates see it: without regard to case. */
int value_compare_text(struct slice a, struct slice b);
/* Equal in the sense of "=" for two texts. */
bool value_text_equal(struct slice a, struct slice b);
/* LIKE; escape is a character or 0. */
bool value_like(struct slice text, struct slice pattern, uint32_t escape);
/* PATINDEX: byte offset of the first place where the pattern matches; SIZE_MAX: none. */
size_t value_like_find(struct slice text, struct slice pattern);

/* false: the value has no such form (CAST fails, TRY_CAST gives NULL). Text is made in arena. */
bool value_cast(const struct value *from, enum sql_type to, struct arena *arena,
                struct value *ret_value);
/* Numbers as arithmetic takes them: text is parsed; false: not a number. */
bool value_to_number(const struct value *from, struct value *ret_value);
bool value_to_double(const struct value *from, double *ret_value);
/* Datetime or ISO text. */
bool value_to_time(const struct value *from, int64_t *ret_ticks);
/* + - * / % & | ^ on two values; NULL gives NULL. Errors are runtime errors of the job. */
enum err value_arithmetic(enum sql_expr_kind kind, const struct value *a, const struct value *b,
                          struct arena *arena, struct value *ret_value, struct err_info *info);

/* One code point at *at; moves it. Text is valid UTF-8. */
uint32_t value_utf8_next(struct slice text, size_t *at);
size_t value_utf8_put(uint8_t out[4], uint32_t c);
/* One-character upper and lower case. */
uint32_t value_fold(uint32_t c);
uint32_t value_lower(uint32_t c);

#endif
