# SPDX-License-Identifier: Apache-2.0
"""The parts of ``scripts/gen-verdicts`` and ``scripts/gen-passages``: pages and passages made from the code."""
