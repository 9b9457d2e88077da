/*
 * attempt_sql - where the statements write attempts: in the history's rows of the events that
 * opened and that answered them (sql/0022). A row without such an attempt has NULL there.
 */
#ifndef STORE_ATTEMPT_SQL_H
#define STORE_ATTEMPT_SQL_H

#define OPENED_COLUMNS                                                                             \
    "opens_n, attempt_id, adapter_version, kind, command_seq, channel, account, send_before"
#define OPENED_(column) "CASE WHEN attempt_id > 0 THEN " column " END"
#define OPENED                                                                                     \
    OPENED_("attempts")                                                                            \
    ", nullif(attempt_id, 0), " OPENED_("adapter_version") ", " OPENED_("busy_kind") ", " OPENED_( \
        "command_seq") ", " OPENED_("channel") ", " OPENED_("account") ", " OPENED_("busy_before")

#define ANSWER_COLUMNS  "sent, class, http_status, message, request_digest, answer_digest"
#define ANSWER_(column) "CASE WHEN answers > 0 THEN " column " END"
#define ANSWER                                                                                     \
    ANSWER_("sent")                                                                                \
    ", " ANSWER_("class") ", " ANSWER_("http_status") ", " ANSWER_(                                \
        "message") ", nullif(request_digest, ''), nullif(answer_digest, '')"

#endif
