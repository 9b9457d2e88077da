/*
 * clock - time values. Domain code gets `now` passed in and never reads a clock; only backends/io
 * and the edge call clock_read_*. Wall times are microseconds since 1970-01-01 UTC (pay_time_t).
 */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include "buf.h"

typedef int64_t pay_time_t; /* microseconds since 1970 UTC; 0 = not set */

#define USEC_PER_SEC  1000000LL
#define USEC_PER_MSEC 1000LL

/* "2026-09-01T12:00:00+08:00", with optional fraction (cut to microseconds), 'Z' allowed; years
 * 1970..2099 (there and in China), real calendar days, offset mandatory. 0 or -1. */
int time_parse_rfc3339(struct slice s, pay_time_t *out);
/* Always +08:00, seconds; 25 characters. */
#define RFC3339_LEN 25
void time_format_rfc3339(char out[RFC3339_LEN + 1], pay_time_t t);
/* Day in China (+08:00), "20260901"; 8 characters. */
/* v in so many digits, with zeros in front; returns the end. snprintf would take longer than all
 * the rest of a message. */
char *put_digits(char *to, uint64_t v, int digits);
void time_format_day(char out[9], pay_time_t t);
/* China's wall clock without an offset, as channels write it: "20260901120000" (14 characters), or
 * with `marks` "2026-09-01 12:00:00" (19 characters). Reading: 0 or -1; same range as RFC 3339. */
#define TIME_WALL_LEN 19
void time_format_wall(char out[TIME_WALL_LEN + 1], pay_time_t t, bool marks);
int time_parse_wall(struct slice s, bool marks, pay_time_t *out);

pay_time_t clock_read_wall(void); /* CLOCK_REALTIME */
int64_t clock_read_boot_us(void); /* CLOCK_BOOTTIME, microseconds: send_before */
int64_t clock_read_mono_us(void); /* CLOCK_MONOTONIC */

#endif
