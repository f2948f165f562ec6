# SPDX-License-Identifier: Apache-2.0
"""A picture of the full screen: ``screen.py RECORDING TARGET.svg [KEY...]`` shows a recording and presses keys."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tracetw.recording.reader import open_recordings  # noqa: E402  (needs the path above)
from tracetw.replay.window import ALWAYS  # noqa: E402
from tracetw.stream.filter import Filter  # noqa: E402
from tracetw.top.app import TopApp  # noqa: E402
from tracetw.top.board import Board  # noqa: E402
from tracetw.top.feed import recorded, slot_width  # noqa: E402
from tracetw.top.page import Painter  # noqa: E402
from tracetw.top.state import WINDOWS, ViewState  # noqa: E402

_SIZE = (100, 28)
# Of another host: the picture is to be the same without a network.
_FONTS = re.compile(r"@font-face \{[^}]*\}")


def main(recording: str, target: str, *keys: str) -> None:
    recordings = open_recordings([recording])
    board = Board(slot_width(recordings, ALWAYS), utc=True, recorded=True)
    feed = recorded(board, recordings, Filter(), ALWAYS, None)
    feed.start()
    feed.wait()
    app = TopApp(board, ViewState(window=len(WINDOWS) - 1), Painter(board), feed.running)

    async def picture() -> str:
        async with app.run_test(size=_SIZE) as pilot:
            await pilot.press(*keys)
            await pilot.pause()
            return app.export_screenshot()

    Path(target).write_text(_FONTS.sub("", asyncio.run(picture())), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
