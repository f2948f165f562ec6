# SPDX-License-Identifier: Apache-2.0
"""What the tests against the real kernel are made of: hosts, faults, processes and a tracer."""
