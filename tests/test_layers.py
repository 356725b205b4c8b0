"""The layers of the design hold, and the check that says so would notice if they did not."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def _lint(tree: Path, contract: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the contracts on the package in `tree`/src."""
    chosen = ["--contract", contract] if contract else []
    return subprocess.run(
        [LINT_IMPORTS, "--no-logo", "--no-cache", *chosen, PROJECT / "pyproject.toml"],
        capture_output=True,
        text=True,
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )


def test_contracts_hold() -> None:
    outcome = _lint(PROJECT)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.parametrize(
    ("module", "forbidden", "contract"),
    [
        ("smtp", "import socket", "pure"),
        ("mail", "from time import monotonic", "pure"),
        ("queue/store", "import valija.auth", "layers"),
        ("receive", "import valija.deliver", "layers"),
        ("policy", "import valija.config", "configuration"),
    ],
)
def test_a_broken_contract_is_noticed(tmp_path: Path, module: str, forbidden: str, contract: str) -> None:
    package = tmp_path / "src" / "valija"
    shutil.copytree(PROJECT / "src" / "valija", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "config.py").touch()
    broken = package / module / "__init__.py" if (package / module).is_dir() else package / f"{module}.py"
    with broken.open("a") as file:
        file.write(f"\n{forbidden}\n")
    outcome = _lint(tmp_path, contract)
    assert outcome.returncode == 1, outcome.stdout
    assert "BROKEN" in outcome.stdout


def test_each_module_has_its_layer() -> None:
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    placed = {name.strip(" ()\n") for layer in layers for name in layer.replace("|", ":").split(":")}
    source = PROJECT / "src"
    modules = {".".join(path.relative_to(source).with_suffix("").parts) for path in source.rglob("*.py")}
    names = {module.removesuffix(".__init__") for module in modules} - {"valija", "valija.queue"}
    homeless = {name for name in names if not any(name == place or name.startswith(f"{place}.") for place in placed)}
    assert not homeless, "name their layer in pyproject.toml"
