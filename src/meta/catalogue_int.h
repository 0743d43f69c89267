/* What the files of the catalogue share. */
#ifndef WEIR_META_CATALOGUE_INT_H
#define WEIR_META_CATALOGUE_INT_H

#include <sqlite3.h>

#include "meta/catalogue.h"

struct sqlite_vfs;

struct catalogue {
    struct sqlite_vfs *vfs;
    struct db *db;
    struct uuid cluster_id;
};

/* Compiles sql, or fills info. */
MUST_CHECK enum err catalogue_prepare(sqlite3 *sqlite, const char *sql, sqlite3_stmt **ret_stmt,
                                      struct err_info *info);
/* Steps once; expects SQLITE_DONE. Finalizes stmt in any case. */
MUST_CHECK enum err catalogue_finish(sqlite3 *sqlite, sqlite3_stmt *stmt, struct err_info *info);
void catalogue_bind(sqlite3_stmt *stmt, int index, struct slice bytes);
/* Bytes of a column, good until the next step. */
struct slice catalogue_column(sqlite3_stmt *stmt, int index);

#endif
