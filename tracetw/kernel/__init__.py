# SPDX-License-Identifier: Apache-2.0
"""From the kernel to batches of records: what is there, what to attach, how to read it."""
