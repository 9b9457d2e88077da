/*
 * Attempts: the ids of the calls that were passed on during the last ten
 * minutes, for all processes of the node.  An id is passed on at most once in
 * that time, whatever happens.
 *
 * A hash of buckets: an id stands in the first of its BUCKETS buckets that had
 * room.  Expired and forgotten places are used again; they differ from those
 * that never were used, which end a search.  A refusal means that all of them
 * are full: not before half of the table is, even if ids are made without gaps.
 */

#ifndef _NGX_HTTP_PAY_ATTEMPTS_H_INCLUDED_
#define _NGX_HTTP_PAY_ATTEMPTS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_PAY_ATTEMPTS_SECONDS  600
#define NGX_HTTP_PAY_ATTEMPTS_DEFAULT  1048576
#define NGX_HTTP_PAY_ATTEMPTS_MIN      128
#define NGX_HTTP_PAY_ATTEMPTS_BUCKET   16       /* places */
#define NGX_HTTP_PAY_ATTEMPTS_BUCKETS  16       /* of an id */
#define NGX_HTTP_PAY_ATTEMPTS_RUN      64       /* ids side by side */


typedef struct ngx_http_pay_attempts_s  ngx_http_pay_attempts_t;

/* adds the zone for `count` ids, or the next power of two; NULL: logged */
ngx_http_pay_attempts_t *ngx_http_pay_attempts_add(ngx_conf_t *cf,
    ngx_uint_t count, ngx_module_t *module);

/* 1 if the id was recorded less than ten minutes ago */
ngx_uint_t ngx_http_pay_attempts_seen(ngx_http_pay_attempts_t *at,
    uint64_t id);

/*
 * NGX_OK: recorded now.  NGX_DECLINED: it was there before.  NGX_BUSY: no
 * place for it.  Of several processes with one id exactly one gets NGX_OK.
 */
ngx_int_t ngx_http_pay_attempts_record(ngx_http_pay_attempts_t *at,
    uint64_t id);

/* a recorded id was not passed on after all */
void ngx_http_pay_attempts_forget(ngx_http_pay_attempts_t *at, uint64_t id);


#endif /* _NGX_HTTP_PAY_ATTEMPTS_H_INCLUDED_ */
