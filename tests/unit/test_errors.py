# SPDX-License-Identifier: Apache-2.0
"""What a user is told, and the exit code that goes with it."""

from __future__ import annotations

import pytest

from tracetw.errors import BadInput, CannotTrace, Failed, UserError


@pytest.mark.parametrize(("error", "code"), [(Failed, 1), (BadInput, 2), (CannotTrace, 3)])
def test_exit_codes_of_the_contract(error: type[UserError], code: int) -> None:
    assert error("what").exit_code == code


def test_message_and_hint_are_one_line() -> None:
    error = BadInput("port 70000 is not a port", "use 1 to 65535")
    assert str(error) == "port 70000 is not a port; use 1 to 65535"
    assert (error.message, error.hint) == ("port 70000 is not a port", "use 1 to 65535")


def test_without_a_hint_the_message_stands_alone() -> None:
    assert str(Failed("disk full: /var/tmp/closes.json")) == "disk full: /var/tmp/closes.json"


def test_one_except_clause_catches_them_all() -> None:
    with pytest.raises(UserError):
        raise CannotTrace("no BTF")
