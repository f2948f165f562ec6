# SPDX-License-Identifier: Apache-2.0
"""What the programs of scripts/ have in common: how they start, and how they write files of this checkout."""
