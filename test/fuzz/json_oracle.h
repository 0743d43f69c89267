/* The reference parser of fuzz_json.c behind names of its own, since their names are alike. */
#ifndef WEIR_TEST_JSON_ORACLE_H
#define WEIR_TEST_JSON_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum oracle_verdict {
    ORACLE_OBJECT,
    ORACLE_OTHER,   /* valid, an array */
    ORACLE_REFUSED, /* not JSON */
    ORACLE_UNSURE   /* refused for a limit of the parser or a matter of taste */
};

enum oracle_kind {
    ORACLE_NONE,
    ORACLE_NULL,
    ORACLE_BOOLEAN,
    ORACLE_INTEGER,
    ORACLE_REAL,
    ORACLE_STRING,
    ORACLE_COMPOUND
};

struct oracle_value {
    enum oracle_kind kind;
    bool boolean;
    int64_t integer;
    double real;
    const char *text;
    size_t len;
};

/* The document; NULL when refused and also when it has equal names. Free with json_oracle_free. */
void *json_oracle_load(const void *text, size_t len, enum oracle_verdict *ret_verdict);
void json_oracle_free(void *document);
size_t json_oracle_fields(void *document);
struct oracle_value json_oracle_get(void *document, const char *name);

#endif
