/* Small texts with one meaning: amounts, times, ids, numbers, base64, hex. What is read and written
 * again is what was read. */
#include "fuzz.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/ids.h"
#include "core/money.h"

static void check_amount(struct slice s)
{
    int64_t fen, again;
    struct buf b;

    if (money_parse_yuan(s, &fen) != 0)
        return;
    buf_init(&b, 64);
    money_format_yuan(&b, fen);
    must(buf_ok(&b) && money_parse_yuan(buf_slice(&b), &again) == 0 && again == fen);
    buf_release(&b);
}

static void check_time(struct slice s)
{
    char text[RFC3339_LEN + 1], day[9];
    pay_time_t t, again;

    if (time_parse_rfc3339(s, &t) != 0)
        return;
    time_format_rfc3339(text, t);
    time_format_day(day, t);
    must(strlen(text) == RFC3339_LEN && strlen(day) == 8);
    must(time_parse_rfc3339(slice_of(text), &again) == 0);
    must(again <= t && t - again < USEC_PER_SEC);
}

static void check_ids(struct slice s)
{
    char text[ID_TEXT_LEN + 1], number[REQUEST_NO_LEN + 1];
    uint32_t seq;
    int64_t id;

    if (id_parse(s, 'P', &id) == 0) {
        id_format(text, 'P', id);
        must(slice_is(s, text));
        must(id_slot(id) < SLOT_COUNT);
    }
    if (request_no_parse(s, &id, &seq) == 0) {
        must(seq >= 1 && seq <= 99);
        request_no_format(number, id, seq);
        must(slice_is(s, number));
    }
}

static void check_codes(struct slice s)
{
    struct buf raw, text;

    buf_init(&raw, FUZZ_ARENA);
    buf_init(&text, FUZZ_ARENA);
    if (base64_decode(&raw, s) == 0) {
        base64_encode(&text, buf_slice(&raw));
        must(slice_eq(buf_slice(&text), s));
    }
    buf_clear(&raw);
    buf_clear(&text);
    if (hex_decode(&raw, s) == 0) {
        hex_encode(&text, buf_slice(&raw), false);
        must(slice_eq_nocase(buf_slice(&text), s));
    }
    buf_release(&raw);
    buf_release(&text);
}

static void check_integer(struct slice s)
{
    struct buf b;
    int64_t n;

    if (slice_int64(s, &n) != 0)
        return;
    buf_init(&b, 64);
    buf_add_int64(&b, n);
    must(slice_eq(buf_slice(&b), s) || slice_is(s, "-0"));
    buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice s = slice_n(data, size);

    check_amount(s);
    check_time(s);
    check_ids(s);
    check_codes(s);
    check_integer(s);
    must(slot_of(1023, 64, s) < SLOT_COUNT);
    return 0;
}
