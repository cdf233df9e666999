import sys

from pitwall_tui.cli import main

sys.exit(main())
