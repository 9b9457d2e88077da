/*
 * expat calls back with pieces; this file puts them together and refuses what xml.h says. All text
 * lies in one block as long as the input: decoding never makes it longer. The text of an open
 * element is the tail of the block; blanks around children are dropped by moving the tail back.
 */
#include "xml.h"

#include "crypto.h" /* random_bytes */
#include "json.h"   /* utf8_prefix */
#include "xml_impl.h"

#include <expat.h>

#define DEPTH_DEFAULT    4u
#define DEPTH_MAX        64u
#define ELEMENTS_DEFAULT 512u
#define ELEMENTS_MAX     4096u
#define INPUT_MAX        (64u * 1024 * 1024)

enum content { NOTHING, TEXT, CDATA, CDATA_ENDED };

/* An element that is still open. */
struct frame {
    struct xml *element;
    struct xml *last; /* newest child */
    size_t text;      /* where its own begins in the block */
    enum content content;
};

struct parser {
    struct arena *arena;
    struct xml_error *err;
    struct xml_limits limits;
    struct xml *root;
    struct frame *frames; /* limits.depth of them */
    uint32_t depth;
    uint32_t elements;
    char *text;
    size_t ntext;
    XML_Parser expat;
};

static void fail(struct parser *ps, const char *reason, struct slice name)
{
    if (ps->err->reason)
        return;
    ps->err->reason = reason;
    ps->err->name = name;
    ps->err->offset = (size_t)XML_GetCurrentByteIndex(ps->expat);
    XML_StopParser(ps->expat, XML_FALSE);
}

static struct frame *top(struct parser *ps)
{
    return ps->depth ? &ps->frames[ps->depth - 1] : NULL;
}

/* ------------------------------------------------------------------ elements */

static bool has_child(const struct xml *parent, struct slice name)
{
    for (const struct xml *c = parent->child; c; c = c->next)
        if (slice_eq(c->name, name))
            return true;
    return false;
}

static bool blank(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != ' ' && s.p[i] != '\n' && s.p[i] != '\t' && s.p[i] != '\r')
            return false;
    return true;
}

/* What stands in front of the first child, between children, and behind the last one. */
static bool drop_blanks(struct parser *ps, struct frame *f)
{
    bool ok = f->content != CDATA_ENDED && blank(slice_n(ps->text + f->text, ps->ntext - f->text));

    ps->ntext = f->text;
    f->content = NOTHING;
    return ok;
}

static void add_child(struct parser *ps, struct frame *f, struct xml *v)
{
    if (!f) {
        ps->root = v;
        return;
    }
    if (f->last)
        f->last->next = v;
    else
        f->element->child = v;
    f->last = v;
    f->element->count++;
}

static void on_start(void *ctx, const XML_Char *name, const XML_Char **attributes)
{
    struct parser *ps = ctx;
    struct frame *f = top(ps);
    struct xml *v;

    if (ps->err->reason)
        return;
    v = arena_new(ps->arena, struct xml);
    if (v)
        v->name = arena_copy(ps->arena, slice_of(name));
    if (!v || !v->name.p)
        fail(ps, "out of memory", SLICE_NULL);
    else if (attributes[0])
        fail(ps, "attribute", v->name);
    else if (++ps->elements > ps->limits.elements)
        fail(ps, "too many elements", v->name);
    else if (ps->depth == ps->limits.depth)
        fail(ps, "too deep", v->name);
    else if (f && !drop_blanks(ps, f))
        fail(ps, "text beside elements", f->element->name);
    else if (f && has_child(f->element, v->name))
        fail(ps, "duplicate element", v->name);
    if (ps->err->reason)
        return;
    add_child(ps, f, v);
    ps->frames[ps->depth++] = (struct frame){.element = v, .text = ps->ntext};
}

static void on_end(void *ctx, const XML_Char *name)
{
    struct parser *ps = ctx;
    struct frame *f = top(ps);

    (void)name;
    if (ps->err->reason)
        return;
    if (!f->element->child)
        f->element->text = slice_n(ps->text + f->text, ps->ntext - f->text);
    else if (!drop_blanks(ps, f))
        fail(ps, "text beside elements", f->element->name);
    ps->depth--;
    if (ps->depth)
        top(ps)->text = ps->ntext; /* the child's stays in front */
}

/* ------------------------------------------------------------------ text */

static void on_text(void *ctx, const XML_Char *p, int n)
{
    struct parser *ps = ctx;
    struct frame *f = top(ps);

    if (ps->err->reason)
        return;
    if (f->content == CDATA_ENDED) {
        fail(ps, "CDATA beside text", f->element->name);
        return;
    }
    if (f->content == NOTHING)
        f->content = TEXT;
    memcpy(ps->text + ps->ntext, p, (size_t)n);
    ps->ntext += (size_t)n;
}

static void on_cdata(void *ctx)
{
    struct parser *ps = ctx;
    struct frame *f = top(ps);

    if (ps->err->reason)
        return;
    if (f->element->child)
        fail(ps, "text beside elements", f->element->name);
    else if (f->content != NOTHING)
        fail(ps, "CDATA beside text", f->element->name);
    f->content = CDATA;
}

static void on_cdata_end(void *ctx)
{
    struct parser *ps = ctx;

    if (!ps->err->reason)
        top(ps)->content = CDATA_ENDED;
}

