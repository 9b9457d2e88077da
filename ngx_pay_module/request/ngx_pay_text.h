/*
 * Text written piece by piece, for what every request writes: ngx_sprintf
 * reads its format again each time.  All return what stands behind.
 */

#ifndef _NGX_PAY_TEXT_H_INCLUDED_
#define _NGX_PAY_TEXT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


static ngx_inline u_char *
ngx_pay_put(u_char *p, const char *text)
{
    return ngx_cpymem(p, text, ngx_strlen(text));
}


static ngx_inline u_char *
ngx_pay_put_str(u_char *p, const ngx_str_t *s)
{
    return ngx_cpymem(p, s->data, s->len);
}


/* room for NGX_INT64_LEN */

static ngx_inline u_char *
ngx_pay_put_number(u_char *p, uint64_t n)
{
    u_char   text[NGX_INT64_LEN];
    u_char  *first = text + NGX_INT64_LEN;

    do {
        *--first = (u_char) ('0' + n % 10);
        n /= 10;
    } while (n);

    return ngx_cpymem(p, first, text + NGX_INT64_LEN - first);
}


#endif /* _NGX_PAY_TEXT_H_INCLUDED_ */
