# SPDX-License-Identifier: Apache-2.0
"""What becomes of judged connections: text for people, JSON lines for programs."""
