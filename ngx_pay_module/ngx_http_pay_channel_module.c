/*
 * pay_channel blocks: the main configuration, the zone with one row per
 * channel, and the exact count of calls in flight.
 */

#include "ngx_http_pay_health.h"


static ngx_int_t ngx_http_pay_channel_process_init(ngx_cycle_t *cycle);
static void ngx_http_pay_channel_process_exit(ngx_cycle_t *cycle);
static ngx_http_pay_channel_row_t *ngx_http_pay_channel_take_row(
    ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_main_conf_t *ocmcf, ngx_str_t *name);
static void ngx_http_pay_channel_give_back(
    ngx_http_pay_channel_main_conf_t *cmcf, ngx_uint_t slot);
static void ngx_http_pay_channel_reap(ngx_http_pay_channel_main_conf_t *cmcf);

static void *ngx_http_pay_channel_create_main_conf(ngx_conf_t *cf);


static ngx_command_t  ngx_http_pay_channel_commands[] = {

    { ngx_string("pay_channel"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_pay_channel_block,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_pay_channel_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

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
    NULL,                                  /* init module */
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


ngx_int_t
ngx_http_pay_channel_acquire(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t kind)
{
    ngx_uint_t                     pay, full;
    ngx_http_pay_channel_row_t    *row;
    ngx_http_pay_channel_entry_t  *entry;

    row = ngx_http_pay_channel_row(cmcf, ch);
    pay = (kind == NGX_HTTP_PAY_KIND_PAY);

    ngx_shmtx_lock(&cmcf->shpool->mutex);

    full = row->in_flight >= ch->cap || (pay && row->in_pay >= ch->pay_cap);

    if (full && cmcf->sh->reaped != ngx_time()) {

        /* a slot's process may have been killed and not been replaced */

        cmcf->sh->reaped = ngx_time();
        ngx_http_pay_channel_reap(cmcf);

        full = row->in_flight >= ch->cap
               || (pay && row->in_pay >= ch->pay_cap);
    }

    if (full) {
        ngx_shmtx_unlock(&cmcf->shpool->mutex);
        return NGX_BUSY;
    }

    entry = &cmcf->sh->ledger[ngx_process_slot][ch->row];

    row->in_flight++;
    row->in_pay += pay;
    entry->all++;
    entry->pay += pay;

    ngx_shmtx_unlock(&cmcf->shpool->mutex);

    return NGX_OK;
}


void
ngx_http_pay_channel_release(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t kind)
{
    ngx_uint_t                     pay;
    ngx_http_pay_channel_row_t    *row;
    ngx_http_pay_channel_entry_t  *entry;

    row = ngx_http_pay_channel_row(cmcf, ch);
    pay = (kind == NGX_HTTP_PAY_KIND_PAY);

    ngx_shmtx_lock(&cmcf->shpool->mutex);

    entry = &cmcf->sh->ledger[ngx_process_slot][ch->row];

    row->in_flight--;
    row->in_pay -= pay;
    entry->all--;
    entry->pay -= pay;

    ngx_shmtx_unlock(&cmcf->shpool->mutex);
}


/* with the zone locked: forget a slot's calls, its process is gone */

static void
ngx_http_pay_channel_give_back(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_uint_t slot)
{
    ngx_uint_t                   i, s, all, pay;
    ngx_http_pay_channel_sh_t   *sh;
    ngx_http_pay_channel_row_t  *row;

    sh = cmcf->sh;

    sh->pids[slot] = 0;
    ngx_memzero(sh->ledger[slot], sizeof(sh->ledger[slot]));

    /*
     * Summed anew instead of subtracted: a process killed between the
     * increments of the row and of its ledger leaves them one apart.
     */

    for (i = 0; i < NGX_HTTP_PAY_CHANNELS_MAX; i++) {
        row = &sh->rows[i];

        if (row->len == 0) {
            continue;
        }

        all = 0;
        pay = 0;

        for (s = 0; s < NGX_MAX_PROCESSES; s++) {
            if (sh->pids[s]) {
                all += sh->ledger[s][i].all;
                pay += sh->ledger[s][i].pay;
            }
        }

        row->in_flight = all;
        row->in_pay = pay;
    }
}


/* with the zone locked */

static void
ngx_http_pay_channel_reap(ngx_http_pay_channel_main_conf_t *cmcf)
{
    ngx_pid_t   pid;
    ngx_uint_t  s;

    for (s = 0; s < NGX_MAX_PROCESSES; s++) {
        pid = cmcf->sh->pids[s];

        if (pid && kill(pid, 0) == -1 && ngx_errno == ESRCH) {
            ngx_http_pay_channel_give_back(cmcf, s);
        }
    }
}


void
ngx_http_pay_channel_process_start(ngx_http_pay_channel_main_conf_t *cmcf)
{
    ngx_shmtx_lock(&cmcf->shpool->mutex);

    /* whoever had the slot before is gone, perhaps killed */

    ngx_http_pay_channel_give_back(cmcf, ngx_process_slot);
    cmcf->sh->pids[ngx_process_slot] = ngx_pid;

    ngx_shmtx_unlock(&cmcf->shpool->mutex);
}


void
ngx_http_pay_channel_process_end(ngx_http_pay_channel_main_conf_t *cmcf)
{
    ngx_shmtx_lock(&cmcf->shpool->mutex);

    ngx_http_pay_channel_give_back(cmcf, ngx_process_slot);

    ngx_shmtx_unlock(&cmcf->shpool->mutex);
}


static ngx_int_t
ngx_http_pay_channel_process_init(ngx_cycle_t *cycle)
{
    ngx_http_pay_channel_main_conf_t  *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_pay_channel_module);

    if (cmcf != NULL && cmcf->sh != NULL) {
        ngx_http_pay_channel_process_start(cmcf);
    }

    return NGX_OK;
}


static void
ngx_http_pay_channel_process_exit(ngx_cycle_t *cycle)
{
    ngx_http_pay_channel_main_conf_t  *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_pay_channel_module);

    if (cmcf != NULL && cmcf->sh != NULL) {
        ngx_http_pay_channel_process_end(cmcf);
    }
}


/* called by the master with the old cycle's configuration on a reload */

ngx_int_t
ngx_http_pay_channel_zone_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_http_pay_channel_main_conf_t  *ocmcf = data;

    ngx_uint_t                         i;
    ngx_http_pay_channel_t           **chp;
    ngx_http_pay_channel_row_t        *row;
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

    chp = cmcf->channels.elts;

    for (i = 0; i < cmcf->channels.nelts; i++) {
        row = ngx_http_pay_channel_take_row(cmcf, ocmcf, &chp[i]->name);

        if (row == NULL) {
            ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                          "no row left for pay_channel \"%V\" in %s:%ui",
                          &chp[i]->name, chp[i]->file, chp[i]->line);
            return NGX_ERROR;
        }

        chp[i]->row = row - cmcf->sh->rows;
    }

    ngx_http_pay_health_configured(cmcf);

    return NGX_OK;
}


