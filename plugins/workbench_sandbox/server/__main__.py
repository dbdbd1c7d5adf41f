"""`python -m workbench_sandbox.server DIR`."""

from __future__ import annotations

import sys

from workbench_sandbox.server.main import main

sys.exit(main(sys.argv[1:]))
