# SPDX-License-Identifier: Apache-2.0
"""The tables are complete and agree: verdicts, rules, evidence, sentences."""

from __future__ import annotations

import errno
import inspect
import json

import numpy as np
import pytest

from tests.unit.test_verdict_judge import CASES, NAMES, Values, row
from tests.unit.test_verdict_timeouts import TIMEOUTS
from tracetw.cli.explain import command
from tracetw.errors import BadInput
from tracetw.event import record
from tracetw.verdict import outcome
from tracetw.verdict.evidence import EVIDENCE, EVIDENCE_BIT, evidence_names
from tracetw.verdict.explain import _VARIANTS, _places, plan, sentences, template
from tracetw.verdict.facts import FACTS
from tracetw.verdict.handbook import EVENTS as EVENT_PAGES
from tracetw.verdict.handbook import HANDBOOK, HEADINGS
from tracetw.verdict.judge import judge
from tracetw.verdict.missing import MISSING
from tracetw.verdict.rules import RULES, Rule
from tracetw.verdict.sentences import SENTENCES
from tracetw.verdict.signature import KnownFacts, signatures
from tracetw.verdict.taxonomy import CLOSED_BY, VERDICT_INDEX, VERDICTS

CODES = [verdict.code for verdict in VERDICTS]
EVENTS = [event.name for event in EVENT_PAGES]
ALL = {**CASES, **TIMEOUTS}


@pytest.mark.parametrize("code", CODES)
def test_a_verdict_is_complete(code: str) -> None:
    verdict = VERDICTS[VERDICT_INDEX[code]]
    for text in (verdict.meaning, verdict.advice):
        assert text.endswith(".")
        assert text.isascii()
    assert verdict.mechanism
    assert verdict.seen_by
    assert {name for group in verdict.requires for name in group} <= EVIDENCE.keys()
    assert any(rule.verdict == code for rule in RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.verdict}:{'+'.join(rule.needs)}")
def test_a_rule_proves_what_its_verdict_requires(rule: Rule) -> None:
    groups = VERDICTS[VERDICT_INDEX[rule.verdict]].requires
    assert any(set(group) <= set(rule.needs) for group in groups)
    assert (rule.verdict == "undetermined") == bool(rule.missing)


def test_every_fact_is_used() -> None:
    used = {name for rule in RULES for name in (*rule.needs, *rule.also)}
    assert EVIDENCE.keys() - used - set(outcome._OWN_DOING) == set()
    assert MISSING.keys() == {rule.missing for rule in RULES if rule.missing}


def test_every_fact_is_known_and_asked_for() -> None:
    words = np.arange(5, dtype=np.uint64)
    known = KnownFacts(words)
    asked = {name for rule in RULES for name in (*rule.needs, *rule.unless, *rule.also)}
    for fact in FACTS:
        assert known[fact.name].shape == words.shape
        if isinstance(fact.how, str):
            asked |= set(fact.how.replace("!", "").replace("|", "").split())
    judged = inspect.getsource(outcome)
    assert [f.name for f in FACTS if f.name not in asked and f'"{f.name}"' not in judged] == []


@pytest.mark.parametrize(
    ("field", "ordinary"),
    [("end", 1), ("old_state", 1), ("err", errno.EIO), ("reset_reason", 99)],
)
def test_a_number_that_no_kernel_has_is_as_one_that_no_rule_asks_for(
    field: str, ordinary: int
) -> None:
    """As a forged recording may hold it."""
    rows = row({"flags": record.F_RST_REASON}).repeat(3)
    rows[field] = ordinary, 200, 255
    assert len(np.unique(signatures(rows, NAMES, None))) == 1


def test_evidence_fits_its_mask() -> None:
    assert len(EVIDENCE) <= 64
    assert len(MISSING) <= 32
    names = tuple(EVIDENCE)
    assert evidence_names(sum(EVIDENCE_BIT.values())) == names


@pytest.mark.parametrize("code", CODES)
def test_a_sentence_fits_always(code: str) -> None:
    own = [sentence for sentence in SENTENCES if sentence.verdict == code]
    if code == "undetermined":
        assert {f"missing-{name}" for name in MISSING} == {name for s in own for name in s.when}
    else:
        assert own[-1].when == ()


