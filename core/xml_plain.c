/*
 * Nearly every document of a channel is made of elements with ASCII names, text and CDATA, and
 * blanks between them. Such a one is read here in one pass over a copy of the input, into which all
 * names and texts point. Everything else (declarations, entities, carriage returns, blanks in tags,
 * names in other scripts, and all that xml.h refuses) is left to expat from the start.
 */
#include "xml_impl.h"

#define CDATA_BEGIN "<![CDATA["
#define CDATA_END   "]]>"

/* An element that is still open. */
struct frame {
    struct xml *element;
    struct xml *last; /* newest child */
    uint64_t seen;    /* of its children's names, a bit of each */
};

struct reader {
    struct arena *arena;
    const struct xml_limits *limits;
    const char *p, *end;
    struct xml *root;
    struct frame *frames; /* limits->depth of them */
    uint32_t depth;
    uint32_t elements;
};

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name(char c)
{
    return is_name_start(c) || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

/* The character at p stands for itself, in text and CDATA; U+FFFE and U+FFFF are no characters, and
 * all of their block is left to expat. */
static bool is_text(const char *p)
{
    unsigned char c = (unsigned char)*p;

    return c >= 0x20 ? c != 0xEF || (unsigned char)p[1] != 0xBF : c == '\t' || c == '\n';
}

static void skip_blanks(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\t'))
        r->p++;
}

static bool next_is(const struct reader *r, struct slice s)
{
    return (size_t)(r->end - r->p) >= s.n && memcmp(r->p, s.p, s.n) == 0;
}

/* Name and > of a tag. */
static bool read_name(struct reader *r, struct slice *name)
{
    const char *from = r->p;

    if (r->p == r->end || !is_name_start(*r->p))
        return false;
    while (r->p < r->end && is_name(*r->p))
        r->p++;
    *name = slice_n(from, (size_t)(r->p - from));
    return r->p < r->end && *r->p++ == '>';
}

static bool has_child(struct frame *f, struct slice name)
{
    unsigned mix = (unsigned)name.n * 7 + (unsigned char)name.p[0] * 5 +
                   (unsigned char)name.p[name.n - 1] * 11 + (unsigned char)name.p[name.n / 2];
    uint64_t bit = 1ULL << (mix & 63), seen = f->seen;

    f->seen |= bit;
    if (!(seen & bit))
        return false;
    for (const struct xml *c = f->element->child; c; c = c->next)
        if (slice_eq(c->name, name))
            return true;
    return false;
}

/* Behind <. */
static bool open_element(struct reader *r)
{
    struct frame *f = r->depth ? &r->frames[r->depth - 1] : NULL;
    struct slice name;
    struct xml *v;

    if (!read_name(r, &name) || r->depth == r->limits->depth ||
        ++r->elements > r->limits->elements || (f && has_child(f, name)))
        return false;
    v = arena_new(r->arena, struct xml);
    if (!v)
        return false;
    v->name = name;
    if (!f)
        r->root = v;
    else if (f->last)
        f->last->next = v;
    else
        f->element->child = v;
    if (f) {
        f->last = v;
        f->element->count++;
    }
    r->frames[r->depth++] = (struct frame){.element = v};
    return true;
}

/* Behind </. */
static bool close_element(struct reader *r)
{
    struct slice name;

    return read_name(r, &name) && slice_eq(name, r->frames[--r->depth].element->name);
}

static struct slice read_text(struct reader *r)
{
    const char *from = r->p;

    while (r->p < r->end && is_text(r->p) && *r->p != '<' && *r->p != '&' && *r->p != ']')
        r->p++;
    return slice_n(from, (size_t)(r->p - from));
}

/* Behind <![CDATA[, and behind its end. */
static bool read_cdata(struct reader *r, struct slice *text)
{
    const char *from = r->p;

    while (r->p < r->end && is_text(r->p) && (*r->p != ']' || !next_is(r, SLICE(CDATA_END))))
        r->p++;
    *text = slice_n(from, (size_t)(r->p - from));
    if (!next_is(r, SLICE(CDATA_END)))
        return false;
    r->p += sizeof(CDATA_END) - 1;
    return true;
}

/* The text of the element just opened, or the blanks in front of its first child. */
static bool read_content(struct reader *r, struct xml *v)
{
    if (next_is(r, SLICE(CDATA_BEGIN))) {
        r->p += sizeof(CDATA_BEGIN) - 1;
        return read_cdata(r, &v->text) && next_is(r, SLICE("</"));
    }
    v->text = read_text(r);
    if (next_is(r, SLICE("</")))
        return true;
    r->p = v->text.p;
    v->text = SLICE_NULL;
    skip_blanks(r);
    return true;
}

/* From one tag to the next; blanks stand between. */
static bool read_tags(struct reader *r)
{
    do {
        skip_blanks(r);
        if (r->end - r->p < 2 || *r->p++ != '<')
            return false;
        if (*r->p == '/') {
            r->p++;
            if (!close_element(r))
                return false;
        } else if (!open_element(r) || !read_content(r, r->frames[r->depth - 1].element)) {
            return false;
        }
    } while (r->depth);
    skip_blanks(r);
    return r->p == r->end;
}

bool xml_read_plain(struct arena *a, struct slice in, const struct xml_limits *limits,
                    const struct xml **out)
{
    struct slice copy;
    struct reader r = {.arena = a, .limits = limits};

    if (in.n < 2 || in.p[0] != '<' || !is_name_start(in.p[1]))
        return false;
    copy = arena_copy(a, in);
    r.frames = arena_array(a, struct frame, limits->depth);
    if (!copy.p || !r.frames)
        return false;
    r.p = copy.p;
    r.end = copy.p + copy.n;
    if (!read_tags(&r))
        return false;
    *out = r.root;
    return true;
}
