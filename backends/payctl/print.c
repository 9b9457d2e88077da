#include "print.h"

#include <stdio.h>

#define COLUMN_MAX 48
#define JSON_MAX   (64u << 20)

/* Characters, not bytes: names may be Chinese (shown two wide). */
static int width(const char *s)
{
    int n = 0;

    for (; s && *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c < 0x80 || (c >= 0xc0 && c < 0xe0))
            n += 1;
        else if (c >= 0xe0)
            n += 2;
    }
    return n;
}

static void print_cell(const char *s, int to_width)
{
    int pad = to_width - width(s);

    fputs(s ? s : "", stdout);
    for (; pad > 0; pad--)
        putchar(' ');
}

static int column_width(const struct admin_rows *r, int column)
{
    int w = width(admin_rows_name(r, column));

    for (int i = 0; i < admin_rows_count(r); i++) {
        int v = width(admin_rows_value(r, i, column));
        w = v > w ? v : w;
    }
    return w > COLUMN_MAX ? COLUMN_MAX : w;
}

void print_table(const struct admin_rows *r)
{
    int columns = admin_rows_columns(r), widths[64];

    for (int c = 0; c < columns && c < 64; c++) {
        widths[c] = column_width(r, c);
        print_cell(admin_rows_name(r, c), c + 1 < columns ? widths[c] + 2 : 0);
    }
    putchar('\n');
    for (int i = 0; i < admin_rows_count(r); i++) {
        for (int c = 0; c < columns && c < 64; c++)
            print_cell(admin_rows_value(r, i, c), c + 1 < columns ? widths[c] + 2 : 0);
        putchar('\n');
    }
}

void print_cells(const char *const *cells, int rows, int columns)
{
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < columns; c++) {
            int w = 0;

            for (int i = 0; i < rows; i++) {
                int v = width(cells[i * columns + c]);
                w = v > w ? v : w;
            }
            print_cell(cells[r * columns + c], c + 1 < columns ? w + 2 : 0);
        }
        putchar('\n');
    }
}

void print_record(const struct admin_rows *r, int row)
{
    for (int c = 0; c < admin_rows_columns(r); c++) {
        const char *v = admin_rows_value(r, row, c);
        if (v && *v)
            printf("  %-18s %s\n", admin_rows_name(r, c), v);
    }
}

static void row_to_json(struct json_writer *w, const struct admin_rows *r, int row)
{
    json_begin_object(w);
    for (int c = 0; c < admin_rows_columns(r); c++) {
        const char *v = admin_rows_value(r, row, c);
        json_key(w, admin_rows_name(r, c));
        if (!v)
            json_put_null(w);
        else if (admin_rows_numeric(r, c))
            json_put_raw(w, slice_of(v));
        else
            json_put_str(w, slice_of(v));
    }
    json_end_object(w);
}

void rows_to_json(struct json_writer *w, const struct admin_rows *r, bool single)
{
    if (single && admin_rows_count(r) > 0) {
        row_to_json(w, r, 0);
        return;
    }
    json_begin_array(w);
    for (int i = 0; i < admin_rows_count(r); i++)
        row_to_json(w, r, i);
    json_end_array(w);
}

void print_json(const struct admin_rows *r, bool single)
{
    struct json_writer w;
    struct buf b;

    buf_init(&b, JSON_MAX);
    json_writer_init(&w, &b);
    rows_to_json(&w, r, single);
    printf("%.*s\n", SLICE_FMT(buf_slice(&b)));
    buf_release(&b);
}
