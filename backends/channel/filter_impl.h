/* filter_impl - what each filter does to a value; the table of filters is in filter.c. */
#ifndef CHANNEL_FILTER_IMPL_H
#define CHANNEL_FILTER_IMPL_H

#include "filter.h"

typedef int filter_apply_fn(const struct filter_step *step, struct arena *arena, struct value *v);

filter_apply_fn apply_yuan, apply_fen, apply_text, apply_int, apply_time_out, apply_time_in,
    apply_stamp_out, apply_stamp_in, apply_wall_out, apply_wall_in, apply_date, apply_month_day,
    apply_unix_out, apply_unix_in, apply_day, apply_upper, apply_lower, apply_urlenc, apply_hex,
    apply_base64, apply_currency_out, apply_currency_in, apply_millifen, apply_digits, apply_debit,
    apply_abs, apply_times, apply_negate, apply_append, apply_prepend, apply_default, apply_limit,
    apply_cut;

#endif
