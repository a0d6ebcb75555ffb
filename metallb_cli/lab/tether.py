"""`python -m metallb_cli.lab.tether PARENT COMMAND…`: become the command, tied to the life of the parent.

When the parent ends, the kernel kills the command, so even a lab that was killed leaves no daemon behind. The tie
follows the thread that started the process, as `linux.privileges.die_with_parent` explains.
"""

from __future__ import annotations

import os
import sys

from metallb_cli.linux.privileges import die_with_parent


def main() -> None:
    """Replace this process."""
    parent, *command = sys.argv[1:]
    die_with_parent()
    if os.getppid() != int(parent):  # it ended before the tie was made
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
