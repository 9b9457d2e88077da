/*
 * See ngx_http_pay_lease.h.
 */

#include "ngx_http_pay_lease.h"
#include "ngx_http_pay_queue.h"

#include "ngx_pay_module/redis/ngx_pay_redis.h"

#include "core/clock.h"


#define NGX_HTTP_PAY_LEASE_BEAT   (LEASE_BEAT / 1000)   /* ms */
#define NGX_HTTP_PAY_LEASE_STALE  (3 * LEASE_BEAT)      /* us: no keeper */
#define NGX_HTTP_PAY_LEASE_CLASH  8                     /* times in a row */


/* the event's data: the event module's debug log reads fd behind these */

static struct {
    void                              *unused[3];
    ngx_socket_t                       fd;
    ngx_http_pay_channel_main_conf_t  *channels;
    ngx_event_t                        beat;
    ngx_uint_t                         clash;
    unsigned                           mute:1;  /* nothing can be lent */
} ngx_http_pay_keeper;


/*
 * KEYS[1]: board of a channel.  ARGV: our number, the other's, our note a, b,
 * our mark, seconds the board lives, and which half of the other's note is
 * asked for.  The first half writes ours.  -1: somebody else writes as we.
 */

const char  ngx_http_pay_lease_script[] =
    "local k = KEYS[1]\n"
    "if ARGV[7] == 'a' then\n"
    "  local f = ARGV[1] .. '>' .. ARGV[2]\n"
    "  local old = redis.call('hget', k, f)\n"
    "  redis.call('hset', k, f, ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. ARGV[5])\n"
    "  redis.call('expire', k, ARGV[6])\n"
    "  if old and string.match(old, ' (%x+)$') ~= ARGV[5] then return -1 end\n"
    "end\n"
    "local v = redis.call('hget', k, ARGV[2] .. '>' .. ARGV[1])\n"
    "if not v then return 0 end\n"
    "local a, b = string.match(v, '^(%d+) (%d+) ')\n"
    "return tonumber(ARGV[7] == 'a' and a or b) or 0\n";


static void
ngx_http_pay_lease_terms(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, struct lease_terms *terms)
{
    terms->nodes = (uint32_t) cmcf->nodes;
    terms->self = (uint32_t) cmcf->node;
    terms->cap = (uint32_t) ch->cap;
    terms->call = (int64_t) ngx_http_pay_lease_call(ch) * USEC_PER_MSEC;
}


/* connecting, sending and waiting, and a second for all that is between */

ngx_msec_t
ngx_http_pay_lease_call(ngx_http_pay_channel_t *ch)
{
    return ch->connect_timeout + ch->send_timeout + ch->read_timeout + 1000;
}


ngx_uint_t
ngx_http_pay_lease_limit(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch)
{
    struct lease_terms  terms;

    ngx_http_pay_lease_terms(cmcf, ch, &terms);

    return lease_limit(&cmcf->ledger->leases[ch->row], &terms,
                       clock_read_boot_us());
}


/* places that would be good to have: what is in use, waits, was refused */

static ngx_uint_t
ngx_http_pay_lease_want(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, struct lease_terms *terms)
{
    ngx_uint_t                   want, pay, refused, room;
    ngx_http_pay_count_t        *count;
    ngx_http_pay_channel_row_t  *row;

    count = &cmcf->ledger->counts[ch->row];
    row = ngx_http_pay_channel_row(cmcf, ch);

    refused = row->refused[NGX_HTTP_PAY_REFUSED_BUSY];
    refused -= ngx_min(count->refused, refused);
    count->refused = row->refused[NGX_HTTP_PAY_REFUSED_BUSY];

    room = ngx_max(lease_share(terms) / 8, 2) + refused;

    want = count->in_flight + count->waiting[NGX_HTTP_PAY_WAIT_PAY]
           + count->waiting[NGX_HTTP_PAY_WAIT_OTHER] + room;
    pay = count->in_pay + count->waiting[NGX_HTTP_PAY_WAIT_PAY] + room;

    /* the reserve comes on top of what payments want */

    return ngx_min(ngx_max(want, (pay * 100 + 99 - ch->reserve)
                                 / (100 - ch->reserve)),
                   ch->cap);
}


/* before something is lent: a restart must know */

