/*
 * The control socket: what operators and workers tell the edge, as HTTP with
 * JSON on a unix socket.
 *
 * Anybody who may open the socket may read.  Who writes is known by the
 * socket's peer (SO_PEERCRED): root, nginx's own user, and the users of
 * pay_control_users.
 *
 * A call has its own arena and answer, both released with the request.  A
 * handler runs once, when the whole body was read and parsed, and answers at
 * once: it writes one JSON value with call->w and returns NGX_OK, or returns
 * what ngx_http_pay_control_refuse() says, or NGX_ERROR.
 */

#ifndef _NGX_HTTP_PAY_CONTROL_H_INCLUDED_
#define _NGX_HTTP_PAY_CONTROL_H_INCLUDED_

#include "ngx_http_pay_switch.h"

#include "ngx_pay_module/channel/ngx_http_pay_channel.h"
#include "ngx_pay_module/request/ngx_http_pay_core.h"

#include "core/json.h"


#define NGX_HTTP_PAY_CONTROL_BODY    262144     /* largest body */
#define NGX_HTTP_PAY_CONTROL_ANSWER  1048576


/* refusals; their status, code and title stand in one table */

typedef enum {
    NGX_HTTP_PAY_CONTROL_FORBIDDEN = 0,
    NGX_HTTP_PAY_CONTROL_PATH_UNKNOWN,
    NGX_HTTP_PAY_CONTROL_METHOD,
    NGX_HTTP_PAY_CONTROL_BODY_TOO_LARGE,
    NGX_HTTP_PAY_CONTROL_JSON_INVALID,
    NGX_HTTP_PAY_CONTROL_FIELD_MISSING,
    NGX_HTTP_PAY_CONTROL_FIELD_UNKNOWN,
    NGX_HTTP_PAY_CONTROL_FIELD_TYPE,
    NGX_HTTP_PAY_CONTROL_FIELD_INVALID,
    NGX_HTTP_PAY_CONTROL_CHANNEL_UNKNOWN,
    NGX_HTTP_PAY_CONTROL_POOL_UNKNOWN,
    NGX_HTTP_PAY_CONTROL_POOL_NEEDED,
    NGX_HTTP_PAY_CONTROL_INTERNAL
} ngx_http_pay_control_code_e;


typedef struct {
    ngx_http_request_t               *request;
    ngx_http_pay_channel_main_conf_t *channels;   /* sh: NULL without one */

    ngx_str_t                         name;       /* behind "*" in the path */
    const struct json                *body;       /* NULL: has none */
    uid_t                             uid;        /* of the peer */

    ngx_uint_t                        status;     /* 200 unless changed */
    struct json_writer                w;          /* the answer */

    /* the module's */
    struct arena                      arena;
    struct buf                        out;
    unsigned                          problem:1;
} ngx_http_pay_control_call_t;


/* one kind of call; in path "*" stands for one part, the name */

typedef struct {
    ngx_uint_t                        method;     /* NGX_HTTP_GET, ... */
    ngx_str_t                         path;
    ngx_int_t                       (*handler)(
                                          ngx_http_pay_control_call_t *call);
    unsigned                          write:1;    /* not for everybody */
} ngx_http_pay_control_route_t;


/* answers with a problem; detail and pointer (RFC 6901) may be NULL */
ngx_int_t ngx_http_pay_control_refuse(ngx_http_pay_control_call_t *call,
    ngx_http_pay_control_code_e code, const char *detail, const char *pointer);


/* sends it; returns what the request is to be finalized with */
ngx_int_t ngx_http_pay_control_send(ngx_http_pay_control_call_t *call);


/* directives, ngx_http_pay_control_conf.c */

typedef struct {
    ngx_flag_t                 enable;
    ngx_array_t               *users;       /* uid_t */
} ngx_http_pay_control_loc_conf_t;

char *ngx_http_pay_control(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_pay_control_users(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_int_t ngx_http_pay_control_init(ngx_conf_t *cf);
void *ngx_http_pay_control_create_main_conf(ngx_conf_t *cf);
void *ngx_http_pay_control_create_loc_conf(ngx_conf_t *cf);
char *ngx_http_pay_control_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
void ngx_http_pay_control_set_handler(ngx_conf_t *cf);


/* handlers of the table */

ngx_int_t ngx_http_pay_control_channels(ngx_http_pay_control_call_t *call);
ngx_int_t ngx_http_pay_control_channel(ngx_http_pay_control_call_t *call);
ngx_int_t ngx_http_pay_control_set_state(ngx_http_pay_control_call_t *call);
ngx_int_t ngx_http_pay_control_set_health(ngx_http_pay_control_call_t *call);
ngx_int_t ngx_http_pay_control_outcomes(ngx_http_pay_control_call_t *call);
ngx_int_t ngx_http_pay_control_pools(ngx_http_pay_control_call_t *call);
ngx_int_t ngx_http_pay_control_pool(ngx_http_pay_control_call_t *call);
ngx_int_t ngx_http_pay_control_set_pool(ngx_http_pay_control_call_t *call);


/* switches, ngx_http_pay_control_switches.c */

/* what is known of a row of the ledger: one moment's; its state, or 0 */
ngx_uint_t ngx_http_pay_control_switch(ngx_http_pay_control_call_t *call,
    ngx_uint_t row, ngx_http_pay_switch_t *sw);
/* writes the member "switch"; state 0: nothing */
void ngx_http_pay_control_switched(ngx_http_pay_control_call_t *call,
    ngx_uint_t state, ngx_http_pay_switch_t *sw);
/*
 * Reads {"state": "...", "reason": "..."}; states: those that are possible,
 * "on, off".  NGX_DECLINED: refused.
 */
ngx_int_t ngx_http_pay_control_state(ngx_http_pay_control_call_t *call,
    const char *states, ngx_uint_t *state, struct slice *reason);


extern ngx_module_t  ngx_http_pay_control_module;


#endif /* _NGX_HTTP_PAY_CONTROL_H_INCLUDED_ */
