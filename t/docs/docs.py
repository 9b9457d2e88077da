"""What the documentation tests share: the programs' own lists, tables of C sources, Markdown, JSON Schema."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Iterator

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "demo"), str(ROOT / "t/lib")]
BUILD = ROOT / os.environ.get("PAY_BUILD", "build")
DOCS = ROOT / "docs"


def source(path: str) -> str:
    return (ROOT / path).read_text()


def sources(pattern: str) -> str:
    return "\n".join(p.read_text() for p in sorted(ROOT.glob(pattern)))


def program(name: str, *args: str) -> str:
    """What a program prints about itself."""
    done = subprocess.run([str(BUILD / name), *args], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name} {' '.join(args)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


# ---- C tables ----

def c_table(text: str, name: str) -> list[list[str]]:
    """Rows of `name[] = { {a, b, ...}, ... };`, each as its initialisers; adjacent strings are joined."""
    body = re.search(rf"\b{name}\[\] = \{{(.*?)\n\}};", text, re.S)
    if not body:
        raise KeyError(f"no table {name}")
    rows = re.findall(r"\{((?:[^{}\"]|\"(?:\\.|[^\"\\])*\")*)\}", body[1])
    return [fields(row) for row in rows if '"' in row]


def fields(row: str) -> list[str]:
    parts = [[]]
    for token in re.findall(r'"(?:\\.|[^"\\])*"|,|[^,"\s][^,"]*', row):
        if token == ",":
            parts.append([])
        else:
            parts[-1].append(token[1:-1] if token.startswith('"') else token.strip())
    return ["".join(p) for p in parts]


def problems() -> dict[str, int]:
    """code -> status, in the order of core/problem.h."""
    return {code: int(status) for code, status in
            re.findall(r"X\((\w+), (\d{3}), \"", source("core/problem.h"))}


# ---- Markdown ----

def sections(text: str) -> dict[str, str]:
    """Title -> what stands under it, up to the next title of any level; code is no title."""
    parts: dict[str, list[str]] = {"": []}
    title, code = "", False
    for line in text.splitlines():
        code ^= line.startswith("```")
        if not code and (match := re.match(r"#+ (.*)", line)):
            title = match[1]
            parts[title] = []
        else:
            parts[title].append(line)
    return {t: "\n".join(lines) for t, lines in parts.items()}


def cells(line: str) -> list[str]:
    return [c.strip().replace(r"\|", "|") for c in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def tables(text: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Every table: heads and rows."""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if line.startswith("|") and i + 1 < len(lines) and re.match(r"\|[\s:|-]+\|$", lines[i + 1]):
            rows = []
            for row in lines[i + 2:]:
                if not row.startswith("|"):
                    break
                rows.append(cells(row))
            yield cells(line), rows


def table(text: str, *heads: str) -> list[dict[str, str]]:
    """Rows of every table that has these heads; `code` marks are taken off."""
    return [{h: v.strip("`") if v.count("`") == 2 else v for h, v in zip(found, row)}
            for found, rows in tables(text) if set(heads) <= set(found) for row in rows]


def fences(text: str) -> list[tuple[str, str]]:
    """(info, content) of every fenced block."""
    return re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.S | re.M)


def examples(name: str) -> list[tuple[str, str]]:
    """(commands, output shown) of the document's blocks that a test runs."""
    blocks = fences((DOCS / name).read_text())
    return [(content, blocks[i + 1][1] if i + 1 < len(blocks) and blocks[i + 1][0] == "text" else "")
            for i, (info, content) in enumerate(blocks) if info == "sh test"]


def pattern(shown: str) -> str:
    """As a regular expression: … stands for anything."""
    return ".*?".join(map(re.escape, shown.strip().split("…")))


def looks_like_etc(folder: Path, stack) -> None:
    """Links under the names that the installed files have."""
    (folder / "run").mkdir()
    (folder / "bin").mkdir()
    for name in ("payd", "payctl"):
        (folder / "bin" / name).symlink_to(BUILD / name)
    (folder / "bin/nginx").symlink_to(stack._static_nginx() or "/usr/sbin/nginx")
    for name in ("nginx.conf", "payd.conf", "channels"):
        (folder / name).symlink_to(stack.conf / name)
    (folder / "secrets").symlink_to(stack.secrets)
    (folder / "log").symlink_to(stack.log)
    (folder / "run/log").symlink_to(stack.log)
    (folder / "run/nginx.pid").symlink_to(stack.folder / "nginx.pid")
    for socket in stack.sockets.glob("*.sock"):
        (folder / "run" / socket.name).symlink_to(socket)


# ---- JSON Schema: as much of it as openapi.yaml uses ----

TYPES = {"object": dict, "array": list, "string": str, "integer": int}
KNOWN = {"type", "required", "properties", "additionalProperties", "items", "enum", "const", "pattern", "format",
         "minLength", "maxLength", "minimum", "maximum", "description", "$ref"}


def resolve(document: dict, schema: dict) -> dict:
    while "$ref" in schema:
        target: Any = document
        for key in schema["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        schema = target
    return schema


def mismatches(document: dict, schema: dict, value: Any, at: str = "") -> list[str]:
    """What is wrong with the value; empty when it conforms."""
    schema = resolve(document, schema)
    unknown = [k for k in schema if k not in KNOWN and not k.startswith("x-")]
    if unknown:
        return [f"{at}: the schema has {unknown}, which is not checked here"]
    kind = TYPES.get(schema.get("type", ""))
    if kind and (not isinstance(value, kind) or isinstance(value, bool)):
        return [f"{at}: {value!r} is no {schema['type']}"]
    wrong = list(scalar_mismatches(schema, value, at))
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        wrong += [f"{at}/{name}: missing" for name in schema.get("required", []) if name not in value]
        for name, member in value.items():
            if name in properties:
                wrong += mismatches(document, properties[name], member, f"{at}/{name}")
            elif schema.get("additionalProperties") is False:
                wrong.append(f"{at}/{name}: unknown")
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            wrong += mismatches(document, schema["items"], item, f"{at}/{i}")
    return wrong


def scalar_mismatches(schema: dict, value: Any, at: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{at}: {value!r} is not {schema['const']!r}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{at}: {value!r} does not match {schema['pattern']}"
    if schema.get("format") == "date-time" and datetime.fromisoformat(value).tzinfo is None:
        yield f"{at}: {value!r} has no offset"
    if not schema.get("minLength", 0) <= (len(value) if isinstance(value, str) else 0) <= schema.get("maxLength", 1 << 30) \
            and isinstance(value, str):
        yield f"{at}: length of {value!r}"
    if isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{at}: {value} is out of range"


def undeclared(document: dict, schema: dict, value: Any, at: str = "") -> list[str]:
    """Members of an answer that the schema does not name: documented is what is sent."""
    schema, found = resolve(document, schema), []
    if isinstance(value, dict):
        for name, member in value.items():
            inner = schema.get("properties", {}).get(name)
            found += [f"{at}/{name}"] if inner is None else undeclared(document, inner, member, f"{at}/{name}")
    if isinstance(value, list):
        for i, item in enumerate(value):
            found += undeclared(document, schema.get("items", {}), item, f"{at}/{i}")
    return found
