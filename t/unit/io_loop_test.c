/* backends/io/loop and log. */
#define _DEFAULT_SOURCE /* strsep */
#include "io_test.h"

#include "backends/io/log.h"
#include "core/json.h"
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

static char order[64];

static void note(char c)
{
    size_t n = strlen(order);

    assert_true(n + 1 < sizeof(order));
    order[n] = c;
    order[n + 1] = '\0';
}

static void on_stop(void *arg)
{
    (void)arg;
    note('S');
    loop_stop(loop);
}

static void on_second(void *arg)
{
    note(*(char *)arg);
    loop_defer(loop, on_stop, NULL);
}

static void on_first(void *arg)
{
    note(*(char *)arg);
    loop_defer(loop, on_second, "3"); /* of the next turn */
}

static void on_plain(void *arg)
{
    note(*(char *)arg);
}

static void test_defer(void **state)
{
    (void)state;
    order[0] = '\0';
    loop_defer(loop, on_first, "1");
    loop_defer(loop, on_plain, "2");
    run_loop(5);
    assert_string_equal(order, "123S");
    for (int i = 0; i < 1000; i++) /* more than the list begins with */
        loop_defer(loop, on_pause_end, NULL);
    run_loop(5);
    order[0] = '\0';
    loop_defer(loop, on_plain, "x"); /* not lost when the loop ends */
    loop_free(loop);
    assert_string_equal(order, "x");
    loop = loop_new();
}

static struct loop_timer *timers[3];

static void on_timer_b(void *arg)
{
    (void)arg;
    note('b');
    loop_timer_clear(timers[2]);
    loop_timer_set(timers[0], 5 * USEC_PER_MSEC);
}

static void on_timer_a(void *arg)
{
    static int64_t first;

    (void)arg;
    note('a');
    if (strcmp(order, "ba") == 0) {
        first = loop_now_us(loop);
        usleep(3000);
        assert_int_equal(loop_now_us(loop), first); /* read once a turn */
        loop_timer_set(timers[0], -5);
    } else {
        assert_true(loop_now_us(loop) - first >= 3000);
        loop_stop(loop);
    }
}

static void test_timers(void **state)
{
    (void)state;
    order[0] = '\0';
    timers[0] = loop_timer_new(loop, on_timer_a, NULL);
    timers[1] = loop_timer_new(loop, on_timer_b, NULL);
    timers[2] = loop_timer_new(loop, on_plain, "c");
    loop_timer_set(timers[0], 1 * USEC_PER_MSEC);
    loop_timer_set(timers[0], 50 * USEC_PER_MSEC); /* moved */
    loop_timer_set(timers[1], 10 * USEC_PER_MSEC);
    loop_timer_set(timers[2], 30 * USEC_PER_MSEC);
    run_loop(5);
    run_for_ms(40);
    assert_string_equal(order, "baa");
    for (int i = 0; i < 3; i++)
        loop_timer_free(timers[i]);
    loop_timer_free(NULL);
}

static void on_raise(void *arg)
{
    (void)arg;
    raise(SIGUSR2);
}

static void test_signal(void **state)
{
    (void)state;
    order[0] = '\0';
    assert_int_equal(loop_signal(loop, SIGUSR2, on_stop, NULL), 0);
    loop_defer(loop, on_raise, NULL);
    run_loop(5);
    assert_string_equal(order, "S");
}

/* ---- log ---- */

static char text[300000];

static size_t read_log(const char *path)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;

    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

static void test_log(void **state)
{
    struct arena a;
    const struct json *v;
    struct json_error err;
    char path[128], moved[128];
    pay_time_t t;
    int64_t n;

    (void)state;
    arena_init(&a, 1 << 20);
    snprintf(path, sizeof(path), "%s/log", folder);
    snprintf(moved, sizeof(moved), "%s/log.1", folder);
    assert_int_equal(log_open(path, "order-1", LOG_INFO), 0);
    log_event(LOG_DEBUG, "not_written", LOG_I("n", 1));
    log_event(LOG_INFO, "paid", LOG_S("order", SLICE("P\"1\n")), LOG_I("fen", -5),
              LOG_S("bytes", slice_n("a\xff\0z", 4)), LOG_S("none", SLICE_NULL));
    assert_int_equal(read_log(path), 0); /* waits for the end of the turn */
    log_event(LOG_ERROR, "broken", LOG_S("why", SLICE("x")));
    assert_true(read_log(path) > 0); /* an error does not */
    *strchr(text, '\n') = '\0';
    assert_int_equal(json_parse(&a, slice_of(text), NULL, &v, &err), 0);
    assert_true(slice_is(json_str(v, "ev"), "paid"));
    assert_true(slice_is(json_str(v, "lvl"), "info"));
    assert_true(slice_is(json_str(v, "proc"), "order-1"));
    assert_true(slice_is(json_str(v, "order"), "P\"1\n"));
    assert_int_equal(json_int64(json_get(v, "fen"), &n), 0);
    assert_int_equal(n, -5);
    assert_int_equal(time_parse_rfc3339(json_str(v, "t"), &t), 0);
    assert_in_range(clock_read_wall() - t, 0, 5 * USEC_PER_SEC);
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(log_reopen(), 0);
    log_event(LOG_NOTICE, "after", LOG_I("n", 2));
    run_for_ms(1);
    read_log(path);
    assert_non_null(strstr(text, "\"ev\":\"after\",\"n\":2}\n"));
    assert_int_equal(log_open("/nowhere/log", "x", LOG_INFO), -1);
    assert_int_equal(log_open(NULL, "test", LOG_ALERT), 0);
    unlink(path);
    unlink(moved);
    arena_release(&a);
}

/* Every line is whole and parses, however long its values are. */
static void test_log_long_lines(void **state)
{
    static char value[5000];
    struct arena a;
    const struct json *v;
    struct json_error err;
    char path[128];
    char *line, *rest = text;
    int lines = 0;

    (void)state;
    arena_init(&a, 16 << 20);
    snprintf(path, sizeof(path), "%s/long", folder);
    assert_int_equal(log_open(path, "x", LOG_INFO), 0);
    for (size_t i = 0; i + 3 <= sizeof(value); i += 3)
        memcpy(value + i, "\xe4\xb8\xad", 3);
    for (int i = 0; i < 20; i++)
        log_event(LOG_INFO, "long", LOG_S("a", slice_n(value, 5000 - (size_t)i)),
                  LOG_S("b", slice_n(value, 2050)), LOG_S("c", slice_n("\x01\x02\x7f", 3)));
    log_flush();
    read_log(path);
    while ((line = strsep(&rest, "\n")) && *line) {
        if (json_parse(&a, slice_of(line), NULL, &v, &err) != 0)
            fail_msg("%s at %zu: %.3000s", err.reason, err.offset, line);
        assert_in_range(json_str(v, "b").n, 2040, 2048);
        lines++;
    }
    assert_int_equal(lines, 20);
    log_open(NULL, "test", LOG_ALERT);
    unlink(path);
    arena_release(&a);
}

static void test_level_names(void **state)
{
    enum log_level level;

    (void)state;
    assert_int_equal(log_level_parse(SLICE("notice"), &level), 0);
    assert_int_equal(level, LOG_NOTICE);
    assert_int_equal(log_level_parse(SLICE("NOTICE"), &level), -1);
    assert_int_equal(log_level_parse(SLICE_NULL, &level), -1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup_loop, teardown_loop)
    const struct CMUnitTest tests[] = {
        T(test_defer), T(test_timers),         T(test_signal),
        T(test_log),   T(test_log_long_lines), T(test_level_names),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup_folder, teardown_folder);
}
