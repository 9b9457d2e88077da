#define _GNU_SOURCE /* memmem */
#include "http_answer.h"

#define CHUNK_LINE_MAX 256 /* of a chunk's size line */
#define CHUNK_DIGITS   12

enum state {
    IN_HEAD,
    IN_LENGTH, /* body of known length */
    IN_REST,   /* body up to the end of the connection */
    IN_CHUNK_SIZE,
    IN_CHUNK,
    IN_CHUNK_END,
    IN_TRAILER,
    AT_END
};

void answer_parser_init(struct answer_parser *p, bool head_request, size_t max)
{
    *p = (struct answer_parser){.head_request = head_request, .max = max, .state = IN_HEAD};
}

static enum answer_step bad(struct answer_parser *p, const char *reason)
{
    p->reason = reason;
    return ANSWER_BAD;
}

/* ---- head ---- */

/* The line at *pos without its CRLF; false when there is no further one or it is malformed. */
static bool next_line(const char *data, size_t end, size_t *pos, struct slice *line)
{
    const char *p = data + *pos;
    const char *lf = *pos < end ? memchr(p, '\n', end - *pos) : NULL;
    size_t n;

    if (!lf || lf == p || lf[-1] != '\r')
        return false;
    n = (size_t)(lf - p) - 1;
    if (n && (memchr(p, '\r', n) || memchr(p, '\0', n)))
        return false;
    *line = slice_n(p, n);
    *pos += n + 2;
    return true;
}

/* Names of headers are letters and hyphens but for oddities. */
static bool is_token(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-')
            continue;
        if (c <= ' ' || c >= 127 || strchr("\"(),/:;<=>?@[\\]{}", c))
            return false;
    }
    return s.n > 0;
}

static bool split_header(struct slice line, struct http_header *h)
{
    const char *colon = line.n ? memchr(line.p, ':', line.n) : NULL;

    if (!colon)
        return false;
    h->name = slice_n(line.p, (size_t)(colon - line.p));
    h->value = slice_trim(slice_n(colon + 1, line.n - h->name.n - 1));
    return is_token(h->name);
}

/* "HTTP/1.1 200 OK", the text being optional. *minor is 0 or 1. */
static bool parse_status(struct slice line, int *status, int *minor)
{
    if (line.n < 12 || memcmp(line.p, "HTTP/1.", 7) != 0 || line.p[8] != ' ')
        return false;
    if ((line.p[7] != '0' && line.p[7] != '1') || (line.n > 12 && line.p[12] != ' '))
        return false;
    *minor = line.p[7] - '0';
    *status = 0;
    for (int i = 9; i < 12; i++) {
        if (line.p[i] < '0' || line.p[i] > '9')
            return false;
        *status = *status * 10 + (line.p[i] - '0');
    }
    return *status >= 100;
}

/* What the head says about the body and the connection. */
struct framing {
    int minor;
    bool close;
    bool keep;
    bool chunked;
    bool has_length;
    int64_t length;
};

static void read_connection(struct framing *f, struct slice value)
{
    while (value.n) {
        struct slice token = slice_trim(slice_cut(&value, ','));

        if (slice_eq_nocase(token, SLICE("close")))
            f->close = true;
        if (slice_eq_nocase(token, SLICE("keep-alive")))
            f->keep = true;
    }
}

static const char *read_header(struct framing *f, const struct http_header *h)
{
    int64_t n;

    if (slice_eq_nocase(h->name, SLICE("Content-Length"))) {
        if (slice_int64(h->value, &n) != 0 || n < 0 || (f->has_length && n != f->length))
            return "bad Content-Length";
        f->has_length = true;
        f->length = n;
    } else if (slice_eq_nocase(h->name, SLICE("Transfer-Encoding"))) {
        if (f->chunked || !slice_eq_nocase(h->value, SLICE("chunked")))
            return "unknown Transfer-Encoding";
        f->chunked = true;
    } else if (slice_eq_nocase(h->name, SLICE("Connection"))) {
        read_connection(f, h->value);
    }
    return NULL;
}

