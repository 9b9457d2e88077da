-- Decisions on cases: new records by two persons with a reason (R2.2). A case is closed by a confirmed
-- decision and in no other way; neither touches the order, whose final state stays what it is.

SET LOCAL ROLE ngx_pay_owner;

CREATE TABLE pay.case_decision (
    id          bigint NOT NULL,
    case_id     bigint NOT NULL,
    payment_id  bigint NOT NULL,
    proposed_at timestamptz NOT NULL,
    second_at   timestamptz,
    proposed_uid bigint NOT NULL,          -- the user of the process that asked, as the kernel says
    second_uid  bigint,
    slot        smallint NOT NULL,
    state       smallint NOT NULL DEFAULT 1 CHECK (state BETWEEN 1 AND 3), -- proposed confirmed rejected
    decision    text COLLATE "C" NOT NULL
        CHECK (decision IN ('refunded', 'accepted', 'dismissed')),
    reason      text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    proposed_by text NOT NULL,
    second_by   text,
    second_reason text CHECK (length(second_reason) BETWEEN 1 AND 500),
    PRIMARY KEY (slot, id),
    CHECK ((state = 1) = (second_at IS NULL) AND (state = 1) = (second_uid IS NULL)
           AND (state = 1) = (second_by IS NULL) AND (state = 1) = (second_reason IS NULL)),
    CONSTRAINT case_decision_two_persons
        CHECK (state <> 2 OR second_uid <> proposed_uid AND second_by <> proposed_by)
);
-- One that waits or was confirmed; rejected ones stay as a record.
CREATE UNIQUE INDEX case_decision_one ON pay.case_decision (slot, case_id) WHERE state < 3;
CREATE INDEX case_decision_case ON pay.case_decision (slot, case_id);
GRANT SELECT, INSERT, UPDATE (state, second_at, second_uid, second_by, second_reason)
    ON pay.case_decision TO ngx_pay_app;

CREATE FUNCTION pay.refuse_case_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% %: illegal change', TG_TABLE_NAME, OLD.id USING ERRCODE = 'PAY05';
END $$;
CREATE FUNCTION pay.refuse_case_birth() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% %: illegal birth', TG_TABLE_NAME, NEW.id USING ERRCODE = 'PAY05';
END $$;
CREATE TRIGGER decision_birth BEFORE INSERT ON pay.case_decision FOR EACH ROW
    WHEN (NEW.state <> 1) EXECUTE FUNCTION pay.refuse_case_birth();
CREATE TRIGGER decision_moves BEFORE UPDATE ON pay.case_decision FOR EACH ROW
    WHEN (OLD.state <> 1 OR NEW.state = 1
          OR (NEW.slot, NEW.id, NEW.case_id, NEW.payment_id, NEW.proposed_at, NEW.proposed_uid,
              NEW.proposed_by, NEW.decision, NEW.reason)
             IS DISTINCT FROM (OLD.slot, OLD.id, OLD.case_id, OLD.payment_id, OLD.proposed_at,
              OLD.proposed_uid, OLD.proposed_by, OLD.decision, OLD.reason))
    EXECUTE FUNCTION pay.refuse_case_change();

CREATE FUNCTION pay.check_case_close() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 1 OR NEW.state <> 2 OR NOT EXISTS (
        SELECT FROM pay.case_decision d
         WHERE d.slot = OLD.slot AND d.case_id = OLD.id AND d.state = 2) THEN
        RAISE EXCEPTION 'case %: only a confirmed decision closes it, once', OLD.id
            USING ERRCODE = 'PAY05';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER case_close BEFORE UPDATE ON pay.payment_case FOR EACH ROW
    EXECUTE FUNCTION pay.check_case_close();
CREATE TRIGGER case_birth BEFORE INSERT ON pay.payment_case FOR EACH ROW
    WHEN (NEW.state <> 1) EXECUTE FUNCTION pay.refuse_case_birth();

-- One person's word on a case. The case's row lock makes two words one after the other. Returns what
-- became of it: proposed, confirmed, rejected; none (no such case), closed, same_person, differs
-- (another decision waits), nothing (nothing waits to be rejected).
CREATE FUNCTION pay.say_on_case(in_slot smallint, in_case bigint, in_id bigint, in_decision text,
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
        RETURN QUERY SELECT 'confirmed', d.decision, d.proposed_by;
    END IF;
END $$;

RESET ROLE;
