# SPDX-License-Identifier: Apache-2.0
"""What the verdicts add up to, held against the kernel's own counters."""
