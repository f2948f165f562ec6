# SPDX-License-Identifier: Apache-2.0
# Generated from bpf/filter_values.h by scripts/gen-record. Change the header, not this file.
"""Layout of the values of a filter: the NumPy dtype of bpf/filter_values.h."""

from __future__ import annotations

import numpy as np

FILTER_VALUES = np.dtype(
    [
        ("family", "<u4"),
        ("ports_count", "<u4"),
        ("local_ports_count", "<u4"),
        ("remote_ports_count", "<u4"),
        ("netns_count", "<u4"),
        ("nets4_count", "<u4"),
        ("nets6_count", "<u4"),
        ("ports", "<u4", (32,)),
        ("local_ports", "<u4", (32,)),
        ("remote_ports", "<u4", (32,)),
        ("netns", "<u4", (32,)),
        ("nets4", "<u4", (64,)),
        ("nets6", "<u4", (256,)),
    ]
)
"""``struct filter_values``"""
