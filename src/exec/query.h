/*
 * A query at work: texts of events in, rows out.
 *
 * Events fill a batch of up to 2,048 rows for each scan of the plan; a full batch, or
 * exec_query_flush, sends it through the plan's nodes and calls back once for each route that has
 * rows. Values are views of the text that was fed, so every text must stay until the next flush has
 * returned.
 *
 * Local runs set `sorted`: then all events are held until exec_query_finish, which orders them by
 * time (arrival breaks ties) and runs them; texts must stay until it returns.
 */
#ifndef WEIR_EXEC_QUERY_H
#define WEIR_EXEC_QUERY_H

#include "base/bytebuf.h"
#include "base/error.h"
#include "codec/json_scan.h"
#include "plan/plan.h"

struct exec_query;
struct exec_rows;

/* The rows of one route from one batch, valid during the call. An error ends the feed with it. */
typedef enum err (*exec_rows_fn)(void *ctx, const struct exec_rows *rows, struct err_info *info);

struct exec_options {
    enum json_level level;
    bool sorted;
    size_t memory_max; /* bytes for the query's state and batches; 0: 1 GiB */
    exec_rows_fn rows;
    void *rows_ctx;
};

/* Since the query was created. */
struct exec_counts {
    uint64_t events;     /* read, good ones */
    uint64_t bad;        /* not readable */
    uint64_t untimed;    /* dropped: TIMESTAMP BY gave no datetime */
    uint64_t undeclared; /* dropped: do not fit CREATE TABLE */
    uint64_t rows;       /* sent to outputs */
    char bad_text[96];   /* what was wrong with the last unreadable event */
};

/* The plan must outlive the query. NULL: info says why. */
struct exec_query *exec_query_create(const struct plan *plan, const struct exec_options *options,
                                     struct err_info *info);
void exec_query_destroy(struct exec_query *query);

/*
 * Feeds the events in text, which arrived at the given time (ticks since 0001-01-01). last: nothing
 * follows that could complete an unfinished event, which is then counted as bad; otherwise
 * *ret_used tells where it begins.
 */
MUST_CHECK enum err exec_query_feed(struct exec_query *query, uint32_t input, struct slice text,
                                    int64_t time, bool last, size_t *ret_used,
                                    struct err_info *info);
MUST_CHECK enum err exec_query_flush(struct exec_query *query, struct err_info *info);
/* The end of all inputs. */
MUST_CHECK enum err exec_query_finish(struct exec_query *query, struct err_info *info);
const struct exec_counts *exec_query_counts(const struct exec_query *query);

uint32_t exec_rows_output(const struct exec_rows *rows);
uint32_t exec_rows_count(const struct exec_rows *rows);
/* Row k (0 .. count - 1) as one JSON object on one line, without its line end. */
MUST_CHECK enum err exec_rows_json(const struct exec_rows *rows, uint32_t k, struct bytebuf *out,
                                   struct err_info *info);
/* All rows, one line each. */
MUST_CHECK enum err exec_rows_json_lines(const struct exec_rows *rows, struct bytebuf *out,
                                         struct err_info *info);

/* The columns of a CSV output: fixed by the query, or by the first row where the query has a star.
 */
struct exec_csv;
struct exec_csv *exec_csv_create(char delimiter);
void exec_csv_destroy(struct exec_csv *csv);
/* Names from a header line written earlier, so that no second one is written. false: memory. */
MUST_CHECK bool exec_csv_resume(struct exec_csv *csv, struct slice header_line);
/* The header line again, for the next file of the same output; nothing while no row has settled the columns. */
void exec_csv_header(const struct exec_csv *csv, struct bytebuf *out);
/* All rows as CSV lines, before the first one the header. */
MUST_CHECK enum err exec_rows_csv(const struct exec_rows *rows, struct exec_csv *csv,
                                  struct bytebuf *out, struct err_info *info);

#endif
