# SPDX-License-Identifier: Apache-2.0
"""Both ends of one connection, and its story."""
