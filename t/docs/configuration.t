#!/usr/bin/python3
"""docs/configuration.md against the code, in both directions: directives of nginx, pay_channel, payd.conf and
paybank.conf with syntax, default and context, parameters, options and commands of the programs."""
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from docs import DOCS, c_table, program, sections, source, sources, table  # noqa: E402
from tap import done, is_, ok  # noqa: E402

TEXT = (DOCS / "configuration.md").read_text()
PARTS = sections(TEXT)
CONTEXTS = (("NGX_HTTP_MAIN_CONF", "http"), ("NGX_HTTP_SRV_CONF", "server"), ("NGX_HTTP_LOC_CONF", "location"))
UNITS = {"ms": 1, "s": 1000, "m": 60000, "h": 3600000, "d": 86400000}
# what stands in the place of a default where there is none
NO_DEFAULT = ("none", "required", "see below", "role order needs it", "the system's")
HEADS = ("directive", "syntax", "default", "meaning")

# where the code has a parameter's default: directive, parameter -> file, expression, how it is written
PARAMETERS = {
    ("pay_keys", "timeout"): ("sign_module.c", r"keys->timeout = (\d+);", "{}ms"),
    ("pay_keys", "hedge"): ("sign_module.c", r"keys->hedge = (\d+);", "{}ms"),
    ("pay_keys", "stale"): ("sign_module.c", r"keys->stale = (\d+) \* 1000;", "{}s"),
    ("pay_keys", "parsed"): ("sign_module.c", r"keys->parsed = (\d+);", "{}"),
    ("pay_keys", "misses"): ("sign_module.c", r"keys->misses = (\d+);", "{}"),
    ("pay_platform_key", "queue"): ("answer.h", r"ANSWER_QUEUE +(\d+)", "{}"),
    ("pay_redis", "timeout"): ("redis_conf.c", r"redis->timeout = (\d+);", "{}ms"),
    ("pay_redis", "failures"): ("redis_conf.c", r"redis->failures = (\d+);", "{}"),
    ("pay_redis", "pause"): ("redis_conf.c", r"redis->pause = (\d+);", "{}ms"),
    ("pay_redis", "inflight"): ("redis_conf.c", r"redis->inflight = (\d+);", "{}"),
    ("pay_attack", "within"): ("attack_module.c", r"acf->within = (\d+);", "{}s"),
    ("pay_attack", "block"): ("attack_module.c", r"acf->time = (\d+);", "{}s"),
    **{("pay_attack", n.lower()): ("attack_module.c", rf"most\[NGX_HTTP_PAY_ATTACK_{n}\] = (\d+);", "{}")
       for n in ("SIGNATURES", "REPLAYS", "SERIALS", "PATHS")},
    ("pay_guard", "window"): ("guard.h", r"PAY_WINDOW +(\d+)", "{}s"),
}
# parameters whose default is zero memory or a rule
OTHERS = {("pay_redis", "db"): "0", ("pay_redis", "password_file"): "none", ("pay_redis", "user"): "none",
          ("pay_redis", "sentinel"): "none", ("pay_redis", "sentinel_user"): "none",
          ("pay_redis", "sentinel_password_file"): "none", ("pay_limit", "rate"): "required", ("pay_attack", "rate"): "none", ("pay_attack", "except"): "none",
          ("pay_limit", "burst"): "0", ("pay_limit", "algorithm"): "gcra", ("pay_limit", "name"): "the key",
          ("pay_guard", "nonce"): "twice window",
          ("pay_route", "by"): "weight", ("pay_guard", "app"): "off", ("pay_guard", "burst"): "0", ("pay_guard", "fallback"): "open"}
CHANNEL_DEFAULTS = {
    "state": ("channel_names.c", r"state_names\[\] = \{\s*ngx_string\(\"(\w+)\"\)", "{}"),
    "weight": ("channel_conf.c", r"ch->weight = (\d+);", "{}"),
    "priority": ("channel_conf.c", r"ch->priority = (\d+);", "{}"),
    "concurrency": ("channel_values.c", r"reserve = (\d+);", "100 reserve={}%"),
    "keepalive": ("channel_conf.c", r"ngx_min\(ch->cap, (\d+)\)", "{} timeout=15s"),
}


