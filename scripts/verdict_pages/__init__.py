# SPDX-License-Identifier: Apache-2.0
"""The parts of ``scripts/gen-verdicts``: play scenarios, record them, write the pages."""
