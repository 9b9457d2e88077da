/*
 * print - rows as an aligned table, as `name: value` lines, or as JSON.
 */
#ifndef PAYCTL_PRINT_H
#define PAYCTL_PRINT_H

#include "backends/store/admin.h"
#include "core/json.h"

void print_table(const struct admin_rows *r);
/* The same for text that comes from elsewhere: cells[row * columns + column], the first row names
 * the columns; NULL prints as nothing. */
void print_cells(const char *const *cells, int rows, int columns);
/* One row as lines; NULLs are left out. */
void print_record(const struct admin_rows *r, int row);
/* Array of objects, or the one object when single. */
void print_json(const struct admin_rows *r, bool single);
void rows_to_json(struct json_writer *w, const struct admin_rows *r, bool single);

#endif
