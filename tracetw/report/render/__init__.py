# SPDX-License-Identifier: Apache-2.0
"""A report as text, JSON or a page."""
