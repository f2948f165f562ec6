# SPDX-License-Identifier: Apache-2.0
"""Namespaces, cables, faults, captures and the processes in them."""
