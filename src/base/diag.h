/*
 * Diagnostics: leveled key=value lines on stderr, and a ring of recent events dumped on panic.
 *
 * The core records events at debug level only; the fronts report once per failure, with partition
 * and correlation id. Data never goes through here: stdout belongs to the command's output.
 */
#ifndef WEIR_BASE_DIAG_H
#define WEIR_BASE_DIAG_H

enum diag_level { DIAG_ERROR, DIAG_WARN, DIAG_INFO, DIAG_DEBUG };

void diag_level_set(enum diag_level level);
enum diag_level diag_level_get(void);
/* area: a literal such as "seglog"; format yields key=value pairs. Any thread; one write per line.
 */
void diag(enum diag_level level, const char *area, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Writes the ring to stderr, newest last. Called by weir_panic; allocates nothing. */
void diag_ring_dump(void);

#endif
