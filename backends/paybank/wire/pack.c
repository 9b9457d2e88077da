/* ZIP by hand (APPNOTE.TXT 6.3.3: local headers, central directory, end record): zlib does the
 * compressing, and file names keep the bytes they are given. */
#include "pack.h"

#include <iconv.h>
#include <zlib.h>

#define FILES_MAX    16
#define ZIP_RAW      (-15) /* window bits: no zlib head */
#define ZIP_GZIP     (15 + 16)
#define ZIP_ZLIB     15
#define DOS_TIME     0x4800 /* 09:00 */
#define DOS_DATE     0x5d22 /* 2026-09-02: nobody reads it */
#define ZIP_VERSION  20
#define ZIP_DEFLATED 8

static int deflate_to(struct slice in, int window, struct buf *out)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in.p, .avail_in = (uInt)in.n};
    size_t room;
    char *to;
    int rc;

    if (in.n > UINT32_MAX / 2 ||
        deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return -1;
    room = deflateBound(&z, (uLong)in.n);
    to = buf_reserve(out, room);
    if (!to) {
        deflateEnd(&z);
        return -1;
    }
    z.next_out = (Bytef *)to;
    z.avail_out = (uInt)room;
    rc = deflate(&z, Z_FINISH);
    out->n += room - z.avail_out;
    deflateEnd(&z);
    return rc == Z_STREAM_END ? 0 : -1;
}

int pack_gzip(struct slice in, struct buf *out)
{
    return deflate_to(in, ZIP_GZIP, out);
}

int pack_zlib(struct slice in, struct buf *out)
{
    return deflate_to(in, ZIP_ZLIB, out);
}

/* ---- ZIP ---- */

static void add_le(struct buf *b, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        buf_add_char(b, (char)(v >> (8 * i) & 0xff));
}

struct entry {
    uint32_t offset, crc, packed;
};

/* What local header and central directory say alike. */
static void add_common(struct buf *b, const struct entry *e, const struct pack_file *f)
{
    add_le(b, ZIP_VERSION, 2);
    add_le(b, 0, 2); /* flags */
    add_le(b, ZIP_DEFLATED, 2);
    add_le(b, DOS_TIME, 2);
    add_le(b, DOS_DATE, 2);
    add_le(b, e->crc, 4);
    add_le(b, e->packed, 4);
    add_le(b, f->content.n, 4);
    add_le(b, f->name.n, 2);
    add_le(b, 0, 2); /* extra field */
}

static int add_file(struct buf *out, const struct pack_file *f, struct entry *e)
{
    struct buf packed;
    int rc;

    buf_init(&packed, out->cap);
    rc = deflate_to(f->content, ZIP_RAW, &packed);
    e->offset = (uint32_t)out->n;
    e->crc = (uint32_t)crc32(0, (const Bytef *)f->content.p, (uInt)f->content.n);
    e->packed = (uint32_t)packed.n;
    buf_add_str(out, "PK\3\4");
    add_common(out, e, f);
    buf_add_slice(out, f->name);
    buf_add_slice(out, buf_slice(&packed));
    buf_release(&packed);
    return rc;
}

int pack_zip(const struct pack_file *files, size_t n, struct buf *out)
{
    struct entry entries[FILES_MAX];
    size_t directory;

    if (n > FILES_MAX)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (add_file(out, &files[i], &entries[i]) < 0)
            return -1;
    directory = out->n;
    for (size_t i = 0; i < n; i++) {
        buf_add_str(out, "PK\1\2");
        add_le(out, ZIP_VERSION, 2);
        add_common(out, &entries[i], &files[i]);
        add_le(out, 0, 6); /* comment, disk, attributes inside */
        add_le(out, 0, 4); /* and outside */
        add_le(out, entries[i].offset, 4);
        buf_add_slice(out, files[i].name);
    }
    add_le(out, 0x06054b50, 4); /* "PK\5\6" */
    add_le(out, 0, 4);
    add_le(out, n, 2);
    add_le(out, n, 2);
    add_le(out, out->n - 12 - directory, 4);
    add_le(out, directory, 4);
    add_le(out, 0, 2);
    return buf_ok(out) ? 0 : -1;
}

int pack_gbk(struct slice utf8, struct buf *out)
{
    iconv_t cd = iconv_open("GBK", "UTF-8");
    char *from = (char *)(uintptr_t)utf8.p;
    size_t left = utf8.n, room = 2 * utf8.n + 16;
    char *to = buf_reserve(out, room);
    char *at = to;
    int rc = -1;

    if (cd != (iconv_t)-1) {
        if (to && iconv(cd, &from, &left, &at, &room) != (size_t)-1) {
            out->n += (size_t)(at - to);
            rc = 0;
        }
        iconv_close(cd);
    }
    return rc;
}