# ---- nginx's directives ----

def edge_source(name: str) -> str:
    """The source of the edge's ngx_http_pay_NAME, in whichever folder it lives."""
    return sources(f"ngx_pay_module/*/ngx_http_pay_{name}")


def commands() -> dict[str, tuple[str, str]]:
    """name -> flags and setter of every command table in the sources."""
    text = sources("ngx_pay_module/*/*.c")
    tables = re.findall(r"ngx_command_t\s+\w+\[\] = \{(.*?)ngx_null_command", text, re.S)
    return {name: (flags, setter) for t in tables
            for name, flags, setter in re.findall(r"ngx_string\(\"(\w+)\"\),\s*([A-Z0-9_|\s]+),\s*(\w+),", t)}


def stated(name: str) -> dict[str, str]:
    """Syntax, Default, Context of a directive's section."""
    return dict(re.findall(r"^(Syntax|Default|Context): +(.*)$", PARTS.get(name, ""), re.M))


def nginx():
    known = commands()
    documented = [title for title in PARTS if title.startswith("pay_")]
    is_(sorted(documented), sorted(known), "configuration.md has the directives of nginx's command tables")
    for name in documented:
        flags, _ = known.get(name, ("", ""))
        says = stated(name)
        contexts = ", ".join(word for flag, word in CONTEXTS if flag in flags)
        is_(says.get("Context"), contexts, f"{name}: context")
        ok(says.get("Syntax", "").startswith(name + " ") and says.get("Default"),
           f"{name}: syntax and default are there", says)
        ok("NGX_CONF_FLAG" not in flags or "on | off" in says["Syntax"], f"{name}: a switch is on | off")
        ok("NGX_CONF_BLOCK" not in flags or says["Syntax"].endswith("}"), f"{name}: a block has braces")
    count = re.search(r"ATTEMPTS_DEFAULT +(\d+)", edge_source("attempts.h"))[1]
    is_(stated("pay_attempts").get("Default"), count, "pay_attempts: default")
    text = edge_source("core_module.c")
    for name in ("sign", "strip"):
        merged = re.search(rf"merge_value\(conf->{name}, prev->{name}, (\d)\)", text)[1]
        is_(stated(f"pay_{name}").get("Default"), ("off", "on")[int(merged)], f"pay_{name}: default")


def in_code() -> set[tuple[str, str]]:
    """(directive, parameter) for every name=value that the parsers know."""
    found = {(f"pay_{d}", p) for d, f in (("guard", "guard_conf"), ("limit", "limit_conf"),
                                                ("redis", "redis_conf"), ("attack", "attack_module"))
             for p in re.findall(r"conf_param\([^,]+,\s+\"(\w+)\"", edge_source(f"{f}.c"))}
    found |= {("pay_keys", p) for p in
              re.findall(r"arg->data, \"(\w+)=\"", edge_source("sign_module.c"))}
    found |= {("pay_platform_key", p) for p in
              re.findall(r"\.data, \"(\w+)=\"", edge_source("answer_conf.c"))}
    found |= {("pay_route", p) for p in
              re.findall(r"\"(\w+)=cost\"", edge_source("route_module.c"))}
    return found


def parameters():
    rows = {(title, r["parameter"]): r["default"] for title in PARTS if title.startswith("pay_")
            for r in table(PARTS[title], "parameter", "default", "meaning")}
    is_(sorted(rows), sorted(in_code()), "the parameters of nginx's directives are those of the parsers")
    for (directive, parameter), default in rows.items():
        ok(f"{parameter}=" in stated(directive).get("Syntax", ""), f"{directive}: {parameter} stands in its syntax")
        want = OTHERS.get((directive, parameter))
        if want is None:
            file, expression, form = PARAMETERS[directive, parameter]
            want = form.format(re.search(expression, edge_source(file))[1])
        is_(default, want, f"{directive}: default of {parameter}")


