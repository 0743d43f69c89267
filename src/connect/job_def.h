/* A job's definition, from the JSON of connect/jobs.h. */
#ifndef WEIR_CONNECT_JOB_DEF_H
#define WEIR_CONNECT_JOB_DEF_H

#include "base/arena.h"
#include "base/assert.h"
#include "base/error.h"
#include "base/slice.h"

enum { JOB_ENDS_MAX = 60, JOB_NAME_MAX = 128, JOB_DEFINITION_MAX = 2 << 20 };

enum job_start { JOB_START_EARLIEST, JOB_START_LATEST };
enum job_format { JOB_FORMAT_JSON_LINES, JOB_FORMAT_CSV };

struct job_input {
    struct slice name;  /* in the query */
    struct slice topic; /* a hub is a topic */
};

struct job_output {
    struct slice name;
    struct slice topic;     /* empty: a blob */
    struct slice container; /* of a blob */
    struct slice blob;
    enum job_format format;
};

struct job_def {
    struct slice name;
    struct slice query;
    enum job_start start;
    struct job_input inputs[JOB_ENDS_MAX];
    uint32_t input_count;
    struct job_output outputs[JOB_ENDS_MAX];
    uint32_t output_count;
};

/* Copies everything into the arena. ERR_INVALID_CONFIG with a text that names the key. */
MUST_CHECK enum err job_def_parse(struct slice json, struct arena *arena, struct job_def *ret_def,
                                  struct err_info *info);
/* The definition's entry for a name of the query; adds "the topic of that name" when there is none. NULL: too many. */
const struct job_input *job_def_input(struct job_def *def, struct slice name);
const struct job_output *job_def_output(struct job_def *def, struct slice name);

#endif
