/*
 * io_test - what the tests of backends/io share: a loop that gives up after some seconds, a private
 * folder for sockets.
 */
#ifndef IO_TEST_H
#define IO_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/io/loop.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct loop *loop;
static char folder[64];

static inline void on_too_long(void *arg)
{
    (void)arg;
    fprintf(stderr, "# the loop was not stopped in time\n");
    abort();
}

/* Until something calls loop_stop; a test that waits for ever is a failed one. */
static inline void run_loop(int seconds)
{
    struct loop_timer *t = loop_timer_new(loop, on_too_long, NULL);

    loop_timer_set(t, seconds * USEC_PER_SEC);
    assert_int_equal(loop_run(loop), 0);
    loop_timer_free(t);
}

static inline void on_pause_end(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static inline void run_for_ms(int64_t ms)
{
    struct loop_timer *t = loop_timer_new(loop, on_pause_end, NULL);

    loop_timer_set(t, ms * USEC_PER_MSEC);
    assert_int_equal(loop_run(loop), 0);
    loop_timer_free(t);
}

static inline int setup_loop(void **state)
{
    (void)state;
    loop = loop_new();
    return loop ? 0 : -1;
}

static inline int teardown_loop(void **state)
{
    (void)state;
    loop_free(loop);
    loop = NULL;
    return 0;
}

static inline int setup_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/io-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static inline int teardown_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

#endif