def variables():
    names = re.findall(r"(?:pay_var|ngx_string)\(\"(pay_\w+)\"(?:, ngx_http_pay_\w+_variable|\), NULL)",
                       sources("ngx_pay_module/*/*.c"))
    is_([n for n in names if f"${n}" not in TEXT], [], "the variables are mentioned")
    is_([v for v in re.findall(r"\$(pay_\w+)", TEXT) if v not in names], [], "and no others")


# ---- pay_rule, pay_pool ----

def blocks():
    """What may stand in the blocks, and the conditions of both."""
    for directive, what in (("rule", "in a rule"), ("pool", "in a pool")):
        text = edge_source(f"{directive}_conf.c")
        commands = text.partition("_commands[] = {")[2].partition("ngx_null_string")[0]
        rows = table(PARTS[f"pay_{directive}"], what, "syntax", "meaning")
        is_(sorted(r[what] for r in rows), sorted(re.findall(r"ngx_string\(\"(\w+)\"\)", commands)),
            f"pay_{directive}: what may stand in it")
    when = edge_source("when_values.c").partition("when_keys[] = {")[2].partition("ngx_null_string")[0]
    bits = {name: kind for name, kind in re.findall(r"ngx_string\(\"(\w+)\"\), (?:MATCH_\w+_BIT\()?(MATCH_\w+)", when)}
    rows = {r["key"]: r["for"] for r in table(PARTS["when"], "key", "for", "values")}
    is_(sorted(rows), sorted(bits), "when: the keys")
    for directive, word in (("rule", "rules"), ("pool", "pools")):
        text = edge_source(f"{directive}_conf.c")
        allowed = text.partition("_KEYS ")[2].partition("\n\n")[0]
        is_([k for k, where in rows.items() if word in where], [k for k in rows if re.search(rf"{bits[k]}\b", allowed)],
            f"when: the keys of {word}")


# ---- pay_channel ----

def channels():
    text = edge_source("channel_conf.c")
    block = text.partition("ngx_http_pay_channel_directives[] = {")[2].partition("ngx_null_string")[0]
    block = block.replace("NGX_HTTP_PAY_METHODS_MAX", "8")
    edge = {name: (int(low), int(high), flags) for name, low, high, flags in
            re.findall(r"ngx_string\(\"(\w+)\"\), (\d+), (\d+),\s*([A-Z_|0]+)", block)}
    payd = {row[0]: row for row in c_table(source("backends/channel/set.c"), "channel_block_table")}
    rows = {r["directive"]: r for r in table(PARTS["Channels"], "directive", "syntax", "default", "used by", "meaning")}
    is_(sorted(edge), sorted(payd), "nginx and payd accept the same directives in pay_channel")
    unlike = [n for n, p in payd.items() if int(p[1]) != edge[n][0] or int(p[2]) > edge[n][1]]
    is_(unlike, [], "nginx takes as many arguments as payd")
    is_(sorted(rows), sorted(edge), "and configuration.md has them")
    for name, row in rows.items():
        is_(row["syntax"], payd[name][4], f"pay_channel {name}: syntax")
        needed = "NEED" in edge[name][2] or "CONF_NEED" in payd[name][3]
        ok(row["default"].startswith("required") == needed or name == "notify_base",
           f"pay_channel {name}: required or not", row)
        if payd[name][5] and not needed:
            is_(row["default"], payd[name][5], f"pay_channel {name}: payd's default")
        ok("Read by nginx" not in payd[name][6] or row["used by"] in ("nginx", "nobody yet"),
           f"pay_channel {name}: nginx uses it")
    for name, (file, expression, form) in CHANNEL_DEFAULTS.items():
        got = re.search(expression, edge_source(file), re.S)[1]
        is_(rows[name]["default"], form.format(got), f"pay_channel {name}: default")
    cap, idle = (re.search(e, text)[1] for e in (r"ch->cap = (\d+);", r"ch->idle_timeout = (\d+);"))
    is_((cap, idle), ("100", "15000"), "pay_channel: concurrency 100, keepalive timeout 15s")
    params = re.findall(r"\{ \"(\w+)\", NGX_HTTP_PAY_(\w+), \d+, \d+, (\d+), \"([^\"]+)\" \}",
                        edge_source("health_conf.c"))
    told = [(r["parameter"], r["default"], r["range"]) for r in
            table(PARTS["Health of a channel"], "parameter", "default", "range", "meaning")]
    form = {"NUMBER": "{}".format, "PERCENT": "{}%".format, "TIME": lambda ms: f"{int(ms) // 1000}s"}
    is_(told, [(name, form[kind](value), allowed) for name, kind, value, allowed in params], "breaker: its parameters")
    share = re.search(r"\"share\", \w+, (\d+), (\d+), (\d+)", edge_source("health_conf.c"))
    is_((f"share={share[3]}%" in rows["sla"]["default"], f"{share[1]}% to {share[2]}%" in rows["sla"]["meaning"]),
        (True, True), "sla: its share")
    limits = re.findall(r"#define AMOUNT_M\w+ (\d+)LL", source("core/api.h"))
    is_(rows["amount"]["default"].split(), limits, "pay_channel amount: the API's bounds")


