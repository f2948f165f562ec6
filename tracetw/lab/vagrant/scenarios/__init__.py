# SPDX-License-Identifier: Apache-2.0
"""The scenarios that only machines can show, by family."""
