"""What a run is recorded with beside its code: the machine, the packages."""

import getpass
import platform
import socket
from importlib.metadata import distributions


def machine_facts() -> dict[str, str]:
    """Tags for who runs this where."""
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "mlflow.user": getpass.getuser(),
    }


def packages() -> str:
    """Installed packages as `name==version` lines, sorted."""
    lines = {f"{found.metadata['Name']}=={found.version}" for found in distributions()}
    return "\n".join(sorted(lines, key=str.lower)) + "\n"
