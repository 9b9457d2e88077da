-- Bills of channels: the file as it came, its rows in our words, their sums. Reconciliation reads
-- them; a row is replaced only with its whole bill.

SET LOCAL ROLE ngx_pay_owner;

CREATE TABLE pay.channel_bill (
    channel    text COLLATE "C" NOT NULL,
    account    text COLLATE "C" NOT NULL,
    day        date NOT NULL,              -- in China
    sha256     bytea NOT NULL,
    file       bytea NOT NULL,
    rows       bigint NOT NULL DEFAULT 0,
    paid       bigint NOT NULL DEFAULT 0,  -- fen
    returned   bigint NOT NULL DEFAULT 0,  -- fen of refunds and reversals
    fetched_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (channel, account, day)
);
GRANT SELECT, INSERT, UPDATE ON pay.channel_bill TO ngx_pay_app;

CREATE TABLE pay.channel_bill_row (
    channel           text COLLATE "C" NOT NULL,
    account           text COLLATE "C" NOT NULL,
    day               date NOT NULL,
    line              integer NOT NULL,    -- of the unpacked file, from 1
    kind              smallint NOT NULL CHECK (kind BETWEEN 1 AND 4), -- payment refund reversal other
    request_no        text COLLATE "C" NOT NULL,
    channel_trade_no  text COLLATE "C" NOT NULL,
    refund_no         text COLLATE "C" NOT NULL,
    channel_refund_no text COLLATE "C" NOT NULL,
    amount            bigint NOT NULL,     -- fen, not negative
    fee               bigint NOT NULL,     -- thousandths of a fen
    at                timestamptz,
    state             text NOT NULL,
    PRIMARY KEY (channel, account, day, line),
    FOREIGN KEY (channel, account, day) REFERENCES pay.channel_bill
);
GRANT SELECT, INSERT, DELETE ON pay.channel_bill_row TO ngx_pay_app;

RESET ROLE;
