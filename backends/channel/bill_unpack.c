/* Unpacking: each stage turns bytes into bytes; all but the last go through memory. */
#include "bill.h"

#include "core/crypto.h"

#include <fnmatch.h>
#include <zip.h>
#include <zlib.h>

#define BETWEEN_MAX (96u * 1024 * 1024)         /* bytes between two stages */
#define OUT_MAX     (4ULL * 1024 * 1024 * 1024) /* of the last: no bill is larger */
#define PIECE       65536u

struct out {
    bill_sink *sink;
    void *arg;
    uint64_t n;
    const char **reason;
};

static int put(struct out *o, const void *p, size_t n)
{
    o->n += n;
    *o->reason = "it unpacks to more than any bill has";
    if (o->n > OUT_MAX)
        return -1;
    *o->reason = "reading ended";
    return o->sink(o->arg, p, n);
}

/* ------------------------------------------------------------------ stages */

static int unpack_base64(struct slice in, struct out *o)
{
    struct buf b;
    int rc;

    buf_init(&b, BETWEEN_MAX);
    *o->reason = "it is not base64";
    rc = base64_decode(&b, in);
    if (rc == 0)
        rc = put(o, b.p, b.n);
    buf_release(&b);
    return rc;
}

static int inflate_all(z_stream *z, struct slice in, struct out *o)
{
    Bytef piece[PIECE];
    int rc = Z_OK;

    z->next_in = (Bytef *)(uintptr_t)in.p;
    z->avail_in = (uInt)in.n;
    while (rc != Z_STREAM_END) {
        z->next_out = piece;
        z->avail_out = sizeof(piece);
        rc = inflate(z, Z_NO_FLUSH);
        if ((rc != Z_OK && rc != Z_STREAM_END) ||
            (rc == Z_OK && z->avail_in == 0 && z->avail_out != 0)) {
            *o->reason = "it is damaged or cut";
            return -1;
        }
        if (put(o, piece, sizeof(piece) - z->avail_out) < 0)
            return -1;
    }
    *o->reason = "bytes behind its end";
    return z->avail_in == 0 ? 0 : -1;
}

/* bits: 15 zlib, 31 gzip */
static int unpack_deflate(struct slice in, int bits, struct out *o)
{
    z_stream z = {.zalloc = Z_NULL};
    int rc;

    *o->reason = "out of memory";
    if (in.n > BETWEEN_MAX || inflateInit2(&z, bits) != Z_OK)
        return -1;
    rc = inflate_all(&z, in, o);
    inflateEnd(&z);
    return rc;
}

/* Channels send plain text where nothing was asked to be packed. */
static int unpack_gzip(struct slice in, struct out *o)
{
    if (!slice_starts(in, SLICE("\x1f\x8b")))
        return put(o, in.p, in.n);
    return unpack_deflate(in, 31, o);
}

static int read_entry(zip_t *z, zip_uint64_t index, struct out *o)
{
    zip_file_t *f = zip_fopen_index(z, index, 0);
    char piece[PIECE];
    zip_int64_t n = -1;
    int rc = 0;

    *o->reason = "a file in the zip cannot be read";
    if (!f)
        return -1;
    while (rc == 0 && (n = zip_fread(f, piece, sizeof(piece))) > 0)
        rc = put(o, piece, (size_t)n);
    if (n < 0) {
        *o->reason = "a file in the zip is damaged";
        rc = -1;
    }
    zip_fclose(f);
    return rc;
}

/* The one entry of that name; names are bytes: old tools write them in any charset. */
static int find_entry(const struct adapter_bill *b, zip_t *z, zip_uint64_t *index,
                      const char **reason)
{
    zip_int64_t n = zip_get_num_entries(z, 0);
    uint32_t found = 0;

    for (zip_int64_t i = 0; i < n; i++) {
        const char *name = zip_get_name(z, (zip_uint64_t)i, ZIP_FL_ENC_RAW);

        if (!name || (b->entry && fnmatch(b->entry, name, 0) != 0))
            continue;
        *index = (zip_uint64_t)i;
        found++;
    }
    *reason = found ? "several files in the zip fit" : "no file in the zip fits";
    return found == 1 ? 0 : -1;
}

static int unpack_zip(const struct adapter_bill *b, struct slice in, struct out *o)
{
    zip_error_t error;
    zip_source_t *source;
    zip_uint64_t index = 0;
    zip_t *z;
    int rc;

    zip_error_init(&error);
    source = zip_source_buffer_create(in.p, in.n, 0, &error);
    z = source ? zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error) : NULL;
    zip_error_fini(&error);
    *o->reason = "it is no zip file";
    if (!z) {
        zip_source_free(source);
        return -1;
    }
    rc = find_entry(b, z, &index, o->reason);
    if (rc == 0)
        rc = read_entry(z, index, o);
    zip_discard(z);
    return rc;
}

static int run_stage(const struct adapter_bill *b, enum bill_stage stage, struct slice in,
                     struct out *o)
{
    switch (stage) {
    case STAGE_BASE64:
        return unpack_base64(in, o);
    case STAGE_ZLIB:
        return unpack_deflate(in, 15, o);
    case STAGE_GZIP:
        return unpack_gzip(in, o);
    case STAGE_ZIP:
        return unpack_zip(b, in, o);
    case STAGE_COUNT:
        break;
    }
    return -1;
}

static int collect(void *arg, const char *p, size_t n)
{
    struct buf *b = arg;

    buf_add(b, p, n);
    return buf_ok(b) ? 0 : -1;
}

int bill_unpack(const struct adapter_bill *b, struct slice file, bill_sink *sink, void *arg,
                const char **reason)
{
    struct out last = {sink, arg, 0, reason};
    struct buf held = {.p = NULL};
    struct slice in = file;
    int rc = 0;

    if (b->nstages == 0)
        return put(&last, file.p, file.n);
    for (uint32_t i = 0; i + 1 < b->nstages && rc == 0; i++) {
        struct buf next;
        struct out between = {collect, &next, 0, reason};

        buf_init(&next, BETWEEN_MAX);
        rc = run_stage(b, b->stages[i], in, &between);
        buf_release(&held);
        held = next;
        in = buf_slice(&held);
    }
    if (rc == 0)
        rc = run_stage(b, b->stages[b->nstages - 1], in, &last);
    buf_release(&held);
    return rc;
}
