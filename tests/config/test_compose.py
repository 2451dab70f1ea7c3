"""Configs of one's own beside the project's, as Hydra composes them."""

import json

from harness.config.compose import compose_part, compose_plain
from harness.config.overrides import assign


def test_a_config_of_ones_own_hides_the_projects_of_its_name_in_every_group(tmp_path, monkeypatch):
    monkeypatch.setenv("PEFTLAB_CONF", str(tmp_path))
    for group, name in (("cluster", "local"), ("sweep", "quickstart"), ("recipe", "default")):
        plain = {**compose_part(group, [assign(group, name)]), "about": {"label": "my own"}}
        (tmp_path / group).mkdir()
        (tmp_path / group / f"{name}.yaml").write_text(json.dumps(plain))
    (tmp_path / "tracker").mkdir()
    (tmp_path / "tracker" / "wandb.yaml").write_text("# @package _global_\nwandb: {project: my own}\n")
    whole = compose_plain([assign("sweep", "quickstart")])
    assert {whole[group]["about"]["label"] for group in ("cluster", "sweep", "recipe")} == {"my own"}
    assert whole["wandb"] == {"project": "my own"}
    assert whole["method"]["name"] == "lora", "what is not hidden is the project's"
