#include "clock.h"

#include <time.h>

#define SEC_PER_DAY 86400
/* China has one offset and no summer time (since 1991), so no time zone data is needed. */
#define CHINA_OFFSET_S (8 * 3600)
/* 9999-12-31T23:59:59+08:00: the last second that has RFC3339_LEN characters */
#define WALL_MAX_S 253402271999LL
/* 2100-01-01T00:00:00+08:00: what is read must be readable again when it was written in +08:00 */
#define READ_END_S 4102416000LL

struct civil {
    int year;
    int month; /* 1..12 */
    int day;   /* 1..31 */
};

/*
 * Days since 1970-01-01 in the proleptic Gregorian calendar, by hand: timegm is no standard
 * function and struct tm invites time zones. The year is counted from March, so that the leap day
 * is its last; 400 years have 146097 days.
 */
static int64_t days_from_civil(struct civil c)
{
    int64_t y = c.month <= 2 ? c.year - 1 : c.year;
    int64_t era = y / 400;
    int64_t year_of_era = y % 400;
    int64_t march_month = (c.month + 9) % 12;
    int64_t day_of_year = (153 * march_month + 2) / 5 + c.day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

/* The inverse, for days >= 0. */
static struct civil civil_from_days(int64_t days)
{
    int64_t z = days + 719468;
    int64_t era = z / 146097;
    int64_t day_of_era = z % 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t march_month = (5 * day_of_year + 2) / 153;
    struct civil c;

    c.day = (int)(day_of_year - (153 * march_month + 2) / 5 + 1);
    c.month = (int)(march_month < 10 ? march_month + 3 : march_month - 9);
    c.year = (int)(year_of_era + era * 400 + (c.month <= 2));
    return c;
}

static int days_in_month(int year, int month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && leap ? 29 : days[month - 1];
}

/* n digits at s->p as a number within min..max; moves s behind them. -1 on anything else. */
static int take_number(struct slice *s, size_t n, int min, int max)
{
    int v = 0;

    if (s->n < n)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (s->p[i] < '0' || s->p[i] > '9')
            return -1;
        v = v * 10 + (s->p[i] - '0');
    }
    s->p += n;
    s->n -= n;
    return v < min || v > max ? -1 : v;
}

static bool take_char(struct slice *s, char c)
{
    if (s->n == 0 || s->p[0] != c)
        return false;
    s->p++;
    s->n--;
    return true;
}

/* ".123456789" -> 123456; nothing -> 0. -1 when no digit follows the point. */
static int64_t take_fraction(struct slice *s)
{
    int64_t usec = 0;
    int64_t unit = USEC_PER_SEC / 10;
    size_t digits = 0;

    if (!take_char(s, '.'))
        return 0;
    for (; s->n && s->p[0] >= '0' && s->p[0] <= '9'; s->p++, s->n--, digits++) {
        usec += (s->p[0] - '0') * unit;
        unit /= 10;
    }
    return digits ? usec : -1;
}

/* "Z" or "+08:00", which must end the text -> seconds east. */
static int take_offset(struct slice *s, int *seconds)
{
    int sign = take_char(s, '-') ? -1 : 1;
    int hours, minutes;

    *seconds = 0;
    if (sign > 0 && take_char(s, 'Z'))
        return s->n == 0 ? 0 : -1;
    if (sign > 0 && !take_char(s, '+'))
        return -1;
    hours = take_number(s, 2, 0, 23);
    if (hours < 0 || !take_char(s, ':'))
        return -1;
    minutes = take_number(s, 2, 0, 59);
    if (minutes < 0 || s->n != 0)
        return -1;
    *seconds = sign * (hours * 3600 + minutes * 60);
    return 0;
}

int time_parse_rfc3339(struct slice s, pay_time_t *out)
{
    struct civil c;
    int hour, minute, second, offset;
    int64_t usec, t;

    c.year = take_number(&s, 4, 1970, 2099);
    if (c.year < 0 || !take_char(&s, '-'))
        return -1;
    c.month = take_number(&s, 2, 1, 12);
    if (c.month < 0 || !take_char(&s, '-'))
        return -1;
    c.day = take_number(&s, 2, 1, days_in_month(c.year, c.month));
    if (c.day < 0 || !take_char(&s, 'T'))
        return -1;
    hour = take_number(&s, 2, 0, 23);
    if (hour < 0 || !take_char(&s, ':'))
        return -1;
    minute = take_number(&s, 2, 0, 59);
    if (minute < 0 || !take_char(&s, ':'))
        return -1;
    second = take_number(&s, 2, 0, 59);
    usec = take_fraction(&s);
    if (second < 0 || usec < 0 || take_offset(&s, &offset) < 0)
        return -1;
    t = days_from_civil(c) * SEC_PER_DAY + hour * 3600 + minute * 60 + second - offset;
    t = t * USEC_PER_SEC + usec;
    /* 0 would read as "not set", and nothing of ours is older */
    if (t <= 0 || t >= READ_END_S * USEC_PER_SEC)
        return -1;
    *out = t;
    return 0;
}

