"""Forms of pages: their fields, and the proof that a page of this server sent them."""

from urllib.parse import parse_qsl

from everpost.api.http.bodies import headers_of, media_type_of, read_body
from everpost.api.services import ApiRequest
from everpost.errors import BadInput, ForeignOrigin, UnsupportedMedia

FORM = "application/x-www-form-urlencoded"
MOST_BYTES = 1_048_576
MOST_FIELDS = 2_000


async def read_form(request: ApiRequest) -> dict[str, str]:
    """The fields of a form that a page of this server sent; of repeated names, the last. See `read_fields`."""
    return dict(await read_fields(request))


async def read_fields(request: ApiRequest) -> list[tuple[str, str]]:
    """The fields of a form that a page of this server sent, in order.

    Browsers say which site sent a form, so a form without that is not from a page. `SiteCheck` has compared an Origin.

    Raises:
        ForeignOrigin: There is no proof: neither Sec-Fetch-Site nor Origin, or another site's.
        UnsupportedMedia, BodyTooLarge, ClientGone: The body is not a form.
        BadInput: It has too many fields.
    """
    headers = headers_of(request)
    site = headers.get(b"sec-fetch-site")
    if site != b"same-origin" and (site is not None or b"origin" not in headers):
        raise ForeignOrigin("none" if site is None else site[:64].decode("latin-1"))
    if media_type_of(headers) != FORM:
        raise UnsupportedMedia(FORM)
    body = await read_body(request, headers, MOST_BYTES)
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise BadInput("The form cannot be read.") from error
