# SPDX-License-Identifier: Apache-2.0
"""``python -m scripts.guests``, as ``scripts/vm`` starts it."""

import signal
import sys
from types import FrameType
from typing import NoReturn

from scripts.guests.main import main


def _ended(number: int, _: FrameType | None) -> NoReturn:
    """As Ctrl-C: what was started is ended on the way out."""
    raise SystemExit(128 + number)


for _number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(_number, _ended)
sys.exit(main())
