# SPDX-License-Identifier: Apache-2.0
"""The settings that decide how connections end: what they mean here, and which are wrong for this host."""
