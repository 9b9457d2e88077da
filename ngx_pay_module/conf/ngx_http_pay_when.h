/*
 * "when KEY=VALUE,... ...;": the conditions of rules and pools.  A line holds
 * when all of its parts do, a block when one of its lines does.  "KEY!=VALUE"
 * holds for every other value; "when all" always holds.
 */

#ifndef _NGX_HTTP_PAY_WHEN_H_INCLUDED_
#define _NGX_HTTP_PAY_WHEN_H_INCLUDED_

#include "ngx_pay_module/channel/ngx_http_pay_channel.h"
#include "ngx_pay_module/request/ngx_http_pay_core.h"

#include "core/match.h"


/* of one process, over all blocks that use the same match */
#define NGX_HTTP_PAY_WHENS   MATCH_LINES
#define NGX_HTTP_PAY_NAMES   1000000    /* in one file */

/* share=N/256: numbers below N hold */
#define NGX_HTTP_PAY_SHARES  256


/* what a request wants done, "work=" */

#define NGX_HTTP_PAY_WORK_CREATE  0
#define NGX_HTTP_PAY_WORK_QUERY   1
#define NGX_HTTP_PAY_WORK_CLOSE   2
#define NGX_HTTP_PAY_WORK_OTHER   3
#define NGX_HTTP_PAY_WORKS        4

extern ngx_str_t  ngx_http_pay_work_names[];


typedef struct {
    struct match_line      line;
    ngx_array_t            channels;    /* ngx_str_t, to be resolved */
    ngx_http_pay_where_t   where;
} ngx_http_pay_when_t;


/*
 * Reads the "when" in cf->args and adds it to whens, an array of
 * ngx_http_pay_when_t.  keys: the kinds that make sense there, bits as in
 * match_line's given.
 */
char *ngx_http_pay_when_read(ngx_conf_t *cf, ngx_array_t *whens,
    uint32_t keys);

/*
 * Once all channels are known: fills in the numbers of the channels that
 * the line names, by place.
 */
char *ngx_http_pay_when_resolve(ngx_conf_t *cf, ngx_http_pay_when_t *when,
    ngx_http_pay_channel_main_conf_t *cmcf);

/* NULL, with the unknown name and its place logged */
ngx_http_pay_channel_t *ngx_http_pay_when_channel(ngx_conf_t *cf,
    ngx_http_pay_channel_main_conf_t *cmcf, ngx_str_t *name,
    ngx_http_pay_where_t *where);

/* an arena that lives as long as the configuration; NULL: no memory */
struct arena *ngx_http_pay_when_arena(ngx_conf_t *cf);


/* of a verified request: the order's hash, from its number or its id */
uint64_t ngx_http_pay_when_hash(ngx_http_pay_ctx_t *ctx);
/* 0 to 255, the same for all requests of one order; salt: of the user */
#define ngx_http_pay_when_share(hash, salt)                                   \
    ((uint16_t) (((hash) ^ (salt)) * 0x9e3779b97f4a7c15ULL >> 56))


#endif /* _NGX_HTTP_PAY_WHEN_H_INCLUDED_ */
