/* The linker's --wrap sends malloc, calloc and realloc through here. */
#include "alloc_fault.h"

#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *data, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *data, size_t size);

static _Thread_local size_t countdown; /* 0: no fault is due */
static _Thread_local bool failed;

static bool fault_due(void)
{
    if (countdown == 0 || --countdown > 0)
        return false;
    failed = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fault_due() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fault_due() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *data, size_t size)
{
    return fault_due() ? NULL : __real_realloc(data, size);
}

void alloc_fault_begin(size_t nth)
{
    countdown = nth;
    failed = false;
}

bool alloc_fault_end(void)
{
    countdown = 0;
    return failed;
}
