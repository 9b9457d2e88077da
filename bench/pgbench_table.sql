-- The baseline of bench-create: one row per commit, 17 columns, primary key and one unique key, 200,000
-- rows before, analysed.
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;
CREATE SEQUENCE bench.single_row_id CACHE 100;
CREATE TABLE bench.single_row (
    id bigint NOT NULL, slot smallint NOT NULL, version integer NOT NULL, state smallint NOT NULL,
    prev_state smallint NOT NULL, method smallint NOT NULL, mchid text NOT NULL, out_trade_no text NOT NULL,
    amount bigint NOT NULL, currency text NOT NULL, description text NOT NULL, notify_url text NOT NULL,
    channel text NOT NULL, channel_trade_no text NOT NULL, created_at timestamptz NOT NULL,
    time_expire timestamptz NOT NULL, trace_id text NOT NULL,
    PRIMARY KEY (slot, id), UNIQUE (slot, mchid, out_trade_no));
INSERT INTO bench.single_row
SELECT nextval('bench.single_row_id'), 17, 1, 1, 0, 1, 'M1000001', gen_random_uuid()::text, 100 + i % 1000, 'CNY',
       'Benchmark order, two lines of text as a shop would write them, size M, colour blue',
       'https://merchant.example/callback', 'bank', '', now(), now() + interval '2 hours',
       '0123456789abcdef0123456789abcdef'
  FROM generate_series(1, 200000) i;

