# SPDX-License-Identifier: Apache-2.0
"""One pass over recordings: counts in bounded memory."""
