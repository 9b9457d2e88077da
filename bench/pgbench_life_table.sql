-- The baseline of bench-lifecycle: tables as ours, with the same columns, checks, indexes and room in their
-- pages, without our triggers; 200,000 finished payments in them.
DROP SCHEMA IF EXISTS bench_life CASCADE;
CREATE SCHEMA bench_life;
CREATE TABLE bench_life.payment (LIKE pay.payment INCLUDING ALL) WITH (fillfactor = 45);
CREATE TABLE bench_life.payment_history (LIKE pay.payment_history INCLUDING ALL);
CREATE TABLE bench_life.payment_timer (LIKE pay.payment_timer INCLUDING ALL)
    WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE TABLE bench_life.callback (LIKE pay.callback INCLUDING ALL) WITH (fillfactor = 80);
CREATE TABLE bench_life.callback_attempt (LIKE pay.callback_attempt INCLUDING ALL);
INSERT INTO bench_life.payment SELECT * FROM pay.payment WHERE slot = 17;
INSERT INTO bench_life.payment_history SELECT * FROM pay.payment_history WHERE slot = 17;
INSERT INTO bench_life.callback SELECT * FROM pay.callback WHERE slot = 17;
INSERT INTO bench_life.callback_attempt SELECT * FROM pay.callback_attempt WHERE slot = 17;
