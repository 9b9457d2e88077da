/*
 * Pools on the control socket: what they are, and switching them off and on.
 */

#include "ngx_http_pay_control.h"

#include "ngx_pay_module/pool/ngx_http_pay_pool.h"


static void
ngx_http_pay_control_pool_write(ngx_http_pay_control_call_t *call,
    ngx_http_pay_pool_main_conf_t *omcf, ngx_http_pay_pool_t *pool)
{
    ngx_uint_t              off;
    struct json_writer     *w;
    ngx_http_pay_switch_t   sw;

    w = &call->w;
    off = pool->sw == NGX_ERROR
          ? 0 : ngx_http_pay_control_switch(call, pool->sw, &sw);

    json_begin_object(w);
    json_member_str(w, "name", ngx_pay_slice(pool->name));
    json_member_str(w, "upstream", ngx_pay_slice(pool->upstream));
    json_member_str(w, "state", off ? SLICE("off") : SLICE("on"));
    ngx_http_pay_control_switched(call, off, &sw);

    if (pool->other) {
        json_member_str(w, "compared_with", ngx_pay_slice(pool->other->name));
        json_member_int64(w, "stepped_back",
                          (int64_t) omcf->sh->looks[pool->row].back);
    }

    json_member_int64(w, "in_flight",
                      (int64_t) ngx_http_pay_pool_in_flight(omcf->sh,
                                                            pool->row));
    json_member_int64(w, "bound", (int64_t) pool->bound);

    json_key(w, "kept");
    json_put_bool(w, call->channels->ledger == NULL
                     || !call->channels->ledger->unkept);
    json_end_object(w);
}


ngx_int_t
ngx_http_pay_control_pools(ngx_http_pay_control_call_t *call)
{
    ngx_uint_t                      i;
    ngx_http_pay_pool_t            *pool;
    ngx_http_pay_pool_main_conf_t  *omcf;

    omcf = ngx_http_get_module_main_conf(call->request,
                                         ngx_http_pay_pool_module);
    pool = omcf->pools.elts;

    json_begin_object(&call->w);
    json_key(&call->w, "pools");
    json_begin_array(&call->w);

    for (i = 0; omcf->sh && i < omcf->pools.nelts; i++) {
        ngx_http_pay_control_pool_write(call, omcf, &pool[i]);
    }

    json_end_array(&call->w);
    json_end_object(&call->w);

    return NGX_OK;
}


/* the pool that the path names; NULL: none, and refused */

static ngx_http_pay_pool_t *
ngx_http_pay_control_pool_find(ngx_http_pay_control_call_t *call,
    ngx_http_pay_pool_main_conf_t **omcf)
{
    ngx_uint_t            i;
    ngx_http_pay_pool_t  *pool;

    *omcf = ngx_http_get_module_main_conf(call->request,
                                          ngx_http_pay_pool_module);
    pool = (*omcf)->pools.elts;

    for (i = 0; (*omcf)->sh && i < (*omcf)->pools.nelts; i++) {
        if (pool[i].name.len == call->name.len
            && ngx_memcmp(pool[i].name.data, call->name.data, call->name.len)
               == 0)
        {
            return &pool[i];
        }
    }

    (void) ngx_http_pay_control_refuse(call, NGX_HTTP_PAY_CONTROL_POOL_UNKNOWN,
                                       NULL, NULL);
    return NULL;
}


ngx_int_t
ngx_http_pay_control_pool(ngx_http_pay_control_call_t *call)
{
    ngx_http_pay_pool_t            *pool;
    ngx_http_pay_pool_main_conf_t  *omcf;

    pool = ngx_http_pay_control_pool_find(call, &omcf);

    if (pool) {
        ngx_http_pay_control_pool_write(call, omcf, pool);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_pay_control_set_pool(ngx_http_pay_control_call_t *call)
{
    ngx_uint_t                      state;
    struct slice                    reason;
    ngx_http_pay_pool_t            *pool;
    ngx_http_pay_pool_main_conf_t  *omcf;

    pool = ngx_http_pay_control_pool_find(call, &omcf);

    if (pool == NULL
        || ngx_http_pay_control_state(call, "on, off", &state, &reason)
           != NGX_OK)
    {
        return NGX_OK;
    }

    if (pool->sw == NGX_ERROR) {
        return ngx_http_pay_control_refuse(call,
                   NGX_HTTP_PAY_CONTROL_POOL_NEEDED,
                   pool->all ? "it has \"when all\": requests have no other"
                             : "no row left for it, see nginx's error log",
                   NULL);
    }

    /* "kept" in the answer tells what became of the file */

    (void) ngx_http_pay_pool_set(omcf, pool,
                                 state == 1 + NGX_HTTP_PAY_STATE_OFF,
                                 call->uid, reason);

    ngx_http_pay_control_pool_write(call, omcf, pool);

    return NGX_OK;
}
