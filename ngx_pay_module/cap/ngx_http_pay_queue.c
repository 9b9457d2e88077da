/*
 * See ngx_http_pay_queue.h.
 */

#include "ngx_http_pay_queue.h"
#include "ngx_http_pay_wake.h"


#define NGX_HTTP_PAY_QUEUE_TICK   50        /* ms */
#define NGX_HTTP_PAY_QUEUE_STALE  250       /* a process that does not look */


typedef struct {
    /* the events' data: the event module's debug log reads fd behind these */
    void                              *unused[3];
    ngx_socket_t                       fd;

    ngx_http_pay_channel_main_conf_t  *channels;
    ngx_event_t                        tick;
    ngx_event_t                        turn;    /* posted: look at all */
    ngx_uint_t                         n;       /* calls that wait here */
} ngx_http_pay_queue_t;


static void ngx_http_pay_queue_timeout(ngx_event_t *ev);
static void ngx_http_pay_queue_tick(ngx_event_t *ev);
static void ngx_http_pay_queue_turn(ngx_event_t *ev);


static ngx_http_pay_queue_t  ngx_http_pay_queue;


/* with the ledger locked: what this process shows of a queue */

static void
ngx_http_pay_queue_show(ngx_http_pay_ledger_t *l, ngx_http_pay_channel_t *ch,
    ngx_uint_t wait_class)
{
    ngx_queue_t                  *q;
    ngx_http_pay_wait_t          *wait;
    ngx_http_pay_ledger_entry_t  *entry;

    entry = ngx_http_pay_ledger_entry(l, ch->row);
    q = &ch->waiting[wait_class];

    if (entry == NULL) {
        return;
    }

    if (ngx_queue_empty(q)) {
        entry->first[wait_class] = 0;
        return;
    }

    wait = ngx_queue_data(ngx_queue_head(q), ngx_http_pay_wait_t, queue);
    entry->first[wait_class] = wait->ticket;
}


/* with the ledger locked: the call waits no more */

static void
ngx_http_pay_queue_remove(ngx_http_pay_ledger_t *l, ngx_http_pay_wait_t *wait)
{
    ngx_uint_t                    wait_class;
    ngx_http_pay_ledger_entry_t  *entry;

    wait_class = wait->wait_class;
    entry = ngx_http_pay_ledger_entry(l, wait->channel->row);

    ngx_queue_remove(&wait->queue);
    wait->waiting = 0;
    ngx_http_pay_queue.n--;

    if (entry) {
        entry->waiting[wait_class]--;
        l->counts[wait->channel->row].waiting[wait_class]--;
    }

    ngx_http_pay_queue_show(l, wait->channel, wait_class);
}


/*
 * With the ledger locked: the process with the lowest ticket; one that has not
 * looked for long is passed over.  NULL: nobody waits.
 */

static ngx_http_pay_ledger_process_t *
ngx_http_pay_queue_next(ngx_http_pay_ledger_t *l, ngx_uint_t row,
    ngx_uint_t wait_class)
{
    uint64_t                        ticket, lowest;
    ngx_uint_t                      p;
    ngx_http_pay_ledger_process_t  *process, *next;

    next = NULL;
    lowest = 0;

    for (p = 0; p < l->top; p++) {
        process = &l->processes[p];
        ticket = l->entries[p][row].first[wait_class];

        if (process->pid == 0 || ticket == 0
            || (next && ticket > lowest)
            || (ngx_msec_int_t) (ngx_current_msec - process->seen)
               > NGX_HTTP_PAY_QUEUE_STALE)
        {
            continue;
        }

        lowest = ticket;
        next = process;
    }

    return next;
}


static void
ngx_http_pay_queue_tell(ngx_http_pay_ledger_process_t *process)
{
    if (process == ngx_http_pay_ledger_process(
                                         ngx_http_pay_queue.channels->ledger))
    {
        ngx_post_event(&ngx_http_pay_queue.turn, &ngx_posted_events);

    } else {
        ngx_http_pay_wake(process);
    }
}


void
ngx_http_pay_queue_wake(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch)
{
    ngx_uint_t                      i, wait_class;
    ngx_http_pay_ledger_process_t  *next;

    if (ngx_http_pay_queue.channels == NULL) {
        return;
    }

    for (i = 0; i < NGX_HTTP_PAY_WAITS; i++) {
        wait_class = NGX_HTTP_PAY_WAITS - 1 - i;
        next = NULL;

        ngx_http_pay_ledger_lock(cmcf->ledger);

        if (ngx_http_pay_channel_room(cmcf, ch, wait_class)) {
            next = ngx_http_pay_queue_next(cmcf->ledger, ch->row, wait_class);
        }

        ngx_http_pay_ledger_unlock(cmcf->ledger);

        if (next) {
            ngx_http_pay_queue_tell(next);
        }
    }
}


