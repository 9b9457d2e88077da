/*
 * xml - the strict part of XML that payment channels send, into an arena tree, and a writer onto a
 * buf. Over expat, which sees no DTD and no entity of anybody's making.
 *
 * One element tree, UTF-8. Refused, because two readers may read them differently or because nobody
 * needs them: DOCTYPE, entities other than XML's five and character numbers, attributes, comments
 * and processing instructions, encodings other than UTF-8, an element twice in the same parent,
 * text beside elements, a value made of more than one piece (text and CDATA, or two CDATA),
 * characters outside of XML, trailing bytes. A UTF-8 byte order mark and an XML declaration may
 * stand in front. Ends of lines are read as \n, as XML says.
 */
#ifndef CORE_XML_H
#define CORE_XML_H

#include "arena.h"
#include "buf.h"

struct xml {
    struct slice name;
    struct slice text; /* of an element without children: decoded, blanks kept */
    struct xml *child; /* first of them */
    struct xml *next;  /* sibling */
    uint32_t count;    /* children */
};

struct xml_limits {
    uint32_t depth;    /* nesting, default 4, at most 64 */
    uint32_t elements; /* in all, default 512, at most 4096 */
};

struct xml_error {
    size_t offset;      /* byte where it was noticed */
    const char *reason; /* static: "syntax", "DOCTYPE", "duplicate element", "too deep", ... */
    struct slice name;  /* element concerned, may be empty; lives in the arena */
};

/* Whole of `in` must be one element. limits NULL = defaults. 0, or -1 with *err filled. */
int xml_parse(struct arena *a, struct slice in, const struct xml_limits *limits,
              const struct xml **out, struct xml_error *err);

/* Child of that name; NULL when absent or v is NULL. */
const struct xml *xml_get(const struct xml *v, const char *name);
/* Text of a child without children of its own; SLICE_NULL when absent. Present and empty: n is 0, p
 * is not NULL. */
struct slice xml_str(const struct xml *v, const char *name);

/* Writer. Names must be names; the caller balances begin and end. What no XML can hold (bytes that
 * are not UTF-8, control characters) becomes U+FFFD. */
void xml_begin(struct buf *b, const char *name);
void xml_end(struct buf *b, const char *name);
/* <name>escaped</name> */
void xml_member(struct buf *b, struct slice name, struct slice text);
/* <name><![CDATA[text]]></name>; escaped instead when CDATA could not hold it in one piece. */
void xml_member_cdata(struct buf *b, struct slice name, struct slice text);
void xml_member_int64(struct buf *b, struct slice name, int64_t v);

#endif
