/* Script to syntax tree. */
#ifndef WEIR_SQL_PARSER_H
#define WEIR_SQL_PARSER_H

#include "sql/ast.h"

/*
 * Parses a whole script. NULL: it has errors, which are in the report (several where statements can
 * be told apart), or memory ran out. What the language has and this version does not execute is an
 * error that names the construct.
 */
struct sql_script *sql_parse(struct slice script, struct arena *arena, struct sql_report *report);
/* The same for one expression, as in tests. */
struct sql_expr *sql_parse_expression(struct slice text, struct arena *arena,
                                      struct sql_report *report);

#endif
