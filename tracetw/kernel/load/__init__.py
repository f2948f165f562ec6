# SPDX-License-Identifier: Apache-2.0
"""Acts on the kernel: compiles, loads, attaches. What decides is in the package above."""
