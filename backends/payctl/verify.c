/*
 * Verify: the invariants asked of the database, and of the channels' books beside it.
 *
 * The books are CSV with the columns out_trade_no, paid, refunded: one line per request number at a
 * channel, minor units.
 */
#include "ctl.h"
#include "print.h"

#include "backends/store/verify.h"
#include "core/ids.h"

#include <errno.h>
#include <stdio.h>

#define SHOWN      20
#define LINE_LEN   256
#define BOOKS_MAX  ((size_t)1 << 30)
#define BOOKS_HEAD "out_trade_no,paid,refunded"

/* ---- the books ---- */

struct books {
    struct buf id, paid, refunded; /* text of bigint[] */
};

static void books_release(struct books *b)
{
    buf_release(&b->id);
    buf_release(&b->paid);
    buf_release(&b->refunded);
}

static void add_member(struct buf *b, int64_t v)
{
    buf_add_char(b, b->n ? ',' : '{');
    buf_add_int64(b, v);
}

/* NULL, or what is wrong with it. */
static const char *add_line(struct books *b, struct slice line)
{
    struct slice no = slice_cut(&line, ','), paid = slice_cut(&line, ',');
    int64_t id, in, out;
    uint32_t seq;

    if (request_no_parse(no, &id, &seq) != 0)
        return "out_trade_no is not one of ours";
    if (slice_int64(paid, &in) != 0 || in < 0)
        return "paid is not an amount in minor units";
    if (slice_int64(line, &out) != 0 || out < 0 || out > in)
        return "refunded is not an amount up to paid";
    add_member(&b->id, id);
    add_member(&b->paid, in);
    add_member(&b->refunded, out);
    return NULL;
}

static int read_lines(struct books *b, const char *path, FILE *f)
{
    char line[LINE_LEN];
    const char *wrong = NULL;
    int n = 0;

    while (!wrong && fgets(line, sizeof(line), f)) {
        struct slice text = slice_of(line);

        n++;
        if (!text.n || text.p[text.n - 1] != '\n') {
            wrong = "the line is cut off or too long";
            break;
        }
        text.n--;
        if (n > 1)
            wrong = add_line(b, text);
        else if (!slice_is(text, BOOKS_HEAD))
            wrong = "the first line is not " BOOKS_HEAD;
    }
    if (wrong)
        return ctl_refuse("%s:%d: %s", path, n, wrong);
    if (n == 0 || ferror(f))
        return ctl_refuse("%s: %s", path, n ? "cannot read" : "empty");
    return CTL_DONE;
}

/* "{1,2,3}" as a C string, NULL: no memory. */
static const char *array(struct buf *b)
{
    buf_add_str(b, b->n ? "}" : "{}");
    buf_add_char(b, '\0');
    return buf_ok(b) ? b->p : NULL;
}

static int read_books(struct books *b, const char *path)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    int status = f ? read_lines(b, path, f) : ctl_refuse("%s: %s", path, strerror(errno));

    if (f && f != stdin)
        fclose(f);
    return status;
}

/* ---- the answer ---- */

static int64_t total(const struct admin_rows *rows)
{
    int64_t n = 0;

    if (admin_rows_count(rows))
        slice_int64(slice_of(admin_rows_value(rows, 0, 0)), &n);
    return n;
}

static void show_text(const struct verify_check *check, const struct admin_rows *rows)
{
    char shown[ID_TEXT_LEN + 1];
    int64_t id = 0;

    printf("%-6s %-17s %s\n", total(rows) ? "BROKEN" : "ok", check->name, check->promise);
    for (int i = 0; i < admin_rows_count(rows); i++) {
        slice_int64(slice_of(admin_rows_value(rows, i, 1)), &id);
        id_format(shown, 'P', id);
        printf("         %s  %s\n", shown, admin_rows_value(rows, i, 2));
    }
    if (total(rows) > admin_rows_count(rows))
        printf("         ... %lld in all\n", (long long)total(rows));
}

static void show_json(struct json_writer *w, const struct verify_check *check,
                      const struct admin_rows *rows)
{
    json_begin_object(w);
    json_member_str(w, "check", slice_of(check->name));
    json_member_str(w, "promise", slice_of(check->promise));
    json_member_int64(w, "broken", total(rows));
    json_key(w, "payments");
    rows_to_json(w, rows, false);
    json_end_object(w);
}

/* How many rows break a check, or -1 after saying why it could not be asked. */
static int64_t ask_all(struct ctl *c, bool with_books, struct json_writer *w)
{
    char err[ADMIN_ERROR_LEN];
    int64_t broken = 0;

    for (unsigned i = 0; i < verify_count(with_books); i++) {
        struct admin_rows *rows;

        if (verify_ask(c->admin, i, SHOWN, &rows, err) != 0) {
            ctl_refuse("%s: %s", verify_check(i)->name, err);
            return -1;
        }
        broken += total(rows);
        if (c->json)
            show_json(w, verify_check(i), rows);
        else
            show_text(verify_check(i), rows);
        admin_rows_free(rows);
    }
    return broken;
}

static int ask(struct ctl *c, const struct verify_books *books)
{
    char err[ADMIN_ERROR_LEN];
    struct json_writer w;
    struct buf out;
    int64_t broken;

    if (!ctl_admin(c))
        return CTL_REFUSED;
    if (verify_begin(c->admin, books, err) != 0)
        return ctl_refuse("%s", err);
    buf_init(&out, BOOKS_MAX);
    json_writer_init(&w, &out);
    json_begin_array(&w);
    broken = ask_all(c, books != NULL, &w);
    json_end_array(&w);
    if (broken >= 0 && c->json)
        printf("%.*s\n", SLICE_FMT(buf_slice(&out)));
    buf_release(&out);
    verify_end(c->admin);
    return broken == 0 ? CTL_DONE : CTL_REFUSED;
}

static int verify(struct ctl *c, int argc, char **argv)
{
    const char *path = ctl_option(&argc, argv, "--books");
    struct verify_books arrays;
    struct books b;
    int status;

    if (argc != 0)
        return CTL_USAGE;
    if (!path)
        return ask(c, NULL);
    buf_init(&b.id, BOOKS_MAX);
    buf_init(&b.paid, BOOKS_MAX);
    buf_init(&b.refunded, BOOKS_MAX);
    status = read_books(&b, path);
    if (status == CTL_DONE) {
        arrays = (struct verify_books){array(&b.id), array(&b.paid), array(&b.refunded)};
        status = arrays.payment_id && arrays.paid && arrays.refunded
                     ? ask(c, &arrays)
                     : ctl_refuse("%s: out of memory", path);
    }
    books_release(&b);
    return status;
}

const struct command verify_commands[] = {
    {"verify", NULL, "[--books FILE|-]",
     "check every invariant in the database, and against the channels' books", verify},
    {0}};
