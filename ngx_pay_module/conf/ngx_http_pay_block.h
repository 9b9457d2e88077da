/*
 * Blocks of our own directives, "pay_rule NAME { ... }": a table says what may
 * stand in them.
 */

#ifndef _NGX_HTTP_PAY_BLOCK_H_INCLUDED_
#define _NGX_HTTP_PAY_BLOCK_H_INCLUDED_

#include "ngx_pay_module/request/ngx_http_pay_core.h"


#define NGX_HTTP_PAY_BLOCK_ONCE  1      /* may not be repeated */
#define NGX_HTTP_PAY_BLOCK_NEED  2      /* must be there */

#define NGX_HTTP_PAY_BLOCK_NAME  32     /* longest name of a block */


/* ends with name.len 0; at most 32 of them */

typedef struct {
    ngx_str_t     name;
    ngx_uint_t    min;                  /* arguments */
    ngx_uint_t    max;
    ngx_uint_t    flags;
    char       *(*set)(ngx_conf_t *cf, void *block);
} ngx_http_pay_block_command_t;


/*
 * Reads the block of the directive in cf->args, whose name is its second word:
 * 1 to 32 of a-z 0-9 _ -.  block is handed to the commands.
 */
char *ngx_http_pay_block_read(ngx_conf_t *cf,
    ngx_http_pay_block_command_t *commands, void *block);

/* logs "invalid value" with the directive's name, returns NGX_CONF_ERROR */
char *ngx_http_pay_block_invalid(ngx_conf_t *cf, ngx_str_t *value);


#endif /* _NGX_HTTP_PAY_BLOCK_H_INCLUDED_ */
