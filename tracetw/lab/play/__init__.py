# SPDX-License-Identifier: Apache-2.0
"""Runs scenarios: plays, gathers, checks, draws."""
