#include "conf.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX          (1024 * 1024)
#define INCLUDE_DEPTH_MAX 8u
#define BLOCK_DEPTH_MAX   16u

enum token_kind { TOKEN_WORD, TOKEN_SEMICOLON, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_END };

struct token {
    enum token_kind kind;
    struct slice text; /* WORD, without quotes and escapes */
    uint32_t line;     /* where it began */
    uint32_t column;
    bool quoted;
};

/* One file being read. Its text is the arena's, and words are unescaped in place. */
struct reader {
    struct arena *arena;
    struct conf_error *err;
    const char *file;
    char *p;
    char *end;
    uint32_t line;
    const char *line_start; /* of the current line */
    uint32_t depth;         /* of includes */
    uint32_t blocks;        /* open, in this file */
    bool allow_include;
    struct conf_node **tail; /* where the next node is linked */
};

/* ------------------------------------------------------------------ errors */

static int __attribute__((format(printf, 4, 0)))
fail_args(struct conf_error *err, const char *file, struct conf_place at, const char *fmt,
          va_list args)
{
    int n = 0;

    if (!err)
        return -1;
    err->text[0] = '\0';
    if (file && at.line)
        n = snprintf(err->text, sizeof(err->text), "%s:%u: ", file, at.line);
    else if (file)
        n = snprintf(err->text, sizeof(err->text), "%s: ", file);
    if (n < 0 || (size_t)n >= sizeof(err->text))
        n = 0;
    err->place = file ? at : (struct conf_place){0, 0};
    err->file_n = file && n ? (uint16_t)strlen(file) : 0;
    err->reason = (uint16_t)n;
    vsnprintf(err->text + n, sizeof(err->text) - (size_t)n, fmt, args);
    return -1;
}

/* Does the text quote the word? */
static bool quotes(const char *text, struct slice word)
{
    for (const char *p = strchr(text, '"'); p; p = strchr(p + 1, '"'))
        if (slice_starts(slice_of(p + 1), word) && p[1 + word.n] == '"')
            return true;
    return false;
}

int conf_fail(struct conf_error *err, const struct conf_node *at, const char *fmt, ...)
{
    struct conf_place place = {at ? at->line : 0, at ? at->column : 0};
    va_list args;

    va_start(args, fmt);
    fail_args(err, at ? at->file : NULL, place, fmt, args);
    va_end(args);
    for (uint32_t i = 0; err && at && at->places && i < at->nargs; i++) {
        if (at->args[i].n && quotes(err->text + err->reason, at->args[i])) {
            err->place = at->places[i];
            break;
        }
    }
    return -1;
}

void conf_error_place(struct conf_error *err)
{
    char reason[sizeof(err->text)];
    size_t n = err->file_n;

    if (!err->place.line || !n)
        return;
    memcpy(reason, err->text + err->reason, sizeof(reason) - err->reason);
    n += (size_t)snprintf(err->text + n, sizeof(err->text) - n, ":%u:%u: ", err->place.line,
                          err->place.column ? err->place.column : 1);
    if (n < sizeof(err->text))
        snprintf(err->text + n, sizeof(err->text) - n, "%s", reason);
    err->place.line = 0;
}

static int __attribute__((format(printf, 3, 4)))
fail_at(const struct reader *r, uint32_t line, const char *fmt, ...)
{
    struct conf_place at = {line, 1};
    va_list args;

    if (line == r->line && r->line_start)
        at.column = (uint32_t)(r->p - r->line_start) + 1;
    va_start(args, fmt);
    fail_args(r->err, r->file, at, fmt, args);
    va_end(args);
    return -1;
}

static int fail_memory(const struct reader *r)
{
    return fail_at(r, r->line, "configuration is too large");
}

/* ------------------------------------------------------------------ tokens */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* r->p stands on the newline. */
static void next_line(struct reader *r)
{
    r->line++;
    r->line_start = r->p + 1;
}

static void skip_blank(struct reader *r)
{
    bool comment = false;

    for (; r->p < r->end; r->p++) {
        if (*r->p == '\n') {
            next_line(r);
            comment = false;
        } else if (*r->p == '#') {
            comment = true;
        } else if (!comment && !is_space(*r->p)) {
            return;
        }
    }
}

