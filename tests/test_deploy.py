"""The pages on deployment: files that parse, snippets that compile, figures that are the plan's."""

import ast
import json
import re
from pathlib import Path

import pytest
import typer
import yaml

import spacenet_cube
from spacenet_cube.cli.app import app
from tests.places import ROOT
from tests.true_size import sizing

FOLDER = Path(spacenet_cube.__file__).parent / "deploy"
PAGE = (ROOT / "spacenet_cube" / "docs" / "clusters.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_table_of_what_to_size_is_what_plans_say():
    shown = [line for line in PAGE.splitlines() if re.match(r"\| (Rio|Paris)", line)]

    assert shown == sizing()


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_a_snippet_compiles_and_names_only_what_the_package_has(snippet):
    tree = ast.parse(snippet)

    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "sc"
    }
    assert used <= set(spacenet_cube.__all__)


def test_the_operators_manifest_names_ports_and_selector_as_the_operator_wants_them():
    made = yaml.safe_load((FOLDER / "daskcluster.yaml").read_text())
    spec = made["spec"]

    assert (made["apiVersion"], made["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    assert spec["scheduler"]["service"]["selector"] == {
        "dask.org/cluster-name": made["metadata"]["name"],
        "dask.org/component": "scheduler",
    }
    ports = {port["name"] for port in spec["scheduler"]["spec"]["containers"][0]["ports"]}
    assert ports == {port["targetPort"] for port in spec["scheduler"]["service"]["ports"]}
    assert [each["name"] for each in spec["worker"]["spec"]["containers"]] == ["worker"]


GATEWAY = {
    "image": {"name", "tag", "pullPolicy"},
    "environment": None,
    "scheduler": {"extraPodConfig", "extraContainerConfig", "cores", "memory"},
    "worker": {"extraPodConfig", "extraContainerConfig", "cores", "memory", "threads"},
}
"""Keys that values.schema.yaml of Dask Gateway's chart allows below gateway.backend."""


def test_the_values_of_the_gateway_are_keys_of_its_charts_schema():
    backend = yaml.safe_load((FOLDER / "gateway-values.yaml").read_text())["gateway"]["backend"]

    assert set(backend) <= set(GATEWAY)
    for name, allowed in GATEWAY.items():
        assert allowed is None or set(backend[name]) <= allowed
    assert all(isinstance(value, str) for value in backend["environment"].values())


def test_the_policy_writes_below_the_target_alone():
    policy = json.loads((FOLDER / "iam-policy.json").read_text())
    writes = [
        each["Resource"]
        for each in policy["Statement"]
        if any(action.split(":")[1].startswith(("Put", "Delete")) for action in each["Action"])
    ]

    assert writes == [["arn:aws:s3:::my-bucket/cubes/*"]]


def test_the_dockerfile_is_made_of_known_instructions_and_copies_what_there_is():
    lines = (FOLDER / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    told = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]

    assert told[0] == "FROM"
    assert set(told) <= {"FROM", "RUN", "COPY", "USER", "WORKDIR", "ENV", "ENTRYPOINT", "CMD"}
    assert "constraints.txt" in " ".join(lines)


def test_options_on_the_page_are_those_of_build_or_dasks():
    build = typer.main.get_command(app).commands["build"]  # type: ignore[attr-defined]
    options = {option for parameter in build.params for option in parameter.opts}
    said = set(re.findall(r"`(--[a-z-]+)", PAGE)) - {"--local-directory"}

    assert said <= options
    assert said
