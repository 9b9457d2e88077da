/*
 * Calls of scripts: commands on their way.  Those that are given in one turn of
 * nginx's loop gather; one that differs from another in its own key only joins
 * that one's call.  When the turn ends the calls are handed to hiredis, which
 * sends them in one write.
 *
 * A call ends once, and its parts with it: with a reply, or without one when
 * the connection ends.
 */

#include "ngx_pay_redis_conn.h"


#define NGX_PAY_REDIS_JOINED  64        /* commands in a call */
#define NGX_PAY_REDIS_LOOK    64        /* calls, for one to join */
#define NGX_PAY_REDIS_HEAD    96        /* all that is not the commands' */
#define NGX_PAY_REDIS_CALL    16384     /* bytes */


typedef struct {
    ngx_queue_t             queue;
    uint64_t                hash;
    unsigned                retried:1;
    size_t                  len;        /* without head */
    ngx_uint_t              n;
    ngx_pay_redis_part_t   *parts[NGX_PAY_REDIS_JOINED];
} ngx_pay_redis_call_t;


static ngx_inline u_char *
ngx_pay_redis_number_bulk(u_char *p, ngx_uint_t n)
{
    *p++ = '$';
    p = ngx_pay_redis_number(p, n > 99 ? 3 : n > 9 ? 2 : 1);

    return ngx_pay_redis_number(p, n);
}


static size_t
ngx_pay_redis_write(ngx_pay_redis_call_t *call, u_char *text)
{
    u_char                *p;
    ngx_uint_t             i, nkeys, joins;
    ngx_pay_redis_cmd_t   *cmd;
    ngx_pay_redis_part_t  *part;

    static const u_char  evalsha[] = "$7\r\nEVALSHA\r\n$40\r\n";

    part = call->parts[0];
    cmd = part->cmd;
    joins = ngx_pay_rd.scripts[cmd->script].joins;
    nkeys = cmd->nkeys + (cmd->own ? call->n : 0);

    p = text;
    *p++ = '*';
    p = ngx_pay_redis_number(p, 3 + nkeys + cmd->nargs + joins);
    p = ngx_cpymem(p, evalsha, sizeof(evalsha) - 1);
    p = ngx_cpymem(p, ngx_pay_rd.sha[cmd->script], 40);
    *p++ = CR;
    *p++ = LF;
    p = ngx_pay_redis_number_bulk(p, nkeys);
    p = ngx_cpymem(p, part->text, cmd->keys);

    for (i = 0; i < call->n; i++) {
        part = call->parts[i];
        p = ngx_cpymem(p, part->text + part->cmd->keys + part->cmd->args,
                       part->cmd->own);
    }

    p = ngx_cpymem(p, call->parts[0]->text + cmd->keys, cmd->args);

    if (joins) {
        p = ngx_pay_redis_number_bulk(p, call->n);
    }

    return p - text;
}


/* NULL: the reply has no number for this part */

static int64_t *
ngx_pay_redis_value(ngx_pay_redis_call_t *call, redisReply *reply,
    ngx_uint_t i, int64_t *value)
{
    if (reply && call->n > 1) {
        reply = reply->type == REDIS_REPLY_ARRAY && reply->elements == call->n
                ? reply->element[i] : NULL;
    }

    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
        return NULL;
    }

    *value = reply->integer;

    return value;
}


static void
ngx_pay_redis_end(ngx_pay_redis_call_t *call, redisReply *reply)
{
    int64_t     value;
    ngx_uint_t  i;

    for (i = 0; i < call->n; i++) {
        ngx_pay_redis_replied(call->parts[i],
                              ngx_pay_redis_value(call, reply, i, &value),
                              reply == NULL);
    }

    ngx_queue_insert_head(&ngx_pay_rd.spare, &call->queue);
}


