#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct journal {
    int fd;
    off_t size;
};

static int read_lines(struct journal *j, const char *path, struct slice text, journal_line *on_line,
                      void *arg, char *err, size_t n)
{
    unsigned long number = 0;

    while (text.n) {
        const char *end = memchr(text.p, '\n', text.n);
        const char *reason = "?";
        size_t len;

        if (!end)
            break; /* torn: the process died while it wrote, nobody was answered */
        len = (size_t)(end - text.p);
        number++;
        if (on_line(arg, slice_n(text.p, len), &reason) < 0) {
            snprintf(err, n, "%s:%lu: %s", path, number, reason);
            return -1;
        }
        text = slice_n(end + 1, text.n - len - 1);
        j->size += (off_t)len + 1;
    }
    return 0;
}

static int load(struct journal *j, const char *path, journal_line *on_line, void *arg, char *err,
                size_t n)
{
    struct stat st;
    void *p;
    int rc;

    if (fstat(j->fd, &st) < 0 || st.st_size == 0)
        return 0;
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, j->fd, 0);
    if (p == MAP_FAILED) {
        snprintf(err, n, "%s:1: cannot map: %s", path, strerror(errno));
        return -1;
    }
    rc = read_lines(j, path, slice_n(p, (size_t)st.st_size), on_line, arg, err, n);
    munmap(p, (size_t)st.st_size);
    if (rc == 0 && j->size != st.st_size && ftruncate(j->fd, j->size) < 0) {
        snprintf(err, n, "%s:1: cannot drop the torn last line: %s", path, strerror(errno));
        return -1;
    }
    return rc;
}

struct journal *journal_open(const char *path, journal_line *on_line, void *arg, char *err,
                             size_t n)
{
    struct journal *j = calloc(1, sizeof(*j));

    if (!j) {
        snprintf(err, n, "%s:1: no memory", path);
        return NULL;
    }
    j->fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (j->fd < 0 || flock(j->fd, LOCK_EX | LOCK_NB) < 0) {
        snprintf(err, n, "%s:1: %s", path,
                 errno == EWOULDBLOCK ? "in use by another paybank" : strerror(errno));
        journal_close(j);
        return NULL;
    }
    if (load(j, path, on_line, arg, err, n) < 0) {
        journal_close(j);
        return NULL;
    }
    return j;
}

void journal_close(struct journal *j)
{
    if (!j)
        return;
    if (j->fd >= 0)
        close(j->fd);
    free(j);
}

int journal_append(struct journal *j, struct slice line)
{
    struct iovec parts[2] = {{(void *)line.p, line.n}, {"\n", 1}};
    ssize_t want = (ssize_t)line.n + 1;
    ssize_t got;

    do
        got = writev(j->fd, parts, 2);
    while (got < 0 && errno == EINTR);
    if (got == want) {
        j->size += want;
        return 0;
    }
    /* Disk full: what was written of the line must not stay in front of the next one. */
    if (got > 0 && ftruncate(j->fd, j->size) < 0)
        abort();
    return -1;
}
