/*
 * names.so - a resolver that a test writes, for programs that are started with LD_PRELOAD: the file
 * $FAULT_NAMES has lines "NAME ADDRESS ...", read again for each question, so that a name can
 * change its mind. Names that are not there are asked of the system.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_ 1024

typedef int resolver(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **res);

/* The rest of the name's line, or false. */
static int find(const char *node, char *line, char **rest)
{
    const char *path = getenv("FAULT_NAMES");
    FILE *f = path && node ? fopen(path, "re") : NULL;
    int found = 0;

    while (f && !found && fgets(line, LINE_MAX_, f)) {
        char *name = strtok_r(line, " \n", rest);
        found = name && strcmp(name, node) == 0;
    }
    if (f)
        fclose(f);
    return found;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **res)
{
    resolver *real = (resolver *)dlsym(RTLD_NEXT, "getaddrinfo");
    struct addrinfo wish = {.ai_flags = AI_NUMERICHOST};
    struct addrinfo **end = res;
    char line[LINE_MAX_], *rest, *address;

    if (!find(node, line, &rest))
        return real(node, service, hints, res);
    if (hints) {
        wish.ai_socktype = hints->ai_socktype;
        wish.ai_protocol = hints->ai_protocol;
    }
    for (*res = NULL; (address = strtok_r(NULL, " \n", &rest));) {
        if (real(address, service, &wish, end) != 0)
            abort(); /* the test has written nonsense */
        while (*end)
            end = &(*end)->ai_next;
    }
    return *res ? 0 : EAI_NONAME;
}
