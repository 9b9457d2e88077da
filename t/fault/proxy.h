/* proxy - its links, their addresses, and how PostgreSQL's messages are followed. */
#ifndef FAULT_PROXY_H
#define FAULT_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum mode {
    MODE_PASS,
    MODE_DELAY,
    MODE_RESET,
    MODE_CUT_UP,
    MODE_CUT_DOWN,
    MODE_SWALLOW,
    MODE_LOSE
};

struct address {
    struct sockaddr_un sa; /* also holds a sockaddr_in */
    socklen_t len;
};

struct link {
    char name[32];
    struct address target;
    enum mode mode;
    int64_t delay_us;
    long lose, struck;
    char statements[256]; /* ",create,step," */
};

/* "unix:PATH" or "127.0.0.1:PORT". 0 or -1. */
int address_parse(struct address *a, const char *text);
/* Non-blocking sockets; what was left at a unix path is removed. -1: errno. */
int address_listen(const char *text);
int address_connect(const struct address *a);

/*
 * Where a connection stands in PostgreSQL's protocol, version 3: messages of a type byte, a length
 * that counts itself, and content; only the client's first one has no type. Bytes come in any
 * pieces. Of other protocols nothing is made.
 */
#define PG_KEPT 128
struct pg_stream {
    uint8_t head[5];
    size_t have, left; /* bytes of the head, and of the content still to come */
    size_t kept;       /* of the content's beginning */
    char content[PG_KEPT];
};
struct pg_follow {
    struct pg_stream client, server;
    bool started;
};
/* A Bind of one of these statements came by. */
bool pg_follow_client(struct pg_follow *f, const char *text, size_t n, const char *statements);
/* A ReadyForQuery came by. */
bool pg_follow_server(struct pg_follow *f, const char *text, size_t n);

#endif
