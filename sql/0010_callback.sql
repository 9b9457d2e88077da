-- Callbacks: the way they are signed, and searches by time for operators.

SET LOCAL ROLE ngx_pay_owner;

-- header: as answers are. webhook: Standard Webhooks 1.0.0, with the app's HMAC key.
ALTER TABLE pay.app ADD COLUMN callback_signature text NOT NULL DEFAULT 'header'
    CHECK (callback_signature IN ('header', 'webhook'));

-- Rows come in the order of time, so this one costs next to nothing and finds a day among years.
CREATE INDEX callback_created ON pay.callback USING brin (created_at) WITH (autosummarize = on);
CREATE INDEX callback_given_up ON pay.callback (created_at) WHERE state = 3;

RESET ROLE;
