"""A strict reader of Prometheus' text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats), with
what `promtool check metrics` calls a mistake: nothing is guessed, every odd line is an error."""
from __future__ import annotations

import re
from dataclasses import dataclass, field

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? ([+-]?(?:[0-9]+(?:\.[0-9]+)?|Inf)|NaN)")
HEAD = re.compile(rf"# (HELP|TYPE) ({NAME}) (.+)")
TYPES = ("counter", "gauge", "histogram")
ENDINGS = ("_bucket", "_sum", "_count")
UNITS = ("_ms", "_milliseconds", "_minutes", "_kb", "_mb", "_percent")


class Invalid(Exception):
    pass


@dataclass
class Family:
    name: str
    type: str = ""
    help: str = ""
    samples: dict[tuple[str, ...], float] = field(default_factory=dict)  # (name, 'label="value"', ...) in order

    def labels(self) -> list[str]:
        """Names of the labels, but for a histogram's le."""
        return sorted({label.partition("=")[0] for key in self.samples for label in key[1:]} - {"le"})


def need(condition: object, why: str, line: str) -> None:
    if not condition:
        raise Invalid(f"{why}: {line}")


def parse(text: str) -> dict[str, Family]:
    """Families by name, in their order. Raises Invalid."""
    need(text.endswith("\n"), "no newline at the end", text[-80:])
    families: dict[str, Family] = {}
    last: Family | None = None
    for line in text[:-1].split("\n"):
        if head := HEAD.fullmatch(line):
            last = begin(families, last, head, line)
        else:
            need(not line.startswith("#"), "neither HELP nor TYPE", line)
            sample(last, line)
    for family in families.values():
        check(family)
    return families


def begin(families: dict[str, Family], last: Family | None, head: re.Match, line: str) -> Family:
    what, name, value = head.groups()
    if name not in families:
        families[name] = Family(name)
    else:
        need(last is families[name], "a family in two places", line)
    family = families[name]
    need(not family.samples, "after a sample", line)
    need(not (family.help if what == "HELP" else family.type), "twice", line)
    if what == "HELP":
        family.help = value
    else:
        need(value in TYPES, "unknown type", line)
        family.type = value
    return family


def sample(family: Family | None, line: str) -> None:
    match = SAMPLE.fullmatch(line)
    need(match, "not a sample", line)
    name, labels, value = match.groups()
    need(family and family.type, "a sample without TYPE", line)
    names = [family.name + e for e in ENDINGS] if family.type == "histogram" else [family.name]
    need(name in names, f"not of {family.name}", line)
    parts = re.findall(LABEL, labels or "")
    keys = [p.partition("=")[0] for p in parts]
    need(len(set(keys)) == len(keys), "a label twice", line)
    key = (name, *parts)
    need(key not in family.samples, "a sample twice", line)
    need(family.type == "gauge" or not value.startswith("-") and value != "NaN", "negative", line)
    family.samples[key] = float(value.replace("Inf", "inf"))


def check(family: Family) -> None:
    need(family.help and family.type, "HELP or TYPE lacks", family.name)
    need(family.type == "counter" or not family.name.endswith("_total"), "_total, but no counter", family.name)
    need(family.type != "counter" or family.name.endswith("_total"), "a counter without _total", family.name)
    need(not family.name.endswith(ENDINGS), "reserved ending", family.name)
    need(not any(u in family.name for u in UNITS), "not a base unit", family.name)
    if family.type == "histogram":
        histogram(family)


def histogram(family: Family) -> None:
    """Every series: buckets rise by le, end with +Inf, which is the count; there is a sum."""
    series: dict[tuple, list[tuple[float, float]]] = {}
    for (name, *labels), value in family.samples.items():
        rest = tuple(x for x in labels if not x.startswith("le="))
        le = [x for x in labels if x.startswith("le=")]
        need(len(le) == name.endswith("_bucket"), "le", f"{name} {labels}")
        if le:
            series.setdefault(rest, []).append((float(le[0][4:-1].replace("Inf", "inf")), value))
    for rest, buckets in series.items():
        need(buckets == sorted(buckets), "buckets are not in order", f"{family.name} {rest}")
        need(len({b for b, _ in buckets}) == len(buckets), "a bound twice", f"{family.name} {rest}")
        need([v for _, v in buckets] == sorted(v for _, v in buckets), "not cumulative", f"{family.name} {rest}")
        need(buckets[-1][0] == float("inf"), "no +Inf", f"{family.name} {rest}")
        need(family.samples.get((family.name + "_count", *rest)) == buckets[-1][1], "count is not +Inf's",
             f"{family.name} {rest}")
        need((family.name + "_sum", *rest) in family.samples, "no sum", f"{family.name} {rest}")


def flat(families: dict[str, Family]) -> dict[str, float]:
    """{name{labels}: value}, as the lines have it."""
    return {key[0] + (f"{{{','.join(key[1:])}}}" if key[1:] else ""): value
            for family in families.values() for key, value in family.samples.items()}
