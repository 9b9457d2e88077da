/*
 * What shared caps need in the configuration, and the file of promises.
 *
 *     BOOT-ID UNTIL
 *
 * Places may be lent until UNTIL, microseconds of CLOCK_BOOTTIME of that boot.
 */

#include "ngx_http_pay_lease.h"

#include "ngx_pay_module/guard/ngx_http_pay_guard.h"

#include "core/clock.h"
#include "core/crypto.h"


#define NGX_HTTP_PAY_BOOT_ID  36


/* pay_node NUMBER/NODES */

char *
ngx_http_pay_lease_node(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_channel_main_conf_t  *cmcf = conf;

    u_char     *slash;
    ngx_int_t   n, of;
    ngx_str_t  *value;

    if (cmcf->nodes) {
        return "is duplicate";
    }

    value = cf->args->elts;
    slash = ngx_strlchr(value[1].data, value[1].data + value[1].len, '/');

    n = slash ? ngx_atoi(value[1].data, slash - value[1].data) : NGX_ERROR;
    of = slash ? ngx_atoi(slash + 1,
                          value[1].data + value[1].len - slash - 1)
               : NGX_ERROR;

    if (n < 1 || of < 2 || of > LEASE_NODES || n > of) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\", "
                           "allowed is NUMBER/NODES, 1/2 to 8/8",
                           &value[1], &value[0]);
        return NGX_CONF_ERROR;
    }

    cmcf->node = n - 1;
    cmcf->nodes = of;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_pay_lease_check(ngx_conf_t *cf)
{
    const char                         *text;
    ngx_uint_t                          i;
    ngx_http_pay_channel_t            **chp;
    ngx_http_pay_guard_main_conf_t     *gmcf;
    ngx_http_pay_channel_main_conf_t   *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pay_channel_module);
    gmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pay_guard_module);

    chp = cmcf->channels.elts;

    for (i = 0; i < cmcf->channels.nelts; i++) {

        if (!chp[i]->shared) {
            continue;
        }

        text = cmcf->nodes == 0 ? "\"pay_node\""
               : gmcf->redis == NULL ? "\"pay_redis\""
               : cmcf->state_file.len == 0 ? "\"pay_state_file\""
               : ngx_http_pay_lease_call(chp[i]) > LEASE_CALL_MAX / 1000
                 ? "time-outs of less than 100 s in all" : NULL;

        if (text) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "a shared \"concurrency\" needs %s, "
                          "pay_channel \"%V\" in %s:%ui",
                          text, &chp[i]->name, chp[i]->file, chp[i]->line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_pay_lease_boot_id(u_char *id)
{
    ssize_t   n;
    ngx_fd_t  fd;

    fd = ngx_open_file("/proc/sys/kernel/random/boot_id", NGX_FILE_RDONLY,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    n = ngx_read_fd(fd, id, NGX_HTTP_PAY_BOOT_ID);
    (void) ngx_close_file(fd);

    return n == NGX_HTTP_PAY_BOOT_ID ? NGX_OK : NGX_ERROR;
}


/* a NUL behind it */

static void
ngx_http_pay_lease_file(ngx_http_pay_channel_main_conf_t *cmcf, u_char *name,
    const char *more)
{
    *ngx_snprintf(name, NGX_MAX_PATH - 1, "%V.lease%s", &cmcf->state_file, more)
        = '\0';
}


/*
 * Not synced: what it is for, a restart of nginx, does not lose it, and after
 * a restart of the machine the promises of a file that was lost are taken to
 * have been made.
 */

ngx_int_t
ngx_http_pay_lease_save(ngx_http_pay_channel_main_conf_t *cmcf, int64_t until)
{
    u_char    name[NGX_MAX_PATH], new[NGX_MAX_PATH], *p;
    u_char    text[NGX_HTTP_PAY_BOOT_ID + NGX_INT64_LEN + 2];
    ngx_fd_t  fd;

    ngx_http_pay_lease_file(cmcf, name, "");
    ngx_http_pay_lease_file(cmcf, new, ".new");

    fd = open((char *) new, O_WRONLY|O_CREAT|O_TRUNC|O_NOFOLLOW, 0640);

    if (fd == -1 || ngx_http_pay_lease_boot_id(text) != NGX_OK) {
        goto failed;
    }

    p = ngx_sprintf(text + NGX_HTTP_PAY_BOOT_ID, " %L\n", until);

    if (ngx_write_fd(fd, text, p - text) != p - text
        || ngx_rename_file(new, name) == NGX_FILE_ERROR)
    {
        goto failed;
    }

    (void) ngx_close_file(fd);

    cmcf->ledger->lent_until = until;

    return NGX_OK;

failed:

    ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, ngx_errno,
                  "pay: \"%s\" could not be written, this node lends nothing",
                  new);

    if (fd != -1) {
        (void) ngx_close_file(fd);
    }

    return NGX_ERROR;
}


/* until when places of a former life may be lent; 0: nothing is */

static int64_t
ngx_http_pay_lease_load(ngx_http_pay_channel_main_conf_t *cmcf, int64_t term,
    ngx_log_t *log)
{
    u_char        name[NGX_MAX_PATH], id[NGX_HTTP_PAY_BOOT_ID];
    u_char        text[NGX_HTTP_PAY_BOOT_ID + NGX_INT64_LEN + 2];
    ssize_t       n;
    int64_t       until, now;
    ngx_fd_t      fd;
    struct slice  s;

    now = clock_read_boot_us();

    ngx_http_pay_lease_file(cmcf, name, "");

    fd = ngx_open_file(name, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE && ngx_errno == NGX_ENOENT) {

        /* nothing was ever lent, or the machine has just lost the file */

        return now < term ? term : 0;
    }

    n = fd == NGX_INVALID_FILE ? -1 : ngx_read_fd(fd, text, sizeof(text));

    if (fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(fd);
    }

    if (n <= NGX_HTTP_PAY_BOOT_ID + 1 || text[n - 1] != '\n'
        || ngx_http_pay_lease_boot_id(id) != NGX_OK)
    {
        goto unknown;
    }

    s = slice_n(text + NGX_HTTP_PAY_BOOT_ID + 1,
                n - NGX_HTTP_PAY_BOOT_ID - 2);

    if (slice_int64(s, &until) != 0) {
        goto unknown;
    }

    if (ngx_memcmp(text, id, NGX_HTTP_PAY_BOOT_ID) != 0) {
        return now < term ? term : 0;
    }

    return until > now ? until : 0;

unknown:

    ngx_log_error(NGX_LOG_ERR, log, 0,
                  "pay: \"%s\" cannot be read: shared caps are used when all "
                  "nodes answer, or in %L s", name, term / USEC_PER_SEC);

    return now + term;
}


void
ngx_http_pay_lease_prepare(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_log_t *log)
{
    int64_t                   lost;
    ngx_uint_t                i;
    struct lease_terms        terms;
    ngx_http_pay_ledger_t    *l;
    ngx_http_pay_channel_t  **chp;

    l = cmcf->ledger;
    chp = cmcf->channels.elts;

    if (l->mark == 0) {
        (void) random_bytes(&l->mark, sizeof(l->mark));
        l->mark |= 1;
    }

    for (i = 0; i < cmcf->channels.nelts; i++) {

        if (!chp[i]->shared || l->leases[chp[i]->row].ready) {
            continue;
        }

        terms.nodes = (uint32_t) cmcf->nodes;
        terms.self = (uint32_t) cmcf->node;
        terms.cap = (uint32_t) chp[i]->cap;
        terms.call = (int64_t) ngx_http_pay_lease_call(chp[i]) * USEC_PER_MSEC;

        lost = ngx_http_pay_lease_load(cmcf, lease_term(&terms), log);

        ngx_http_pay_ledger_lock(l);
        lease_init(&l->leases[chp[i]->row], &terms, lost);
        l->counts[chp[i]->row].limit = l->leases[chp[i]->row].own;
        ngx_http_pay_ledger_unlock(l);
    }
}
