"""The only Redis on this side: enqueue, look up, watch the workers. Importing it imports redis-py, lightly."""

import importlib
import sys
from types import ModuleType


def _import_redis() -> None:
    """Import redis-py without PyJWT and, if it is installed, cryptography: 11 MB that only Azure's tokens need.

    Other packages that import PyJWT later get the real one.
    """
    if "redis" in sys.modules or "jwt" in sys.modules:
        return
    sys.modules["jwt"] = ModuleType("jwt")  # redis/auth/token.py imports it, and uses it only when it reads a token
    try:
        importlib.import_module("redis.asyncio")
    finally:
        del sys.modules["jwt"]


_import_redis()
