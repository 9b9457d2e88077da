/*
 * Accounts at channels. Secrets are read from files only (a process list shows arguments), are
 * sealed under the master key before they reach the database, and are never printed. Every change
 * is first opened as payd would open it, so that a wrong file is found here and not in its log.
 */
#include "ctl.h"
#include "print.h"

#include "backends/channel/channel.h"

#include <stdio.h>

#define SECRETS_MAX (1u << 20)
#define CHANGES_MAX 32

static struct slice context_of(struct arena *a, const char *channel, const char *account)
{
    return arena_printf(a, "channel_account:%s:%s", channel, account);
}

/* The account as payd would open it; the caller frees both. */
static int open_account(struct ctl *c, const char *channel, const char *account,
                        struct slice config, struct slice secrets, struct channel_set **set,
                        struct channel_account **out)
{
    const struct channel *ch;
    struct conf_error err = {.text = ""};

    *set = NULL;
    *out = NULL;
    if (channel_set_load(c->options.channels, c->options.adapters, set, &err) != 0)
        return ctl_refuse("%s", err.text);
    ch = channel_find(*set, slice_of(channel));
    if (!ch)
        return ctl_refuse("no channel \"%s\" in %s", channel, c->options.channels);
    if (channel_account_new(ch, slice_of(account), config, secrets, out, &err) != 0)
        return ctl_refuse("%s", err.text);
    return CTL_DONE;
}

static int check_account(struct ctl *c, const char *channel, const char *account,
                         struct slice config, struct slice secrets)
{
    struct channel_set *set;
    struct channel_account *opened;
    int status = open_account(c, channel, account, config, secrets, &set, &opened);

    channel_account_free(opened);
    channel_set_free(set);
    return status;
}

static int names_valid(int argc, char **argv)
{
    if (argc < 2)
        return CTL_USAGE;
    if (!ctl_name_valid(argv[0], 32) || !ctl_name_valid(argv[1], 64))
        return ctl_refuse("channel and account are 1..32 and 1..64 of 0-9A-Za-z_-");
    return CTL_DONE;
}

static int account_add(struct ctl *c, int argc, char **argv)
{
    const char *config_file = ctl_option(&argc, argv, "--config");
    const char *secrets_file = ctl_option(&argc, argv, "--secrets");
    const char *mchid = ctl_option(&argc, argv, "--merchant");
    struct arena *a = &c->options.arena;
    struct conf_error err = {.text = ""};
    struct slice config, secrets;
    const char *sealed;

    if (argc != 2 || !config_file || !secrets_file)
        return CTL_USAGE;
    if (names_valid(argc, argv) != CTL_DONE)
        return CTL_REFUSED;
    config = options_read_file(a, config_file, &err);
    secrets = options_read_file(a, secrets_file, &err);
    if (!config.p || !secrets.p)
        return ctl_refuse("%s", err.text);
    if (check_account(c, argv[0], argv[1], config, secrets) != CTL_DONE)
        return CTL_REFUSED;
    sealed = ctl_seal(c, a, context_of(a, argv[0], argv[1]), secrets);
    wipe((void *)(uintptr_t)secrets.p, secrets.n);
    if (!sealed)
        return CTL_REFUSED;
    const char *params[] = {argv[0], argv[1], mchid, arena_cstr(a, config), sealed};
    return ctl_change(c, ADMIN_ACCOUNT_PUT, params, "nothing stored");
}

/* ---- one account, opened ---- */

struct opened {
    struct arena arena;
    struct buf secrets; /* JSON; wiped */
    const char *mchid, *config, *sealed, *state, *changed_at;
};

static const char *keep(struct opened *o, const struct admin_rows *rows, int column)
{
    const char *v = admin_rows_value(rows, 0, column);

    return v ? arena_cstr(&o->arena, slice_of(v)) : NULL;
}

/* opened_end in any case. */
static int opened_begin(struct ctl *c, struct opened *o, char **argv)
{
    const char *params[] = {argv[0], argv[1]};
    struct admin_rows *rows = ctl_run(c, ADMIN_ACCOUNT_GET, params);
    int status = CTL_DONE;

    memset(o, 0, sizeof(*o));
    arena_init(&o->arena, 8 * SECRETS_MAX);
    buf_init(&o->secrets, SECRETS_MAX);
    if (!rows)
        return CTL_REFUSED;
    if (admin_rows_count(rows) == 0) {
        status = ctl_refuse("no such account");
    } else {
        o->mchid = keep(o, rows, 0);
        o->config = keep(o, rows, 1);
        o->sealed = keep(o, rows, 2);
        o->state = keep(o, rows, 3);
        o->changed_at = keep(o, rows, 4);
        if (ctl_open(c, context_of(&o->arena, argv[0], argv[1]), o->sealed, &o->secrets) < 0)
            status = ctl_refuse("its secrets open with none of the master keys");
    }
    admin_rows_free(rows);
    return status;
}

