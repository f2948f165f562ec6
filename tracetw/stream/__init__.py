# SPDX-License-Identifier: Apache-2.0
"""Batches of closes and events, the filter, and the stages between a source and a sink."""
