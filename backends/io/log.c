/*
 * DESIGN. Lines are collected in one buffer and written once a loop turn: a write for every line
 * would cost more than the line. Errors go out at once, together with what came before them, so
 * that a crash does not take its own explanation along. A log that cannot be written is counted,
 * never waited for: money does not stop for it.
 */
#include "log.h"

#include "core/clock.h"
#include "core/json.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LOG_BUFFER  65536
#define LOG_MAX_STR 2048 /* of one value; the rest is cut */
#define LOG_LINE    16384

#define TIME_TO_SECOND 19 /* 2026-09-01T12:00:00 */

static const char *const level_names[] = {"debug", "info", "notice", "warn", "error", "alert"};
#define LEVELS (sizeof(level_names) / sizeof(level_names[0]))

static struct {
    int fd;
    char *path;
    char process[64];
    enum log_level level;
    struct buf out;
    int64_t lost; /* lines that could not be written */
    bool started;
    int64_t second; /* of `stamp` */
    char stamp[RFC3339_LEN + 1];
} logger = {.fd = STDERR_FILENO, .process = "-", .level = LOG_INFO};

static void on_exit_flush(void)
{
    log_flush();
}

static void start(void)
{
    if (logger.started)
        return;
    logger.started = true;
    buf_init(&logger.out, LOG_BUFFER);
    atexit(on_exit_flush);
}

static int open_path(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}

static void use_fd(int fd)
{
    if (logger.fd != STDERR_FILENO)
        close(logger.fd);
    logger.fd = fd;
}

int log_open(const char *path, const char *process, enum log_level level)
{
    char *copy = path ? strdup(path) : NULL;
    int fd = path ? open_path(path) : STDERR_FILENO;
    size_t n = process ? strnlen(process, sizeof(logger.process) - 1) : 0;

    if (fd < 0 || (path && !copy)) {
        int err = fd < 0 ? errno : ENOMEM;

        if (path && fd >= 0)
            close(fd);
        free(copy);
        errno = err;
        return -1;
    }
    start();
    log_flush();
    use_fd(fd);
    free(logger.path);
    logger.path = copy;
    memcpy(logger.process, process ? process : "", n);
    logger.process[n] = '\0';
    logger.level = level;
    return 0;
}

int log_reopen(void)
{
    int fd;

    log_flush();
    if (!logger.path)
        return 0;
    fd = open_path(logger.path);
    if (fd < 0)
        return -1;
    use_fd(fd);
    return 0;
}

int log_level_parse(struct slice s, enum log_level *out)
{
    for (size_t i = 0; i < LEVELS; i++) {
        if (slice_is(s, level_names[i])) {
            *out = (enum log_level)i;
            return 0;
        }
    }
    return -1;
}

static int64_t count_lines(const char *p, size_t n)
{
    int64_t lines = 0;

    for (size_t i = 0; i < n; i++)
        lines += p[i] == '\n';
    return lines;
}

void log_flush(void)
{
    size_t done = 0;

    while (done < logger.out.n) {
        ssize_t w = write(logger.fd, logger.out.p + done, logger.out.n - done);

        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0) {
            logger.lost += count_lines(logger.out.p + done, logger.out.n - done);
            break;
        }
        done += (size_t)w;
    }
    if (logger.started)
        buf_clear(&logger.out);
}

/* 2026-09-01T12:00:00.123456+08:00; the part to the second is kept, for it changes rarely. */
static void put_time(struct json_writer *w)
{
    pay_time_t now = clock_read_wall();
    int64_t second = now / USEC_PER_SEC;
    char text[RFC3339_LEN + 16], *to;

    if (second != logger.second) {
        time_format_rfc3339(logger.stamp, now);
        logger.second = second;
    }
    memcpy(text, logger.stamp, TIME_TO_SECOND);
    to = text + TIME_TO_SECOND;
    *to++ = '.';
    to = put_digits(to, (uint64_t)(now % USEC_PER_SEC), 6);
    memcpy(to, logger.stamp + TIME_TO_SECOND, sizeof(logger.stamp) - TIME_TO_SECOND);
    json_member_str(w, "t", slice_of(text));
}

/* Bytes from outside may be no UTF-8 or hold a NUL; a log line that no reader can parse would be
 * worth nothing.
 */
static void put_text(struct json_writer *w, struct slice s)
{
    char copy[LOG_MAX_STR];

    if (s.n > LOG_MAX_STR) {
        s.n = LOG_MAX_STR;
        while (s.n > LOG_MAX_STR - 4 && ((unsigned char)s.p[s.n] & 0xc0) == 0x80)
            s.n--; /* not in the middle of a character */
    }
    if (!utf8_valid(s) || (s.n && memchr(s.p, '\0', s.n))) {
        for (size_t i = 0; i < s.n; i++)
            copy[i] = s.p[i] && (unsigned char)s.p[i] < 0x80 ? s.p[i] : '?';
        s.p = copy;
    }
    json_put_str(w, s);
}

static void put_line(struct buf *b, enum log_level level, const char *event,
                     const struct log_field *fields, size_t n)
{
    struct json_writer w;

    json_writer_init(&w, b);
    json_begin_object(&w);
    put_time(&w);
    json_member_str(&w, "lvl", slice_of(level_names[level]));
    json_member_str(&w, "proc", slice_of(logger.process));
    json_member_str(&w, "ev", slice_of(event));
    if (logger.lost)
        json_member_int64(&w, "log_lines_lost", logger.lost);
    for (size_t i = 0; i < n; i++) {
        json_key(&w, fields[i].key);
        if (fields[i].is_int)
            json_put_int64(&w, fields[i].num);
        else
            put_text(&w, fields[i].str);
    }
    json_end_object(&w);
    buf_add_char(b, '\n');
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t n)
{
    size_t before;

    if (level < logger.level || (size_t)level >= LEVELS)
        return;
    start();
    if (logger.out.n > LOG_BUFFER - LOG_LINE)
        log_flush();
    before = logger.out.n;
    put_line(&logger.out, level, event, fields, n);
    if (!buf_ok(&logger.out)) { /* a line longer than all the room: drop it, keep the others */
        logger.out.n = before;
        logger.out.failed = false;
        logger.lost++;
        return;
    }
    logger.lost = 0;
    if (level >= LOG_ERROR)
        log_flush();
}
