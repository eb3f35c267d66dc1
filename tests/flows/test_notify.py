"""The example of a notification is one that Prefect takes, and the flows that it tells of have its tags."""

from runtime.params import read_yaml
from tests.conftest import ROOT


def test_notification_is_of_the_deployments_flows():
    from prefect.events.schemas.automations import AutomationCore
    from prefect.server.events.actions import SendNotification

    automation = AutomationCore.model_validate(read_yaml(ROOT / "infra" / "notify.yaml"))
    told = {tag.removeprefix("prefect.tag.") for tag in automation.trigger.match_related.root["prefect.resource.id"]}
    for deployment in read_yaml(ROOT / "prefect.yaml")["deployments"]:
        assert told.intersection(deployment["tags"]), deployment["name"]
    (action,) = automation.actions
    SendNotification.model_validate(action.model_dump())  # the server's own, which looks at the templates
