"""From a head to its endpoint: who owns a path, and in which order it is refused."""

import pytest

from triptych.core.failure import Failure, FailureKind
from triptych.core.response import Response
from triptych.edge.app import Gateway, Route, Routes, body_too_large
from triptych.edge.message import Request, identity_headers
from triptych.edge.reply import Reply


async def endpoint(request: Request, reply: Reply) -> None:
    raise AssertionError("never run here")


def deny(request: Request) -> None:
    raise Failure(FailureKind.INVALID_API_KEY)


class Surface:
    def __init__(
        self,
        prefix: bytes,
        routes: Routes,
        hosts: tuple[str, ...] | None = (),
        owns: tuple[bytes, ...] | None = None,
    ) -> None:
        self.prefix, self.routes, self.hosts = prefix, routes, hosts
        self.owns = (prefix,) if owns is None else owns

    def refuse(self, request: Request, failure: Failure) -> Response:
        return Response(400, failure.headers, b"%b|%b" % (self.prefix, failure.kind.value.encode()))


ROOT = Surface(
    b"",
    {
        b"/free": {b"GET": Route(endpoint, always=True)},
        b"/closed": {
            b"POST": Route(endpoint, deny),
            b"DELETE": Route(endpoint, deny),
            b"GET": Route(endpoint),
        },
    },
)
INNER = Surface(b"/inner", {b"/x": {b"POST": Route(endpoint)}, b"": {b"GET": Route(endpoint)}})
DEEP = Surface(b"/inner/deep", {})


def gateway(counted: list[tuple[FailureKind, int]] | None = None) -> Gateway:
    seen = [] if counted is None else counted
    return Gateway((ROOT, INNER, DEEP), 100, lambda kind, status: seen.append((kind, status)))


def request(method: bytes, path: bytes, content_length: int | None = 0) -> Request:
    made = Request("peer")
    made.method, made.path, made.content_length = method, path, content_length
    return made


def refused(method: bytes, path: bytes, content_length: int | None = 0) -> bytes:
    answer = gateway().admit(request(method, path, content_length))
    assert isinstance(answer, Response)
    return answer.body


def test_a_served_request_finds_its_endpoint() -> None:
    for method, path in (
        (b"GET", b"/free"),
        (b"HEAD", b"/free"),
        (b"POST", b"/inner/x"),
        (b"GET", b"/inner"),
    ):
        assert gateway().admit(request(method, path)) is endpoint


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        (b"/nope", b""),
        (b"/innerx", b""),
        (b"", b""),
        (b"*", b""),
        (b"/inner/nope", b"/inner"),
        (b"/inner/deeper", b"/inner"),
        (b"/inner/deep", b"/inner/deep"),
        (b"/inner/deep/x", b"/inner/deep"),
    ],
)
def test_the_longest_matching_prefix_decides_how_a_refusal_looks(path: bytes, owner: bytes) -> None:
    assert refused(b"GET", path) == owner + b"|route_not_found"


def test_route_comes_before_method_before_size_before_key() -> None:
    assert refused(b"POST", b"/nope", 101) == b"|route_not_found"
    assert refused(b"PUT", b"/closed", 101) == b"|method_not_allowed"
    assert refused(b"POST", b"/closed", 101) == b"|payload_too_large"
    assert refused(b"POST", b"/closed", 100) == b"|invalid_api_key"
    assert refused(b"POST", b"/closed", None) == b"|invalid_api_key"


def test_allow_names_every_method_once_and_head_where_get_is() -> None:
    answer = gateway().admit(request(b"PATCH", b"/closed"))
    assert isinstance(answer, Response) and answer.headers == ((b"allow", b"DELETE, GET, HEAD, POST"),)
    answer = gateway().admit(request(b"GET", b"/inner/x"))
    assert isinstance(answer, Response) and answer.headers == ((b"allow", b"POST"),)


def test_a_draining_gateway_serves_only_what_is_always_served() -> None:
    draining = gateway()
    draining.draining = True
    asked = request(b"POST", b"/closed")
    answer = draining.admit(asked)
    assert isinstance(answer, Response) and answer.body == b"|service_unavailable"
    assert not asked.keep_alive
    assert draining.admit(request(b"GET", b"/free")) is endpoint


