#include "xml.h"

#include "json.h" /* utf8_prefix */

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

/* Control characters but tab and line feed; 0x0D would come back as a line feed. U+FFFE and U+FFFF
 * are refused by XML, too. */
static bool plain(const unsigned char *p, size_t n)
{
    if (*p < 0x20)
        return *p == '\t' || *p == '\n';
    return n < 3 || p[0] != 0xEF || p[1] != 0xBF || p[2] < 0xBE;
}

/* Bytes from the start of s that XML can hold as they stand. */
static size_t plain_prefix(struct slice s)
{
    size_t valid = utf8_prefix(s);

    for (size_t i = 0; i < valid; i++)
        if (!plain((const unsigned char *)s.p + i, valid - i))
            return i;
    return valid;
}

static void add_escaped(struct buf *b, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        switch (s.p[i]) {
        case '&':
            buf_add_str(b, "&amp;");
            break;
        case '<':
            buf_add_str(b, "&lt;");
            break;
        case '>':
            buf_add_str(b, "&gt;");
            break;
        default:
            buf_add_char(b, s.p[i]);
            break;
        }
    }
}

/* Bytes of the first character of s, which XML cannot hold. */
static size_t bad_length(struct slice s)
{
    return s.n >= 3 && utf8_valid(slice_n(s.p, 3)) && (unsigned char)s.p[0] == 0xEF ? 3 : 1;
}

static void add_text(struct buf *b, struct slice s)
{
    for (;;) {
        size_t n = plain_prefix(s);

        add_escaped(b, slice_n(s.p, n));
        s = slice_n(s.p + n, s.n - n);
        if (s.n == 0)
            return;
        buf_add_str(b, s.p[0] == '\r' ? "&#13;" : REPLACEMENT);
        n = bad_length(s);
        s = slice_n(s.p + n, s.n - n);
    }
}

static void add_tag(struct buf *b, const char *open, struct slice name)
{
    buf_add_str(b, open);
    buf_add_slice(b, name);
    buf_add_char(b, '>');
}

void xml_begin(struct buf *b, const char *name)
{
    add_tag(b, "<", slice_of(name));
}

void xml_end(struct buf *b, const char *name)
{
    add_tag(b, "</", slice_of(name));
}

void xml_member(struct buf *b, struct slice name, struct slice text)
{
    add_tag(b, "<", name);
    add_text(b, text);
    add_tag(b, "</", name);
}

void xml_member_cdata(struct buf *b, struct slice name, struct slice text)
{
    if (plain_prefix(text) != text.n || slice_contains(text, SLICE("]]>"))) {
        xml_member(b, name, text);
        return;
    }
    add_tag(b, "<", name);
    buf_add_str(b, "<![CDATA[");
    buf_add_slice(b, text);
    buf_add_str(b, "]]>");
    add_tag(b, "</", name);
}

void xml_member_int64(struct buf *b, struct slice name, int64_t v)
{
    add_tag(b, "<", name);
    buf_add_int64(b, v);
    add_tag(b, "</", name);
}
