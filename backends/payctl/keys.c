/*
 * Keys of apps. A key belongs to one signature scheme and one algorithm (docs/signing.md), which
 * the command that adds it says; neither changes afterwards. Secrets and keys are read from files
 * only (a process list shows arguments) and sealed under the master key before they reach the
 * database.
 */
#include "ctl.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/scheme.h"

#include <stdio.h>
#include <sys/stat.h>

#define SERIAL_RANDOM 24
#define SECRET_RANDOM 32
#define SECRET_MIN    16
#define DAYS_DEFAULT  "730"

/* What all add commands take. */
struct added {
    const char *app;
    const char *serial;
    const char *days;
    const char *from; /* NULL: now */
    enum key_scheme scheme;
    enum key_alg alg;
    char made[65];
};

static int take_options(struct added *k, int *argc, char **argv, enum key_alg alg,
                        enum key_scheme scheme)
{
    const char *named = ctl_option(argc, argv, "--scheme");
    pay_time_t at;
    int64_t n;

    *k = (struct added){.alg = alg, .scheme = scheme};
    k->serial = ctl_option(argc, argv, "--serial");
    k->days = ctl_option(argc, argv, "--days");
    k->from = ctl_option(argc, argv, "--valid-from");
    if (named)
        k->scheme = key_scheme_parse(slice_of(named));
    if (!key_scheme_allows(k->scheme, alg))
        return ctl_refuse("--scheme: %s keys are not for \"%s\"", key_alg_name(alg),
                          named ? named : "");
    if (!k->days)
        k->days = DAYS_DEFAULT;
    if (slice_int64(slice_of(k->days), &n) != 0 || n < 1 || n > 36500)
        return ctl_refuse("--days: \"%s\" is not 1..36500", k->days);
    if (k->from && time_parse_rfc3339(slice_of(k->from), &at) != 0)
        return ctl_refuse("--valid-from: \"%s\" is not an RFC 3339 time", k->from);
    return CTL_DONE;
}

static int store_key(struct ctl *c, struct added *k, struct slice material)
{
    struct arena *a = &c->options.arena;
    struct verify_key loaded = {0};
    const char *sealed;

    if (!k->serial) {
        random_token(k->made, SERIAL_RANDOM);
        k->serial = k->made;
    }
    if (!ctl_name_valid(k->serial, 64))
        return ctl_refuse("serial: \"%s\" is not 1..64 of 0-9A-Za-z_-", k->serial);
    if (verify_key_load(&loaded, k->alg, material) != 0)
        return ctl_refuse("key file: not a usable %s key", key_alg_name(k->alg));
    verify_key_release(&loaded);
    sealed = ctl_seal(c, a, arena_printf(a, "app_key:%s", k->serial), material);
    if (!sealed)
        return CTL_REFUSED;
    const char *params[] = {
        k->serial, k->app, key_scheme_name(k->scheme), key_alg_name(k->alg), sealed,
        k->days,   k->from};
    return ctl_change(c, ADMIN_KEY_ADD, params, "serial exists already, or no such app");
}

/* ---- public keys ---- */

/* The merchant's private key has no business here. */
static int add_public(struct ctl *c, int argc, char **argv, enum key_alg alg,
                      enum key_scheme scheme)
{
    const char *file = ctl_option(&argc, argv, "--public-key");
    struct conf_error err = {.text = ""};
    struct slice pem;
    struct added k;
    int status = take_options(&k, &argc, argv, alg, scheme);

    if (status != CTL_DONE)
        return status;
    if (argc != 1 || !file)
        return CTL_USAGE;
    k.app = argv[0];
    pem = options_read_file(&c->options.arena, file, &err);
    if (!pem.p)
        return ctl_refuse("%s", err.text);
    if (slice_contains(pem, SLICE("PRIVATE KEY-----")))
        return ctl_refuse("%s: a private key; only its public half belongs here", file);
    /* a certificate brings its own serial number */
    if (!k.serial && cert_serial_hex(pem, k.made, sizeof(k.made)) == 0)
        k.serial = k.made;
    return store_key(c, &k, pem);
}

static int add_rsa(struct ctl *c, int argc, char **argv)
{
    return add_public(c, argc, argv, KEY_RSA_SHA256, KEY_SCHEME_HEADER);
}

static int add_ed25519(struct ctl *c, int argc, char **argv)
{
    return add_public(c, argc, argv, KEY_ED25519, KEY_SCHEME_HEADER);
}

static int add_ecdsa(struct ctl *c, int argc, char **argv)
{
    return add_public(c, argc, argv, KEY_ECDSA_P256_SHA256, KEY_SCHEME_RFC9421);
}

static int add_rsa_pss(struct ctl *c, int argc, char **argv)
{
    return add_public(c, argc, argv, KEY_RSA_PSS_SHA512, KEY_SCHEME_RFC9421);
}