# ---- payd.conf, paybank.conf ----

def compare(what: str, part: str, known: list[list[str]]) -> None:
    """known: rows of name, syntax, default, as --directives prints them."""
    rows = table(PARTS[part], *HEADS)
    is_([r["directive"] for r in rows], [k[0] for k in known], f"{what}: the directives, in order")
    for row, (name, syntax, default) in zip(rows, known):
        is_(row["syntax"], syntax, f"{what} {name}: syntax")
        said = row["default"]
        ok(said == default if default else said in NO_DEFAULT, f"{what} {name}: default",
           f"{said!r}, the code has {default!r}")
        ok(row["meaning"], f"{what} {name}: meaning")


def milliseconds(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h|d)", text).groups()
    return int(number) * UNITS[unit]


def payd():
    lines = [line.split("\t") for line in program("payd", "--directives").splitlines()]
    blocks = {"": "Main level", "timers": "timers", "callbacks": "callbacks", "relay": "relay",
              "process": "process"}
    is_(sorted({n.rpartition(".")[0] for n, *_ in lines}), sorted(blocks), "payd.conf: the blocks")
    for block, part in blocks.items():
        known = [[n.rpartition(".")[2], syntax, default] for n, syntax, default in lines if n.rpartition(".")[0] == block]
        compare(f"payd.conf {block}".strip(), part, known)


