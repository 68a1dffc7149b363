"""``python -m mmgraph``: the command line under another name."""

import sys

from mmgraph.cli import main

sys.exit(main())
