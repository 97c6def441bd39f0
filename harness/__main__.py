"""`python -m harness` is `axonrig`."""

import sys

from harness.cli import main

sys.exit(main())
