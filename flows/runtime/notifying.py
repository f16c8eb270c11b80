"""The automations of this project on the Prefect server: what is wanted, what is there, and the way from one to other.

An automation and a block belong to this project if they have its names: ``flowsculpt-run-failed``, or
``flowsculpt-run-failed-zeek`` where the model has a name of its own. Nothing else is touched. Whether an automation is
switched on is left to people.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import yaml
from prefect.blocks.abstract import NotificationBlock
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from flows import arguments
from flows.runtime import channels, events
from flows.runtime.notices import HEARTBEAT, NOTICES, TEST, Notice
from flows.runtime.own_names import artefact_key, own
from pipeline import tracking
from pipeline.base.errors import ConfigError
from pipeline.serving import own_model
from pipeline.settings.notify import Notify

PREFIX: Final = "flowsculpt"
_TRIGGER: Final = ("expect", "after", "for_each", "posture", "threshold", "within")


def apply(client: SyncPrefectClient, settings: Notify) -> list[str]:
    """Bring the server to what the settings say; returns what was done, one line for each thing.

    Raises:
        ConfigError: no channel is named, or the secret of one is absent or wrong; then nothing was changed.
    """
    if not settings.channels:
        raise ConfigError("notify.channels: names nobody to tell; name email, slack or webhook in params.yaml")
    blocks = {channel: channels.block(channel) for channel in dict.fromkeys(settings.channels)}
    lines = [_put_block(client, name_of_block(channel), block) for channel, block in blocks.items()]
    ids: dict[str, UUID] = {
        channel: _block_id(client, name_of_block(channel), block) for channel, block in blocks.items()
    }
    wanted = [automation(notice, settings, ids, _deployed(client)) for notice in NOTICES]
    lines += [_put(client, each) for each in wanted]
    return lines + _remove(client, {each.name for each in wanted}, {name_of_block(each) for each in blocks})


def remove(client: SyncPrefectClient) -> list[str]:
    """Take all automations and blocks of this project off the server; returns what was done."""
    return _remove(client, (), ()) or ["there is nothing of this project"]


def name_of(notice: Notice) -> str:
    """Of its automation."""
    return own(f"{PREFIX}-{notice.name}")


def name_of_block(channel: str) -> str:
    """Of the block of a channel."""
    return artefact_key(f"{PREFIX}-{channel}")


def find(client: SyncPrefectClient, notice: Notice) -> Automation | None:
    """The automation of a notice, None where it was not applied."""
    return next(iter(client.read_automations_by_name(name_of(notice))), None)


def automation(notice: Notice, settings: Notify, blocks: Mapping[str, UUID], deployed: Sequence[str]) -> AutomationCore:
    """What the server does about a notice.

    Args:
        notice: of which.
        settings: of the notifications.
        blocks: channel -> id of its block.
        deployed: resources of the deployments of this project that are on the server.
    """
    subject, body = notice.subject(own_model.name()), partial(notice.body, settings.run_book)
    return AutomationCore(
        name=name_of(notice),
        description=f"{notice.title[:1].upper()}{notice.title[1:]}; {settings.run_book}#{notice.name}",
        tags=[PREFIX, tracking.project_names().model] if own_model.suffix() else [PREFIX],
        trigger=_of_runs(notice, settings, deployed) if notice.is_of_runs else _of_events(notice, settings),
        actions=[
            SendNotification(block_document_id=each, subject=subject, body=body(channel))
            for channel, each in blocks.items()
        ],
    )


def _of_events(notice: Notice, settings: Notify) -> EventTrigger:
    within = 0.0 if notice is TEST else settings.again
    match = {"prefect.resource.id": [events.about(), f"{events.about()}.*"], **notice.labels}
    return _trigger(expect=notice.expects, match=match, posture=Posture.Reactive, within=within)


def _of_runs(notice: Notice, settings: Notify, deployed: Sequence[str]) -> EventTrigger:
    """Of runs of the deployments of this project; the server may have those of others, too.

    A heartbeat names its deployment by the id alone.
    """
    has_names = HEARTBEAT not in notice.expects
    ours = {"prefect.resource.name": deployments()} if has_names else {"prefect.resource.id": [*deployed]}
    matched: dict[str, Any] = {
        "match": {"prefect.resource.id": "prefect.flow-run.*", **notice.labels},
        "match_related": {"prefect.resource.role": "deployment", **ours},
    }
    if not notice.followed:
        each = ["related:deployment:prefect.resource.id"]
        matched |= {"expect": notice.expects, "for_each": each, "posture": Posture.Reactive, "within": settings.again}
        return _trigger(**matched)
    matched |= {"after": notice.expects, "expect": notice.followed, "for_each": ["prefect.resource.id"]}
    return _trigger(posture=Posture.Proactive, within=settings.late, **matched)


def _trigger(within: float, **given: Any) -> EventTrigger:
    return EventTrigger.model_validate({**given, "within": timedelta(seconds=within)})


def deployments() -> list[str]:
    """The names that the deployments of this project have on the server.

    Raises:
        ConfigError: there is no ``prefect.yaml``.
    """
    path = Path(arguments.DEPLOYMENTS)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; run from the folder of the project")
    return [own(each["name"]) for each in yaml.safe_load(path.read_bytes())["deployments"]]


def _deployed(client: SyncPrefectClient) -> list[str]:
    """The resources of those that are on the server."""
    ours = DeploymentFilter(name=DeploymentFilterName(any_=deployments()))
    return sorted(f"prefect.deployment.{each.id}" for each in client.read_deployments(deployment_filter=ours))


# From what is there to what is wanted.


def _put(client: SyncPrefectClient, wanted: AutomationCore) -> str:
    found = next(iter(client.read_automations_by_name(wanted.name)), None)
    if found is None:
        client.create_automation(wanted)
        return f"{wanted.name}: made"
    if _content(found) == _content(wanted):
        return f"{wanted.name}: unchanged"
    client.update_automation(found.id, wanted.model_copy(update={"enabled": found.enabled}))
    return f"{wanted.name}: changed"


def _content(automation: AutomationCore) -> Mapping[str, Any]:
    """What people or the settings can change, in a form that can be compared."""
    trigger = automation.trigger
    told = {name: getattr(trigger, name) for name in _TRIGGER}
    matches = [dict(each.items()) for name in ("match", "match_related") for each in _listed(getattr(trigger, name))]
    actions = [each.model_dump(mode="json") for each in automation.actions]
    return {"trigger": told, "matches": matches, "actions": actions, **_words(automation)}


def _words(automation: AutomationCore) -> Mapping[str, Any]:
    return {"description": automation.description, "tags": sorted(automation.tags)}


def _listed(match: Any) -> list[ResourceSpecification]:
    found = match if isinstance(match, list) else [match]
    return [each if isinstance(each, ResourceSpecification) else ResourceSpecification(each) for each in found]


def _put_block(client: SyncPrefectClient, name: str, wanted: NotificationBlock) -> str:
    found = _find_block(client, name, wanted.get_block_type_slug())
    if found is not None and _data(type(wanted).model_validate(found.data)) == _data(wanted):
        return f"{name}: unchanged"
    wanted.save(name, overwrite=True)
    return f"{name}: {'made' if found is None else 'changed'}"


def _data(block: NotificationBlock) -> Mapping[str, Any]:
    """All that a block holds, its secrets as they are."""
    return block.model_dump(context={"include_secrets": True}, mode="json", exclude={"block_type_slug"})


def _block_id(client: SyncPrefectClient, name: str, block: NotificationBlock) -> UUID:
    found = _find_block(client, name, block.get_block_type_slug())
    if found is None:
        raise ConfigError(f"{name}: was removed from the server meanwhile; call it again")
    return found.id  # type: ignore[no-any-return]


def _find_block(client: SyncPrefectClient, name: str, kind: str) -> Any:
    return next((each for each in _blocks(client) if (each.name, each.block_type.slug) == (name, kind)), None)


def _blocks(client: SyncPrefectClient) -> list[Any]:
    """The blocks of this project."""
    names = {name_of_block(channel) for channel in channels.BLOCKS}
    found = client.read_block_documents(include_secrets=True, limit=None)
    return [each for each in found if each.name in names]


def _remove(client: SyncPrefectClient, automations: Collection[str], blocks: Collection[str]) -> list[str]:
    """Remove what is not among these."""
    lines = []
    for notice in NOTICES:
        found = None if name_of(notice) in automations else find(client, notice)
        if found is not None:
            client.delete_automation(found.id)
            lines.append(f"{found.name}: removed")
    for block in _blocks(client):
        if block.name not in blocks:
            client.delete_block_document(block.id)
            lines.append(f"{block.name}: removed")
    return lines
