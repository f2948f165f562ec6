# SPDX-License-Identifier: Apache-2.0
"""Why many connections ended: kinds of causes, when they began, sentences."""
