/*
 * http_answer - incremental parser of one HTTP/1.1 answer, strict (RFC 9112). No I/O, no
 * allocation.
 *
 * The caller collects bytes in one buffer that begins with the answer's first byte and calls
 * answer_parse after each addition; the buffer may move between calls, its bytes may not. Chunks
 * are put together in place. Answers of the 1xx class are skipped. What could be read in two ways
 * is refused: bare CR or LF, folded lines, Content-Length beside Transfer-Encoding, differing
 * lengths.
 */
#ifndef IO_HTTP_ANSWER_H
#define IO_HTTP_ANSWER_H

#include "http.h"

#define ANSWER_MAX_HEADERS 64

enum answer_step { ANSWER_MORE, ANSWER_DONE, ANSWER_BAD };

struct answer_parser {
    /* given */
    bool head_request; /* no body, whatever the head says */
    size_t max;        /* head + body bytes */
    /* found */
    int status;
    bool keepalive;
    size_t head_start, head_end; /* of the final answer */
    size_t body_start, body_n;   /* of the whole, decoded body */
    size_t end;                  /* where the next answer would begin */
    const char *reason;          /* static, when bad */
    /* progress */
    int state;
    size_t scan;
    uint64_t left;
};

void answer_parser_init(struct answer_parser *p, bool head_request, size_t max);
/* data[0..n) is all that has come so far; eof = nothing will follow. */
enum answer_step answer_parse(struct answer_parser *p, char *data, size_t n, bool eof);
/* Headers of a parsed head as slices into data; at most ANSWER_MAX_HEADERS. */
size_t answer_headers(const struct answer_parser *p, const char *data, struct http_header *out);

#endif
