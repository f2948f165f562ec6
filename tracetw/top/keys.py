# SPDX-License-Identifier: Apache-2.0
"""The keys: the only list of them. The help, the last line and the bindings come from it."""

from __future__ import annotations

from dataclasses import dataclass

from tracetw.top.lines import Line
from tracetw.top.state import SCREENS, Body


@dataclass(frozen=True, slots=True)
class Key:
    """What a key does.

    Attributes:
        keys: names of the keys, as Textual has them, with commas.
        shown: the same for people.
        action: the method of ``Moves`` that it calls; or ``type`` a filter, ``leave`` the screen.
        text: what it does, in words.
        hint: what the last line calls it; "": it does not stand there.
        given: arguments of the method.
    """

    keys: str
    shown: str
    action: str
    text: str
    hint: str = ""
    given: tuple[int | str, ...] = ()


KEYS: tuple[Key, ...] = (
    *(
        Key(str(number), str(number), "show", f"screen: {title}", title, (name,))
        for number, (name, title) in enumerate(SCREENS.items(), 1)
    ),
    Key("tab", "Tab", "next_screen", "next screen"),
    Key("up,k", "Up k", "move", "one line up", given=(-1,)),
    Key("down,j", "Down j", "move", "one line down", given=(1,)),
    Key("pageup,ctrl+b", "PgUp Ctrl-B", "move_pages", "one page up", given=(-1,)),
    Key("pagedown,ctrl+f", "PgDn Ctrl-F", "move_pages", "one page down", given=(1,)),
    Key("home,g", "Home g", "jump", "first line", given=(0,)),
    Key("end,G", "End G", "jump", "last line", given=(1,)),
    Key("enter,l", "Enter l", "zoom", "look into the line", "look into"),
    Key("escape,h", "Esc h", "back", "go back; take the filter away", "back"),
    Key(
        "slash,f", "/ f", "type", "show lines with these words only; ! in front: without", "filter"
    ),
    Key("s", "s", "sort", "another order", "sort"),
    Key("r", "r", "turn", "the same order backwards"),
    Key("space,p", "Space p", "pause", "stand still; go on", "pause"),
    Key("left,left_square_bracket", "Left [", "walk", "one step back in time", given=(-1,)),
    Key("right,right_square_bracket", "Right ]", "walk", "one step forward in time", given=(1,)),
    Key("shift+left,left_curly_bracket", "{", "walk", "thirty steps back", given=(-30,)),
    Key("shift+right,right_curly_bracket", "}", "walk", "thirty steps forward", given=(30,)),
    Key("plus,equals_sign", "+", "widen", "look at more time together", given=(1,)),
    Key("minus", "-", "widen", "look at less time together", given=(-1,)),
    Key("question_mark,f1", "? F1", "help", "these keys", "help"),
    Key("q,ctrl+c,ctrl+q", "q Ctrl-C", "leave", "end", "end"),
)

_HINTS = ("look into", "back", "filter", "sort", "pause", "help", "end")
_WIDTH = 16


def hints(width: int) -> Line:
    """The last line: as many of the keys as there is room for, the end and the help first."""
    known = {key.hint: key.shown.split()[0] for key in KEYS if key.hint in _HINTS}
    screens = [(str(number), title) for number, title in enumerate(SCREENS.values(), 1)]
    all_of = [*screens, *((known[hint], hint) for hint in _HINTS)]
    chosen: set[int] = set()
    left = width
    end = len(all_of)
    filter_ = len(screens) + _HINTS.index("filter")
    for at in (end - 1, end - 2, *range(len(screens)), filter_, *range(end)):
        key, text = all_of[at]
        taken = len(key) + len(text) + 3
        if at not in chosen and taken <= left:
            chosen.add(at)
            left -= taken
    parts: list[tuple[str, str]] = []
    for at in sorted(chosen):
        key, text = all_of[at]
        parts += [(key, "key"), (f" {text}  ", "dim")]
    return tuple(parts)


def help_body() -> Body:
    """The keys, one a line."""
    lines: list[Line] = [((f"  {key.shown:{_WIDTH}}", "key"), (key.text, "")) for key in KEYS]
    return Body([(("keys", "head"),)], (), len(lines), lambda at: lines[at])