ngx_int_t
ngx_http_pay_queue_enter(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t kind, ngx_msec_t ms,
    ngx_http_pay_wait_t *wait)
{
    ngx_int_t                     rc;
    ngx_uint_t                    wait_class;
    ngx_http_pay_count_t         *count;
    ngx_http_pay_ledger_t        *l;
    ngx_http_pay_ledger_entry_t  *entry;

    l = cmcf->ledger;
    wait_class = ngx_http_pay_wait_class(kind);
    count = &l->counts[ch->row];

    wait->channel = ch;
    wait->wait_class = wait_class;

    ngx_http_pay_ledger_lock(l);

    ngx_http_pay_ledger_reap(l);

    entry = ngx_http_pay_ledger_entry(l, ch->row);

    if (entry == NULL) {
        rc = NGX_BUSY;

    } else if (count->waiting[wait_class] == 0
               && ngx_http_pay_channel_take(cmcf, ch, wait_class))
    {
        rc = NGX_OK;

    } else if (count->waiting[wait_class] >= ch->queue && !wait->again) {
        rc = NGX_BUSY;

    } else {
        wait->ticket = ++l->ticket;
        wait->waiting = 1;
        ngx_queue_insert_tail(&ch->waiting[wait_class], &wait->queue);

        count->waiting[wait_class]++;
        entry->waiting[wait_class]++;
        ngx_http_pay_queue_show(l, ch, wait_class);
        ngx_http_pay_ledger_process(l)->seen = ngx_current_msec;

        rc = NGX_AGAIN;
    }

    ngx_http_pay_ledger_unlock(l);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    wait->timer.handler = ngx_http_pay_queue_timeout;
    wait->timer.data = wait->connection;
    wait->timer.log = wait->connection->log;
    ngx_add_timer(&wait->timer, ms);

    if (ngx_http_pay_queue.n++ == 0) {
        ngx_add_timer(&ngx_http_pay_queue.tick, NGX_HTTP_PAY_QUEUE_TICK);
    }

    return NGX_AGAIN;
}


void
ngx_http_pay_queue_cancel(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_wait_t *wait)
{
    if (wait->timer.timer_set) {
        ngx_del_timer(&wait->timer);
    }

    if (wait->waiting) {
        ngx_http_pay_ledger_lock(cmcf->ledger);
        ngx_http_pay_queue_remove(cmcf->ledger, wait);
        ngx_http_pay_ledger_unlock(cmcf->ledger);

        /* it may have been its turn */

        ngx_http_pay_queue_wake(cmcf, wait->channel);

    } else if (wait->granted) {
        wait->granted = 0;
        ngx_queue_remove(&wait->queue);
        ngx_http_pay_channel_release(cmcf, wait->channel,
                                     wait->wait_class == NGX_HTTP_PAY_WAIT_PAY
                                     ? NGX_HTTP_PAY_KIND_PAY
                                     : NGX_HTTP_PAY_KIND_OTHER);
    }
}


static void
ngx_http_pay_queue_timeout(ngx_event_t *ev)
{
    ngx_http_pay_wait_t  *wait;

    wait = (ngx_http_pay_wait_t *) ((u_char *) ev
                                    - offsetof(ngx_http_pay_wait_t, timer));

    ngx_http_pay_queue_cancel(ngx_http_pay_queue.channels, wait);
    wait->handler(wait, NGX_BUSY);
}


/* gives free places to those of this process whose turn it is */

