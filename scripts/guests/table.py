# SPDX-License-Identifier: Apache-2.0
"""The result of a matrix: one line a row, and a closing line as pytest has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate

from scripts.guests.junit import Counts, total


@dataclass(frozen=True, slots=True)
class Result:
    """Of one row. Without a virtual machine ``accelerator`` is "none"."""

    row: str
    kernel: str
    bcc: str
    accelerator: str
    counts: Counts
    seconds: float


def as_text(results: Sequence[Result]) -> str:
    """For people, and for what reads the last line."""
    lines = [
        (
            result.row,
            result.kernel,
            result.bcc,
            result.accelerator,
            result.counts.passed,
            result.counts.failed,
            result.counts.errors,
            result.counts.skipped,
            f"{result.seconds:.0f}",
        )
        for result in results
    ]
    heads = ("row", "kernel", "BCC", "by", "passed", "failed", "errors", "skipped", "seconds")
    table = tabulate(lines, heads, tablefmt="simple", disable_numparse=True)
    complaints = [
        f"{each.row}: {each.counts.complaint}" for each in results if each.counts.complaint
    ]
    seconds = sum(result.seconds for result in results)
    closing = total(result.counts for result in results).closing(seconds)
    return "\n".join([table, "", *complaints, closing])
