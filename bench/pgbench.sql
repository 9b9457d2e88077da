\set amount random(1, 1000000)
INSERT INTO bench.single_row (id, slot, version, state, prev_state, method, mchid, out_trade_no, amount, currency,
    description, notify_url, channel, channel_trade_no, created_at, time_expire, trace_id)
VALUES (nextval('bench.single_row_id'), 17, 1, 1, 0, 1, 'M1000001', gen_random_uuid()::text, :amount, 'CNY',
    'Benchmark order, two lines of text as a shop would write them, size M, colour blue',
    'https://merchant.example/callback', 'bank', '', now(), now() + interval '2 hours',
    '0123456789abcdef0123456789abcdef');