static void
ngx_http_pay_lease_remember(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch, struct lease_terms *terms, int64_t now)
{
    ngx_http_pay_ledger_t  *l;

    l = cmcf->ledger;

    if (!lease_asked(&l->leases[ch->row], terms, now)
        || l->lent_until >= now + lease_term(terms))
    {
        return;
    }

    /* for ten seconds more, so that it is not written at every beat */

    ngx_http_pay_keeper.mute =
        ngx_http_pay_lease_save(cmcf,
                                now + lease_term(terms) + 10 * USEC_PER_SEC)
        != NGX_OK;
}


static void
ngx_http_pay_lease_reply(void *data, ngx_int_t rc, int64_t *values)
{
    ngx_http_pay_channel_t  *ch = data;

    int64_t                            now;
    uint32_t                           peer, n;
    struct lease_note                  note;
    struct lease_terms                 terms;
    ngx_http_pay_channel_main_conf_t  *cmcf;

    cmcf = ngx_http_pay_keeper.channels;
    ch->asking = 0;

    if (rc != NGX_OK) {
        return;
    }

    now = clock_read_boot_us();
    ngx_http_pay_lease_terms(cmcf, ch, &terms);

    ngx_http_pay_ledger_lock(cmcf->ledger);

    for (peer = 0, n = 0; peer < terms.nodes; peer++) {

        if (peer == terms.self) {
            continue;
        }

        note.a = values[n++];
        note.b = values[n++];

        if (note.a == -1) {
            ngx_http_pay_keeper.clash++;
            continue;
        }

        ngx_http_pay_keeper.clash = 0;
        lease_read(&cmcf->ledger->leases[ch->row], &terms, peer, note, now);
    }

    cmcf->ledger->counts[ch->row].limit =
        lease_limit(&cmcf->ledger->leases[ch->row], &terms, now);

    ngx_http_pay_ledger_unlock(cmcf->ledger);

    if (ngx_http_pay_keeper.clash >= NGX_HTTP_PAY_LEASE_CLASH) {
        ngx_http_pay_keeper.clash = 0;
        ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                      "pay: another node calls itself \"pay_node %ui/%ui\": "
                      "together they may exceed the cap of pay_channel \"%V\"",
                      cmcf->node + 1, cmcf->nodes, &ch->name);
    }

    ngx_http_pay_queue_wake(cmcf, ch);
}


static u_char *
ngx_http_pay_lease_bulk(u_char *p, u_char *data, size_t len)
{
    p = ngx_sprintf(p, "$%uz\r\n", len);
    p = ngx_cpymem(p, data, len);
    *p++ = CR;
    *p++ = LF;

    return p;
}


static u_char *
ngx_http_pay_lease_number(u_char *p, int64_t n)
{
    u_char  text[NGX_INT64_LEN];

    return ngx_http_pay_lease_bulk(p, text,
                                   ngx_sprintf(text, "%L", n) - text);
}


/* writes our note to a node and asks for a half of its note */

static void
ngx_http_pay_lease_command(ngx_pay_redis_ask_t *ask, ngx_http_pay_channel_t *ch,
    uint32_t self, uint32_t peer, struct lease_note *note, u_char half)
{
    u_char               *p, *start, text[64 + NGX_HTTP_PAY_NAME_MAX];
    ngx_pay_redis_cmd_t  *cmd;

    cmd = &ask->cmds[ask->n++];
    cmd->script = NGX_HTTP_PAY_LEASE_SCRIPT;
    cmd->nkeys = 1;
    cmd->nargs = 7;
    cmd->own = 0;

    start = ask->text + ask->len;
    p = ngx_http_pay_lease_bulk(start, text,
                                ngx_sprintf(text, "pay:lease:{%V}", &ch->name)
                                - text);
    cmd->keys = p - start;

    start = p;
    p = ngx_http_pay_lease_number(p, self + 1);
    p = ngx_http_pay_lease_number(p, peer + 1);
    p = ngx_http_pay_lease_number(p, note->a);
    p = ngx_http_pay_lease_number(p, note->b);
    p = ngx_http_pay_lease_bulk(p, text,
                                ngx_sprintf(text, "%08xD",
                                            ngx_http_pay_keeper.channels
                                                ->ledger->mark)
                                - text);
    p = ngx_http_pay_lease_number(p, LEASE_CALL_MAX / USEC_PER_SEC + 60);

    p = ngx_http_pay_lease_bulk(p, &half, 1);
    cmd->args = p - start;

    ask->len = p - ask->text;
}


