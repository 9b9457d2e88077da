/*
 * What payd says on its internal socket, line by line.  docs/interfaces.md
 * describes the protocol.
 */

#include "ngx_pay_keys.h"


ngx_int_t
ngx_pay_keys_line(ngx_uint_t from, struct slice line)
{
    ngx_str_t     serial;
    struct slice  word;

    word = slice_cut(&line, ' ');
    serial = ngx_pay_str(slice_cut(&line, ' '));

    if (serial.len == 0 || serial.len > NGX_PAY_SERIAL_MAX) {
        return NGX_ERROR;
    }

    if (slice_is(word, "KEY") && line.n) {
        ngx_pay_keys_event(from, ngx_pay_feed_key, &serial, line);

    } else if (slice_is(word, "NONE")) {
        ngx_pay_keys_event(from, ngx_pay_feed_none, &serial, SLICE_NULL);

    } else if (slice_is(word, "LATER")) {
        ngx_pay_keys_event(from, ngx_pay_feed_later, &serial, SLICE_NULL);

    } else if (slice_is(word, "CHANGED")) {
        ngx_pay_keys_event(from, ngx_pay_feed_changed, &serial, SLICE_NULL);

    } else {
        return NGX_ERROR;
    }

    return NGX_OK;
}
