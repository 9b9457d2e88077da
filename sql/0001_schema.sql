-- The schema of ngx_pay. Numbers of states, methods, calls, classes: core/terms.h. Times are bound
-- from C. Every order-bound key begins with the slot, so that a distributed PostgreSQL, cells and
-- slot ranges need no other statement. `state` stands in no index: order rows stay HOT.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ngx_pay_owner') THEN
        CREATE ROLE ngx_pay_owner NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ngx_pay_app') THEN
        CREATE ROLE ngx_pay_app LOGIN;
    END IF;
END $$;

CREATE SCHEMA pay AUTHORIZATION ngx_pay_owner;
SET LOCAL ROLE ngx_pay_owner;
GRANT USAGE ON SCHEMA pay TO ngx_pay_app;

CREATE TABLE pay.schema_version (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT ON pay.schema_version TO ngx_pay_app;

-- ---- reference data: no slot, a few rows, changed by operators ----

-- Changes are ordered by commit: the row lock is held until then, so whoever reads "changed since"
-- never misses one that was stamped earlier and committed later.
CREATE TABLE pay.reference_clock (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    at  timestamptz NOT NULL
);
INSERT INTO pay.reference_clock (at) VALUES (now());
GRANT SELECT, UPDATE (at) ON pay.reference_clock TO ngx_pay_app;

CREATE FUNCTION pay.stamp_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE pay.reference_clock
       SET at = greatest(clock_timestamp(), at + interval '1 microsecond')
    RETURNING at INTO NEW.changed_at;
    RETURN NEW;
END $$;

CREATE TABLE pay.merchant (
    mchid      text COLLATE "C" PRIMARY KEY CHECK (mchid ~ '^[0-9A-Za-z_-]{1,32}$'),
    name       text NOT NULL DEFAULT '',
    enabled    boolean NOT NULL DEFAULT true,
    base_slot  smallint NOT NULL CHECK (base_slot BETWEEN 0 AND 1023),
    span       smallint NOT NULL DEFAULT 1 CHECK (span BETWEEN 1 AND 64),
    rate       integer NOT NULL DEFAULT 0 CHECK (rate >= 0), -- requests per second, 0 = the edge's
    burst      integer NOT NULL DEFAULT 0 CHECK (burst >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE pay.app (
    app_id     text COLLATE "C" PRIMARY KEY CHECK (app_id ~ '^[0-9A-Za-z_-]{1,32}$'),
    mchid      text COLLATE "C" NOT NULL REFERENCES pay.merchant,
    name       text NOT NULL DEFAULT '',
    enabled    boolean NOT NULL DEFAULT true,
    rate       integer NOT NULL DEFAULT 0 CHECK (rate >= 0),
    burst      integer NOT NULL DEFAULT 0 CHECK (burst >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX app_mchid ON pay.app (mchid);

-- material_sealed: HMAC secret, or PEM of the app's public key, under the vault's master key with
-- the context "app_key:SERIAL".
CREATE TABLE pay.app_key (
    serial          text COLLATE "C" PRIMARY KEY CHECK (serial ~ '^[0-9A-Za-z_-]{1,64}$'),
    app_id          text COLLATE "C" NOT NULL REFERENCES pay.app,
    alg             text NOT NULL CHECK (alg IN ('rsa-sha256', 'hmac-sha256')),
    material_sealed bytea NOT NULL,
    enabled         boolean NOT NULL DEFAULT true,
    valid_from      timestamptz NOT NULL DEFAULT now(),
    valid_to        timestamptz NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    changed_at      timestamptz NOT NULL DEFAULT now(),
    CHECK (valid_from < valid_to)
);
CREATE INDEX app_key_app ON pay.app_key (app_id);

-- Credentials at a channel; mchid NULL = shared by all merchants. secrets_sealed: a JSON object
-- under the vault's master key with the context "channel_account:CHANNEL:ACCOUNT".
CREATE TABLE pay.channel_account (
    channel        text COLLATE "C" NOT NULL CHECK (channel ~ '^[0-9A-Za-z_-]{1,32}$'),
    account        text COLLATE "C" NOT NULL CHECK (account ~ '^[0-9A-Za-z_-]{1,64}$'),
    mchid          text COLLATE "C" REFERENCES pay.merchant,
    config         jsonb NOT NULL DEFAULT '{}',
    secrets_sealed bytea NOT NULL,
    enabled        boolean NOT NULL DEFAULT true,
    created_at     timestamptz NOT NULL DEFAULT now(),
    changed_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (channel, account)
);

CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON pay.merchant
    FOR EACH ROW EXECUTE FUNCTION pay.stamp_change();
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON pay.app
    FOR EACH ROW EXECUTE FUNCTION pay.stamp_change();
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON pay.app_key
    FOR EACH ROW EXECUTE FUNCTION pay.stamp_change();
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON pay.channel_account
    FOR EACH ROW EXECUTE FUNCTION pay.stamp_change();
CREATE INDEX merchant_changed ON pay.merchant (changed_at);
CREATE INDEX app_changed ON pay.app (changed_at);
CREATE INDEX app_key_changed ON pay.app_key (changed_at);
GRANT SELECT, INSERT, UPDATE ON pay.merchant, pay.app, pay.app_key, pay.channel_account
    TO ngx_pay_app;

-- Process numbers inside ids. A number goes to another holder only a while after its lease ended
-- (backends/store): an id generator may have borrowed seconds ahead.
CREATE TABLE pay.process_lease (
    process smallint PRIMARY KEY CHECK (process BETWEEN 0 AND 255),
    holder  text NOT NULL DEFAULT '',
    until   timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);
INSERT INTO pay.process_lease (process) SELECT generate_series(0, 255);
GRANT SELECT, UPDATE (holder, until) ON pay.process_lease TO ngx_pay_app;

-- ---- orders ----
-- Few CHECKs here: PostgreSQL parses each one's stored expression anew for every statement, which
-- costs as much as a row. What guards money stays.

CREATE TABLE pay.payment (
    id               bigint NOT NULL,
    amount           bigint NOT NULL CHECK (amount > 0),
    created_at       timestamptz NOT NULL,
    time_expire      timestamptz NOT NULL,
    prepare_before   timestamptz,          -- latest send_before of a prepare attempt
    busy_before      timestamptz,          -- send_before of the latest attempt while unanswered
    final_at         timestamptz,
    succeeded_at     timestamptz,          -- the channel's clock
    version          integer NOT NULL,
    attempts         integer NOT NULL,
    prepare_n        integer NOT NULL,
    not_sent         integer NOT NULL,
    slot             smallint NOT NULL,
    state            smallint NOT NULL,
    prev_state       smallint NOT NULL,
    method           smallint NOT NULL,
    command_seq      smallint NOT NULL,
    prepare_last     smallint NOT NULL,    -- 0 not sent, 1 not executed, 2 open
    prepare_past     smallint NOT NULL,
    busy_kind        smallint NOT NULL,
    mchid            text COLLATE "C" NOT NULL,
    app_id           text COLLATE "C" NOT NULL,
    out_trade_no     text COLLATE "C" NOT NULL,
    digest           bytea NOT NULL,       -- SHA-256 of the request's content
    currency         text COLLATE "C" NOT NULL,
    scene            text NOT NULL,
    product          text NOT NULL,
    store_id         text NOT NULL,
    description      text NOT NULL,
    attach           text NOT NULL,
    notify_url       text NOT NULL,
    trace_id         text NOT NULL,
    channel          text COLLATE "C" NOT NULL,
    account          text COLLATE "C" NOT NULL,
    route            text NOT NULL,
    channel_trade_no text NOT NULL,
    code_url         text NOT NULL,
    fail_code        text NOT NULL,
    PRIMARY KEY (slot, id)
) WITH (fillfactor = 50); -- room for every row's next version
-- One order of a number (R2.1). Every id is > 0: the condition keeps this index out of plans that do
-- not repeat it. Its first column alone would do for a search by id as well, and while the table is
-- empty the planner sees no difference.
CREATE UNIQUE INDEX payment_number ON pay.payment (slot, mchid, out_trade_no) WHERE id > 0;
GRANT SELECT, INSERT,
    UPDATE (version, state, prev_state, attempts, prepare_n, not_sent, prepare_last, prepare_past,
            prepare_before, busy_kind, busy_before, channel_trade_no, code_url, fail_code, final_at,
            succeeded_at)
    ON pay.payment TO ngx_pay_app;

-- One row per version: the path of the order. Never changed.
CREATE TABLE pay.payment_history (
    payment_id bigint NOT NULL,
    event_id   bigint NOT NULL,
    at         timestamptz NOT NULL,
    version    integer NOT NULL,
    attempt_n  integer NOT NULL,           -- that the event answers; 0 = none
    slot       smallint NOT NULL,
    from_state smallint NOT NULL,
    to_state   smallint NOT NULL,
    event      smallint NOT NULL,
    input      text COLLATE "C" NOT NULL,  -- what the event meant (backends/domain/payment.h)
    code       text NOT NULL,
    PRIMARY KEY (slot, payment_id, version)
);
GRANT SELECT, INSERT ON pay.payment_history TO ngx_pay_app;

-- One row per send, committed before it; the outcome is filled in once.
CREATE TABLE pay.payment_attempt (
    payment_id      bigint NOT NULL,
    attempt_id      bigint NOT NULL,       -- Pay-Attempt
    adapter_version bigint NOT NULL,
    committed_at    timestamptz NOT NULL,
    send_before     timestamptz NOT NULL,
    answered_at     timestamptz,
    n               integer NOT NULL,
    http_status     integer,
    slot            smallint NOT NULL,
    kind            smallint NOT NULL,
    command_seq     smallint NOT NULL,
    sent            smallint,              -- 0 unknown, 1 no, 2 maybe, 3 answered
    class           smallint,
    channel         text COLLATE "C" NOT NULL,
    account         text COLLATE "C" NOT NULL,
    code            text,
    message         text,
    PRIMARY KEY (slot, payment_id, n)
) WITH (fillfactor = 45);
GRANT SELECT, INSERT, UPDATE (answered_at, http_status, sent, class, code, message)
    ON pay.payment_attempt TO ngx_pay_app;

-- One row per unfinished order. By due_at alone: due rows are few and stand together, so a reader
-- of any slot range filters few; new ones go to the warm end.
CREATE TABLE pay.payment_timer (
    payment_id bigint NOT NULL,
    due_at     timestamptz NOT NULL,
    tries      integer NOT NULL,
    slot       smallint NOT NULL,
    kind       smallint NOT NULL,
    PRIMARY KEY (slot, payment_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX payment_timer_due ON pay.payment_timer (due_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON pay.payment_timer TO ngx_pay_app;

-- Outbox of merchants' callbacks: exactly one row for each thing that became final.
CREATE TABLE pay.callback (
    id          bigint NOT NULL,
    payment_id  bigint NOT NULL,
    subject_id  bigint NOT NULL,           -- what became final: the payment, later a refund of it
    created_at  timestamptz NOT NULL,
    next_at     timestamptz NOT NULL,
    done_at     timestamptz,
    tries       integer NOT NULL DEFAULT 0,
    last_status integer,
    slot        smallint NOT NULL,
    state       smallint NOT NULL CHECK (state BETWEEN 1 AND 4), -- waiting done given_up skipped
    mchid       text COLLATE "C" NOT NULL,
    app_id      text COLLATE "C" NOT NULL,
    url         text NOT NULL,
    body        text NOT NULL,
    PRIMARY KEY (slot, payment_id, subject_id)
) WITH (fillfactor = 80);
-- By merchant, so that claims take a few of each and a dead one delays nobody.
CREATE INDEX callback_waiting ON pay.callback (slot, mchid, next_at) WHERE state = 1;
GRANT SELECT, INSERT, UPDATE (next_at, done_at, tries, last_status, state)
    ON pay.callback TO ngx_pay_app;

CREATE TABLE pay.callback_attempt (
    callback_id bigint NOT NULL,
    payment_id  bigint NOT NULL,
    at          timestamptz NOT NULL,
    took_us     bigint NOT NULL,
    n           integer NOT NULL,
    http_status integer NOT NULL,          -- 0 = no answer
    slot        smallint NOT NULL,
    state       smallint NOT NULL,         -- the callback's, after this try
    error       text NOT NULL,
    PRIMARY KEY (slot, payment_id, callback_id, n)
);
GRANT SELECT, INSERT ON pay.callback_attempt TO ngx_pay_app;

-- What a person has to look at. The facts never change, only the work on them; the same fact again
-- opens no second case.
CREATE TABLE pay.payment_case (
    id               bigint NOT NULL,
    payment_id       bigint NOT NULL,
    event_id         bigint NOT NULL,
    opened_at        timestamptz NOT NULL,
    closed_at        timestamptz,
    amount           bigint,               -- that the channel named
    slot             smallint NOT NULL,
    state            smallint NOT NULL DEFAULT 1 CHECK (state IN (1, 2)), -- open, closed
    kind             text COLLATE "C" NOT NULL,
    detail           text NOT NULL,
    currency         text NOT NULL,
    channel_trade_no text NOT NULL,
    code             text NOT NULL,
    message          text NOT NULL,
    closed_by        text NOT NULL DEFAULT '',
    note             text NOT NULL DEFAULT '',
    PRIMARY KEY (slot, id)
);
CREATE UNIQUE INDEX payment_case_once
    ON pay.payment_case (slot, payment_id, kind, detail, channel_trade_no);
CREATE INDEX payment_case_open ON pay.payment_case (opened_at) WHERE state = 1;
GRANT SELECT, INSERT, UPDATE (state, closed_at, closed_by, note) ON pay.payment_case TO ngx_pay_app;

-- A merchant's slots are inside the ids of its orders: fixed once it has one.
CREATE FUNCTION pay.merchant_slots_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pay.payment p
                WHERE p.mchid = OLD.mchid
                  AND p.slot = ANY (ARRAY(SELECT ((OLD.base_slot + i) % 1024)::smallint
                                            FROM generate_series(0, OLD.span - 1) i))) THEN
        RAISE EXCEPTION 'merchant % has orders: base_slot and span are fixed', OLD.mchid
            USING ERRCODE = 'PAY02';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER slots_fixed BEFORE UPDATE ON pay.merchant
    FOR EACH ROW WHEN (OLD.base_slot <> NEW.base_slot OR OLD.span <> NEW.span)
    EXECUTE FUNCTION pay.merchant_slots_fixed();

RESET ROLE;
