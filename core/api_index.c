#include "core/api_index.h"

#include <assert.h>

static struct api_index indexes[API_REFUND_FIND + 1];

/* The object that the first n bytes of a path name: it stands before its members. */
static int32_t find_parent(const struct api_field *fields, const char *path, size_t n)
{
    for (int32_t i = 0; fields[i].path; i++) {
        if (slice_eq(slice_of(fields[i].path), slice_n(path, n)))
            return i;
    }
    assert(0 && "a field whose object is not declared");
    return -1;
}

static void add_name(struct api_index *x, int32_t i)
{
    const char *path = x->fields[i].path;
    const char *dot = strrchr(path, '.');
    struct api_name *name = &x->names[i];
    unsigned at;

    name->text = slice_of(dot ? dot + 1 : path);
    name->parent = dot ? find_parent(x->fields, path, (size_t)(dot - path)) : -1;
    at = api_index_hash(name->parent, name->text);
    while (x->places[at])
        at = (at + 1) % API_PLACES;
    x->places[at] = (uint8_t)(i + 1);
}

/* Ranges are recognised only between two digits or two letters of one case: "_-|" are three
 * characters. */
static void add_characters(struct api_index *x, const char *charset, uint8_t bit)
{
    for (const char *p = charset; *p; p++) {
        bool range = p[1] == '-' && ((p[0] == '0' && p[2] == '9') || (p[0] == 'A' && p[2] == 'Z') ||
                                     (p[0] == 'a' && p[2] == 'z'));
        unsigned char last = (unsigned char)(range ? p[2] : p[0]);

        for (unsigned c = (unsigned char)p[0]; c <= last; c++)
            x->characters[c] |= bit;
        p += range ? 2 : 0;
    }
}

/* Fields with the same text share a bit. */
static void add_charset(struct api_index *x, int32_t i)
{
    unsigned used = 0;

    if (!x->fields[i].charset)
        return;
    for (int32_t k = 0; k < i; k++) {
        if (x->names[k].charset && strcmp(x->fields[k].charset, x->fields[i].charset) == 0) {
            x->names[i].charset = x->names[k].charset;
            return;
        }
        used |= x->names[k].charset;
    }
    assert(used < (1u << API_SETS_MAX) - 1);
    x->names[i].charset = (uint8_t)(used + 1); /* bits are taken from the lowest on */
    add_characters(x, x->fields[i].charset, x->names[i].charset);
}

static void make_index(struct api_index *x, const struct api_field *fields)
{
    *x = (struct api_index){.fields = fields};
    for (int32_t i = 0; fields && fields[i].path; i++) {
        assert(i < API_FIELDS_MAX);
        add_name(x, i);
        add_charset(x, i);
        x->required |= fields[i].required ? 1ULL << i : 0;
        x->count++;
    }
}

static void add_methods(struct api_index *x)
{
    const struct api_method_field *f = api_method_fields();

    for (size_t i = 0; f[i].path; i++) {
        int field = api_index_find(x, -1, slice_of(f[i].path));

        assert(i < API_METHODS_MAX && field >= 0);
        x->by_method[i] = (uint8_t)field;
    }
}

__attribute__((constructor)) static void make_indexes(void)
{
    size_t count;
    const struct api *apis = api_table(&count);

    for (size_t i = 0; i < count; i++)
        make_index(&indexes[apis[i].id], apis[i].fields);
    add_methods(&indexes[API_PAYMENT_CREATE]);
}

const struct api_index *api_index_of(const struct api *api)
{
    return &indexes[api->id];
}
