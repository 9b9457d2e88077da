-- Due work by channel and by lease (R4.2): no channel's orders stand in the way of another's, and every slot
-- has one process that polls it.

SET LOCAL ROLE ngx_pay_owner;

-- Whom the due call goes to: what is due is claimed channel by channel.
ALTER TABLE pay.payment_timer ADD COLUMN channel text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE pay.refund_timer ADD COLUMN channel text COLLATE "C" NOT NULL DEFAULT '';
UPDATE pay.payment_timer t SET channel = p.channel FROM pay.payment p WHERE p.slot = t.slot AND p.id = t.payment_id;
UPDATE pay.refund_timer t SET channel = CASE WHEN r.command_seq > 0 THEN r.channel ELSE p.channel END
  FROM pay.refund r, pay.payment p
 WHERE r.slot = t.slot AND r.id = t.refund_id AND p.slot = t.slot AND p.id = t.payment_id;
DROP INDEX pay.payment_timer_due, pay.refund_timer_due;
CREATE INDEX payment_timer_due ON pay.payment_timer (channel, due_at);
CREATE INDEX refund_timer_due ON pay.refund_timer (channel, due_at);

-- Processes that poll the same slots share them in 64 parts (slot modulo 64): who lives, and who has what.
CREATE TABLE pay.timer_member (
    slot_from smallint NOT NULL,
    slot_to   smallint NOT NULL,
    holder    text COLLATE "C" NOT NULL,
    until     timestamptz NOT NULL,
    PRIMARY KEY (slot_from, slot_to, holder)
) WITH (fillfactor = 20);
CREATE TABLE pay.timer_part (
    slot_from smallint NOT NULL,
    slot_to   smallint NOT NULL,
    part      smallint NOT NULL CHECK (part BETWEEN 0 AND 63),
    holder    text COLLATE "C" NOT NULL DEFAULT '',
    until     timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (slot_from, slot_to, part)
) WITH (fillfactor = 20);
GRANT SELECT, INSERT, UPDATE, DELETE ON pay.timer_member TO ngx_pay_app;
GRANT SELECT, INSERT, UPDATE ON pay.timer_part TO ngx_pay_app;

-- Renews what the holder has, gives back what is more than its share (but nothing of in_busy, where it has
-- calls under way), and takes what is free up to its share. Returns the parts that it holds for in_us from
-- now, a bit each. in_us = 0: it goes, and gives back everything. A lease that ends much later than one begun
-- now was given before the clock went back: it is shortened to a time that is still later than its holder
-- counts on.
CREATE FUNCTION pay.claim_timer_parts(in_from smallint, in_to smallint, in_holder text, in_us bigint, in_busy bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    ends  timestamptz := clock_timestamp() + in_us * interval '1 microsecond';
    far   timestamptz;
    share integer;
    held  integer;
BEGIN
    INSERT INTO pay.timer_part (slot_from, slot_to, part)
    SELECT in_from, in_to, i FROM generate_series(0, 63) i
     WHERE NOT EXISTS (SELECT FROM pay.timer_part p WHERE p.slot_from = in_from AND p.slot_to = in_to)
        ON CONFLICT DO NOTHING;
    IF in_us <= 0 THEN
        DELETE FROM pay.timer_member m WHERE m.slot_from = in_from AND m.slot_to = in_to AND m.holder = in_holder;
        UPDATE pay.timer_part p SET holder = '', until = '-infinity'
         WHERE p.slot_from = in_from AND p.slot_to = in_to AND p.holder = in_holder;
        RETURN 0;
    END IF;
    INSERT INTO pay.timer_member AS m (slot_from, slot_to, holder, until) VALUES (in_from, in_to, in_holder, ends)
        ON CONFLICT (slot_from, slot_to, holder) DO UPDATE SET until = excluded.until;
    DELETE FROM pay.timer_member m WHERE m.until < clock_timestamp() - interval '1 hour';
    SELECT (63 + count(*)) / count(*) INTO share FROM pay.timer_member m
     WHERE m.slot_from = in_from AND m.slot_to = in_to AND m.until > clock_timestamp();
    UPDATE pay.timer_part p SET until = ends
     WHERE p.slot_from = in_from AND p.slot_to = in_to AND p.holder = in_holder;
    GET DIAGNOSTICS held = ROW_COUNT;
    IF held > share THEN
        UPDATE pay.timer_part p SET holder = '', until = '-infinity'
          FROM (SELECT f.part FROM pay.timer_part f
                 WHERE f.slot_from = in_from AND f.slot_to = in_to AND f.holder = in_holder
                   AND (in_busy >> f.part::integer) & 1 = 0
                 ORDER BY f.part DESC LIMIT held - share) g
         WHERE p.slot_from = in_from AND p.slot_to = in_to AND p.part = g.part;
    ELSIF held < share THEN
        UPDATE pay.timer_part p SET holder = in_holder, until = ends
          FROM (SELECT f.part FROM pay.timer_part f
                 WHERE f.slot_from = in_from AND f.slot_to = in_to AND f.until < clock_timestamp()
                 ORDER BY f.part LIMIT share - held FOR UPDATE SKIP LOCKED) g
         WHERE p.slot_from = in_from AND p.slot_to = in_to AND p.part = g.part;
    END IF;
    -- last, and without waiting: whoever waits for these rows is waited for by nobody
    far := clock_timestamp() + 2 * in_us * interval '1 microsecond';
    UPDATE pay.timer_member m SET until = far
      FROM (SELECT f.holder FROM pay.timer_member f
             WHERE f.slot_from = in_from AND f.slot_to = in_to AND f.until > far
             ORDER BY f.holder FOR UPDATE SKIP LOCKED) g
     WHERE m.slot_from = in_from AND m.slot_to = in_to AND m.holder = g.holder;
    UPDATE pay.timer_part p SET until = far
      FROM (SELECT f.part FROM pay.timer_part f
             WHERE f.slot_from = in_from AND f.slot_to = in_to AND f.until > far
             ORDER BY f.part FOR UPDATE SKIP LOCKED) g
     WHERE p.slot_from = in_from AND p.slot_to = in_to AND p.part = g.part;
    RETURN coalesce((SELECT bit_or(1::bigint << p.part::integer) FROM pay.timer_part p
                      WHERE p.slot_from = in_from AND p.slot_to = in_to AND p.holder = in_holder), 0);
END $$;

RESET ROLE;