/* One character, or one escape as nginx reads it, from r->p to *to; both move on. */
static void copy_char(struct reader *r, char **to)
{
    char c = *r->p;
    char e;

    if (c == '\n')
        next_line(r);
    r->p++;
    if (c != '\\' || r->p == r->end) {
        *(*to)++ = c;
        return;
    }
    e = *r->p;
    if (e == '\n')
        next_line(r);
    r->p++;
    if (e == '"' || e == '\'' || e == '\\') {
        *(*to)++ = e;
    } else if (e == 't' || e == 'r' || e == 'n') {
        *(*to)++ = e == 't' ? '\t' : e == 'r' ? '\r' : '\n';
    } else {
        *(*to)++ = c;
        *(*to)++ = e;
    }
}

static int read_quoted(struct reader *r, struct token *t)
{
    char quote = *r->p++;
    char *to = r->p;

    t->quoted = true;
    t->text.p = to;
    while (r->p < r->end && *r->p != quote)
        copy_char(r, &to);
    if (r->p == r->end)
        return fail_at(r, t->line, "quoted argument is not ended by %c", quote);
    t->text.n = (size_t)(to - t->text.p);
    r->p++;
    if (r->p < r->end && !is_space(*r->p) && *r->p != ';' && *r->p != '{')
        return fail_at(r, r->line, "unexpected \"%c\" behind a quoted argument", *r->p);
    return 0;
}

static int read_word(struct reader *r, struct token *t)
{
    char *to = r->p;
    bool variable = false; /* inside ${...}, where { opens no block */

    t->text.p = to;
    while (r->p < r->end && !is_space(*r->p) && *r->p != ';') {
        if (*r->p == '{' && !variable) {
            if (r->p == t->text.p || r->p[-1] != '$')
                break;
            variable = true;
        } else if (*r->p == '}') {
            variable = false;
        }
        copy_char(r, &to);
    }
    t->text.n = (size_t)(to - t->text.p);
    return 0;
}

static int next_token(struct reader *r, struct token *t)
{
    skip_blank(r);
    *t = (struct token){
        .kind = TOKEN_END, .line = r->line, .column = (uint32_t)(r->p - r->line_start) + 1};
    if (r->p == r->end)
        return 0;
    switch (*r->p) {
    case ';':
        t->kind = TOKEN_SEMICOLON;
        break;
    case '{':
        t->kind = TOKEN_OPEN;
        break;
    case '}':
        t->kind = TOKEN_CLOSE;
        break;
    case '"':
    case '\'':
        t->kind = TOKEN_WORD;
        return read_quoted(r, t);
    default:
        t->kind = TOKEN_WORD;
        return read_word(r, t);
    }
    r->p++;
    return 0;
}

/* ------------------------------------------------------------------ files */

static int read_all(int fd, char *p, size_t n)
{
    size_t done = 0;

    while (done < n) {
        ssize_t got = read(fd, p + done, n - done);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -1; /* it became shorter meanwhile: being written just now */
        done += (size_t)got;
    }
    return 0;
}

/* The file's bytes into the arena. NULL after an error named at `from`'s line `line`. */
static char *load_file(const struct reader *from, uint32_t line, const char *file, size_t *n)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *p = NULL;

    if (fd < 0 || fstat(fd, &st) < 0) {
        fail_at(from, line, "cannot open \"%s\": %s", file, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        fail_at(from, line, "\"%s\" is not a regular file", file);
    } else if (st.st_size > FILE_MAX) {
        fail_at(from, line, "\"%s\" is larger than %d bytes", file, FILE_MAX);
    } else {
        *n = (size_t)st.st_size;
        p = arena_alloc(from->arena, *n);
        if (!p) {
            fail_memory(from);
        } else if (read_all(fd, p, *n) < 0) {
            fail_at(from, line, "cannot read \"%s\"", file);
            p = NULL;
        }
    }
    if (fd >= 0)
        close(fd);
    return p;
}

static int parse_block(struct reader *r, uint32_t open_line);