/* ---- shared secrets ---- */

static int write_secret(const char *file, struct slice secret)
{
    FILE *f = fopen(file, "wx");

    if (!f)
        return -1;
    if (fchmod(fileno(f), 0600) != 0 || fwrite(secret.p, 1, secret.n, f) != secret.n) {
        fclose(f);
        return -1;
    }
    return fclose(f);
}

static struct slice without_end_of_line(struct slice s)
{
    while (s.n && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r'))
        s.n--;
    return s;
}

static int add_secret(struct ctl *c, int argc, char **argv, enum key_alg alg,
                      enum key_scheme scheme)
{
    const char *file = ctl_option(&argc, argv, "--secret-file");
    bool generate = ctl_flag(&argc, argv, "--generate");
    struct conf_error err = {.text = ""};
    char secret[SECRET_RANDOM];
    struct slice material;
    struct added k;
    int status = take_options(&k, &argc, argv, alg, scheme);

    if (status != CTL_DONE)
        return status;
    if (argc != 1 || !file)
        return CTL_USAGE;
    k.app = argv[0];
    if (generate) {
        random_token(secret, sizeof(secret));
        status = write_secret(file, slice_n(secret, sizeof(secret)));
        wipe(secret, sizeof(secret));
        if (status != 0)
            return ctl_refuse("%s: cannot create it (it must not exist)", file);
    }
    material = without_end_of_line(options_read_file(&c->options.arena, file, &err));
    if (!material.p)
        return ctl_refuse("%s", err.text);
    if (material.n < SECRET_MIN)
        return ctl_refuse("%s: a secret has at least %d bytes", file, SECRET_MIN);
    return store_key(c, &k, material);
}

static int add_hmac(struct ctl *c, int argc, char **argv)
{
    return add_secret(c, argc, argv, KEY_HMAC_SHA256, KEY_SCHEME_HEADER);
}

/* The switch stands in the command, so that nobody gets MD5 by a slip. */
static int add_md5(struct ctl *c, int argc, char **argv)
{
    if (!ctl_flag(&argc, argv, "--allow-md5"))
        return ctl_refuse("MD5 is broken; for a merchant who cannot do better say --allow-md5");
    return add_secret(c, argc, argv, KEY_MD5, KEY_SCHEME_SORTED);
}

/* ---- life ---- */

static int key_enable(struct ctl *c, int argc, char **argv)
{
    return ctl_set_state(c, ADMIN_KEY_STATE, argc, argv, "on");
}

static int key_disable(struct ctl *c, int argc, char **argv)
{
    return ctl_set_state(c, ADMIN_KEY_STATE, argc, argv, "off");
}

static int key_until(struct ctl *c, int argc, char **argv)
{
    pay_time_t at;

    if (argc != 2)
        return CTL_USAGE;
    if (time_parse_rfc3339(slice_of(argv[1]), &at) != 0)
        return ctl_refuse("\"%s\" is not an RFC 3339 time", argv[1]);
    const char *params[] = {argv[0], argv[1]};
    return ctl_change(c, ADMIN_KEY_UNTIL, params, "no such key");
}

static int key_list(struct ctl *c, int argc, char **argv)
{
    const char *params[] = {argc ? argv[0] : NULL};

    return argc <= 1 ? ctl_list(c, ADMIN_KEY_LIST, params) : CTL_USAGE;
}

#define PUBLIC "APP --public-key FILE "
#define SECRET "APP --secret-file FILE [--generate] "
#define MORE   "[--serial S] [--days N] [--valid-from TIME]"

const struct command key_commands[] = {
    {"key", "add-rsa", PUBLIC "[--scheme header|sorted|rfc9421] " MORE,
     "RSA public key or certificate (PEM); serial from the certificate, else made", add_rsa},
    {"key", "add-hmac", SECRET "[--scheme header|sorted|rfc9421] " MORE,
     "HMAC secret; --generate writes a new one into FILE", add_hmac},
    {"key", "add-ed25519", PUBLIC "[--scheme header|rfc9421] " MORE, "Ed25519 public key (PEM)",
     add_ed25519},
    {"key", "add-ecdsa", PUBLIC MORE, "ECDSA P-256 public key (PEM), for RFC 9421", add_ecdsa},
    {"key", "add-rsa-pss", PUBLIC MORE, "RSA public key (PEM) for RSA-PSS in RFC 9421",
     add_rsa_pss},
    {"key", "add-md5", SECRET "--allow-md5 " MORE, "MD5 secret, for sorted parameters only",
     add_md5},
    {"key", "enable", "SERIAL", "let it sign again", key_enable},
    {"key", "disable", "SERIAL", "refuse it at every edge within 5 s", key_disable},
    {"key", "until", "SERIAL TIME", "let it end at that time (RFC 3339)", key_until},
    {"key", "list", "[APP]", "keys without their material", key_list},
    {0}};
