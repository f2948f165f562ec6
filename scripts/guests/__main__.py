# SPDX-License-Identifier: Apache-2.0
"""``python -m scripts.guests``, as ``scripts/vm`` starts it."""

import sys

from scripts.guests.main import main

sys.exit(main())
