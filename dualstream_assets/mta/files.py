"""Text of Postfix's own files: our blocks in them, their services, one option of a service. Pure text, no Postfix.

master.cf(5): a line that begins with white space continues the one before; a line whose first other character is `#`
is a comment anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from dualstream_assets.mta.names import Rendered

STOCK_MASTER = "smtp inet n - n - - smtpd\npickup unix n - n 60 1 pickup\n"
"""The services of others that rendering touches: what a folder without a master.cf (the lab) begins with."""


@dataclass(frozen=True)
class Entry:
    """One service of a master.cf.

    Attributes:
        name, kind: `127.0.0.1:2526`, `inet`.
        command: `smtpd`.
        options: parameter -> value of each `-o`.
        first, last: its lines, counted from 0, comments between options included.
    """

    name: str
    kind: str
    command: str
    options: dict[str, str]
    first: int
    last: int

    @property
    def service(self) -> str:
        """As `postconf -P` names it: `pickup/unix`."""
        return f"{self.name}/{self.kind}"


def begin_mark(name: str) -> str:
    """First line of a block of ours in a file that is not ours."""
    return f"# >>> dualstream {name}: rendered, do not edit; see `dualstream mta plan`"


def end_mark(name: str) -> str:
    """Last line of that block."""
    return f"# <<< dualstream {name}"


def block_of(text: str, name: str) -> str | None:
    """The block's lines without its marks; None if the file has none."""
    begin, end = f"{begin_mark(name)}\n", f"{end_mark(name)}\n"
    _, found, rest = text.partition(begin)
    body, closed, _ = rest.partition(end)
    return body if found and closed else None


def with_block(text: str, name: str, body: str) -> str:
    """The file with this block in place of its old form, or at the end."""
    new = f"{begin_mark(name)}\n{body}{end_mark(name)}\n"
    old = block_of(text, name)
    if old is not None:
        return text.replace(f"{begin_mark(name)}\n{old}{end_mark(name)}\n", new)
    return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{new}"


def entries(master: str) -> Iterator[Entry]:
    """The services of a master.cf, in order."""
    start, words, last = -1, "", -1
    for number, line in enumerate([*master.splitlines(), "end"]):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace() and start >= 0:
            words, last = f"{words} {line.strip()}", number
            continue
        if start >= 0:
            yield _entry(words, start, last)
        start, words, last = number, line, number


def _entry(words: str, first: int, last: int) -> Entry:
    fields = words.split(None, 8)
    name, kind, command = (*fields[:2], *fields[7:8], "", "")[:3]
    return Entry(name, kind, command, dict(_options(fields[8] if len(fields) > 8 else "")), first, last)  # noqa: PLR2004


def _options(arguments: str) -> Iterator[tuple[str, str]]:
    """`-o name=value` and `-o { name = value }`; braces nest."""
    for found in re.finditer(r"-o\s+(?:([^\s{=]+)=(\S*)|(\{))", arguments):
        if found[3]:
            depth, end = 1, found.end()
            while end < len(arguments) and depth:
                depth += {"{": 1, "}": -1}.get(arguments[end], 0)
                end += 1
            name, _, value = arguments[found.end() : end - 1].partition("=")
            yield name.strip(), " ".join(value.split())
        else:
            yield found[1], found[2]


def without_foreign(master: str, ours: Iterable[Entry]) -> str:
    """The file without older forms of our services outside our blocks: the same name, or a listener on our port."""
    lines = master.splitlines(keepends=True)
    inside = _inside_blocks(lines)
    wanted = {_identity(entry) for entry in ours}
    gone: set[int] = set()
    for entry in entries(master):
        if _identity(entry) in wanted and entry.first not in inside:
            gone |= set(range(entry.first, entry.last + 1))
    return "".join(line for number, line in enumerate(lines) if number not in gone)


def _identity(entry: Entry) -> tuple[str, str]:
    """What two services cannot share: a listener's port, else the name."""
    return entry.kind, entry.name.rpartition(":")[2] if entry.kind == "inet" else entry.name


def _inside_blocks(lines: list[str]) -> set[int]:
    found, inside = set(), False
    for number, line in enumerate(lines):
        inside = inside or line.startswith("# >>> dualstream ")
        if inside:
            found.add(number)
        inside = inside and not line.startswith("# <<< dualstream ")
    return found


def with_option(master: str, service: str, parameter: str, value: str) -> str:
    """The file with one option of a service set: in place where it is, else as its last line.

    Raises:
        LookupError: there is no such service.
    """
    entry = next((e for e in entries(master) if e.service == service), None)
    if entry is None:
        raise LookupError(f"master.cf has no service {service}")
    if entry.options.get(parameter) == value:
        return master
    setting = f"{{ {parameter} = {value} }}" if " " in value else f"{parameter}={value}"
    lines = master.splitlines(keepends=True)
    own = [
        line
        for line in lines[entry.first : entry.last + 1]
        if not re.match(rf"\s+-o\s+\{{?\s*{re.escape(parameter)}\s*=", line)
    ]
    if not own[-1].endswith("\n"):
        own[-1] += "\n"
    own.append(f"    -o {setting}\n")
    return "".join([*lines[: entry.first], *own, *lines[entry.last + 1 :]])


def desired(rendered: Rendered, read: Callable[[str], str | None]) -> dict[str, tuple[str | None, str]]:
    """Path -> (text as found, text as it shall be), in the order of the render.

    Args:
        read: the text of a path; None where there is no such file.

    Raises:
        LookupError: a service of others that we must set an option on is not there.
    """
    found: dict[str, tuple[str | None, str]] = {}
    for place, text in rendered.items():
        path, block, option = _split(place)
        before, after = found.get(path) or _as_found(path, read(path))
        if block:
            services = list(entries(text)) if path.endswith("/master.cf") else []
            after = with_block(without_foreign(after, services), block, text)
        elif option:
            service, _, parameter = option.rpartition("/")
            after = with_option(after, service, parameter, text.rstrip("\n"))
        else:
            after = text
        found[path] = (before, after)
    return found


def _as_found(path: str, text: str | None) -> tuple[str | None, str]:
    if text is None and path.endswith("/master.cf"):
        return None, STOCK_MASTER
    return text, text or ""


def _split(place: str) -> tuple[str, str, str]:
    """A place as (path, block, option of a service)."""
    path, _, block = place.partition("#")
    path, _, option = path.partition("!")
    return path, block, option
