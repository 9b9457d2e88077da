/*
 * The keys of "when" lines.
 */

#ifndef _NGX_HTTP_PAY_WHEN_VALUES_H_INCLUDED_
#define _NGX_HTTP_PAY_WHEN_VALUES_H_INCLUDED_

#include "ngx_http_pay_when.h"


typedef struct ngx_http_pay_when_key_s  ngx_http_pay_when_key_t;

struct ngx_http_pay_when_key_s {
    ngx_str_t     name;
    uint32_t      bit;
    ngx_uint_t    index;        /* of the number or the name */
    /* one value of the comma-separated list; NGX_DECLINED: not valid */
    ngx_int_t   (*set)(ngx_conf_t *cf, ngx_http_pay_when_t *when,
                       ngx_http_pay_when_key_t *key, ngx_str_t *value);
    unsigned      list:1;       /* more than one value is possible */
    unsigned      adds:1;       /* and they add up when the key is repeated */
};


/* ends with name.len 0 */
extern ngx_http_pay_when_key_t  ngx_http_pay_when_keys[];


#endif /* _NGX_HTTP_PAY_WHEN_VALUES_H_INCLUDED_ */
