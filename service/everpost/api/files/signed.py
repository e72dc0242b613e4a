"""Admits requests with a signed address of a file, which need no token and may use any host name."""

from urllib.parse import parse_qsl

from everpost.api.services import ApiRequest, services_of
from everpost.errors import LinkRefused
from everpost.files.links import EXPIRES, SIGNATURE, FileLinks
from everpost.settings import Settings

SIGNED = "may_be_signed"
"""The `opt` of a route whose address may be signed."""


class LinkCheck:
    """Knows the keys of signed addresses."""

    def __init__(self, settings: Settings) -> None:
        self._links = FileLinks(settings.secret_key, settings.public_url)

    def admits(self, request: ApiRequest) -> bool:
        """Whether the request has a valid signed address; False if it has no signature.

        Raises:
            LinkRefused: The signature is wrong, or its time is over.
        """
        query = request.scope["query_string"]
        if SIGNATURE.encode() not in query or not request.route_handler.opt.get(SIGNED):
            return False
        given = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
        file_id = str(request.scope["path_params"].get("file_id", ""))
        now_ms = services_of(request).clock()
        if not self._links.is_valid(file_id, given.get(EXPIRES, ""), given.get(SIGNATURE, ""), now_ms):
            raise LinkRefused
        return True
