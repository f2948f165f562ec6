# SPDX-License-Identifier: Apache-2.0
"""The parts of ``scripts/gen-passages``: passages of hand-written pages, made from the code's constants."""
