# SPDX-License-Identifier: Apache-2.0
"""What the documentation names exists: commands, options, verdicts, files, links, JSON fields."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from scripts.guests.rows import rows
from scripts.pages.passages import PAGES as FILLED
from scripts.pages.texts import PASSAGES
from tests.unit.sink_rows import CONTEXT, closes, events
from tracetw.cli import main
from tracetw.event import record
from tracetw.event.record import Drop, EventKind, Timewait
from tracetw.kernel.capability import KERNEL_FACTS
from tracetw.lab.catalogue import BY_NAME
from tracetw.lab.expect.kernel import BEHAVIOURS
from tracetw.lab.incidents.catalogue import BY_NAME as INCIDENTS_BY_NAME
from tracetw.lab.vagrant import catalogue as machines
from tracetw.reconcile.compare import Reconciled
from tracetw.report.causes.kinds import KINDS
from tracetw.report.ends.disagreements import DISAGREEMENTS
from tracetw.report.incidents.kinds import KINDS as INCIDENTS
from tracetw.sink.json import JsonSink
from tracetw.stream.batch import Closes, Context, Events, Loss, NoRoom, Summary
from tracetw.stream.known import Known, PortListener
from tracetw.stream.subflows import Subflows
from tracetw.timewait.document import KIND
from tracetw.timewait.note import CODES as CODES_OF_NOTES
from tracetw.verdict.evidence import EVIDENCE
from tracetw.verdict.handbook import EVENTS
from tracetw.verdict.hints import HINT_BIT
from tracetw.verdict.missing import MISSING
from tracetw.verdict.taxonomy import CLOSED_BY, FORMS, LIMITS, RESET_DIRECTIONS, VERDICTS

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
# Written by scripts/bench, which needs a quiet machine and some time.
MEASURED = ROOT / "docs" / "performance.md"

NAMES_OF_MACHINES = {
    name
    for topology in json.loads((ROOT / "vagrant" / "machines.json").read_text(encoding="utf-8"))[
        "topologies"
    ].values()
    for name in topology
} | {row.name for row in rows()}
CODES = {verdict.code for verdict in VERDICTS}
PACKAGES = {"python3-bpfcc", "python3-bcc", "python3-venv", "python3-numpy", "python3-click"}
WORDS = (
    CODES
    | {*FORMS, *CLOSED_BY, *EVIDENCE, *MISSING, *HINT_BIT}
    | {value.name.lower().replace("_", "-") for kind in (Timewait, Drop) for value in kind}
    | PACKAGES
    | {*BY_NAME, *machines.BY_NAME, *NAMES_OF_MACHINES}
    | set(INCIDENTS_BY_NAME)
    | {disagreement.name for disagreement in DISAGREEMENTS}
    | {kind.name for kind in KINDS}
    | {*INCIDENTS}
    | {want.slug for want in KERNEL_FACTS}
    | set(BEHAVIOURS)
    | {KIND, *CODES_OF_NOTES}
)
FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PASSAGE = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
KEBAB = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)+")
FILE = re.compile(r"(?:bpf|docs|scripts|tests|tracetw|LICENSES)/[\w./-]+")
PLACEHOLDER = re.compile(r"[A-Z]{2}")
COMMAND = re.compile(r"(?:^|[ /])tracetw( .*)?$")

COMMON = "Every object"
EVENT_PARTS = ("transition", "retransmit", "timewait", "drop")


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def spans(page: Path) -> list[str]:
    """Code inside sentences."""
    return [" ".join(span.split()) for span in INLINE.findall(prose(page))]


def lines(page: Path) -> list[str]:
    """Lines of code."""
    return [
        line
        for block in FENCE.findall(page.read_text(encoding="utf-8"))
        for line in block.splitlines()
    ]


def invocations(page: Path) -> Iterator[list[str]]:
    """The words after ``tracetw`` of everything that looks like a call of it."""
    for text in [*spans(page), *lines(page)]:
        call = COMMAND.search(text.partition(" #")[0].rstrip())
        if call and not text.startswith(("#", "tracetw: ", "git ")):
            yield shlex.split(call[1] or "")


def options() -> set[str]:
    context = click.Context(main)
    commands = [main, *filter(None, (main.get_command(context, name) for name in named()))]
    return {
        name
        for command in commands
        for parameter in command.get_params(context)
        for name in (*parameter.opts, *parameter.secondary_opts)
    }


def named() -> list[str]:
    return main.list_commands(click.Context(main))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_are_understood(page: Path) -> None:
    for words in invocations(page):
        if not words or words[0].startswith("-"):
            assert set(words) <= options(), words
            continue
        command = main.get_command(click.Context(main), words[0])
        assert command is not None, f"there is no tracetw {words[0]}"
        context = command.make_context(words[0], words[1:])
        if isinstance(command, click.Group) and words[1:]:
            name, below, rest = command.resolve_command(context, words[1:])
            assert below is not None, f"there is no tracetw {words[0]} {name}"
            below.make_context(name, rest)


@pytest.mark.parametrize("page", [README, ROOT / "docs" / "json.md"], ids=lambda page: page.name)
def test_options_exist(page: Path) -> None:
    known = options() | {"--"}
    for span in spans(page):
        if span.startswith("-"):
            for word in re.split(r"[ /]", span):
                assert word in known or not word.startswith("-"), span


def test_every_command_and_option_is_in_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    for name in named():
        assert f"`tracetw {name}" in text
    trace = main.get_command(click.Context(main), "trace")
    assert trace is not None
    for parameter in trace.params:
        if isinstance(parameter, click.Option):
            assert any(name in text for name in parameter.opts), parameter.opts


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_codes_are_known(page: Path) -> None:
    if page == MEASURED:
        return  # it names the rows of the bench
    for span in spans(page):
        assert not KEBAB.fullmatch(span) or span in WORDS, f"`{span}` is no code of ours"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_files_exist(page: Path) -> None:
    for span in spans(page):
        if FILE.fullmatch(span) and not PLACEHOLDER.search(span):
            assert ROOT.joinpath(span).exists(), span


def anchors(page: Path) -> set[str]:
    """As GitHub makes them out of headings."""
    titles = HEADING.findall(prose(page))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if link.startswith(("http://", "https://")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.is_relative_to(ROOT), link
        assert target.exists() or target == MEASURED, link
        assert not anchor or anchor in anchors(target), link


def test_verdicts_are_generated() -> None:
    """The pages are what the handbook says, and the index has every verdict and event once, in order."""
    script = ROOT / "scripts" / "gen-verdicts"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    text = (ROOT / "docs" / "verdicts" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[`([a-z0-9-]+)`\]\(\1\.md\)", text, re.MULTILINE)
    assert listed == [*(v.code for v in VERDICTS), *(event.name for event in EVENTS)]


def test_scenarios_are_generated() -> None:
    """The page is what the catalogue says, and has every scenario once."""
    script = ROOT / "scripts" / "gen-scenarios"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    text = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z0-9-]+)`", text, re.MULTILINE) == [*BY_NAME, *machines.BY_NAME]


def test_passages_are_generated() -> None:
    """Numbers and lists of values are what the code has; each passage stands somewhere."""
    script = ROOT / "scripts" / "gen-passages"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    texts = [page.read_text(encoding="utf-8") for page in FILLED]
    assert {name for text in texts for name in PASSAGE.findall(text)} == PASSAGES.keys()
    assert all(text.count("<!-- generated: ") == text.count("<!-- end -->") for text in texts)


def test_the_glossary_is_short() -> None:
    """25 terms at most, each once, each in one sentence or two halves of one."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][
        1:
    ]
    terms = [row[0] for row in rows]
    assert len(terms) == len({*terms}) <= 25
    assert all(row[-1].endswith(".") and row[-1].count(". ") == 0 for row in rows)