static void opened_end(struct opened *o)
{
    if (o->secrets.p)
        wipe(o->secrets.p, o->secrets.n);
    buf_release(&o->secrets);
    arena_release(&o->arena);
}

static void trust_published(struct ctl *c, char **argv, struct channel_account *a)
{
    const char *params[] = {argv[0], argv[1]};
    struct admin_rows *rows = ctl_run(c, ADMIN_ACCOUNT_PEMS, params);

    for (int i = 0; rows && i < admin_rows_count(rows); i++)
        channel_account_trust(a, slice_of(admin_rows_value(rows, i, 0)));
    admin_rows_free(rows);
}

int ctl_account_open(struct ctl *c, const char *channel, const char *account,
                     struct ctl_account *out)
{
    struct conf_error err = {.text = ""};
    struct opened o;
    int status;

    *out = (struct ctl_account){.set = NULL};
    if (channel_set_load(c->options.channels, c->options.adapters, &out->set, &err) != 0)
        return ctl_refuse("%s", err.text);
    out->channel = channel_find(out->set, slice_of(channel));
    if (!out->channel)
        return ctl_refuse("no channel \"%s\" in %s", channel, c->options.channels);
    if (!account)
        account = arena_cstr(&c->options.arena, channel_facts(out->channel)->account);
    if (!account || !*account)
        return ctl_refuse("channel %s names no account: say --account", channel);
    char *names[] = {(char *)(uintptr_t)channel, (char *)(uintptr_t)account};
    status = opened_begin(c, &o, names);
    if (status == CTL_DONE &&
        channel_account_new(out->channel, slice_of(account), slice_of(o.config),
                            buf_slice(&o.secrets), &out->opened, &err) != 0)
        status = ctl_refuse("%s", err.text);
    if (status == CTL_DONE)
        trust_published(c, names, out->opened);
    opened_end(&o);
    return status;
}

void ctl_account_close(struct ctl_account *a)
{
    channel_account_free(a->opened);
    channel_set_free(a->set);
}

/* ---- show ---- */

static void time_text(char out[RFC3339_LEN + 1], pay_time_t t)
{
    out[0] = '\0';
    if (t)
        time_format_rfc3339(out, t);
}

static void show_json(struct json_writer *w, char **argv, const struct opened *o,
                      const struct channel_account *acc)
{
    struct channel_secret s;
    struct slice name, value;
    char from[RFC3339_LEN + 1], until[RFC3339_LEN + 1];

    json_begin_object(w);
    json_member_str(w, "channel", slice_of(argv[0]));
    json_member_str(w, "account", slice_of(argv[1]));
    json_member_str_opt(w, "mchid", o->mchid ? slice_of(o->mchid) : SLICE_NULL);
    json_member_str(w, "state", slice_of(o->state));
    json_member_str(w, "changed_at", slice_of(o->changed_at));
    json_key(w, "config");
    json_begin_object(w);
    for (size_t i = 0; channel_account_value(acc, i, &name, &value); i++)
        if (value.n) {
            json_key_slice(w, name);
            json_put_str(w, value);
        }
    json_end_object(w);
    json_key(w, "secrets");
    json_begin_array(w);
    for (size_t i = 0; channel_account_secret(acc, i, &s); i++) {
        json_begin_object(w);
        json_member_str(w, "name", s.name);
        json_member_str(w, "type", slice_of(s.type));
        json_key(w, "present");
        json_put_bool(w, s.present);
        json_member_str_opt(w, "serial", s.serial);
        time_text(from, s.until ? s.from : 0);
        time_text(until, s.until);
        json_member_str_opt(w, "valid_from", slice_of(from));
        json_member_str_opt(w, "valid_to", slice_of(until));
        json_end_object(w);
    }
    json_end_array(w);
    json_end_object(w);
}

static void show_text(char **argv, const struct opened *o, const struct channel_account *acc)
{
    struct channel_secret s;
    struct slice name, value;
    char until[RFC3339_LEN + 1];

    printf("  %-18s %s\n  %-18s %s\n  %-18s %s\n  %-18s %s\n  %-18s %s\n", "channel", argv[0],
           "account", argv[1], "merchant", o->mchid ? o->mchid : "all (the platform's)", "state",
           o->state, "changed_at", o->changed_at);
    for (size_t i = 0; channel_account_value(acc, i, &name, &value); i++)
        if (value.n)
            printf("  %-18.*s %.*s\n", SLICE_FMT(name), SLICE_FMT(value));
    for (size_t i = 0; channel_account_secret(acc, i, &s); i++) {
        time_text(until, s.until);
        printf("  %-18.*s %s %s%s%.*s%s%s\n", SLICE_FMT(s.name), s.present ? "***" : "-", s.type,
               s.serial.n ? ", serial " : "", SLICE_FMT(s.serial), s.until ? ", until " : "",
               until);
    }
}

