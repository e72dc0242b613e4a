"""Whose requests are served: names in Host, sites in Origin and Sec-Fetch-Site."""

import socket
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.api.http.heads import HeaderLines, check_head, name_of_host
from everpost.api.http.sites import SiteCheck, is_same_origin
from everpost.errors import (
    BadInput,
    ForeignHost,
    ForeignOrigin,
    ServiceError,
    SettingsError,
    UnsupportedTransferCoding,
)
from everpost.settings import Settings, read_settings

OURS = [
    b"localhost",
    b"localhost:8000",
    b"LocalHost:8000",
    b"localhost.",
    b"localhost.:8000",
    b"127.0.0.1",
    b"127.0.0.1:8000",
    b"127.8.8.8:1",
    b"[::1]",
    b"[::1]:8000",
    b"[0:0:0:0:0:0:0:1]:80",
    b"[::ffff:127.0.0.1]:80",
]
ADDRESSES_AND_PRIVATE_NAMES = [
    b"192.168.1.7:8000",
    b"10.0.0.1",
    b"[fe80::1]:8000",
    b"8.8.8.8",
    b"everpost:8000",
    b"api",
    b"everpost.publishing.svc.cluster.local:8000",
    b"nas.home.arpa",
    b"build.internal",
    b"everpost.localhost",
]
STRANGERS = [
    b"evil.example",
    b"evil.example:8000",
    b"localhost.evil.example",
    b"127.0.0.1.evil.example",
    b"evil.example.",
    b"evillocalhost.example",
    b"local.example",
    b"",
    b":8000",
    b"user@localhost.example",
]
LOCAL = Settings()
OPEN = Settings(host="0.0.0.0", insecure=True)
WITH_TOKEN = Settings(host="0.0.0.0", token="a secret of twenty")


def outcome(check: Callable[[], None]) -> type[ServiceError] | None:
    try:
        check()
    except ServiceError as error:
        return type(error)
    return None


def asked(settings: Settings, method: str = "GET", **headers: bytes) -> type[ServiceError] | None:
    given_headers = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return outcome(lambda: SiteCheck(settings).check(method, given_headers))


def test_without_a_token_only_loopback_s_names_are_answered_to() -> None:
    assert {asked(LOCAL, host=host) for host in OURS} == {None}
    assert {asked(LOCAL, host=host) for host in STRANGERS + ADDRESSES_AND_PRIVATE_NAMES} == {ForeignHost}


def test_an_insecure_api_answers_to_no_name_that_a_stranger_can_have() -> None:
    assert {asked(OPEN, host=host) for host in OURS + ADDRESSES_AND_PRIVATE_NAMES} == {None}
    assert asked(OPEN, host=socket.gethostname().encode()) is None
    assert {asked(OPEN, host=host) for host in STRANGERS} == {ForeignHost}
    named = Settings(host="posts.example.com", insecure=True)
    assert asked(named, host=b"posts.example.com:8000") is None
    assert asked(named, host=b"example.com:8000") is ForeignHost


def test_with_a_token_every_name_is_answered_to() -> None:
    assert {asked(WITH_TOKEN, host=host) for host in OURS + STRANGERS} == {None}


def test_names_can_be_allowed() -> None:
    settings = read_settings({"EVERPOST_ALLOWED_HOSTS": "Posts.example.com, other.example ,[2001:db8::1]"})
    for host in (b"posts.example.com", b"posts.example.com:443", b"other.example.", b"[2001:DB8::1]:8000"):
        assert asked(settings, host=host) is None
    assert asked(settings, host=b"sub.posts.example.com") is ForeignHost
    assert asked(settings, "POST", host=b"localhost", origin=b"https://posts.example.com:8443") is None


@pytest.mark.parametrize("value", ["a b", "https://posts.example.com", "a,,b", ",", "posts.example.com:80", "*"])
def test_an_invalid_list_of_names_is_refused_at_the_start(value: str) -> None:
    with pytest.raises(SettingsError, match="EVERPOST_ALLOWED_HOSTS"):
        read_settings({"EVERPOST_ALLOWED_HOSTS": value})


def test_http_1_0_may_leave_the_host_out() -> None:
    assert asked(LOCAL) is None