def test_every_refusal_is_counted_and_every_request_has_an_id_of_its_own() -> None:
    counted: list[tuple[FailureKind, int]] = []
    asked = [request(b"GET", b"/nope") for _ in range(3)]
    app = gateway(counted)
    for one in asked:
        app.admit(one)
    assert counted == [(FailureKind.ROUTE_NOT_FOUND, 400)] * 3
    assert len({one.id for one in asked}) == 3
    # A fault of framing may come before the head was whole.
    nameless = request(b"", b"")
    app.refuse(nameless, Failure(FailureKind.INVALID_BODY))
    assert nameless.id
    request_id = b"req_" + nameless.id.encode()
    assert identity_headers(nameless) == ((b"request-id", request_id), (b"x-request-id", request_id))


def test_two_surfaces_may_not_own_one_path() -> None:
    with pytest.raises(ValueError, match="two surfaces own the path /free"):
        Gateway((ROOT, Surface(b"", {b"/free": {}})), 100, lambda kind, status: None)


@pytest.mark.parametrize(
    ("limit_bytes", "size"),
    [(52_428_800, "50 MB"), (1 << 20, "1 MB"), (1_000, "1000 bytes"), (1_500_000, "1500000 bytes")],
)
def test_the_limit_is_named_in_the_unit_that_is_exact(limit_bytes: int, size: str) -> None:
    assert body_too_large(limit_bytes).message == f"Request body too large. Maximum size is {size}."


async def by_parameter(request: Request, reply: Reply) -> None:
    raise AssertionError("never run here")


PARAMETRISED = Surface(
    b"/p{x}",
    {
        b"/things/all": {b"GET": Route(endpoint)},
        b"/things/none": {},
        b"/things/{thing_id}": {b"GET": Route(by_parameter)},
        b"/things/{thing_id}/parts/{part_id}": {b"GET": Route(by_parameter)},
        b"/files/{+path}": {b"GET": Route(by_parameter)},
    },
)


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        (b"/p{x}/things/7", (b"7",)),
        (b"/p{x}/things/a b\n", (b"a b\n",)),
        (b"/p{x}/things/7/parts/x", (b"7", b"x")),
        (b"/p{x}/files/a/b/c", (b"a/b/c",)),
        (b"/p{x}/files/{+path}", (b"{+path}",)),
        (b"/p{x}/files/\xff\n", (b"\xff\n",)),
    ],
)
def test_a_parameter_is_one_segment_or_with_a_plus_the_rest(
    path: bytes, parameters: tuple[bytes, ...]
) -> None:
    asked = request(b"GET", path)
    assert Gateway((PARAMETRISED,), 100, lambda kind, status: None).admit(asked) is by_parameter
    assert asked.parameters == parameters


def test_a_path_without_parameters_goes_first() -> None:
    asked = request(b"GET", b"/p{x}/things/all")
    assert Gateway((PARAMETRISED,), 100, lambda kind, status: None).admit(asked) is endpoint
    assert asked.parameters == ()


def test_a_path_without_methods_is_unknown_though_a_parameter_would_match_it() -> None:
    answer = Gateway((PARAMETRISED,), 100, lambda kind, status: None).admit(
        request(b"GET", b"/p{x}/things/none")
    )
    assert isinstance(answer, Response) and answer.body.endswith(b"|route_not_found")


@pytest.mark.parametrize(
    "path",
    [b"/p{x}/things/", b"/p{x}/things/7/", b"/p{x}/things/7/parts", b"/p{x}/files/", b"/py/things/7"],
)
def test_no_parameter_is_empty_or_crosses_a_slash(path: bytes) -> None:
    answer = Gateway((PARAMETRISED,), 100, lambda kind, status: None).admit(request(b"GET", path))
    assert isinstance(answer, Response) and answer.body.endswith(b"|route_not_found")


def test_two_surfaces_cannot_own_one_path_by_different_names_of_its_parameter() -> None:
    one = Surface(b"", {b"/a/{x}": {b"GET": Route(endpoint)}})
    other = Surface(b"", {b"/a/{y}": {b"GET": Route(endpoint)}})
    with pytest.raises(ValueError, match="two surfaces own the path"):
        Gateway((one, other), 100, lambda kind, status: None)


