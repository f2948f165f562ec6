# SPDX-License-Identifier: Apache-2.0
"""What the host says besides events: clocks, namespaces, counters, processes, cgroups.

Every module reads the host on demand and keeps nothing running. Time that decides anything (age of
a cache) is passed in.
"""
