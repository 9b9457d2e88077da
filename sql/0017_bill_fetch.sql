-- Bills that are not there yet: whose turn it is to ask for one, since when and why it is missing. A bill that is
-- stored (0015) needs no row here; one that was missing for a while keeps it.

SET LOCAL ROLE ngx_pay_owner;

CREATE TABLE pay.channel_bill_fetch (
    channel text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    day     date NOT NULL,                -- in China
    due_at  timestamptz NOT NULL,         -- nobody asks before
    tries   integer NOT NULL DEFAULT 1,
    reason  text NOT NULL DEFAULT '',     -- of the last try
    late    boolean NOT NULL DEFAULT false, -- which was told
    PRIMARY KEY (channel, account, day),
    FOREIGN KEY (channel, account) REFERENCES pay.channel_account
);
GRANT SELECT, INSERT, UPDATE (due_at, tries, reason, late) ON pay.channel_bill_fetch TO ngx_pay_app;

RESET ROLE;
