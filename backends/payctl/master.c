/*
 * The master keys: sealing and opening for the other commands, and sealing every secret of the
 * database anew under the first key (docs/runbook.md has the steps around it).
 *
 * Rotation is a walk through each table by name, a page at a time: what the first key opens already
 * is left alone; the rest is opened, sealed anew and written back in one statement, which is one
 * transaction, and only where nobody changed it meanwhile. Killed anywhere, each secret is under
 * one key or the other, and the next run finds what is left.
 */
#include "ctl.h"
#include "core/json.h"

#include <stdio.h>

#define PAGE       100
#define SEALED_MAX (1u << 20)
#define ARRAY_MAX  (256u << 20)

/* ---- sealing ---- */

const struct vault *ctl_vault(struct ctl *c)
{
    struct conf_error err = {.text = ""};

    if (c->vault.n == 0 && options_vault(&c->options, &c->vault, &err) != 0) {
        ctl_refuse("%s", err.text);
        return NULL;
    }
    return &c->vault;
}

const char *ctl_seal(struct ctl *c, struct arena *a, struct slice context, struct slice plain)
{
    const struct vault *v = ctl_vault(c);
    struct buf sealed, hex;
    const char *out = NULL;

    if (!v)
        return NULL;
    buf_init(&sealed, SEALED_MAX);
    buf_init(&hex, 2 * SEALED_MAX);
    if (vault_ring_seal(v, context, plain, &sealed) == 0) {
        hex_encode(&hex, buf_slice(&sealed), false);
        out = arena_cstr(a, buf_slice(&hex));
    }
    buf_release(&sealed);
    buf_release(&hex);
    if (!out)
        ctl_refuse("cannot seal");
    return out;
}

int ctl_open(struct ctl *c, struct slice context, const char *hex, struct buf *plain)
{
    const struct vault *v = ctl_vault(c);
    struct buf sealed;
    int which = -1;

    if (!v)
        return -1;
    buf_init(&sealed, SEALED_MAX);
    if (hex && hex_decode(&sealed, slice_of(hex)) == 0)
        which = vault_ring_open(v, context, buf_slice(&sealed), plain);
    buf_release(&sealed);
    return which;
}

/* ---- the tables ---- */

static const struct {
    const char *name, *context;
    enum admin_statement page, reseal;
} tables[] = {
    {"app keys", "app_key", ADMIN_SEALED_KEYS, ADMIN_RESEAL_KEYS},
    {"channel accounts", "channel_account", ADMIN_SEALED_ACCOUNTS, ADMIN_RESEAL_ACCOUNTS},
};
#define TABLES (sizeof(tables) / sizeof(*tables))

struct count {
    long by_key[VAULT_KEYS_MAX], lost, resealed, passed;
};

static void wipe_buf(struct buf *b)
{
    if (b->p)
        wipe(b->p, b->n);
    buf_clear(b);
}

/* One page: counted, and what the first key does not open is written into the arrays, whose slices
 * hold "{a,b". */
struct page {
    struct buf names, was, anew;
    int stale;
};

static void page_add(struct page *p, const char *name, const char *was, const char *anew)
{
    char lead = p->stale++ ? ',' : '{';

    buf_addf(&p->names, "%c%s", lead, name);
    buf_addf(&p->was, "%c%s", lead, was);
    buf_addf(&p->anew, "%c%s", lead, anew);
}

static int look_at(struct ctl *c, size_t t, const char *name, const char *sealed, struct page *p,
                   struct count *n)
{
    const char *anew;
    struct arena a;
    struct slice context;
    struct buf plain;
    int which, status = CTL_DONE;

    arena_init(&a, 4 * SEALED_MAX);
    buf_init(&plain, SEALED_MAX);
    context = arena_printf(&a, "%s:%s", tables[t].context, name);
    which = ctl_open(c, context, sealed, &plain);
    if (which < 0) {
        n->lost++;
        status = ctl_refuse("%s: %s opens with none of the master keys", tables[t].name, name);
    } else {
        n->by_key[which]++;
    }
    if (which > 0 && p) {
        anew = ctl_seal(c, &a, context, buf_slice(&plain));
        if (anew)
            page_add(p, name, sealed, anew);
    }
    wipe_buf(&plain);
    buf_release(&plain);
    arena_release(&a);
    return status;
}

static int write_page(struct ctl *c, size_t t, struct page *p, struct count *n)
{
    struct admin_rows *rows;

    buf_add(&p->names, "}", 2); /* with the NUL */
    buf_add(&p->was, "}", 2);
    buf_add(&p->anew, "}", 2);
    if (!buf_ok(&p->names) || !buf_ok(&p->was) || !buf_ok(&p->anew))
        return ctl_refuse("out of memory");
    const char *params[] = {p->names.p, p->was.p, p->anew.p};
    rows = ctl_run(c, tables[t].reseal, params);
    if (!rows)
        return CTL_REFUSED;
    n->resealed += admin_rows_count(rows);
    n->passed += p->stale - admin_rows_count(rows); /* changed meanwhile */
    admin_rows_free(rows);
    return CTL_DONE;
}

