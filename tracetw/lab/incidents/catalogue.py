# SPDX-License-Identifier: Apache-2.0
"""All incidents."""

from __future__ import annotations

from tracetw.lab.incidents import deaths, limits, paths
from tracetw.lab.incidents.incident import PlayedIncident

INCIDENTS: tuple[PlayedIncident, ...] = (*deaths.INCIDENTS, *paths.INCIDENTS, *limits.INCIDENTS)

BY_NAME = {incident.name: incident for incident in INCIDENTS}
