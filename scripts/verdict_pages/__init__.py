# SPDX-License-Identifier: Apache-2.0
"""What ``scripts/gen-verdicts`` is made of: scenarios played, what was seen of them kept, the page."""
