"""The only Redis on this side: enqueue, look up, watch the workers. Importing it imports redis-py, lightly."""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

PACKAGES = ("redis", "redis.asyncio")
UNUSED = ("jwt", *(f"{package}.cluster" for package in PACKAGES))


def _import_redis() -> None:
    """Import redis-py without its clients of a Redis Cluster, and without PyJWT, which only Azure's tokens need.

    PyJWT takes 11 MB if cryptography is installed, the two clients take 0.7 MB. Other packages that import one of them
    later get the real one.
    """
    if "redis" in sys.modules or "jwt" in sys.modules:
        return
    for name in UNUSED:
        sys.modules[name] = ModuleType(name)  # redis/auth/token.py imports PyJWT, but uses it only to read a token
        sys.modules[name].__dict__["RedisCluster"] = None
    try:
        importlib.import_module("redis.asyncio")
    finally:
        for name in UNUSED:
            del sys.modules[name]
    for package in PACKAGES:
        names = sys.modules[package].__dict__
        del names["RedisCluster"]
        names["__getattr__"] = _import_later(package)


def _import_later(package: str) -> Callable[[str], Any]:
    """The `__getattr__` of a package of redis-py, which imports the client of a cluster at its first use."""

    def find(name: str) -> Any:
        if name != "RedisCluster":
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return importlib.import_module(f"{package}.cluster").RedisCluster

    return find


_import_redis()
