/* Output of lists: an aligned table, one JSON array, or a JSON object a line. */
#ifndef WEIR_CLI_OUTPUT_H
#define WEIR_CLI_OUTPUT_H

#include <jansson.h>
#include <stddef.h>

#define OUTPUT_FORMATS "table|json|jsonl"

/* rows: an array of objects. columns: the keys to show in a table, in order. Returns the exit
 * status. */
int output_rows(const char *format, const json_t *rows, const char *const *columns, size_t count);
/* One object: key and value a line, nested values as JSON. */
int output_object(const char *format, const json_t *object);

#endif
