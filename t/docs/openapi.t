#!/usr/bin/python3
"""docs/openapi.yaml against the tables of core/api.c, core/problem.h and core/terms.h, and against live
answers; the tables of docs/api.md against the same."""
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from docs import DOCS, c_table, mismatches, problems, resolve, source, table, undeclared  # noqa: E402
from flow import callbacks, eventually, flow_stack, pay  # noqa: E402
from tap import done, is_, ok  # noqa: E402

import yaml  # noqa: E402

API = yaml.safe_load((DOCS / "openapi.yaml").read_text())
SCHEMAS = API["components"]["schemas"]
PROSE = (DOCS / "api.md").read_text()
TYPES = {"FIELD_STRING": {"type": "string"}, "FIELD_INTEGER": {"type": "integer"}, "FIELD_OBJECT": {"type": "object"},
         "FIELD_TIME": {"type": "string", "format": "date-time"}, "FIELD_URL": {"type": "string", "format": "uri"},
         "FIELD_ADDRESS": {"type": "string", "format": "ip"}}
C_NUMBERS = {"true": True, "false": False, "NULL": None}


# ---- requests ----

def number(text: str) -> int:
    """A literal, or one of core/api.h's bounds."""
    defined = re.search(rf"#define {text} +(\d+)LL", source("core/api.h")) if text.isidentifier() else None
    return int(defined[1] if defined else text)


def declared(name: str) -> dict[str, dict]:
    """A field table of core/api.c: path -> what a schema says of it."""
    found = {}
    for path, kind, required, low, high, charset, values, help_text in c_table(source("core/api.c"), name):
        field = {**TYPES[kind], "required": C_NUMBERS[required], "description": help_text}
        if kind in ("FIELD_STRING", "FIELD_URL"):
            field |= {"minLength": number(low), "maxLength": number(high)}
        if kind == "FIELD_INTEGER":
            field |= {"minimum": number(low), "maximum": number(high)}
        if charset != "NULL":
            field["characters"] = characters(charset)
        if values != "NULL":
            field["enum"] = values.split("|")
        found[path] = field
    return found


def characters(charset: str) -> str:
    """ASCII characters of a set such as 0-9A-Za-z_-."""
    for run in ("0-9", "A-Z", "a-z"):
        if run in charset:
            charset = charset.replace(run, "".join(map(chr, range(ord(run[0]), ord(run[2]) + 1))))
    return "".join(sorted(charset))


def documented(schema: dict, prefix: str = "") -> dict[str, dict]:
    found = {}
    for name, member in schema["properties"].items():
        field = {k: v for k, v in member.items() if k not in ("properties", "additionalProperties", "required", "pattern")}
        field["required"] = name in schema.get("required", [])
        if "pattern" in member:
            field["characters"] = "".join(sorted(c for c in map(chr, range(32, 127)) if re.search(member["pattern"], c)))
        found[prefix + name] = field
        if "properties" in member:
            is_(member.get("additionalProperties"), False, f"{prefix}{name} takes no unknown members")
            found |= documented(member, f"{prefix}{name}.")
    return found


BODIES = {"payment_fields": "PaymentCreate", "close_fields": "PaymentClose", "refund_fields": "RefundCreate"}


def bodies():
    for fields, schema in BODIES.items():
        is_(SCHEMAS[schema]["additionalProperties"], False, f"{schema} takes no unknown members")
        want, got = declared(fields), documented(SCHEMAS[schema])
        is_(list(got), list(want), f"{schema} has the fields of {fields}")
        for path in want:
            is_(got.get(path), want[path], f"{schema}: {path}")


def paths():
    rows = c_table(source("core/api.c"), "apis")
    want = {(method.lower(), path): (int(limit), fields) for _, method, path, fields, limit, _ in rows}
    got = {(method, path): operation for path, item in API["paths"].items() for method, operation in item.items()}
    is_(sorted(got), sorted(want), "the paths and methods are the table's")
    for key, operation in got.items():
        limit, fields = want.get(key, (None, None))
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        is_((operation.get("x-max-body", 0), content.get("$ref", "").rpartition("/")[2]), (limit, BODIES.get(fields, "")),
            f"{key[0]} {key[1]}: size and body")
    names = [o["operationId"] for o in got.values()]
    is_(len(set(names)), len(names), "operations have their own names")


# ---- what both documents list ----

def codes():
    want = problems()
    is_(SCHEMAS["ProblemCode"]["enum"], list(want), "openapi.yaml lists the codes of core/problem.h")
    is_(SCHEMAS["ProblemCode"]["x-statuses"], want, "with their statuses")
    rows = table(PROSE, "code", "status", "meaning", "what to do", "may exist")
    is_({r["code"]: int(r["status"]) for r in rows}, want, "api.md lists the same")
    is_([r["code"] for r in rows], list(want), "each once")
    is_([r["code"] for r in rows if r["may exist"] not in ("yes", "no") or not r["meaning"]], [],
        "and says whether the order may exist")
    unclear = [code for code, status in want.items() if status >= 500 and code not in ("OVERLOADED", "CHANNEL_BUSY", "CHANNEL_OUT")]
    is_([r["code"] for r in rows if r["code"] in unclear and r["may exist"] == "no"], [], "which it may when nobody knows")


def states():
    for what, schema, head in (("payment", "PaymentState", "state"), ("refund", "RefundState", "state of a refund")):
        listed = re.search(rf"#define {what.upper()}_STATE_TABLE(.*?)enum", source("core/terms.h"), re.S)[1]
        want = [w for w in re.findall(r"X\(\w+, \d, \"(\w+)\"\)", listed) if w != "none"]
        want += ["reversed"] if what == "payment" else []  # shown, not stored: payment_shown_state
        is_(SCHEMAS[schema]["enum"], want, f"openapi.yaml lists the states of a {what}")
        is_([r[head] for r in table(PROSE, head, "meaning", "final")], want, "api.md lists the same")


