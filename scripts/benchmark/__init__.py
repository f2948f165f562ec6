# SPDX-License-Identifier: Apache-2.0
"""What ``scripts/bench`` is made of: a storm of connections, tracers that watch it, what they cost."""