/* Which headers decide is known by their length first: most need no comparison at all. */
static bool may_frame(const struct http_header *h)
{
    return h->name.n == 14 || h->name.n == 17 || h->name.n == 10;
}

static enum answer_step begin_body(struct answer_parser *p, const struct framing *f)
{
    p->body_start = p->scan = p->head_end;
    p->keepalive = f->minor == 1 ? !f->close : f->keep && !f->close;
    if (f->chunked && (f->has_length || f->minor == 0))
        return bad(p, "two lengths of one body");
    if (p->head_request || p->status == 204 || p->status == 304) {
        p->state = IN_LENGTH;
        p->left = 0;
    } else if (f->chunked) {
        p->state = IN_CHUNK_SIZE;
    } else if (f->has_length) {
        p->state = IN_LENGTH;
        p->left = (uint64_t)f->length;
        if (p->left > p->max || p->head_end > p->max - p->left)
            return bad(p, "answer too large");
    } else {
        p->state = IN_REST;
        p->keepalive = false;
    }
    return ANSWER_DONE;
}

/* The head is complete. ANSWER_DONE = go on with what follows it. */
static enum answer_step parse_head(struct answer_parser *p, const char *data)
{
    struct framing f = {0};
    struct http_header h;
    struct slice line;
    size_t pos = p->head_start;
    size_t count = 0;

    if (!next_line(data, p->head_end, &pos, &line) || !parse_status(line, &p->status, &f.minor))
        return bad(p, "not HTTP");
    while (next_line(data, p->head_end, &pos, &line) && line.n) {
        const char *reason = NULL;

        if (!split_header(line, &h))
            return bad(p, "malformed header");
        if (++count > ANSWER_MAX_HEADERS)
            return bad(p, "too many headers");
        if (may_frame(&h))
            reason = read_header(&f, &h);
        if (reason)
            return bad(p, reason);
    }
    if (pos != p->head_end)
        return bad(p, "malformed header");
    if (p->status == 101)
        return bad(p, "unexpected 101");
    if (p->status < 200) { /* interim: the real one follows */
        p->head_start = p->scan = p->head_end;
        return ANSWER_DONE;
    }
    return begin_body(p, &f);
}

static enum answer_step step_head(struct answer_parser *p, const char *data, size_t n)
{
    const char *found = n > p->scan ? memmem(data + p->scan, n - p->scan, "\r\n\r\n", 4) : NULL;
    size_t have = n - p->head_start;

    if (!found) {
        if (have && memcmp(data + p->head_start, "HTTP/1.", have < 7 ? have : 7) != 0)
            return bad(p, "not HTTP");
        p->scan = have > 3 ? n - 3 : p->head_start;
        return ANSWER_MORE;
    }
    p->head_end = (size_t)(found - data) + 4;
    return parse_head(p, data);
}

/* ---- body ---- */

static enum answer_step step_length(struct answer_parser *p, size_t n)
{
    if (n - p->body_start < p->left)
        return ANSWER_MORE;
    p->body_n = (size_t)p->left;
    p->scan = p->body_start + p->body_n;
    p->state = AT_END;
    return ANSWER_DONE;
}

static enum answer_step step_rest(struct answer_parser *p, size_t n, bool eof)
{
    if (!eof)
        return ANSWER_MORE;
    p->body_n = n - p->body_start;
    p->scan = n;
    p->state = AT_END;
    return ANSWER_DONE;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Hexadecimal size, then the end or an extension, which is ignored. */
static bool parse_chunk_size(struct slice line, uint64_t *size)
{
    size_t i = 0;

    *size = 0;
    for (; i < line.n && hex_digit(line.p[i]) >= 0; i++)
        *size = *size * 16 + (uint64_t)hex_digit(line.p[i]);
    if (i == 0 || i > CHUNK_DIGITS)
        return false;
    return i == line.n || line.p[i] == ';' || line.p[i] == ' ' || line.p[i] == '\t';
}

/* A whole line at p->scan. */
static enum answer_step step_line(struct answer_parser *p, const char *data, size_t n, size_t max,
                                  struct slice *line)
{
    size_t have = n - p->scan;

