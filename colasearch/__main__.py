"""``python -m colasearch``: the command line."""

import sys

from colasearch.cli.main import main

sys.exit(main())