static void
ngx_http_pay_queue_grant(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, ngx_uint_t wait_class, ngx_queue_t *granted)
{
    ngx_queue_t                    *queue;
    ngx_http_pay_wait_t            *wait;
    ngx_http_pay_ledger_t          *l;
    ngx_http_pay_ledger_process_t  *own, *next;

    l = cmcf->ledger;
    queue = &ch->waiting[wait_class];
    next = NULL;

    ngx_http_pay_ledger_lock(l);

    own = ngx_http_pay_ledger_process(l);

    while (!ngx_queue_empty(queue)
           && ngx_http_pay_channel_room(cmcf, ch, wait_class))
    {
        next = ngx_http_pay_queue_next(l, ch->row, wait_class);

        if (next != own || own == NULL) {
            break;
        }

        (void) ngx_http_pay_channel_take(cmcf, ch, wait_class);

        wait = ngx_queue_data(ngx_queue_head(queue), ngx_http_pay_wait_t,
                              queue);

        ngx_http_pay_queue_remove(l, wait);
        ngx_queue_insert_tail(granted, &wait->queue);
        wait->granted = 1;
        next = NULL;
    }

    if (next == NULL && ngx_http_pay_channel_room(cmcf, ch, wait_class)) {
        next = ngx_http_pay_queue_next(l, ch->row, wait_class);
    }

    ngx_http_pay_ledger_unlock(l);

    if (next && next != own) {
        ngx_http_pay_queue_tell(next);
    }
}


static void
ngx_http_pay_queue_turn(ngx_event_t *ev)
{
    ngx_uint_t                          i;
    ngx_queue_t                         granted, *q;
    ngx_http_pay_wait_t                *wait;
    ngx_http_pay_channel_t            **chp;
    ngx_http_pay_ledger_process_t      *own;
    ngx_http_pay_channel_main_conf_t   *cmcf;

    cmcf = ngx_http_pay_queue.channels;
    chp = cmcf->channels.elts;

    ngx_queue_init(&granted);

    own = ngx_http_pay_ledger_process(cmcf->ledger);

    if (own) {
        own->seen = ngx_current_msec;
    }

    for (i = 0; ngx_http_pay_queue.n && i < cmcf->channels.nelts; i++) {
        ngx_http_pay_queue_grant(cmcf, chp[i], NGX_HTTP_PAY_WAIT_OTHER,
                                 &granted);
        ngx_http_pay_queue_grant(cmcf, chp[i], NGX_HTTP_PAY_WAIT_PAY,
                                 &granted);
    }

    /* a handler may end other requests, and so take them out of the list */

    while (!ngx_queue_empty(&granted)) {
        q = ngx_queue_head(&granted);
        ngx_queue_remove(q);

        wait = ngx_queue_data(q, ngx_http_pay_wait_t, queue);
        wait->granted = 0;

        if (wait->timer.timer_set) {
            ngx_del_timer(&wait->timer);
        }

        wait->handler(wait, NGX_OK);
    }
}


static void
ngx_http_pay_queue_tick(ngx_event_t *ev)
{
    ngx_http_pay_ledger_t  *l;

    l = ngx_http_pay_queue.channels->ledger;

    ngx_http_pay_ledger_lock(l);
    ngx_http_pay_ledger_reap(l);
    ngx_http_pay_ledger_unlock(l);

    ngx_http_pay_queue_turn(ev);

    if (ngx_http_pay_queue.n && !ev->timer_set) {
        ngx_add_timer(ev, NGX_HTTP_PAY_QUEUE_TICK);
    }
}


void
ngx_http_pay_queue_start(ngx_cycle_t *cycle,
    ngx_http_pay_channel_main_conf_t *cmcf)
{
    ngx_http_pay_ledger_process_t  *own;

    own = ngx_http_pay_ledger_process(cmcf->ledger);

    if (own == NULL) {
        return;
    }

    ngx_http_pay_queue.fd = (ngx_socket_t) -1;
    ngx_http_pay_queue.channels = cmcf;

    ngx_http_pay_queue.tick.handler = ngx_http_pay_queue_tick;
    ngx_http_pay_queue.tick.data = &ngx_http_pay_queue;
    ngx_http_pay_queue.tick.log = cycle->log;

    ngx_http_pay_queue.turn.handler = ngx_http_pay_queue_turn;
    ngx_http_pay_queue.turn.data = &ngx_http_pay_queue;
    ngx_http_pay_queue.turn.log = cycle->log;

    if (cmcf->channels.nelts
        && ngx_http_pay_wake_listen(cycle, own, &ngx_http_pay_queue.turn)
           != NGX_OK)
    {
        ngx_log_error(NGX_LOG_WARN, cycle->log, ngx_errno,
                      "pay: nobody can wake this process: "
                      "calls that wait look by themselves");
    }
}


void
ngx_http_pay_queue_stop(void)
{
    ngx_http_pay_wake_stop();

    if (ngx_http_pay_queue.tick.timer_set) {
        ngx_del_timer(&ngx_http_pay_queue.tick);
    }
}
