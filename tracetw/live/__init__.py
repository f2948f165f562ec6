# SPDX-License-Identifier: Apache-2.0
"""``tracetw trace``: from attached hooks to lines."""