/* Seconds of China's wall clock since its own 1970; clamped to what four-digit years hold. */
static int64_t china_seconds(pay_time_t t)
{
    int64_t s = t < 0 ? 0 : t / USEC_PER_SEC;

    return (s > WALL_MAX_S ? WALL_MAX_S : s) + CHINA_OFFSET_S;
}

char *put_digits(char *to, uint64_t v, int digits)
{
    for (int i = digits - 1; i >= 0; i--) {
        to[i] = (char)('0' + v % 10);
        v /= 10;
    }
    return to + digits;
}

static char *put_number(char *to, unsigned v, int digits, char mark)
{
    if (mark)
        *to++ = mark;
    return put_digits(to, v, digits);
}

void time_format_rfc3339(char out[RFC3339_LEN + 1], pay_time_t t)
{
    int64_t s = china_seconds(t);
    struct civil c = civil_from_days(s / SEC_PER_DAY);
    unsigned in_day = (unsigned)(s % SEC_PER_DAY);
    char *to = put_number(out, (unsigned)c.year, 4, 0);

    to = put_number(to, (unsigned)c.month, 2, '-');
    to = put_number(to, (unsigned)c.day, 2, '-');
    to = put_number(to, in_day / 3600, 2, 'T');
    to = put_number(to, in_day / 60 % 60, 2, ':');
    to = put_number(to, in_day % 60, 2, ':');
    memcpy(to, "+08:00", sizeof("+08:00"));
}

void time_format_day(char out[9], pay_time_t t)
{
    struct civil c = civil_from_days(china_seconds(t) / SEC_PER_DAY);
    char *to = put_number(out, (unsigned)c.year, 4, 0);

    to = put_number(to, (unsigned)c.month, 2, 0);
    to = put_number(to, (unsigned)c.day, 2, 0);
    *to = '\0';
}

void time_format_wall(char out[TIME_WALL_LEN + 1], pay_time_t t, bool marks)
{
    int64_t s = china_seconds(t);
    struct civil c = civil_from_days(s / SEC_PER_DAY);
    unsigned in_day = (unsigned)(s % SEC_PER_DAY);
    char *to = put_number(out, (unsigned)c.year, 4, 0);

    to = put_number(to, (unsigned)c.month, 2, marks ? '-' : 0);
    to = put_number(to, (unsigned)c.day, 2, marks ? '-' : 0);
    to = put_number(to, in_day / 3600, 2, marks ? ' ' : 0);
    to = put_number(to, in_day / 60 % 60, 2, marks ? ':' : 0);
    to = put_number(to, in_day % 60, 2, marks ? ':' : 0);
    *to = '\0';
}

/* Two digits within 0..max behind `mark` (0: none). -1 on anything else. */
static int take_pair(struct slice *s, char mark, int min, int max)
{
    if (mark && !take_char(s, mark))
        return -1;
    return take_number(s, 2, min, max);
}

int time_parse_wall(struct slice s, bool marks, pay_time_t *out)
{
    struct civil c;
    int hour, minute, second;
    int64_t t;

    c.year = take_number(&s, 4, 1970, 2099);
    c.month = take_pair(&s, marks ? '-' : 0, 1, 12);
    if (c.year < 0 || c.month < 0)
        return -1;
    c.day = take_pair(&s, marks ? '-' : 0, 1, days_in_month(c.year, c.month));
    hour = take_pair(&s, marks ? ' ' : 0, 0, 23);
    minute = take_pair(&s, marks ? ':' : 0, 0, 59);
    second = take_pair(&s, marks ? ':' : 0, 0, 59);
    if (c.day < 0 || hour < 0 || minute < 0 || second < 0 || s.n != 0)
        return -1;
    t = days_from_civil(c) * SEC_PER_DAY + hour * 3600 + minute * 60 + second - CHINA_OFFSET_S;
    if (t <= 0)
        return -1;
    *out = t * USEC_PER_SEC;
    return 0;
}

static int64_t read_us(clockid_t clock)
{
    struct timespec ts = {0};

    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000;
}

pay_time_t clock_read_wall(void)
{
    return read_us(CLOCK_REALTIME);
}

int64_t clock_read_boot_us(void)
{
    return read_us(CLOCK_BOOTTIME);
}

int64_t clock_read_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}