def payd_defaults():
    """What --directives calls a default is what options_load sets."""
    text = source("backends/options/options.c")
    body = text.partition("static void set_defaults")[2].partition("\n}\n")[0]
    said = {n: default for n, _, default in (line.split("\t") for line in program("payd", "--directives").splitlines())}
    scope = {"USEC_PER_SEC": 1000, "USEC_PER_MSEC": 1}
    times = re.findall(r"o->(\w+)_us = ([^;\[]+);", body)
    numbers = re.findall(r"^    o->(\w+) = (\d+);", body, re.M)
    ok(len(times) >= 8 and len(numbers) >= 4, "set_defaults is found")
    for name, value in times:
        is_(milliseconds(said[name]), eval(value, scope), f"set_defaults: {name}")
    for name, value in numbers:
        is_(said[name], value, f"set_defaults: {name}")
    connections = re.search(r"o->writers = o->readers = (\d+);", body)[1]
    ok(f"{connections} by default" in table(PARTS["Main level"], *HEADS)[0]["meaning"], "set_defaults: writers and readers")
    for name, value in re.findall(r"\.(\w+) = ([^,}]+)", re.search(r"timer_options\)\{(.*?)\}", body, re.S)[1]):
        dflt = said["timers." + name.removesuffix("_us")]
        is_(milliseconds(dflt) if name.endswith("_us") else dflt, eval(value, scope) if name.endswith("_us") else value,
            f"set_defaults: timers.{name}")
    for block in ("relay", "callbacks"):
        defaults = source(f"backends/options/options_{block}.c").partition(f"void options_{block}_defaults")[2].partition("\n}\n")[0]
        found = re.findall(r"\.(\w+) = ([^,}]+)", defaults)
        ok(len(found) >= 5, f"options_{block}_defaults is found")
        for name, value in found:
            dflt = said.get(f"{block}." + name.removesuffix("_us"))
            if dflt is not None:
                is_(milliseconds(dflt) if name.endswith("_us") else dflt,
                    eval(value, scope) if name.endswith("_us") else value.strip('"'), f"options_{block}_defaults: {name}")
    steps = [int(s) * 1000 for s in re.findall(r"\d+", defaults.partition("schedule_s[] = {")[2].partition("}")[0])]
    is_([milliseconds(s) for s in said["callbacks.schedule"].split()], steps, "options_callbacks_defaults: schedule")
    spaced = re.sub(r"[\s,]+", "", "".join(s + "," for s in said["callbacks.schedule"].split()))
    api = (DOCS / "api.md").read_text()
    told = re.search(r"It is tried again after\s+([^:]*):", api)[1]
    is_(re.sub(r"[\s,]+", "", told.replace("min", "m")), spaced, "api.md tells the schedule of callbacks")


def paybank():
    lines = [line.split("\t") for line in program("paybank", "--directives").splitlines()]
    channels = ("wechat", "wechat_v2", "alipay", "unionpay", "bank_json")
    blocks = {"main": "Main level of paybank.conf"}
    for channel in channels:
        blocks[channel] = ", ".join(channels[:-1]) + " and " + channels[-1]
        blocks[channel + ".merchant"] = "merchant of " + channel
    is_(sorted({block for block, *_ in lines}), sorted(blocks), "paybank.conf: the blocks")
    for block, part in blocks.items():
        compare(f"paybank.conf {block}", part, [[n, syntax, default] for b, n, syntax, default, _ in lines if b == block])


# ---- command lines ----

def options_of(text: str) -> list[str]:
    """`-c, --conf FILE` at the beginning of a line of a help text, as `-c FILE`, `--conf FILE`."""
    found = []
    for line in re.findall(r"^ {2,6}((?:-\w, )?--?\w[\w-]*(?: [A-Z]+)?(?:, --?\w+)*)(?: {2,}|$)", text, re.M):
        value = re.search(r" ([A-Z]+)$", line)
        for name in re.findall(r"--?\w[\w-]*", line):
            found.append(name + (value[0] if value else ""))
    return sorted(found)


def command_lines():
    for name in ("payd", "payctl", "paybank"):
        text = program(name, "--help")
        documented = [o for r in table(PARTS[name], "option", "meaning")
                      for o in re.findall(r"--?\w[\w-]*(?: [A-Z]+)?", r["option"])]
        is_(sorted(documented), options_of(text), f"{name}: the options of --help")
    known = [line.strip() for line in re.findall(r"^  ([a-z]+[^\n]*)\n      \S", program("payctl", "--help"), re.M)]
    commands_told = [r["command"] for r in table(PARTS["payctl"], "command", "what it does")]
    is_(commands_told, known, "payctl: the commands of --help")
    for name in ("payd", "payctl"):
        program(name, "--version")


# ---- samples ----

def samples():
    """Directives of the samples are documented: what an operator meets first has an explanation."""
    text = (DOCS.parent / "lua-free-conf/nginx.conf").read_text()
    used = set(re.findall(r"^\s*(pay_\w+)\s", text, re.M))
    is_(sorted(u for u in used if u not in PARTS), [], "nginx.conf's pay_ directives are explained")


def main():
    nginx()
    parameters()
    variables()
    blocks()
    channels()
    payd()
    payd_defaults()
    paybank()
    command_lines()
    samples()
    done()


main()
