/*
 * pay_channel blocks: the main configuration, the zone with one row per
 * channel, and what calls in flight mean to a cap.
 */

#include "ngx_http_pay_channel.h"
#include "ngx_http_pay_health.h"

#include "ngx_pay_module/cap/ngx_http_pay_lease.h"
#include "ngx_pay_module/cap/ngx_http_pay_queue.h"
#include "ngx_pay_module/control/ngx_http_pay_switch.h"


static ngx_int_t ngx_http_pay_channel_module_init(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_pay_channel_process_init(ngx_cycle_t *cycle);
static void ngx_http_pay_channel_process_exit(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_pay_channel_take_row(
    ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_main_conf_t *ocmcf, ngx_str_t *name);

static void *ngx_http_pay_channel_create_main_conf(ngx_conf_t *cf);


static ngx_command_t  ngx_http_pay_channel_commands[] = {

    { ngx_string("pay_channel"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_pay_channel_block,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("pay_state_file"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_pay_state_file,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("pay_node"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_pay_lease_node,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_pay_channel_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_pay_lease_check,              /* postconfiguration */

    ngx_http_pay_channel_create_main_conf, /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_pay_channel_module = {
    NGX_MODULE_V1,
    &ngx_http_pay_channel_module_ctx,      /* module context */
    ngx_http_pay_channel_commands,         /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_pay_channel_module_init,      /* init module */
    ngx_http_pay_channel_process_init,     /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_pay_channel_process_exit,     /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_http_pay_channel_t **
ngx_http_pay_channel_place(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_str_t *name)
{
    ngx_uint_t               i;
    ngx_http_pay_channel_t  *ch;

    i = ngx_hash_key(name->data, name->len);

    for ( ;; ) {
        i %= NGX_HTTP_PAY_CHANNELS_HASH;
        ch = cmcf->hash[i];

        /* at most half of the places are ever taken */

        if (ch == NULL
            || (ch->name.len == name->len
                && ngx_memcmp(ch->name.data, name->data, name->len) == 0))
        {
            return &cmcf->hash[i];
        }

        i++;
    }
}


ngx_uint_t
ngx_http_pay_channel_room(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t wait_class)
{
    ngx_uint_t             cap, pay_cap;
    ngx_http_pay_count_t  *count;

    count = &cmcf->ledger->counts[ch->row];
    cap = ch->cap;
    pay_cap = ch->pay_cap;

    if (ch->shared) {
        cap = ngx_http_pay_lease_limit(cmcf, ch);
        pay_cap = ngx_http_pay_pay_part(ch, cap);
        count->limit = cap;
    }

    return count->in_flight < cap
           && (wait_class != NGX_HTTP_PAY_WAIT_PAY || count->in_pay < pay_cap);
}


ngx_uint_t
ngx_http_pay_channel_take(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t wait_class)
{
    ngx_uint_t                    pay;
    ngx_http_pay_count_t         *count;
    ngx_http_pay_ledger_entry_t  *entry;

    pay = (wait_class == NGX_HTTP_PAY_WAIT_PAY);
    count = &cmcf->ledger->counts[ch->row];
    entry = ngx_http_pay_ledger_entry(cmcf->ledger, ch->row);

    if (entry == NULL || !ngx_http_pay_channel_room(cmcf, ch, wait_class)) {
        return 0;
    }

    count->in_flight++;
    count->in_pay += pay;
    entry->all++;
    entry->pay += pay;

    return 1;
}


/* who came first goes first, so a free place may belong to one that waits */

ngx_int_t
ngx_http_pay_channel_acquire(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t kind)
{
    ngx_uint_t              taken, wait_class;
    ngx_http_pay_ledger_t  *l;

    l = cmcf->ledger;
    wait_class = ngx_http_pay_wait_class(kind);

    ngx_http_pay_ledger_lock(l);

    taken = l->counts[ch->row].waiting[wait_class] == 0
            && ngx_http_pay_channel_take(cmcf, ch, wait_class);

    if (!taken && ch->queue == 0) {

        /* a process may have been killed and not been replaced */

        ngx_http_pay_ledger_reap(l);

        taken = l->counts[ch->row].waiting[wait_class] == 0
                && ngx_http_pay_channel_take(cmcf, ch, wait_class);
    }

    ngx_http_pay_ledger_unlock(l);

    return taken ? NGX_OK : NGX_BUSY;
}


void
ngx_http_pay_channel_release(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t kind)
{
    ngx_uint_t                    pay;
    ngx_http_pay_count_t         *count;
    ngx_http_pay_ledger_entry_t  *entry;

    pay = (kind == NGX_HTTP_PAY_KIND_PAY);
    count = &cmcf->ledger->counts[ch->row];

    ngx_http_pay_ledger_lock(cmcf->ledger);

    entry = ngx_http_pay_ledger_entry(cmcf->ledger, ch->row);

    if (entry) {
        count->in_flight--;
        count->in_pay -= pay;
        entry->all--;
        entry->pay -= pay;
    }

    ngx_http_pay_ledger_unlock(cmcf->ledger);

    if (count->waiting[NGX_HTTP_PAY_WAIT_PAY]
        || count->waiting[NGX_HTTP_PAY_WAIT_OTHER])
    {
        ngx_http_pay_queue_wake(cmcf, ch);
    }
}


static ngx_int_t
ngx_http_pay_channel_module_init(ngx_cycle_t *cycle)
{
    return ngx_http_pay_ledger_pass_on(cycle);
}


static ngx_int_t
ngx_http_pay_channel_process_init(ngx_cycle_t *cycle)
{
    ngx_http_pay_channel_main_conf_t  *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_pay_channel_module);

    if (cmcf != NULL && cmcf->ledger != NULL) {
        ngx_http_pay_ledger_enter(cmcf->ledger);
        ngx_http_pay_queue_start(cycle, cmcf);
        ngx_http_pay_lease_start(cycle, cmcf);

        if (ngx_worker == 0) {
            ngx_http_pay_state_check(cmcf, cycle->log);
        }
    }

    return NGX_OK;
}


static void
ngx_http_pay_channel_process_exit(ngx_cycle_t *cycle)
{
    ngx_http_pay_channel_main_conf_t  *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_pay_channel_module);

    if (cmcf != NULL && cmcf->ledger != NULL) {
        ngx_http_pay_lease_stop();
        ngx_http_pay_queue_stop();
        ngx_http_pay_ledger_leave(cmcf->ledger);
    }
}


/* called by the master with the old cycle's configuration on a reload */

ngx_int_t
ngx_http_pay_channel_zone_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_http_pay_channel_main_conf_t  *ocmcf = data;

    ngx_int_t                          n;
    ngx_uint_t                         i;
    ngx_http_pay_channel_t           **chp;
    ngx_http_pay_channel_main_conf_t  *cmcf;

    cmcf = zone->data;
    cmcf->shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (ocmcf) {
        cmcf->sh = ocmcf->sh;

    } else if (zone->shm.exists) {
        cmcf->sh = cmcf->shpool->data;

    } else {
        cmcf->sh = ngx_slab_calloc(cmcf->shpool,
                                   sizeof(ngx_http_pay_channel_sh_t));
        if (cmcf->sh == NULL) {
            return NGX_ERROR;
        }

        cmcf->shpool->data = cmcf->sh;
    }

    cmcf->ledger = ngx_http_pay_ledger_open(zone->shm.log);
    if (cmcf->ledger == NULL) {
        return NGX_ERROR;
    }

    cmcf->sh->states = cmcf->ledger->states;

    chp = cmcf->channels.elts;

    for (i = 0; i < cmcf->channels.nelts; i++) {
        n = ngx_http_pay_channel_take_row(cmcf, ocmcf, &chp[i]->name);

        if (n == NGX_ERROR) {
            ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                          "no row left for pay_channel \"%V\" in %s:%ui",
                          &chp[i]->name, chp[i]->file, chp[i]->line);
            return NGX_ERROR;
        }

        chp[i]->row = n;
    }

    ngx_http_pay_state_load(cmcf, zone->shm.log);
    ngx_http_pay_lease_prepare(cmcf, zone->shm.log);
    ngx_http_pay_health_configured(cmcf);

    return NGX_OK;
}


/*
 * The row of that name, or a free one, or one of a channel that neither the
 * old nor the new configuration has, that nobody calls any more and nobody
 * switched.  A configuration that is not accepted in the end has taken rows
 * for nothing; they are found again by name.
 */

static ngx_int_t
ngx_http_pay_channel_take_row(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_main_conf_t *ocmcf, ngx_str_t *name)
{
    ngx_int_t                    n;
    ngx_str_t                    other;
    ngx_uint_t                   i;
    ngx_http_pay_ledger_t       *l;
    ngx_http_pay_channel_row_t  *row;

    l = cmcf->ledger;

    ngx_http_pay_ledger_lock(l);

    n = ngx_http_pay_ledger_find(l, name->data, name->len);

    if (n == NGX_ERROR) {
        n = ngx_http_pay_ledger_add(l, name->data, name->len);
    }

    for (i = 0;
         n == NGX_ERROR && i < NGX_HTTP_PAY_CHANNELS_MAX
         && ngx_http_pay_ledger_alone(l);
         i++)
    {
        other.len = l->rows[i].len;
        other.data = l->rows[i].name;

        if (l->counts[i].in_flight == 0 && l->states[i] == 0
            && !ngx_http_pay_switch_is_pool(other.data, other.len)
            && ngx_http_pay_channel_find(cmcf, &other) == NULL
            && (ocmcf == NULL
                || ngx_http_pay_channel_find(ocmcf, &other) == NULL))
        {
            l->rows[i].len = 0;
            n = ngx_http_pay_ledger_add(l, name->data, name->len);
        }
    }

    ngx_http_pay_ledger_unlock(l);

    if (n == NGX_ERROR) {
        return NGX_ERROR;
    }

    row = &cmcf->sh->rows[n];

    if (row->len != name->len
        || ngx_memcmp(row->name, name->data, name->len) != 0)
    {
        ngx_memzero(row, sizeof(ngx_http_pay_channel_row_t));
        ngx_http_pay_health_new(cmcf, row);
        row->len = name->len;
        ngx_memcpy(row->name, name->data, name->len);
    }

    row->count = &l->counts[n];

    return n;
}


static void *
ngx_http_pay_channel_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_pay_channel_main_conf_t  *cmcf;

    cmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_pay_channel_main_conf_t));
    if (cmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&cmcf->channels, cf->pool, 16,
                       sizeof(ngx_http_pay_channel_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return cmcf;
}
