/*
 * xml_impl - the two readers behind xml_parse. What both accept they read alike (fuzz/xml.c
 * compares them); only expat's says why something is refused.
 */
#ifndef CORE_XML_IMPL_H
#define CORE_XML_IMPL_H

#include "xml.h"

/* Of valid UTF-8 without NUL; limits complete. */
int xml_read_expat(struct arena *a, struct slice in, const struct xml_limits *limits,
                   const struct xml **out, struct xml_error *err);
/* The same for documents as channels write them, at a fifth of the cost. False: not such a one, or
 * not accepted; expat's has the word. */
bool xml_read_plain(struct arena *a, struct slice in, const struct xml_limits *limits,
                    const struct xml **out);

#endif