static ngx_uint_t
ngx_pay_redis_awaited(ngx_pay_redis_call_t *call)
{
    ngx_uint_t  i;

    for (i = 0; i < call->n; i++) {
        if (call->parts[i]->op->handler) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t ngx_pay_redis_out(ngx_pay_redis_call_t *call);


/* NGX_AGAIN: sent again */

static ngx_int_t
ngx_pay_redis_error(ngx_pay_redis_call_t *call, redisReply *reply)
{
    if (ngx_strncmp(reply->str, "NOSCRIPT", 8) == 0) {
        ngx_pay_redis_load();

        if (!call->retried && ngx_pay_redis_awaited(call)) {
            call->retried = 1;

            if (ngx_pay_redis_out(call) == NGX_OK) {
                return NGX_AGAIN;
            }
        }

        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_pay_rd.log, 0, "pay: redis says \"%*s\"",
                  reply->len, reply->str);

    if (ngx_strncmp(reply->str, "READONLY", 8) == 0) {
        ngx_pay_redis_readonly();
    }

    return NGX_ERROR;
}


static void
ngx_pay_redis_on_reply(redisAsyncContext *ac, void *data, void *privdata)
{
    redisReply            *reply = data;
    ngx_pay_redis_call_t  *call = privdata;

    if (reply) {
        ngx_pay_rd.link.heard = ngx_current_msec;
    }

    if (reply && reply->type == REDIS_REPLY_ERROR
        && ngx_pay_redis_error(call, reply) == NGX_AGAIN)
    {
        return;
    }

    ngx_pay_redis_end(call, reply);
}


static ngx_int_t
ngx_pay_redis_out(ngx_pay_redis_call_t *call)
{
    size_t  len;

    static u_char  text[NGX_PAY_REDIS_HEAD + NGX_PAY_REDIS_CALL];

    if (ngx_pay_rd.link.ac == NULL) {
        return NGX_ERROR;
    }

    len = ngx_pay_redis_write(call, text);

    return redisAsyncFormattedCommand(ngx_pay_rd.link.ac,
                                      ngx_pay_redis_on_reply, call,
                                      (char *) text, len)
           == REDIS_OK ? NGX_OK : NGX_ERROR;
}


static void
ngx_pay_redis_send_handler(ngx_event_t *ev)
{
    ngx_queue_t           *q;
    ngx_pay_redis_call_t  *call;

    while (!ngx_queue_empty(&ngx_pay_rd.gathered)) {
        q = ngx_queue_head(&ngx_pay_rd.gathered);
        ngx_queue_remove(q);

        call = ngx_queue_data(q, ngx_pay_redis_call_t, queue);

        if (ngx_pay_redis_out(call) != NGX_OK) {
            ngx_pay_redis_end(call, NULL);
        }
    }
}


static ngx_uint_t
ngx_pay_redis_same(ngx_pay_redis_part_t *a, ngx_pay_redis_part_t *b)
{
    return a->cmd->script == b->cmd->script
           && a->cmd->nkeys == b->cmd->nkeys && a->cmd->keys == b->cmd->keys
           && a->cmd->nargs == b->cmd->nargs && a->cmd->args == b->cmd->args
           && (a->cmd->own == 0) == (b->cmd->own == 0)
           && ngx_memcmp(a->text, b->text, a->cmd->keys + a->cmd->args) == 0;
}


/* NULL: there is none to join, or it is full */

static ngx_pay_redis_call_t *
ngx_pay_redis_find(ngx_pay_redis_part_t *part, uint64_t hash)
{
    ngx_uint_t             look;
    ngx_queue_t           *q;
    ngx_pay_redis_call_t  *call;

    q = ngx_queue_last(&ngx_pay_rd.gathered);

    for (look = 0; look < NGX_PAY_REDIS_LOOK; look++) {

        if (q == ngx_queue_sentinel(&ngx_pay_rd.gathered)) {
            break;
        }

        call = ngx_queue_data(q, ngx_pay_redis_call_t, queue);

        if (call->hash == hash && ngx_pay_redis_same(call->parts[0], part)) {
            return call->n < NGX_PAY_REDIS_JOINED
                   && call->len + part->cmd->own <= NGX_PAY_REDIS_CALL
                   ? call : NULL;
        }

        q = ngx_queue_prev(q);
    }

    return NULL;
}


static ngx_pay_redis_call_t *
ngx_pay_redis_new(void)
{
    ngx_queue_t  *q;

    if (ngx_queue_empty(&ngx_pay_rd.spare)) {
        return ngx_alloc(sizeof(ngx_pay_redis_call_t), ngx_pay_rd.log);
    }

    q = ngx_queue_head(&ngx_pay_rd.spare);
    ngx_queue_remove(q);

    return ngx_queue_data(q, ngx_pay_redis_call_t, queue);
}


ngx_int_t
ngx_pay_redis_call(ngx_pay_redis_part_t *part)
{
    uint64_t               hash;
    ngx_pay_redis_cmd_t   *cmd;
    ngx_pay_redis_call_t  *call;

    cmd = part->cmd;
    call = NULL;
    hash = 0;

    if (ngx_pay_rd.scripts[cmd->script].joins) {
        hash = slice_hash(slice_n(part->text, cmd->keys + cmd->args));
        call = ngx_pay_redis_find(part, hash);
    }

    if (call == NULL) {
        call = ngx_pay_redis_new();
        if (call == NULL) {
            return NGX_ERROR;
        }

        call->hash = hash;
        call->retried = 0;
        call->len = cmd->keys + cmd->args;
        call->n = 0;

        ngx_queue_insert_tail(&ngx_pay_rd.gathered, &call->queue);

        if (!ngx_pay_rd.send.posted) {
            ngx_post_event(&ngx_pay_rd.send, &ngx_posted_events);
        }
    }

    call->len += cmd->own;
    call->parts[call->n++] = part;

    return NGX_OK;
}


void
ngx_pay_redis_call_start(void)
{
    ngx_queue_init(&ngx_pay_rd.gathered);
    ngx_queue_init(&ngx_pay_rd.spare);

    ngx_pay_rd.send.handler = ngx_pay_redis_send_handler;
    ngx_pay_rd.send.data = &ngx_pay_rd;
    ngx_pay_rd.send.log = ngx_pay_rd.log;
}


void
ngx_pay_redis_call_stop(void)
{
    if (ngx_pay_rd.send.posted) {
        ngx_delete_posted_event(&ngx_pay_rd.send);
    }
}
