/*
 * journal - the file behind the books: JSON lines, only ever appended to, each written whole before
 * the answer it stands for. No fsync: it survives kill -9 of the process, not a power cut.
 */
#ifndef PAYBANK_JOURNAL_H
#define PAYBANK_JOURNAL_H

#include "core/slice.h"

struct journal;
typedef int journal_line(void *arg, struct slice line, const char **reason);

/*
 * Opens or makes the file, hands every line to on_line and drops a torn last one. A second process
 * on the same file is refused. NULL with "FILE:LINE: reason" in err (size n).
 */
struct journal *journal_open(const char *path, journal_line *on_line, void *arg, char *err,
                             size_t n);
void journal_close(struct journal *j);
/* Adds the newline. 0, or -1: the file is as before. */
int journal_append(struct journal *j, struct slice line);

#endif
