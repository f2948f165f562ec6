# SPDX-License-Identifier: Apache-2.0
"""What an entry of the handbook says. Texts are ASCII; code of more than one word is in backticks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Folklore:
    """Something that is believed, and what today's Linux does instead, with where it does it."""

    believed: str
    fact: str


@dataclass(frozen=True, slots=True)
class Question:
    """One step towards the cause of an end.

    Attributes:
        ask: a question that a command, a log or a field of the line answers with yes or no.
        yes: the cause, and what to do about it.
        no: the same for the other answer; empty: ask the next question.
    """

    ask: str
    yes: str
    no: str = ""


@dataclass(frozen=True, slots=True)
class OnCall:
    """What an engineer on call needs to know of a verdict or an event.

    Attributes:
        shown_by: the lab's scenario in which one end gets this verdict or has this event.
        causes: questions in the order in which to ask them; the last one decides.
        settings: settings with values and what they cost, one sentence or two each.
        sure: what the kernel shows, what tracetw concludes, and when the end is undetermined.
        now: commands and first steps, after the advice of the taxonomy.
        folklore: what people get wrong about it.
    """

    shown_by: str
    causes: tuple[Question, ...]
    settings: tuple[str, ...]
    sure: str
    now: tuple[str, ...] = ()
    folklore: tuple[Folklore, ...] = ()


@dataclass(frozen=True, slots=True)
class EventEntry:
    """A ``timewait`` or ``drop`` event.

    Attributes:
        name: as in the output.
        meaning, mechanism, advice: as of a verdict.
        entry: the rest.
    """

    name: str
    meaning: str
    mechanism: str
    advice: str
    entry: OnCall


@dataclass(frozen=True, slots=True)
class Choice:
    """A question that decides between the verdicts a symptom may have.

    Attributes:
        ask: the question.
        then: what a yes means: a verdict, an event or an action.
        see: beginning of the ``seen`` of the row to go on with, if a yes leads there.
    """

    ask: str
    then: str
    see: str = ""


@dataclass(frozen=True, slots=True)
class Symptom:
    """What somebody sees who has no verdict yet, and the questions that lead to one."""

    seen: str
    choices: tuple[Choice, ...]