static int parse_bytes(struct reader *r, char *p, size_t n)
{
    const char *nul = n ? memchr(p, '\0', n) : NULL;

    r->p = p;
    r->end = p + n;
    r->line = 1;
    r->line_start = p;
    if (nul) {
        for (; r->p < nul; r->p++)
            if (*r->p == '\n')
                next_line(r);
        return fail_at(r, r->line, "NUL byte");
    }
    return parse_block(r, 0);
}

/* Reads one included file into the place where the include stands. */
static int include_file(struct reader *from, uint32_t line, const char *file)
{
    struct reader r = {.arena = from->arena,
                       .err = from->err,
                       .depth = from->depth + 1,
                       .allow_include = true,
                       .tail = from->tail};
    size_t n;
    char *p;

    if (r.depth > INCLUDE_DEPTH_MAX)
        return fail_at(from, line, "include is nested deeper than %u (a cycle?)",
                       INCLUDE_DEPTH_MAX);
    r.file = arena_cstr(r.arena, slice_of(file));
    if (!r.file)
        return fail_memory(from);
    p = load_file(from, line, file, &n);
    if (!p || parse_bytes(&r, p, n) < 0)
        return -1;
    from->tail = r.tail;
    return 0;
}

/* The include's pattern seen from the including file's folder, whose own name is no pattern. */
static char *include_pattern(const struct reader *r, struct slice arg)
{
    const char *slash = strrchr(r->file, '/');
    size_t folder = slash && arg.p[0] != '/' ? (size_t)(slash - r->file) + 1 : 0;
    char *pattern = arena_alloc(r->arena, 2 * folder + arg.n + 1);
    char *to = pattern;

    if (!pattern || memchr(arg.p, '\0', arg.n))
        return NULL;
    for (size_t i = 0; i < folder; i++) {
        if (strchr("*?[\\", r->file[i]))
            *to++ = '\\';
        *to++ = r->file[i];
    }
    memcpy(to, arg.p, arg.n);
    return pattern;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int include_glob(struct reader *r, const struct token *arg)
{
    bool wild = arg->text.n &&
                (memchr(arg->text.p, '*', arg->text.n) || memchr(arg->text.p, '?', arg->text.n) ||
                 memchr(arg->text.p, '[', arg->text.n));
    char *pattern;
    glob_t found;
    int rc;

    if (arg->text.n == 0)
        return fail_at(r, arg->line, "include needs a file name");
    pattern = include_pattern(r, arg->text);
    if (!pattern)
        return fail_memory(r);
    /* glob would sort by the locale, and the order of nodes must not depend on that */
    rc = glob(pattern, GLOB_NOSORT, NULL, &found);
    if (rc == GLOB_NOMATCH && wild)
        return 0;
    if (rc != 0)
        return fail_at(r, arg->line, "include finds no \"%.*s\"", SLICE_FMT(arg->text));
    qsort(found.gl_pathv, found.gl_pathc, sizeof(*found.gl_pathv), compare_paths);
    for (size_t i = 0; i < found.gl_pathc && rc == 0; i++)
        rc = include_file(r, arg->line, found.gl_pathv[i]);
    globfree(&found);
    return rc;
}

/* ------------------------------------------------------------------ directives */

/* The words behind the name, up to ; or {, which is left in *t. */
static int read_args(struct reader *r, const struct token *name, struct token *args,
                     uint32_t *nargs, struct token *t)
{
    *nargs = 0;
    for (;;) {
        if (next_token(r, t) < 0)
            return -1;
        switch (t->kind) {
        case TOKEN_WORD:
            if (*nargs == CONF_MAX_ARGS)
                return fail_at(r, t->line, "more than %d arguments in \"%.*s\"", CONF_MAX_ARGS,
                               SLICE_FMT(name->text));
            args[(*nargs)++] = *t;
            break;
        case TOKEN_CLOSE:
            return fail_at(r, t->line, "unexpected \"}\", \"%.*s\" is not ended by \";\"",
                           SLICE_FMT(name->text));
        case TOKEN_END:
            return fail_at(r, name->line, "\"%.*s\" is not ended by \";\" or a block",
                           SLICE_FMT(name->text));
        default:
            return 0;
        }
    }
}

static struct conf_node *add_node(struct reader *r, const struct token *name,
                                  const struct token *args, uint32_t nargs)
{
    struct conf_node *node = arena_new(r->arena, struct conf_node);
    struct conf_place *places = arena_array(r->arena, struct conf_place, nargs);

    if (!node || !places)
        return NULL;
    node->args = arena_array(r->arena, struct slice, nargs);
    if (!node->args)
        return NULL;
    for (uint32_t i = 0; i < nargs; i++) {
        node->args[i] = args[i].text;
        places[i] = (struct conf_place){args[i].line, args[i].column};
    }
    node->places = places;
    node->nargs = nargs;
    node->name = name->text;
    node->file = r->file;
    node->line = name->line;
    node->column = name->column;
    *r->tail = node;
    r->tail = &node->next;
    return node;
}

static int parse_directive(struct reader *r, const struct token *name)
{
    struct token args[CONF_MAX_ARGS];
    struct token last;
    struct conf_node *node;
    uint32_t nargs;
    int rc;

    if (name->text.n == 0)
        return fail_at(r, name->line, "a directive needs a name");
    if (read_args(r, name, args, &nargs, &last) < 0)
        return -1;
    if (!name->quoted && slice_is(name->text, "include")) {
        if (!r->allow_include)
            return fail_at(r, name->line, "include is not allowed here");
        if (nargs != 1 || last.kind != TOKEN_SEMICOLON)
            return fail_at(r, name->line, "include takes one argument");
        return include_glob(r, &args[0]);
    }
    node = add_node(r, name, args, nargs);
    if (!node)
        return fail_memory(r);
    if (last.kind == TOKEN_SEMICOLON)
        return 0;
    node->block = true;
    r->tail = &node->child;
    rc = parse_block(r, name->line);
    r->tail = &node->next;
    return rc;
}

/* Directives up to the block's } or, with open_line 0, to the end of the file. */
static int parse_block(struct reader *r, uint32_t open_line)
{
    struct token t;

    if (r->blocks++ == BLOCK_DEPTH_MAX)
        return fail_at(r, open_line, "blocks are nested deeper than %u", BLOCK_DEPTH_MAX);
    while (next_token(r, &t) == 0) {
        switch (t.kind) {
        case TOKEN_WORD:
            if (parse_directive(r, &t) < 0)
                return -1;
            break;
        case TOKEN_SEMICOLON:
        case TOKEN_OPEN:
            return fail_at(r, t.line, "unexpected \"%c\"", t.kind == TOKEN_OPEN ? '{' : ';');
        case TOKEN_CLOSE:
            if (!open_line)
                return fail_at(r, t.line, "unexpected \"}\"");
            r->blocks--;
            return 0;
        case TOKEN_END:
            return open_line ? fail_at(r, open_line, "block is not closed by \"}\"") : 0;
        }
    }
    return -1;
}

int conf_parse_file(struct arena *a, const char *file, struct conf_node **out,
                    struct conf_error *err)
{
    struct conf_node *first = NULL;
    struct reader r = {.arena = a, .err = err, .allow_include = true, .tail = &first};
    size_t n;
    char *p;

    r.file = arena_cstr(a, slice_of(file));
    if (!r.file)
        return fail_memory(&r);
    p = load_file(&r, 0, file, &n);
    if (!p || parse_bytes(&r, p, n) < 0)
        return -1;
    *out = first;
    return 0;
}

int conf_parse_text(struct arena *a, const char *name, struct slice text, struct conf_node **out,
                    struct conf_error *err)
{
    struct conf_node *first = NULL;
    struct reader r = {.arena = a, .err = err, .tail = &first};
    char *p = arena_alloc(a, text.n);

    r.file = arena_cstr(a, slice_of(name));
    if (!p || !r.file)
        return fail_memory(&r);
    if (text.n)
        memcpy(p, text.p, text.n);
    if (parse_bytes(&r, p, text.n) < 0)
        return -1;
    *out = first;
    return 0;
}
