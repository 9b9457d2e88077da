-- Generated from backends/domain/payment_rules.c by `make sql`; do not edit.
-- The moves of a payment:
--   0 none -> 1 processing
--   1 processing -> 2 pending, 3 succeeded, 4 failed, 5 closed
--   2 pending -> 3 succeeded, 4 failed, 5 closed

SET LOCAL ROLE ngx_pay_owner;

-- One comparison: PostgreSQL parses a CHECK anew for every statement.
ALTER TABLE pay.payment DROP CONSTRAINT IF EXISTS payment_moves;
ALTER TABLE pay.payment ADD CONSTRAINT payment_moves CHECK (
    prev_state * 65536 + state IN (1, 65538, 65539, 65540, 65541, 131075, 131076, 131077));

CREATE OR REPLACE FUNCTION pay.refuse_move() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        RAISE EXCEPTION 'payment %: illegal birth in state %, version %',
            NEW.id, NEW.state, NEW.version USING ERRCODE = 'PAY01';
    END IF;
    RAISE EXCEPTION 'payment %: illegal update, state % -> %, version % -> %',
        OLD.id, OLD.state, NEW.state, OLD.version, NEW.version USING ERRCODE = 'PAY01';
END $$;

-- Legal rows meet the WHEN of these triggers only, and the CHECK.
CREATE OR REPLACE TRIGGER payment_birth BEFORE INSERT ON pay.payment FOR EACH ROW
    WHEN (NEW.version <> 1 OR NEW.prev_state <> 0)
    EXECUTE FUNCTION pay.refuse_move();

-- Those of updates come AFTER: one that comes BEFORE has every row locked first, legal or not,
-- and the lock is a record in the WAL.
-- What was agreed with the merchant never changes.
CREATE OR REPLACE TRIGGER payment_agreed AFTER UPDATE OF slot, id, mchid, app_id,
    out_trade_no, digest, method, amount, currency, created_at, time_expire, payer
    ON pay.payment FOR EACH ROW EXECUTE FUNCTION pay.refuse_move();

-- By one version, where it is or by a move; a final state has none in the CHECK.
-- PostgreSQL parses a WHEN anew for every statement: what an answer of the channel cannot
-- change stands in triggers of its own.
CREATE OR REPLACE TRIGGER payment_moves AFTER UPDATE ON pay.payment FOR EACH ROW
    WHEN (NEW.version <> OLD.version + 1
          OR NOT (NEW.prev_state = OLD.state
                  OR NEW.state = OLD.state AND NEW.prev_state = OLD.prev_state)
          OR OLD.state IN (3, 4, 5) AND NEW.channel_trade_no <> OLD.channel_trade_no)
    EXECUTE FUNCTION pay.refuse_move();

-- A channel that refused it may be followed by another one.
CREATE OR REPLACE TRIGGER payment_channel AFTER UPDATE OF channel, account, command_seq
    ON pay.payment FOR EACH ROW
    WHEN ((NEW.channel, NEW.account, NEW.command_seq)
          IS DISTINCT FROM (OLD.channel, OLD.account, OLD.command_seq)
          AND NOT (OLD.state = 1 AND NEW.state = 1
                   AND NEW.command_seq = OLD.command_seq + 1))
    EXECUTE FUNCTION pay.refuse_move();

-- What became final stays; but refunds count in it.
CREATE OR REPLACE TRIGGER payment_final AFTER UPDATE OF final_at, succeeded_at, fail_code,
    reversal ON pay.payment FOR EACH ROW
    WHEN (OLD.state IN (3, 4, 5)
          AND (NEW.final_at, NEW.succeeded_at, NEW.fail_code, NEW.reversal) IS DISTINCT FROM
              (OLD.final_at, OLD.succeeded_at, OLD.fail_code, OLD.reversal))
    EXECUTE FUNCTION pay.refuse_move();

RESET ROLE;
