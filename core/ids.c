#include "ids.h"

#include <assert.h>

#define SECONDS_MAX   0x7fffffffLL /* 31 bits */
#define COUNTER_MAX   16383u
#define SLOT_SHIFT    22
#define PROCESS_SHIFT 14
#define SECONDS_SHIFT 32
#define SPAN_MAX      64u
#define BORROW_MAX_S  60
#define DAY_LEN       8
#define DIGITS_LEN    19

int id_gen_init(struct id_gen *g, uint32_t process)
{
    if (process > ID_PROCESS_MAX)
        return -1;
    *g = (struct id_gen){.process = process, .last_s = -1};
    return 0;
}

int id_next(struct id_gen *g, uint32_t slot, pay_time_t now, int64_t *id)
{
    int64_t now_s = now / USEC_PER_SEC - ID_EPOCH_S;
    int64_t s = g->last_s;
    uint32_t counter = g->counter + 1;

    if (slot >= SLOT_COUNT || now_s < 0 || now_s > SECONDS_MAX)
        return -1;
    if (now_s > s) {
        s = now_s;
        counter = 0;
    } else if (counter > COUNTER_MAX) {
        /* this second is used up, or the clock went back: take from the next, never go back */
        s++;
        counter = 0;
    }
    if (s > SECONDS_MAX || s - now_s > BORROW_MAX_S)
        return -1;
    g->last_s = s;
    g->counter = counter;
    *id = s << SECONDS_SHIFT | (int64_t)slot << SLOT_SHIFT | (int64_t)g->process << PROCESS_SHIFT |
          (int64_t)counter;
    return 0;
}

uint32_t id_slot(int64_t id)
{
    return (uint32_t)(id >> SLOT_SHIFT) & (SLOT_COUNT - 1);
}

uint32_t id_process(int64_t id)
{
    return (uint32_t)(id >> PROCESS_SHIFT) & ID_PROCESS_MAX;
}

bool id_is_shadow(int64_t id)
{
    return id_process(id) >= ID_SHADOW_MIN;
}

pay_time_t id_time(int64_t id)
{
    return ((id >> SECONDS_SHIFT) + ID_EPOCH_S) * USEC_PER_SEC;
}

uint32_t slot_of(uint32_t base_slot, uint32_t span, struct slice out_trade_no)
{
    assert(span >= 1 && span <= SPAN_MAX);
    return (uint32_t)((base_slot + slice_hash(out_trade_no) % span) % SLOT_COUNT);
}

void id_format(char out[ID_TEXT_LEN + 1], char kind, int64_t id)
{
    assert(id >= 0);
    out[0] = kind;
    time_format_day(out + 1, id_time(id));
    *put_digits(out + 1 + DAY_LEN, (uint64_t)id, DIGITS_LEN) = '\0';
}

int id_parse(struct slice s, char kind, int64_t *id)
{
    char again[ID_TEXT_LEN + 1];
    uint64_t v = 0;

    if (s.n != ID_TEXT_LEN || s.p[0] != kind)
        return -1;
    for (size_t i = 1 + DAY_LEN; i < ID_TEXT_LEN; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return -1;
        v = v * 10 + (uint64_t)(s.p[i] - '0'); /* 19 digits fit 64 bits */
    }
    if (v > INT64_MAX)
        return -1;
    /* one id has one text: formatting again checks the day in all its digits */
    id_format(again, kind, (int64_t)v);
    if (memcmp(again, s.p, ID_TEXT_LEN) != 0)
        return -1;
    *id = (int64_t)v;
    return 0;
}

void request_no_format(char out[REQUEST_NO_LEN + 1], int64_t payment_id, uint32_t seq)
{
    /* a number out of range would become another command's number: stop instead */
    assert(seq >= 1 && seq <= 99);
    id_format(out, 'P', payment_id);
    out[ID_TEXT_LEN] = (char)('0' + seq / 10 % 10);
    out[ID_TEXT_LEN + 1] = (char)('0' + seq % 10);
    out[REQUEST_NO_LEN] = '\0';
}

int request_no_parse(struct slice s, int64_t *payment_id, uint32_t *seq)
{
    char tens, ones;
    int64_t id;

    if (s.n != REQUEST_NO_LEN)
        return -1;
    tens = s.p[ID_TEXT_LEN];
    ones = s.p[ID_TEXT_LEN + 1];
    if (tens < '0' || tens > '9' || ones < '0' || ones > '9' || (tens == '0' && ones == '0'))
        return -1;
    if (id_parse(slice_n(s.p, ID_TEXT_LEN), 'P', &id) < 0)
        return -1;
    *payment_id = id;
    *seq = (uint32_t)((tens - '0') * 10 + (ones - '0'));
    return 0;
}
