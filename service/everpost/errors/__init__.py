"""Every error Everpost raises on purpose, each with a stable `code`; `api/http/problems.py` maps codes to HTTP answers.

ServiceError
├── BadInput                the request cannot be served; nothing was written
│   ├── MalformedJson       not JSON, not UTF-8, or nested too deeply
│   ├── InvalidValue        JSON, but a value is of the wrong type or range; `path` says which
│   │   ├── UnknownPlatform
│   │   ├── UnknownFile
│   │   ├── UnknownAccount, AccountBlocked
│   │   ├── OutOfScope      the caller's key does not reach it
│   │   └── SkippedTime     clocks are put forward over the wanted time
│   ├── BodyTooLarge
│   ├── UnsupportedMedia
│   ├── UnsupportedTransferCoding
│   ├── UnsupportedTus      another version of the upload protocol
│   └── RangeNotSatisfiable
├── Unauthorized
├── Forbidden               the caller's role may not do it
├── RateLimited             of an API key
├── SignInRefused           by an identity provider, or because of what it says
├── ApiKeyNotFound, ApiKeyExists, LastAdminKey
├── LinkRefused
├── ForeignHost, ForeignOrigin   a web page of another site may have made a browser send it
├── TaskNotFound, OperationNotFound, FileNotFound, AccountNotFound, FanoutNotFound, RecurrenceNotFound
├── Conflict                the state of a task forbids it
│   ├── TaskRunning, TaskHeld, TaskSucceeded, TaskEnded, TaskNotCancelled, OutcomeUnknown, TasksPending
│   ├── DuplicatePost       the same content was posted to the same account a short time ago
│   ├── RetryExists         an unfinished retry has other data than the request wants
│   ├── NothingToDecide, AlreadyDecided
│   ├── AccountExists
│   ├── TaskChanging        another request is changing the task
│   ├── AttemptOpen         an attempt may have reached the platform, so the content cannot change
│   ├── RecurrenceExists, RecurrenceChanged
│   ├── TaskUnreadable      a stock arq client's message contains nothing to publish
│   ├── KeyInUse            the first request with that Idempotency-Key is still being served
│   ├── KeyReused           the Idempotency-Key was used before with another request
│   ├── FileInUse           unfinished tasks name the file
│   └── WrongOffset, UploadLocked   the upload is at another place, or another request continues it
├── Unavailable             try again after `retry_after_s`
│   ├── DatabaseBusy, DatabaseUnwritable, DiskFull
│   ├── WriteUnconfirmed    the disk failed during the commit: it may have been written
│   ├── DatabaseUnusable    moved, replaced, or made by a newer Everpost: a person must act
│   │   └── DatabaseDamaged
│   ├── QueueUnreachable, AccountNotTested, SignInUnavailable
│   ├── SearchTimeout
│   └── BacklogFull
├── QuotaExceeded
└── SettingsError           at start: a setting that is unknown or cannot be read
"""

from everpost.errors.access import (
    ApiKeyExists,
    ApiKeyNotFound,
    Forbidden,
    ForeignHost,
    ForeignOrigin,
    LastAdminKey,
    LinkRefused,
    OutOfScope,
    RateLimited,
    SignInRefused,
    SignInUnavailable,
    Unauthorized,
)
from everpost.errors.base import (
    SHOWN_CHARACTERS,
    ServiceError,
    SettingsError,
)
from everpost.errors.conflicts import (
    AccountExists,
    AlreadyDecided,
    AttemptOpen,
    Conflict,
    DuplicatePost,
    FileInUse,
    KeyInUse,
    KeyReused,
    NothingToDecide,
    OutcomeUnknown,
    RecurrenceChanged,
    RecurrenceExists,
    RetryExists,
    TaskChanging,
    TaskEnded,
    TaskHeld,
    TaskNotCancelled,
    TaskRunning,
    TasksPending,
    TaskSucceeded,
    TaskUnreadable,
    UploadLocked,
    WrongOffset,
)
from everpost.errors.missing import (
    AccountNotFound,
    FanoutNotFound,
    FileNotFound,
    OperationNotFound,
    RecurrenceNotFound,
    TaskNotFound,
)
from everpost.errors.requests import (
    AccountBlocked,
    BadInput,
    BodyTooLarge,
    InvalidValue,
    MalformedJson,
    QuotaExceeded,
    RangeNotSatisfiable,
    SkippedTime,
    UnknownAccount,
    UnknownFile,
    UnknownPlatform,
    UnsupportedMedia,
    UnsupportedTransferCoding,
    UnsupportedTus,
)
from everpost.errors.unavailable import (
    AccountNotTested,
    BacklogFull,
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseUnusable,
    DatabaseUnwritable,
    DiskFull,
    QueueUnreachable,
    SearchTimeout,
    Unavailable,
    WriteUnconfirmed,
)

__all__ = [
    "SHOWN_CHARACTERS",
    "AccountBlocked",
    "AccountExists",
    "AccountNotFound",
    "AccountNotTested",
    "AlreadyDecided",
    "ApiKeyExists",
    "ApiKeyNotFound",
    "AttemptOpen",
    "BacklogFull",
    "BadInput",
    "BodyTooLarge",
    "Conflict",
    "DatabaseBusy",
    "DatabaseDamaged",
    "DatabaseUnusable",
    "DatabaseUnwritable",
    "DiskFull",
    "DuplicatePost",
    "FanoutNotFound",
    "FileInUse",
    "FileNotFound",
    "Forbidden",
    "ForeignHost",
    "ForeignOrigin",
    "InvalidValue",
    "KeyInUse",
    "KeyReused",
    "LastAdminKey",
    "LinkRefused",
    "MalformedJson",
    "NothingToDecide",
    "OperationNotFound",
    "OutOfScope",
    "OutcomeUnknown",
    "QueueUnreachable",
    "QuotaExceeded",
    "RangeNotSatisfiable",
    "RateLimited",
    "RecurrenceChanged",
    "RecurrenceExists",
    "RecurrenceNotFound",
    "RetryExists",
    "SearchTimeout",
    "ServiceError",
    "SettingsError",
    "SignInRefused",
    "SignInUnavailable",
    "SkippedTime",
    "TaskChanging",
    "TaskEnded",
    "TaskHeld",
    "TaskNotCancelled",
    "TaskNotFound",
    "TaskRunning",
    "TaskSucceeded",
    "TaskUnreadable",
    "TasksPending",
    "Unauthorized",
    "Unavailable",
    "UnknownAccount",
    "UnknownFile",
    "UnknownPlatform",
    "UnsupportedMedia",
    "UnsupportedTransferCoding",
    "UnsupportedTus",
    "UploadLocked",
    "WriteUnconfirmed",
    "WrongOffset",
]