/*
 * The row of that name, or a free one, or one of a channel that neither the
 * old nor the new configuration has and that nobody calls any more.
 */

static ngx_http_pay_channel_row_t *
ngx_http_pay_channel_take_row(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_main_conf_t *ocmcf, ngx_str_t *name)
{
    ngx_str_t                    other;
    ngx_uint_t                   i;
    ngx_http_pay_channel_row_t  *row, *unused, *gone;

    unused = NULL;
    gone = NULL;

    for (i = 0; i < NGX_HTTP_PAY_CHANNELS_MAX; i++) {
        row = &cmcf->sh->rows[i];

        if (row->len == 0) {
            if (unused == NULL) {
                unused = row;
            }

            continue;
        }

        if (row->len == name->len
            && ngx_memcmp(row->name, name->data, name->len) == 0)
        {
            return row;
        }

        other.len = row->len;
        other.data = row->name;

        if (gone == NULL
            && row->in_flight == 0
            && ngx_http_pay_channel_find(cmcf, &other) == NULL
            && (ocmcf == NULL
                || ngx_http_pay_channel_find(ocmcf, &other) == NULL))
        {
            gone = row;
        }
    }

    row = unused ? unused : gone;

    if (row) {
        ngx_memzero(row, sizeof(ngx_http_pay_channel_row_t));
        cmcf->sh->states[row - cmcf->sh->rows] = 0;
        ngx_http_pay_health_new(cmcf, row);
        row->len = name->len;
        ngx_memcpy(row->name, name->data, name->len);
    }

    return row;
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
