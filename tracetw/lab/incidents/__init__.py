# SPDX-License-Identifier: Apache-2.0
"""Incidents played on purpose, recorded by ``tracetw record``, with the truth written down by the load."""
