/*
 * keys - the internal socket: app keys and their changes for nginx workers, as the line protocol of
 * docs/interfaces.md. Secrets leave this process only here, on a unix socket.
 */
#ifndef PAYD_KEYS_H
#define PAYD_KEYS_H

#include <stddef.h>

struct keys;
struct worker;

struct keys *keys_new(struct worker *w, const char *unix_path, char *err, size_t n);
void keys_free(struct keys *k);

#endif