def test_the_json_example_is_real() -> None:
    (block,) = re.findall(r"^```json\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    example = json.loads(block)
    assert tuple(example) == tuple(rendered(closes({}))[0])
    assert example["verdict"] in CODES


def reference() -> dict[str, list[str]]:
    """Heading of docs/json.md to the fields in its table."""
    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    parts = re.split(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {
        title: re.findall(r"^\| `([\w.\[\]]+)` \| [a-z]+ \| ", body, re.MULTILINE)
        for title, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def rendered(
    batch: Closes | Events | Loss | Summary, context: Context = CONTEXT
) -> list[dict[str, Any]]:
    out = io.BytesIO()
    sink = JsonSink(out, context)
    if isinstance(batch, Closes):
        sink.closes(batch)
    elif isinstance(batch, Events):
        sink.events(batch)
    elif isinstance(batch, Loss):
        sink.loss(batch)
    else:
        sink.summary(batch)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def in_order(documents: list[dict[str, Any]]) -> list[str]:
    """Fields of objects that differ in what is null: as many as there are."""
    top = list(documents[0])
    found = dict.fromkeys(name for document in documents for name in named_in(document))
    return sorted(found, key=lambda name: top.index(re.split(r"[.\[]", name)[0]))


def named_in(document: dict[str, Any]) -> Iterator[str]:
    kind = document["kind"]
    for name, value in document.items():
        yield name
        if (kind, name) != ("summary", "closes"):
            yield from inside(name, value)


def inside(name: str, value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for inner, part in value.items():
            yield f"{name}.{inner}"
            yield from inside(f"{name}.{inner}", part)
    elif isinstance(value, list):
        yield from dict.fromkeys(found for item in value for found in inside(f"{name}[]", item))


def test_every_field_of_a_close_is_described() -> None:
    received = RESET_DIRECTIONS.index("received")
    documents = rendered(
        closes(
            {"flags": record.F_ADDR | record.F_EXITING, "exit_code": 0x300},
            {"flags": record.F_ADDR | record.F_EXITING, "exit_code": 0x8B},
            {"limit": LIMITS.index("tcp_retries2"), "reset_direction": received, "refused": 1},
        )
    )
    documents[:0] = of_mptcp()
    pages = reference()
    assert in_order(documents) == pages[COMMON] + pages["close"]


def of_mptcp() -> list[dict[str, Any]]:
    """A connection of MPTCP with its subflow, and a subflow on its own, of a listener that is known."""
    connection, subflow = record.MP_CONNECTION, record.MP_SUBFLOW
    mptcp = {"layer": record.Layer.MPTCP, "mptcp_conn": 1, "at": range(1, 8)}
    mptcp["flags"] = record.F_ADDR | record.F_SERVER
    batch = closes(
        {**mptcp, "mptcp_flags": connection}, {**mptcp, "mptcp_flags": subflow | record.MP_WENT_ON}
    )
    known = Known()
    known.tell([PortListener(int(batch.rows["netns"][0]), int(batch.rows["lport"][0]), "nginx")])
    return rendered(Subflows().together(batch), replace(CONTEXT, known=known))


@pytest.mark.parametrize("kind", EVENT_PARTS)
def test_every_field_of_an_event_is_described(kind: str) -> None:
    documents = rendered(events({"kind": EventKind[kind.upper()], "code": 1, "from": 1, "to": 4}))
    pages = reference()
    assert in_order(documents) == pages[COMMON] + pages["Events"] + pages[kind]


def test_every_field_of_loss_and_summary_is_described() -> None:
    row = Reconciled(counter="TW", kernel=1, explained=1, difference=0, reason=None)
    pages = reference()
    assert in_order(rendered(Loss(3, "ring", 0, 1))) == pages[COMMON] + pages["loss"]
    summary = Summary(0, 1.0, {"orderly": 1}, 0, [row], no_room=NoRoom())
    assert in_order(rendered(summary)) == pages[COMMON] + pages["summary"]