/* All rows of a table, read page by page; anew: sealed under the first key. */
static int walk(struct ctl *c, size_t t, bool anew, long page_rows, struct count *n)
{
    struct arena a;
    const char *after = "";
    char limit[16];
    int nrows = 1, status = CTL_DONE;

    snprintf(limit, sizeof(limit), "%ld", page_rows);
    arena_init(&a, 1 << 20);
    while (status == CTL_DONE && nrows > 0) {
        const char *params[] = {after, limit};
        struct admin_rows *rows = ctl_run(c, tables[t].page, params);
        struct page p = {.stale = 0};

        if (!rows) {
            status = CTL_REFUSED;
            break;
        }
        buf_init(&p.names, ARRAY_MAX);
        buf_init(&p.was, ARRAY_MAX);
        buf_init(&p.anew, ARRAY_MAX);
        nrows = admin_rows_count(rows);
        for (int i = 0; i < nrows; i++)
            look_at(c, t, admin_rows_value(rows, i, 0), admin_rows_value(rows, i, 1),
                    anew ? &p : NULL, n);
        if (p.stale)
            status = write_page(c, t, &p, n);
        arena_clear(&a);
        if (nrows)
            after = arena_cstr(&a, slice_of(admin_rows_value(rows, nrows - 1, 0)));
        buf_release(&p.names);
        buf_release(&p.was);
        buf_release(&p.anew);
        admin_rows_free(rows);
    }
    arena_release(&a);
    return status;
}

/* ---- commands ---- */

static void show(const struct ctl *c, const struct count *n, bool anew)
{
    struct json_writer w;
    struct buf b;

    if (!c->json) {
        for (size_t t = 0; t < TABLES; t++) {
            if (anew)
                printf("%-18s %ld sealed anew\n", tables[t].name, n[t].resealed);
            for (uint32_t k = 0; k < c->options.master_key_count; k++)
                printf("%-18s %ld under %s\n", tables[t].name, n[t].by_key[k],
                       c->options.master_keys[k]);
            if (n[t].lost)
                printf("%-18s %ld under none of them\n", tables[t].name, n[t].lost);
        }
        return;
    }
    buf_init(&b, SEALED_MAX);
    json_writer_init(&w, &b);
    json_begin_array(&w);
    for (size_t t = 0; t < TABLES; t++) {
        json_begin_object(&w);
        json_member_str(&w, "table", slice_of(tables[t].name));
        json_member_int64(&w, "sealed_anew", n[t].resealed);
        json_key(&w, "under");
        json_begin_array(&w);
        for (uint32_t k = 0; k < c->options.master_key_count; k++)
            json_put_int64(&w, n[t].by_key[k]);
        json_end_array(&w);
        json_member_int64(&w, "lost", n[t].lost);
        json_end_object(&w);
    }
    json_end_array(&w);
    printf("%.*s\n", SLICE_FMT(buf_slice(&b)));
    buf_release(&b);
}

/* How many secrets each key holds; refused when one is lost or, for `first`, not under the first.
 */
static int count_all(struct ctl *c, struct count *n, bool first)
{
    int status = CTL_DONE;

    for (size_t t = 0; t < TABLES; t++) {
        long resealed = n[t].resealed;

        n[t] = (struct count){.resealed = resealed};
        if (walk(c, t, false, PAGE, &n[t]) != CTL_DONE || n[t].lost)
            status = CTL_REFUSED;
        for (uint32_t k = 1; first && k < VAULT_KEYS_MAX; k++)
            if (n[t].by_key[k])
                status = ctl_refuse("%s: %ld are not under the first key; run it again",
                                    tables[t].name, n[t].by_key[k]);
    }
    return status;
}

static int master_status(struct ctl *c, int argc, char **argv)
{
    struct count n[TABLES] = {{.lost = 0}};
    int status;

    (void)argv;
    if (argc != 0)
        return CTL_USAGE;
    status = count_all(c, n, false);
    show(c, n, false);
    return status;
}

static int master_rotate(struct ctl *c, int argc, char **argv)
{
    const char *batch = ctl_option(&argc, argv, "--batch");
    struct count n[TABLES] = {{.lost = 0}};
    int status = CTL_DONE;
    int64_t rows = PAGE;

    if (argc != 0)
        return CTL_USAGE;
    if (batch && (slice_int64(slice_of(batch), &rows) != 0 || rows < 1 || rows > 1000))
        return ctl_refuse("--batch: \"%s\" is not 1..1000", batch);
    for (size_t t = 0; status == CTL_DONE && t < TABLES; t++)
        status = walk(c, t, true, (long)rows, &n[t]);
    if (status == CTL_DONE)
        status = count_all(c, n, true);
    show(c, n, true);
    return status;
}

const struct command master_commands[] = {
    {"master", "status", "", "how many secrets are sealed under each key of master_key",
     master_status},
    {"master", "rotate", "[--batch N]",
     "seal every secret anew under the first key; may be stopped and run again", master_rotate},
    {0}};
