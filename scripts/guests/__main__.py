# SPDX-License-Identifier: Apache-2.0
"""``python -m scripts.guests``, as ``scripts/vm`` starts it."""

import sys

from scripts.guests.ending import end_in_order
from scripts.guests.main import main

end_in_order()
sys.exit(main())
