/*
 * pack - how bills travel: gzip, zlib, ZIP; and GBK. All: 0, or -1.
 */
#ifndef PAYBANK_PACK_H
#define PAYBANK_PACK_H

#include "core/buf.h"

int pack_gzip(struct slice in, struct buf *out);
int pack_zlib(struct slice in, struct buf *out);

struct pack_file {
    struct slice name; /* bytes as they shall stand: GBK, no flag says so */
    struct slice content;
};
/* A ZIP with these files, at most 16. */
int pack_zip(const struct pack_file *files, size_t n, struct buf *out);

int pack_gbk(struct slice utf8, struct buf *out);

#endif
