/*
 * The state file: runtime switches over restarts.
 *
 *     ngx_pay switches 1
 *     wechat off 1790000000 0 the bank asked for it
 *     end 1 5d41402a
 *
 * One line a channel, or a pool ("pool:NAME"): name, state, when (Unix time),
 * who (uid), why.  The last
 * line has their number and the CRC-32 of all bytes in front of it.
 */

#include "ngx_http_pay_switch.h"

#include "core/buf.h"


#define NGX_HTTP_PAY_STATE_HEAD  "ngx_pay switches 1"
#define NGX_HTTP_PAY_STATE_MAX   (NGX_HTTP_PAY_LEDGER_ROWS * 512)


typedef struct {
    struct slice  name;
    ngx_uint_t    state;        /* 1 + NGX_HTTP_PAY_STATE_... */
    int64_t       at;
    int64_t       uid;
    struct slice  reason;
} ngx_http_pay_state_line_t;


char *
ngx_http_pay_state_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pay_channel_main_conf_t  *cmcf = conf;

    ngx_str_t  *value;

    if (cmcf->state_file.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0 || value[1].data[value[1].len - 1] == '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is no name of a file", &value[1]);
        return NGX_CONF_ERROR;
    }

    cmcf->state_file = value[1];

    if (ngx_conf_full_name(cf->cycle, &cmcf->state_file, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (cmcf->state_file.len > NGX_MAX_PATH - sizeof(".new")) {
        return "is too long";
    }

    return NGX_CONF_OK;
}


/* reading */

static ngx_int_t
ngx_http_pay_state_read(ngx_str_t *file, struct buf *text)
{
    ssize_t    n;
    ngx_fd_t   fd;
    ngx_err_t  err;

    fd = ngx_open_file(file->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    do {
        n = buf_reserve(text, 4096)
            ? ngx_read_fd(fd, text->p + text->n, 4096) : -1;
        err = text->failed ? EFBIG : ngx_errno;

        if (n > 0) {
            text->n += n;
        }

    } while (n > 0);

    (void) ngx_close_file(fd);
    ngx_set_errno(err);

    return n == 0 ? NGX_OK : NGX_ERROR;
}


/* "end 1 5d41402a" in the last line, and nothing behind it */

static ngx_uint_t
ngx_http_pay_state_adds_up(struct slice text, ngx_uint_t lines,
    struct slice last)
{
    uint32_t      crc;
    ngx_int_t     sum;
    int64_t       n;
    struct slice  word;

    crc = ngx_crc32_long((u_char *) (uintptr_t) text.p, last.p - text.p);

    word = slice_cut(&last, ' ');

    if (!slice_is(word, "end")
        || slice_int64(slice_cut(&last, ' '), &n) != 0
        || n != (int64_t) lines)
    {
        return 0;
    }

    sum = last.n == 8 ? ngx_hextoi((u_char *) (uintptr_t) last.p, 8)
                      : NGX_ERROR;

    return sum == (ngx_int_t) crc;
}


static ngx_uint_t
ngx_http_pay_state_parse(struct slice s, ngx_http_pay_state_line_t *line)
{
    ngx_int_t  state;

    line->name = slice_cut(&s, ' ');
    state = ngx_http_pay_switch_state(slice_cut(&s, ' '));

    if (line->name.n == 0 || line->name.n > NGX_HTTP_PAY_NAME_MAX
        || state <= 0
        || slice_int64(slice_cut(&s, ' '), &line->at) != 0
        || slice_int64(slice_cut(&s, ' '), &line->uid) != 0)
    {
        return 0;
    }

    line->state = state;
    line->reason = s;

    return s.n <= NGX_HTTP_PAY_REASON_MAX;
}


static void
ngx_http_pay_state_apply(ngx_http_pay_ledger_t *l,
    ngx_http_pay_state_line_t *line)
{
    ngx_int_t               n;
    u_char                 *name;
    ngx_http_pay_switch_t  *sw;

    name = (u_char *) (uintptr_t) line->name.p;

    ngx_http_pay_ledger_lock(l);

    n = ngx_http_pay_ledger_find(l, name, line->name.n);

    if (n == NGX_ERROR) {

        /* its block is away; the switch waits for it */

        n = ngx_http_pay_ledger_add(l, name, line->name.n);
    }

    if (n != NGX_ERROR && l->states[n] == 0) {
        sw = &l->rows[n].sw;
        sw->at = (time_t) line->at;
        sw->uid = (uid_t) line->uid;
        sw->len = line->reason.n;
        ngx_memcpy(sw->reason, line->reason.p, sw->len);

        l->states[n] = (u_char) line->state;
    }

    ngx_http_pay_ledger_unlock(l);
}


/* 0, or the number of the first line that makes no sense */

static ngx_uint_t
ngx_http_pay_state_bad_line(struct slice text)
{
    ngx_uint_t                 n;
    struct slice               rest, s;
    ngx_http_pay_state_line_t  line;

    rest = text;
    s = slice_cut(&rest, '\n');

    if (!slice_is(s, NGX_HTTP_PAY_STATE_HEAD) || rest.n == 0) {
        return 1;
    }

    for (n = 2; /* void */ ; n++) {
        s = slice_cut(&rest, '\n');

        if (rest.n == 0) {
            return ngx_http_pay_state_adds_up(text, n - 2, s) ? 0 : n;
        }

        if (!ngx_http_pay_state_parse(s, &line)) {
            return n;
        }
    }
}


/* from a damaged file only what closes a channel is believed */

static void
ngx_http_pay_state_lines(ngx_http_pay_ledger_t *l, struct slice text,
    ngx_uint_t damaged)
{
    ngx_http_pay_state_line_t  line;

    while (text.n) {
        if (ngx_http_pay_state_parse(slice_cut(&text, '\n'), &line)
            && (!damaged || line.state != 1 + NGX_HTTP_PAY_STATE_ON))
        {
            ngx_http_pay_state_apply(l, &line);
        }
    }
}


/* a channel that may have been switched off is not open by accident */

static void
ngx_http_pay_state_close(ngx_http_pay_channel_main_conf_t *cmcf)
{
    ngx_uint_t                  i;
    ngx_http_pay_channel_t    **chp;
    ngx_http_pay_state_line_t   line;

    chp = cmcf->channels.elts;

    for (i = 0; i < cmcf->channels.nelts; i++) {

        if (chp[i]->state != NGX_HTTP_PAY_STATE_ON) {
            continue;
        }

        line.name = slice_n(chp[i]->name.data, chp[i]->name.len);
        line.state = 1 + NGX_HTTP_PAY_STATE_DRAIN;
        line.at = ngx_time();
        line.uid = NGX_HTTP_PAY_UID_NOBODY;
        line.reason = SLICE(NGX_HTTP_PAY_STATE_LOST);

        ngx_http_pay_state_apply(cmcf->ledger, &line);
    }
}


void
ngx_http_pay_state_load(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_log_t *log)
{
    ngx_int_t     rc;
    ngx_err_t     err;
    ngx_uint_t    bad;
    struct buf    text;

    if (cmcf->state_file.len == 0 || cmcf->ledger->loaded) {
        return;
    }

    cmcf->ledger->loaded = 1;

    buf_init(&text, NGX_HTTP_PAY_STATE_MAX);

    rc = ngx_http_pay_state_read(&cmcf->state_file, &text);
    err = rc == NGX_OK ? 0 : ngx_errno;

    if (err == NGX_ENOENT) {

        /* nobody has ever switched anything */

        buf_release(&text);
        return;
    }

    bad = ngx_http_pay_state_bad_line(buf_slice(&text));

    if (rc == NGX_OK && bad == 0) {
        ngx_http_pay_state_lines(cmcf->ledger, buf_slice(&text), 0);
        buf_release(&text);
        return;
    }

    cmcf->ledger->damaged = 1;
    cmcf->ledger->unkept = 1;

    ngx_log_error(NGX_LOG_ALERT, log, err,
                  "pay: the switches in \"%V\" cannot be read (line %ui): "
                  "channels take no new payments until they are switched with "
                  "\"payctl channel on|off|reset\"", &cmcf->state_file, bad);

    ngx_http_pay_state_lines(cmcf->ledger, buf_slice(&text), 1);
    ngx_http_pay_state_close(cmcf);

    buf_release(&text);
}


/* writing */

static void
ngx_http_pay_state_text(ngx_http_pay_ledger_t *l, struct buf *text)
{
    ngx_uint_t                  i, n;
    ngx_str_t                  *state;
    ngx_http_pay_ledger_row_t  *row;

    buf_add_str(text, NGX_HTTP_PAY_STATE_HEAD "\n");

    ngx_http_pay_ledger_lock(l);

    for (i = 0, n = 0; i < NGX_HTTP_PAY_LEDGER_ROWS; i++) {
        row = &l->rows[i];

        if (row->len == 0 || l->states[i] == 0) {
            continue;
        }

        n++;
        state = ngx_http_pay_switch_name(l->states[i]);

        buf_add(text, row->name, row->len);
        buf_add_char(text, ' ');
        buf_add(text, state->data, state->len);
        buf_add_char(text, ' ');
        buf_add_int64(text, row->sw.at);
        buf_add_char(text, ' ');
        buf_add_int64(text, row->sw.uid);
        buf_add_char(text, ' ');
        buf_add(text, row->sw.reason, row->sw.len);
        buf_add_char(text, '\n');
    }

    ngx_http_pay_ledger_unlock(l);

    buf_addf(text, "end %lu %08x\n", (unsigned long) n,
             buf_ok(text) ? (unsigned) ngx_crc32_long((u_char *) text->p,
                                                      text->n) : 0);
}


static ngx_int_t
ngx_http_pay_state_sync(const char *name, int flags, struct buf *text)
{
    int     fd;
    size_t  done;
    ssize_t n;

    fd = open(name, flags, 0640);

    if (fd == -1) {
        return NGX_ERROR;
    }

    for (done = 0; text && done < text->n; done += n) {
        n = write(fd, text->p + done, text->n - done);

        if (n <= 0) {
            goto failed;
        }
    }

    if (fsync(fd) == -1) {
        goto failed;
    }

    return close(fd) == 0 ? NGX_OK : NGX_ERROR;

failed:

    (void) close(fd);

    return NGX_ERROR;
}


/* the folder of a file, ending in NUL, "/" included */

static u_char *
ngx_http_pay_state_folder(ngx_str_t *file, u_char *buf)
{
    u_char  *p;

    ngx_memcpy(buf, file->data, file->len);

    for (p = buf + file->len; p > buf && p[-1] != '/'; p--) { /* void */ }

    *p = '\0';

    return buf;
}


ngx_int_t
ngx_http_pay_state_save(ngx_http_pay_channel_main_conf_t *cmcf, ngx_log_t *log)
{
    u_char       name[NGX_MAX_PATH], folder[NGX_MAX_PATH];
    ngx_str_t   *file;
    struct buf   text;

    file = &cmcf->state_file;

    buf_init(&text, NGX_HTTP_PAY_STATE_MAX);
    ngx_http_pay_state_text(cmcf->ledger, &text);

    (void) ngx_http_pay_state_folder(file, folder);
    *ngx_snprintf(name, sizeof(name) - 1, "%V.new", file) = '\0';

    /* what is there is either the old file or the new one, on disk */

    if (!buf_ok(&text)
        || ngx_http_pay_state_sync((char *) name,
                                   O_WRONLY|O_CREAT|O_TRUNC|O_NOFOLLOW,
                                   &text) != NGX_OK
        || ngx_rename_file(name, file->data) == NGX_FILE_ERROR
        || ngx_http_pay_state_sync((char *) folder, O_RDONLY|O_DIRECTORY, NULL)
           != NGX_OK)
    {
        ngx_log_error(NGX_LOG_CRIT, log, ngx_errno,
                      "pay: \"%V\" could not be written, "
                      "a restart forgets what was switched", file);
        buf_release(&text);
        return NGX_ERROR;
    }

    cmcf->ledger->damaged = 0;
    buf_release(&text);

    return NGX_OK;
}


void
ngx_http_pay_state_check(ngx_http_pay_channel_main_conf_t *cmcf,
    ngx_log_t *log)
{
    u_char  folder[NGX_MAX_PATH];

    if (cmcf->state_file.len
        && faccessat(AT_FDCWD,
                     (char *) ngx_http_pay_state_folder(&cmcf->state_file,
                                                        folder),
                     W_OK, AT_EACCESS)
           == -1)
    {
        ngx_log_error(NGX_LOG_CRIT, log, ngx_errno,
                      "pay: nginx's user cannot write \"%V\", "
                      "a restart will forget what is switched",
                      &cmcf->state_file);
    }
}
