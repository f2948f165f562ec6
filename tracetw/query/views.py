# SPDX-License-Identifier: Apache-2.0
"""The views that SQL asks, each over one kept table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class View:
    """One view.

    Attributes:
        name: as SQL says it.
        meaning: what a row is.
        table: the kept table it is made of.
        definition: a SELECT in which ``{table}`` stands for that table.
    """

    name: str
    meaning: str
    table: str
    definition: str


_EVENT_ONLY = (
    "kind",
    "event",
    "age_ms",
    "state",
    "to_state",
    "reason",
    "backoff",
    "rto_ms",
    "queued",
    "backlog",
    "cause",
)


def _events(kind: str, *columns: str, renamed: str = "") -> str:
    """Single events of one kind, with what is common to all and these columns."""
    excluded = ", ".join(name for name in _EVENT_ONLY if name not in columns)
    rename = f" RENAME ({renamed})" if renamed else ""
    columns_ = f"* EXCLUDE ({excluded}){rename}"
    return f"SELECT {columns_} FROM {{table}} WHERE kind = '{kind}'"  # noqa: S608 (our own words)


# What a process left when it died came to its end within moments of the death, but for the timers that go on.
# The same number after a minute and more is another process.
_DEATHS = """
WITH left_behind AS (
  SELECT *, died_ns - lag(died_ns) OVER one > 60_000_000_000 AS another
  FROM {table}
  WHERE died_ns IS NOT NULL AND mptcp_role IS DISTINCT FROM 'subflow'
  WINDOW one AS (PARTITION BY host, pid, comm, exit_code, exit_signal, oom ORDER BY died_ns)
), told_apart AS (
  SELECT *, count(*) FILTER (another) OVER one AS which
  FROM left_behind
  WINDOW one AS (PARTITION BY host, pid, comm, exit_code, exit_signal, oom ORDER BY died_ns)
)
SELECT
  make_timestamp(min(died_ns) // 1000) AS time,
  min(died_ns) AS time_ns,
  host,
  pid,
  comm,
  any_value(uid) AS uid,
  any_value("user") AS "user",
  any_value(cgroup) AS cgroup,
  any_value(container) AS container,
  CASE WHEN oom THEN 'oom-kill' WHEN exit_signal IS NULL THEN 'process-exit' ELSE 'process-crash' END AS how,
  exit_code,
  exit_signal,
  count(*) AS connections,
  count(*) FILTER (abnormal) AS abnormal
FROM told_apart
GROUP BY host, pid, comm, exit_code, exit_signal, oom, which
ORDER BY time_ns
"""

_SETTINGS = """
WITH marked AS (
  SELECT host, netns, name, time, value,
    value IS DISTINCT FROM lag(value) OVER one AS new
  FROM {table}
  WINDOW one AS (PARTITION BY host, netns, name ORDER BY time)
)
SELECT
  host,
  netns,
  name,
  value,
  time AS since,
  lead(time) OVER one AS until,
  lag(value) OVER one AS before
FROM marked
WHERE new
WINDOW one AS (PARTITION BY host, netns, name ORDER BY time)
ORDER BY host, netns, name, since
"""

VIEWS = (
    View(
        "closes",
        "one for each connection",
        "closes",
        "SELECT * EXCLUDE (died_ns, oom) FROM {table}",
    ),
    View(
        "timewait",
        "TIME_WAIT events, if recorded",
        "events",
        _events("timewait", "event", "age_ms"),
    ),
    View(
        "drops",
        "refused segments, if recorded",
        "events",
        _events("drop", "event", "age_ms", "reason", "queued", "backlog", "cause"),
    ),
    View(
        "retransmits",
        "retransmissions, if recorded",
        "events",
        _events("retransmit", "event", "state", "backoff", "rto_ms", renamed="event AS what"),
    ),
    View(
        "transitions",
        "changes of state, if recorded",
        "events",
        _events("transition", "state", "to_state", renamed="state AS from_state"),
    ),
    View(
        "deaths",
        "one for each process that died and left connections open",
        "closes",
        _DEATHS,
    ),
    View("counters", "the kernel's own, sampled while `record` runs", "counters", "FROM {table}"),
    View("sysctls", "teardown settings at each of these samples", "sysctls", "FROM {table}"),
    View(
        "settings",
        "one for each value that a teardown setting has had",
        "sysctls",
        _SETTINGS,
    ),
    View(
        "listeners",
        "one for each process that listened at an address, in samples",
        "listeners",
        "FROM {table}",
    ),
    View("losses", "records that were lost, and when", "losses", "FROM {table}"),
)
"""In the order of the documentation."""