def fields_in_prose():
    for fields, head in (("payment_fields", "member"), ("refund_fields", "field")):
        want = [p for p, f in declared(fields).items() if f["type"] != "object"]
        rows = table(PROSE, head, "type", "", "meaning")
        named = [(name, r) for r in rows for name in re.findall(r"[a-z_.]+", r[head])]
        is_([n for n, _ in named], want, f"api.md lists the members of {fields}")
        required = [n for n, r in named if r[""] == "required"]
        is_(required, [p for p in want if declared(fields)[p]["required"]], "and which are required")
    shown = {n for r in table(PROSE, "member", "meaning") if "type" not in r for n in re.findall(r"`([a-z_]+)`", r["member"])
             } | {r["member"] for r in table(PROSE, "member", "meaning") if "type" not in r}
    is_([m for m in SCHEMAS["Payment"]["properties"] if m not in shown], [], "api.md explains the members of a payment")


# ---- live answers ----

def operation(name: str) -> dict:
    return next(o for item in API["paths"].values() for o in item.values() if o["operationId"] == name)


def conforms(name: str, answer, want: int, code: str | None = None) -> None:
    """Status, content type, headers and body are what openapi.yaml says of this operation."""
    what = f"{name} {want}{' ' + code if code else ''}"
    is_((answer.status, answer.code), (want, code), what) or print(f"# {answer.body!r}")
    responses = operation(name)["responses"]
    response = resolve(API, responses.get(str(answer.status), responses["default"]))
    kind = answer.headers.get("Content-Type")
    if not ok(kind in response["content"], f"{what}: {kind}"):
        return
    schema, body = response["content"][kind]["schema"], answer.json
    is_(mismatches(API, schema, body), [], f"{what}: the body conforms")
    is_(undeclared(API, schema, body), [], f"{what}: nothing undocumented in it")
    for header, rule in response.get("headers", {}).items():
        rule, value = resolve(API, rule), answer.headers.get(header)
        fits = not rule.get("required") if value is None else not mismatches(API, rule["schema"], value)
        ok(fits, f"{what}: header {header}", value)
    if code:
        is_(body["status"], SCHEMAS["ProblemCode"]["x-statuses"][code], f"{what}: its status")


def live(stack):
    client = stack.client()
    order = {"out_trade_no": "DOCS0001", "total": 888, "notify_url": stack.callback_url, "attach": "table 7"}
    made = client.create_payment(**order)
    conforms("createPayment", made, 201)
    conforms("createPayment", client.create_payment(**order), 200)
    conforms("createPayment", client.create_payment(**{**order, "total": 889}), 409, "OUT_TRADE_NO_CONFLICT")
    conforms("createPayment", client.create_payment("DOCS0002", 1, description=""), 400, "FIELD_INVALID")
    conforms("createPayment", client.create_payment("DOCS0002", 0), 422, "AMOUNT_OUT_OF_RANGE")
    conforms("createPayment", client.create_payment("DOCS0002", 1, channel="none"), 422, "NO_CHANNEL")
    conforms("createPayment", client.create_payment("DOCS0002", 1, color="red"), 400, "FIELD_UNKNOWN")
    conforms("createPayment", client.request("POST", "/v1/payments", b"{"), 400, "JSON_INVALID")
    conforms("createPayment", client.request("POST", "/v1/payments", b"x" * 16385), 413, "BODY_TOO_LARGE")
    conforms("findPayment", client.find("DOCS0001"), 200)
    conforms("findPayment", client.find("DOCS0009"), 404, "ORDER_NOT_FOUND")
    conforms("findPaymentByPath", client.request("GET", "/v1/payments/out-trade-no/DOCS0001?mchid=" + client.mchid), 200)
    conforms("getPayment", client.get(made.json["id"]), 200)
    conforms("getPayment", client.request("DELETE", "/v1/payments/" + made.json["id"]), 405, "METHOD_NOT_ALLOWED")
    conforms("getCertificates", client.request("GET", "/v1/certificates"), 200)

    closable = client.create_payment("DOCS0003", 5, notify_url=stack.callback_url)
    closed = client.close(closable.json["id"])
    conforms("closePayment", closed, closed.status if closed.status in (200, 202) else 200)
    pay(stack, made.json["code_url"])
    eventually(lambda: client.find("DOCS0001").json["state"] == "succeeded", "the payment succeeds")
    conforms("getPayment", client.get(made.json["id"]), 200)
    conforms("closePayment", client.close(made.json["id"]), 409, "STATE_CONFLICT")

    schema = API["webhooks"]["payment"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    for no, event in (("DOCS0001", "payment.succeeded"), ("DOCS0003", "payment.closed")):
        got = eventually(lambda: callbacks(stack, no), f"{event} is called back")[0]
        body = json.loads(got["body"])
        is_((body["event_type"], mismatches(API, schema, body), undeclared(API, schema, body)), (event, [], []),
            f"{event} conforms")


def limits(stack):
    """The numbers of api.md's Limits that the edge enforces."""
    client = stack.client()
    is_(client.find("x" * 33).code, "FIELD_INVALID", "an out_trade_no of 33 characters is refused")
    replay = client.authorization("GET", "/v1/certificates", b"")
    first, second = (client.request("GET", "/v1/certificates", headers={"Authorization": replay}) for _ in range(2))
    conforms("getCertificates", first, 200)
    conforms("getCertificates", second, 409, "NONCE_REPLAYED")


def main():
    bodies()
    paths()
    codes()
    states()
    fields_in_prose()
    with flow_stack() as stack:
        live(stack)
        limits(stack)
    done()


main()
