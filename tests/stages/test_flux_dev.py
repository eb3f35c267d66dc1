"""Profile `flux-dev`, in a file of its own: both run at once then."""

from contextlib import closing

import pytest

from tests.hub_server import HubServer
from tests.stages.real_base import answering, run_to_the_report

pytestmark = [pytest.mark.first, pytest.mark.usefixtures("warm_recorders"), pytest.mark.timeout(900)]


@pytest.mark.long
def test_flux_dev_from_the_hub_to_the_report(tmp_path, monkeypatch):
    with closing(HubServer()) as hub, answering() as web:
        asking = ["check sample base", "caption fetch"]
        run_to_the_report("flux-dev", hub, web, tmp_path, monkeypatch, asking)
