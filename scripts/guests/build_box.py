# SPDX-License-Identifier: Apache-2.0
"""The command line of ``scripts/build-box``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from scripts.guests.box import build
from scripts.guests.cache import folder, say
from scripts.guests.ending import end_in_order
from scripts.guests.errors import BadInput, Missing, UserError
from scripts.guests.hypervisor import Hypervisor
from scripts.guests.rows import ROOT, chosen

_DESCRIPTION = """Makes a Vagrant box (libvirt, x86-64) of a row of vagrant/boxes.yaml, from packages of the
distribution alone. Its machines need no network. The Vagrantfile finds it where it is put without FILE."""


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="build-box", description=_DESCRIPTION)
    parser.add_argument("row", nargs="?", default="debian-12", metavar="ROW")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE")
    parser.add_argument("--mirror", metavar="ADDRESS", help="default: as the host's apt")
    given = parser.parse_args()
    try:
        (row,) = chosen([given.row])
        if not row.virtual:
            raise BadInput(f"{row.name} is this kernel", "give another row")
        if os.geteuid() != 0:
            raise Missing("mmdebstrap needs root", "sudo scripts/build-box")
        subprocess.run(
            [ROOT / "scripts" / "setup", "emulator", "boxes"], stdin=subprocess.DEVNULL, check=True
        )
        target = given.file or folder("boxes") / f"{row.name}.box"
        build(Hypervisor(given.mirror), row, target.absolute())
    except UserError as error:
        say(str(error))
        return error.exit_code
    except subprocess.CalledProcessError as error:
        return error.returncode
    except KeyboardInterrupt:
        return 130
    print(target)
    return 0


if __name__ == "__main__":
    end_in_order()
    sys.exit(main())
