-- Cases whose decision starts the refund (R2.2, R2.9), and what was sent and answered in each attempt (R2.11).

SET LOCAL ROLE ngx_pay_owner;

-- SHA-256 of the call as it left us, and of the answer as it came.
ALTER TABLE pay.payment_attempt ADD COLUMN request_digest bytea, ADD COLUMN answer_digest bytea;
GRANT UPDATE (request_digest, answer_digest) ON pay.payment_attempt TO ngx_pay_app;

-- refund: the money is given back by the gateway; refunded: somebody gave it back by hand.
ALTER TABLE pay.case_decision DROP CONSTRAINT case_decision_decision_check,
    ADD CONSTRAINT case_decision_words CHECK (decision IN ('refund', 'refunded', 'accepted', 'dismissed'));

-- What two persons decided and a process has to begin; written with the second word, done once.
CREATE TABLE pay.case_refund (
    case_id    bigint NOT NULL,
    payment_id bigint NOT NULL,
    asked_at   timestamptz NOT NULL,
    done_at    timestamptz,
    slot       smallint NOT NULL,
    reason     text NOT NULL,
    outcome    text,
    PRIMARY KEY (slot, case_id),
    CHECK ((done_at IS NULL) = (outcome IS NULL))
);
CREATE INDEX case_refund_open ON pay.case_refund (asked_at) WHERE done_at IS NULL;
GRANT SELECT, INSERT, UPDATE (done_at, outcome) ON pay.case_refund TO ngx_pay_app;

-- One person's word on a case. The case's row lock makes two words one after the other. Returns what
-- became of it: proposed, confirmed, rejected; none (no such case), closed, same_person, differs
-- (another decision waits), nothing (nothing waits to be rejected), impossible (the gateway
-- can give back nothing but a late success).
CREATE OR REPLACE FUNCTION pay.say_on_case(in_slot smallint, in_case bigint, in_id bigint, in_decision text,
                                in_reason text, in_uid bigint, in_name text, in_at timestamptz)
RETURNS TABLE (outcome text, decision text, by_name text) LANGUAGE plpgsql AS $$
DECLARE
    c pay.payment_case;
    d pay.case_decision;
BEGIN
    SELECT * INTO c FROM pay.payment_case p WHERE p.slot = in_slot AND p.id = in_case FOR UPDATE;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'none', '', '';
        RETURN;
    END IF;
    SELECT * INTO d FROM pay.case_decision x
     WHERE x.slot = in_slot AND x.case_id = in_case AND x.state < 3;
    IF c.state <> 1 THEN
        RETURN QUERY SELECT 'closed', d.decision, c.closed_by;
    ELSIF d.id IS NULL AND in_decision = 'reject' THEN
        RETURN QUERY SELECT 'nothing', '', '';
    ELSIF d.id IS NULL AND in_decision = 'refund'
          AND (c.kind <> 'late_success' OR coalesce(c.amount, 0) <= 0) THEN
        RETURN QUERY SELECT 'impossible', '', '';
    ELSIF d.id IS NULL THEN
        INSERT INTO pay.case_decision (slot, id, case_id, payment_id, proposed_at, proposed_uid,
                                       proposed_by, decision, reason)
        VALUES (in_slot, in_id, in_case, c.payment_id, in_at, in_uid, in_name, in_decision, in_reason);
        RETURN QUERY SELECT 'proposed', in_decision, in_name;
    ELSIF in_decision = 'reject' THEN
        UPDATE pay.case_decision x SET state = 3, second_at = in_at, second_uid = in_uid,
               second_by = in_name, second_reason = in_reason
         WHERE x.slot = in_slot AND x.id = d.id;
        RETURN QUERY SELECT 'rejected', d.decision, d.proposed_by;
    ELSIF d.proposed_uid = in_uid OR d.proposed_by = in_name THEN
        RETURN QUERY SELECT 'same_person', d.decision, d.proposed_by;
    ELSIF d.decision <> in_decision THEN
        RETURN QUERY SELECT 'differs', d.decision, d.proposed_by;
    ELSE
        UPDATE pay.case_decision x SET state = 2, second_at = in_at, second_uid = in_uid,
               second_by = in_name, second_reason = in_reason
         WHERE x.slot = in_slot AND x.id = d.id;
        UPDATE pay.payment_case p SET state = 2, closed_at = in_at,
               closed_by = d.proposed_by || ', ' || in_name, note = d.decision || ': ' || d.reason
         WHERE p.slot = in_slot AND p.id = in_case;
        INSERT INTO pay.case_refund (slot, case_id, payment_id, asked_at, reason)
        SELECT in_slot, in_case, c.payment_id, in_at, d.reason WHERE d.decision = 'refund';
        RETURN QUERY SELECT 'confirmed', d.decision, d.proposed_by;
    END IF;
END $$;

RESET ROLE;
