"""Reads `EVERPOST_DATABASE`: the path of a file, or an address with a scheme."""

import re
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode

import msgspec

from everpost.errors import SettingsError

_SQLITE = "sqlite"
_POSTGRESQL = ("postgresql", "postgres")
_SUPPORTED = (
    "a path, or sqlite:///relative/path, or sqlite:////absolute/path, or postgresql://user:password@host:5432/database"
)

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_HOST = re.compile(r"([0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")

OPTIONS = frozenset(
    {
        *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslpassword", "sslnegotiation"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version", "passfile", "krbsrvname", "gsslib"),
        *("user", "password", "dbname", "application_name"),
    }
)
"""What may follow the `?`, besides `host`, `port` and `target_session_attrs`; the meaning is libpq's."""


class Host(msgspec.Struct, frozen=True):
    """A host name or address, IPv6 in brackets, or the folder of a Unix socket; and the port."""

    name: str
    port: str

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"


class PostgresqlAddress(msgspec.Struct, frozen=True):
    """The address of a database of PostgreSQL, which several hosts may have.

    Attributes:
        hosts: Any of them may be the primary.
        shown: The address for people and logs, without password and options.
    """

    hosts: tuple[Host, ...]
    shown: str
    _login: str
    _database: str
    _options: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        return self.shown

    def at(self, host: Host) -> str:
        """The address with one of the hosts only."""
        name, port = host.name, host.port
        options = dict(self._options)
        if name.startswith("/"):
            options |= {"host": name, "port": port}
            name = port = ""
        query = urlencode(options, safe="/", quote_via=quote)
        return f"postgresql://{self._login}{name}{port and f':{port}'}/{self._database}{query and f'?{query}'}"


def is_postgresql(address: str) -> bool:
    """Whether the database is one of PostgreSQL."""
    found = _ADDRESS.fullmatch(address)
    return found is not None and found[1].lower() in _POSTGRESQL


def postgresql_address(address: str) -> PostgresqlAddress:
    """The parts of an address of PostgreSQL, as libpq reads it: `postgresql://user:password@h1:5432,h2:5432/db?...`.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS

    Raises:
        SettingsError: It names no host, has an unknown option, or characters that must be escaped.
    """
    rest = address.partition("://")[2]
    before, _, query = rest.partition("?")
    place, _, database = before.partition("/")
    login, at, names = place.rpartition("@")
    if "#" in rest or any(mark in part for mark, part in (("@", login), ("@", database), ("/", database))):
        raise _refusal("in user and password, %40 stands for @, %2F for /, %3F for ?, %23 for #, %3A for :")
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict"))
    except ValueError:
        raise _refusal("what follows the ? is not name=value&name=value") from None
    names = names or unquote(options.pop("host", ""))
    hosts = _hosts(names, options.pop("port", ""))
    if options.pop("target_session_attrs", "read-write") not in {"read-write", "primary", "any"}:
        raise _refusal("target_session_attrs must be read-write, since Everpost writes")
    unknown = sorted(options.keys() - OPTIONS)
    if unknown:
        raise _refusal(f"{', '.join(name for name in unknown if name.isidentifier()) or 'an option'} is not an option")
    user = options.get("user") or login.partition(":")[0]
    shown = f"postgresql://{user and f'{user}@'}{names}/{options.get('dbname', database)}"
    return PostgresqlAddress(hosts, shown, f"{login}{at}", database, tuple(options.items()))


def with_database(address: str, name: str) -> str:
    """The address of another database on the same server."""
    before, _, query = address.partition("?")
    scheme, _, rest = before.partition("://")
    options = [option for option in query.split("&") if option and not option.startswith("dbname=")]
    return f"{scheme}://{rest.partition('/')[0]}/{name}{(options and '?') or ''}{'&'.join(options)}"


def _hosts(names: str, ports: str) -> tuple[Host, ...]:
    given = ports.split(",")
    hosts = []
    for position, name in enumerate(names.split(",")):
        port = given[position] if len(given) > 1 and position < len(given) else given[0]
        found = _HOST.fullmatch(name)
        if name.startswith("/"):
            hosts.append(Host(name, port or "5432"))
        elif found is None:
            raise _refusal("it names no host" if not name else "a host is a name or an address, and :port")
        else:
            hosts.append(Host(found[1], (found[2] or "")[1:] or port or "5432"))
    return tuple(hosts)


def sqlite_path(address: str) -> Path:
    """The file of an SQLite database, with `~` replaced by the home folder.

    A path is taken unchanged. In an address, `%` begins a hexadecimal escape, as in every URL. `?` and `#` must be
    escaped, because they have another meaning in URLs.

    Raises:
        SettingsError: The address has another scheme, a host, or no path.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        if address.lower().startswith(f"{_SQLITE}:"):
            raise _refusal(f"the path follows {_SQLITE}:///, with three or four slashes")
        return _expanded(address)
    scheme, rest = found[1].lower(), found[2]
    if scheme != _SQLITE:
        raise _refusal(f"{scheme}:// is not supported")
    host, _, path = rest.partition("/")
    if host:
        raise _refusal("an SQLite file has no host, so three slashes follow sqlite:")
    if "?" in path or "#" in path:
        raise _refusal("in an address, a path has %3F for ? and %23 for #")
    try:
        return _expanded(unquote(path, errors="strict"))
    except UnicodeDecodeError:
        raise _refusal("its path is not valid UTF-8") from None


def outcomes_folder(database: Path) -> Path:
    """The folder in which outcomes wait that a database did not take before their worker ended."""
    return database.with_name(f"{database.name}.outcomes")


def _expanded(path: str) -> Path:
    if not path or "\0" in path:
        raise _refusal("it names no file")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        user = path.partition("/")[0]
        raise _refusal(f"there is no user {user}, or the user has no home folder") from None


def _refusal(reason: str) -> SettingsError:
    """The error. It does not show the address, because an address may hold a password."""
    return SettingsError(f"EVERPOST_DATABASE: {reason}. Supported is {_SUPPORTED}.")
