"""Changes configuration in nginx's syntax.

The samples in lua-free-conf/ are the one source: a private stack reads a sample, moves its paths and
addresses into its own folder, overrides what a test wants, and writes the result. So every test
also tests the samples.

    conf = Conf.read("lua-free-conf/payd.conf")
    conf.move({"run/": "/tmp/x/", "secrets/": "/tmp/x/secrets/"})
    conf.set("timers > poll", "20ms")
    conf.set("location /v1/ > pay_guard", "app=5r/s burst=1")
    conf.repeat("process order0", {"order0": "order1"})
    conf.write("/tmp/x/payd.conf")
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

TOKEN = re.compile(r"""
    (?P<space>\s+) | (?P<comment>\#[^\n]*) | (?P<mark>[{};])
  | (?P<word>"(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | (?:\$\{\w+\}|\\.|[^\s{};])+)
""", re.X | re.S)


@dataclass
class Directive:
    """`words;` or `words { block }`; a comment has one word that starts with #."""
    words: list[str]
    block: list["Directive"] | None = None
    note: str = ""  # comment behind it on the same line

    def matches(self, words: list[str]) -> bool:
        return self.words[:len(words)] == words

    def copy(self, changes: dict[str, str]) -> "Directive":
        def change(word: str) -> str:
            for old, new in changes.items():
                word = word.replace(old, new)
            return word
        block = None if self.block is None else [d.copy(changes) for d in self.block]
        return Directive([change(w) for w in self.words], block, self.note)

    def text(self, depth: int = 0) -> str:
        indent = "    " * depth
        if self.words[0].startswith("#"):
            return f"{indent}{self.words[0]}\n"
        line = indent + " ".join(self.words)
        note = f"  {self.note}\n" if self.note else "\n"
        if self.block is None:
            return line + ";" + note
        return line + " {" + note + "".join(d.text(depth + 1) for d in self.block) + indent + "}\n"


class Conf:
    def __init__(self, block: list[Directive]):
        self.block = block

    @classmethod
    def read(cls, path: Path | str) -> "Conf":
        return cls.parse(Path(path).read_text())

    @classmethod
    def parse(cls, text: str) -> "Conf":
        stack: list[list[Directive]] = [[]]
        words: list[str] = []
        last: Directive | None = None  # and where it ended, for the comment behind it
        end = 0
        for match in TOKEN.finditer(text):
            kind, token = match.lastgroup, match.group()
            if kind == "word":
                words.append(token)
            elif kind == "comment" and not words:
                if last and "\n" not in text[end:match.start()]:
                    last.note = token
                else:
                    stack[-1].append(Directive([token]))
            elif token == "{":
                last, words, end = Directive(words, []), [], match.end()
                stack[-1].append(last)
                stack.append(last.block)
            elif token == ";":
                last, words, end = Directive(words), [], match.end()
                stack[-1].append(last)
            elif token == "}":
                last = None
                stack.pop()
        if words or len(stack) != 1:
            raise ValueError(f"unfinished configuration near {words}")
        return cls(stack[0])

    def write(self, path: Path | str) -> None:
        Path(path).write_text("".join(d.text() for d in self.block))

    def walk(self, block: list[Directive] | None = None) -> Iterator[tuple[list[Directive], Directive]]:
        """Every directive with the block it stands in."""
        block = self.block if block is None else block
        for directive in list(block):
            yield block, directive
            if directive.block is not None:
                yield from self.walk(directive.block)

    def all(self, *words: str) -> list[Directive]:
        """Every directive, anywhere, that begins with these words."""
        return [d for _, d in self.walk() if d.matches(list(words))]

    def move(self, prefixes: dict[str, str]) -> None:
        """Replaces path prefixes where a path begins: at a word's start, behind `=`, `:` or a quote."""
        pattern = re.compile("(^|[=:\"'])(%s)" % "|".join(map(re.escape, sorted(prefixes, key=len, reverse=True))))
        for _, directive in self.walk():
            if not directive.words[0].startswith("#"):
                directive.words[1:] = [pattern.sub(lambda m: m[1] + prefixes[m[2]], w)
                                       for w in directive.words[1:]]

    def set(self, path: str, value: str | None) -> None:
        """`block words > directive`: gives the directive this value, adds it, or (None) removes it.

        The outermost block is searched everywhere, the others among its children.
        """
        *outer, name = [p.split() for p in path.split(" > ")]
        block = self._block(outer)
        found = [d for d in block if d.matches(name)]
        if value is None:
            block[:] = [d for d in block if d not in found]
            return
        new = Directive(Conf.parse(f"{' '.join(name)} {value};").block[0].words)
        if found:
            found[0].words = new.words
        else:
            block.append(new)

    def repeat(self, path: str, changes: dict[str, str]) -> None:
        """Puts a copy of a directive behind it, with these pieces of text replaced."""
        *outer, words = [p.split() for p in path.split(" > ")]
        for block, directive in self.walk(self._block(outer)):
            if directive.matches(words):
                block.insert(block.index(directive) + 1, directive.copy(changes))
                return
        raise KeyError(f"no `{path}`")

    def _block(self, outer: list[list[str]]) -> list[Directive]:
        block = self.block
        for depth, words in enumerate(outer):
            places = self.walk() if depth == 0 else ((block, d) for d in block)
            for _, directive in places:
                if directive.block is not None and directive.matches(words):
                    block = directive.block
                    break
            else:
                raise KeyError(f"no block `{' '.join(words)}`")
        return block
