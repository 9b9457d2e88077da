/* From `present { ... }` of an api to what is made for the payer. */
#include "compile.h"

const struct conf_directive present_table[] = {
    {"into", 1, 1, CONF_NEED, "pay_params | h5_url", "", "Where the payer's side finds it."},
    {"encoding", 1, 1, CONF_NEED, "json | form", "", "How the members are written."},
    {"prefix", 1, 1, 0, "TEMPLATE", "", "Stands before them."},
    {"post", 1, 1, 0, "TEMPLATE", "",
     "Instead of prefix: a JSON object of url, this address, and fields, which a page sends "
     "there."},
    {"common", 1, 1, 0, "on | off", "off", "on: the members of the file's common come first."},
    {"sign", 0, 0, CONF_BLOCK, "{ ... }", "", "A signature of its own, as a member."},
    {"send", 0, 0, CONF_BLOCK | CONF_NEED, "{ MEMBER SOURCE [FILTER ...] [optional]; ... }", "",
     "The members."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static int compile_words(struct compiler *cp, const struct conf_node *block,
                         struct adapter_present *out, enum encoding *encoding)
{
    const struct conf_node *into = conf_find(block->child, "into");
    const struct conf_node *how = conf_find(block->child, "encoding");
    int e = encoding_parse(how->args[0]);

    out->h5_url = slice_is(into->args[0], "h5_url");
    if (!out->h5_url && !slice_is(into->args[0], "pay_params"))
        return conf_fail(cp->err, into, "expected pay_params or h5_url, not \"%.*s\"",
                         SLICE_FMT(into->args[0]));
    if (e != ENCODING_JSON && e != ENCODING_FORM)
        return conf_fail(cp->err, how, "expected json or form, not \"%.*s\"",
                         SLICE_FMT(how->args[0]));
    *encoding = (enum encoding)e;
    return 0;
}

static int compile_prefix(struct compiler *cp, const struct conf_node *block,
                          struct adapter_present *out, enum encoding encoding)
{
    const struct conf_node *prefix = conf_find(block->child, "prefix");
    const struct conf_node *post = conf_find(block->child, "post");
    const struct conf_node *at = prefix ? prefix : post;

    if (prefix && post)
        return conf_fail(cp->err, post, "expected either prefix or post");
    if (post && encoding != ENCODING_JSON)
        return conf_fail(cp->err, post, "post needs encoding json");
    out->form = post ? PRESENT_POST : PRESENT_TEXT;
    return at ? template_compile(cp, at, at->args[0], IN_SEND, &out->prefix) : 0;
}

/* Its signature may be over the few texts that it names, or over all members. */
int compile_present(struct compiler *cp, struct conf_node *block, struct adapter_present *out)
{
    enum encoding encoding = ENCODING_JSON;
    struct conf_node *sign;
    bool common = false;

    out->present = true;
    if (compile_table(cp, block, present_table) < 0)
        return -1;
    sign = compile_block(block->child, "sign");
    out->has_sign = sign != NULL;
    if (compile_failed(cp, compile_words(cp, block, out, &encoding)) ||
        compile_failed(cp, compile_prefix(cp, block, out, encoding)) ||
        compile_failed(cp, compile_switch(cp, conf_find(block->child, "common"), &common)) ||
        (sign && compile_failed(cp, signer_compile(cp, sign, SIGNER_PRESENT, &out->sign))))
        return -1;
    return compile_send(cp, common ? cp->common : NULL, conf_find(block->child, "send"), encoding,
                        &out->message);
}
