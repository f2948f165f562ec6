# SPDX-License-Identifier: Apache-2.0
"""What a row of ``facts.FACTS`` says: a fact, the way in which it is known, and its sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tracetw.verdict.records import Records


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag of the record, F_*."""

    flag: int


@dataclass(frozen=True, slots=True)
class Read:
    """A comparison of columns: a bit of the signature."""

    holds: Callable[[Records], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Is:
    """A number is one of these.

    Attributes:
        number: the attribute of :class:`Records`.
        values: a text is a name of ``enum sk_rst_reason``. No two facts have one value of a number.
    """

    number: Literal["state", "end", "error", "reason", "kind"]
    values: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class FactRow:
    """A row of ``FACTS``.

    Attributes:
        name: in rules, findings, JSON and SQL.
        how: the way in which it is known; a text: from which other facts it follows.
        says: the sentence of the evidence, in the past tense, about one connection; "" for no evidence.
    """

    name: str
    how: Flag | Read | Is | str
    says: str = ""
