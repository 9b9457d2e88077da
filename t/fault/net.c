/*
 * net.so - a network that a test writes, for programs that are started with LD_PRELOAD. The file
 * $FAULT_NAMES has lines "NAME ADDRESS ...", read again for each question, so that a name can
 * change its mind; names that are not there are asked of the system. Whom the program connects to
 * is written to $FAULT_CONNECTS, a line "ADDRESS PORT" each; nothing but loopback is reached, so
 * that a program which connects where it may not troubles nobody.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_ 1024

typedef int resolver(const char *, const char *, const struct addrinfo *, struct addrinfo **);
typedef int connector(int, const struct sockaddr *, socklen_t);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **res);
int connect(int fd, const struct sockaddr *to, socklen_t n);

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

static void write_down(const char *address, const char *port)
{
    const char *path = getenv("FAULT_CONNECTS");
    FILE *f = path ? fopen(path, "ae") : NULL;

    if (f) {
        fprintf(f, "%s %s\n", address, port);
        fclose(f);
    }
}

int connect(int fd, const struct sockaddr *to, socklen_t n)
{
    connector *real = (connector *)dlsym(RTLD_NEXT, "connect");
    char address[INET6_ADDRSTRLEN + 32], port[8];

    if (to->sa_family != AF_INET && to->sa_family != AF_INET6)
        return real(fd, to, n);
    if (getnameinfo(to, n, address, sizeof(address), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        abort();
    write_down(address, port);
    if (strncmp(address, "127.", 4) != 0 && strcmp(address, "::1") != 0) {
        errno = ENETUNREACH;
        return -1;
    }
    return real(fd, to, n);
}
