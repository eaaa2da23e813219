"""The `unpact` program: signals first, then the imports, which take time."""

from __future__ import annotations

import atexit
import sys

from engine import interrupt


def main() -> None:
    """Run the program; what the user can mend is one line, never a traceback."""
    interrupt.leave_at_once()
    atexit.register(interrupt.keep_status)  # the first to be registered is the last to be called
    from engine import console
    from engine.commands.program import app

    status = console.run(app)
    interrupt.leave_at_once()
    sys.exit(status)


if __name__ == "__main__":
    main()
