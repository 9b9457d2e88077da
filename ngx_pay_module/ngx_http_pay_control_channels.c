/*
 * Channels on the control socket: what they are, and switching them.
 */

#include "ngx_http_pay_control.h"
#include "ngx_http_pay_switch.h"

#include "core/clock.h"


static struct slice
ngx_http_pay_control_name(ngx_str_t *names, ngx_uint_t i)
{
    return ngx_pay_slice(names[i]);
}


/* the switch of a channel, read at one moment */

static ngx_uint_t
ngx_http_pay_control_switch(ngx_http_pay_control_call_t *call, ngx_uint_t row,
    ngx_http_pay_switch_t *sw)
{
    ngx_uint_t  state;

    ngx_shmtx_lock(&call->channels->shpool->mutex);

    state = call->channels->sh->states[row];
    *sw = call->channels->sh->switches[row];

    ngx_shmtx_unlock(&call->channels->shpool->mutex);

    return state;
}


static void
ngx_http_pay_control_write(ngx_http_pay_control_call_t *call,
    ngx_http_pay_channel_t *ch)
{
    char                         at[RFC3339_LEN + 1];
    ngx_uint_t                   state;
    struct slice                 name;
    struct json_writer          *w;
    ngx_http_pay_switch_t        sw;
    ngx_http_pay_channel_row_t  *row;

    w = &call->w;
    row = ngx_http_pay_channel_row(call->channels, ch);
    state = ngx_http_pay_control_switch(call, ch->row, &sw);
    name = ngx_http_pay_control_name(ngx_http_pay_state_names,
                                     state ? state - 1 : ch->state);

    json_begin_object(w);
    json_member_str(w, "name", ngx_pay_slice(ch->name));
    json_member_str(w, "state", name);
    json_member_str(w, "configured",
                    ngx_http_pay_control_name(ngx_http_pay_state_names,
                                              ch->state));

    if (state) {
        time_format_rfc3339(at, (pay_time_t) sw.at * USEC_PER_SEC);

        json_key(w, "switch");
        json_begin_object(w);
        json_member_str(w, "state", name);
        json_member_str(w, "at", slice_of(at));
        json_member_int64(w, "uid", (int64_t) sw.uid);
        json_member_str_opt(w, "reason", slice_n(sw.reason, sw.len));
        json_end_object(w);
    }

    json_member_int64(w, "in_flight", (int64_t) row->in_flight);
    json_member_int64(w, "in_pay", (int64_t) row->in_pay);
    json_member_int64(w, "cap", (int64_t) ch->cap);
    json_member_int64(w, "pay_cap", (int64_t) ch->pay_cap);
    json_end_object(w);
}


ngx_int_t
ngx_http_pay_control_channels(ngx_http_pay_control_call_t *call)
{
    ngx_uint_t                i;
    ngx_http_pay_channel_t  **chp;

    chp = call->channels->channels.elts;

    json_begin_object(&call->w);
    json_key(&call->w, "channels");
    json_begin_array(&call->w);

    for (i = 0; i < call->channels->channels.nelts; i++) {
        ngx_http_pay_control_write(call, chp[i]);
    }

    json_end_array(&call->w);
    json_end_object(&call->w);

    return NGX_OK;
}


ngx_int_t
ngx_http_pay_control_channel(ngx_http_pay_control_call_t *call)
{
    ngx_http_pay_channel_t  *ch;

    ch = ngx_http_pay_channel_find(call->channels, &call->name);

    if (ch == NULL) {
        return ngx_http_pay_control_refuse(call,
                                          NGX_HTTP_PAY_CONTROL_CHANNEL_UNKNOWN,
                                          NULL, NULL);
    }

    ngx_http_pay_control_write(call, ch);

    return NGX_OK;
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


/* {"state": "on|off|drain|block|config", "reason": "..."} */

static ngx_int_t
ngx_http_pay_control_state(ngx_http_pay_control_call_t *call,
    ngx_uint_t *state, struct slice *reason)
{
    ngx_int_t           n;
    ngx_str_t           name;
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

    if (s->type == JSON_STRING && slice_is(s->text, NGX_HTTP_PAY_SWITCH_CONFIG))
    {
        *state = 0;
        return NGX_OK;
    }

    name = ngx_pay_str(s->text);
    n = ngx_http_pay_name_index(ngx_http_pay_state_names, NGX_HTTP_PAY_STATES,
                                &name);

    if (s->type != JSON_STRING || n == NGX_ERROR) {
        (void) ngx_http_pay_control_refuse(call,
                                           NGX_HTTP_PAY_CONTROL_FIELD_INVALID,
                                           "one of on, off, drain, block, "
                                           "config", "/state");
        return NGX_DECLINED;
    }

    *state = 1 + n;

    return NGX_OK;
}


ngx_int_t
ngx_http_pay_control_set_state(ngx_http_pay_control_call_t *call)
{
    ngx_uint_t               state;
    struct slice             reason;
    ngx_http_pay_channel_t  *ch;

    ch = ngx_http_pay_channel_find(call->channels, &call->name);

    if (ch == NULL) {
        return ngx_http_pay_control_refuse(call,
                                          NGX_HTTP_PAY_CONTROL_CHANNEL_UNKNOWN,
                                          NULL, NULL);
    }

    if (ngx_http_pay_control_state(call, &state, &reason) != NGX_OK) {
        return NGX_OK;
    }

    ngx_http_pay_switch_set(call->channels, ch->row, state, call->uid, reason);

    ngx_http_pay_control_write(call, ch);

    return NGX_OK;
}
