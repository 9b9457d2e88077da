/*
 * bill - a channel's bill of a day: unpacked, read line by line whatever its size, each line mapped
 * to a row in our words. The compiled form of an adapter's `bill { ... }`.
 */
#ifndef CHANNEL_BILL_H
#define CHANNEL_BILL_H

#include "adapter.h"

#define BILL_COLUMNS_MAX 64u /* of a file */
#define BILL_NAMES_MAX   32u /* that an adapter uses */
#define BILL_ROWS_MAX    8u
#define BILL_STAGES_MAX  4u
#define BILL_LINE_MAX    (64u * 1024u)

enum bill_stage { STAGE_BASE64, STAGE_ZLIB, STAGE_GZIP, STAGE_ZIP, STAGE_COUNT };

/* A column that rows speak of: by its title, or, in fixed-width files, its number. */
struct bill_column {
    const char *name;
    struct slice titles[3]; /* normalised; whichever the file has */
    uint32_t ntitles;
    uint32_t number; /* fixed: 0-based */
};

enum bill_test { TEST_IS, TEST_SAME };
struct bill_when {
    enum bill_test test;
    uint32_t column, other; /* TEST_SAME: both have one value */
    const struct slice *words;
    uint32_t nwords;
};

/* Members of a struct bill_row that `take` can fill. */
#define BILL_MEMBER_TABLE(X)                                                                       \
    X(REQUEST_NO, "request_no", VALUE_TEXT, "our number of the order")                             \
    X(CHANNEL_TRADE_NO, "channel_trade_no", VALUE_TEXT, "the channel's number")                    \
    X(REFUND_NO, "refund_no", VALUE_TEXT, "our number of the refund")                              \
    X(CHANNEL_REFUND_NO, "channel_refund_no", VALUE_TEXT, "the channel's number of it")            \
    X(AMOUNT, "amount", VALUE_INT, "fen that were paid or went back, not negative")                \
    X(FEE, "fee", VALUE_INT, "the channel's fee in thousandths of a fen, negative: given back")    \
    X(AT, "at", VALUE_TIME, "when")                                                                \
    X(STATE, "state", VALUE_TEXT, "the channel's word for it")
enum bill_member {
#define X(name, text, type, help) BILL_##name,
    BILL_MEMBER_TABLE(X)
#undef X
        BILL_MEMBER_COUNT
};

struct bill_take {
    enum bill_member member;
    uint32_t column;
    struct filter_list filters;
    enum value_type type; /* as it stands in the file: always text before the filters */
    bool optional;
};

struct bill_map {
    enum bill_kind kind;
    const struct bill_when *whens;
    uint32_t nwhens;
    const struct bill_take *takes;
    uint32_t ntakes;
};

/* A number of the summary that must be what was counted. */
enum bill_sum { SUM_ROWS, SUM_PAYMENTS, SUM_REFUNDS };
struct bill_total {
    enum bill_sum sum;
    struct slice title;
    struct filter_list filters;
};

struct adapter_bill {
    int64_t ready_us; /* of the next day in China */
    enum bill_stage stages[BILL_STAGES_MAX];
    uint32_t nstages;
    const char *entry; /* pattern of the file in a zip; NULL: the only one */
    bool gbk;
    bool fixed;
    struct slice separator, lead; /* csv */
    uint32_t widths[BILL_COLUMNS_MAX];
    uint32_t nwidths;
    uint32_t gap;     /* fixed: blanks between fields */
    char comment;     /* lines that begin so are skipped, 0: none */
    struct slice end; /* a line with this ends the rows; a bill without it is cut */
    struct bill_column columns[BILL_NAMES_MAX];
    uint32_t ncolumns;
    struct bill_map maps[BILL_ROWS_MAX];
    uint32_t nmaps;
    struct bill_total totals[3];
    uint32_t ntotals;
};

extern const struct conf_directive bill_table[], bill_row_table[];

/* Title as it is compared: full-width brackets as ASCII ones, no blanks. to has n bytes of room. */
struct slice bill_title(struct slice s, char *to, size_t n);

/* bill_unpack.c: the file's bytes, unpacked stage by stage, to `sink` in pieces. 0, or -1 with
 * *reason; a sink that returns -1 ends it. */
typedef int bill_sink(void *arg, const char *p, size_t n);
int bill_unpack(const struct adapter_bill *b, struct slice file, bill_sink *sink, void *arg,
                const char **reason);

#endif
