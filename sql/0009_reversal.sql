-- Charges (barcode) and their reversals; orders that go on to another channel, and the money that
-- comes over the first one all the same (R2.8, R3.6). 0012 lets those columns move.

SET LOCAL ROLE ngx_pay_owner;

ALTER TABLE pay.payment
    ADD extra_paid    bigint NOT NULL DEFAULT 0,   -- came over `past`, not yet given back
    ADD reversal      smallint NOT NULL DEFAULT 0, -- 0 none, else as in pay.reversal
    ADD reverse_tries smallint NOT NULL DEFAULT 0,
    ADD payer         text NOT NULL DEFAULT '',    -- JSON: who pays, from where; '' = not told
    ADD past          text NOT NULL DEFAULT '',    -- CHANNEL/ACCOUNT of each command before command_seq, ! = paid
    DROP CONSTRAINT payment_refunds,
    -- what was reversed went back already
    ADD CONSTRAINT payment_refunds CHECK (refunded >= 0 AND refunded <= refund_reserved
        AND refund_reserved <= CASE WHEN state = 3 AND reversal <> 2 THEN amount ELSE 0 END
        AND extra_paid >= 0);
GRANT UPDATE (extra_paid, reversal, reverse_tries, past, channel, account, command_seq)
    ON pay.payment TO ngx_pay_app;

-- One for each payment that was to be reversed.
CREATE TABLE pay.reversal (
    payment_id bigint NOT NULL,
    amount     bigint NOT NULL,   -- that went back; 0: nobody ever said that it was paid
    created_at timestamptz NOT NULL,
    final_at   timestamptz,
    tries      integer NOT NULL,
    slot       smallint NOT NULL,
    state      smallint NOT NULL CHECK (state BETWEEN 1 AND 3), -- core/terms.h
    reason     text COLLATE "C" NOT NULL, -- paying, unknown, failed, expired, closed
    code       text NOT NULL,     -- the latest word of the channel
    PRIMARY KEY (slot, payment_id)
) WITH (fillfactor = 60);
GRANT SELECT, INSERT, UPDATE (state, amount, tries, code, final_at) ON pay.reversal TO ngx_pay_app;

CREATE FUNCTION pay.refuse_reversal_move() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'reversal of payment %: illegal update, state % -> %', OLD.payment_id, OLD.state, NEW.state
        USING ERRCODE = 'PAY03';
END $$;
-- Never born done, final once.
CREATE TRIGGER reversal_birth BEFORE INSERT ON pay.reversal FOR EACH ROW
    WHEN (NEW.state = 2) EXECUTE FUNCTION pay.refuse_reversal_move();
CREATE TRIGGER reversal_moves BEFORE UPDATE ON pay.reversal FOR EACH ROW
    WHEN (OLD.state <> 1) EXECUTE FUNCTION pay.refuse_reversal_move();
CREATE TRIGGER reversal_agreed BEFORE UPDATE OF slot, payment_id, created_at, reason
    ON pay.reversal FOR EACH ROW EXECUTE FUNCTION pay.refuse_reversal_move();

-- Which command of the payment is refunded; 0 = the one that is in its row.
ALTER TABLE pay.refund
    ADD command_seq smallint NOT NULL DEFAULT 0,
    ADD channel     text COLLATE "C" NOT NULL DEFAULT '',
    ADD account     text COLLATE "C" NOT NULL DEFAULT '';

RESET ROLE;
