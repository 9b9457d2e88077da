#include "moves_sql.h"

#include "backends/domain/payment.h"

static const char head[] =
    "-- Generated from backends/domain/payment_rules.c by `make sql`; do not edit.\n"
    "-- The moves of a payment:\n";
static const char check[] =
    "\n"
    "SET LOCAL ROLE ngx_pay_owner;\n"
    "\n"
    "-- One comparison: PostgreSQL parses a CHECK anew for every statement.\n"
    "ALTER TABLE pay.payment DROP CONSTRAINT IF EXISTS payment_moves;\n"
    "ALTER TABLE pay.payment ADD CONSTRAINT payment_moves CHECK (\n";
static const char triggers[] =
    ");\n"
    "\n"
    "CREATE OR REPLACE FUNCTION pay.refuse_move() RETURNS trigger\n"
    "LANGUAGE plpgsql AS $$\n"
    "BEGIN\n"
    "    IF TG_OP = 'INSERT' THEN\n"
    "        RAISE EXCEPTION 'payment %: illegal birth in state %, version %',\n"
    "            NEW.id, NEW.state, NEW.version USING ERRCODE = 'PAY01';\n"
    "    END IF;\n"
    "    RAISE EXCEPTION 'payment %: illegal update, state % -> %, version % -> %',\n"
    "        OLD.id, OLD.state, NEW.state, OLD.version, NEW.version USING ERRCODE = 'PAY01';\n"
    "END $$;\n"
    "\n"
    "-- Legal rows meet the WHEN of these triggers only, and the CHECK.\n"
    "CREATE OR REPLACE TRIGGER payment_birth BEFORE INSERT ON pay.payment FOR EACH ROW\n"
    "    WHEN (NEW.version <> 1 OR NEW.prev_state <> 0)\n"
    "    EXECUTE FUNCTION pay.refuse_move();\n"
    "\n"
    "-- Those of updates come AFTER: one that comes BEFORE has every row locked first, legal or "
    "not,\n"
    "-- and the lock is a record in the WAL.\n"
    "-- What was agreed with the merchant never changes.\n"
    "CREATE OR REPLACE TRIGGER payment_agreed AFTER UPDATE OF slot, id, mchid, app_id,\n"
    "    out_trade_no, digest, method, amount, currency, created_at, time_expire, payer\n"
    "    ON pay.payment FOR EACH ROW EXECUTE FUNCTION pay.refuse_move();\n"
    "\n"
    "-- By one version, where it is or by a move; a final state has none in the CHECK.\n"
    "-- PostgreSQL parses a WHEN anew for every statement: what an answer of the channel cannot\n"
    "-- change stands in triggers of its own.\n"
    "CREATE OR REPLACE TRIGGER payment_moves AFTER UPDATE ON pay.payment FOR EACH ROW\n"
    "    WHEN (NEW.version <> OLD.version + 1\n"
    "          OR NOT (NEW.prev_state = OLD.state\n"
    "                  OR NEW.state = OLD.state AND NEW.prev_state = OLD.prev_state)\n"
    "          OR OLD.state IN (";
static const char channel[] =
    ") AND NEW.channel_trade_no <> OLD.channel_trade_no)\n"
    "    EXECUTE FUNCTION pay.refuse_move();\n"
    "\n"
    "-- A channel that refused it may be followed by another one.\n"
    "CREATE OR REPLACE TRIGGER payment_channel AFTER UPDATE OF channel, account, command_seq\n"
    "    ON pay.payment FOR EACH ROW\n"
    "    WHEN ((NEW.channel, NEW.account, NEW.command_seq)\n"
    "          IS DISTINCT FROM (OLD.channel, OLD.account, OLD.command_seq)\n"
    "          AND NOT (OLD.state = %d AND NEW.state = %d\n"
    "                   AND NEW.command_seq = OLD.command_seq + 1))\n"
    "    EXECUTE FUNCTION pay.refuse_move();\n"
    "\n"
    "-- What became final stays; but refunds count in it.\n"
    "CREATE OR REPLACE TRIGGER payment_final AFTER UPDATE OF final_at, succeeded_at, fail_code,\n"
    "    reversal ON pay.payment FOR EACH ROW\n"
    "    WHEN (OLD.state IN (";
static const char final[] =
    ")\n"
    "          AND (NEW.final_at, NEW.succeeded_at, NEW.fail_code, NEW.reversal) IS DISTINCT FROM\n"
    "              (OLD.final_at, OLD.succeeded_at, OLD.fail_code, OLD.reversal))\n"
    "    EXECUTE FUNCTION pay.refuse_move();\n"
    "\n"
    "RESET ROLE;\n";

/* A move as one number, so that the CHECK is one comparison. Both are smallint: no two moves have
 * the same number, whatever they are. */
#define MOVE_FACTOR 65536u

static void add_check(struct buf *b)
{
    const char *separator = "";

    buf_addf(b, "    prev_state * %u + state IN (", MOVE_FACTOR);
    for (unsigned from = 0; from < PAYMENT_STATE_COUNT; from++) {
        for (unsigned to = 0; to < PAYMENT_STATE_COUNT; to++) {
            if (!payment_move_allowed((enum payment_state)from, (enum payment_state)to))
                continue;
            buf_addf(b, "%s%u", separator, from * MOVE_FACTOR + to);
            separator = ", ";
        }
    }
    buf_add_char(b, ')');
}

static void add_names(struct buf *b)
{
    for (unsigned from = 0; from < PAYMENT_STATE_COUNT; from++) {
        const char *separator = "";

        for (unsigned to = 0; to < PAYMENT_STATE_COUNT; to++) {
            if (!payment_move_allowed((enum payment_state)from, (enum payment_state)to))
                continue;
            if (!*separator)
                buf_addf(b, "--   %u %s ->", from, payment_state_name((enum payment_state)from));
            buf_addf(b, "%s %u %s", separator, to, payment_state_name((enum payment_state)to));
            separator = ",";
        }
        if (*separator)
            buf_add_char(b, '\n');
    }
}

static void add_finals(struct buf *b)
{
    const char *separator = "";

    for (unsigned s = 0; s < PAYMENT_STATE_COUNT; s++) {
        if (!payment_state_final((enum payment_state)s))
            continue;
        buf_addf(b, "%s%u", separator, s);
        separator = ", ";
    }
}

void moves_sql(struct buf *b)
{
    buf_add_str(b, head);
    add_names(b);
    buf_add_str(b, check);
    add_check(b);
    buf_add_str(b, triggers);
    add_finals(b);
    buf_addf(b, channel, PAYMENT_PROCESSING, PAYMENT_PROCESSING);
    add_finals(b);
    buf_add_str(b, final);
}
