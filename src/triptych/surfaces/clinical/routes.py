"""What the clinical surface serves, and how it refuses."""

from triptych.core.failure import Failure
from triptych.core.response import Response
from triptych.edge.app import Route, Routes
from triptych.edge.message import Request, identity_headers
from triptych.surfaces.clinical.failures import messages_error, native_error
from triptych.surfaces.operations import greet


class ClinicalSurface:
    """Health-care developers point their SDK, or plain HTTP, here; see ``docs/contracts/clinical.md``."""

    def __init__(self, prefix: str, hosts: tuple[str, ...], *tables: Routes) -> None:
        """``tables``: the routes of each part of the surface; no path may be in two of them."""
        self.prefix = prefix.encode()
        self.owns = (self.prefix,)
        self.hosts = hosts
        routes: dict[bytes, dict[bytes, Route]] = {b"/": {b"GET": Route(greet, always=True)}}
        for table in tables:
            for path, methods in table.items():
                if path in routes:
                    raise ValueError(f"the path {path.decode()} is served twice")
                routes[path] = dict(methods)
        self.routes: Routes = routes

    def refuse(self, request: Request, failure: Failure) -> Response:
        request_id = "req_" + request.id
        path = request.path[len(self.prefix) :]
        on_messages = path == b"/v1/messages" or path.startswith(b"/v1/messages/")
        response = (messages_error if on_messages else native_error)(failure, request_id)
        response.headers = (*identity_headers(request), *response.headers)
        return response