/* ------------------------------------------------------------------ what is refused */

static void on_declaration(void *ctx, const XML_Char *version, const XML_Char *encoding, int alone)
{
    (void)version;
    (void)alone;
    if (encoding && !slice_eq_nocase(slice_of(encoding), SLICE("utf-8")))
        fail(ctx, "encoding", SLICE_NULL);
}

static void on_doctype(void *ctx, const XML_Char *name, const XML_Char *system_id,
                       const XML_Char *public_id, int has_subset)
{
    (void)name;
    (void)system_id;
    (void)public_id;
    (void)has_subset;
    fail(ctx, "DOCTYPE", SLICE_NULL);
}

static void on_comment(void *ctx, const XML_Char *text)
{
    (void)text;
    fail(ctx, "comment", SLICE_NULL);
}

static void on_instruction(void *ctx, const XML_Char *target, const XML_Char *text)
{
    (void)target;
    (void)text;
    fail(ctx, "processing instruction", SLICE_NULL);
}

static const char *expat_reason(enum XML_Error e)
{
    switch (e) {
    case XML_ERROR_NO_MEMORY:
        return "out of memory";
    case XML_ERROR_UNDEFINED_ENTITY:
        return "entity";
    case XML_ERROR_DUPLICATE_ATTRIBUTE:
        return "attribute";
    case XML_ERROR_JUNK_AFTER_DOC_ELEMENT:
        return "bytes behind the element";
    default:
        return "syntax";
    }
}

/* ------------------------------------------------------------------ parsing */

static int check_input(struct slice in, struct xml_error *err)
{
    const char *nul = in.n ? memchr(in.p, '\0', in.n) : NULL;

    if (in.n > INPUT_MAX) {
        err->reason = "too long";
        return -1;
    }
    err->offset = utf8_prefix(in);
    if (err->offset != in.n || nul) { /* UTF-16 is one or the other */
        err->reason = "not UTF-8";
        if (nul && (size_t)(nul - in.p) < err->offset)
            err->offset = (size_t)(nul - in.p);
        return -1;
    }
    err->offset = 0;
    return 0;
}

static void set_handlers(struct parser *ps)
{
    XML_SetUserData(ps->expat, ps);
    XML_SetElementHandler(ps->expat, on_start, on_end);
    XML_SetCharacterDataHandler(ps->expat, on_text);
    XML_SetCdataSectionHandler(ps->expat, on_cdata, on_cdata_end);
    XML_SetXmlDeclHandler(ps->expat, on_declaration);
    XML_SetStartDoctypeDeclHandler(ps->expat, on_doctype);
    XML_SetCommentHandler(ps->expat, on_comment);
    XML_SetProcessingInstructionHandler(ps->expat, on_instruction);
}

/* Against names chosen to collide. One for the process: expat would ask the kernel each time. */
static unsigned long hash_salt(void)
{
    static unsigned long salt;

    if (!salt)
        random_bytes(&salt, sizeof(salt));
    return salt;
}

static int run_expat(struct parser *ps, struct slice in)
{
    ps->expat = XML_ParserCreate("UTF-8"); /* whatever a declaration says */
    if (!ps->expat) {
        ps->err->reason = "out of memory";
        return -1;
    }
    set_handlers(ps);
    XML_SetHashSalt(ps->expat, hash_salt());
    if (XML_Parse(ps->expat, in.p, (int)in.n, 1) != XML_STATUS_OK)
        fail(ps, expat_reason(XML_GetErrorCode(ps->expat)), SLICE_NULL);
    XML_ParserFree(ps->expat);
    return ps->err->reason ? -1 : 0;
}

int xml_read_expat(struct arena *a, struct slice in, const struct xml_limits *limits,
                   const struct xml **out, struct xml_error *err)
{
    struct parser ps = {.arena = a, .err = err, .limits = *limits};

    ps.frames = arena_array(a, struct frame, ps.limits.depth);
    ps.text = arena_alloc(a, in.n + 1);
    if (!ps.frames || !ps.text) {
        err->reason = "out of memory";
        return -1;
    }
    if (run_expat(&ps, in) < 0)
        return -1;
    *out = ps.root;
    return 0;
}

static uint32_t limit(uint32_t asked, uint32_t dflt, uint32_t most)
{
    if (!asked)
        return dflt;
    return asked < most ? asked : most;
}

int xml_parse(struct arena *a, struct slice in, const struct xml_limits *limits,
              const struct xml **out, struct xml_error *err)
{
    struct xml_limits l = {limit(limits ? limits->depth : 0, DEPTH_DEFAULT, DEPTH_MAX),
                           limit(limits ? limits->elements : 0, ELEMENTS_DEFAULT, ELEMENTS_MAX)};

    *err = (struct xml_error){0};
    if (check_input(in, err) < 0)
        return -1;
    return xml_read_plain(a, in, &l, out) ? 0 : xml_read_expat(a, in, &l, out, err);
}

/* ------------------------------------------------------------------ reading */

const struct xml *xml_get(const struct xml *v, const char *name)
{
    const struct xml *c = v ? v->child : NULL;

    while (c && !slice_is(c->name, name))
        c = c->next;
    return c;
}

struct slice xml_str(const struct xml *v, const char *name)
{
    const struct xml *c = xml_get(v, name);

    return c && !c->child ? c->text : SLICE_NULL;
}
