# SPDX-License-Identifier: Apache-2.0
"""The post-mortem: recordings in; causes, replays and answers out. Runs without BCC, on any system."""
