/*
 * Switches of whatever can be switched, on the control socket: how they are
 * told, and what may be said about one.
 */

#include "ngx_http_pay_control.h"

#include "core/clock.h"


ngx_uint_t
ngx_http_pay_control_switch(ngx_http_pay_control_call_t *call, ngx_uint_t row,
    ngx_http_pay_switch_t *sw)
{
    ngx_uint_t  state;

    ngx_http_pay_ledger_lock(call->channels->ledger);

    state = call->channels->ledger->states[row];
    *sw = call->channels->ledger->rows[row].sw;

    ngx_http_pay_ledger_unlock(call->channels->ledger);

    return state;
}


void
ngx_http_pay_control_switched(ngx_http_pay_control_call_t *call,
    ngx_uint_t state, ngx_http_pay_switch_t *sw)
{
    char                 at[RFC3339_LEN + 1];
    struct json_writer  *w;

    if (state == 0) {
        return;
    }

    w = &call->w;

    time_format_rfc3339(at, (pay_time_t) sw->at * USEC_PER_SEC);

    json_key(w, "switch");
    json_begin_object(w);
    json_member_str(w, "state",
                    ngx_pay_slice(ngx_http_pay_state_names[state - 1]));
    json_member_str(w, "at", slice_of(at));

    if (sw->uid != NGX_HTTP_PAY_UID_NOBODY) {
        json_member_int64(w, "uid", (int64_t) sw->uid);
    }

    json_member_str_opt(w, "reason", slice_n(sw->reason, sw->len));
    json_end_object(w);
}


/* a reason goes into logs and a file of lines */

static ngx_uint_t
ngx_http_pay_control_plain(struct slice s)
{
    size_t  i;

    for (i = 0; i < s.n; i++) {
        if ((u_char) s.p[i] < 0x20 || s.p[i] == 0x7f) {
            return 0;
        }
    }

    return s.n <= NGX_HTTP_PAY_REASON_MAX;
}


/* one of "on, off" */

static ngx_uint_t
ngx_http_pay_control_among(const char *states, struct slice s)
{
    struct slice  rest;

    rest = slice_of(states);

    while (rest.n) {
        if (slice_eq(slice_trim(slice_cut(&rest, ',')), s)) {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_http_pay_control_state(ngx_http_pay_control_call_t *call,
    const char *states, ngx_uint_t *state, struct slice *reason)
{
    ngx_int_t           n;
    const struct json  *v, *s;

    s = NULL;
    *reason = SLICE_NULL;

    for (v = call->body->child; v; v = v->next) {

        if (slice_is(v->key, "state")) {
            s = v;

        } else if (!slice_is(v->key, "reason")) {
            (void) ngx_http_pay_control_refuse(call,
                                            NGX_HTTP_PAY_CONTROL_FIELD_UNKNOWN,
                                            "state and reason are known", "");
            return NGX_DECLINED;

        } else if (v->type != JSON_STRING
                   || !ngx_http_pay_control_plain(v->text))
        {
            (void) ngx_http_pay_control_refuse(call,
                                            NGX_HTTP_PAY_CONTROL_FIELD_INVALID,
                                            "text of at most 200 bytes without "
                                            "control characters", "/reason");
            return NGX_DECLINED;

        } else {
            *reason = v->text;
        }
    }

    if (s == NULL) {
        (void) ngx_http_pay_control_refuse(call,
                                           NGX_HTTP_PAY_CONTROL_FIELD_MISSING,
                                           NULL, "/state");
        return NGX_DECLINED;
    }

    n = s->type == JSON_STRING ? ngx_http_pay_switch_state(s->text)
                               : NGX_ERROR;

    if (n == NGX_ERROR || !ngx_http_pay_control_among(states, s->text)) {
        (void) ngx_http_pay_control_refuse(call,
                                           NGX_HTTP_PAY_CONTROL_FIELD_INVALID,
                                           states, "/state");
        return NGX_DECLINED;
    }

    *state = n;

    return NGX_OK;
}
