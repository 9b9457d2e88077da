/* backends/io/child: what a program says and how it ends is told; none outlives its time. */
#include "io_test.h"

#include "backends/io/child.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

static int ended, status;
static char said[600];

static void on_end(void *arg, int s, struct slice text)
{
    (void)arg;
    ended++;
    status = s;
    snprintf(said, sizeof(said), "%.*s", SLICE_FMT(text));
    loop_stop(loop);
}

static void run_shell(const char *script, int64_t timeout_us)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};

    ended = 0;
    assert_non_null(child_run(loop, argv, timeout_us, on_end, NULL));
    run_loop(60);
    assert_int_equal(ended, 1);
    errno = 0; /* nothing is left to be waited for */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void test_ends(void **state)
{
    (void)state;
    run_shell("exit 0", 50 * USEC_PER_SEC);
    assert_int_equal(status, 0);
    assert_string_equal(said, "");
    run_shell("echo out; echo first >&2; echo the last >&2; echo >&2; exit 3", 50 * USEC_PER_SEC);
    assert_int_equal(status, 3);
    assert_string_equal(said, "the last");
    run_shell("i=0; while [ $i -lt 3000 ]; do echo line $i >&2; i=$((i+1)); done; exit 1",
              50 * USEC_PER_SEC);
    assert_int_equal(status, 1);
    assert_string_equal(said, "line 2999");
    run_shell("kill -9 $$", 50 * USEC_PER_SEC);
    assert_int_equal(status, -1);
}

/* Neither input nor files of ours: reading ends at once, and only 0, 1, 2 are open. */
static void test_inherits_nothing(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    /* asked one by one: a pipe or a folder that the shell reads would be open itself */
    run_shell("read x; i=0; while [ $i -lt 64 ]; do [ -e /proc/$$/fd/$i ] && open=$open$i,; "
              "i=$((i+1)); done; echo $open >&2",
              50 * USEC_PER_SEC);
    assert_string_equal(said, "0,1,2,");
    close(fds[0]);
    close(fds[1]);
}

static void test_no_program(void **state)
{
    const char *argv[] = {"/nowhere/payctl", NULL};

    (void)state;
    ended = 0;
    assert_non_null(child_run(loop, argv, 50 * USEC_PER_SEC, on_end, NULL));
    run_loop(60);
    assert_int_equal(status, 127);
}

static void test_time_is_up(void **state)
{
    (void)state;
    run_shell("exec sleep 1000", 100 * USEC_PER_MSEC);
    assert_int_equal(status, -1);
    run_shell("exec 2>/dev/null; exec sleep 1000",
              100 * USEC_PER_MSEC); /* says no more, but runs */
    assert_int_equal(status, -1);
}

static void test_ended_by_us(void **state)
{
    const char *argv[] = {"/bin/sleep", "1000", NULL};
    struct child *c = child_run(loop, argv, 1000 * USEC_PER_SEC, on_end, NULL);

    (void)state;
    assert_non_null(c);
    ended = 0;
    child_end(c);
    child_end(NULL);
    assert_int_equal(ended, 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup_loop, teardown_loop)
    const struct CMUnitTest tests[] = {
        T(test_ends),       T(test_inherits_nothing), T(test_no_program),
        T(test_time_is_up), T(test_ended_by_us),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
