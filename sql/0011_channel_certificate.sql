-- What channels sign with, as they publish it themselves (WeChat's platform certificates): fetched by
-- timer processes before it ends, read by all with the accounts. Public, therefore not sealed.

SET LOCAL ROLE ngx_pay_owner;

CREATE TABLE pay.channel_certificate (
    channel    text COLLATE "C" NOT NULL,
    account    text COLLATE "C" NOT NULL,
    serial     text COLLATE "C" NOT NULL CHECK (serial ~ '^[0-9A-Z_]{1,64}$'),
    pem        text NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to   timestamptz NOT NULL,
    fetched_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (channel, account, serial),
    FOREIGN KEY (channel, account) REFERENCES pay.channel_account
);
GRANT SELECT, INSERT, UPDATE (pem, valid_from, valid_to, fetched_at)
    ON pay.channel_certificate TO ngx_pay_app;

-- Who asks next, and not before when: one process of many. A claim that is not followed by an answer
-- ends by itself.
CREATE TABLE pay.channel_refresh (
    channel text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    due_at  timestamptz NOT NULL,
    PRIMARY KEY (channel, account),
    FOREIGN KEY (channel, account) REFERENCES pay.channel_account
);
GRANT SELECT, INSERT, UPDATE (due_at) ON pay.channel_refresh TO ngx_pay_app;

RESET ROLE;