static int account_show(struct ctl *c, int argc, char **argv)
{
    struct channel_set *set = NULL;
    struct channel_account *acc = NULL;
    struct opened o;
    struct json_writer w;
    struct buf b;
    int status;

    if (argc != 2)
        return CTL_USAGE;
    status = opened_begin(c, &o, argv);
    if (status == CTL_DONE)
        status = open_account(c, argv[0], argv[1], slice_of(o.config), buf_slice(&o.secrets), &set,
                              &acc);
    if (status == CTL_DONE && c->json) {
        buf_init(&b, SECRETS_MAX);
        json_writer_init(&w, &b);
        show_json(&w, argv, &o, acc);
        printf("%.*s\n", SLICE_FMT(buf_slice(&b)));
        buf_release(&b);
    } else if (status == CTL_DONE) {
        show_text(argv, &o, acc);
    }
    channel_account_free(acc);
    channel_set_free(set);
    opened_end(&o);
    return status;
}

/* ---- change ---- */

struct change {
    struct slice name, text; /* text NULL: taken away */
};

struct changes {
    struct change values[CHANGES_MAX], secrets[CHANGES_MAX];
    size_t nvalues, nsecrets;
};

static bool is_changed(const struct change *changes, size_t n, struct slice name)
{
    for (size_t i = 0; i < n; i++)
        if (slice_eq(changes[i].name, name))
            return true;
    return false;
}

/* The object `was` with the changes, into *out. */
static int change_object(struct slice was, const struct change *changes, size_t n, struct buf *out)
{
    const struct json *root = NULL;
    struct json_error why;
    struct json_writer w;
    struct arena a;
    int rc = -1;

    arena_init(&a, 4 * SECRETS_MAX);
    if (json_parse(&a, was, NULL, &root, &why) == 0 && root->type == JSON_OBJECT) {
        json_writer_init(&w, out);
        json_begin_object(&w);
        for (const struct json *m = root->child; m; m = m->next) {
            if (is_changed(changes, n, m->key))
                continue;
            json_key_slice(&w, m->key);
            json_put_value(&w, m);
        }
        for (size_t i = 0; i < n; i++)
            if (changes[i].text.p) {
                json_key_slice(&w, changes[i].name);
                json_put_str(&w, changes[i].text);
            }
        json_end_object(&w);
        rc = buf_ok(out) ? 0 : -1;
    }
    for (const struct json *m = root ? root->child : NULL; m; m = m->next)
        if (m->text.n)
            wipe((void *)(uintptr_t)m->text.p, m->text.n);
    arena_release(&a);
    return rc;
}

static struct slice without_end_of_line(struct slice s)
{
    while (s.n && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r'))
        s.n--;
    return s;
}

/* NAME=FILE of --secret, whose end of line is not part of the secret. */
static int add_secret(struct ctl *c, struct changes *ch, const char *given)
{
    struct slice file = slice_of(given), name = slice_cut(&file, '=');
    struct conf_error err = {.text = ""};
    struct slice text;

    if (!file.n || ch->nsecrets == CHANGES_MAX)
        return ctl_refuse("--secret %s: expected NAME=FILE, at most %d", given, CHANGES_MAX);
    text = options_read_file(&c->options.arena, arena_cstr(&c->options.arena, file), &err);
    if (!text.p)
        return ctl_refuse("%s", err.text);
    ch->secrets[ch->nsecrets++] = (struct change){name, without_end_of_line(text)};
    return CTL_DONE;
}

static int read_changes(struct ctl *c, struct changes *ch, int *argc, char **argv)
{
    const char *given;

    while ((given = ctl_option(argc, argv, "--secret")) != NULL)
        if (add_secret(c, ch, given) != CTL_DONE)
            return CTL_REFUSED;
    /* of either kind: names are those of one adapter */
    while ((given = ctl_option(argc, argv, "--remove")) != NULL) {
        if (ch->nsecrets == CHANGES_MAX || ch->nvalues == CHANGES_MAX)
            return ctl_refuse("at most %d changes", CHANGES_MAX);
        ch->secrets[ch->nsecrets++] = (struct change){slice_of(given), SLICE_NULL};
        ch->values[ch->nvalues++] = (struct change){slice_of(given), SLICE_NULL};
    }
    for (int i = 2; i < *argc; i++) {
        struct slice value = slice_of(argv[i]), name = slice_cut(&value, '=');

        if (!value.p || !name.n || ch->nvalues == CHANGES_MAX)
            return ctl_refuse("\"%s\" is not NAME=VALUE, or there are too many", argv[i]);
        ch->values[ch->nvalues++] = (struct change){name, value};
    }
    return ch->nvalues || ch->nsecrets ? CTL_DONE : CTL_USAGE;
}

static int store_changes(struct ctl *c, char **argv, const struct opened *o, struct slice config,
                         struct slice secrets)
{
    struct arena *a = &c->options.arena;
    const char *sealed;

