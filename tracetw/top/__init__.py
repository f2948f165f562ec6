# SPDX-License-Identifier: Apache-2.0
"""``tracetw top``: the stream on a full screen. Only ``app.py`` needs Textual."""
