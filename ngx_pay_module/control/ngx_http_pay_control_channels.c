/*
 * Channels on the control socket: what they are, and switching them.
 */

#include "ngx_http_pay_control.h"
#include "ngx_http_pay_switch.h"

#include "ngx_pay_module/channel/ngx_http_pay_health.h"


/* ch is NULL when the channel's block is away */

static void
ngx_http_pay_control_write(ngx_http_pay_control_call_t *call, ngx_uint_t i,
    ngx_http_pay_channel_t *ch)
{
    ngx_uint_t                  state;
    struct slice                name;
    struct json_writer         *w;
    ngx_http_pay_count_t       *count;
    ngx_http_pay_switch_t       sw;
    ngx_http_pay_ledger_row_t  *row;

    w = &call->w;
    count = &call->channels->ledger->counts[i];
    row = &call->channels->ledger->rows[i];
    state = ngx_http_pay_control_switch(call, i, &sw);

    json_begin_object(w);
    json_member_str(w, "name", slice_n(row->name, row->len));

    if (ch) {
        name = ngx_pay_slice(ngx_http_pay_state_names[state ? state - 1
                                                            : ch->state]);
        json_member_str(w, "state", name);
        json_member_str(w, "configured",
                        ngx_pay_slice(ngx_http_pay_state_names[ch->state]));
    }

    ngx_http_pay_control_switched(call, state, &sw);

    json_member_int64(w, "in_flight",
                      (int64_t) count->in_flight);
    json_member_int64(w, "in_pay",
                      (int64_t) count->in_pay);

    json_member_int64(w, "waiting",
                      (int64_t) (count->waiting[0] + count->waiting[1]));

    if (ch) {
        json_member_int64(w, "limit", (int64_t) (ch->shared ? count->limit
                                                            : ch->cap));
        json_member_int64(w, "cap", (int64_t) ch->cap);
        json_member_int64(w, "pay_cap", (int64_t) ch->pay_cap);
        ngx_http_pay_health_member(w, call->channels, ch);
    }

    json_key(w, "kept");
    json_put_bool(w, !call->channels->ledger->unkept);
    json_end_object(w);
}


/* those of the configuration, and those that are switched without being in it */

ngx_int_t
ngx_http_pay_control_channels(ngx_http_pay_control_call_t *call)
{
    ngx_str_t                 name;
    ngx_uint_t                i;
    ngx_http_pay_ledger_t    *l;
    ngx_http_pay_channel_t  **chp, *ch;

    l = call->channels->ledger;
    chp = call->channels->channels.elts;

    json_begin_object(&call->w);
    json_key(&call->w, "channels");
    json_begin_array(&call->w);

    for (i = 0; l && i < call->channels->channels.nelts; i++) {
        ngx_http_pay_control_write(call, chp[i]->row, chp[i]);
    }

    for (i = 0; l && i < NGX_HTTP_PAY_LEDGER_ROWS; i++) {
        name.len = l->rows[i].len;
        name.data = l->rows[i].name;

        ch = name.len ? ngx_http_pay_channel_find(call->channels, &name) : NULL;

        if (name.len && ch == NULL && l->states[i]
            && !ngx_http_pay_switch_is_pool(name.data, name.len))
        {
            ngx_http_pay_control_write(call, i, NULL);
        }
    }

    json_end_array(&call->w);
    json_end_object(&call->w);

    return NGX_OK;
}


/* the row that the path names; NGX_ERROR: none, and refused */

static ngx_int_t
ngx_http_pay_control_row(ngx_http_pay_control_call_t *call,
    ngx_http_pay_channel_t **ch)
{
    ngx_int_t               n;
    ngx_http_pay_ledger_t  *l;

    l = call->channels->ledger;
    *ch = ngx_http_pay_channel_find(call->channels, &call->name);

    if (*ch) {
        return (*ch)->row;
    }

    n = NGX_ERROR;

    if (l && !ngx_http_pay_switch_is_pool(call->name.data, call->name.len)) {
        ngx_http_pay_ledger_lock(l);

        n = ngx_http_pay_ledger_find(l, call->name.data, call->name.len);

        if (n != NGX_ERROR && l->states[n] == 0) {
            n = NGX_ERROR;
        }

        ngx_http_pay_ledger_unlock(l);
    }

    if (n == NGX_ERROR) {
        (void) ngx_http_pay_control_refuse(call,
                                          NGX_HTTP_PAY_CONTROL_CHANNEL_UNKNOWN,
                                          NULL, NULL);
    }

    return n;
}


ngx_int_t
ngx_http_pay_control_channel(ngx_http_pay_control_call_t *call)
{
    ngx_int_t                n;
    ngx_http_pay_channel_t  *ch;

    n = ngx_http_pay_control_row(call, &ch);

    if (n != NGX_ERROR) {
        ngx_http_pay_control_write(call, n, ch);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_pay_control_set_state(ngx_http_pay_control_call_t *call)
{
    ngx_int_t                n;
    ngx_uint_t               state;
    struct slice             reason;
    ngx_http_pay_channel_t  *ch;

    n = ngx_http_pay_control_row(call, &ch);

    if (n == NGX_ERROR
        || ngx_http_pay_control_state(call, "on, off, drain, block, config",
                                      &state, &reason) != NGX_OK)
    {
        return NGX_OK;
    }

    /* "kept" in the answer tells what became of the file */

    (void) ngx_http_pay_switch_set(call->channels, n, state, call->uid,
                                   reason);

    ngx_http_pay_control_write(call, n, ch);

    return NGX_OK;
}
