"""What `deploy/` starts fits what is installed and tested here."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"


def test_label_studio_of_a_team_is_the_tested_one_on_postgres_and_tells_no_secret() -> None:
    services = yaml.safe_load((DEPLOY / "label-studio" / "compose.yaml").read_text())["services"]
    server, database = services["label-studio"], services["postgres"]
    locked = (DEPLOY / "label-studio-constraints.txt").read_text()
    version = server["image"].rpartition(":")[2]
    assert f"\nlabel-studio=={version}\n" in locked
    asked, given = server["environment"], database["environment"]
    assert asked["DJANGO_DB"] == "default"
    assert asked["POSTGRE_HOST"] in services
    for name in ("USER", "PASSWORD"):
        assert asked[f"POSTGRE_{name}"] == given[f"POSTGRES_{name}"]
    assert asked["POSTGRE_NAME"] == given["POSTGRES_DB"]
    secrets = {k: v for k, v in {**asked, **given}.items() if re.search("PASSWORD|SECRET", k)}
    assert len(secrets) >= 4
    assert all(value.startswith("${") for value in secrets.values())
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])
