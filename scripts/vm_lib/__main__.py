# SPDX-License-Identifier: Apache-2.0
"""``python -m scripts.vm_lib``, as ``scripts/vm`` starts it."""

import sys

from scripts.vm_lib.main import main

sys.exit(main())
