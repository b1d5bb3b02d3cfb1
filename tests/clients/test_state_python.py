"""The official SDKs against models, stored responses and conversations."""

from collections.abc import Iterator

import anthropic
import openai
import pytest

from tests.contract.inference.state_world import ANA, ANA_TEST, BOB, StateSides, state_world


@pytest.fixture(scope="module")
def sides() -> Iterator[StateSides]:
    with state_world() as both:
        yield both


@pytest.fixture
def client(sides: StateSides) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=sides.gateway.url + "/v1", api_key=ANA, max_retries=0) as made:
        yield made


def test_openai_lists_and_retrieves_models(client: openai.OpenAI) -> None:
    models = client.models.list()
    assert {"gpt", "claude", "sandbox-echo"} <= {model.id for model in models}
    found = client.models.retrieve("gpt")
    assert (found.id, found.object, found.owned_by) == ("gpt", "model", "vendor")
    with pytest.raises(openai.BadRequestError, match="not found"):
        client.models.retrieve("nobody/knows")


def test_anthropic_pages_through_the_models(sides: StateSides) -> None:
    with anthropic.Anthropic(base_url=sides.gateway.url, api_key=ANA_TEST, max_retries=0) as client:
        found = [model.id for model in client.models.list(limit=3)]
        assert len(found) == len(set(found)) > 10
        model = client.models.retrieve("claude")
        assert (model.type, model.display_name, model.lifecycle) == ("model", "claude", "active")


def test_a_response_is_stored_continued_listed_and_deleted(sides: StateSides, client: openai.OpenAI) -> None:
    first = client.responses.create(model="sandbox-echo", input="first", store=True)
    assert client.responses.retrieve(first.id).output_text == first.output_text == "first"
    second = client.responses.create(
        model="sandbox-echo", input="second", store=True, previous_response_id=first.id
    )
    assert second.conversation is not None and second.conversation == first.conversation
    assert second.previous_response_id == first.id
    listed = client.conversations.items.list(second.conversation.id, order="asc", limit=1)
    items = list(listed)
    assert len(items) == 4 and [item.type for item in items] == ["message"] * 4
    item = client.conversations.items.retrieve(items[0].id or "", conversation_id=second.conversation.id)
    assert item == items[0]
    with (
        openai.OpenAI(base_url=sides.gateway.url + "/v1", api_key=BOB, max_retries=0) as bob,
        pytest.raises(openai.PermissionDeniedError),
    ):
        bob.conversations.items.list(second.conversation.id)
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)


def test_a_response_whose_store_is_left_open_is_not_stored(client: openai.OpenAI) -> None:
    answered = client.responses.create(model="sandbox-echo", input="left open", store=None)
    assert answered.output_text == "left open" and answered.conversation is None
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(answered.id)


def test_a_stream_is_resumed(client: openai.OpenAI) -> None:
    seen = []
    with client.responses.create(model="sandbox-lorem", input="40 words", store=True, stream=True) as stream:
        for event in stream:
            seen.append(event)
            if len(seen) == 10:
                break
    assert seen[0].type == "response.created"
    response_id = seen[0].response.id
    resumed = list(
        client.responses.retrieve(response_id, stream=True, starting_after=seen[-1].sequence_number)
    )
    numbers = [event.sequence_number for event in [*seen, *resumed]]
    assert numbers == list(range(len(numbers)))
    assert resumed[-1].type == "response.completed"
    assert len(resumed[-1].response.output_text.split()) == 40