@pytest.mark.parametrize("settings", [LOCAL, OPEN, WITH_TOKEN], ids=["local", "open", "with a token"])
@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH"])
def test_no_other_site_changes_anything(settings: Settings, method: str) -> None:
    for site in (b"cross-site", b"same-site", b"nonsense", b""):
        assert asked(settings, method, host=b"localhost:8000", sec_fetch_site=site) is ForeignOrigin
    for origin in (
        b"https://evil.example",
        b"null",
        b"",
        b"http://localhost:3000",
        b"http://127.0.0.1:8000",
        b"http://localhost:8000.evil.example",
        b"http://localhost:8000@evil.example",
        b"chrome-extension://localhost:8000",
        b"http://[::1",
        b"\xff",
    ):
        assert asked(settings, method, host=b"localhost:8000", origin=origin) is ForeignOrigin, origin


@pytest.mark.parametrize("settings", [LOCAL, OPEN, WITH_TOKEN], ids=["local", "open", "with a token"])
def test_everposts_own_pages_and_programs_may_change_everything(settings: Settings) -> None:
    for site in (b"same-origin", b"none"):
        assert asked(settings, "POST", host=b"localhost:8000", sec_fetch_site=site) is None
    assert asked(settings, "POST", host=b"localhost:8000", origin=b"http://localhost:8000") is None
    assert asked(settings, "POST", host=b"localhost:8000") is None
    assert asked(settings, "GET", host=b"localhost:8000", sec_fetch_site=b"cross-site") is None


def test_behind_a_proxy_under_another_name_the_browser_s_word_counts() -> None:
    page = {"origin": b"https://posts.example.com", "host": b"everpost:8000"}
    assert asked(WITH_TOKEN, "POST", **page, sec_fetch_site=b"same-origin") is None
    assert asked(WITH_TOKEN, "POST", **page) is ForeignOrigin
    assert asked(WITH_TOKEN, "POST", **{**page, "host": b"posts.example.com"}) is None
    assert asked(WITH_TOKEN, "POST", **{**page, "host": b"posts.example.com:443"}) is None


@given(st.from_regex(r"[a-z0-9.-]{1,20}(:[0-9]{1,5})?", fullmatch=True), st.sampled_from(["http", "https"]))
def test_a_page_of_the_same_host_and_port_is_ours(place: str, scheme: str) -> None:
    assert is_same_origin(f"{scheme}://{place}".encode(), place.encode())
    assert not is_same_origin(f"{scheme}://{place}x".encode(), place.encode())


@given(st.binary(max_size=40))
def test_no_host_breaks_the_check(host: bytes) -> None:
    name_of_host(host)
    assert outcome(lambda: SiteCheck(OPEN).check("POST", {b"host": host, b"origin": host})) in {
        None,
        ForeignHost,
        ForeignOrigin,
    }


HEADS: list[tuple[str, HeaderLines, type[ServiceError] | None]] = [
    ("1.1", [(b"host", b"a")], None),
    ("1.1", [(b"host", b"")], None),
    ("1.1", [], BadInput),
    ("1.0", [], None),
    ("1.1", [(b"host", b"a"), (b"x", b"1"), (b"x", b"2")], None),
    ("1.1", [(b"host", b"a"), (b"host", b"a")], BadInput),
    ("1.0", [(b"host", b"a"), (b"host", b"b")], BadInput),
    ("1.1", [(b"host", b"a b")], BadInput),
    ("1.1", [(b"host", b"a/b")], BadInput),
    ("1.1", [(b"host", b"[::1")], BadInput),
    ("1.1", [(b"host", b"a:b")], BadInput),
    ("1.1", [(b"host", b"\xe9")], BadInput),
    ("1.1", [(b"host", b"a"), (b"transfer-encoding", b"chunked")], None),
    ("1.1", [(b"host", b"a"), (b"transfer-encoding", b"Chunked")], None),
    ("1.1", [(b"host", b"a"), (b"transfer-encoding", b"gzip, chunked")], UnsupportedTransferCoding),
    ("1.1", [(b"host", b"a"), (b"transfer-encoding", b"gzip")], UnsupportedTransferCoding),
    (
        "1.1",
        [(b"host", b"a"), (b"transfer-encoding", b"gzip"), (b"transfer-encoding", b"chunked")],
        UnsupportedTransferCoding,
    ),
]


@pytest.mark.parametrize(("version", "lines", "refusal"), HEADS)
def test_a_head_is_as_http_has_it(version: str, lines: HeaderLines, refusal: type[ServiceError] | None) -> None:
    assert outcome(lambda: check_head(version, lines, dict(lines))) is refusal