def test_sentences_are_plain() -> None:
    for number, sentence in enumerate(SENTENCES):
        variants = 1
        for alternatives, _ in _places(number):
            variants *= len(alternatives)
        assert variants <= _VARIANTS, sentence.text
        for variant in range(variants):
            made = template(number * _VARIANTS + variant)
            assert made.form.isascii()
            assert json.dumps(made.form) == f'"{made.form}"'
            assert "{" not in made.form
            assert made.form[0].isupper() or made.form[0] in "%c"
            assert made.form.endswith(".")
            assert made.form.count("%") == len(made.columns)


SAID: list[tuple[str, Values, str]] = [
    (
        "unread",
        {"rcv_nxt": 9096},
        "The application closed with 4096 bytes unread, so the kernel aborted with RST instead of FIN.",
    ),
    (
        "unread",
        {"rcv_nxt": 5001},
        "The application closed with 1 byte unread, so the kernel aborted with RST instead of FIN.",
    ),
    (
        "FIN lost",
        {
            "retransmits": 5,
            "sysctl_orphan_retries": 2,
            "retrans_stamp": 1_000_000,
            "at": [0, 0, 0, 3400],
        },
        (
            "Our FIN stayed unacknowledged: retransmitted 5 times over 3.4 s until tcp_orphan_retries (2) "
            "ran out."
        ),
    ),
    (
        "keepalive",
        {"keepalive_probes": 2},
        "2 keepalive probes stayed unanswered after 3.0 s of silence until TCP_KEEPCNT (2) ran out.",
    ),
    (
        "user timeout",
        {},
        "100 bytes of ours stayed unacknowledged until TCP_USER_TIMEOUT (1500 ms) ran out.",
    ),
    (
        "no route",
        {},
        "An ICMP error or the routes of this host gave EHOSTUNREACH, and 5 retransmission timeouts brought no ACK.",
    ),
    (
        "peer reset after its FIN",
        {},
        "The peer's FIN had come; then a RST, with 100 bytes of ours unacknowledged.",
    ),
    (
        "fin-4 active",
        {},
        "The application closed first; the peer acknowledged our FIN and sent its own 0.3 s later.",
    ),
]


@pytest.mark.parametrize(("name", "more", "text"), SAID, ids=[text[:40] for _, _, text in SAID])
def test_sentence(name: str, more: Values, text: str) -> None:
    rows = row({**ALL[name][0], **more})
    assert sentences(rows, judge(rows, NAMES, lossy=False), NAMES) == [text]


def test_a_batch_says_what_each_row_says() -> None:
    rows = np.concatenate([row(values) for values, _, _ in ALL.values()])
    findings = judge(rows, NAMES, lossy=False)
    alone = [
        sentences(rows[at : at + 1], findings.take(np.array([at])), NAMES)[0]
        for at in range(len(rows))
    ]
    assert sentences(rows, findings, NAMES) == alone
    why = plan(rows, findings, NAMES)
    assert all(len(column) == len(rows) for column in why.columns.values())
    assert plan(rows[:0], findings.take(np.arange(0)), NAMES).columns == {}


def test_who_is_in_the_order_of_closed_by() -> None:
    assert CLOSED_BY[:4] == ("app", "process-exit", "process-crash", "oom-kill")


@pytest.mark.parametrize("code", CODES)
def test_explain(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    command.main([code], standalone_mode=False)
    page = capsys.readouterr().out
    assert page.startswith(code)
    for part in (*HEADINGS, "how sure", "see it"):
        assert part in page
    assert ("Folklore" in page) == bool(HANDBOOK[code].folklore)
    assert max(len(line) for line in page.splitlines()) <= 80
    assert "`" not in page


@pytest.mark.parametrize("name", EVENTS)
def test_explain_an_event(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command.main([name], standalone_mode=False)
    page = capsys.readouterr().out
    assert page.startswith(f"{name} (event)")
    assert "tracetw lab run" in page
    assert max(len(line) for line in page.splitlines()) <= 80
    assert not set("`[") & set(page)


def test_explain_lists(capsys: pytest.CaptureFixture[str]) -> None:
    command.main([], standalone_mode=False)
    page = capsys.readouterr().out
    assert all(code in page for code in (*CODES, *EVENTS))


def test_explain_refuses_the_unknown() -> None:
    with pytest.raises(BadInput, match=r"'abort-unred'; did you mean abort-unread\?"):
        command.main(["abort-unred"], standalone_mode=False)
