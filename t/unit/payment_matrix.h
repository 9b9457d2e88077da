/*
 * payment_matrix - what every input does in every state, written by hand from the requirements, not
 * from the code's table. Columns: input, then processing, pending, succeeded, failed, closed.
 * A cell is the state entered or `stay`, then what is done:
 *   +X      the command X is committed, to be sent     @X      the timer does X later
 *   soon    the timer queries soon                      take    facts of the event are kept
 *   case    a person is asked                           ignore  nothing happens to the order
 *   refuse  the asker hears why
 * An order that does not exist is born by CREATE alone; askers about it are refused.
 */
#ifndef PAYMENT_MATRIX_H
#define PAYMENT_MATRIX_H

/* clang-format off */
static const char *const matrix[] = {
    /* the same order again is for whoever asked to compare */
    "CREATE                  |ignore              |ignore            |ignore|ignore|ignore",

    /* the first verified definitive word counts while nothing else is known; of an order that the
     * channel already has, a prepare's answer says nothing definitive */
    "PREPARE_ACCEPTED        |pending take        |stay take         |ignore|case  |case",
    "PREPARE_FAILED          |failed              |stay soon         |case  |ignore|ignore",
    "PREPARE_FAILED_DOUBTED  |stay soon           |stay soon         |ignore|ignore|ignore",
    "PREPARE_CLOSED          |closed              |stay soon         |case  |ignore|ignore",
    "PREPARE_TOO_FREQUENT    |stay @prepare       |stay @query       |ignore|ignore|ignore",
    "PREPARE_DUPLICATE       |stay soon           |stay soon         |ignore|ignore|ignore",
    "PREPARE_NOT_SENT        |stay @prepare       |stay @query       |ignore|ignore|ignore",
    "PREPARE_GIVEN_UP        |failed              |stay @query       |ignore|ignore|ignore",
    /* R2.3: unknown is not failure */
    "PREPARE_UNKNOWN         |stay @query         |stay @query       |ignore|ignore|ignore",

    /* R2.5: the first verified final result wins, a different one later is a case */
    "QUERY_PAID              |succeeded take      |succeeded take    |ignore|case  |case",
    "QUERY_MISMATCH          |stay case @query    |stay case @query  |case  |case  |case",
    "QUERY_WAITING           |pending @query      |stay @query       |ignore|case  |case",
    "QUERY_WAITING_LOST_CODE |stay +prepare @query|stay @query       |ignore|case  |case",
    "QUERY_WAITING_EARLY     |stay @query         |stay @query       |ignore|case  |case",
    "QUERY_WAITING_STALE     |stay @query         |stay @query       |ignore|ignore|ignore",
    "QUERY_FAILED            |failed              |failed            |case  |ignore|ignore",
    "QUERY_CLOSED            |closed              |closed            |case  |ignore|ignore",
    /* R2.4: not found is never final by itself */
    "QUERY_NOT_FOUND         |stay +prepare @query|stay case @query  |case  |ignore|ignore",
    "QUERY_NOT_FOUND_EARLY   |stay @query         |stay @query       |ignore|ignore|ignore",
    "QUERY_NOT_FOUND_KEEP    |stay @query         |stay case @query  |case  |ignore|ignore",
    "QUERY_NOT_FOUND_CLOSING |stay @close         |stay case @close  |case  |ignore|ignore",
    "QUERY_UNKNOWN           |stay @query         |stay @query       |ignore|ignore|ignore",

    "CLOSE_DONE              |closed              |closed            |case  |ignore|ignore",
    "CLOSE_DONE_EARLY        |stay @close         |stay @close       |case  |ignore|ignore",
    "CLOSE_PAID              |stay soon           |stay soon         |ignore|case  |case",
    "CLOSE_NOT_FOUND         |stay @close         |stay @close       |case  |ignore|ignore",
    "CLOSE_NOT_FOUND_LONG    |stay case @close    |stay case @close  |case  |ignore|ignore",
    "CLOSE_UNKNOWN           |stay @close         |stay @close       |ignore|ignore|ignore",

    "NOTIFY_PAID             |succeeded take      |succeeded take    |ignore|case  |case",
    "NOTIFY_MISMATCH         |stay case @query    |stay case @query  |case  |case  |case",
    "NOTIFY_FAILED           |stay soon           |stay soon         |case  |ignore|ignore",
    "NOTIFY_CLOSED           |stay soon           |stay soon         |case  |ignore|ignore",
    "NOTIFY_OTHER            |stay soon           |stay soon         |ignore|ignore|ignore",
    /* R2.8: a charge is sent once; its first final word counts, what stays open is reversed */
    "CHARGE_PAID             |succeeded take      |succeeded take    |ignore|case  |case",
    "CHARGE_MISMATCH         |stay case @query    |stay case @query  |case  |case  |case",
    "CHARGE_WAITING          |pending take @query |stay take @query  |ignore|case  |ignore",
    "CHARGE_FAILED           |failed              |stay soon         |case  |ignore|ignore",
    "CHARGE_CLOSED           |closed              |stay soon         |case  |ignore|ignore",
    "CHARGE_UNKNOWN          |stay @query         |stay @query       |ignore|ignore|ignore",
    "POLL_REVERSE            |stay +reverse @query|stay +reverse @query|ignore|ignore|ignore",
    "POLL_REVERSE_PAID       |stay take +reverse @query|stay take +reverse @query|ignore|ignore|ignore",
    "POLL_REVERSE_SOON       |stay @close         |stay @close       |ignore|ignore|ignore",
    "POLL_REVERSE_LATE       |stay unreversed case @query|stay unreversed case @query|ignore|ignore|ignore",
    /* a reversal that was begun is carried through: paid is a fact then, not the end */
    "PAID_REVERSING          |stay take           |stay take         |ignore|case  |case",
    "PAID_REVERSED           |stay case soon      |stay case soon    |ignore|case  |case",
    "REVERSE_DONE            |closed reversed     |closed reversed   |ignore|ignore|ignore",
    "REVERSE_DONE_PAID       |succeeded reversed  |succeeded reversed|ignore|ignore|ignore",
    "REVERSE_DONE_EARLY      |stay @query         |stay @query       |ignore|ignore|ignore",
    "REVERSE_AGAIN           |stay @query         |stay @query       |ignore|ignore|ignore",
    "REVERSE_AGAIN_LONG      |stay case @query    |stay case @query  |ignore|ignore|ignore",
    "REVERSE_REFUSED         |stay unreversed case soon|stay unreversed case soon|ignore|ignore|ignore",
    /* R3.6: only from processing; what comes over a channel that refused is given back, whatever
     * became of the order */
    "REROUTE                 |stay reroute +prepare @query|ignore    |ignore|ignore|ignore",
    "OTHER_PAID              |giveback            |giveback          |giveback|giveback|giveback",
    "OTHER_NEWS              |ignore              |ignore            |ignore|ignore|ignore",
    /* R2.9: by policy, what came too late goes back */
    "LATE_PAID               |ignore              |ignore            |ignore|giveback|giveback",
    "SECOND_PAID             |stay case @query    |stay case @query  |case  |case  |case",

    /* what a timer sends it plans again in the same commit: nobody else sends it then (R4.2) */
    "TIMER_EARLY             |ignore              |ignore            |ignore|ignore|ignore",
    "TIMER_PREPARE           |stay +prepare @query|stay +query @query|ignore|ignore|ignore",
    "TIMER_QUERY             |stay +query @query  |stay +query @query|ignore|ignore|ignore",
    "TIMER_CLOSE             |stay +close @close  |stay +close @close|ignore|ignore|ignore",
    "TIMER_EXPIRED_UNSENT    |closed              |stay +close @close|ignore|ignore|ignore",

    "MERCHANT_CLOSE          |stay +close @close  |stay +close @close|refuse|refuse|ignore",
    "MERCHANT_CLOSE_BUSY     |ignore              |ignore            |refuse|refuse|ignore",
    "MERCHANT_CLOSE_UNSENT   |closed              |stay +close @close|refuse|refuse|ignore",
    "MERCHANT_REVERSE        |stay +query @close  |stay +query @close|refuse|refuse|ignore",
    "MERCHANT_REVERSE_SOON   |stay @close         |stay @close       |refuse|refuse|ignore",
    "OPERATOR_QUERY          |stay +query         |stay +query       |refuse|refuse|refuse",
    "OPERATOR_QUERY_BUSY     |ignore              |ignore            |refuse|refuse|refuse",
};
/* clang-format on */

#endif
