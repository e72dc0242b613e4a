"""The settings: `EVERPOST_*` environment variables as one frozen Struct, read once at a composition root.

A secret may be in a file: then `EVERPOST_NAME_FILE` names the file.
"""

import re
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from everpost.database_address import is_postgresql, postgresql_address, sqlite_path
from everpost.errors import SettingsError
from everpost.redaction import Redactor
from everpost.secret_files import read_secret

PREFIX = "EVERPOST_"
FILE = "_FILE"  # ends the name of a variable that names a file with the value
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

MOST_S = 366 * 86_400  # a year; a longer time is a mistake, and infinity breaks timers
MOST_DAYS = 36_600

ACCOUNT = f"{PREFIX}ACCOUNT_"  # begins the names of variables that hold credentials of accounts; not settings
SECRET = (
    "token",
    "key",
    "oidc_client_secret",
    "redis",
    "database",
    "secret_key",
    "callback_secret",
)  # never shown, and may be read from a file

Seconds = Annotated[float, Meta(gt=0, le=MOST_S)]
Count = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=1)]
Token = Annotated[str, Meta(min_length=8, pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?\Z")]
"""Printable ASCII, because it is sent in a header; no white space around it, such as a line break from a file."""

FERNET_KEY = r"[A-Za-z0-9_-]{43}="
SecretKeys = Annotated[str, Meta(pattern=rf"^ *{FERNET_KEY}( *, *{FERNET_KEY})* *\Z")]
"""Keys of 32 random bytes in URL-safe base64, as `everpost accounts new-key` makes them."""
WEBHOOK_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{16,}={0,2}")

PublicUrl = Annotated[str, Meta(pattern=r"^https?://[^\s?#@]+\Z")]

HOST_NAME = r"([0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\])"
HostNames = Annotated[str, Meta(pattern=rf"^ *{HOST_NAME}( *, *{HOST_NAME})* *\Z")]
"""Names or addresses, IPv6 in brackets, without ports."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting, with its default; a field `name` is read from `EVERPOST_NAME`.

    Attributes:
        data: Folder of everything that Everpost makes: database, Valkey's files, published posts, media.
        database: The SQLite file: a path, `sqlite:///relative/path` or `sqlite:////absolute/path`; without it,
            `everpost.db` in the data folder. Or `postgresql://USER:PASSWORD@HOST,HOST/DATABASE`:
            docs/postgresql.md#the-address.
        replica_lag: Seconds by which lists may be old, so that a standby among PostgreSQL's hosts can answer them; 0
            asks none. See docs/postgresql.md#lists-from-a-standby.
        redis: `redis://`, `rediss://` or `unix://` address, or `redis+sentinel://HOST,HOST/MASTER`: docs/redis.md.
            Without it, `everpost up` starts its own Valkey.
        host: Address the API binds to; any address but loopback needs a token.
        port: TCP port of the API; 0 takes a free one.
        token: The bearer token of the admin; at least 8 printable ASCII characters. Others get API keys: docs/keys.md.
        key: An API key, for commands that ask the API; they send it instead of the token.
        oidc_issuer: The address of an identity provider (OpenID Connect) at which people sign in to the console:
            docs/keys.md#an-identity-provider.
        oidc_client_id: The name of this Everpost at that provider.
        oidc_client_secret: The secret for that name; without it, PKCE alone proves that the code is ours.
        oidc_roles: Which claims give which roles, such as `groups:ops=operator, *=viewer`.
        oidc_name: The claim that is a person's name here.
        insecure: Allow an address other than loopback without a token.
        allowed_hosts: Comma-separated host names, besides loopback, that requests without a token may use. Pages of
            these hosts may change things.
        callback_secret: Signs callbacks (docs/callbacks.md): `whsec_` and base64; while it is replaced several,
            separated by spaces. Without it, no task may have a callback.
        platforms: A TOML file laid over the built-in platform catalogue: docs/publishers.md.
        media: Folder of the files that `file_path` names; without it, `media` in the data folder.
        max_media: Largest media file in bytes, also of an upload; a task that names a larger one fails as `invalid`.
        files: Folder of uploaded files, which API and workers share; without it, `uploads` in the data folder.
        files_quota: Bytes that all uploaded files may have together; 0 is no limit.
        files_days: Days after which an uploaded file is removed that no task has used; 0 removes none.
        upload_hours: Hours after its last bytes until an unfinished upload is removed.
        secrets: Folder of the files that credentials of accounts refer to
            (docs/accounts.md#credentials-are-references); without it, `secrets` in the data folder.
        public_url: The address at which receivers of webhooks reach the API; links to files begin with it:
            docs/publishers.md#webhook.
        secret_key: Encrypts rotated tokens of accounts, and signs links to files; `everpost accounts new-key` makes
            one. Of several, separated by commas, the first encrypts and signs, and all decrypt and check.
        result_ttl: Seconds a result stays in Redis; 0 makes the database the only source of truth.
        result_memory: Bytes of results in Redis, estimated (the default is about 600,000 results); the oldest go first,
            and the database keeps them all; 0 is no limit.
        timezone: IANA zone of times without an offset.
        max_jobs: Tasks one worker runs at a time.
        job_timeout: Seconds a publisher may take for one attempt.
        lease: Seconds after which a crashed worker's tasks run on another worker.
        shutdown_wait: Seconds running tasks and requests get after a stop was requested; the process ends at most 10 s
            later.
        max_attempts: Automatic attempts for transient errors, unless the platform sets its own number; 1 means no
            automatic retry.
        max_body: Most bytes of a body, of a line of a stream, or of the data of a stock arq client's job.
        max_backlog: Unfinished tasks above which new ones are refused; 0 is no limit.
        min_free_disk: Bytes that must be free on the database's disk before a task is accepted; accepted tasks may use
            this reserve. `folder` keeps as much free on the disk of its posts; 0 is no limit.
        archive_after_days: Successes older than this are archived; 0 archives none.
        audit_days: Days after which entries of the audit (docs/audit.md) are destroyed; 0 destroys none.
        idempotency_hours: Hours an Idempotency-Key is remembered; only time in which a worker runs counts.
        redact: Names and paths of members of tasks that no answer, export or log shows, besides the usual ones such as
            `*token`; separated by commas: docs/redaction.md.
        log_level: The least important lines that are logged.
        log_format: `console` for people, `json` for machines.
        failpoints: For tests: a folder whose files make processes fail at named points, docs/failpoints.md.
    """

    data: Path = Path("everpost-data")
    database: str | None = None
    replica_lag: Annotated[float, Meta(ge=0, le=60)] = 0
    redis: str | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    token: Token | None = None
    key: Token | None = None
    oidc_issuer: PublicUrl | None = None
    oidc_client_id: str | None = None
    oidc_client_secret: Token | None = None
    oidc_roles: str | None = None
    oidc_name: str = "email"
    insecure: bool = False
    allowed_hosts: HostNames | None = None
    callback_secret: Token | None = None
    platforms: Path | None = None
    media: Path | None = None
    max_media: Bytes = 4_294_967_296
    files: Path | None = None
    files_quota: Annotated[int, Meta(ge=0)] = 0
    files_days: Annotated[int, Meta(ge=0, le=MOST_DAYS)] = 0
    upload_hours: Annotated[int, Meta(ge=1, le=24 * MOST_DAYS)] = 24
    secrets: Path | None = None
    public_url: PublicUrl | None = None
    secret_key: SecretKeys | None = None
    result_ttl: Annotated[int, Meta(ge=0, le=86_400 * MOST_DAYS)] = 604_800
    result_memory: Annotated[int, Meta(ge=0)] = 268_435_456
    timezone: str = "UTC"
    max_jobs: Count = 100
    job_timeout: Seconds = 300
    lease: Annotated[float, Meta(ge=1, le=86_400)] = 15
    shutdown_wait: Seconds = 25
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 3
    max_body: Bytes = 1_048_576
    max_backlog: Annotated[int, Meta(ge=0)] = 0
    min_free_disk: Annotated[int, Meta(ge=0)] = 67_108_864
    archive_after_days: Annotated[int, Meta(ge=0, le=MOST_DAYS)] = 0
    audit_days: Annotated[int, Meta(ge=0, le=MOST_DAYS)] = 0
    idempotency_hours: Annotated[int, Meta(ge=1, le=24 * MOST_DAYS)] = 24
    redact: str | None = None
    log_level: Annotated[str, Meta(pattern="^(debug|info|warning|error)$")] = "info"
    log_format: Annotated[str, Meta(pattern="^(console|json)$")] = "console"
    failpoints: Path | None = None

    @property
    def database_address(self) -> str:
        """The address for `open_store`."""
        return str(self.database or self.data / "everpost.db")

    @property
    def database_path(self) -> Path:
        """The SQLite file, for code that needs its place: free disk space, file modes, and what is kept beside it.

        With PostgreSQL, it is the place that the file would have in `data`.

        Raises:
            SettingsError: The address names no file.
        """
        if is_postgresql(self.database_address):
            return self.data / "everpost.db"
        return sqlite_path(self.database_address)

    @property
    def shown_database(self) -> str:
        """The database for people and logs, without a password.

        Raises:
            SettingsError: The address cannot be read.
        """
        if is_postgresql(self.database_address):
            return postgresql_address(self.database_address).shown
        return str(self.database_path)

    @property
    def media_root(self) -> Path:
        """The folder `file_path` is resolved in."""
        return self.media or self.data / "media"

    @property
    def files_root(self) -> Path:
        """The folder of uploaded files."""
        return self.files or self.data / "uploads"

    @property
    def secrets_root(self) -> Path:
        """The folder that `file:` references of accounts are resolved in."""
        return self.secrets or self.data / "secrets"

    @property
    def published_root(self) -> Path:
        """Where the folder publisher writes, unless the catalogue says otherwise."""
        return self.data / "published"

    @property
    def redis_address(self) -> str:
        """`redis`, which the API and the worker need.

        Raises:
            SettingsError: It is not set.
        """
        if not self.redis:
            raise SettingsError("EVERPOST_REDIS is not set, for example to redis://127.0.0.1:6379/0.")
        return self.redis

    @property
    def callback_secrets(self) -> Sequence[str]:
        """The secrets in `callback_secret`, as Standard Webhooks writes them; all of them sign.

        Raises:
            SettingsError: One is not written so.
        """
        secrets = (self.callback_secret or "").split()
        if not all(WEBHOOK_SECRET.fullmatch(secret) for secret in secrets):
            raise SettingsError(
                "EVERPOST_CALLBACK_SECRET: must be whsec_ and base64 of 12 bytes or more; several, separated by spaces."
            )
        return secrets

    @property
    def redactor(self) -> Redactor:
        """`redact`, read.

        Raises:
            SettingsError: An entry is neither a name nor a path.
        """
        try:
            return Redactor.read(self.redact)
        except ValueError as error:
            raise SettingsError(f"EVERPOST_REDACT: {error}.") from error

    @property
    def zone(self) -> tzinfo:
        """`timezone`, loaded.

        Raises:
            KeyError, ValueError, OSError: There is no such zone.
        """
        if self.timezone == "UTC":
            return UTC
        from zoneinfo import ZoneInfo  # noqa: PLC0415 - it takes half a megabyte

        return ZoneInfo(self.timezone)

    @property
    def allowed_host_names(self) -> Sequence[str]:
        """`allowed_hosts` as a list, in lower case."""
        return [name.strip().lower().strip("[]") for name in (self.allowed_hosts or "").split(",") if name.strip()]

    @property
    def is_open_to_others(self) -> bool:
        """Whether other machines can reach the API without a token."""
        return self.host not in LOOPBACK and not self.token

    def check_exposure(self) -> None:
        """Refuse to serve other machines without a token.

        Raises:
            SettingsError: The host is not loopback, and neither `token` nor `insecure` is set.
        """
        if self.insecure or not self.is_open_to_others:
            return
        raise SettingsError(
            f"EVERPOST_HOST={self.host} can be reached by others, and no EVERPOST_TOKEN is set. Set a token, or set "
            "EVERPOST_INSECURE=1 to let everyone who can reach this address publish, cancel and delete."
        )


VARIABLES = MappingProxyType(
    {f"{PREFIX}{field.upper()}": field for field in Settings.__struct_fields__}
    | {f"{PREFIX}{field.upper()}{FILE}": field for field in SECRET}
)
"""The setting of each environment variable."""


def read_settings(environment: Mapping[str, str], **overrides: Any) -> Settings:
    """The settings of an environment. `overrides` come from the command line and win; None means "not given".

    A variable that is empty counts as not set.

    Raises:
        SettingsError: A variable is unknown or its value cannot be read; the message names it and the expected value.
    """
    given: dict[str, Any] = {}
    variables: dict[str, str] = {}
    for name, value in environment.items():
        if not name.startswith(PREFIX) or name.startswith(ACCOUNT):
            continue
        field = VARIABLES.get(name.upper())
        if field is None:
            raise SettingsError(_unknown(name))
        if not value:
            continue
        if field in given:
            raise SettingsError(f"{' and '.join(sorted((variables[field], name)))} are both set; unset one.")
        variables[field] = name
        given[field] = read_secret(name, value) if name.upper().endswith(FILE) else value
    given |= {name: value for name, value in overrides.items() if value is not None}
    settings = _convert(given)
    _ = settings.shown_database
    _ = settings.redactor
    try:
        _ = settings.zone
    except (KeyError, ValueError, OSError) as error:
        raise SettingsError(f"EVERPOST_TIMEZONE={settings.timezone!r} is not an IANA time zone.") from error
    try:
        settings.host.encode("idna")
    except UnicodeError as error:
        raise SettingsError(f"EVERPOST_HOST={settings.host!r} is not a valid host name.") from error
    return settings


def _convert(given: dict[str, Any]) -> Settings:
    try:
        return msgspec.convert(given, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        name = path.rstrip("`")
        shown = "" if name in SECRET else f"={given.get(name)!r}"
        raise SettingsError(f"{PREFIX}{name.upper()}{shown}: {message}.") from error
    except UnicodeEncodeError as error:
        names = [name for name, value in given.items() if value == error.object]
        raise SettingsError(f"{PREFIX}{''.join(names).upper()}: is not valid UTF-8.") from error


def expand_user(path: str) -> Path:
    """The path, with `~` and `~NAME` replaced by the home folder.

    Raises:
        ValueError: The user or the home folder is unknown.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"there is no user {path.partition('/')[0]}, or the user has no home folder") from error


def _decode(wanted: type, value: object) -> object:
    if wanted is Path:
        return expand_user(str(value))
    raise TypeError(wanted)


def _unknown(name: str) -> str:
    import difflib  # noqa: PLC0415 - only a misspelled name needs it

    near = difflib.get_close_matches(name, VARIABLES, 1)
    return f"There is no setting {name}{f'; did you mean {near[0]}?' if near else '.'}"


def temporary_settings(folder: Path | None = None, **overrides: Any) -> Settings:
    """Settings that keep everything in one folder and listen on a free port; for tests and demonstrations."""
    data = folder or Path(tempfile.mkdtemp(prefix="everpost-"))
    return msgspec.structs.replace(Settings(data=data, port=0), **overrides)
