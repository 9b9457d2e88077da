-- Refunds: records of their own beside a payment whose state never moves again (R2.2, R2.17). Each
-- step of a refund is a version of its payment; 0008 lets those columns of a paid order move.

SET LOCAL ROLE ngx_pay_owner;

-- The last guard of "refunds never exceed what was paid".
ALTER TABLE pay.payment
    ADD refund_reserved bigint NOT NULL DEFAULT 0, -- of refunds that have not failed
    ADD refunded        bigint NOT NULL DEFAULT 0, -- of them those that succeeded
    ADD CONSTRAINT payment_refunds CHECK (refunded >= 0 AND refunded <= refund_reserved
        AND refund_reserved <= CASE state WHEN 3 THEN amount ELSE 0 END);
ALTER TABLE pay.payment SET (fillfactor = 45); -- the row has grown, its versions stay in the page
GRANT UPDATE (refund_reserved, refunded) ON pay.payment TO ngx_pay_app;

-- 0 = the payment's own; states and inputs are the refund's where it is not
ALTER TABLE pay.payment_history ADD refund_id bigint NOT NULL DEFAULT 0;
ALTER TABLE pay.payment_attempt ADD refund_id bigint NOT NULL DEFAULT 0;

CREATE TABLE pay.refund (
    id                bigint NOT NULL,
    payment_id        bigint NOT NULL,
    amount            bigint NOT NULL CHECK (amount > 0),
    created_at        timestamptz NOT NULL,
    send_before       timestamptz NOT NULL, -- of the latest attempt to send it
    final_at          timestamptz,
    succeeded_at      timestamptz,          -- the channel's clock
    send_n            integer NOT NULL,
    not_sent          integer NOT NULL,
    slot              smallint NOT NULL,
    state             smallint NOT NULL CHECK (state BETWEEN 1 AND 3), -- core/terms.h
    send_last         smallint NOT NULL,    -- 0 not sent, 1 not executed, 2 open
    send_past         smallint NOT NULL,
    out_refund_no     text COLLATE "C" NOT NULL,
    digest            bytea NOT NULL,       -- SHA-256 of the request's content
    reason            text NOT NULL,
    notify_url        text NOT NULL,
    trace_id          text NOT NULL,
    channel_refund_no text NOT NULL,
    fail_code         text NOT NULL,
    PRIMARY KEY (slot, id)
) WITH (fillfactor = 60);
-- One refund of a number and payment; the condition as in payment_number.
CREATE UNIQUE INDEX refund_number ON pay.refund (slot, payment_id, out_refund_no) WHERE id > 0;
GRANT SELECT, INSERT,
    UPDATE (state, send_n, not_sent, send_last, send_past, send_before, channel_refund_no,
            fail_code, final_at, succeeded_at)
    ON pay.refund TO ngx_pay_app;

CREATE FUNCTION pay.refuse_refund_move() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'refund %: illegal update, state % -> %', OLD.id, OLD.state, NEW.state
        USING ERRCODE = 'PAY03';
END $$;
-- Born processing, final once.
CREATE TRIGGER refund_birth BEFORE INSERT ON pay.refund FOR EACH ROW
    WHEN (NEW.state <> 1) EXECUTE FUNCTION pay.refuse_refund_move();
CREATE TRIGGER refund_moves BEFORE UPDATE ON pay.refund FOR EACH ROW
    WHEN (OLD.state <> 1) EXECUTE FUNCTION pay.refuse_refund_move();
CREATE TRIGGER refund_agreed BEFORE UPDATE OF slot, id, payment_id, out_refund_no, digest, amount,
    created_at ON pay.refund FOR EACH ROW EXECUTE FUNCTION pay.refuse_refund_move();

-- As payment_timer, one row per unfinished refund.
CREATE TABLE pay.refund_timer (
    refund_id  bigint NOT NULL,
    payment_id bigint NOT NULL,
    due_at     timestamptz NOT NULL,
    tries      integer NOT NULL,
    slot       smallint NOT NULL,
    kind       smallint NOT NULL,
    PRIMARY KEY (slot, refund_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX refund_timer_due ON pay.refund_timer (due_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON pay.refund_timer TO ngx_pay_app;

RESET ROLE;
