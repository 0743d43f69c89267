/* The known name that an unknown one most likely stands for, for hints in messages. */
#ifndef WEIR_BASE_NEAREST_H
#define WEIR_BASE_NEAREST_H

#include <stddef.h>

/* NULL: none is near enough (a third of the letters and one more may differ). Names above 64 bytes are never near. */
const char *nearest_name(const char *text, const char *const *names, size_t count);

#endif
