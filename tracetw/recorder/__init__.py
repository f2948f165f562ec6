# SPDX-License-Identifier: Apache-2.0
"""The flight recorder: from a live stream to segments on disk."""
