# SPDX-License-Identifier: Apache-2.0
"""What a scenario claims, and how lines are matched against it."""
