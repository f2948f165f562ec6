# SPDX-License-Identifier: Apache-2.0
"""Incidents: what went wrong at one time for one reason, by what is recorded of who acted."""
