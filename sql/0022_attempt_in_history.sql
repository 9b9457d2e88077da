-- An attempt is two facts of the history: the event that opened it and the event that answered it. They stand in
-- these events' rows, where a row of its own per attempt was written and then changed (docs/decisions/0013).

SET LOCAL ROLE ngx_pay_owner;

ALTER TABLE pay.payment_history
    -- the attempt that the event opens, committed before it is sent; null = none
    ADD attempt_id      bigint,            -- Pay-Attempt
    ADD adapter_version bigint,
    ADD send_before     timestamptz,
    ADD opens_n         integer,
    ADD kind            smallint,
    ADD command_seq     smallint,
    ADD channel         text COLLATE "C",
    ADD account         text COLLATE "C",
    -- the outcome of the attempt that the event answers (attempt_n); null = none
    ADD http_status     integer,
    ADD sent            smallint,          -- 0 unknown, 1 no, 2 maybe, 3 answered
    ADD class           smallint,
    ADD message         text,
    ADD request_digest  bytea,             -- SHA-256 of the call as it left us, and of the answer as it came
    ADD answer_digest   bytea;

-- Answers that moved nothing, so that no row of the history is theirs. The first one counts.
CREATE TABLE pay.payment_answer (
    payment_id     bigint NOT NULL,
    event_id       bigint NOT NULL,
    at             timestamptz NOT NULL,
    attempt_n      integer NOT NULL,
    http_status    integer NOT NULL,
    slot           smallint NOT NULL,
    sent           smallint NOT NULL,
    class          smallint NOT NULL,
    code           text NOT NULL,
    message        text NOT NULL,
    request_digest bytea,
    answer_digest  bytea,
    PRIMARY KEY (slot, payment_id, attempt_n)
);
GRANT SELECT, INSERT ON pay.payment_answer TO ngx_pay_app;

-- Workers of the version before write here while they are replaced; what they wrote stays.
COMMENT ON TABLE pay.payment_attempt IS 'attempts of versions before migration 0022; pay.attempt shows all';

-- One row per attempt, for people and checks; refund_id 0 = the payment's own (core/terms.h: 6 refund, 7 refund_query).
CREATE VIEW pay.attempt AS
SELECT o.slot, o.payment_id, o.n, o.attempt_id, o.kind, o.command_seq, o.channel, o.account, o.adapter_version,
       o.committed_at, o.send_before, o.refund_id,
       coalesce(o.answered_at, a.at) AS answered_at, coalesce(o.sent, a.sent) AS sent, coalesce(o.class, a.class) AS class,
       coalesce(o.http_status, a.http_status) AS http_status, coalesce(o.code, a.code) AS code,
       coalesce(o.message, a.message) AS message, coalesce(o.request_digest, a.request_digest) AS request_digest,
       coalesce(o.answer_digest, a.answer_digest) AS answer_digest
  FROM (SELECT slot, payment_id, opens_n AS n, attempt_id, kind, command_seq, channel, account, adapter_version,
               at AS committed_at, send_before, CASE WHEN kind IN (6, 7) THEN refund_id ELSE 0 END AS refund_id,
               NULL::timestamptz AS answered_at, NULL::smallint AS sent, NULL::smallint AS class,
               NULL::integer AS http_status, NULL AS code, NULL AS message, NULL::bytea AS request_digest,
               NULL::bytea AS answer_digest
          FROM pay.payment_history WHERE opens_n IS NOT NULL
         UNION ALL
        SELECT slot, payment_id, n, attempt_id, kind, command_seq, channel, account, adapter_version, committed_at,
               send_before, refund_id, answered_at, sent, class, http_status, code, message, request_digest, answer_digest
          FROM pay.payment_attempt) o
  LEFT JOIN LATERAL (
        SELECT at, sent, class, http_status, code, message, request_digest, answer_digest
          FROM pay.payment_history h
         WHERE h.slot = o.slot AND h.payment_id = o.payment_id AND h.attempt_n = o.n
         UNION ALL
        SELECT at, sent, class, http_status, code, message, request_digest, answer_digest
          FROM pay.payment_answer r
         WHERE r.slot = o.slot AND r.payment_id = o.payment_id AND r.attempt_n = o.n
         ORDER BY at LIMIT 1) a ON true;
GRANT SELECT ON pay.attempt TO ngx_pay_app;

RESET ROLE;