    if (next_line(data, n, &p->scan, line))
        return line->n > max ? bad(p, "malformed chunk") : ANSWER_DONE;
    if (have && memchr(data + p->scan, '\n', have))
        return bad(p, "malformed chunk");
    return have > max ? bad(p, "malformed chunk") : ANSWER_MORE;
}

static enum answer_step step_chunk_size(struct answer_parser *p, const char *data, size_t n)
{
    struct slice line;
    enum answer_step rc = step_line(p, data, n, CHUNK_LINE_MAX, &line);

    if (rc != ANSWER_DONE)
        return rc;
    if (!parse_chunk_size(line, &p->left))
        return bad(p, "malformed chunk");
    if (p->left > p->max || p->body_n > p->max - p->left)
        return bad(p, "answer too large");
    p->state = p->left ? IN_CHUNK : IN_TRAILER;
    return ANSWER_DONE;
}

/* Moves what is there of the chunk behind the body so far. */
static enum answer_step step_chunk(struct answer_parser *p, char *data, size_t n)
{
    size_t have = n - p->scan;

    if (have > p->left)
        have = (size_t)p->left;
    memmove(data + p->body_start + p->body_n, data + p->scan, have);
    p->body_n += have;
    p->scan += have;
    p->left -= have;
    if (p->left)
        return ANSWER_MORE;
    p->state = IN_CHUNK_END;
    return ANSWER_DONE;
}

static enum answer_step step_chunk_end(struct answer_parser *p, const char *data, size_t n)
{
    struct slice line;
    enum answer_step rc = step_line(p, data, n, 1, &line);

    if (rc != ANSWER_DONE)
        return rc;
    if (line.n)
        return bad(p, "malformed chunk");
    p->state = IN_CHUNK_SIZE;
    return ANSWER_DONE;
}

static enum answer_step step_trailer(struct answer_parser *p, const char *data, size_t n)
{
    struct slice line;
    enum answer_step rc = step_line(p, data, n, p->max, &line);

    if (rc == ANSWER_DONE && line.n == 0)
        p->state = AT_END;
    return rc;
}

static enum answer_step step(struct answer_parser *p, char *data, size_t n, bool eof)
{
    switch ((enum state)p->state) {
    case IN_HEAD:
        return step_head(p, data, n);
    case IN_LENGTH:
        return step_length(p, n);
    case IN_REST:
        return step_rest(p, n, eof);
    case IN_CHUNK_SIZE:
        return step_chunk_size(p, data, n);
    case IN_CHUNK:
        return step_chunk(p, data, n);
    case IN_CHUNK_END:
        return step_chunk_end(p, data, n);
    case IN_TRAILER:
        return step_trailer(p, data, n);
    case AT_END:
        break;
    }
    return ANSWER_DONE;
}

enum answer_step answer_parse(struct answer_parser *p, char *data, size_t n, bool eof)
{
    enum answer_step rc = ANSWER_DONE;

    while (rc == ANSWER_DONE && p->state != AT_END)
        rc = step(p, data, n, eof);
    if (p->state == AT_END)
        p->end = p->scan;
    else if (rc == ANSWER_MORE && eof)
        return bad(p, n ? "closed in the middle of the answer" : "closed before an answer");
    return rc;
}

size_t answer_headers(const struct answer_parser *p, const char *data, struct http_header *out)
{
    struct slice line;
    size_t pos = p->head_start;
    size_t n = 0;

    if (!next_line(data, p->head_end, &pos, &line))
        return 0;
    while (n < ANSWER_MAX_HEADERS && next_line(data, p->head_end, &pos, &line) && line.n)
        if (split_header(line, &out[n]))
            n++;
    return n;
}
