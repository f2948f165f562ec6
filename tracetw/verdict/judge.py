# SPDX-License-Identifier: Apache-2.0
"""Facts in, findings out: judges a batch of close records."""

from __future__ import annotations

import errno
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracetw.event.fields import Rows
from tracetw.event.names import KernelNames
from tracetw.verdict.findings import UNKNOWN, Findings
from tracetw.verdict.hinted import hinted
from tracetw.verdict.limits import limits
from tracetw.verdict.outcome import OUTCOME, outcomes
from tracetw.verdict.records import application_error
from tracetw.verdict.signature import signatures
from tracetw.verdict.taxonomy import CONFIDENCE, VERDICT_INDEX

_CONNECT_FAILED = VERDICT_INDEX["connect-failed"]
_WEAKENED = CONFIDENCE.index("weakened")
# Some hundred signatures exist in practice; a flood of invented ones must not grow without bound.
_KEEP = 1 << 15


class _Known(NamedTuple):
    """Signatures in order, their outcomes, and where a signature may be by a hash of it."""

    words: NDArray[np.uint64]
    results: NDArray[np.void]
    places: NDArray[np.intp]


_HASH, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(52)


def _hashed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return words * _HASH >> _SHIFT


def _remember(words: NDArray[np.uint64], results: NDArray[np.void]) -> _Known:
    places = np.zeros(1 << 64 - int(_SHIFT), np.intp)
    places[_hashed(words)] = np.arange(len(words))
    return _Known(words, results, places)


# Replaced as a whole so that threads never see half of it.
_known = _remember(np.zeros(1, np.uint64), outcomes(np.zeros(1, np.uint64)))


def _learn(words: NDArray[np.uint64]) -> _Known:
    """Adds the outcomes of signatures not seen before."""
    global _known  # noqa: PLW0603 - a cache of a pure function
    signatures_, results, _ = _known
    fresh = np.setdiff1d(words, signatures_)
    if len(signatures_) + len(fresh) > _KEEP:
        signatures_, results, fresh = signatures_[:0], results[:0], np.unique(words)
    merged = np.concatenate([signatures_, fresh])
    order = np.argsort(merged, kind="stable")
    _known = _remember(merged[order], np.concatenate([results, outcomes(fresh)])[order])
    return _known


def _look_up(words: NDArray[np.uint64]) -> NDArray[np.void]:
    """Outcome of each signature."""
    known = _known
    at = known.places[_hashed(words)]
    elsewhere = np.flatnonzero(known.words[at] != words)
    if len(elsewhere):
        some = words[elsewhere]
        found = np.minimum(np.searchsorted(known.words, some), len(known.words) - 1)
        if not (known.words[found] == some).all():
            _learn(words)
            return _look_up(words)
        at[elsewhere] = found
    # As opaque blocks: copying field by field takes ten times as long.
    return known.results.view(f"V{OUTCOME.itemsize}")[at].view(OUTCOME)


def _errors(rows: Rows, verdict: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What the application got; connect() that finds no port sets none but fails with EADDRNOTAVAIL (inet_hash_connect)."""
    error = application_error(rows)
    failed = np.flatnonzero(verdict == _CONNECT_FAILED)
    if len(failed):
        error[failed[rows["lport"][failed] == 0]] = errno.EADDRNOTAVAIL
    return error


def judge(
    rows: Rows,
    names: KernelNames,
    *,
    lossy: bool | NDArray[np.bool_],
    gone: NDArray[np.bool_] | None = None,
) -> Findings:
    """Judges a batch of close records.

    Args:
        rows: records, dtype ``record.CLOSE``, any number.
        names: the traced kernel's names and its HZ.
        lossy: records were lost around these records, or around each of them, which weakens what
            is found.
        gone: for each record, whether its network namespace is known to be gone; None unknown.
    """
    found = _look_up(signatures(rows, names, gone)) if len(rows) else np.zeros(0, OUTCOME)
    verdict = np.ascontiguousarray(found["verdict"])
    confidence = np.where(
        found["missed"] | np.asarray(lossy, np.uint8), np.uint8(_WEAKENED), found["confidence"]
    )
    limit, value, elapsed = limits(rows, verdict, names)
    findings = Findings(
        verdict=verdict,
        form=found["form"],
        first_close=found["first_close"],
        closed_by=found["closed_by"],
        time_wait=found["time_wait"],
        confidence=confidence,
        evidence=found["evidence"],
        missing=found["missing"],
        reset_direction=found["reset_direction"],
        limit=limit,
        limit_value=value,
        limit_elapsed_ms=elapsed,
        error=_errors(rows, verdict),
        hints=np.zeros(len(rows), np.uint32),
        peer_verdict=np.full(len(rows), UNKNOWN, np.uint8),
    )
    findings.hints[:] = hinted(rows, findings, names)
    return findings
