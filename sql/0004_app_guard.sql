-- What the edge holds against one app or merchant: its own rate in any unit, and the addresses an
-- app may call from.

SET LOCAL ROLE ngx_pay_owner;

ALTER TABLE pay.merchant
    ADD COLUMN rate_window integer NOT NULL DEFAULT 1 CHECK (rate_window IN (1, 60, 3600)), -- s
    ADD CONSTRAINT merchant_rate_max CHECK (rate <= 1000000 AND burst <= 1000000);

-- allow: empty = from anywhere. allow_alert: calls from elsewhere are let through and reported.
ALTER TABLE pay.app
    ADD COLUMN rate_window integer NOT NULL DEFAULT 1 CHECK (rate_window IN (1, 60, 3600)),
    ADD COLUMN allow cidr[] NOT NULL DEFAULT '{}' CHECK (cardinality(allow) <= 64),
    ADD COLUMN allow_alert boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT app_rate_max CHECK (rate <= 1000000 AND burst <= 1000000);