CARE = Surface(b"", {b"/free": {b"GET": Route(by_parameter)}}, ("care.example.com",))
EVERYWHERE = Surface(b"", {b"/health": {b"GET": Route(endpoint)}}, None)


def at(host: bytes, path: bytes) -> Request:
    made = request(b"GET", path)
    made.headers = [(b"host", host)]
    return made


@pytest.mark.parametrize("host", [b"care.example.com", b"CARE.example.com:8443"])
def test_a_surface_with_a_host_of_its_own_goes_before_one_without_there_only(host: bytes) -> None:
    app = Gateway((ROOT, CARE, EVERYWHERE), 100, lambda kind, status: None)
    assert app.admit(at(host, b"/free")) is by_parameter
    assert app.admit(at(b"other.example.com", b"/free")) is endpoint
    for where in (host, b"other.example.com"):
        assert app.admit(at(where, b"/health")) is endpoint
    # The rest of what it owns is not somebody else's at its host.
    answer = app.admit(at(host, b"/closed"))
    assert isinstance(answer, Response) and answer.body == b"|route_not_found"


def test_a_surface_beside_the_one_with_the_host_answers_there_too() -> None:
    inner = Surface(b"/care", {b"/x": {b"GET": Route(by_parameter)}}, ("care.example.com",))
    app = Gateway((ROOT, inner), 100, lambda kind, status: None)
    assert app.admit(at(b"care.example.com", b"/care/x")) is by_parameter
    assert app.admit(at(b"care.example.com", b"/free")) is endpoint
    answer = app.admit(at(b"other.example.com", b"/care/x"))
    assert isinstance(answer, Response) and answer.body == b"|route_not_found"


def test_two_surfaces_may_own_one_path_at_hosts_of_their_own_only() -> None:
    other = Surface(b"", {b"/free": {b"GET": Route(endpoint)}}, ("other.example.com",))
    app = Gateway((CARE, other), 100, lambda kind, status: None)
    assert app.admit(at(b"care.example.com", b"/free")) is by_parameter
    assert app.admit(at(b"other.example.com", b"/free")) is endpoint
    with pytest.raises(ValueError, match="two surfaces own the path /free"):
        Gateway((CARE, Surface(b"", {b"/free": {}}, ("care.example.com",))), 100, lambda kind, status: None)


BESIDE = Surface(b"", {b"/v2/things/{id}": {b"GET": Route(endpoint)}}, owns=(b"/v2",))
BESIDE.refuse = lambda request, failure: Response(400, (), b"beside")  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        (b"/v2", b"beside"),
        (b"/v2/x", b"beside"),
        (b"/v2x", b"|route_not_found"),
        (b"/x", b"|route_not_found"),
    ],
)
def test_a_surface_beside_another_one_owns_paths_of_its_own(path: bytes, owner: bytes) -> None:
    for surfaces in ((ROOT, BESIDE), (BESIDE, ROOT)):
        answer = Gateway(surfaces, 100, lambda kind, status: None).admit(request(b"GET", path))
        assert isinstance(answer, Response) and answer.body == owner


@pytest.mark.parametrize(
    ("raw_path", "parameter"),
    [
        (b"/v2/things/a%2Fb", b"a/b"),
        (b"/v2/things/%2F", b"/"),
        (b"/v2/things/100%25%2F", b"100%/"),
        (b"/v2/things/a%252Fb%2F", b"a%2Fb/"),
    ],
)
def test_a_slash_that_is_encoded_is_part_of_its_segment(raw_path: bytes, parameter: bytes) -> None:
    asked = request(b"GET", b"/v2/things/whatever")
    asked.raw_path = raw_path
    assert Gateway((ROOT, BESIDE), 100, lambda kind, status: None).admit(asked) is endpoint
    assert asked.parameters == (parameter,)


def test_an_encoded_slash_parts_no_path() -> None:
    asked = request(b"GET", b"/free")
    asked.raw_path = b"%2Ffree"
    answer = gateway().admit(asked)
    assert isinstance(answer, Response) and answer.body.endswith(b"route_not_found")