static void
ngx_http_pay_lease_channel(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_http_pay_channel_t *ch)
{
    int64_t              now;
    uint32_t             peer;
    ngx_uint_t           want, in_use;
    struct lease        *lease;
    struct lease_note    notes[LEASE_NODES];
    struct lease_terms   terms;
    ngx_pay_redis_ask_t  ask;

    now = clock_read_boot_us();
    ngx_http_pay_lease_terms(cmcf, ch, &terms);
    ngx_http_pay_lease_remember(cmcf, ch, &terms, now);

    lease = &cmcf->ledger->leases[ch->row];

    ngx_http_pay_ledger_lock(cmcf->ledger);

    in_use = cmcf->ledger->counts[ch->row].in_flight;
    want = ngx_http_pay_lease_want(cmcf, ch, &terms);

    lease_beat(lease, &terms, now,
               (uint32_t) (clock_read_wall() / LEASE_BEAT), in_use,
               ngx_http_pay_keeper.mute
               ? ngx_max(want, lease_share(&terms)) : want);

    for (peer = 0; peer < terms.nodes; peer++) {
        notes[peer] = lease_write(lease, &terms, peer);
    }

    cmcf->ledger->counts[ch->row].limit = lease_limit(lease, &terms, now);

    ngx_http_pay_ledger_unlock(cmcf->ledger);

    if (ch->asking) {
        return;
    }

    ask.n = 0;
    ask.len = 0;

    for (peer = 0; peer < terms.nodes; peer++) {

        if (peer == terms.self) {
            continue;
        }

        ngx_http_pay_lease_command(&ask, ch, terms.self, peer, &notes[peer],
                                   'a');
        ngx_http_pay_lease_command(&ask, ch, terms.self, peer, &notes[peer],
                                   'b');
    }

    ch->asking = ngx_pay_redis_eval(&ask, ngx_http_pay_lease_reply, ch) != NULL;
}


/* one process keeps the leases; when it does not, another one takes over */

static ngx_uint_t
ngx_http_pay_lease_keeps(ngx_http_pay_ledger_t *l)
{
    int64_t     now;
    ngx_uint_t  keeps;

    now = clock_read_boot_us();

    ngx_http_pay_ledger_lock(l);

    keeps = l->keeper == ngx_pid || now - l->kept_at > NGX_HTTP_PAY_LEASE_STALE;

    if (keeps) {
        l->keeper = ngx_pid;
        l->kept_at = now;
    }

    ngx_http_pay_ledger_unlock(l);

    return keeps;
}


static void
ngx_http_pay_lease_beat(ngx_event_t *ev)
{
    ngx_uint_t                          i;
    ngx_http_pay_channel_t            **chp;
    ngx_http_pay_channel_main_conf_t   *cmcf;

    /* one that ends leaves it to those that stay */

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        return;
    }

    cmcf = ngx_http_pay_keeper.channels;

    if (ngx_http_pay_lease_keeps(cmcf->ledger)) {
        chp = cmcf->channels.elts;

        for (i = 0; i < cmcf->channels.nelts; i++) {
            if (chp[i]->shared) {
                ngx_http_pay_lease_channel(cmcf, chp[i]);
            }
        }
    }

    ngx_add_timer(ev, NGX_HTTP_PAY_LEASE_BEAT);
}


void
ngx_http_pay_lease_start(ngx_cycle_t *cycle,
    ngx_http_pay_channel_main_conf_t *cmcf)
{
    ngx_uint_t                i;
    ngx_http_pay_channel_t  **chp;

    chp = cmcf->channels.elts;

    for (i = 0; i < cmcf->channels.nelts; i++) {
        if (chp[i]->shared) {
            break;
        }
    }

    if (i == cmcf->channels.nelts) {
        return;
    }

    ngx_http_pay_keeper.fd = (ngx_socket_t) -1;
    ngx_http_pay_keeper.channels = cmcf;
    ngx_http_pay_keeper.beat.handler = ngx_http_pay_lease_beat;
    ngx_http_pay_keeper.beat.data = &ngx_http_pay_keeper;
    ngx_http_pay_keeper.beat.log = cycle->log;
    ngx_http_pay_keeper.beat.cancelable = 1;

    ngx_add_timer(&ngx_http_pay_keeper.beat, 1);
}


void
ngx_http_pay_lease_stop(void)
{
    if (ngx_http_pay_keeper.beat.timer_set) {
        ngx_del_timer(&ngx_http_pay_keeper.beat);
    }
}
