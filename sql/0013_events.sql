-- Order events for other systems: the history is the outbox, in the order of transactions.

SET LOCAL ROLE ngx_pay_owner;

-- The transaction that wrote the row. A reader who keeps the snapshot of its last read (the first
-- transaction it cannot have seen, and those still open below it) finds exactly what was committed
-- since, however long any transaction takes. Rows from before this migration have 0 and are not told.
ALTER TABLE pay.payment_history ADD COLUMN xid bigint NOT NULL DEFAULT 0;
ALTER TABLE pay.payment_history ALTER COLUMN xid SET DEFAULT pg_current_xact_id()::text::bigint;
CREATE INDEX payment_history_xid ON pay.payment_history (xid) WHERE xid > 0;

-- How far each stream is filled; `streams` streams share the slots. One process at a time (holder)
-- moves a row.
CREATE TABLE pay.relay (
    streams   smallint NOT NULL CHECK (streams BETWEEN 1 AND 64),
    stream    smallint NOT NULL CHECK (stream BETWEEN 0 AND 63),
    upto      bigint NOT NULL,              -- transactions below have been told
    open      text COLLATE "C" NOT NULL,    -- but for these, which were open: "123,456"
    last_ms   bigint NOT NULL,              -- id of the stream's latest entry
    last_seq  bigint NOT NULL,
    holder    text NOT NULL,
    until     timestamptz NOT NULL,
    PRIMARY KEY (streams, stream)
) WITH (fillfactor = 20);

-- Where the relay stood: what Redis lost is told again from here.
CREATE TABLE pay.relay_mark (
    streams   smallint NOT NULL,
    stream    smallint NOT NULL,
    upto      bigint NOT NULL,
    open      text COLLATE "C" NOT NULL,
    last_ms   bigint NOT NULL,
    last_seq  bigint NOT NULL,
    at        timestamptz NOT NULL,
    PRIMARY KEY (streams, stream, upto)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON pay.relay, pay.relay_mark TO ngx_pay_app;

RESET ROLE;
