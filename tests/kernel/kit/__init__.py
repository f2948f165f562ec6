# SPDX-License-Identifier: Apache-2.0
"""What only the tests against the real kernel need; hosts, faults and tracer are tracetw.lab's."""
