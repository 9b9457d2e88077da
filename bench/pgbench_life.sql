\set n :n + 1
\set id :base + (:client_id + 1) * 10000000 + :n
\set answered :id + 1
\set notified :id + 2
BEGIN;
INSERT INTO bench_life.payment (id, amount, created_at, time_expire, prepare_before, busy_before, version, attempts,
    prepare_n, not_sent, slot, state, prev_state, method, command_seq, prepare_last, prepare_past, busy_kind, mchid,
    app_id, out_trade_no, digest, currency, scene, product, store_id, description, attach, notify_url, trace_id, channel,
    account, route, channel_trade_no, code_url, fail_code)
VALUES (:id, 888, now(), now() + interval '2 hours', now() + interval '5 s', now() + interval '5 s', 1, 1, 1, 0, 17, 1, 0, 1, 1,
    2, 0, 1, 'M1000001', 'shop_hmac', 'PGB' || :id, '\x0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef',
    'CNY', 'store', 'retail', 'store-0001',
    'Benchmark order, two lines of text as a shop would write them, size M, colour blue',
    'a note that comes back in the callback, long enough to be like the ones that merchants use, with ids 0123456789',
    'http://127.0.0.1:10000/callback', '0123456789abcdef0123456789abcdef', 'bank', 'main', 'weight', '', '', '');
INSERT INTO bench_life.payment_history (payment_id, event_id, at, version, attempt_n, slot, from_state, to_state, event, input, code,
    opens_n, attempt_id, adapter_version, send_before, kind, command_seq, channel, account)
VALUES (:id, :id, now(), 1, 0, 17, 0, 1, 0, 'CREATE', '', 1, :id, 1, now() + interval '5 s', 1, 1, 'bank', 'main');
INSERT INTO bench_life.payment_timer (payment_id, due_at, tries, slot, kind) VALUES (:id, now() + interval '2 minutes', 0, 17, 1);
COMMIT;
BEGIN;
UPDATE bench_life.payment SET version = 2, state = 2, prev_state = 1, prepare_last = 2, busy_kind = 0, busy_before = NULL,
    code_url = 'bank://pay?o=0123456789abcdef'
 WHERE slot = 17 AND id = :id AND version = 1;
INSERT INTO bench_life.payment_history (payment_id, event_id, at, version, attempt_n, slot, from_state, to_state, event, input, code,
    sent, class, http_status, message)
VALUES (:id, :answered, now(), 2, 1, 17, 1, 2, 1, 'PREPARED', 'OK', 3, 2, 200, '');
COMMIT;
BEGIN;
UPDATE bench_life.payment SET version = 3, state = 3, prev_state = 2, final_at = now(), succeeded_at = now(),
    channel_trade_no = '20261123000000000001'
 WHERE slot = 17 AND id = :id AND version = 2;
INSERT INTO bench_life.payment_history (payment_id, event_id, at, version, attempt_n, slot, from_state, to_state, event, input, code)
VALUES (:id, :notified, now(), 3, 0, 17, 2, 3, 2, 'SUCCESS', 'SUCCESS');
DELETE FROM bench_life.payment_timer WHERE slot = 17 AND payment_id = :id;
INSERT INTO bench_life.callback (slot, id, payment_id, subject_id, mchid, app_id, url, body, state, created_at, next_at)
VALUES (17, :id, :id, :id, 'M1000001', 'shop_hmac', 'http://127.0.0.1:10000/callback',
    '{"id":"E202611230000000000000000001","event":"payment.succeeded","created_at":"2026-11-23T12:00:00+08:00","sequence":3,"resource":{"id":"P202611230000000000000000001","out_trade_no":"PGB0000000001","state":"succeeded","method":"native","channel":"bank","amount":{"total":888,"currency":"CNY"},"description":"Benchmark order, two lines of text as a shop would write them, size M, colour blue","attach":"a note that comes back in the callback, long enough to be like the ones that merchants use, with ids 0123456789","created_at":"2026-11-23T12:00:00+08:00","succeeded_at":"2026-11-23T12:00:00+08:00","channel_trade_no":"20261123000000000001","refunded":{"total":0}}}',
    1, now(), now());
COMMIT;
BEGIN;
UPDATE bench_life.callback SET tries = tries + 1, next_at = now() + interval '15 s' WHERE slot = 17 AND payment_id = :id AND subject_id = :id;
UPDATE bench_life.callback SET state = 2, last_status = 200, done_at = now() WHERE slot = 17 AND payment_id = :id AND subject_id = :id;
INSERT INTO bench_life.callback_attempt (slot, payment_id, callback_id, n, at, http_status, state, error, took_us)
VALUES (17, :id, :id, 1, now(), 200, 2, '', 1000);
COMMIT;