    if (check_account(c, argv[0], argv[1], config, secrets) != CTL_DONE)
        return CTL_REFUSED;
    sealed = ctl_seal(c, a, context_of(a, argv[0], argv[1]), secrets);
    if (!sealed)
        return CTL_REFUSED;
    const char *params[] = {argv[0], argv[1], arena_cstr(a, config), sealed, o->sealed};
    return ctl_change(c, ADMIN_ACCOUNT_CHANGE, params, "somebody else changed it just now");
}

static int account_set(struct ctl *c, int argc, char **argv)
{
    struct changes ch = {.nvalues = 0};
    struct buf config, secrets;
    struct opened o;
    int status = read_changes(c, &ch, &argc, argv);

    if (argc < 2)
        return CTL_USAGE;
    if (status != CTL_DONE)
        return status;
    buf_init(&config, SECRETS_MAX);
    buf_init(&secrets, SECRETS_MAX);
    status = opened_begin(c, &o, argv);
    if (status == CTL_DONE &&
        (change_object(slice_of(o.config), ch.values, ch.nvalues, &config) != 0 ||
         change_object(buf_slice(&o.secrets), ch.secrets, ch.nsecrets, &secrets) != 0))
        status = ctl_refuse("what is stored is not a JSON object, or too large");
    if (status == CTL_DONE)
        status = store_changes(c, argv, &o, buf_slice(&config), buf_slice(&secrets));
    for (size_t i = 0; i < ch.nsecrets; i++)
        if (ch.secrets[i].text.n)
            wipe((void *)(uintptr_t)ch.secrets[i].text.p, ch.secrets[i].text.n);
    if (secrets.p)
        wipe(secrets.p, secrets.n);
    buf_release(&config);
    buf_release(&secrets);
    opened_end(&o);
    return status;
}

/* ---- state ---- */

static int account_state(struct ctl *c, int argc, char **argv, const char *to)
{
    const char *params[] = {argv[0], argc == 2 ? argv[1] : NULL, to};

    return argc == 2 ? ctl_change(c, ADMIN_ACCOUNT_STATE, params, "no such account") : CTL_USAGE;
}

static int account_enable(struct ctl *c, int argc, char **argv)
{
    return account_state(c, argc, argv, "on");
}

static int account_disable(struct ctl *c, int argc, char **argv)
{
    return account_state(c, argc, argv, "off");
}

static int account_certificates(struct ctl *c, int argc, char **argv)
{
    const char *params[] = {argv[0], argc == 2 ? argv[1] : NULL};

    return argc == 2 ? ctl_list(c, ADMIN_ACCOUNT_CERTIFICATES, params) : CTL_USAGE;
}

static int account_list(struct ctl *c, int argc, char **argv)
{
    const char *params[] = {argc ? argv[0] : NULL};

    return argc <= 1 ? ctl_list(c, ADMIN_ACCOUNT_LIST, params) : CTL_USAGE;
}

const struct command account_commands[] = {
    {"account", "add", "CHANNEL ACCOUNT --config FILE --secrets FILE [--merchant MCHID]",
     "add or replace credentials at a channel (JSON files; docs/channels.md)", account_add},
    {"account", "set",
     "CHANNEL ACCOUNT [NAME=VALUE ...] [--secret NAME=FILE] ... [--remove NAME] ...",
     "change some of them; what is not named stays", account_set},
    {"account", "show", "CHANNEL ACCOUNT", "its values, and which secrets it has until when",
     account_show},
    {"account", "certificates", "CHANNEL ACCOUNT",
     "those that the channel published, as they were fetched", account_certificates},
    {"account", "enable", "CHANNEL ACCOUNT", "use it for new payments again", account_enable},
    {"account", "disable", "CHANNEL ACCOUNT",
     "no new payments with it within 5 s; what began with it goes on", account_disable},
    {"account", "list", "[CHANNEL]", "all accounts without their secrets", account_list},
    {0}};
