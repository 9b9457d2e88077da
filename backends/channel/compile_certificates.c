/* `certificates { ... }`: where the channel publishes the keys it signs with. */
#include "compile.h"

const struct conf_directive certificates_table[] = {
    {"request", 1, 1, CONF_NEED, "PATH", "", "GET of this path, signed like any call, tells them."},
    {"list", 1, 1, CONF_NEED, "PATH", "", "The array in the answer."},
    {"serial", 1, 1, CONF_NEED, "PATH", "",
     "In each member: the certificate's serial number, which must be its own."},
    {"decrypt", 5, 5, CONF_NEED, "aes_256_gcm key=SECRET ciphertext=PATH nonce=PATH aad=PATH", "",
     "In each member: the certificate in PEM."},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

/* A verifier that chooses among RSA keys by their serial number: only that can learn new ones. */
static int check_verify(struct compiler *cp, const struct conf_node *at)
{
    const struct signer *s = &cp->adapter->verify;

    if (s->algorithm != ALGORITHM_RSA_SHA256 || s->certificate || !s->by_serial)
        return conf_fail(cp->err, at,
                         "certificates need a verify block with rsa_sha256 and $serial");
    return 0;
}

int compile_certificates(struct compiler *cp, struct conf_node *block)
{
    struct adapter_certificates *c = arena_new(cp->arena, struct adapter_certificates);
    const struct conf_node *request, *list, *serial;

    if (!c)
        return adapter_no_memory(cp);
    if (compile_table(cp, block, certificates_table) < 0)
        return -1;
    request = conf_find(block->child, "request");
    list = conf_find(block->child, "list");
    serial = conf_find(block->child, "serial");
    if (compile_failed(cp, compile_printable(cp, request, request->args[0], '!')))
        return -1;
    if (request->args[0].p[0] != '/' &&
        compile_failed(cp, conf_fail(cp->err, request, "expected a path that begins with /")))
        return -1;
    c->target = request->args[0];
    c->list = compile_path(cp, list, list->args[0]);
    if (!c->list && compile_failed(cp, -1))
        return -1;
    c->serial = compile_path(cp, serial, serial->args[0]);
    if (!c->serial && compile_failed(cp, -1))
        return -1;
    if (compile_failed(cp, compile_decrypt(cp, conf_find(block->child, "decrypt"), &c->sealed)) ||
        compile_failed(cp, check_verify(cp, block)))
        return -1;
    cp->adapter->certificates = c;
    return 0;
}
