/*
 * The list of jobs: statuses gathered shard by shard into one text, then put in order of name.
 *
 *   answer while gathering   {"name":"b",...}{"name":"a",...}...      entries: where each begins and ends
 *   answer at the end        {"jobs":[{"name":"a",...},{"name":"b",...}]}
 *
 * Invariant: entries lie in the answer one behind another. Ownership: the request's, with the shard that has it.
 * Failure: want of memory, or more than ANSWER_MAX, fails the answer's buffer, which the request's end sees.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "connect/jobs_int.h"

struct list_entry {
    size_t at;
    size_t len;
    const uint8_t *text; /* set for sorting */
};

static struct list_entry *entry_new(struct request *request)
{
    if (request->entry_count == request->entry_cap) {
        uint32_t cap = request->entry_cap == 0 ? 64 : request->entry_cap * 2;
        struct list_entry *grown = realloc(request->entries, cap * sizeof(*grown));
        if (grown == NULL)
            return NULL;
        request->entries = grown;
        request->entry_cap = cap;
    }
    return &request->entries[request->entry_count++];
}

void jobs_list_add(struct request *request, const struct job *job)
{
    size_t at = request->answer.len;

    ASSERT(request->verb == REQUEST_LIST);
    if (request->answer.failed)
        return;
    struct list_entry *entry = entry_new(request);
    if (entry == NULL) {
        request->answer.failed = true;
        return;
    }
    job_write_status(job, &request->answer);
    *entry = (struct list_entry){.at = at, .len = request->answer.len - at};
}

/* Each text begins with the name, so that their order is that of the names. */
static int entry_compare(const void *left, const void *right)
{
    const struct list_entry *a = left, *b = right;
    int order = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);

    if (order != 0)
        return order;
    return a->len < b->len ? -1 : a->len > b->len;
}

void jobs_list_finish(struct request *request)
{
    struct bytebuf sorted;

    bytebuf_init(&sorted, ANSWER_MAX);
    bytebuf_append_cstr(&sorted, "{\"jobs\":[");
    sorted.failed |= request->answer.failed;
    for (uint32_t i = 0; i < request->entry_count && !sorted.failed; i++) {
        ASSERT(request->entries[i].at + request->entries[i].len <= request->answer.len);
        request->entries[i].text = request->answer.data + request->entries[i].at;
    }
    if (!sorted.failed && request->entry_count > 1)
        qsort(request->entries, request->entry_count, sizeof(struct list_entry), entry_compare);
    for (uint32_t i = 0; i < request->entry_count && !sorted.failed; i++) {
        if (i > 0)
            bytebuf_append_byte(&sorted, ',');
        bytebuf_append(&sorted, request->entries[i].text, request->entries[i].len);
    }
    bytebuf_append_cstr(&sorted, "]}");
    bytebuf_deinit(&request->answer);
    request->answer = sorted;
    free(request->entries);
    request->entries = NULL;
    request->entry_count = request->entry_cap = 0;
}
