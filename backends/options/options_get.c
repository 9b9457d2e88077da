/* Values of directives. */
#include "options_impl.h"

int options_get_time(const struct conf_node *n, struct slice s, int64_t min_ms, int64_t *us,
                     struct conf_error *err)
{
    int64_t ms;

    if (conf_duration_ms(s, &ms) != 0 || ms < min_ms || ms > 366LL * 86400 * 1000)
        return conf_fail(err, n, "%.*s: \"%.*s\" is not a time of at least %lldms (50ms 5s 2m 3h)",
                         SLICE_FMT(n->name), SLICE_FMT(s), (long long)min_ms);
    *us = ms * USEC_PER_MSEC;
    return 0;
}

int options_get_number(const struct conf_node *n, struct slice s, int64_t min, int64_t max,
                       int64_t *out, struct conf_error *err)
{
    int64_t v;

    if (slice_int64(s, &v) != 0 || v < min || v > max)
        return conf_fail(err, n, "%.*s: \"%.*s\" is not a number from %lld to %lld",
                         SLICE_FMT(n->name), SLICE_FMT(s), (long long)min, (long long)max);
    *out = v;
    return 0;
}

/* Paths are relative to the configuration file's folder. */
int options_get_path(struct options *o, const struct conf_node *n, struct slice s, const char **out,
                     struct conf_error *err)
{
    const char *slash = strrchr(o->file, '/');
    struct slice path = s;

    if (s.n == 0)
        return conf_fail(err, n, "%.*s: empty path", SLICE_FMT(n->name));
    if (s.p[0] != '/' && slash)
        path = arena_printf(&o->arena, "%.*s/%.*s", (int)(slash - o->file), o->file, SLICE_FMT(s));
    *out = arena_cstr(&o->arena, path);
    return *out ? 0 : conf_fail(err, n, "out of memory");
}

int options_get_socket(struct options *o, const struct conf_node *n, const char **out,
                       struct conf_error *err)
{
    struct slice s = n->args[0];

    if (!slice_starts(s, SLICE("unix:")))
        return conf_fail(err, n, "%.*s: \"%.*s\" is not unix:PATH", SLICE_FMT(n->name),
                         SLICE_FMT(s));
    if (options_get_path(o, n, slice_n(s.p + 5, s.n - 5), out, err) != 0)
        return -1;
    if (strlen(*out) > 107)
        return conf_fail(err, n, "%.*s: socket path longer than 107 bytes", SLICE_FMT(n->name));
    return 0;
}
