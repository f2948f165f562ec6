# SPDX-License-Identifier: Apache-2.0
"""What the kernel reported, decoded: pure, no kernel needed."""
